/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

static char outside[] = "outside";

static const char *from_outside(void *arg, const char *name)
{
	assert_ptr_equal(arg, outside);
	return strcmp(name, "HOME") == 0 ? "/home/user" : NULL;
}

/* The variables, one a line; or the error. */
static void read_file(struct str text, struct buf *out)
{
	cleanup(argv_done) struct argv env = {0};
	struct source file = {".env", text};
	struct err err = {0};

	buf_clear(out);
	argv_add(&env, "A=before");
	int r = dotenv_parse(&file, from_outside, outside, &env, &err);
	assert_int_equal(r, r ? -ERR_INPUT : 0);
	if (r)
		buf_add_text(out, err.text);
	assert_string_equal(err.hint, "");
	for (size_t i = 0; r == 0 && i < env.count; i++)
		buf_printf(out, "%s\n", env.items[i]);
}

static void lines_are_read_as_docker_does(void **state)
{
	static const struct {
		struct str text;
		const char *expected;
	} rows[] = {
		{{"", 0}, "A=before\n"},
		{STR("B=1\nC=two words \nD=\n"), "A=before\nB=1\nC=two words \nD=\n"},
		{STR("# x\n\n  #y\n\tB=1\r\n"), "A=before\nB=1\n"},
		{STR("B=\"q\"\nC='q' # not a comment\n"),
			"A=before\nB=\"q\"\nC='q' # not a comment\n"},
		{STR("A=1\nA=2"), "A=2\n"},
		{STR("HOME\nNOWHERE\n"), "A=before\nHOME=/home/user\n"},
		{STR("B=x=y=z\n"), "A=before\nB=x=y=z\n"},
		{STR("\xef\xbb\xbf"
		     "B=1\n"),
			"A=before\nB=1\n"},
		{STR("B=\xc3\xa4\n"), "A=before\nB=\xc3\xa4\n"},
		{STR("B=1\n=secret\n"), ".env:2: no name before '='; write NAME=value"},
		{STR("TOKEN = secret\n"),
			".env:1: a blank in the name; write NAME=value without blanks around '='"},
		{STR("export B=1\n"),
			".env:1: a blank in the name; write NAME=value without blanks around '='"},
		{STR("B=1\0\n"), ".env:1: a NUL byte"},
		{STR("\n\nB=\xff\n"), ".env:3: bytes that are not UTF-8"},
	};
	cleanup(buf_done) struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		read_file(rows[i].text, &out);
		assert_string_equal(buf_text(&out), rows[i].expected);
	}
}

static void limits_hold(void **state)
{
	cleanup(buf_done) struct buf out = {0}, text = {0};

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_printf(&text, "N%d=\n", i);
	read_file(buf_str(&text), &out);
	assert_string_equal(out.data, ".env:4097: more than 4096 variables");
	buf_clear(&text);
	for (int i = 0; i < 200000; i++)
		buf_add_text(&text, "#23456789\n");
	read_file(buf_str(&text), &out);
	assert_string_equal(out.data, ".env: larger than 1 MiB");
}

static void names_need_no_lookup(void **state)
{
	cleanup(argv_done) struct argv env = {0};
	struct source file = {".env", STR("HOME\n")};
	struct err err = {0};

	(void)state;
	assert_int_equal(dotenv_parse(&file, NULL, NULL, &env, &err), 0);
	assert_int_equal(env.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read_as_docker_does),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(names_need_no_lookup),
	};

	return cmocka_run_group_tests_name("dotenv", tests, NULL, NULL);
}
