/* SPDX-License-Identifier: Apache-2.0 */
#include "image/test_uploads.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"

enum { SESSIONS = 64, LEAST_BYTES = 300000, MOST_BYTES = 4 << 20, ENDLESS_BYTES = 8 << 20 };

/* Of the server's process, which answers one request after the other. */
static struct buf sessions[SESSIONS];
static size_t first_chunks[SESSIONS];
static unsigned session_count;

/* ---- Blobs ---- */

static size_t *find_blob(struct uploads_state *s, const char *name)
{
	for (size_t i = 0; i < s->blob_count; i++)
		if (strcmp(s->blobs[i], name) == 0)
			return &s->sizes[i];
	return NULL;
}

static void add_blob(struct uploads_state *s, const char *name, size_t size)
{
	if (find_blob(s, name) || s->blob_count == UPLOADS_BLOBS)
		return;
	s->sizes[s->blob_count] = size;
	snprintf(s->blobs[s->blob_count++], sizeof(s->blobs[0]), "%.190s", name);
}

size_t uploads_blob(const struct uploads *u, const char *repository, const struct digest *digest)
{
	char name[200], text[DIGEST_TEXT_SIZE];

	snprintf(name, sizeof(name), "%s %s", repository, digest_text(digest, text));
	size_t *size = find_blob(u->state, name);
	return size ? *size : 0;
}

void uploads_forget(struct uploads *u, const char *repository)
{
	for (size_t i = 0; i < u->state->blob_count; i++)
		if (strncmp(u->state->blobs[i], repository, strlen(repository)) == 0)
			u->state->blobs[i][0] = '\0';
}

/* ---- Answers ---- */

static void say(struct test_reply *r, int status, const char *message)
{
	r->status = status;
	buf_printf(&r->body, "{\"errors\":[{\"code\":\"X\",\"message\":\"%s\"}]}", message);
}

static void say_location(
	struct uploads *u, struct test_reply *r, const char *repository, unsigned session)
{
	enum uploads_mode mode = u->state->mode;

	if (mode == UPLOADS_FILE_LOCATION)
		buf_add_text(&r->headers, "Location: file:///etc/passwd\r\n");
	else if (mode != UPLOADS_NO_LOCATION)
		buf_printf(&r->headers, "Location: %s/v2/%s/blobs/uploads/%u?state=%zu\r\n",
			mode == UPLOADS_ELSEWHERE ? u->other.url : "", repository, session,
			sessions[session].len);
}

static void say_range(struct test_reply *r, uint64_t bytes)
{
	buf_printf(&r->headers, "Range: 0-%" PRIu64 "\r\n", bytes ? bytes - 1 : 0);
}

/* "a=b&c=d": the decoded value of a field, or "". */
static void query_value(const char *path, const char *name, char *ret, size_t size)
{
	const char *at = strstr(path, name);
	size_t n = 0;

	for (at = at ? at + strlen(name) : ""; *at && *at != '&' && n + 1 < size; at++) {
		/* Nothing else is encoded in a digest, and slashes in a name. */
		bool is_colon = strncmp(at, "%3A", 3) == 0;
		bool is_slash = strncmp(at, "%2F", 3) == 0;
		ret[n] = *at;
		if (is_colon || is_slash)
			ret[n] = is_colon ? ':' : '/';
		n++;
		at += is_colon || is_slash ? 2 : 0;
	}
	ret[n] = '\0';
}

/* ---- Requests ---- */

static void serve_post(struct uploads *u, const struct test_request *request,
	const char *repository, struct test_reply *r)
{
	struct uploads_state *s = u->state;
	char digest[100], from[100], name[210];

	s->posts++;
	query_value(request->path, "mount=", digest, sizeof(digest));
	query_value(request->path, "from=", from, sizeof(from));
	if (digest[0]) {
		s->mounts++;
		snprintf(name, sizeof(name), "%s %s", from, digest);
		size_t *size = find_blob(s, name);
		snprintf(name, sizeof(name), "%s %s", repository, digest);
		if (s->mode == UPLOADS_BAD_MOUNT) {
			say(r, 400, "no such parameter");
			return;
		}
		if (size && s->mode != UPLOADS_NO_MOUNT) {
			add_blob(s, name, *size);
			r->status = 201;
			return;
		}
	}
	r->status = 202;
	if (s->posts == 1)
		s->first = session_count % SESSIONS;
	buf_clear(&sessions[session_count % SESSIONS]);
	if (s->mode == UPLOADS_LEAST)
		buf_printf(&r->headers, "OCI-Chunk-Min-Length: %d\r\n", LEAST_BYTES);
	say_location(u, r, repository, session_count++ % SESSIONS);
}

