/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_BLOB_H
#define IMAGE_BLOB_H

/*
 * One blob comes down: in order, resumed where it broke off (in this run, and in the next one
 * from a partial file), verified against its descriptor while it passes.
 */
#include "base/digest.h"
#include "image/registry.h"

struct blob_options {
	struct registry *registry;
	const struct oci_descriptor *descriptor;
	int dir; /* where its partial file is; < 0: only in memory */
	/* Gets all bytes once and in order; < 0 ends the fetch with this error. */
	int (*consume)(void *arg, struct str piece, struct err *err);
	/* How many there are by now; may be NULL. */
	void (*progress)(void *arg, uint64_t done);
	void *arg;
};

struct blob;

/*
 * With a partial file: waits until no other process fetches the same blob, and keeps others
 * waiting until blob_close().
 */
must_use int blob_open(const struct blob_options *options, struct blob **ret, struct err *err);

enum { BLOB_E_AGAIN = 1 };

/*
 * Fetch it. BLOB_E_AGAIN: what was consumed turned out to be wrong (a stale partial file, a
 * mirror that gives other content), there is another place to get it from, and the next call
 * begins at the beginning. ERR_NETWORK, naming what was expected and what came, when there is
 * none.
 */
must_use int blob_fetch(struct blob *blob, struct err *err);

/* `is_used`: the partial file has served its purpose and is removed. */
void blob_close(struct blob *blob, bool is_used);

#endif
