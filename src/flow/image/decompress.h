/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_DECOMPRESS_H
#define IMAGE_DECOMPRESS_H

/*
 * A layer's blob becomes the tar it stands for: bytes go in as they arrive, bytes come out by
 * callback, and the digest of all that came out is the layer's diff ID. gzip (RFC 1952, several
 * members) and zstd (RFC 8878, several frames). What expands to too much is a bomb.
 */
#include <stdint.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

enum decompress_kind {
	DECOMPRESS_PLAIN,
	DECOMPRESS_GZIP,
	DECOMPRESS_ZSTD,
	DECOMPRESS_DETECT, /* by the first bytes: archives do not say */
};

struct decompress_options {
	enum decompress_kind kind;
	uint64_t max_bytes; /* that may come out */
	uint64_t ratio;	    /* of output to input, beyond the first 256 MiB of output */
	/* Gets the output piece by piece; < 0 ends it. */
	int (*out)(void *arg, struct str piece, struct err *err);
	void *arg;
};

struct decompress;

struct decompress *decompress_new(const struct decompress_options *options);
void decompress_free(struct decompress *d);
DEFINE_CLEANUP(struct decompress *, decompress_free);

/* ERR_INPUT for damaged data, ERR_LIMIT for a bomb, and what out() returns. */
must_use int decompress_feed(struct decompress *d, struct str piece, struct err *err);
/* The end of the input: ERR_INPUT when it is cut short. ret_digest is that of the output. */
must_use int decompress_finish(struct decompress *d, struct digest *ret_digest, struct err *err);

#endif
