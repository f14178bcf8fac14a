/* SPDX-License-Identifier: Apache-2.0 */
#include "image/decompress.h"

#include <inttypes.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/number.h"

enum { OUT_BYTES = 256 << 10, GZIP_ONLY = 16 };

/*
 * gzip reaches 1032 to 1, zstd far more, but layers of real images stay below 30. A small
 * layer of zeros is allowed whatever its ratio.
 */
#define FREE_BYTES ((uint64_t)256 << 20)

struct decompress {
	struct decompress_options options;
	enum decompress_kind kind; /* once it is known */
	struct hasher *hasher;
	uint64_t in, out;
	z_stream gzip;
	ZSTD_DStream *zstd;
	bool is_inside; /* of a gzip member or a zstd frame */
	bool has_any;	/* at least one was complete */
	char first[4];	/* bytes held back until the kind is known */
	size_t first_count;
	unsigned char buffer[OUT_BYTES];
};

struct decompress *decompress_new(const struct decompress_options *options)
{
	struct decompress *d = xcalloc(1, sizeof(*d));

	d->options = *options;
	d->kind = options->kind;
	d->hasher = hasher_new();
	return d;
}

void decompress_free(struct decompress *d)
{
	if (!d)
		return;
	hasher_free(d->hasher);
	inflateEnd(&d->gzip); /* harmless on a stream that was never begun */
	ZSTD_freeDStream(d->zstd);
	free(d);
}

static int emit(struct decompress *d, struct str piece, struct err *err)
{
	char size[32];

	d->out += piece.n;
	if (d->out > d->options.max_bytes)
		return err_set(err, ERR_LIMIT, "the layer unpacks to more than %s",
			print_size(size, d->options.max_bytes));
	if (d->out > FREE_BYTES && (d->out - FREE_BYTES) / d->options.ratio > d->in)
		return err_set(err, ERR_LIMIT,
			"the layer unpacks to more than %" PRIu64 " times its size",
			d->options.ratio);
	hasher_add(d->hasher, piece.p, piece.n);
	return piece.n ? d->options.out(d->options.arg, piece, err) : 0;
}

static int feed_gzip(struct decompress *d, struct str piece, struct err *err)
{
	z_stream *z = &d->gzip;

	if (!z->state && inflateInit2(z, MAX_WBITS + GZIP_ONLY) != Z_OK)
		return err_set(err, ERR_SYSTEM, "zlib: out of memory");
	z->next_in = (const Bytef *)piece.p;
	z->avail_in = (uInt)piece.n;
	/* A full output buffer may mean that more is waiting inside. */
	do {
		d->is_inside = true;
		z->next_out = d->buffer;
		z->avail_out = sizeof(d->buffer);
		int result = inflate(z, Z_NO_FLUSH);
		if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
			return err_set(err, ERR_INPUT, "damaged gzip data: %s",
				z->msg ? z->msg : "unreadable");
		int r = emit(d, str_from((char *)d->buffer, sizeof(d->buffer) - z->avail_out), err);
		if (r < 0)
			return r;
		if (result == Z_STREAM_END) {
			d->is_inside = false;
			d->has_any = true;
			inflateReset(z);
		}
	} while (z->avail_in || (d->is_inside && !z->avail_out));
	return 0;
}

static int feed_zstd(struct decompress *d, struct str piece, struct err *err)
{
	ZSTD_inBuffer in = {piece.p, piece.n, 0};

	if (!d->zstd && !(d->zstd = ZSTD_createDStream()))
		return err_set(err, ERR_SYSTEM, "zstd: out of memory");
	for (;;) {
		ZSTD_outBuffer out = {d->buffer, sizeof(d->buffer), 0};
		size_t before = in.pos;
		size_t result = ZSTD_decompressStream(d->zstd, &out, &in);
		if (ZSTD_isError(result))
			return err_set(
				err, ERR_INPUT, "damaged zstd data: %s", ZSTD_getErrorName(result));
		int r = emit(d, str_from((char *)d->buffer, out.pos), err);
		if (r < 0)
			return r;
		if (in.pos != before || out.pos) {
			d->is_inside = result != 0;
			d->has_any = d->has_any || result == 0;
		}
		if (in.pos == in.size && out.pos < out.size)
			return 0;
	}
}

static int feed_known(struct decompress *d, struct str piece, struct err *err)
{
	d->in += piece.n;
	if (d->kind == DECOMPRESS_GZIP)
		return feed_gzip(d, piece, err);
	if (d->kind == DECOMPRESS_ZSTD)
		return feed_zstd(d, piece, err);
	return emit(d, piece, err);
}

static enum decompress_kind detect(const char first[static 4], size_t count)
{
	static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

	if (count >= sizeof(gzip) && memcmp(first, gzip, sizeof(gzip)) == 0)
		return DECOMPRESS_GZIP;
	if (count >= sizeof(zstd) && memcmp(first, zstd, sizeof(zstd)) == 0)
		return DECOMPRESS_ZSTD;
	return DECOMPRESS_PLAIN;
}

static int settle_kind(struct decompress *d, struct err *err)
{
	d->kind = detect(d->first, d->first_count);
	return feed_known(d, str_from(d->first, d->first_count), err);
}

int decompress_feed(struct decompress *d, struct str piece, struct err *err)
{
	if (d->kind == DECOMPRESS_DETECT) {
		while (piece.n && d->first_count < sizeof(d->first)) {
			d->first[d->first_count++] = piece.p[0];
			piece = str_from_index(piece, 1);
		}
		if (d->first_count < sizeof(d->first))
			return 0;
		int r = settle_kind(d, err);
		if (r < 0)
			return r;
	}
	return piece.n ? feed_known(d, piece, err) : 0;
}

int decompress_finish(struct decompress *d, struct digest *ret_digest, struct err *err)
{
	static const char *const names[] = {[DECOMPRESS_GZIP] = "gzip", [DECOMPRESS_ZSTD] = "zstd"};

	if (d->kind == DECOMPRESS_DETECT) {
		int r = settle_kind(d, err);
		if (r < 0)
			return r;
	}
	if (d->kind != DECOMPRESS_PLAIN && (d->is_inside || !d->has_any))
		return err_set(err, ERR_INPUT, "the %s data ends too early", names[d->kind]);
	*ret_digest = hasher_finish(d->hasher);
	return 0;
}
