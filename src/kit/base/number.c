/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <stdio.h>

#include "base/attr.h"

static bool parse_base(struct str s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
		if (digit >= base || v > (max - digit) / base || digit > max)
			return false;
		v = v * base + digit;
	}
	*ret = v;
	return true;
}

bool parse_u64(struct str s, uint64_t max, uint64_t *ret)
{
	return parse_base(s, 10, max, ret);
}

bool parse_octal(struct str s, uint64_t max, uint64_t *ret)
{
	return parse_base(s, 8, max, ret);
}

bool parse_size(struct str s, uint64_t *ret)
{
	static const char units[] = "bkmgt";
	size_t digits = 0;
	uint64_t v;

	while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	if (!parse_u64(str_slice(s, 0, digits), UINT64_MAX, &v))
		return false;
	struct str unit = str_from_index(s, digits);
	if (unit.n == 0) {
		*ret = v;
		return true;
	}
	const char *hit = strchr(units, unit.p[0] | 0x20);
	struct str tail = str_from_index(unit, 1);
	if (!hit || (tail.n && !str_eq_nocase(tail, STR("b")) && !str_eq_nocase(tail, STR("ib"))))
		return false;
	unsigned shift = (unsigned)(hit - units) * 10;
	if (v > UINT64_MAX >> shift)
		return false;
	*ret = v << shift;
	return true;
}

static const struct {
	struct str name;
	int64_t ns;
} duration_units[] = {
	{{"ns", 2}, 1},
	{{"us", 2}, 1000},
	{{"\xc2\xb5s", 3}, 1000},
	{{"ms", 2}, 1000000},
	{{"s", 1}, 1000000000},
	{{"m", 1}, 60000000000},
	{{"h", 1}, 3600000000000},
};

static bool take_unit(struct str *s, int64_t *ret_ns)
{
	for (size_t i = 0; i < array_size(duration_units); i++)
		if (str_starts(*s, duration_units[i].name)) {
			*ret_ns = duration_units[i].ns;
			*s = str_from_index(*s, duration_units[i].name.n);
			return true;
		}
	return false;
}

static bool is_number_char(char c)
{
	return (c >= '0' && c <= '9') || c == '.';
}

/* One "1.5" before its unit, as whole part and a fraction in parts of `scale`. */
static bool take_number(struct str *s, uint64_t *ret_whole, uint64_t *ret_part, uint64_t *ret_scale)
{
	size_t len = 0;

	while (len < s->n && is_number_char(s->p[len]))
		len++;
	struct str whole = str_slice(*s, 0, len), part = {0};
	size_t dot = str_find(whole, '.');
	if (dot < whole.n) {
		part = str_slice(whole, dot + 1, dot + 10);
		whole = str_slice(whole, 0, dot);
	}
	*s = str_from_index(*s, len);
	*ret_scale = 1;
	for (size_t i = 0; i < part.n; i++)
		*ret_scale *= 10;
	*ret_whole = *ret_part = 0;
	if (whole.n == 0 && part.n == 0)
		return false;
	return (whole.n == 0 || parse_u64(whole, 10000000, ret_whole)) &&
	       (part.n == 0 || parse_u64(part, 1000000000, ret_part));
}

bool parse_duration(struct str s, int64_t *ret_ns)
{
	int64_t total = 0;

	if (str_is(s, "0")) {
		*ret_ns = 0;
		return true;
	}
	if (s.n == 0 || s.n > 64)
		return false;
	while (s.n) {
		uint64_t whole, part, scale;
		int64_t unit, sum;
		if (!take_number(&s, &whole, &part, &scale) || !take_unit(&s, &unit))
			return false;
		if (__builtin_mul_overflow((int64_t)whole, unit, &sum) ||
			__builtin_add_overflow(total, sum, &total) ||
			__builtin_add_overflow(total,
				(int64_t)((double)part / (double)scale * (double)unit), &total))
			return false;
	}
	*ret_ns = total;
	return true;
}

const char *print_size(char text[static 32], uint64_t bytes)
{
	static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 999.95 && unit + 1 < array_size(names)) {
		v /= 1000;
		unit++;
	}
	snprintf(text, 32, unit && v < 99.95 ? "%.1f %s" : "%.0f %s", v, names[unit]);
	return text;
}

const char *print_duration(char text[static 32], int64_t ns)
{
	double s = (double)ns / 1e9;

	if (s < 9.995)
		snprintf(text, 32, "%.2fs", s);
	else if (s < 59.95)
		snprintf(text, 32, "%.1fs", s);
	else
		snprintf(text, 32, "%dm%02ds", (int)(s + 0.5) / 60, (int)(s + 0.5) % 60);
	return text;
}
