/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_DEFLATE_H
#define IMAGE_DEFLATE_H

/*
 * Blocks of a deflate stream (RFC 1951), each compressed by itself with the end of the block
 * before it as its dictionary, so that they can be put one behind the other.
 */
#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

enum { DEFLATE_BLOCK_BYTES = 512 << 10 };

/* Workers, child processes, between which the blocks go round. */
struct deflate_pool;

/* count 0: no processes, blocks are compressed by the caller's. */
must_use int deflate_pool_new(unsigned count, struct deflate_pool **ret, struct err *err);
/* Kills them. */
void deflate_pool_free(struct deflate_pool *pool);
DEFINE_CLEANUP(struct deflate_pool *, deflate_pool_free);

/*
 * The next block, of at most DEFLATE_BLOCK_BYTES; the last one ends the stream. What is
 * finished of blocks before it is appended to ret, and after the last one all that is left.
 */
must_use int deflate_pool_add(struct deflate_pool *pool, struct str block, bool is_last,
	struct buf *ret, struct err *err);

#endif
