/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"

struct row {
	const char *text, *expected; /* an expectation that begins with '!' is an error's text */
};

static const char *get(void *arg, struct str name)
{
	static const char *const env[][2] = {
		{"FOO", "xxyy"},
		{"EMPTY", ""},
		{"PWD", "/home"},
		{"KOREAN", "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4"},
		{"PATHS", "/tmp/tmp/bar.txt"},
		{"STARS", "a***yy*"},
		{"NEEDLE", "/tmp"},
		{"TWO", "a b"},
		{"BACK", "()[]{}^$.*?|\\x"},
	};

	(void)arg;
	for (size_t i = 0; i < array_size(env); i++)
		if (str_is(name, env[i][0]))
			return env[i][1];
	return NULL;
}

static void check(const struct row *row, char escape, unsigned mode)
{
	cleanup(arena_done) struct arena a = {0};
	struct expansion how = {.escape = escape, .mode = mode, .get = get};
	struct str result;
	struct err err = {0};

	if (expand_word(&a, &how, str_of(row->text), &result, &err)) {
		assert_int_equal(row->expected[0], '!');
		assert_string_equal(err.text, row->expected + 1);
		return;
	}
	assert_string_equal(result.p, row->expected);
}

static void check_all(const struct row *rows, size_t count, char escape, unsigned mode)
{
	for (size_t i = 0; i < count; i++)
		check(&rows[i], escape, mode);
}

static void plain_references(void **state)
{
	static const struct row rows[] = {
		{"", ""},
		{"hello", "hello"},
		{"$FOO", "xxyy"},
		{"${FOO}", "xxyy"},
		{"a$FOO.b", "axxyy.b"},
		{"a${FOO}b", "axxyyb"},
		{"$FOOb", ""},
		{"$UNSET-x", "-x"},
		{"$", "$"},
		{"$ x", "$ x"},
		{"a$.b", "a$.b"},
		{"$1x$@$*$#$?$-$$$!$0y", "xy"},
		{"$12a", "a"},
		{"${1}", ""},
		{"${", "!syntax error: missing '}'"},
		{"${FOO", "!syntax error: missing '}'"},
		{"${}", "!syntax error: bad substitution"},
		{"${:x}", "!syntax error: bad substitution"},
		{"${{x}}", "!syntax error: bad substitution"},
		{"${FOO!x}", "!unsupported modifier (!) in substitution"},
		{"${FOO=x}", "!unsupported modifier (=) in substitution"},
		{"${FOO:=x}", "!unsupported modifier (:=) in substitution"},
		{"${FOO:1}", "!unsupported modifier (:1) in substitution"},
		{"${FOO:#x}", "!unsupported modifier (:#) in substitution"},
		{"${FOO:%x}", "!unsupported modifier (:%) in substitution"},
		{"${FOO:", "!syntax error: missing '}'"},
		{"${#FOO}", "!unsupported modifier (F) in substitution"},
	};

	(void)state;
	check_all(rows, array_size(rows), '\\', 0);
}

static void quotes_and_escapes(void **state)
{
	static const struct row rows[] = {
		{"'a $FOO'", "a $FOO"},
		{"\"a $FOO\"", "a xxyy"},
		{"a'b'\"c\"d", "abcd"},
		{"\\$FOO", "$FOO"},
		{"\\\\$FOO", "\\xxyy"},
		{"a\\nb", "anb"},
		{"\"a\\nb\"", "a\\nb"},
		{"\"a\\$FOO\"", "a$FOO"},
		{"\"a\\\"b\"", "a\"b"},
		{"\"a\\\\b\"", "a\\b"},
		{"'a\\'", "a\\"},
		{"a\\", "a"},
		{"\"a\\", "!unexpected end of statement while looking for matching double-quote"},
		{"\"a", "!unexpected end of statement while looking for matching double-quote"},
		{"'a", "!unexpected end of statement while looking for matching single-quote"},
		{"\"'$FOO'\"", "'xxyy'"},
		{"''", ""},
		{"\\\xc3\xa4", "\xc3\xa4"},
		{"a<b<<c", "a<b<<c"},
	};
	static const struct row backtick[] = {
		{"`$FOO", "$FOO"},
		{"\\$FOO", "\\xxyy"},
		{"\"C:\\$FOO``\"", "C:\\xxyy`"},
	};

	(void)state;
	check_all(rows, array_size(rows), '\\', 0);
	check_all(backtick, array_size(backtick), '`', 0);
}

