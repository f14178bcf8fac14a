/* SPDX-License-Identifier: Apache-2.0 */
#include "decompress/decompress.h"

#include <bzlib.h>
#include <inttypes.h>
#include <lzma.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/number.h"

enum { OUT_BYTES = 256 << 10, GZIP_ONLY = 16 };

/* xz -9 asks for 65 MiB. */
#define XZ_MEMORY ((uint64_t)256 << 20)

/*
 * gzip reaches 1032 to 1, the others far more, but layers of real images stay below 30. A
 * small archive of zeros is allowed whatever its ratio.
 */
#define FREE_BYTES ((uint64_t)256 << 20)

struct decompress {
	struct decompress_options options;
	enum decompress_kind kind; /* once it is known */
	struct hasher *hasher;
	uint64_t in, out;
	z_stream gzip;
	ZSTD_DStream *zstd;
	bz_stream bzip2;
	lzma_stream xz;
	bool is_inside;		      /* of a member, frame or stream */
	bool has_any;		      /* at least one was complete */
	char first[DECOMPRESS_MAGIC]; /* bytes held back until the kind is known */
	size_t first_count;
	unsigned char buffer[OUT_BYTES];
};

struct decompress *decompress_new(const struct decompress_options *options)
{
	struct decompress *d = xcalloc(1, sizeof(*d));

	d->options = *options;
	d->kind = options->kind;
	d->xz = (lzma_stream)LZMA_STREAM_INIT;
	if (!options->no_digest)
		d->hasher = hasher_new();
	return d;
}

void decompress_free(struct decompress *d)
{
	if (!d)
		return;
	if (d->hasher)
		hasher_free(d->hasher);
	inflateEnd(&d->gzip); /* these are harmless on a stream that was never begun */
	ZSTD_freeDStream(d->zstd);
	BZ2_bzDecompressEnd(&d->bzip2);
	lzma_end(&d->xz);
	free(d);
}

static int emit(struct decompress *d, struct str piece, struct err *err)
{
	char size[32];

	d->out += piece.n;
	if (d->out > d->options.max_bytes)
		return err_set(err, ERR_LIMIT, "it unpacks to more than %s",
			print_size(size, d->options.max_bytes));
	if (d->out > FREE_BYTES && (d->out - FREE_BYTES) / d->options.ratio > d->in)
		return err_set(err, ERR_LIMIT, "it unpacks to more than %" PRIu64 " times its size",
			d->options.ratio);
	if (d->hasher)
		hasher_add(d->hasher, piece.p, piece.n);
	return piece.n ? d->options.out(d->options.arg, piece, err) : 0;
}

static int emit_buffer(struct decompress *d, size_t left, struct err *err)
{
	return emit(d, str_from((char *)d->buffer, sizeof(d->buffer) - left), err);
}

static int no_memory(const char *what, struct err *err)
{
	return err_set(err, ERR_SYSTEM, "%s: out of memory", what);
}

/* ---- Kinds ---- */

static int feed_plain(struct decompress *d, struct str piece, struct err *err)
{
	return emit(d, piece, err);
}

