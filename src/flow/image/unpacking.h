/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_UNPACKING_H
#define IMAGE_UNPACKING_H

/*
 * A layer on its way into the sink. The caller, a worker process, feeds the blob's bytes; they
 * are decompressed and hashed here and go through a pipe to a child in which the sink unpacks
 * them. The sink asks for the verdict before it publishes, and gets it from here.
 */
#include "base/cleanup.h"
#include "decompress/decompress.h"
#include "image/image.h"

struct unpacking_options {
	const struct image_layer_sink *sink;
	const struct digest *diff_id;
	enum decompress_kind kind;
	uint64_t max_bytes, ratio; /* as decompress_options */
};

struct unpacking;

/* SIGPIPE must be ignored. The options' pointers must stay valid. */
must_use int unpacking_start(
	const struct unpacking_options *options, struct unpacking **ret, struct err *err);

/*
 * The next bytes of the blob. Damaged data is not reported before unpacking_finish(): if the
 * blob is not what its digest says, that is what there is to tell.
 */
must_use int unpacking_feed(struct unpacking *u, struct str piece, struct err *err);

/*
 * The end of the blob. `result` is how its fetch ended, with err full if < 0; unless it is 0 the
 * sink is told to throw everything away. Waits for the sink and releases u. Returns result if
 * it was not 0, else whether the layer is in the sink.
 */
must_use int unpacking_finish(struct unpacking *u, int result, struct err *err);

#endif
