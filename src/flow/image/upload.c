/* SPDX-License-Identifier: Apache-2.0 */
#include "image/upload.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"

enum {
	TRIES = 5,
	MAX_CHUNK_BYTES = 32 << 20, /* whatever a registry calls its least */
	LARGE_STEP_BYTES = 4 << 20, /* what the strictest known registry takes */
	SMALL_STEP_BYTES = 1 << 20,
	STORE_SECONDS = 60,   /* for a registry to take a chunk in */
	COMMIT_SECONDS = 600, /* and to digest a whole blob */
};

static const char octets[] = "application/octet-stream";

struct upload {
	struct registry *registry;
	struct endpoint *endpoint;
	struct buf url;	 /* where the session goes on; empty: there is none */
	bool is_foreign; /* that is, or was once, elsewhere than the registry */
	struct buf chunk;
	size_t chunk_bytes; /* when it is sent */
	size_t step_bytes;  /* sent with one request at most */
	uint64_t taken;	    /* by the registry, before the chunk */
	uint64_t size;	    /* given in all */
	struct hasher *hasher;
};

struct upload *upload_new(struct registry *registry, struct endpoint *endpoint, size_t chunk_bytes)
{
	struct upload *u = xcalloc(1, sizeof(*u));

	u->registry = registry;
	u->endpoint = endpoint;
	u->chunk_bytes = chunk_bytes ? chunk_bytes : UPLOAD_CHUNK_BYTES;
	u->step_bytes = MAX_CHUNK_BYTES;
	u->hasher = hasher_new();
	return u;
}

void upload_free(struct upload *u)
{
	if (!u)
		return;
	buf_done(&u->url);
	buf_done(&u->chunk);
	hasher_free(u->hasher);
	free(u);
}

/* ---- Requests ---- */

/* An outcome between here and the callers: the same may be tried again. */
enum { AGAIN = 100 };

static bool is_success(const struct net_response *answer)
{
	return answer->status >= 200 && answer->status < 300;
}

static int status_error(const struct upload *u, const struct net_response *answer, struct err *err)
{
	return endpoint_status_error(u->registry, u->endpoint, answer, err);
}

/*
 * Wait after a request that came to nothing, for reasons that may pass: AGAIN. *attempt counts
 * the tries. err is full.
 */
static int wait_again(
	struct upload *u, const struct net_response *answer, int *attempt, struct err *err)
{
	if (answer->may_retry && *attempt >= TRIES)
		return err_wrap(err, "after %d tries", TRIES);
	if (!registry_wait(u->registry, answer, *attempt))
		return -(int)err->kind;
	++*attempt;
	return AGAIN;
}

/* One request to where the session goes on. Returns 0 for an answer of any status. */
static int ask(struct upload *u, const char *method, const struct registry_send *what,
	struct net_response *ret, struct err *err)
{
	struct registry_send send = *what;

	send.method = method;
	send.url = send.url ? send.url : buf_text(&u->url);
	send.is_foreign = u->is_foreign;
	send.content_type = send.body.n || send.body_fd > 0 ? octets : NULL;
	return endpoint_send(u->registry, u->endpoint, &send, ret, err);
}

/* Where an answer to a request to `url` says that the session goes on. */
static int follow(
	struct upload *u, const char *url, const struct net_response *answer, struct err *err)
{
	cleanup(buf_done) struct buf next = {0};
	const struct net_request request = {.url = url};
	bool is_same;
	int r = net_location(&request, answer, &next, &is_same, err);

	if (r < 0)
		return r;
	/* Where it came from elsewhere, nobody is trusted with an authorization any more. */
	u->is_foreign = u->is_foreign || !is_same;
	buf_clear(&u->url);
	buf_add_str(&u->url, buf_str(&next));
	return 0;
}

/* ---- Sessions ---- */

static void take_wishes(struct upload *u, const struct net_response *answer)
{
	const char *least = net_header(answer, "OCI-Chunk-Min-Length", 0);
	uint64_t bytes;

	/* More than is kept in memory is not had; the registry will say so. */
	if (least && parse_u64(str_of(least), MAX_CHUNK_BYTES, &bytes) && bytes > u->chunk_bytes)
		u->chunk_bytes = bytes;
}

