/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_UPLOAD_H
#define IMAGE_UPLOAD_H

/*
 * One blob goes up (OCI distribution specification 1.1, "Pushing blobs"). Its bytes are given
 * one after the other and its digest is told at the end, so that nothing has to be known or
 * kept beforehand: what is collected is sent as a chunk, and a chunk is in memory until the
 * registry has it. After a cut connection the registry is asked how much it has, and the rest
 * is sent again. A blob that fits into one chunk is sent with a single request.
 *
 * Registries differ. One takes 4 MiB at most with a request, another 5 MiB at least, a third
 * only a whole blob: chunks are as large as the registry wants, cut into smaller requests where
 * it calls them too large, and when a session is lost all the same the outcome is UPLOAD_E_LOST,
 * after which upload_file() does what every registry knows.
 */
#include "base/digest.h"
#include "image/registry.h"

enum {
	UPLOAD_E_MOUNTED = 1, /* the registry has linked the blob from another repository */
	UPLOAD_E_LOST = 2,    /* the session cannot go on; the error says why */
	UPLOAD_E_ABSENT = 3,  /* no such blob there */
};

enum { UPLOAD_CHUNK_BYTES = 8 << 20 };

struct upload;

/* Both must outlive it. chunk_bytes 0: UPLOAD_CHUNK_BYTES. */
struct upload *upload_new(struct registry *registry, struct endpoint *endpoint, size_t chunk_bytes);
void upload_free(struct upload *u);
DEFINE_CLEANUP(struct upload *, upload_free);

struct upload_mount {
	const struct digest *digest;
	const char *repository; /* of the same registry */
};

/*
 * Open a session. With `mount` (may be NULL) the registry is asked to take the blob from
 * there instead: UPLOAD_E_MOUNTED when it did. What an earlier session got is forgotten.
 */
must_use int upload_begin(struct upload *u, const struct upload_mount *mount, struct err *err);

/* 0 or UPLOAD_E_LOST. */
must_use int upload_write(struct upload *u, struct str piece, struct err *err);

struct upload_result {
	struct digest digest;
	uint64_t size;
};

/* The end of the blob: 0 or UPLOAD_E_LOST. */
must_use int upload_finish(struct upload *u, struct upload_result *ret, struct err *err);

/* The whole blob with one request, from the beginning of a file; with as many tries as it needs. */
must_use int upload_file(
	struct upload *u, int fd, const struct upload_result *blob, struct err *err);

/*
 * Does the repository have the blob? 0 or UPLOAD_E_ABSENT; also when what it says of the blob
 * is not `blob`.
 */
must_use int upload_exists(struct registry *registry, struct endpoint *endpoint,
	const struct upload_result *blob, struct err *err);

/*
 * The header Range of an upload's status: "0-99" (some say "bytes=0-99") means 100 bytes. 0-0 is
 * what registries say of an upload without any, and counts as that. False when it is neither.
 */
bool upload_range_parse(struct str text, uint64_t *ret_bytes);

#endif
