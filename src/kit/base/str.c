/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/alloc.h"

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
	if (c < 'A' || c > 'Z')
		return c;
	return (char)(c + ('a' - 'A'));
}

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool str_is(struct str a, const char *b)
{
	return str_eq(a, str_of(b));
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	if (order)
		return order;
	return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_from(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_from(s.p + (s.n - suffix.n), suffix.n), suffix);
}

struct str str_trim_left(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = str_from(s.p + 1, s.n - 1);
	return s;
}

struct str str_trim_right(struct str s)
{
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str str_trim(struct str s)
{
	return str_trim_right(str_trim_left(s));
}

size_t str_find(struct str s, char c)
{
	const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

size_t str_rfind(struct str s, char c)
{
	const char *hit = s.n ? memrchr(s.p, c, s.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

struct str str_from_index(struct str s, size_t from)
{
	return str_slice(s, from, s.n);
}

struct str str_slice(struct str s, size_t from, size_t to)
{
	if (to > s.n)
		to = s.n;
	if (from > to)
		from = to;
	return str_from(s.p ? s.p + from : NULL, to - from);
}

struct str str_cut(struct str *rest, char sep)
{
	size_t at = str_find(*rest, sep);
	struct str part = str_slice(*rest, 0, at);

	if (at == rest->n)
		*rest = (struct str){0};
	else
		*rest = str_from_index(*rest, at + 1);
	return part;
}

/* Unicode 15, table 3-7. */
size_t str_utf8_length(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	if (s.n == 0 || p[0] < 0x80)
		return s.n ? 1 : 0;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || len > s.n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool str_is_utf8(struct str s)
{
	while (s.n) {
		size_t len = str_utf8_length(s);
		unsigned char c = (unsigned char)s.p[0];
		if (len == 0 || c < 0x20 || c == 0x7f)
			return false;
		s = str_from_index(s, len);
	}
	return true;
}

struct str str_head(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return str_from(s.p, max);
}

char *str_dup(struct str s)
{
	return xstrndup(s.p ? s.p : "", s.n);
}
