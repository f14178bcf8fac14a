/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_COMPRESS_H
#define IMAGE_COMPRESS_H

/*
 * Compressing a stream, the same bytes for the same bytes, however many processors there are:
 *
 *	gzip	one member, of blocks that are compressed side by side. Each sees the end of
 *		the one before it, so hardly anything is lost; the workers are child processes
 *	zstd	one frame with a checksum, on libzstd's own threads
 *
 * Memory is bounded: about two megabytes for each worker of gzip, some thirty for zstd.
 */
#include "base/attr.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/oci.h"

struct compress_options {
	enum oci_media media; /* OCI_MEDIA_LAYER_TAR (as it is), _GZIP or _ZSTD */
	unsigned workers;     /* side by side; 0: one for each processor, at most 8 */
	/* Gets the compressed bytes in order; anything but 0 ends everything and is returned. */
	int (*out)(void *arg, struct str piece, struct err *err);
	void *arg;
};

struct compress;

must_use int compress_new(
	const struct compress_options *options, struct compress **ret, struct err *err);
must_use int compress_feed(struct compress *c, struct str piece, struct err *err);
/* The end: the rest goes out. */
must_use int compress_finish(struct compress *c, struct err *err);
/* At any time; no worker is left. */
void compress_free(struct compress *c);
DEFINE_CLEANUP(struct compress *, compress_free);

#endif
