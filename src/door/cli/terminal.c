/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static const char *const codes[] = {
	[STYLE_PLAIN] = "",
	[STYLE_BOLD] = "\033[1m",
	[STYLE_DIM] = "\033[2m",
	[STYLE_RED] = "\033[1;31m",
	[STYLE_GREEN] = "\033[32m",
	[STYLE_YELLOW] = "\033[33m",
	[STYLE_BLUE] = "\033[34m",
};

static bool is_set(const char *name)
{
	const char *value = getenv(name);
	return value && *value;
}

static bool is_ci(void)
{
	const char *value = getenv("CI");
	return value && *value && strcmp(value, "false") != 0 && strcmp(value, "0") != 0;
}

struct terminal terminal_of(int fd)
{
	const char *term = getenv("TERM");
	struct terminal t = {.columns = 80, .rows = 24};

	t.is_terminal = isatty(fd);
	t.is_live = t.is_terminal && term && *term && strcmp(term, "dumb") != 0 && !is_ci();
	t.has_colour = t.is_live && !is_set("NO_COLOR");
	terminal_measure(&t, fd);
	return t;
}

void terminal_measure(struct terminal *t, int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_col > 0)
		t->columns = size.ws_col;
	if (size.ws_row > 0)
		t->rows = size.ws_row;
}

void terminal_add(struct buf *b, const struct terminal *t, enum style style, struct str text)
{
	if (!t->has_colour || style == STYLE_PLAIN) {
		buf_add_str(b, text);
		return;
	}
	buf_add_text(b, codes[style]);
	buf_add_str(b, text);
	buf_add_text(b, "\033[0m");
}

/*
 * One character of text at `at`: its bytes, and in ret_width its columns. mbrtowc() reads
 * UTF-8 only in a UTF-8 locale, so that of the process is set once, for this category.
 */
static size_t next_char(struct str text, size_t at, size_t *ret_width)
{
	static bool is_prepared;
	mbstate_t state = {0};
	wchar_t c;

	if (!is_prepared) {
		setlocale(LC_CTYPE, "C.UTF-8");
		is_prepared = true;
	}
	size_t n = mbrtowc(&c, text.p + at, text.n - at, &state);
	*ret_width = 0;
	if (n == 0 || n > text.n - at)
		return 1;
	int width = wcwidth(c);
	if (width > 0)
		*ret_width = (size_t)width;
	return n;
}

size_t text_width(struct str text)
{
	size_t columns = 0, width;

	for (size_t at = 0; at < text.n; columns += width)
		at += next_char(text, at, &width);
	return columns;
}

void text_fit(struct buf *b, struct str text, size_t columns)
{
	size_t used = 0, width, at = 0, cut = 0;

	while (at < text.n) {
		size_t n = next_char(text, at, &width);
		if (used + width > columns)
			break;
		/* Up to here, one column is left for the mark. */
		if (used + width < columns)
			cut = at + n;
		used += width;
		at += n;
	}
	if (at == text.n) {
		buf_add_str(b, text);
		return;
	}
	buf_add(b, text.p, cut);
	if (columns > 0)
		buf_add_text(b, "…");
}

void text_pad(struct buf *b, size_t n)
{
	while (n-- > 0)
		buf_add_char(b, ' ');
}

void text_show(int fd, struct str text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);
		if (n < 0 && errno != EINTR)
			return;
		text = str_from_index(text, n < 0 ? 0 : (size_t)n);
	}
}
