/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "dockerfile/internal.h"
#include "dockerfile/rune.h"

/*
 * A pattern is a row of tokens, and a path is fed to it one character at a time while the set
 * of tokens that may come next is kept: no input makes it go back. Where the regular
 * expressions of moby/patternmatcher are odd, so is this: "**" takes nothing or any text up to
 * a slash, even inside a part of a path, and a leading "**" before plain text takes any text.
 */
enum token_kind {
	TOKEN_CHAR,
	TOKEN_ONE,     /* '?': any but '/' */
	TOKEN_MANY,    /* '*': any number of any but '/' */
	TOKEN_CLASS,   /* [...] */
	TOKEN_ALL,     /* any text */
	TOKEN_DIRS,    /* nothing, or what TOKEN_DIRS_IN behind it takes */
	TOKEN_DIRS_IN, /* any text that ends in '/' */
};

struct token {
	enum token_kind kind;
	uint32_t rune;
	struct str class_text; /* behind the '[' */
};

struct pattern {
	char *text; /* what class_text looks into */
	struct token *tokens;
	size_t count, cap;
	size_t plain; /* so many bytes of text are tokens that stand for themselves */
	bool is_plain;
	bool exception;
};

struct patterns {
	struct pattern *items;
	size_t count, cap;
	unsigned char *active; /* two rows as long as the longest pattern and one */
	size_t longest;
};

static struct token *add_token(struct pattern *p, enum token_kind kind)
{
	p->tokens = xgrow(p->tokens, &p->cap, p->count + 1, sizeof(*p->tokens));
	struct token *t = &p->tokens[p->count++];

	*t = (struct token){.kind = kind};
	return t;
}

/* One end of a range in a class; false when it is malformed. */
static bool class_rune(struct str *rest, uint32_t *ret)
{
	size_t len;

	if (!rest->n || rest->p[0] == '-' || rest->p[0] == ']')
		return false;
	if (rest->p[0] == '\\')
		*rest = str_from_index(*rest, 1);
	if (!rest->n)
		return false;
	*ret = rune_decode(*rest, &len);
	*rest = str_from_index(*rest, len);
	return rest->n > 0;
}

/*
 * Is the rune in the class whose text begins behind '['? *ret_len is the text's length with
 * the ']'; false and 0 when it is malformed (the rules are those of Go's filepath.Match).
 */
static bool class_match(struct str text, uint32_t rune, size_t *ret_len)
{
	bool negated = str_starts(text, STR("^")), found = false;
	struct str rest = str_from_index(text, negated);
	uint32_t low, high;

	*ret_len = 0;
	for (size_t ranges = 0; !(ranges && str_starts(rest, STR("]"))); ranges++) {
		if (!class_rune(&rest, &low))
			return false;
		high = low;
		if (str_starts(rest, STR("-"))) {
			rest = str_from_index(rest, 1);
			if (!class_rune(&rest, &high))
				return false;
		}
		found = found || (low <= rune && rune <= high);
	}
	*ret_len = text.n - rest.n + 1;
	return found != negated;
}

/* Behind "**" at `at`; returns the index of what follows. */
static size_t add_double_star(struct pattern *p, struct str text, size_t at)
{
	bool at_start = at == 2;
	bool slash = at < text.n && text.p[at] == '/';

	at += slash;
	bool plain_rest = true;
	for (size_t i = at; i < text.n && plain_rest; i++)
		plain_rest = !strchr("*?[]\\", text.p[i]);
	if (at == text.n || (at_start && !slash && plain_rest)) {
		add_token(p, TOKEN_ALL);
	} else {
		add_token(p, TOKEN_DIRS);
		add_token(p, TOKEN_DIRS_IN);
	}
	return at;
}

/* One token at `at`; returns the index of what follows, or 0 when it is malformed. */
static size_t compile_token(struct pattern *p, struct str text, size_t at)
{
	char c = text.p[at];
	size_t len;

	if (c == '*' && at + 1 < text.n && text.p[at + 1] == '*')
		return add_double_star(p, text, at + 2);
	if (c == '*' || c == '?') {
		add_token(p, c == '*' ? TOKEN_MANY : TOKEN_ONE);
		return at + 1;
	}
	if (c == '[') {
		struct str class_text = str_from_index(text, at + 1);
		(void)class_match(class_text, 0, &len);
		add_token(p, TOKEN_CLASS)->class_text = class_text;
		return len ? at + 1 + len : 0;
	}
	if (c == '\\' && ++at == text.n)
		return 0;
	add_token(p, TOKEN_CHAR)->rune = rune_decode(str_from_index(text, at), &len);
	return at + len;
}

