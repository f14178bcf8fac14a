/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/dockerfile.h"
#include "dockerfile/glob.h"

/*
 * Variables and quotes in one pass, as BuildKit's shell lexer has it. The text is read from
 * left to right; ${name-word} reads its word by calling itself, up to EXPAND_MAX_DEPTH deep.
 * Where words are wanted, a second account of the outermost level is kept: text from variables
 * is split at blanks, text from quotes is not.
 */
struct words {
	struct arena *arena;
	struct str *items;
	size_t count, cap;
	struct buf word;
	bool in_word;
};

struct scan {
	const struct expansion *how;
	struct str text;
	size_t at;
	bool raw_escapes;
	unsigned depth;
	struct words *words; /* NULL: not wanted, or not at the outermost level */
	struct err *err;
};

static int expand_until(struct scan *s, int stop, struct buf *out);

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void words_flush(struct words *w)
{
	if (w->word.len) {
		w->items = arena_grow(w->arena, w->items, w->count, &w->cap, sizeof(*w->items));
		w->items[w->count++] = arena_str(w->arena, buf_str(&w->word));
		buf_clear(&w->word);
		w->in_word = false;
	}
}

static void words_add(struct words *w, struct str text, bool raw)
{
	if (!w)
		return;
	if (raw) {
		buf_add_str(&w->word, text);
		w->in_word = true;
		return;
	}
	for (size_t i = 0; i < text.n; i++) {
		if (!is_blank(text.p[i])) {
			buf_add_char(&w->word, text.p[i]);
			w->in_word = true;
		} else if (w->in_word) {
			words_flush(w);
		}
	}
}

static int peek(const struct scan *s)
{
	return s->at < s->text.n ? (unsigned char)s->text.p[s->at] : -1;
}

static int fail(const struct scan *s, const char *what)
{
	return err_set(s->err, ERR_INPUT, "%s", what);
}

static int check_size(const struct scan *s, const struct buf *out)
{
	if (out->len <= EXPAND_MAX_SIZE)
		return 0;
	return err_set(s->err, ERR_LIMIT, "the text grows to more than %d bytes when expanded",
		EXPAND_MAX_SIZE);
}

/* A name after '$': letters, digits and '_'; only digits; or one special parameter. */
static struct str take_name(struct scan *s)
{
	size_t from = s->at;
	int c = peek(s);