static void defaults_and_alternatives(void **state)
{
	static const struct row rows[] = {
		{"${FOO-a}${EMPTY-b}${NONE-c}", "xxyyc"},
		{"${FOO:-a}${EMPTY:-b}${NONE:-c}", "xxyybc"},
		{"${FOO+a}${EMPTY+b}${NONE+c}", "ab"},
		{"${FOO:+a}${EMPTY:+b}${NONE:+c}", "a"},
		{"${FOO?a}${EMPTY?b}", "xxyy"},
		{"${NONE?give $FOO}", "!NONE: give xxyy"},
		{"${NONE?}", "!NONE is not allowed to be unset"},
		{"${EMPTY:?}", "!EMPTY is not allowed to be empty"},
		{"${EMPTY:?it is \"really\" empty}", "!EMPTY: it is really empty"},
		{"${NONE:-}", ""},
		{"${NONE:-${NONE:-${FOO}}}", "xxyy"},
		{"${NONE:-'a}b'}", "a}b"},
		{"${NONE:-a\\}b}", "a}b"},
		{"${NONE:-\"a b\"}", "a b"},
		{"v-${TARGET:+-${TARGET}}.gz", "v-.gz"},
		{"${NONE:-", "!syntax error: missing '}'"},
		{"${NONE:-${NONE}", "!syntax error: missing '}'"},
	};

	(void)state;
	check_all(rows, array_size(rows), '\\', 0);
}

static void patterns_are_cut_off(void **state)
{
	static const struct row rows[] = {
		{"${FOO#x}", "xyy"},
		{"${FOO##x}", "xyy"},
		{"${FOO#*x}", "xyy"},
		{"${FOO##*x}", "yy"},
		{"${FOO#*x*y}", "y"},
		{"${FOO##*x*y}", ""},
		{"${FOO#*}", "xxyy"},
		{"${FOO##*}", ""},
		{"${FOO#}", "xxyy"},
		{"${FOO#?}", "xyy"},
		{"${FOO%y}", "xxy"},
		{"${FOO%%y*}", "xx"},
		{"${FOO%y*}", "xxy"},
		{"${FOO%%*}", ""},
		{"${FOO%$NONE}", "xxyy"},
		{"${FOO%x}", "xxyy"},
		{"${NONE#x}", ""},
		{"${STARS%%\\**}", "a"},
		{"${STARS%%\\**\\*}", "a"},
		{"${STARS#?\\*}", "**yy*"},
		{"${BACK#()[]{\\}^$.\\*\\?|\\\\}", "x"},
		{"${KOREAN#?}", "\xea\xb5\xad\xec\x96\xb4"},
		{"${KOREAN%??}", "\xed\x95\x9c"},
		{"${PATHS##*/}", "bar.txt"},
		{"${PATHS%/*}", "/tmp/tmp"},
		{"${PATHS%%/*}", ""},
		{"${FOO#\\x}",
			"!invalid pattern (\\x) in substitution: a backslash there can only stand "
			"before * ? \\ } and /"},
	};

	(void)state;
	check_all(rows, array_size(rows), '\\', 0);
}

static void patterns_are_replaced(void **state)
{
	static const struct row rows[] = {
		{"${PATHS/$NEEDLE/}", "/tmp/bar.txt"},
		{"${PATHS//$NEEDLE/}", "/bar.txt"},
		{"${PATHS//\\//-}", "-tmp-tmp-bar.txt"},
		{"${PATHS//\\//\\/}", "\\/tmp\\/tmp\\/bar.txt"},
		{"${FOO/x/$PWD}", "/homexyy"},
		{"${FOO//x/ab}", "ababyy"},
		{"${FOO/x*y/-}", "-"},
		{"${FOO//?/-}", "----"},
		{"${FOO//y?/-}", "xx-"},
		{"${FOO//*/-}", "-"},
		{"${FOO/$EMPTY/ww}", "wwxxyy"},
		{"${FOO///}", "xxyy"},
		{"${FOO//$EMPTY/-}", "-x-x-y-y-"},
		{"${NONE///}", ""},
		{"${FOO//q/z}", "xxyy"},
		{"${FOO//ww}", "!syntax error: missing '/' in ${}"},
		{"${FOO//}", "!syntax error: missing '/' in ${}"},
		{"${FOO/a/b", "!syntax error: missing '}'"},
	};

	(void)state;
	check_all(rows, array_size(rows), '\\', 0);
}