static int feed_gzip(struct decompress *d, struct str piece, struct err *err)
{
	z_stream *z = &d->gzip;

	if (!z->state && inflateInit2(z, MAX_WBITS + GZIP_ONLY) != Z_OK)
		return no_memory("zlib", err);
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
		int r = emit_buffer(d, z->avail_out, err);
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
		return no_memory("zstd", err);
	for (;;) {
		ZSTD_outBuffer out = {d->buffer, sizeof(d->buffer), 0};
		size_t before = in.pos;
		size_t result = ZSTD_decompressStream(d->zstd, &out, &in);
		if (ZSTD_isError(result))
			return err_set(
				err, ERR_INPUT, "damaged zstd data: %s", ZSTD_getErrorName(result));
		int r = emit_buffer(d, out.size - out.pos, err);
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

static int feed_bzip2(struct decompress *d, struct str piece, struct err *err)
{
	bz_stream *z = &d->bzip2;

	memcpy(&z->next_in, &piece.p, sizeof(z->next_in)); /* it is only read */
	z->avail_in = (unsigned)piece.n;
	do {
		if (!z->state && BZ2_bzDecompressInit(z, 0, 0) != BZ_OK)
			return no_memory("bzip2", err);
		d->is_inside = true;
		z->next_out = (char *)d->buffer;
		z->avail_out = sizeof(d->buffer);
		int result = BZ2_bzDecompress(z);
		if (result == BZ_MEM_ERROR)
			return no_memory("bzip2", err);
		if (result != BZ_OK && result != BZ_STREAM_END)
			return err_set(err, ERR_INPUT, "damaged bzip2 data");
		int r = emit_buffer(d, z->avail_out, err);
		if (r < 0)
			return r;
		if (result == BZ_STREAM_END) {
			d->is_inside = false;
			d->has_any = true;
			BZ2_bzDecompressEnd(z); /* leaves no state: the next stream begins one */
		}
	} while (z->avail_in || (d->is_inside && !z->avail_out));
	return 0;
}

static int explain_xz(lzma_ret result, struct err *err)
{
	if (result == LZMA_MEM_ERROR)
		return no_memory("xz", err);
	if (result == LZMA_MEMLIMIT_ERROR)
		return err_set(err, ERR_LIMIT, "xz: it needs more than %" PRIu64 " MiB of memory",
			XZ_MEMORY >> 20);
	return err_set(err, ERR_INPUT, "damaged xz data");
}

/* Between streams, and at their end, the decoder waits for more and says LZMA_OK. */
static int run_xz(struct decompress *d, lzma_action action, struct err *err)
{
	lzma_stream *z = &d->xz;
	lzma_ret result;

	do {
		z->next_out = d->buffer;
		z->avail_out = sizeof(d->buffer);
		result = lzma_code(z, action);
		if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR)
			return explain_xz(result, err);
		int r = emit_buffer(d, z->avail_out, err);
		if (r < 0)
			return r;
	} while (result == LZMA_OK && (z->avail_in || !z->avail_out));
	d->is_inside = result != LZMA_STREAM_END;
	d->has_any = !d->is_inside;
	return 0;
}

static int feed_xz(struct decompress *d, struct str piece, struct err *err)
{
	if (!d->xz.internal && lzma_stream_decoder(&d->xz, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
		return no_memory("xz", err);
	d->xz.next_in = (const uint8_t *)piece.p;
	d->xz.avail_in = piece.n;
	return run_xz(d, LZMA_RUN, err);
}

static const struct {
	const char *name;
	struct str magic;
	int (*feed)(struct decompress *d, struct str piece, struct err *err);
} kinds[] = {
	[DECOMPRESS_PLAIN] = {"plain", {"", 0}, feed_plain},
	[DECOMPRESS_GZIP] = {"gzip", {"\x1f\x8b", 2}, feed_gzip},
	[DECOMPRESS_ZSTD] = {"zstd", {"\x28\xb5\x2f\xfd", 4}, feed_zstd},
	[DECOMPRESS_BZIP2] = {"bzip2", {"BZh", 3}, feed_bzip2},
	[DECOMPRESS_XZ] = {"xz",
		{"\xfd"
		 "7zXZ\0",
			6},
		feed_xz},
};

enum decompress_kind decompress_detect(struct str first)
{
	for (size_t i = array_size(kinds) - 1; i > DECOMPRESS_PLAIN; i--)
		if (str_starts(first, kinds[i].magic))
			return (enum decompress_kind)i;
	return DECOMPRESS_PLAIN;
}

/* ---- All ---- */

static int feed_known(struct decompress *d, struct str piece, struct err *err)
{
	d->in += piece.n;
	return kinds[d->kind].feed(d, piece, err);
}

static int settle_kind(struct decompress *d, struct err *err)
{
	struct str first = str_from(d->first, d->first_count);

	d->kind = decompress_detect(first);
	return feed_known(d, first, err);
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
	int r = d->kind == DECOMPRESS_DETECT ? settle_kind(d, err) : 0;

	if (r == 0 && d->kind == DECOMPRESS_XZ && d->xz.internal)
		r = run_xz(d, LZMA_FINISH, err);
	if (r < 0)
		return r;
	if (d->kind != DECOMPRESS_PLAIN && (d->is_inside || !d->has_any))
		return err_set(err, ERR_INPUT, "the %s data ends too early", kinds[d->kind].name);
	*ret_digest = d->hasher ? hasher_finish(d->hasher) : (struct digest){0};
	return 0;
}
