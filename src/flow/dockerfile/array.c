/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"
#include "dockerfile/rune.h"

/*
 * The JSON form of CMD, COPY and others. Only text that is JSON through and through counts as
 * such (RFC 8259); whatever else begins with '[' is shell form. So all kinds of values must be
 * read, if only to say that an array of them is wrong.
 */
enum { MAX_DEPTH = 10000 };

struct cursor {
	struct str text;
	size_t at;
};

static void skip_blanks(struct cursor *c)
{
	while (c->at < c->text.n && strchr(" \t\r\n", c->text.p[c->at]) && c->text.p[c->at])
		c->at++;
}

static int peek(const struct cursor *c)
{
	return c->at < c->text.n ? (unsigned char)c->text.p[c->at] : -1;
}

static bool take(struct cursor *c, char wanted)
{
	if (peek(c) != (unsigned char)wanted)
		return false;
	c->at++;
	return true;
}

static bool take_hex(struct cursor *c, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		int d = peek(c);
		if (d >= '0' && d <= '9')
			d -= '0';
		else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
			d = (d | 0x20) - 'a' + 10;
		else
			return false;
		v = v << 4 | (uint32_t)d;
		c->at++;
	}
	*ret = v;
	return true;
}

/* After "\u": a surrogate without its other half becomes U+FFFD. */
static bool take_unicode(struct cursor *c, struct buf *ret)
{
	uint32_t v, low;

	if (!take_hex(c, &v))
		return false;
	if (v >= 0xd800 && v < 0xdc00) {
		struct cursor ahead = *c;
		if (take(&ahead, '\\') && take(&ahead, 'u') && take_hex(&ahead, &low) &&
			low >= 0xdc00 && low < 0xe000) {
			*c = ahead;
			v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	rune_encode(ret, v >= 0xd800 && v < 0xe000 ? 0xfffd : v);
	return true;
}

static bool take_escape(struct cursor *c, struct buf *ret)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int escape = peek(c);
	const char *hit = escape > 0 ? strchr(from, escape) : NULL;

	c->at++;
	if (escape == 'u')
		return take_unicode(c, ret);
	if (!hit)
		return false;
	buf_add_char(ret, to[hit - from]);
	return true;
}

static bool take_string(struct cursor *c, struct buf *ret)
{
	if (!take(c, '"'))
		return false;
	for (int ch; (ch = peek(c)) >= 0x20;) {
		c->at++;
		if (ch == '"')
			return true;
		if (ch != '\\')
			buf_add_char(ret, (char)ch);
		else if (!take_escape(c, ret))
			return false;
	}
	return false;
}

static bool take_digits(struct cursor *c)
{
	size_t from = c->at;

	while (peek(c) >= '0' && peek(c) <= '9')
		c->at++;
	return c->at > from;
}

static bool take_number(struct cursor *c)
{
	(void)take(c, '-'); /* may be there or not */
	if (!take(c, '0') && !take_digits(c))
		return false;
	if (take(c, '.') && !take_digits(c))
		return false;
	if (!take(c, 'e') && !take(c, 'E'))
		return true;
	if (!take(c, '+'))
		(void)take(c, '-'); /* may be there or not */
	return take_digits(c);
}

static bool take_literal(struct cursor *c)
{
	static const char *const literals[] = {"true", "false", "null"};
	struct str rest = str_from_index(c->text, c->at);

	for (size_t i = 0; i < array_size(literals); i++)
		if (str_starts(rest, str_of(literals[i]))) {
			c->at += strlen(literals[i]);
			return true;
		}
	return take_number(c);
}

/* A key of an object, with its colon. */
static bool take_key(struct cursor *c, struct buf *scratch)
{
	buf_clear(scratch);
	skip_blanks(c);
	if (!take_string(c, scratch))
		return false;
	skip_blanks(c);
	return take(c, ':');
}

/* After a value, or an opening bracket: close what ends here. */
static void close_brackets(struct cursor *c, struct buf *open)
{
	skip_blanks(c);
	while (open->len && take(c, open->data[open->len - 1] == '[' ? ']' : '}')) {
		buf_truncate(open, open->len - 1);
		skip_blanks(c);
	}
}

/* Between two values of a nested array or object. */
static bool next_value(struct cursor *c, struct buf *open, struct buf *scratch)
{
	if (!open->len)
		return true;
	return take(c, ',') && (open->data[open->len - 1] == '[' || take_key(c, scratch));
}

/* One value that is no string at the top; nesting is kept in a buffer, not on the stack. */
static bool skip_value(struct cursor *c)
{
	cleanup(buf_done) struct buf open = {0}, scratch = {0};

	do {
		skip_blanks(c);
		int ch = peek(c);
		if (ch == '[' || ch == '{') {
			c->at++;
			buf_add_char(&open, (char)ch);
			if (open.len > MAX_DEPTH)
				return false;
			skip_blanks(c);
			bool empty = peek(c) == (ch == '[' ? ']' : '}');
			if (!empty && ch == '{' && !take_key(c, &scratch))
				return false;
			if (!empty)
				continue;
		} else if (ch == '"') {
			buf_clear(&scratch);
			if (!take_string(c, &scratch))
				return false;
		} else if (!take_literal(c)) {
			return false;
		}
		close_brackets(c, &open);
		if (!next_value(c, &open, &scratch))
			return false;
	} while (open.len);
	return true;
}

static void add_word(
	struct arena *a, struct part p, struct instruction *ins, size_t *cap, const struct buf *s)
{
	ins->words = arena_grow(a, ins->words, ins->word_count, cap, sizeof(*ins->words));
	ins->words[ins->word_count++] =
		(struct word){.text = arena_str(a, buf_str(s)), .span = part_span(p)};
}

static bool take_items(
	struct arena *a, struct cursor *c, struct part p, struct instruction *ins, bool *ret_other)
{
	cleanup(buf_done) struct buf item = {0};
	size_t cap = 0;

	do {
		skip_blanks(c);
		size_t from = c->at;
		if (peek(c) != '"') {
			*ret_other = true;
			if (!skip_value(c))
				return false;
		} else {
			buf_clear(&item);
			if (!take_string(c, &item))
				return false;
			add_word(a, part_slice(p, from, c->at), ins, &cap, &item);
		}
		skip_blanks(c);
	} while (take(c, ','));
	return take(c, ']');
}

enum array_result split_array(struct arena *a, struct part p, struct instruction *ins)
{
	struct cursor c = {.text = p.text};
	struct instruction found = {0};
	bool other = false;

	if (!take(&c, '['))
		return ARRAY_NONE;
	skip_blanks(&c);
	if (!take(&c, ']') && !take_items(a, &c, p, &found, &other))
		return ARRAY_NONE;
	skip_blanks(&c);
	if (c.at < c.text.n)
		return ARRAY_NONE;
	if (other)
		return ARRAY_OTHER;
	ins->json = true;
	ins->words = found.words;
	ins->word_count = found.word_count;
	return ARRAY_STRINGS;
}