static bool compile(struct pattern *p)
{
	struct str text = str_of(p->text);
	size_t at = 0;

	while (p->plain < text.n && !strchr("*?[]\\", text.p[p->plain]))
		p->plain++;
	p->is_plain = p->plain == text.n;
	while (at < text.n)
		if (!(at = compile_token(p, text, at)))
			return false;
	return true;
}

static void pattern_done(struct pattern *p)
{
	free(p->text);
	free(p->tokens);
}

struct patterns *patterns_new(void)
{
	return xcalloc(1, sizeof(struct patterns));
}

void patterns_free(struct patterns *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++)
		pattern_done(&p->items[i]);
	free(p->items);
	free(p->active);
	free(p);
}

int patterns_add(struct patterns *p, struct str text, struct err *err)
{
	cleanup(buf_done) struct buf clean = {0};
	struct str pattern = str_trim(text);
	bool exception = str_starts(pattern, STR("!"));

	if (!pattern.n)
		return 0;
	if (exception)
		pattern = str_trim(str_from_index(pattern, 1));
	if (!pattern.n)
		return err_set(err, ERR_INPUT, "the pattern ! names nothing to except");
	if (p->count == IGNORE_MAX_PATTERNS)
		return err_set(err, ERR_LIMIT, "more than %d patterns", IGNORE_MAX_PATTERNS);
	path_clean(&clean, pattern);
	struct pattern item = {.text = buf_take(&clean), .exception = exception};
	if (!compile(&item)) {
		pattern_done(&item);
		return err_set(err, ERR_INPUT, "the pattern %.*s is malformed", STR_ARG(text));
	}
	p->items = xgrow(p->items, &p->cap, p->count + 1, sizeof(*p->items));
	p->items[p->count++] = item;
	if (item.count > p->longest || !p->active) {
		p->longest = item.count;
		p->active = xrealloc(p->active, 2 * (p->longest + 1));
	}
	return 0;
}

size_t patterns_count(const struct patterns *p)
{
	return p->count;
}

bool patterns_have_exception(const struct patterns *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->items[i].exception)
			return true;
	return false;
}

/* Add what may be skipped to the set: it only ever leads forward. */
static void close_set(const struct pattern *p, unsigned char *set)
{
	for (size_t i = 0; i < p->count; i++) {
		enum token_kind kind = p->tokens[i].kind;
		if (!set[i])
			continue;
		if (kind == TOKEN_MANY || kind == TOKEN_ALL || kind == TOKEN_DIRS)
			set[i + 1] = 1;
		if (kind == TOKEN_DIRS)
			set[i + 2] = 1;
	}
}

static void step_token(const struct token *t, uint32_t c, unsigned char *next)
{
	size_t len;

	switch (t->kind) {
	case TOKEN_CHAR:
		next[1] |= c == t->rune;
		break;
	case TOKEN_ONE:
		next[1] |= c != '/';
		break;
	case TOKEN_CLASS:
		next[1] |= class_match(t->class_text, c, &len);
		break;
	case TOKEN_MANY:
		next[0] |= c != '/';
		break;
	case TOKEN_ALL:
		next[0] = 1;
		break;
	case TOKEN_DIRS_IN:
		next[0] = 1;
		next[1] |= c == '/';
		break;
	case TOKEN_DIRS:
		break;
	}
}

/* Feed the path to the pattern; the result is the set of tokens that may come next. */
static const unsigned char *feed(
	const struct patterns *set, const struct pattern *p, struct str path)
{
	unsigned char *now = set->active, *next = now + p->count + 1;
	bool alive = true;
	size_t len;

	memset(now, 0, p->count + 1);
	now[0] = 1;
	close_set(p, now);
	for (; path.n && alive; path = str_from_index(path, len)) {
		uint32_t c = rune_decode(path, &len);
		memset(next, 0, p->count + 1);
		for (size_t i = 0; i < p->count; i++)
			if (now[i])
				step_token(&p->tokens[i], c, next + i);
		close_set(p, next);
		alive = memchr(next, 1, p->count + 1) != NULL;
		unsigned char *other = now;
		now = next;
		next = other;
	}
	return now;
}

