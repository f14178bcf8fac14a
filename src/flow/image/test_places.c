/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/places.h"
#include "image/upload.h"

static void ranges(void **state)
{
	static const struct {
		const char *text;
		bool is_range;
		uint64_t bytes;
	} rows[] = {
		{"0-99", true, 100},
		{"bytes=0-99", true, 100},
		{" 0-0 ", true, 0},
		{"0-18446744073709551614", true, UINT64_MAX},
		{"0-18446744073709551615", false, 0},
		{"1-99", false, 0},
		{"0-", false, 0},
		{"99", false, 0},
		{"0--1", false, 0},
		{"", false, 0},
		{"bytes 0-99/100", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		uint64_t bytes = 0;
		assert_int_equal(
			upload_range_parse(str_of(rows[i].text), &bytes), rows[i].is_range);
		assert_int_equal(bytes, rows[i].bytes);
	}
}

#define HEX	  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GOOD_LINE "docker.io library/x sha256:" HEX " 12 gzip pulled\n"

static void places_are_read_and_written(void **state)
{
	static const char *const bad[] = {"", "\n", "docker.io library/x sha256:" HEX " 12 gzip\n",
		"docker.io library/x sha256:" HEX " -1 gzip pulled\n",
		"docker.io library/x sha256:" HEX " 1 bzip2 pulled\n",
		"docker.io ../x sha256:" HEX " 1 gzip pulled\n",
		"docker.io library/x?y=z sha256:" HEX " 1 gzip pulled\n",
		"docker.io library/x sha256:" HEX "0 1 gzip pulled\n",
		"docker.io library/x sha256:" HEX " 1 gzip stolen\n"};
	cleanup(buf_done) struct buf text = {0}, more = {0};
	cleanup(arena_done) struct arena arena = {0};
	struct place places[PLACES_MAX], again[PLACES_MAX];

	(void)state;
	for (size_t i = 0; i < array_size(bad); i++)
		assert_int_equal(places_parse(&arena, str_of(bad[i]), places), 0);
	buf_printf(&text, "%s%s%s", bad[3], GOOD_LINE, bad[5]);
	assert_int_equal(places_parse(&arena, buf_str(&text), places), 1);
	assert_string_equal(places[0].repository, "library/x");
	assert_int_equal(places[0].size, 12);
	assert_false(places[0].is_pushed);
	/* The same again does not make two; old ones go in the end. */
	places_print(STR(GOOD_LINE), &places[0], &more);
	assert_string_equal(buf_text(&more), GOOD_LINE);
	for (int i = 0; i < 2 * PLACES_MAX; i++) {
		cleanup(buf_done) struct buf old = {0};
		buf_add_str(&old, buf_str(&more));
		buf_clear(&more);
		places[0].repository = arena_printf(&arena, "library/x%d", i);
		places_print(buf_str(&old), &places[0], &more);
	}
	assert_int_equal(places_parse(&arena, buf_str(&more), again), PLACES_MAX);
	assert_string_equal(again[0].repository, "library/x31");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(places_are_read_and_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
