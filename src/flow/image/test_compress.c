/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/digest.h"
#include "decompress/decompress.h"
#include "image/compress.h"
#include "image/deflate.h"

static int collect(void *arg, struct str piece, struct err *err)
{
	(void)err;
	buf_add_str(arg, piece);
	return 0;
}

static void make(struct buf *to, size_t n, bool is_noise)
{
	uint32_t seed = 7;

	while (to->len < n) {
		seed = seed * 1103515245 + 12345;
		if (is_noise)
			buf_add_u32(to, seed ^ seed >> 13);
		else
			buf_printf(to, "%u line\n", seed >> 24);
	}
	buf_truncate(to, n);
}

static void compress_all(
	struct str text, enum oci_media media, unsigned workers, size_t step, struct buf *ret)
{
	struct err err = {0};
	struct compress *c = NULL;
	const struct compress_options options = {
		.media = media, .workers = workers, .out = collect, .arg = ret};

	assert_int_equal(compress_new(&options, &c, &err), 0);
	for (size_t at = 0; at < text.n; at += step)
		assert_int_equal(compress_feed(c, str_slice(text, at, at + step), &err), 0);
	if (compress_finish(c, &err) < 0)
		fail_msg("%s", err.text);
	compress_free(c);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no worker is left */
}

static void assert_expands_to(struct str blob, enum decompress_kind kind, struct str text)
{
	cleanup(buf_done) struct buf out = {0};
	struct err err = {0};
	struct digest digest, expected = digest_of(text.p, text.n);
	cleanup(decompress_free) struct decompress *d = decompress_new(&(struct decompress_options){
		.kind = kind, .max_bytes = 1 << 30, .ratio = 100000, .out = collect, .arg = &out});

	assert_int_equal(decompress_feed(d, blob, &err), 0);
	if (decompress_finish(d, &digest, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(digest_eq(&digest, &expected));
}

static void same_bytes_however_many_workers(void **state)
{
	static const size_t sizes[] = {0, 1, DEFLATE_BLOCK_BYTES - 1, DEFLATE_BLOCK_BYTES,
		DEFLATE_BLOCK_BYTES + 1, (size_t)3 * DEFLATE_BLOCK_BYTES, 5000001};
	static const struct {
		enum oci_media media;
		enum decompress_kind kind;
	} kinds[] = {
		{OCI_MEDIA_LAYER_TAR, DECOMPRESS_PLAIN},
		{OCI_MEDIA_LAYER_GZIP, DECOMPRESS_GZIP},
		{OCI_MEDIA_LAYER_ZSTD, DECOMPRESS_ZSTD},
	};

	(void)state;
	for (size_t i = 0; i < 2 * array_size(sizes) * array_size(kinds); i++) {
		cleanup(buf_done) struct buf text = {0}, one = {0}, three = {0};
		size_t k = i % array_size(kinds);
		make(&text, sizes[i / 2 % array_size(sizes)], i % 2);
		compress_all(buf_str(&text), kinds[k].media, 1, 100000, &one);
		compress_all(buf_str(&text), kinds[k].media, 3, 77777, &three);
		assert_true(str_eq(buf_str(&one), buf_str(&three)));
		assert_expands_to(buf_str(&one), kinds[k].kind, buf_str(&text));
		if (text.len > 1000 && !(i % 2) && kinds[k].kind != DECOMPRESS_PLAIN)
			assert_true(one.len < text.len / 2);
	}
}

/* The block before is looked back on: a repetition across their border costs nothing. */
static void blocks_see_the_one_before(void **state)
{
	cleanup(buf_done) struct buf text = {0}, blob = {0};

	(void)state;
	make(&text, 16384, true);
	while (text.len < (size_t)2 * DEFLATE_BLOCK_BYTES) {
		cleanup(buf_done) struct buf again = {0};
		buf_add_str(&again, str_slice(buf_str(&text), 0, 16384));
		buf_add_str(&text, buf_str(&again));
	}
	compress_all(buf_str(&text), OCI_MEDIA_LAYER_GZIP, 2, 1 << 20, &blob);
	assert_true(blob.len < 16384 + 8192);
}

static int refuse(void *arg, struct str piece, struct err *err)
{
	(void)arg, (void)piece;
	return err_set(err, ERR_LIMIT, "enough");
}

static void what_out_says(void **state)
{
	static const enum oci_media medias[] = {
		OCI_MEDIA_LAYER_TAR, OCI_MEDIA_LAYER_GZIP, OCI_MEDIA_LAYER_ZSTD};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	make(&text, 6 << 20, true);
	for (size_t i = 0; i < array_size(medias); i++) {
		struct err err = {0};
		struct compress *c = NULL;
		const struct compress_options options = {
			.media = medias[i], .workers = 2, .out = refuse};
		assert_int_equal(compress_new(&options, &c, &err), 0);
		int r = compress_feed(c, buf_str(&text), &err);
		if (r == 0)
			r = compress_finish(c, &err);
		assert_int_equal(r, -ERR_LIMIT);
		assert_string_equal(err.text, "enough");
		compress_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes_however_many_workers),
		cmocka_unit_test(blocks_see_the_one_before),
		cmocka_unit_test(what_out_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
