/* SPDX-License-Identifier: Apache-2.0 */
#include "image/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/file.h"
#include "os/lock.h"

enum { TRIES = 5, READ_BYTES = 256 << 10 };

/* After so much progress a broken connection is an accident and not a habit. */
#define FRESH_START_BYTES ((uint64_t)8 << 20)

struct blob {
	struct blob_options options;
	int fd; /* the partial file, locked; -1: none */
	char hex[DIGEST_HEX_SIZE];
	struct hasher *hasher;
	uint64_t done;	   /* bytes hashed and consumed */
	bool is_from_file; /* some of them came from an earlier run */
	/* Of the answer that is coming in: */
	uint64_t at;	/* position of its next byte */
	bool has_begun; /* at least one byte of it is here */
	bool is_wrong;	/* it cannot be this blob */
	bool is_ours;	/* the failure is the consumer's or the disk's, not the peer's */
};

/* ---- The partial file ---- */

/* Somebody may have finished, and removed, the file while we waited for its lock. */
static int lock_file(struct blob *blob, struct err *err)
{
	for (;;) {
		struct stat st;
		cleanup_close int fd = -1;
		int r = lock_take(blob->options.dir, blob->hex, LOCK_EXCLUSIVE, 1, &fd, err);
		if (r < 0)
			return r;
		if (fstat(fd, &st) < 0)
			return err_sys(err, "stat partial blob %s", blob->hex);
		if (st.st_nlink == 0)
			continue;
		blob->fd = take_fd(&fd);
		return 0;
	}
}

int blob_open(const struct blob_options *options, struct blob **ret, struct err *err)
{
	struct blob *blob = xcalloc(1, sizeof(*blob));

	blob->options = *options;
	blob->fd = -1;
	blob->hasher = hasher_new();
	(void)digest_hex(&options->descriptor->digest, blob->hex);
	int r = options->dir < 0 ? 0 : lock_file(blob, err);
	if (r < 0)
		blob_close(blob, false);
	else
		*ret = blob;
	return r;
}

void blob_close(struct blob *blob, bool is_used)
{
	if (!blob)
		return;
	if (blob->fd >= 0) {
		if (is_used)
			(void)unlinkat(blob->options.dir, blob->hex, 0); /* else it is reused */
		close(blob->fd);
	}
	hasher_free(blob->hasher);
	free(blob);
}

static int start_over(struct blob *blob, struct err *err)
{
	(void)hasher_finish(blob->hasher);
	blob->done = 0;
	blob->is_from_file = false;
	if (blob->fd >= 0 && ftruncate(blob->fd, 0) < 0)
		return err_sys(err, "truncate partial blob %s", blob->hex);
	return 0;
}

/* ---- Bytes ---- */

static int take(struct blob *blob, struct str piece, struct err *err)
{
	hasher_add(blob->hasher, piece.p, piece.n);
	blob->done += piece.n;
	int r = blob->options.consume(blob->options.arg, piece, err);
	if (r == 0 && blob->options.progress)
		blob->options.progress(blob->options.arg, blob->done);
	return r;
}

static int take_file(struct blob *blob, struct err *err)
{
	struct stat st;
	cleanup_free char *chunk = xmalloc(READ_BYTES);

	if (blob->fd < 0)
		return 0;
	if (fstat(blob->fd, &st) < 0 || lseek(blob->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "read partial blob %s", blob->hex);
	if ((uint64_t)st.st_size > blob->options.descriptor->size)
		return start_over(blob, err);
	for (;;) {
		ssize_t n = read(blob->fd, chunk, READ_BYTES);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "read partial blob %s", blob->hex);
		if (n == 0)
			return 0;
		if (n < 0)
			continue;
		blob->is_from_file = true;
		int r = take(blob, str_from(chunk, (size_t)n), err);
		if (r < 0)
			return r;
	}
}

static int keep(struct blob *blob, struct str piece, struct err *err)
{
	/* The file's position is its end: it was read to there, or truncated. */
	if (blob->fd >= 0 && file_write_fd(blob->fd, piece, err) < 0)
		return err_wrap(err, "partial blob %s", blob->hex);
	return take(blob, piece, err);
}