static void start_over(struct upload *u)
{
	buf_clear(&u->url);
	buf_clear(&u->chunk);
	u->is_foreign = false;
	u->taken = u->size = 0;
	(void)hasher_finish(u->hasher);
}

static int open_session(
	struct upload *u, const char *url, struct net_response *ret, struct err *err)
{
	const struct registry_send send = {.url = url};
	int attempt = 1, r;

	do {
		r = ask(u, "POST", &send, ret, err);
		if (r == 0 && !ret->may_retry)
			return 0;
		if (r == 0)
			(void)status_error(u, ret, err);
		r = wait_again(u, ret, &attempt, err);
	} while (r == AGAIN);
	return r;
}

static void print_mount(const struct upload_mount *mount, struct buf *url)
{
	char digest[DIGEST_TEXT_SIZE];

	buf_printf(url, "?mount=%s&from=", digest_text(mount->digest, digest));
	net_url_encode(str_of(mount->repository), url);
}

static int begin(struct upload *u, const struct upload_mount *mount, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup(buf_done) struct buf url = {0};

	start_over(u);
	buf_printf(&url, "%s/v2/%s/blobs/uploads/", u->endpoint->base, u->endpoint->repository);
	if (mount)
		print_mount(mount, &url);
	int r = open_session(u, buf_text(&url), &answer, err);
	if (r < 0)
		return r;
	if (mount && answer.status == 201)
		return UPLOAD_E_MOUNTED;
	if (answer.status != 202)
		return status_error(u, &answer, err);
	take_wishes(u, &answer);
	return follow(u, buf_text(&url), &answer, err);
}

int upload_begin(struct upload *u, const struct upload_mount *mount, struct err *err)
{
	int r = begin(u, mount, err);

	/* A registry need not know mounts, nor let us read there. */
	return mount && r < 0 && r != -ERR_CANCELLED ? begin(u, NULL, err) : r;
}

/* ---- How much is there ---- */

bool upload_range_parse(struct str text, uint64_t *ret_bytes)
{
	uint64_t first, last;

	text = str_trim(text);
	if (str_starts(text, STR("bytes=")))
		text = str_from_index(text, strlen("bytes="));
	struct str begin = str_cut(&text, '-');
	if (!text.p || !parse_u64(begin, UINT64_MAX, &first) ||
		!parse_u64(text, UINT64_MAX - 1, &last) || first != 0)
		return false;
	*ret_bytes = last ? last + 1 : 0;
	return true;
}

static int lost(const struct upload *u, struct err *err)
{
	(void)err_set(err, ERR_NETWORK, "%s: the upload cannot go on where it broke off",
		u->endpoint->base);
	return UPLOAD_E_LOST;
}

/* The registry has this many bytes of the blob: what it has of the chunk is not sent again. */
static int set_taken(struct upload *u, uint64_t bytes, struct err *err)
{
	if (bytes < u->taken || bytes - u->taken > u->chunk.len)
		return lost(u, err);
	buf_cut_front(&u->chunk, (size_t)(bytes - u->taken));
	u->taken = bytes;
	return 0;
}

/* After a request of which nobody knows how far it came. AGAIN: nobody does now. */
static int look(struct upload *u, int *attempt, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup_free char *url = xstrdup(buf_text(&u->url));
	const struct registry_send send = {.url = url};
	uint64_t bytes;
	int r = ask(u, "GET", &send, &answer, err);

	if (r == 0 && answer.may_retry)
		r = status_error(u, &answer, err);
	if (r < 0)
		return wait_again(u, &answer, attempt, err);
	const char *range = net_header(&answer, "Range", 0);
	if (!is_success(&answer) || !range || !upload_range_parse(str_of(range), &bytes))
		return lost(u, err);
	if (net_header(&answer, "Location", 0))
		r = follow(u, url, &answer, err);
	return r < 0 ? r : set_taken(u, bytes, err);
}

static int look_again(struct upload *u, int *attempt, struct err *err)
{
	int r;

	do
		r = look(u, attempt, err);
	while (r == AGAIN);
	return r;
}

/* ---- Chunks ---- */

