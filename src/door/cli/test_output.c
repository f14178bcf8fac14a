/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "cli/output.h"
#include "cli/terminal.h"

static void nothing_acts_on_the_terminal(void **state)
{
	static const struct {
		const char *bytes, *shown;
	} rows[] = {
		{"plain\n", "plain\n"},
		{"a\tb\r\n", "a\tb\r\n"},
		{"\033[1;31mred\033[0m", "red"},
		{"\033[2J\033[Hcleared", "cleared"},
		{"\033[?1049h\033[>4;1mkeys", "keys"},
		{"\033]0;title\007after", "after"},
		{"\033]8;;http://x\033\\link\033]8;;\033\\", "link"},
		{"\033Pq#0\033\\sixel", "sixel"},
		{"\033_apc\033\\\033^pm\033\\\033Xsos\033\\!", "!"},
		{"\033(0\033)B\033=\0337\0338x", "x"},
		{"\033c\033Dx", "x"},
		{"\xc2\x9b"
		 "31mc1\xc2\x9d"
		 "0;t\007",
			"c1"},
		{"\033]0;never ended\nnext", "\nnext"},
		{"\033]0;a\033[1mb", "b"},
		{"\033[31\nx", "\nx"},
		{"\033\033[1mx", "x"},
		{"a\bb\007\013\014\177\016", "ab"},
		{"gr\xc3\xbc\xc3\x9f \xe2\x9c\x93 \xf0\x9f\xa4\x97",
			"gr\xc3\xbc\xc3\x9f \xe2\x9c\x93 \xf0\x9f\xa4\x97"},
		{"\xff\xc3(\xe2\x82", "?"
				      "?("},
		{"\xc0\xaf\xed\xa0\x80\xf5", "??????"},
		{"\xe2\x82\n", "?\n"},
		{"safe\xe2\x80\xae"
		 "lru",
			"safe?lru"},
		{"\xe2\x81\xa6x\xe2\x80\xa8", "?x?"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct strip whole = {0}, pieces = {0};
		cleanup(buf_done) struct buf a = {0}, b = {0};
		struct str bytes = str_of(rows[i].bytes);

		strip_feed(&whole, bytes, &a);
		assert_string_equal(buf_text(&a), rows[i].shown);
		for (size_t at = 0; at < bytes.n; at++)
			strip_feed(&pieces, str_slice(bytes, at, at + 1), &b);
		assert_string_equal(buf_text(&b), rows[i].shown);
	}
}

static void lost_terminator_swallows_little(void **state)
{
	struct strip s = {0};
	cleanup(buf_done) struct buf text = {0}, bytes = {0};

	(void)state;
	buf_add_text(&bytes, "\033]0;");
	for (int i = 0; i < 5000; i++)
		buf_add_char(&bytes, 'x');
	strip_feed(&s, buf_str(&bytes), &text);
	assert_in_range(text.len, 800, 1000);
}

static void add_line(void *arg, struct str line)
{
	buf_printf(arg, "<%.*s>", STR_ARG(line));
}

static void lines_are_what_a_terminal_would_show(void **state)
{
	static const struct {
		const char *bytes, *lines;
	} rows[] = {
		{"one\ntwo\n", "<one><two>"},
		{"no end", "<no end>"},
		{"a\r\nb\r\n", "<a><b>"},
		{"10%\r50%\r100%\n", "<100%>"},
		{"10%\r", "<10%>"},
		{"\n\n", "<><>"},
		{"a\tb\n", "<a       b>"},
		{"\033[32mok\033[0m\n", "<ok>"},
		{"half \xe2\x82", "<half ?>"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct output_lines lines = {0};
		cleanup(buf_done) struct buf got = {0};
		struct str bytes = str_of(rows[i].bytes);

		for (size_t at = 0; at < bytes.n; at++)
			output_lines_feed(&lines, str_slice(bytes, at, at + 1), add_line, &got);
		output_lines_end(&lines, add_line, &got);
		assert_string_equal(buf_text(&got), rows[i].lines);
		output_lines_done(&lines);
	}
}

static void count_line(void *arg, struct str line)
{
	size_t *longest = arg;

	if (line.n > *longest)
		*longest = line.n;
}

static void endless_line_is_broken(void **state)
{
	struct output_lines lines = {0};
	size_t longest = 0;

	(void)state;
	for (int i = 0; i < 100000; i++)
		output_lines_feed(&lines, STR("\xe2\x9c\x93"), count_line, &longest);
	assert_in_range(longest, OUTPUT_LINE_MAX, OUTPUT_LINE_MAX + 3);
	assert_true(lines.line.len <= OUTPUT_LINE_MAX + 3);
	output_lines_done(&lines);
}

static void texts_are_cut_by_columns(void **state)
{
	static const struct {
		const char *text;
		size_t width, columns;
		const char *fitted;
	} rows[] = {
		{"hello", 5, 5, "hello"},
		{"hello", 5, 4, "hel…"},
		{"hello", 5, 1, "…"},
		{"hello", 5, 0, ""},
		{"", 0, 0, ""},
		{"日本語", 6, 6, "日本語"},
		{"日本語", 6, 5, "日本…"},
		{"日本語", 6, 4, "日…"},
		{"e\xcc\x81t", 2, 2, "e\xcc\x81t"},
		{"🤗 x", 4, 3, "🤗…"},
		{"\xff\xff", 0, 5, "\xff\xff"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf got = {0};
		assert_int_equal(text_width(str_of(rows[i].text)), rows[i].width);
		text_fit(&got, str_of(rows[i].text), rows[i].columns);
		assert_string_equal(buf_text(&got), rows[i].fitted);
	}
}

static void environment_decides_on_colour(void **state)
{
	struct terminal t;
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	t = terminal_of(-1);
	assert_false(t.is_live);
	assert_false(t.has_colour);
	assert_int_equal(t.columns, 80);
	terminal_add(&text, &t, STYLE_RED, STR("x"));
	assert_string_equal(text.data, "x");
	t.has_colour = true;
	terminal_add(&text, &t, STYLE_GREEN, STR("y"));
	assert_string_equal(text.data, "x\033[32my\033[0m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acts_on_the_terminal),
		cmocka_unit_test(lost_terminator_swallows_little),
		cmocka_unit_test(lines_are_what_a_terminal_would_show),
		cmocka_unit_test(endless_line_is_broken),
		cmocka_unit_test(texts_are_cut_by_columns),
		cmocka_unit_test(environment_decides_on_colour),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