/* True when the request has been answered. */
static bool misbehave(struct uploads *u, const struct test_request *request, struct buf *session,
	bool is_patch, struct test_reply *r)
{
	struct uploads_state *s = u->state;
	struct str body = buf_str(&request->content);
	bool is_cut =
		s->mode == UPLOADS_CUT_ALWAYS || (s->mode == UPLOADS_CUT_ONCE && s->bodies == 0);

	if (is_cut && body.n) {
		s->bodies++;
		buf_add_str(session, str_slice(body, 0, body.n / 2));
		r->no_answer = true;
	} else if (s->mode == UPLOADS_SMALL && body.n > MOST_BYTES) {
		say(r, 416, "the request body is too large");
	} else if (s->mode == UPLOADS_NO_CHUNKS && is_patch) {
		say(r, 405, "no chunks here");
	} else if (s->mode == UPLOADS_SESSION_LOST && session == &sessions[s->first] &&
		   session->len) {
		say(r, 404, "blob upload unknown");
	} else {
		return false;
	}
	return true;
}

/* "131072-196607": what begins where the session ends, and is as long as the body. */
static bool is_range_of(const struct test_request *request, uint64_t from)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "%" PRIu64 "-%" PRIu64, from,
		from + request->content.len - 1);
	return strcmp(request->content_range, wanted) == 0;
}

static void serve_patch(struct uploads *u, const struct test_request *request,
	const char *repository, unsigned id, struct test_reply *r)
{
	struct uploads_state *s = u->state;
	struct buf *session = &sessions[id];
	struct str body = buf_str(&request->content);

	s->patches++;
	if (misbehave(u, request, session, true, r))
		return;
	s->is_range_right = s->is_range_right && is_range_of(request, session->len);
	if (s->mode == UPLOADS_HALF && body.n > 1)
		body.n /= 2;
	if (!session->len)
		first_chunks[id] = body.n;
	buf_add_str(session, body);
	r->status = 202;
	say_location(u, r, repository, id);
	if (s->mode == UPLOADS_STUCK_RANGE)
		say_range(r, first_chunks[id]);
	else
		say_range(r, session->len + (s->mode == UPLOADS_RANGE_LIES ? 5 : 0));
}

static void serve_put(struct uploads *u, const struct test_request *request, const char *repository,
	unsigned id, struct test_reply *r)
{
	struct uploads_state *s = u->state;
	struct buf *session = &sessions[id];
	char wanted[100], text[DIGEST_TEXT_SIZE], name[210];

	s->puts++;
	if (misbehave(u, request, session, false, r))
		return;
	buf_add_str(session, buf_str(&request->content));
	query_value(request->path, "digest=", wanted, sizeof(wanted));
	struct digest digest = digest_of(session->data, session->len);
	if (strcmp(digest_text(&digest, text), wanted) != 0) {
		say(r, 400, "provided digest did not match uploaded content");
		return;
	}
	snprintf(name, sizeof(name), "%s %s", repository, text);
	add_blob(s, name, session->len);
	r->status = 201;
	r->no_answer = s->mode == UPLOADS_ANSWER_LOST && s->bodies++ == 0;
	if (s->mode == UPLOADS_WRONG_DIGEST)
		text[10] = text[10] == 'a' ? 'b' : 'a';
	buf_printf(&r->headers, "Docker-Content-Digest: %s\r\n", text);
}

static void serve_upload(struct uploads *u, const struct test_request *request,
	const char *repository, const char *rest, struct test_reply *r)
{
	unsigned id = (unsigned)strtoul(rest, NULL, 10) % SESSIONS;

	if (strcmp(request->method, "POST") == 0) {
		serve_post(u, request, repository, r);
	} else if (strcmp(request->method, "PATCH") == 0) {
		serve_patch(u, request, repository, id, r);
	} else if (strcmp(request->method, "PUT") == 0) {
		serve_put(u, request, repository, id, r);
	} else {
		u->state->gets++;
		r->status = 204;
		say_location(u, r, repository, id);
		say_range(r, sessions[id].len);
	}
}

static void serve_blob(
	struct uploads *u, const char *repository, const char *digest, struct test_reply *r)
{
	char name[210];

	u->state->heads++;
	snprintf(name, sizeof(name), "%s %.100s", repository, digest);
	size_t *size = find_blob(u->state, name);
	if (!size) {
		say(r, 404, "blob unknown");
		return;
	}
	r->length = (int64_t)*size + (u->state->mode == UPLOADS_OTHER_SIZE);
	buf_printf(&r->headers, "Docker-Content-Digest: %.100s\r\n", digest);
}