/* "Too large" is 413, with some 416. True when smaller requests are worth a try. */
static bool shrink(struct upload *u, const struct net_response *answer, size_t sent)
{
	if ((answer->status != 413 && answer->status != 416) || sent <= SMALL_STEP_BYTES)
		return false;
	u->step_bytes = sent > LARGE_STEP_BYTES ? LARGE_STEP_BYTES : SMALL_STEP_BYTES;
	return true;
}

/* A status that is no success, in the middle of a session. */
static int refused(struct upload *u, const struct net_response *answer, struct err *err)
{
	static const int of_sessions[] = {400, 404, 405, 410, 413, 416, 501};
	int r = status_error(u, answer, err);

	for (size_t i = 0; i < array_size(of_sessions); i++)
		if (answer->status == of_sessions[i])
			return UPLOAD_E_LOST;
	return r;
}

/* A chunk was taken. How much of it, the registry may say. */
static int chunk_taken(struct upload *u, const char *url, size_t sent,
	const struct net_response *answer, struct err *err)
{
	const char *range = net_header(answer, "Range", 0);
	uint64_t bytes = u->taken + sent, said;

	if (net_header(answer, "Location", 0)) {
		int r = follow(u, url, answer, err);
		if (r < 0)
			return r;
	}
	/* Some go on telling the end of the first chunk: that they took none of this is not meant.
	 */
	if (range && upload_range_parse(str_of(range), &said) && said > u->taken)
		bytes = said;
	if (bytes > u->taken + sent)
		return lost(u, err);
	return set_taken(u, bytes, err);
}

static int send_part(struct upload *u, int *attempt, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup_free char *url = xstrdup(buf_text(&u->url));
	char range[64];
	size_t n = u->chunk.len < u->step_bytes ? u->chunk.len : u->step_bytes;
	const struct registry_send send = {.url = url,
		.body = str_slice(buf_str(&u->chunk), 0, n),
		.content_range = range,
		.stall_seconds = STORE_SECONDS};

	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, u->taken, u->taken + n - 1);
	int r = ask(u, "PATCH", &send, &answer, err);
	if (r == 0 && is_success(&answer)) {
		*attempt = 1;
		return chunk_taken(u, url, n, &answer, err);
	}
	if (r == 0 && shrink(u, &answer, n))
		return look_again(u, attempt, err);
	if (r == 0 && !answer.may_retry)
		return refused(u, &answer, err);
	if (r == 0)
		(void)status_error(u, &answer, err);
	r = wait_again(u, &answer, attempt, err);
	return r == AGAIN ? look_again(u, attempt, err) : r;
}

static int flush(struct upload *u, struct err *err)
{
	int attempt = 1, r = 0;

	while (r == 0 && u->chunk.len)
		r = send_part(u, &attempt, err);
	return r;
}

int upload_write(struct upload *u, struct str piece, struct err *err)
{
	hasher_add(u->hasher, piece.p, piece.n);
	u->size += piece.n;
	while (piece.n) {
		/* A full chunk waits for its successor: a small blob is sent in another way. */
		if (u->chunk.len >= u->chunk_bytes) {
			int r = flush(u, err);
			if (r != 0)
				return r;
		}
		struct str part = str_slice(piece, 0, u->chunk_bytes - u->chunk.len);
		/* All at once: growing by doubling would make it up to twice as large. */
		if (!u->chunk.cap)
			(void)buf_reserve(&u->chunk, u->chunk_bytes);
		buf_add_str(&u->chunk, part);
		piece = str_from_index(piece, part.n);
	}
	return 0;
}

/* ---- The end ---- */

static void print_commit(const struct upload *u, const struct digest *digest, struct buf *ret)
{
	char text[DIGEST_TEXT_SIZE];
	struct str url = buf_str(&u->url);

	buf_add_str(ret, url);
	buf_add_text(ret, str_find(url, '?') < url.n ? "&digest=" : "?digest=");
	net_url_encode(str_of(digest_text(digest, text)), ret);
}

