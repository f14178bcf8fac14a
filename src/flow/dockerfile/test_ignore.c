/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"
#include "dockerfile/internal.h"

static struct patterns *parse(const char *text)
{
	struct patterns *p = patterns_new();
	struct source source = {".dockerignore", str_of(text)};

	assert_int_equal(ignore_parse(&source, p, NULL), 0);
	return p;
}

struct row {
	const char *patterns, *path;
	bool ignored;
};

static void check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		cleanup(patterns_free) struct patterns *p = parse(rows[i].patterns);
		if (patterns_match(p, str_of(rows[i].path)) != rows[i].ignored)
			fail_msg("row %zu: [%s] and %s", i, rows[i].patterns, rows[i].path);
	}
}

static const struct row singles[] = {
	{"a", "a", true},
	{"a", "ab", false},
	{"a", "a/b/c", true},
	{"a", "b/a", false},
	{"/a", "a", true},
	{"a/", "a", true},
	{"./a/../b", "b", true},
	{"*", "a", true},
	{"*", "a/b", true},
	{"a*", "abc", true},
	{"a*", "b", false},
	{"*/a", "b/a", true},
	{"*/a", "a", false},
	{"*/a", "c/b/a", false},
	{"*/*/a", "c/b/a", true},
	{"a?c", "abc", true},
	{"a?c", "a/c", false},
	{"a?c",
		"a\xc3\xa4"
		"c",
		true},
	{"?", "\xff", true},
	{"[a-c]x", "bx", true},
	{"[a-c]x", "dx", false},
	{"[^a-c]x", "dx", true},
	{"[^a-c]x", "ax", false},
	{"[!a]x", "!x", true},
	{"[\\]]", "]", true},
	{"\\*", "*", true},
	{"\\*", "a", false},
	{"a]", "a]", true},
	{"a.b+(c)$^|{}", "a.b+(c)$^|{}", true},
	{"a.b", "axb", false},
	{"**", "a/b", true},
	{"**/a", "a", true},
	{"**/a", "b/c/a", true},
	{"**/a", "ba", false},
	{"**/a/b", "x/a/b/c", true},
	{"**a", "ba", true},
	{"**a", "x/ba", true},
	{"**a", "ab", false},
	{"a/**", "a", false},
	{"a/**", "a/b/c", true},
	{"a/**/b", "a/b", true},
	{"a/**/b", "a/x/y/b", true},
	{"a/**/b", "axb", false},
	{"a**", "abc/d", true},
	{"a**b", "ab", true},
	{"a**b", "ax/b", true},
	{"a**b", "axb", false},
	{"**/*.log", "x/y.log", true},
	{"**/*.log", "y.log", true},
	{"**/*.log", "y.log.txt", false},
	{"**/*_test.go", "a_test.go", true},
	{"**/.git", "a/.git/config", true},
	{"**/a*b*c/**", "x/aabbc/d", true},
	{"**/**/x", "x", true},
	{"a/*/b", "a/b", false},
	{"..", "a", false},
	{"../a", "a", false},
	{"/", "a", false},
	{".", "a", false},
	{"", "a", false},
};

static void single_patterns(void **state)
{
	(void)state;
	check(singles, array_size(singles));
}