static void modes_keep_what_they_say(void **state)
{
	static const struct row heredoc[] = {
		{"it's \"$FOO\" \\$FOO \\\\ \\\n.", "it's \"xxyy\" $FOO \\ \n."},
	};
	static const struct row label[] = {
		{"RUN echo \"$FOO\" '$FOO' $NONE ${NONE:-x} ${NONE#a}",
			"RUN echo \"xxyy\" '$FOO' $NONE ${NONE:-x} ${NONE#a}"},
	};
	static const struct row raw[] = {
		{"a \\$FOO \"\\$\" \\", "a \\$FOO \"\\$\" \\"},
	};

	(void)state;
	check_all(heredoc, array_size(heredoc), '\\', EXPAND_NO_QUOTES);
	check_all(label, array_size(label), '\\', EXPAND_RAW_QUOTES | EXPAND_KEEP_UNSET);
	check_all(raw, array_size(raw), '\\', EXPAND_RAW_QUOTES | EXPAND_RAW_ESCAPES);
}

static void words_are_split_after_expansion(void **state)
{
	static const struct row rows[] = {
		{"", ""},
		{"  ", ""},
		{"a b  c", "a|b|c"},
		{"$TWO", "a|b"},
		{"x$TWO", "xa|b"},
		{"\"$TWO\"", "a b"},
		{"'a b' c\"d e\"", "a b|cd e"},
		{"\"\" a ''", "a"},
		{"a\\ b", "a b"},
		{"$NONE a", "a"},
		{"80/$FOO", "80/xxyy"},
		{"cat <<  EOF x", "cat|<<  EOF|x"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena a = {0};
		cleanup(buf_done) struct buf out = {0};
		struct expansion how = {.escape = '\\', .get = get};
		struct str *words;
		size_t count;
		assert_int_equal(
			expand_words(&a, &how, str_of(rows[i].text), &words, &count, NULL), 0);
		for (size_t w = 0; w < count; w++)
			buf_printf(&out, "%s%.*s", w ? "|" : "", STR_ARG(words[w]));
		assert_string_equal(buf_text(&out), rows[i].expected);
	}
}

static const char *get_megabyte(void *arg, struct str name)
{
	(void)name;
	return arg;
}

/* Values of a megabyte; each of these would grow, nest or search beyond reason. */
static void hostile_expansions_meet_limits(void **state)
{
	static const char *const texts[] = {"$a$a", "\"$a$a\"", "${a//a/$a}", "${a//a/aa}",
		"${a//*b*b*b/}", "${a##*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab}",
		"${a%%b?a*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?????????????????b}"};
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf value = {0}, nested = {0};
	struct expansion how = {.escape = '\\', .get = get_megabyte};
	struct str result;
	struct err err = {0};

	(void)state;
	memset(buf_reserve(&value, EXPAND_MAX_SIZE), 'a', EXPAND_MAX_SIZE);
	buf_commit(&value, EXPAND_MAX_SIZE);
	how.arg = value.data;
	assert_int_equal(expand_word(&a, &how, STR("$a"), &result, &err), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			expand_word(&a, &how, str_of(texts[i]), &result, &err), -ERR_LIMIT);
	/* These end, one way or the other. */
	for (size_t i = 4; i < array_size(texts); i++) {
		int failed = expand_word(&a, &how, str_of(texts[i]), &result, &err);
		assert_true(failed == 0 || failed == -ERR_LIMIT);
	}
	for (int i = 0; i < 100000; i++)
		buf_add_text(&nested, "${b:+");
	assert_int_equal(expand_word(&a, &how, buf_str(&nested), &result, &err), -ERR_LIMIT);
	assert_string_equal(err.text, "${\xe2\x80\xa6} is nested more than 32 deep");
}

static void lists_serve_as_environment(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct oci_list list = {0};
	struct expansion how = {.escape = '\\', .get = expand_get_list, .arg = &list};
	struct str result;

	(void)state;
	oci_list_set_env(&a, &list, STR("A"), STR("1"));
	oci_list_set_env(&a, &list, STR("AB"), STR("2"));
	assert_int_equal(expand_word(&a, &how, STR("$A-$AB-$B"), &result, NULL), 0);
	assert_string_equal(result.p, "1-2-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_references),
		cmocka_unit_test(quotes_and_escapes),
		cmocka_unit_test(defaults_and_alternatives),
		cmocka_unit_test(patterns_are_cut_off),
		cmocka_unit_test(patterns_are_replaced),
		cmocka_unit_test(modes_keep_what_they_say),
		cmocka_unit_test(words_are_split_after_expansion),
		cmocka_unit_test(hostile_expansions_meet_limits),
		cmocka_unit_test(lists_serve_as_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
