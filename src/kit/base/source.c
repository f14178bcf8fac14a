/* SPDX-License-Identifier: Apache-2.0 */
#include "base/source.h"

#include <stdarg.h>
#include <stdio.h>

/* What is shown of a line that is longer than a terminal is wide. */
enum { SHOWN_WIDTH = 96 };

struct span source_span(const struct source *source, size_t at, size_t len)
{
	struct span span = {.line = 1};
	size_t start = 0;

	if (at > source->text.n)
		at = source->text.n;
	for (size_t i = 0; i < at; i++)
		if (source->text.p[i] == '\n') {
			span.line++;
			start = i + 1;
		}
	span.col = (unsigned)(at - start) + 1;
	struct str marked = str_slice(source->text, at, at + len);
	span.end_line = span.line;
	span.end_col = span.col;
	for (size_t i = 0; i < marked.n; i++) {
		span.end_col++;
		if (marked.p[i] == '\n' && i + 1 < marked.n) {
			span.end_line++;
			span.end_col = 1;
		}
	}
	return span;
}

static struct str line_of(struct str text, unsigned line)
{
	struct str one = {0};

	while (line-- && text.p)
		one = str_cut(&text, '\n');
	return str_ends(one, STR("\r")) ? str_slice(one, 0, one.n - 1) : one;
}

static void add_printable(struct buf *ret, struct str s)
{
	bool utf8 = str_is_utf8(s);

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\t')
			buf_add_char(ret, ' ');
		else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
			buf_add_char(ret, '?');
		else
			buf_add_char(ret, s.p[i]);
	}
}

static size_t columns_of(struct str s)
{
	size_t n = 0;

	/* Continuation bytes of UTF-8 take no column of their own. */
	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void add_caret(struct buf *ret, struct str line, size_t from, struct span span)
{
	size_t col = span.col ? span.col - 1 : 0;
	size_t end = span.end_col > span.col ? span.end_col - 1 : col + 1;

	if (col < from)
		col = from;
	size_t before = columns_of(str_slice(line, from, col));
	size_t under = columns_of(str_slice(line, col, end));
	buf_printf(ret, "%*s^", (int)before, "");
	if (under > SHOWN_WIDTH - before % SHOWN_WIDTH)
		under = SHOWN_WIDTH - before % SHOWN_WIDTH;
	for (size_t i = 1; i < under; i++)
		buf_add_char(ret, '~');
	buf_add_char(ret, '\n');
}

void source_excerpt(
	const struct source *source, struct span span, unsigned max_lines, struct buf *ret)
{
	unsigned last = span.end_line > span.line ? span.end_line : span.line;
	bool one_line = last == span.line;

	if (last - span.line >= max_lines)
		last = span.line + max_lines - 1;
	char number[16];
	int width = snprintf(number, sizeof(number), "%u", last);
	for (unsigned n = span.line; n <= last; n++) {
		struct str line = line_of(source->text, n);
		size_t from = 0;
		if (one_line && line.n > SHOWN_WIDTH && span.col > SHOWN_WIDTH * 2 / 3)
			from = span.col - SHOWN_WIDTH / 2;
		/* Not into the middle of a character. */
		while (from < line.n && ((unsigned char)line.p[from] & 0xc0) == 0x80)
			from++;
		buf_printf(ret, "  %*u | ", width, n);
		add_printable(ret, str_slice(line, from, from + SHOWN_WIDTH));
		buf_add_char(ret, '\n');
		if (n > span.line)
			continue;
		/* Of several lines it shows where they begin. */
		if (!one_line)
			span.end_col = 0;
		buf_printf(ret, "  %*s | ", width, "");
		add_caret(ret, line, from, span);
	}
}

int source_error(struct err *err, enum err_kind kind, const struct source *source, struct span span,
	const char *fmt, ...)
{
	cleanup(buf_done) struct buf excerpt = {0};
	char text[sizeof(err->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	int failed = err_set(err, kind, "%s:%u:%u: %s", source->name, span.line, span.col, text);
	source_excerpt(source, span, 4, &excerpt);
	(void)err_hint(err, "%.*s", STR_ARG(str_trim_right(buf_str(&excerpt))));
	return failed; /* which says the kind without an err, too */
}

int source_wrap(
	struct err *err, const struct source *source, struct span span, const char *fmt, ...)
{
	cleanup(buf_done) struct buf hint = {0};
	char text[sizeof(err->text)];
	va_list ap;

	if (!err)
		return err_wrap(err, "%s", source->name);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	source_excerpt(source, span, 4, &hint);
	buf_add_text(&hint, err->hint);
	(void)err_wrap(err, "%s:%u: %s", source->name, span.line, text);
	return err_hint(err, "%.*s", STR_ARG(str_trim_right(buf_str(&hint))));
}
