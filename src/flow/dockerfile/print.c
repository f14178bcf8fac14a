/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "dockerfile/planner.h"
#include "dockerfile/rune.h"

/* Escapes of Go's strconv.Quote besides \xNN and \uNNNN. */
static const struct {
	char c, letter;
} short_escapes[] = {
	{'\a', 'a'},
	{'\b', 'b'},
	{'\f', 'f'},
	{'\n', 'n'},
	{'\r', 'r'},
	{'\t', 't'},
	{'\v', 'v'},
	{'"', '"'},
	{'\\', '\\'},
};

static bool add_short_escape(struct buf *ret, uint32_t c)
{
	for (size_t i = 0; i < array_size(short_escapes); i++)
		if (c == (unsigned char)short_escapes[i].c) {
			buf_add_char(ret, '\\');
			buf_add_char(ret, short_escapes[i].letter);
			return true;
		}
	return false;
}

void print_quoted(struct buf *ret, struct str s)
{
	size_t len;

	buf_add_char(ret, '"');
	for (; s.n; s = str_from_index(s, len)) {
		uint32_t c = rune_decode(s, &len);
		if (add_short_escape(ret, c))
			continue;
		if (c < 0x20 || c == 0x7f || c >= RUNE_STRAY)
			buf_printf(ret, "\\x%02x", (unsigned)(unsigned char)s.p[0]);
		else if (c >= 0x80 && c <= 0xa0)
			buf_printf(ret, "\\u%04x", (unsigned)c);
		else
			rune_encode(ret, c);
	}
	buf_add_char(ret, '"');
}

void print_list(struct buf *ret, const struct oci_list *list, bool quoted)
{
	buf_add_char(ret, '[');
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			buf_add_char(ret, ' ');
		if (quoted)
			print_quoted(ret, str_of(list->items[i]));
		else
			buf_add_text(ret, list->items[i]);
	}
	buf_add_char(ret, ']');
}

/* A number of units with its fraction, without trailing zeros: "1.5". */
static void add_fraction(struct buf *ret, int64_t ns, int64_t unit)
{
	char digits[16];
	size_t n = 0;

	buf_printf(ret, "%" PRId64, ns / unit);
	for (int64_t rest = ns % unit, u = unit / 10; rest; rest %= u, u /= 10)
		digits[n++] = (char)('0' + rest / u);
	if (n)
		buf_printf(ret, ".%.*s", (int)n, digits);
}

void print_duration_go(struct buf *ret, int64_t ns)
{
	static const int64_t second = 1000000000;
	int64_t minutes = ns / second / 60;

	if (!ns) {
		buf_add_text(ret, "0s");
	} else if (ns < second) {
		int64_t unit = ns >= 1000000 ? 1000000 : ns >= 1000 ? 1000 : 1;
		add_fraction(ret, ns, unit);
		buf_add_text(ret, unit == 1000000 ? "ms" : unit == 1000 ? "\xc2\xb5s" : "ns");
	} else {
		if (minutes >= 60)
			buf_printf(ret, "%" PRId64 "h", minutes / 60);
		if (minutes)
			buf_printf(ret, "%" PRId64 "m", minutes % 60);
		add_fraction(ret, ns - minutes * 60 * second, second);
		buf_add_char(ret, 's');
	}
}