static bool pattern_match(const struct patterns *set, const struct pattern *p, struct str path)
{
	struct str plain = str_from(p->text, p->plain);

	if (p->is_plain)
		return str_eq(path, plain);
	if (!str_starts(path, plain))
		return false;
	return feed(set, p, path)[p->count];
}

bool patterns_match_in(const struct patterns *p, struct str path, const bool *parent, bool *state)
{
	bool matched = false;

	for (size_t i = 0; i < p->count; i++) {
		const struct pattern *item = &p->items[i];
		bool match = parent && parent[i];
		/*
		 * As in patternmatcher a pattern that cannot change the outcome is not tried, and
		 * so is not remembered for what is below either.
		 */
		if (!match && item->exception == matched)
			match = pattern_match(p, item, path);
		state[i] = match;
		if (match)
			matched = !item->exception;
	}
	return matched;
}

bool patterns_match(const struct patterns *p, struct str path)
{
	cleanup_free bool *parent = xcalloc(p->count + 1, sizeof(bool));
	cleanup_free bool *state = xcalloc(p->count + 1, sizeof(bool));

	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] != '/')
			continue;
		(void)patterns_match_in(p, str_slice(path, 0, i), parent, state);
		memcpy(parent, state, p->count * sizeof(bool));
	}
	return patterns_match_in(p, path, parent, state);
}

static bool may_match_below(const struct patterns *set, const struct pattern *p, struct str dir)
{
	cleanup(buf_done) struct buf below = {0};

	buf_add_str(&below, dir);
	buf_add_char(&below, '/');
	if (p->is_plain)
		return str_starts(str_of(p->text), buf_str(&below));
	return memchr(feed(set, p, buf_str(&below)), 1, p->count) != NULL;
}

static bool any_may_match(const struct patterns *p, struct str dir, bool exception)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->items[i].exception == exception && may_match_below(p, &p->items[i], dir))
			return true;
	return false;
}

bool patterns_may_except_below(const struct patterns *p, struct str dir)
{
	return any_may_match(p, dir, true);
}

bool patterns_may_match_below(const struct patterns *p, struct str dir)
{
	return any_may_match(p, dir, false);
}

/* ---- One wildcard, without a set ---- */

bool has_wildcard(struct str path)
{
	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] == '\\')
			i++;
		else if (strchr("*?[", path.p[i]))
			return true;
	}
	return false;
}

/* The length of the element at the front of the pattern; 0 when it is malformed. */
static size_t element_match(struct str pattern, uint32_t c, bool *ret_match)
{
	size_t escaped = pattern.p[0] == '\\', len;

	if (pattern.p[0] == '[') {
		*ret_match = class_match(str_from_index(pattern, 1), c, &len);
		return len ? len + 1 : 0;
	}
	if (pattern.p[0] == '?') {
		*ret_match = c != '/';
		return 1;
	}
	if (escaped == pattern.n)
		return 0;
	*ret_match = rune_decode(str_from_index(pattern, escaped), &len) == c;
	return escaped + len;
}

int wildcard_check(struct str pattern, struct err *err)
{
	struct str rest = pattern;
	bool match;

	while (rest.n) {
		size_t n = rest.p[0] == '*' ? 1 : element_match(rest, 0, &match);
		if (!n)
			return err_set(
				err, ERR_INPUT, "the pattern %.*s is malformed", STR_ARG(pattern));
		rest = str_from_index(rest, n);
	}
	return 0;
}

/*
 * Only the last star is ever lengthened: what stands behind it was found as early as possible
 * for the stars before, which gives it all the choice it can have.
 */
bool wildcard_match(struct str pattern, struct str name)
{
	struct str after_star = {0}, retry = {0};
	bool match = false;
	size_t len = 0, n;

	while (name.n || pattern.n) {
		if (pattern.n && pattern.p[0] == '*') {
			pattern = after_star = str_from_index(pattern, 1);
			retry = name;
			continue;
		}
		uint32_t c = name.n ? rune_decode(name, &len) : RUNE_END;
		n = pattern.n ? element_match(pattern, c, &match) : 0;
		if (pattern.n && !n)
			return false;
		if (pattern.n && name.n && match) {
			pattern = str_from_index(pattern, n);
			name = str_from_index(name, len);
			continue;
		}
		if (!after_star.p || !retry.n || retry.p[0] == '/')
			return false;
		(void)rune_decode(retry, &len);
		name = retry = str_from_index(retry, len);
		pattern = after_star;
	}
	return true;
}