static void files_of_patterns(void **state)
{
	static const struct row rows[] = {
		{"# a\na", "a", true},
		{"#a", "#a", false},
		{" # a", "# a", true},
		{"  a  \r\n", "a", true},
		{"\xef\xbb\xbf"
		 "a",
			"a", true},
		{"\n\n\na\n", "a", true},
		{"*\n!a", "a", false},
		{"*\n!a", "a/b", false},
		{"*\n! /a ", "a", false},
		{"!a\n*", "a", true},
		{"*\n!a\na/b", "a/b", true},
		{"*\n!a\na/b", "a/c", false},
		{"*.md\n!README*.md\nREADME-secret.md", "README.md", false},
		{"*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true},
		{"*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false},
		{"**\n!app.py", "app.py", false},
		{"**\n!app.py", "x/app.py", true},
		{"a/**\n!a/b", "a/b", false},
		{"a/**\n!a/b", "a/b/c", false},
		{"a/**\n!a/b", "a/c", true},
		/* An exception is not tried where nothing is ignored yet, nor remembered. */
		{"**/*.log\n!logs", "logs/a.log", true},
		{"**/*.log\n!logs/**", "logs/a.log", false},
	};

	(void)state;
	check(rows, array_size(rows));
}

static void point_43_exceptions_below_ignored_directories(void **state)
{
	static const struct row rows[] = {
		{"docs/*\n!docs/README.md", "docs/README.md", false},
		{"docs\n!docs/README.md", "docs/README.md", false},
		{"docs\n!docs/README.md", "docs/other", true},
		{"docs\n!docs/README.md", "docs", true},
	};
	static const struct row below[] = {
		{"docs\n!docs/README.md", "docs", true},
		{"docs\n!docs/a/b/c", "docs/a", true},
		{"docs\n!docs/a/b/c", "docs/x", false},
		{"docs\n!docs/*/c", "docs/x", true},
		{"docs\n!docs/*/c", "docs/x/y", false},
		{"*\n!**/x", "any/where", true},
		{"*\n!a*/x", "b", false},
		{"*\n!a*/x", "ab", true},
		{"*\n!a", "a", false},
		{"docs", "docs", false},
		{"docs\n!docs2/x", "docs", false},
		{"node_modules\n!*.md", "node_modules", false},
	};

	(void)state;
	check(rows, array_size(rows));
	for (size_t i = 0; i < array_size(below); i++) {
		cleanup(patterns_free) struct patterns *p = parse(below[i].patterns);
		assert_int_equal(
			patterns_may_except_below(p, str_of(below[i].path)), below[i].ignored);
	}
}

static void a_walker_learns_from_the_directory_above(void **state)
{
	cleanup(patterns_free) struct patterns *p = parse("a\n!a/b\na/b/c");
	bool top[3], middle[3], low[3];

	(void)state;
	assert_int_equal(patterns_count(p), 3);
	assert_true(patterns_match_in(p, STR("a"), NULL, top));
	assert_true(top[0] && !top[1]);
	assert_false(patterns_match_in(p, STR("a/b"), top, middle));
	assert_true(patterns_match_in(p, STR("a/b/c"), middle, low));
	assert_false(patterns_match_in(p, STR("a/b/d"), middle, low));
	assert_true(patterns_match_in(p, STR("a/e"), top, low));
}

static void malformed_patterns_have_a_line(void **state)
{
	static const char *const bad[] = {"[", "a[", "[]a]", "[a", "[a-]", "[-a]", "[^]", "a\\",
		"!", "! ", "[a-\\", "a/[z/b"};
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < array_size(bad); i++) {
		cleanup(patterns_free) struct patterns *p = patterns_new();
		cleanup(buf_done) struct buf text = {0};
		buf_printf(&text, "fine\n%s\n", bad[i]);
		struct source source = {".dockerignore", buf_str(&text)};
		assert_int_equal(ignore_parse(&source, p, &err), -ERR_INPUT);
		assert_non_null(strstr(err.text, ".dockerignore:2:1: the pattern "));
	}
}

static void wildcards_match_as_in_go(void **state)
{
	static const struct row rows[] = {
		{"abc", "abc", true},
		{"*", "abc", true},
		{"*c", "abc", true},
		{"a*", "a", true},
		{"a*", "ab/c", false},
		{"a*/b", "abc/b", true},
		{"a*/b", "a/c/b", false},
		{"a*b*c*d*e*/f", "axbxcxdxe/f", true},
		{"a*b*c*d*e*/f", "axbxcxdxexxx/f", true},
		{"a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false},
		{"a*b?c*x", "abxbbxdbxebxczzx", true},
		{"a*b?c*x", "abxbbxdbxebxczzy", false},
		{"ab[c]", "abc", true},
		{"ab[b-d]", "abc", true},
		{"ab[e-g]", "abc", false},
		{"ab[^c]", "abc", false},
		{"ab[^e-g]", "abc", true},
		{"a\\*b", "a*b", true},
		{"a\\*b", "ab", false},
		{"a?b",
			"a\xe2\x98\xba"
			"b",
			true},
		{"a[^a]b",
			"a\xe2\x98\xba"
			"b",
			true},
		{"a???b",
			"a\xe2\x98\xba"
			"b",
			false},
		{"[a-\xce\xb6]*", "\xce\xb1", true},
		{"*[a-\xce\xb6]", "A", false},
		{"a?b", "a/b", false},
		{"a*b", "a/b", false},
		{"[\\]a]", "]", true},
		{"[\\-x]", "x", true},
		{"[]a]", "]", false},
		{"*x", "xxx", true},
		{"**/a", "b/a", true},
		{"**/a", "b/c/a", false},
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"?", "", false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		if (wildcard_match(str_of(rows[i].patterns), str_of(rows[i].path)) !=
			rows[i].ignored)
			fail_msg("row %zu: %s and %s", i, rows[i].patterns, rows[i].path);
	assert_int_equal(wildcard_check(STR("a[b-c]*\\x"), NULL), 0);
	assert_int_equal(wildcard_check(STR("a[b"), NULL), -ERR_INPUT);
	assert_int_equal(wildcard_check(STR("a\\"), NULL), -ERR_INPUT);
	assert_true(has_wildcard(STR("a*")) && has_wildcard(STR("[a]")));
	assert_false(has_wildcard(STR("a\\*b")) || has_wildcard(STR("ab\\")));
}

static void hostile_patterns_are_linear(void **state)
{
	cleanup(patterns_free) struct patterns *p = patterns_new();
	cleanup(buf_done) struct buf pattern = {0}, path = {0};

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_add_text(&pattern, "**/*a*");
	for (int i = 0; i < 300; i++)
		buf_add_text(&path, i % 7 ? "aaa" : "a/a");
	assert_int_equal(patterns_add(p, buf_str(&pattern), NULL), 0);
	buf_add_char(&path, '!');
	(void)patterns_match(p, buf_str(&path));
	assert_false(wildcard_match(STR("*a*a*a*a*a*a*a*a*a*a*a*a*b"),
		STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

static void paths_are_cleaned_lexically(void **state)
{
	static const char *const rows[][2] = {
		{"", "."},
		{".", "."},
		{"a/b", "a/b"},
		{"a//b/", "a/b"},
		{"./a/./b/.", "a/b"},
		{"a/../b", "b"},
		{"a/..", "."},
		{"../a", "../a"},
		{"a/../../b", "../b"},
		{"../../a/../b", "../../b"},
		{"/", "/"},
		{"//a", "/a"},
		{"/../a", "/a"},
		{"/a/b/../../..", "/"},
		{"/a/..b/...", "/a/..b/..."},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf out = {0};
		path_clean(&out, str_of(rows[i][0]));
		assert_string_equal(buf_text(&out), rows[i][1]);
	}
	assert_true(str_is(path_base(STR("/a/b/")), "b"));
	assert_true(str_is(path_base(STR("a")), "a"));
	assert_true(str_is(path_base(STR("/")), "/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_patterns),
		cmocka_unit_test(files_of_patterns),
		cmocka_unit_test(point_43_exceptions_below_ignored_directories),
		cmocka_unit_test(a_walker_learns_from_the_directory_above),
		cmocka_unit_test(malformed_patterns_have_a_line),
		cmocka_unit_test(wildcards_match_as_in_go),
		cmocka_unit_test(hostile_patterns_are_linear),
		cmocka_unit_test(paths_are_cleaned_lexically),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
