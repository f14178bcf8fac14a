/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/tar.h"

/* ---- Fields at their offsets ---- */

static const char *field(const struct buf *b, size_t block, size_t at)
{
	return b->data + block * TAR_BLOCK + at;
}

static void a_plain_header_is_one_block(void **state)
{
	(void)state;
	cleanup(buf_done) struct buf out = {0};
	const struct tar_header header = {.type = TAR_FILE,
		.name = STR("usr/bin/env"),
		.mode = 04755,
		.uid = 1000,
		.gid = 2097151,
		.size = 42,
		.mtime = 1700000000};

	tar_print(&header, &out);
	assert_int_equal(out.len, TAR_BLOCK);
	assert_string_equal(field(&out, 0, 0), "usr/bin/env");
	assert_string_equal(field(&out, 0, 100), "0004755");
	assert_string_equal(field(&out, 0, 108), "0001750");
	assert_string_equal(field(&out, 0, 116), "7777777");
	assert_string_equal(field(&out, 0, 124), "00000000052");
	assert_string_equal(field(&out, 0, 136), "14524770400");
	assert_int_equal(field(&out, 0, 156)[0], '0');
	assert_memory_equal(field(&out, 0, 257), "ustar\00000", 8);
	unsigned long sum = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)out.data[i];
	assert_int_equal(sum, strtoul(field(&out, 0, 148), NULL, 8));
	assert_memory_equal(field(&out, 0, 154), "\0 ", 2);
}

static void long_names_are_cut_where_they_can_be(void **state)
{
	(void)state;
	cleanup(buf_done) struct buf name = {0}, out = {0};

	for (int i = 0; i < 15; i++)
		buf_add_text(&name, "directory/");
	buf_add_text(&name, "file");
	struct tar_header header = {.type = TAR_FILE, .name = buf_str(&name)};
	tar_print(&header, &out);
	assert_int_equal(out.len, TAR_BLOCK);
	cleanup(buf_done) struct buf joined = {0};
	buf_printf(&joined, "%.155s/%.100s", field(&out, 0, 345), field(&out, 0, 0));
	assert_string_equal(buf_text(&joined), buf_text(&name));
}

/* The records of the pax header in front. */
static void assert_records(const struct tar_header *header, const char *expected, size_t n)
{
	cleanup(buf_done) struct buf out = {0};

	tar_print(header, &out);
	assert_int_equal(out.len, (size_t)2 * TAR_BLOCK + n + tar_padding(n));
	assert_int_equal(field(&out, 0, 156)[0], 'x');
	assert_memory_equal(field(&out, 1, 0), expected, n);
	assert_int_equal(field(&out, 1, 0)[n], '\0');
}

static void what_does_not_fit_is_in_a_pax_header(void **state)
{
	(void)state;
	char name[152];
	cleanup(buf_done) struct buf record = {0};

	memset(name, 'n', sizeof(name));
	buf_printf(&record, "162 path=%.*s\n", (int)sizeof(name), name);
	struct tar_header header = {.type = TAR_FILE, .name = str_from(name, sizeof(name))};
	assert_records(&header, record.data, record.len);

	header = (struct tar_header){.type = TAR_FILE, .name = STR("big"), .size = 8ULL << 30};
	assert_records(&header, "19 size=8589934592\n", 19);
	cleanup(buf_done) struct buf large = {0};
	tar_print_block(&header, &large);
	assert_int_equal(large.len, TAR_BLOCK);
	assert_memory_equal(field(&large, 0, 124), "\x80\0\0\0\0\0\0\2\0\0\0\0", 12);
	header.size--;
	cleanup(buf_done) struct buf fits = {0};
	tar_print(&header, &fits);
	assert_int_equal(fits.len, TAR_BLOCK);

	header = (struct tar_header){
		.type = TAR_DIR, .name = STR("d/"), .uid = 3000000, .mtime = -5};
	assert_records(&header, "15 uid=3000000\n12 mtime=-5\n", 27);
}

static void attributes_may_hold_any_bytes(void **state)
{
	(void)state;
	static const char bytes[] = {'a', '\0', '\n', '='};
	const struct tar_attribute attribute = {"user.x", {bytes, sizeof(bytes)}};
	const struct tar_header header = {
		.type = TAR_FILE, .name = STR("f"), .attributes = &attribute, .attribute_count = 1};

	assert_records(&header, "28 SCHILY.xattr.user.x=a\0\n=\n", 28);
}

/* A length that grows a digit by counting itself. */
static void records_count_themselves(void **state)
{
	(void)state;

	for (size_t n = 70; n < 100; n++) {
		char value[100];
		cleanup(buf_done) struct buf out = {0};
		const struct tar_attribute attribute = {"user.y", {value, n}};
		const struct tar_header header = {.type = TAR_FILE,
			.name = STR("f"),
			.attributes = &attribute,
			.attribute_count = 1};
		memset(value, 'v', sizeof(value));
		tar_print(&header, &out);
		size_t said = strtoul(field(&out, 1, 0), NULL, 10);
		assert_int_equal(field(&out, 1, 0)[said - 1], '\n');
		assert_int_equal(field(&out, 1, 0)[said], '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_header_is_one_block),
		cmocka_unit_test(long_names_are_cut_where_they_can_be),
		cmocka_unit_test(what_does_not_fit_is_in_a_pax_header),
		cmocka_unit_test(attributes_may_hold_any_bytes),
		cmocka_unit_test(records_count_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