	if (c >= '0' && c <= '9') {
		while (peek(s) >= '0' && peek(s) <= '9')
			s->at++;
	} else if (c > 0 && strchr("@*#?-$!", c)) {
		s->at++;
	} else {
		while ((c = peek(s)) == '_' || (c >= '0' && c <= '9') ||
			((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			s->at++;
	}
	return str_slice(s->text, from, s->at);
}

static const char *look_up(const struct scan *s, struct str name)
{
	return s->how->get ? s->how->get(s->how->arg, name) : NULL;
}

/* The word of an operator, up to the stop character. */
static int take_word(struct scan *s, char stop, bool raw_escapes, struct buf *ret)
{
	struct words *words = s->words;
	bool outer = s->raw_escapes;

	if (s->depth == EXPAND_MAX_DEPTH)
		return err_set(
			s->err, ERR_LIMIT, "${…} is nested more than %d deep", EXPAND_MAX_DEPTH);
	s->depth++;
	s->words = NULL;
	s->raw_escapes = raw_escapes;
	int failed = expand_until(s, (unsigned char)stop, ret);
	s->raw_escapes = outer;
	s->words = words;
	s->depth--;
	return failed;
}

/* ${name-word}, ${name+word}, ${name?word}; with_colon: an empty value counts as unset. */
static int default_value(const struct scan *s, struct str name, char op, bool with_colon,
	struct str word, struct buf *out)
{
	const char *value = look_up(s, name);
	bool is_set = value && !(with_colon && !*value);

	if (op == '?' && !is_set && word.n)
		return err_set(s->err, ERR_INPUT, "%.*s: %.*s", STR_ARG(name), STR_ARG(word));
	if (op == '?' && !is_set)
		return err_set(s->err, ERR_INPUT, "%.*s is not allowed to be %s", STR_ARG(name),
			value ? "empty" : "unset");
	if (op == '+' ? is_set : !is_set)
		buf_add_str(out, word);
	else if (op != '+')
		buf_add_text(out, value);
	return 0;
}

static int unsupported(struct scan *s, bool with_colon, int c)
{
	char modifier[2] = {(char)c, 0};

	if (c < 0)
		return fail(s, "syntax error: missing '}'");
	return err_set(s->err, ERR_INPUT, "unsupported modifier (%s%s) in substitution",
		with_colon ? ":" : "", modifier);
}

/* With EXPAND_KEEP_UNSET: an unset variable stays as it was written. */
static bool keep_unset(const struct scan *s, struct str name, size_t from, struct buf *out)
{
	if (!(s->how->mode & EXPAND_KEEP_UNSET) || look_up(s, name))
		return false;
	buf_add_str(out, str_slice(s->text, from, s->at));
	return true;
}

/* ${name#pattern} and its kin. The word is the pattern, behind a second # or %. */
static int trim_value(
	const struct scan *s, struct str name, char op, struct str word, struct buf *out)
{
	const char *value = look_up(s, name);
	bool longest = word.n && word.p[0] == op;

	return glob_trim(longest ? str_from_index(word, 1) : word, str_of(value ? value : ""),
		op == '%', longest, out, s->err);
}

/* ${name/pattern/replacement}, behind the first slash. */
static int replace_value(struct scan *s, struct str name, size_t from, struct buf *out)
{
	cleanup(buf_done) struct buf pattern = {0}, replacement = {0};
	bool all = peek(s) == '/';
	int failed;

	s->at += all;
	if ((failed = take_word(s, '/', true, &pattern)) ||
		(failed = take_word(s, '}', true, &replacement)))
		return failed;
	if (keep_unset(s, name, from, out))
		return 0;
	const char *value = look_up(s, name);
	return glob_replace(buf_str(&pattern), str_of(value ? value : ""), buf_str(&replacement),
		all, out, s->err);
}

/* Behind "${name"; `from` is where the '$' stands. */
static int modifier(struct scan *s, struct str name, size_t from, struct buf *out)
{
	cleanup(buf_done) struct buf word = {0};
	bool with_colon = peek(s) == ':';
	int failed;

	s->at += with_colon;
	int c = peek(s);
	bool is_trim = !with_colon && (c == '#' || c == '%');
	if (c >= 0)
		s->at++;
	if (!with_colon && c == '/')
		return replace_value(s, name, from, out);
	if (!is_trim && c != '-' && c != '+' && c != '?')
		return unsupported(s, with_colon, c);
	if ((failed = take_word(s, '}', is_trim, &word)))
		return failed;
	if (keep_unset(s, name, from, out))
		return 0;
	if (is_trim)
		return trim_value(s, name, (char)c, buf_str(&word), out);
	return default_value(s, name, (char)c, with_colon, buf_str(&word), out);
}

static int expand_dollar(struct scan *s, struct buf *out)
{
	size_t from = s->at++;
	bool braced = peek(s) == '{';

	s->at += braced;
	if (braced && peek(s) < 0)
		return fail(s, "syntax error: missing '}'");
	if (braced && strchr("{}:", peek(s)))
		return fail(s, "syntax error: bad substitution");
	struct str name = take_name(s);
	if (!braced && !name.n) {
		buf_add_char(out, '$');
		return 0;
	}
	if (braced && peek(s) != '}')
		return modifier(s, name, from, out);
	s->at += braced;
	if (keep_unset(s, name, from, out))
		return 0;
	const char *value = look_up(s, name);
	buf_add_text(out, value ? value : "");
	return 0;
}

static int single_quotes(struct scan *s, struct buf *out)
{
	struct str rest = str_from_index(s->text, s->at + 1);
	size_t n = str_find(rest, '\'');
	bool raw = s->how->mode & EXPAND_RAW_QUOTES;

	if (n == rest.n)
		return fail(
			s, "unexpected end of statement while looking for matching single-quote");
	buf_add_str(out, str_slice(s->text, s->at + !raw, s->at + 1 + n + raw));
	s->at += n + 2;
	return 0;
}

/* Inside double quotes the escape only protects a quote, a dollar and itself. */
static void escape_in_quotes(struct scan *s, struct buf *out)
{
	int next;

	s->at++;
	if (s->raw_escapes)
		buf_add_char(out, s->how->escape);
	if ((next = peek(s)) < 0)
		return;
	if (next == '"' || next == '$' || next == (unsigned char)s->how->escape) {
		buf_add_char(out, (char)next);
		s->at++;
	} else {
		buf_add_char(out, s->how->escape);
	}
}

static int double_quotes(struct scan *s, struct buf *out)
{
	bool raw = s->how->mode & EXPAND_RAW_QUOTES;
	int c, failed;

	s->at++;
	if (raw)
		buf_add_char(out, '"');
	while ((c = peek(s)) >= 0 && c != '"') {
		if (c == '$') {
			if ((failed = expand_dollar(s, out)) || (failed = check_size(s, out)))
				return failed;
		} else if (c == (unsigned char)s->how->escape) {
			escape_in_quotes(s, out);
		} else {
			buf_add_char(out, (char)c);
			s->at++;
		}
	}
	if (c < 0)
		return fail(
			s, "unexpected end of statement while looking for matching double-quote");
	if (raw)
		buf_add_char(out, '"');
	s->at++;
	return check_size(s, out);
}

/* An escape outside of quotes protects any byte and goes away itself. */
static void escape_outside(struct scan *s, struct buf *out)
{
	size_t from = s->at + !s->raw_escapes;

	s->at += s->at + 1 < s->text.n ? 2 : 1;
	struct str kept = str_slice(s->text, from, s->at);
	buf_add_str(out, kept);
	if (kept.n)
		words_add(s->words, kept, true);
}

/* "<<", and the blanks that may stand between it and the name of a heredoc, are one word. */
static bool heredoc_mark(struct scan *s, struct buf *out)
{
	struct str rest = str_from_index(s->text, s->at);
	size_t n = 2;

	if (!str_starts(rest, STR("<<")))
		return false;
	while (n < rest.n && (rest.p[n] == ' ' || rest.p[n] == '\t'))
		n++;
	buf_add_str(out, str_slice(rest, 0, n));
	words_add(s->words, str_slice(rest, 0, n), true);
	s->at += n;
	return true;
}

/* What begins with a special character; ret_done is false when there is none. */
static int expand_special(struct scan *s, struct buf *out, bool *ret_done)
{
	size_t before = out->len;
	bool quotes = !(s->how->mode & EXPAND_NO_QUOTES);
	int c = peek(s), failed = 0;

	*ret_done = true;
	if (c == '$')
		failed = expand_dollar(s, out);
	else if (quotes && c == '\'')
		failed = single_quotes(s, out);
	else if (quotes && c == '"')
		failed = double_quotes(s, out);
	else
		*ret_done = false;
	if (failed || !*ret_done)
		return failed;
	words_add(s->words, str_from(out->data + before, out->len - before), c != '$');
	return check_size(s, out);
}

static int expand_until(struct scan *s, int stop, struct buf *out)
{
	int c, failed;
	bool done;

	(void)buf_reserve(out, 1); /* out->data is there from now on */
	while ((c = peek(s)) >= 0) {
		if (c == stop) {
			s->at++;
			return 0;
		}
		if ((failed = expand_special(s, out, &done)))
			return failed;
		if (done || (c == '<' && heredoc_mark(s, out)))
			continue;
		if (c == (unsigned char)s->how->escape) {
			escape_outside(s, out);
			continue;
		}
		buf_add_char(out, (char)c);
		words_add(s->words, str_from(out->data + out->len - 1, 1), false);
		s->at++;
	}
	if (stop >= 0)
		return fail(s, stop == '/' ? "syntax error: missing '/' in ${}"
					   : "syntax error: missing '}'");
	return check_size(s, out);
}

int expand_word(struct arena *a, const struct expansion *how, struct str text, struct str *ret,
	struct err *err)
{
	cleanup(buf_done) struct buf out = {0};
	struct scan s = {
		.how = how,
		.text = text,
		.raw_escapes = how->mode & EXPAND_RAW_ESCAPES,
		.err = err,
	};
	int failed = expand_until(&s, -1, &out);

	if (failed)
		return failed;
	*ret = arena_str(a, buf_str(&out));
	return 0;
}

int expand_words(struct arena *a, const struct expansion *how, struct str text, struct str **ret,
	size_t *ret_count, struct err *err)
{
	cleanup(buf_done) struct buf out = {0};
	struct words words = {.arena = a};
	struct scan s = {
		.how = how,
		.text = text,
		.raw_escapes = how->mode & EXPAND_RAW_ESCAPES,
		.words = &words,
		.err = err,
	};
	int failed = expand_until(&s, -1, &out);

	words_flush(&words);
	buf_done(&words.word);
	if (failed)
		return failed;
	*ret = words.items;
	*ret_count = words.count;
	return 0;
}

const char *expand_get_list(void *list, struct str name)
{
	return oci_list_env(list, name);
}
