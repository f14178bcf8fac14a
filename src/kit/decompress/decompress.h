/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DECOMPRESS_DECOMPRESS_H
#define DECOMPRESS_DECOMPRESS_H

/*
 * Compressed bytes become what they stand for: they go in as they arrive and come out by
 * callback. gzip (RFC 1952, several members), zstd (RFC 8878, several frames), bzip2 (several
 * streams) and xz (several streams). What expands to too much is a bomb. No I/O.
 */
#include <stdbool.h>
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
	DECOMPRESS_BZIP2,
	DECOMPRESS_XZ,
	DECOMPRESS_DETECT, /* by the first bytes: archives do not say */
};

/* What DECOMPRESS_DETECT makes of bytes that begin so; it needs DECOMPRESS_MAGIC of them. */
enum { DECOMPRESS_MAGIC = 6 };
enum decompress_kind decompress_detect(struct str first);

struct decompress_options {
	enum decompress_kind kind;
	uint64_t max_bytes; /* that may come out */
	uint64_t ratio;	    /* of output to input, beyond the first 256 MiB of output */
	bool no_digest;	    /* nobody asks for it: decompress_finish() gives zeros */
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
