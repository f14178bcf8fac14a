/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "cli/columns.h"

static void columns_are_as_wide_as_needed(void **state)
{
	static const char *const head[] = {"NAME", "ID", "SIZE", NULL};
	struct terminal terminal = {0};
	cleanup(columns_done) struct columns t;
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	columns_init(&t, head);
	columns_add_text(&t, "日本");
	columns_add_text(&t, "1");
	columns_add_text(&t, "2 kB");
	columns_add_text(&t, "a");
	columns_add_text(&t, "long one");
	columns_add_text(&t, "");
	columns_print(&t, &terminal, &text);
	assert_string_equal(text.data, "NAME  ID        SIZE\n"
				       "日本  1         2 kB\n"
				       "a     long one  \n");
}

static void cells_are_made_safe(void **state)
{
	static const char *const head[] = {"X", NULL};
	struct terminal terminal = {0};
	cleanup(columns_done) struct columns t;
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	columns_init(&t, head);
	columns_add_text(&t, "a\n\033[2Jb");
	columns_print(&t, &terminal, &text);
	assert_string_equal(text.data, "X\na b\n");
}

static void ages_are_in_words(void **state)
{
	/* 2026-11-24T21:40:42Z */
	const int64_t then = 1795556442;
	static const struct {
		int64_t later;
		const char *text;
	} rows[] = {
		{0, "now"},
		{-50, "now"},
		{1, "1 second ago"},
		{59, "59 seconds ago"},
		{60, "1 minute ago"},
		{7199, "1 hour ago"},
		{INT64_C(86400) * 3, "3 days ago"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0};
		age_print(&text, "2026-11-24T21:40:42.123Z", then + rows[i].later);
		assert_string_equal(text.data, rows[i].text);
	}
	cleanup(buf_done) struct buf text = {0};
	age_print(&text, "some day", then);
	assert_string_equal(text.data, "some day");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_needed),
		cmocka_unit_test(cells_are_made_safe),
		cmocka_unit_test(ages_are_in_words),
	};

	return cmocka_run_group_tests_name("columns", tests, NULL, NULL);
}
