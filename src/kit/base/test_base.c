/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/arena.h"
#include "base/argv.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/fields.h"
#include "base/map.h"
#include "base/number.h"
#include "base/source.h"
#include "base/str.h"
#include "base/suggest.h"

static void err_carries_context_and_exit_code(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(err_set(&err, ERR_INPUT, "bad %s", "a\x1b[31mb"), -ERR_INPUT);
	assert_string_equal(err.text, "bad a?[31mb");
	assert_int_equal(err_wrap(&err, "file %d", 7), -ERR_INPUT);
	assert_string_equal(err.text, "file 7: bad a?[31mb");
	assert_int_equal(err_exit_code(&err), 2);
	errno = ENOENT;
	assert_int_equal(err_sys(&err, "open x"), -ERR_MISSING);
	assert_string_equal(err.text, "open x: No such file or directory");
	assert_int_equal(err.sys, ENOENT);
}

static void hints_grow_by_lines(void **state)
{
	struct err err = {0};

	(void)state;
	(void)err_set(&err, ERR_HOST, "no tun");
	assert_int_equal(err_hint_add(&err, "one %d", 1), -ERR_HOST);
	assert_string_equal(err.hint, "one 1");
	(void)err_hint_add(&err, "two\x1b");
	assert_string_equal(err.hint, "one 1\ntwo?");
	for (int i = 0; i < 100; i++)
		(void)err_hint_add(&err, "0123456789");
	assert_true(strlen(err.hint) < sizeof(err.hint));
}

static void err_wrap_never_overflows(void **state)
{
	struct err err = {0};
	char longest[3000];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	(void)err_set(&err, ERR_BUG, "%s", longest);
	assert_string_equal(err.text + sizeof(err.text) - 4, "...");
	for (int i = 0; i < 5; i++)
		(void)err_wrap(&err, "%s", longest);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	(void)err_set(&err, ERR_BUG, "tail");
	(void)err_wrap(&err, "%s", "head");
	assert_string_equal(err.text, "head: tail");
}

static void str_cut_sees_each_part_once(void **state)
{
	struct str rest = STR("a::b:");
	const char *expected[] = {"a", "", "b", ""};
	size_t n = 0;

	(void)state;
	while (rest.p) {
		struct str part = str_cut(&rest, ':');
		assert_true(n < 4 && str_is(part, expected[n]));
		n++;
	}
	assert_int_equal(n, 4);
}

static void str_trims_and_compares(void **state)
{
	(void)state;
	assert_true(str_is(str_trim(STR(" \t x y\r\n")), "x y"));
	assert_true(str_is(str_trim(STR("  ")), ""));
	assert_true(str_starts(STR("abc"), STR("ab")) && !str_starts(STR("a"), STR("ab")));
	assert_true(str_ends(STR("abc"), STR("bc")) && !str_ends(STR("c"), STR("bc")));
	assert_true(str_eq_nocase(STR("FroM"), STR("fROm")));
	assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
	assert_int_equal(str_slice(STR("abc"), 5, 9).n, 0);
}

static void utf8_is_judged_by_the_table(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"plain", true},
		{"\xc3\xa4", true},
		{"\xe2\x82\xac", true},
		{"\xf0\x9f\x9a\x80", true},
		{"\xc0\xaf", false},
		{"\xed\xa0\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\xff", false},
		{"\xe2\x82", false},
		{"\x1b[2J", false},
		{"a\nb", false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(str_is_utf8(str_of(rows[i].text)), rows[i].good);
	assert_int_equal(str_utf8_length(STR("\xe2\x82\xac x")), 3);
	assert_int_equal(str_utf8_length(STR("\n")), 1);
	assert_int_equal(str_utf8_length(STR("\x82")), 0);
	assert_int_equal(str_utf8_length(STR("")), 0);
	assert_int_equal(str_head(STR("a\xe2\x82\xac"), 3).n, 1);
	assert_int_equal(str_head(STR("a\xe2\x82\xac"), 4).n, 4);
	assert_int_equal(str_head(STR("abc"), 2).n, 2);
	assert_int_equal(str_head(STR("\x82\x82\x82"), 2).n, 0);
}