/* PUT, with what is left of the chunk as its body. */
static int commit(struct upload *u, const struct upload_result *blob, int *attempt, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup(buf_done) struct buf url = {0};
	size_t n = u->chunk.len;

	print_commit(u, &blob->digest, &url);
	const struct registry_send send = {
		.url = buf_text(&url), .body = buf_str(&u->chunk), .stall_seconds = COMMIT_SECONDS};
	int r = ask(u, "PUT", &send, &answer, err);
	if (r == 0 && is_success(&answer))
		return registry_check_stored(&answer, &blob->digest, err);
	if (r == 0 && shrink(u, &answer, n)) {
		r = flush(u, err);
		return r == 0 ? AGAIN : r;
	}
	if (r == 0 && !answer.may_retry)
		return refused(u, &answer, err);
	if (r == 0)
		(void)status_error(u, &answer, err);
	r = wait_again(u, &answer, attempt, err);
	if (r != AGAIN)
		return r;
	/* Perhaps all of it arrived, and only the answer did not. */
	r = upload_exists(u->registry, u->endpoint, blob, err);
	if (r != UPLOAD_E_ABSENT)
		return r;
	r = look_again(u, attempt, err);
	return r == 0 ? AGAIN : r;
}

int upload_finish(struct upload *u, struct upload_result *ret, struct err *err)
{
	struct upload_result blob = {hasher_finish(u->hasher), u->size};
	int attempt = 1, r = 0;

	/* Once there are chunks, the last one is one as well: not all know it with the PUT. */
	if (u->taken)
		r = flush(u, err);
	if (r != 0)
		return r;
	do
		r = commit(u, &blob, &attempt, err);
	while (r == AGAIN);
	if (r == 0)
		*ret = blob;
	return r;
}

/* ---- From a file ---- */

static int send_file(
	struct upload *u, int fd, const struct upload_result *blob, int *attempt, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup(buf_done) struct buf url = {0};
	int r = upload_begin(u, NULL, err);

	if (r != 0)
		return r;
	print_commit(u, &blob->digest, &url);
	const struct registry_send send = {.url = buf_text(&url),
		.body_fd = fd,
		.body_size = blob->size,
		.stall_seconds = COMMIT_SECONDS};
	r = ask(u, "PUT", &send, &answer, err);
	if (r == 0 && is_success(&answer))
		return registry_check_stored(&answer, &blob->digest, err);
	if (r == 0)
		r = status_error(u, &answer, err);
	if (!answer.may_retry)
		return r;
	r = wait_again(u, &answer, attempt, err);
	if (r != AGAIN)
		return r;
	r = upload_exists(u->registry, u->endpoint, blob, err);
	return r == UPLOAD_E_ABSENT ? AGAIN : r;
}

int upload_file(struct upload *u, int fd, const struct upload_result *blob, struct err *err)
{
	int attempt = 1, r;

	do
		r = send_file(u, fd, blob, &attempt, err);
	while (r == AGAIN);
	return r;
}

/* ---- Is it there ---- */

static bool is_said_of(const struct net_response *answer, const struct upload_result *blob)
{
	const char *digest = net_header(answer, "Docker-Content-Digest", 0);
	const char *length = net_header(answer, "Content-Length", 0);
	struct digest said;
	uint64_t size;

	return (!digest || !digest_parse(str_of(digest), &said) ||
		       digest_eq(&said, &blob->digest)) &&
	       (!length || !parse_u64(str_of(length), UINT64_MAX, &size) || size == blob->size);
}

int upload_exists(struct registry *registry, struct endpoint *endpoint,
	const struct upload_result *blob, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	cleanup(buf_done) struct buf url = {0};
	char digest[DIGEST_TEXT_SIZE];

	buf_printf(&url, "%s/v2/%s/blobs/%s", endpoint->base, endpoint->repository,
		digest_text(&blob->digest, digest));
	const struct registry_send send = {.method = "HEAD", .url = buf_text(&url)};
	for (int attempt = 1;; attempt++) {
		int r = endpoint_send(registry, endpoint, &send, &answer, err);
		if (r == 0 && answer.status == 200)
			return is_said_of(&answer, blob) ? 0 : UPLOAD_E_ABSENT;
		/* Not to be let to read is said of what does not exist yet as well. */
		if (r == 0 && !answer.may_retry)
			return UPLOAD_E_ABSENT;
		if (r == 0)
			r = endpoint_status_error(registry, endpoint, &answer, err);
		if (r == -ERR_DENIED)
			return UPLOAD_E_ABSENT;
		if (attempt == REGISTRY_TRIES || !registry_wait(registry, &answer, attempt))
			return r;
	}
}
