/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bzlib.h>
#include <cmocka.h>
#include <lzma.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "decompress/decompress.h"

static void add_gzip(struct buf *to, struct str text)
{
	z_stream z = {0};
	size_t room = text.n + text.n / 100 + 1000;

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (const Bytef *)text.p;
	z.avail_in = (uInt)text.n;
	z.next_out = (Bytef *)buf_reserve(to, room);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	buf_commit(to, z.total_out);
	deflateEnd(&z);
}

static void add_zstd(struct buf *to, struct str text)
{
	size_t room = ZSTD_compressBound(text.n);
	size_t n = ZSTD_compress(buf_reserve(to, room), room, text.p, text.n, 3);

	assert_false(ZSTD_isError(n));
	buf_commit(to, n);
}

static void add_bzip2(struct buf *to, struct str text)
{
	unsigned room = (unsigned)(text.n + text.n / 100 + 1000);
	char *from;

	memcpy(&from, &text.p, sizeof(from)); /* it is only read */
	assert_int_equal(BZ2_bzBuffToBuffCompress(
				 buf_reserve(to, room), &room, from, (unsigned)text.n, 1, 0, 0),
		BZ_OK);
	buf_commit(to, room);
}

static void add_xz(struct buf *to, struct str text)
{
	size_t room = lzma_stream_buffer_bound(text.n), n = 0;

	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text.p,
				 text.n, (uint8_t *)buf_reserve(to, room), &n, room),
		LZMA_OK);
	buf_commit(to, n);
}

static int collect(void *arg, struct str piece, struct err *err)
{
	(void)err;
	buf_add_str(arg, piece);
	return 0;
}

struct trial {
	enum decompress_kind kind;
	size_t step;
	uint64_t max_bytes;
};

static int run(const struct trial *trial, struct str in, struct buf *out, struct err *err)
{
	struct decompress_options options = {.kind = trial->kind,
		.max_bytes = trial->max_bytes ? trial->max_bytes : UINT64_MAX,
		.ratio = 200,
		.out = collect,
		.arg = out};
	cleanup(decompress_free) struct decompress *d = decompress_new(&options);
	struct digest digest, expected;
	int r = 0;

	for (size_t i = 0; r == 0 && i < in.n; i += trial->step)
		r = decompress_feed(d, str_slice(in, i, i + trial->step), err);
	if (r == 0)
		r = decompress_finish(d, &digest, err);
	if (r == 0) {
		expected = digest_of(out->data, out->len);
		assert_true(digest_eq(&digest, &expected));
	}
	return r;
}

/* A text that does not compress to nothing. */
static void make_text(struct buf *to, size_t n)
{
	unsigned seed = 1;

	while (to->len < n)
		buf_printf(to, "%u ", seed = seed * 1103515245 + 12345);
}

static void assert_unpacks(enum decompress_kind kind, struct str packed, struct str text)
{
	static const size_t steps[] = {1, 3, 1000, 100000, SIZE_MAX / 4};

	for (size_t i = 0; i < 2 * array_size(steps); i++) {
		cleanup(buf_done) struct buf out = {0};
		struct err err = {0};
		struct trial trial = {
			.step = steps[i / 2], .kind = i % 2 ? DECOMPRESS_DETECT : kind};
		if (run(&trial, packed, &out, &err) < 0)
			fail_msg("kind %d: %s", (int)kind, err.text);
		assert_true(str_eq(buf_str(&out), text));
	}
}

static void every_kind_in_pieces_of_any_size(void **state)
{
	cleanup(buf_done) struct buf text = {0}, gzip = {0}, zstd = {0};
	cleanup(buf_done) struct buf bzip2 = {0}, xz = {0};

	(void)state;
	make_text(&text, 600000);
	struct str half = str_slice(buf_str(&text), 0, text.len / 2);
	struct str rest = str_from_index(buf_str(&text), text.len / 2);
	/* Two members, two frames. */
	add_gzip(&gzip, half);
	add_gzip(&gzip, rest);
	add_zstd(&zstd, half);
	add_zstd(&zstd, rest);
	add_bzip2(&bzip2, half);
	add_bzip2(&bzip2, rest);
	add_xz(&xz, half);
	add_xz(&xz, rest);
	assert_unpacks(DECOMPRESS_PLAIN, buf_str(&text), buf_str(&text));
	assert_unpacks(DECOMPRESS_GZIP, buf_str(&gzip), buf_str(&text));
	assert_unpacks(DECOMPRESS_ZSTD, buf_str(&zstd), buf_str(&text));
	assert_unpacks(DECOMPRESS_BZIP2, buf_str(&bzip2), buf_str(&text));
	assert_unpacks(DECOMPRESS_XZ, buf_str(&xz), buf_str(&text));
}