static void serve_manifest(struct uploads *u, const struct test_request *request, const char *tag,
	struct test_reply *r)
{
	struct uploads_state *s = u->state;
	char text[DIGEST_TEXT_SIZE];
	struct digest digest = digest_of(request->content.data, request->content.len);

	s->manifests++;
	snprintf(s->last_manifest, sizeof(s->last_manifest), "%s", request->body);
	snprintf(s->last_type, sizeof(s->last_type), "%.120s", request->content_type);
	snprintf(s->last_tag, sizeof(s->last_tag), "%.60s", tag);
	r->status = 201;
	(void)digest_text(&digest, text);
	if (s->mode == UPLOADS_WRONG_MANIFEST)
		text[10] = text[10] == 'a' ? 'b' : 'a';
	buf_printf(&r->headers, "Docker-Content-Digest: %s\r\n", text);
}

/* What has nothing to do with what is asked. True when the request has been answered. */
static bool greet(struct uploads *u, const struct test_request *request, struct test_reply *r)
{
	static int turn;
	struct uploads_state *s = u->state;
	bool is_write = strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0;

	if (strncmp(request->path, "/token", 6) == 0) {
		snprintf(s->last_scope, sizeof(s->last_scope), "%.1000s", request->path);
		buf_add_text(&r->body, "{\"token\":\"good\"}");
	} else if (s->mode == UPLOADS_TOKEN && strcmp(request->authorization, "Bearer good") != 0) {
		buf_printf(&r->headers, "WWW-Authenticate: Bearer realm=\"%s/token\"\r\n",
			u->server.url);
		say(r, 401, "authentication required");
	} else if (s->mode == UPLOADS_DENIED && is_write) {
		say(r, 403, "requested access to the resource is denied");
	} else if (s->mode == UPLOADS_LATER && is_write) {
		buf_add_text(&r->headers, "Retry-After: 3600\r\n");
		say(r, 429, "come back tomorrow");
	} else if (s->mode == UPLOADS_BUSY && turn++ % 4 == 0) {
		buf_add_text(&r->headers, "Retry-After: 0\r\n");
		say(r, turn % 8 == 1 ? 503 : 429, "not now");
	} else if (s->mode == UPLOADS_LOOP && is_write) {
		r->status = 307;
		buf_printf(&r->headers, "Location: %s\r\n", request->path);
	} else {
		return false;
	}
	return true;
}

static void handle(void *arg, const struct test_request *request, struct test_reply *r)
{
	struct uploads *u = arg;
	char repository[100];
	const char *name = request->path + strlen("/v2/");

	if (request->content.len > u->state->largest)
		u->state->largest = request->content.len;
	if (u->state->mode == UPLOADS_ENDLESS) {
		memset(buf_reserve(&r->body, ENDLESS_BYTES), 'x', ENDLESS_BYTES);
		buf_commit(&r->body, ENDLESS_BYTES);
	}
	if (greet(u, request, r) || strcmp(request->path, "/v2/") == 0)
		return;
	const char *blobs = strstr(request->path, "/blobs/");
	const char *manifests = strstr(request->path, "/manifests/");
	const char *end = blobs ? blobs : manifests;
	if (!end || end < name) {
		say(r, 404, "what?");
		return;
	}
	snprintf(repository, sizeof(repository), "%.*s", (int)(end - name), name);
	if (manifests)
		serve_manifest(u, request, manifests + strlen("/manifests/"), r);
	else if (strncmp(blobs, "/blobs/uploads/", 15) == 0)
		serve_upload(u, request, repository, blobs + 15, r);
	else
		serve_blob(u, repository, blobs + strlen("/blobs/"), r);
}

/* The other server has the same sessions only in that it is asked to go on with them. */
static void handle_other(void *arg, const struct test_request *request, struct test_reply *r)
{
	struct uploads *u = arg;

	if (request->authorization[0])
		snprintf(u->state->leaked, sizeof(u->state->leaked), "%.250s",
			request->authorization);
	handle(arg, request, r);
}

void uploads_start(struct uploads *u)
{
	*u = (struct uploads){.state = test_shared(sizeof(*u->state))};
	test_server_start(&u->other, false, handle_other, u);
	test_server_start(&u->server, false, handle, u);
}

void uploads_stop(struct uploads *u)
{
	test_server_stop(&u->server);
	test_server_stop(&u->other);
}

void uploads_reset(struct uploads *u, enum uploads_mode mode)
{
	*u->state = (struct uploads_state){.mode = mode, .is_range_right = true};
}
