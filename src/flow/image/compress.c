/* SPDX-License-Identifier: Apache-2.0 */
#include "image/compress.h"

#include <sched.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "image/deflate.h"

enum { MAX_WORKERS = 8, ZSTD_LEVEL = 3, ZSTD_JOB_BYTES = 1 << 20, ZSTD_OUT_BYTES = 256 << 10 };

struct compress {
	struct compress_options options;
	/* gzip */
	struct deflate_pool *pool;
	struct buf block; /* until it is full */
	struct buf done;
	uint32_t sum, size; /* of the trailer */
	/* zstd */
	ZSTD_CCtx *zstd;
	char *room;
};

static unsigned worker_count(const struct compress_options *options)
{
	cpu_set_t set;
	unsigned count = options->workers;

	if (!count && sched_getaffinity(0, sizeof(set), &set) == 0)
		count = (unsigned)CPU_COUNT(&set);
	if (!count)
		count = 1;
	return count < MAX_WORKERS ? count : MAX_WORKERS;
}

static int put(struct compress *c, struct str piece, struct err *err)
{
	return piece.n ? c->options.out(c->options.arg, piece, err) : 0;
}

/* ---- gzip (RFC 1952) ---- */

static int gzip_start(struct compress *c, struct err *err)
{
	/* No name, no time, no system: nothing that could differ. */
	static const char header[10] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff};
	unsigned workers = worker_count(&c->options);

	buf_add(&c->done, header, sizeof(header));
	c->sum = (uint32_t)crc32(0, NULL, 0);
	return deflate_pool_new(workers > 1 ? workers : 0, &c->pool, err);
}

static int gzip_block(struct compress *c, bool is_last, struct err *err)
{
	struct str block = buf_str(&c->block);

	c->sum = (uint32_t)crc32_z(c->sum, (const Bytef *)block.p, block.n);
	c->size += (uint32_t)block.n; /* modulo 2^32, as the format has it */
	int r = deflate_pool_add(c->pool, block, is_last, &c->done, err);
	if (r == 0 && is_last) {
		buf_add_u32(&c->done, c->sum);
		buf_add_u32(&c->done, c->size);
	}
	if (r == 0)
		r = put(c, buf_str(&c->done), err);
	buf_clear(&c->block);
	buf_clear(&c->done);
	return r;
}

static int gzip_feed(struct compress *c, struct str piece, struct err *err)
{
	while (piece.n) {
		struct str part = str_slice(piece, 0, DEFLATE_BLOCK_BYTES - c->block.len);
		/* A full block waits for its successor, since it could be the last. */
		if (!part.n) {
			int r = gzip_block(c, false, err);
			if (r != 0)
				return r;
			continue;
		}
		buf_add_str(&c->block, part);
		piece = str_from_index(piece, part.n);
	}
	return 0;
}

/* ---- zstd ---- */

static int zstd_start(struct compress *c)
{
	c->zstd = ZSTD_createCCtx();
	c->room = xmalloc(ZSTD_OUT_BYTES);
	if (!c->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(
				c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL))) {
		fputs("spaceport: out of memory\n", stderr);
		abort();
	}
	(void)ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1); /* without it is good, too */
	/*
	 * With one thread as with many, since the output of none is another one. A libzstd that was
	 * built without threads refuses, and does it by itself.
	 */
	(void)ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_nbWorkers, (int)worker_count(&c->options));
	/* Of its own accord it takes eight times as much at once, and several of them. */
	(void)ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_jobSize, ZSTD_JOB_BYTES);
	return 0;
}

static int zstd_step(struct compress *c, struct str piece, ZSTD_EndDirective end, struct err *err)
{
	ZSTD_inBuffer in = {piece.p, piece.n, 0};
	bool is_done;

	do {
		ZSTD_outBuffer out = {c->room, ZSTD_OUT_BYTES, 0};
		size_t left = ZSTD_compressStream2(c->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return err_set(err, ERR_SYSTEM, "zstd: %s", ZSTD_getErrorName(left));
		int r = put(c, str_from(c->room, out.pos), err);
		if (r != 0)
			return r;
		is_done = end == ZSTD_e_end ? left == 0 : in.pos == in.size;
	} while (!is_done);
	return 0;
}

/* ---- Whatever it is ---- */

int compress_new(const struct compress_options *options, struct compress **ret, struct err *err)
{
	cleanup(compress_free) struct compress *c = xcalloc(1, sizeof(*c));
	int r = 0;

	c->options = *options;
	if (options->media == OCI_MEDIA_LAYER_GZIP)
		r = gzip_start(c, err);
	else if (options->media == OCI_MEDIA_LAYER_ZSTD)
		r = zstd_start(c);
	if (r < 0)
		return r;
	*ret = take_ptr(c);
	return 0;
}

int compress_feed(struct compress *c, struct str piece, struct err *err)
{
	if (c->pool)
		return gzip_feed(c, piece, err);
	return c->zstd ? zstd_step(c, piece, ZSTD_e_continue, err) : put(c, piece, err);
}

int compress_finish(struct compress *c, struct err *err)
{
	if (c->pool)
		return gzip_block(c, true, err);
	return c->zstd ? zstd_step(c, STR(""), ZSTD_e_end, err) : 0;
}

void compress_free(struct compress *c)
{
	if (!c)
		return;
	deflate_pool_free(c->pool);
	ZSTD_freeCCtx(c->zstd);
	buf_done(&c->block);
	buf_done(&c->done);
	free(c->room);
	free(c);
}