static void damage_is_found(void **state)
{
	cleanup(buf_done) struct buf text = {0}, gzip = {0}, zstd = {0}, trail = {0}, both = {0};
	cleanup(buf_done) struct buf bzip2 = {0}, xz = {0}, broken = {0};

	make_text(&text, 10000);
	add_gzip(&gzip, buf_str(&text));
	add_zstd(&zstd, buf_str(&text));
	buf_add_str(&trail, buf_str(&gzip));
	buf_add_text(&trail, "trailing");
	buf_add_str(&both, buf_str(&gzip));
	both.data[both.len - 7] ^= 1; /* the checksum */
	add_bzip2(&bzip2, buf_str(&text));
	add_xz(&xz, buf_str(&text));
	buf_add_str(&broken, buf_str(&xz));
	broken.data[broken.len / 2] ^= 1;
	const struct {
		enum decompress_kind kind;
		struct str in;
		const char *error;
	} rows[] = {
		{DECOMPRESS_GZIP, STR(""), "the gzip data ends too early"},
		{DECOMPRESS_ZSTD, STR(""), "the zstd data ends too early"},
		{DECOMPRESS_GZIP, str_slice(buf_str(&gzip), 0, gzip.len - 1),
			"the gzip data ends too early"},
		{DECOMPRESS_ZSTD, str_slice(buf_str(&zstd), 0, zstd.len - 1),
			"the zstd data ends too early"},
		{DECOMPRESS_GZIP, STR("\x1f"), "the gzip data ends too early"},
		{DECOMPRESS_GZIP, buf_str(&zstd), "damaged gzip data: incorrect header check"},
		{DECOMPRESS_GZIP, buf_str(&text), "damaged gzip data: incorrect header check"},
		{DECOMPRESS_GZIP, buf_str(&trail), "damaged gzip data: incorrect header check"},
		{DECOMPRESS_GZIP, buf_str(&both), "damaged gzip data: incorrect data check"},
		{DECOMPRESS_ZSTD, buf_str(&gzip), "damaged zstd data: Unknown frame descriptor"},
		{DECOMPRESS_BZIP2, STR(""), "the bzip2 data ends too early"},
		{DECOMPRESS_BZIP2, str_slice(buf_str(&bzip2), 0, bzip2.len - 1),
			"the bzip2 data ends too early"},
		{DECOMPRESS_BZIP2, buf_str(&gzip), "damaged bzip2 data"},
		{DECOMPRESS_XZ, STR(""), "the xz data ends too early"},
		{DECOMPRESS_XZ, str_slice(buf_str(&xz), 0, xz.len - 1),
			"the xz data ends too early"},
		{DECOMPRESS_XZ, buf_str(&broken), "damaged xz data"},
		{DECOMPRESS_XZ, buf_str(&gzip), "damaged xz data"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf out = {0};
		struct err err = {0};
		struct trial trial = {.kind = rows[i].kind, .step = 1000};
		assert_int_equal(run(&trial, rows[i].in, &out, &err), -ERR_INPUT);
		assert_string_equal(err.text, rows[i].error);
	}
}

static int count(void *arg, struct str piece, struct err *err)
{
	(void)err;
	*(uint64_t *)arg += piece.n;
	return 0;
}

/* A gigabyte of zeros in about a megabyte, or in a few hundred kilobytes. */
static void bomb(enum decompress_kind kind)
{
	cleanup(buf_done) struct buf zeros = {0}, packed = {0};
	uint64_t out = 0;
	struct decompress_options options = {
		.kind = kind, .max_bytes = UINT64_MAX, .ratio = 200, .out = count, .arg = &out};
	cleanup(decompress_free) struct decompress *d = decompress_new(&options);
	struct err err = {0};
	int r = 0;

	memset(buf_reserve(&zeros, 64 << 20), 0, 64 << 20);
	buf_commit(&zeros, 64 << 20);
	switch ((int)kind) {
	case DECOMPRESS_GZIP:
		add_gzip(&packed, buf_str(&zeros));
		break;
	case DECOMPRESS_ZSTD:
		add_zstd(&packed, buf_str(&zeros));
		break;
	case DECOMPRESS_BZIP2:
		add_bzip2(&packed, buf_str(&zeros));
		break;
	default:
		add_xz(&packed, buf_str(&zeros));
	}
	for (int i = 0; r == 0 && i < 16; i++)
		r = decompress_feed(d, buf_str(&packed), &err);
	assert_int_equal(r, -ERR_LIMIT);
	assert_string_equal(err.text, "it unpacks to more than 200 times its size");
	assert_true(out < 400 << 20);
}

static void bombs_are_stopped(void **state)
{
	cleanup(buf_done) struct buf text = {0}, gzip = {0}, out = {0};
	struct err err = {0};
	struct trial trial = {.kind = DECOMPRESS_GZIP, .step = 1000, .max_bytes = 9999};

	(void)state;
	bomb(DECOMPRESS_GZIP);
	bomb(DECOMPRESS_ZSTD);
	bomb(DECOMPRESS_BZIP2);
	bomb(DECOMPRESS_XZ);
	make_text(&text, 10000);
	add_gzip(&gzip, buf_str(&text));
	assert_int_equal(run(&trial, buf_str(&gzip), &out, &err), -ERR_LIMIT);
	assert_string_equal(err.text, "it unpacks to more than 10.0 kB");
}

static int refuse(void *arg, struct str piece, struct err *err)
{
	(void)arg, (void)piece;
	return err_set(err, ERR_FAILED, "no more");
}

static void output_can_refuse(void **state)
{
	struct decompress_options options = {
		.kind = DECOMPRESS_PLAIN, .max_bytes = 10, .ratio = 1, .out = refuse};
	cleanup(decompress_free) struct decompress *d = decompress_new(&options);
	struct err err = {0};

	(void)state;
	assert_int_equal(decompress_feed(d, STR("x"), &err), -ERR_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_in_pieces_of_any_size),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(bombs_are_stopped),
		cmocka_unit_test(output_can_refuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
