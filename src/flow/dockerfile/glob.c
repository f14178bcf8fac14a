/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/glob.h"

#include <stdint.h>

#include "base/alloc.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/rune.h"

/*
 * Pattern and value become arrays of characters. The stars cut the pattern into chunks of
 * fixed length, and each chunk is looked for as early as possible: where a later place would
 * do, the earlier one does too. Only the last chunk of a longest match is looked for from the
 * back. The end of the text is treated as its front by turning both arrays round.
 */
enum { MAX_STEPS = 1 << 24 };

enum { ANY_ONE = RUNE_END, ANY_TEXT };

struct chars {
	uint32_t *p;
	size_t n;
};

static void chars_done(struct chars *c)
{
	free(c->p);
}

DEFINE_CLEANUP_VALUE(struct chars, chars_done);

struct match {
	struct chars pattern, value;
	size_t steps;
};

static void add_chars(struct buf *ret, const struct chars *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		rune_encode(ret, c->p[i]);
}

static struct chars chars_of(struct str s)
{
	struct chars c = {.p = xcalloc(s.n + 1, sizeof(*c.p))};
	size_t len;

	for (; s.n; s = str_from_index(s, len))
		c.p[c.n++] = rune_decode(s, &len);
	return c;
}

/* Resolve the escapes of a pattern in place; stars and question marks get codes of their own. */
static int compile(struct chars *c, struct str text, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		uint32_t ch = c->p[i];
		if (ch == '\\') {
			ch = ++i < c->n ? c->p[i] : 0;
			/* } and / had to be escaped on their way into ${…} */
			if (!ch || (ch < 0x80 && !strchr("*?\\}/", (int)ch)) || ch >= 0x80)
				return err_set(err, ERR_INPUT,
					"invalid pattern (%.*s) in substitution: a backslash there "
					"can only stand before * ? \\ } and /",
					STR_ARG(text));
		} else if (ch == '*') {
			ch = ANY_TEXT;
		} else if (ch == '?') {
			ch = ANY_ONE;
		}
		if (ch != ANY_TEXT || !n || c->p[n - 1] != ANY_TEXT)
			c->p[n++] = ch;
	}
	c->n = n;
	return 0;
}

static void reverse(struct chars *c)
{
	for (size_t i = 0; i < c->n / 2; i++) {
		uint32_t t = c->p[i];
		c->p[i] = c->p[c->n - 1 - i];
		c->p[c->n - 1 - i] = t;
	}
}

static bool chunk_at(struct match *m, size_t from, size_t to, size_t at)
{
	if (to - from > m->value.n - at)
		return false;
	for (size_t i = 0; i < to - from; i++) {
		uint32_t p = m->pattern.p[from + i];
		m->steps++;
		if (p != ANY_ONE && p != m->value.p[at + i])
			return false;
	}
	return true;
}

/* Look for pattern[from, to) at or after `at`, from the back when `last`; its end or -1. */
static ptrdiff_t find_chunk(struct match *m, size_t from, size_t to, size_t at, bool last)
{
	size_t len = to - from;

	if (len > m->value.n - at)
		return -1;
	size_t highest = m->value.n - len;
	for (size_t i = 0; i <= highest - at && m->steps < MAX_STEPS; i++) {
		size_t place = last ? highest - i : at + i;
		m->steps++;
		if (chunk_at(m, from, to, place))
			return (ptrdiff_t)(place + len);
	}
	return -1;
}

static size_t chunk_end(const struct match *m, size_t from)
{
	while (from < m->pattern.n && m->pattern.p[from] != ANY_TEXT)
		from++;
	return from;
}

/* The end of the shortest or longest match that begins at `at`, or -1. */
static ptrdiff_t match_end(struct match *m, size_t at, bool longest)
{
	size_t to = chunk_end(m, 0);

	if (!chunk_at(m, 0, to, at))
		return -1;
	at += to;
	while (to < m->pattern.n) {
		size_t from = to + 1;
		to = chunk_end(m, from);
		if (from == m->pattern.n)
			return (ptrdiff_t)(longest ? m->value.n : at);
		ptrdiff_t end = find_chunk(m, from, to, at, longest && to == m->pattern.n);
		if (end < 0)
			return -1;
		at = (size_t)end;
	}
	return (ptrdiff_t)at;
}

static int check_steps(const struct match *m, struct err *err)
{
	if (m->steps < MAX_STEPS)
		return 0;
	return err_set(err, ERR_LIMIT, "a pattern in a substitution takes too many steps");
}

int glob_trim(struct str pattern, struct str value, bool at_end, bool longest, struct buf *ret,
	struct err *err)
{
	cleanup(chars_done) struct chars p = chars_of(pattern), v = chars_of(value);
	int failed = compile(&p, pattern, err);

	if (failed)
		return failed;
	if (at_end) {
		reverse(&p);
		reverse(&v);
	}
	struct match m = {.pattern = p, .value = v};
	ptrdiff_t end = match_end(&m, 0, longest);
	if ((failed = check_steps(&m, err)))
		return failed;
	size_t cut = end < 0 ? 0 : (size_t)end;
	if (at_end)
		reverse(&v);
	add_chars(ret, &v, at_end ? 0 : cut, at_end ? v.n - cut : v.n);
	return 0;
}

/*
 * The next match at or after `at`. Where it may begin is where the first chunk stands: an
 * earlier place leaves the other chunks more room than a later one.
 */
static bool find_match(struct match *m, size_t at, size_t *ret_start, size_t *ret_end)
{
	size_t first = chunk_end(m, 0);

	if (at > m->value.n)
		return false;
	ptrdiff_t chunk = find_chunk(m, 0, first, at, false);
	if (chunk < 0)
		return false;
	*ret_start = (size_t)chunk - first;
	ptrdiff_t end = match_end(m, *ret_start, true);
	*ret_end = (size_t)end;
	return end >= 0;
}

int glob_replace(struct str pattern, struct str value, struct str replacement, bool all,
	struct buf *ret, struct err *err)
{
	cleanup(chars_done) struct chars p = chars_of(pattern), v = chars_of(value);
	int failed = compile(&p, pattern, err);
	size_t done = 0, at = 0, start, end;

	if (failed)
		return failed;
	struct match m = {.pattern = p, .value = v};
	while (find_match(&m, at, &start, &end)) {
		add_chars(ret, &v, done, start);
		/* An empty match right behind the one before it is none (as in Go's regexp). */
		if (end > start || start != done || !at)
			buf_add_str(ret, replacement);
		done = end;
		at = end > start ? end : end + 1;
		if (!all || ret->len > EXPAND_MAX_SIZE)
			break;
	}
	if ((failed = check_steps(&m, err)))
		return failed;
	add_chars(ret, &v, done, v.n);
	return 0;
}