static int on_body(void *arg, const struct net_response *r, struct str piece, struct err *err)
{
	struct blob *blob = arg;
	uint64_t size = blob->options.descriptor->size;

	if (!blob->has_begun)
		blob->at = r->from;
	blob->has_begun = true;
	/* A server that knows no ranges sends what is here already. */
	uint64_t skip = blob->done > blob->at ? blob->done - blob->at : 0;
	if (skip > piece.n)
		skip = piece.n;
	blob->at += piece.n;
	piece = str_from_index(piece, skip);
	if (piece.n > size - blob->done) {
		blob->is_wrong = true;
		(void)err_set(err, ERR_NETWORK,
			"wrong size: sends more than the %" PRIu64 " bytes that the manifest says",
			size);
		return registry_hint_wrong(err);
	}
	if (!piece.n)
		return 0;
	int result = keep(blob, piece, err);
	blob->is_ours = result < 0;
	return result;
}

static bool is_cancelled(void *arg)
{
	const struct image_watcher *watcher = ((struct blob *)arg)->options.registry->watcher;

	return watcher->is_cancelled && watcher->is_cancelled(watcher->arg);
}

/* ---- Tries ---- */

static int try_once(
	struct blob *blob, struct endpoint *endpoint, struct net_response *answer, struct err *err)
{
	char name[DIGEST_TEXT_SIZE];
	uint64_t size = blob->options.descriptor->size;
	const struct registry_want want = {.kind = "blobs",
		.name = digest_text(&blob->options.descriptor->digest, name),
		.from = blob->done,
		.max_bytes = UINT64_MAX, /* on_body knows better */
		.on_body = on_body,
		.is_cancelled = is_cancelled,
		.arg = blob};

	blob->has_begun = false;
	int r = endpoint_get(blob->options.registry, endpoint, &want, answer, err);
	if (r < 0)
		return r;
	if (blob->done < size) {
		answer->may_retry = true;
		(void)err_set(err, ERR_NETWORK, "%s: sent %" PRIu64 " of %" PRIu64 " bytes",
			buf_text(&answer->url), blob->done, size);
		return registry_hint_wrong(err);
	}
	return 0;
}

static int fetch_from(struct blob *blob, struct endpoint *endpoint, struct err *err)
{
	for (int attempt = 1;; attempt++) {
		cleanup(net_response_done) struct net_response answer = {0};
		uint64_t before = blob->done;
		int r = try_once(blob, endpoint, &answer, err);
		/* Of one that has never answered, waiting makes no better one. */
		if (r == 0 || !endpoint->has_answered)
			return r;
		if (blob->done - before >= FRESH_START_BYTES)
			attempt = 1;
		if (attempt == TRIES && answer.may_retry)
			return err_wrap(err, "after %d tries", TRIES);
		if (!registry_wait(blob->options.registry, &answer, attempt))
			return r;
	}
}

/* All bytes are here: are they the right ones? */
static int verify(struct blob *blob, const struct endpoint *endpoint, struct err *err)
{
	const struct oci_descriptor *expected = blob->options.descriptor;
	struct digest digest = hasher_finish(blob->hasher);
	char wanted[DIGEST_TEXT_SIZE], got[DIGEST_TEXT_SIZE];

	if (digest_eq(&digest, &expected->digest))
		return 0;
	blob->is_wrong = true;
	(void)err_set(err, ERR_NETWORK, "%s/v2/%s/blobs: wrong digest: expected %s, got %s",
		endpoint->base, endpoint->repository, digest_text(&expected->digest, wanted),
		digest_text(&digest, got));
	return registry_hint_wrong(err);
}

/* What came was not the blob. */
static int recover(struct blob *blob, struct endpoint *endpoint, struct err *err)
{
	struct registry *registry = blob->options.registry;
	struct err failed = {0};
	bool is_stale = blob->is_from_file;

	endpoint->err = *err;
	/* What an earlier run left may be to blame; then the endpoint gets another chance. */
	endpoint->is_bad = !is_stale;
	blob->is_wrong = false;
	if (start_over(blob, &failed) < 0) {
		*err = failed;
		return -(int)err->kind;
	}
	if (is_stale)
		return BLOB_E_AGAIN;
	for (size_t i = 0; i < registry->count; i++)
		if (registry_endpoint(registry, i))
			return BLOB_E_AGAIN;
	return registry_failed(registry, err);
}

int blob_fetch(struct blob *blob, struct err *err)
{
	struct registry *registry = blob->options.registry;
	int r = take_file(blob, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < registry->count; i++) {
		struct endpoint *endpoint = registry_endpoint(registry, i);
		if (!endpoint)
			continue;
		r = blob->done == blob->options.descriptor->size ? 0
								 : fetch_from(blob, endpoint, err);
		if (r == 0)
			r = verify(blob, endpoint, err);
		if (blob->is_wrong)
			return recover(blob, endpoint, err);
		if (r == 0 || r == -ERR_CANCELLED || blob->is_ours)
			return r;
		endpoint->err = *err;
	}
	return registry_failed(registry, err);
}