static void buf_grows_and_cuts(void **state)
{
	cleanup(buf_done) struct buf b = {0};

	(void)state;
	assert_string_equal(buf_text(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	assert_true(str_ends(buf_str(&b), STR("998,999,")));
	buf_cut_front(&b, b.len - 4);
	assert_string_equal(b.data, "999,");
	buf_truncate(&b, 1);
	buf_add_char(&b, '!');
	assert_string_equal(b.data, "9!");
	cleanup_free char *taken = buf_take(&b);
	assert_string_equal(taken, "9!");
	assert_int_equal(b.len, 0);
}

static void argv_as_environment(void **state)
{
	cleanup(argv_done) struct argv v = {0};

	(void)state;
	argv_set_env(&v, STR("A"), STR("1"));
	argv_set_env(&v, STR("AB"), STR("2"));
	argv_set_env(&v, STR("A"), STR("3"));
	assert_int_equal(v.count, 2);
	assert_string_equal(v.items[0], "A=3");
	assert_string_equal(argv_env(&v, "AB"), "2");
	assert_null(argv_env(&v, "B"));
	argv_unset_env(&v, STR("A"));
	assert_int_equal(v.count, 1);
	assert_null(v.items[1]);
}

static void arena_values_are_apart_and_zero(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	char *parts[100];

	(void)state;
	for (int i = 0; i < 100; i++) {
		parts[i] = arena_alloc(&a, (size_t)i * 100 + 1);
		for (int k = 0; k <= i * 100; k++)
			assert_int_equal(parts[i][k], 0);
		memset(parts[i], i, (size_t)i * 100 + 1);
		assert_int_equal((uintptr_t)parts[i] % 8, 0);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(parts[i][(size_t)i * 100], (char)i);
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
	int *numbers = NULL;
	size_t cap = 0;
	for (int i = 0; i < 100; i++) {
		numbers = arena_grow(&a, numbers, (size_t)i, &cap, sizeof(*numbers));
		numbers[i] = i;
	}
	assert_int_equal(numbers[99], 99);
	assert_int_equal(numbers[0], 0);
}

static void map_finds_what_was_set(void **state)
{
	cleanup(map_free) struct map *m = map_new();
	static int values[3000];
	char key[32];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_null(map_set(m, str_of(key), &values[i]));
	}
	for (int i = 0; i < 3000; i += 2) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_ptr_equal(map_remove(m, str_of(key)), &values[i]);
	}
	assert_int_equal(map_count(m), 1500);
	assert_ptr_equal(map_find(m, STR("key-1501")), &values[1501]);
	assert_null(map_find(m, STR("key-1500")));
	size_t at = 0, seen = 0;
	while (map_next(m, &at, NULL))
		seen++;
	assert_int_equal(seen, 1500);
}

static void numbers_are_read_whole(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_true(parse_u64(STR("65535"), 65535, &v) && v == 65535);
	assert_true(parse_u64(STR("18446744073709551615"), UINT64_MAX, &v) && v == UINT64_MAX);
	assert_false(parse_u64(STR("18446744073709551616"), UINT64_MAX, &v));
	assert_false(parse_u64(STR("65536"), 65535, &v));
	assert_false(parse_u64(STR(""), 9, &v) || parse_u64(STR("-1"), 9, &v) ||
		     parse_u64(STR("1 "), 9, &v) || parse_u64(STR("9"), 7, &v));
	assert_true(parse_octal(STR("0755"), 07777, &v) && v == 0755);
	assert_false(parse_octal(STR("8"), 07777, &v));
	assert_true(parse_size(STR("64m"), &v) && v == 64 << 20);
	assert_true(parse_size(STR("16GiB"), &v) && v == UINT64_C(16) << 30);
	assert_true(parse_size(STR("5"), &v) && v == 5);
	assert_false(parse_size(STR("5x"), &v) || parse_size(STR("5mm"), &v));
}

static void durations_follow_go(void **state)
{
	int64_t ns = 0;
	char text[32];

	(void)state;
	assert_true(parse_duration(STR("1h30m"), &ns) && ns == INT64_C(5400000000000));
	assert_true(parse_duration(STR("1.5s"), &ns) && ns == 1500000000);
	assert_true(parse_duration(STR("300ms"), &ns) && ns == 300000000);
	assert_true(parse_duration(STR("0"), &ns) && ns == 0);
	assert_false(parse_duration(STR("5"), &ns) || parse_duration(STR("-1s"), &ns) ||
		     parse_duration(STR("s"), &ns) || parse_duration(STR(".s"), &ns) ||
		     parse_duration(STR("1s "), &ns));
	assert_string_equal(print_duration(text, 40000000), "0.04s");
	assert_string_equal(print_duration(text, INT64_C(125000000000)), "2m05s");
	assert_string_equal(print_size(text, 1500000000), "1.5 GB");
	assert_string_equal(print_size(text, 999), "999 B");
}

static void digests_in_text(void **state)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d = digest_of("abc", 3), back = {0};
	cleanup(hasher_free) struct hasher *h = hasher_new();

	(void)state;
	assert_string_equal(digest_text(&d, text),
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(digest_parse(str_of(text), &back) && digest_eq(&d, &back));
	hasher_add(h, "a", 1);
	hasher_add(h, "bc", 2);
	back = hasher_finish(h);
	assert_true(digest_eq(&d, &back));
	text[10] = 'A';
	assert_false(digest_parse(str_of(text), &back));
	assert_false(digest_parse(STR("sha256:../../x"), &back));
}

static void base64_is_padded(void **state)
{
	static const char *const rows[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe", "//4="}};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf out = {0};
		base64_encode(str_of(rows[i][0]), &out);
		assert_string_equal(buf_text(&out), rows[i][1]);
	}
}

static void fields_are_bounded(void **state)
{
	cleanup(buf_done) struct buf b = {0};

	(void)state;
	buf_add_u32(&b, 7);
	buf_add_u64(&b, UINT64_C(1) << 40);
	buf_add_field(&b, STR("text"));
	struct fields f = {.rest = buf_str(&b)};
	assert_int_equal(fields_u32(&f), 7);
	assert_true(fields_u64(&f) == UINT64_C(1) << 40);
	assert_true(str_is(fields_str(&f), "text"));
	assert_false(f.bad);
	assert_int_equal(fields_u32(&f), 0);
	assert_true(f.bad);
	f = (struct fields){.rest = str_slice(buf_str(&b), 12, b.len - 1)};
	assert_int_equal(fields_str(&f).n, 0);
	assert_true(f.bad);
}

static void errors_show_their_place(void **state)
{
	struct source source = {"Dockerfile", STR("# one\nFORM \xc3\xa4 x\r\n\x1b[2J\n")};
	struct err err = {0};

	(void)state;
	struct span span = source_span(&source, 11, 2);
	assert_int_equal(span.line, 2);
	assert_int_equal(span.col, 6);
	assert_int_equal(
		source_error(&err, ERR_INPUT, &source, span, "bad %s", "word"), -ERR_INPUT);
	assert_int_equal(source_error(NULL, ERR_LIMIT, &source, span, "x"), -ERR_LIMIT);
	assert_string_equal(err.text, "Dockerfile:2:6: bad word");
	assert_string_equal(err.hint, "  2 | FORM \xc3\xa4 x\n    |      ^");
	assert_int_equal(source_wrap(&err, &source, span, "in %s", "it"), -ERR_INPUT);
	assert_string_equal(err.text, "Dockerfile:2: in it: Dockerfile:2:6: bad word");
	assert_string_equal(err.hint, "  2 | FORM \xc3\xa4 x\n    |      ^\n"
				      "  2 | FORM \xc3\xa4 x\n    |      ^");
	span = (struct span){.line = 1, .col = 1, .end_line = 3, .end_col = 2};
	cleanup(buf_done) struct buf b = {0};
	source_excerpt(&source, span, 10, &b);
	assert_string_equal(b.data, "  1 | # one\n    | ^\n  2 | FORM \xc3\xa4 x\n  3 | ?[2J\n");
}

static void suggestions_are_near(void **state)
{
	static const char *const words[] = {
		"FROM", "FORMAT", "app_port", "app_file", "cpu-basic", "a10g-large", "a10g-small"};
	static const struct {
		const char *written, *best;
	} rows[] = {
		{"FORM", "FROM"},
		{"from", "FROM"},
		{"app-port", "app_port"},
		{"appport", "app_port"},
		{"ap_port", "app_port"},
		{"a10-large", "a10g-large"},
		{"a10g-lagre", "a10g-large"},
		{"cpu_basic", "cpu-basic"},
		{"port", NULL},
		{"x", NULL},
		{"", NULL},
		{"a10g-largest-of-them", NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct suggest near = {.written = str_of(rows[i].written)};
		for (size_t j = 0; j < array_size(words); j++)
			suggest_offer(&near, words[j]);
		if (rows[i].best)
			assert_string_equal(near.best, rows[i].best);
		else
			assert_null(near.best);
	}
	char longest[200];
	memset(longest, 'a', sizeof(longest));
	struct suggest near = {.written = str_from(longest, sizeof(longest))};
	suggest_offer(&near, "a");
	assert_null(near.best);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_carries_context_and_exit_code),
		cmocka_unit_test(hints_grow_by_lines),
		cmocka_unit_test(err_wrap_never_overflows),
		cmocka_unit_test(str_cut_sees_each_part_once),
		cmocka_unit_test(str_trims_and_compares),
		cmocka_unit_test(utf8_is_judged_by_the_table),
		cmocka_unit_test(buf_grows_and_cuts),
		cmocka_unit_test(argv_as_environment),
		cmocka_unit_test(arena_values_are_apart_and_zero),
		cmocka_unit_test(map_finds_what_was_set),
		cmocka_unit_test(numbers_are_read_whole),
		cmocka_unit_test(durations_follow_go),
		cmocka_unit_test(digests_in_text),
		cmocka_unit_test(base64_is_padded),
		cmocka_unit_test(errors_show_their_place),
		cmocka_unit_test(fields_are_bounded),
		cmocka_unit_test(suggestions_are_near),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
