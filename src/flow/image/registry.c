/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry.h"

#include <string.h>
#include <time.h>

#include "base/number.h"
#include "image/internal.h"
#include "json/json.h"

enum {
	MANIFEST_MAX_BYTES = 4 << 20,
	DEFAULT_RETRY_MS = 500,
	MAX_WAIT_SECONDS = 30,
};

static const char manifest_types[] = "application/vnd.oci.image.index.v1+json, "
				     "application/vnd.docker.distribution.manifest.list.v2+json, "
				     "application/vnd.oci.image.manifest.v1+json, "
				     "application/vnd.docker.distribution.manifest.v2+json";

static struct net_client *make_client(const struct image_source *source)
{
	return net_client_new(
		&(struct net_options){.ca_bundle = source->ca_bundle, .user_agent = "spaceport"});
}

int registry_open(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, const struct image_watcher *watcher,
	struct registry *ret, struct err *err)
{
	*ret = (struct registry){
		.arena = a, .source = source, .watcher = watcher, .reference = reference};
	int r = endpoints_find(a, source, reference, &ret->endpoints, &ret->count, err);
	if (r == 0)
		ret->client = make_client(source);
	return r;
}

int registry_open_for_push(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, const struct image_watcher *watcher,
	struct registry *ret, struct err *err)
{
	int r = registry_open(a, source, reference, watcher, ret, err);
	size_t origins = 0;

	if (r < 0)
		return r;
	/* The registry itself comes last, and its plain form behind it. */
	origins = ret->endpoints[ret->count - 1].is_plain_fallback ? 2 : 1;
	ret->endpoints += ret->count - origins;
	ret->count = origins;
	ret->actions = "pull,push";
	return 0;
}

void registry_done(struct registry *registry)
{
	net_client_free(registry->client);
	registry->client = NULL;
}

void registry_forked(struct registry *registry)
{
	/*
	 * The parent's client is dropped and not released: that would say good-bye on the
	 * parent's connections.
	 */
	registry->client = make_client(registry->source);
}

/* ---- What an answer that is no success means ---- */

static const struct {
	int status;
	enum err_kind kind;
	const char *text;
} statuses[] = {
	{401, ERR_DENIED, "access denied"},
	{403, ERR_DENIED, "access denied"},
	{404, ERR_MISSING, "not found"},
	{405, ERR_NETWORK, "not possible there"},
	{413, ERR_NETWORK, "too large"},
	{429, ERR_NETWORK, "too many requests"},
};

/* distribution's error document: the first message, or "". */
static const char *first_message(struct arena *a, struct str body)
{
	const struct json *root = NULL;
	struct err ignored_err = {0};
	const char *text;

	if (json_parse(a, body, body.n, &root, &ignored_err) < 0)
		return "";
	const struct json *first = json_item(json_find(root, "errors"), 0);
	text = json_text(json_find(first, "message"));
	return text ? text : "";
}

void endpoint_hint_login(const struct endpoint *endpoint, struct err *err)
{
	(void)err_hint(err,
		"log in with `docker login %s` (or podman login), or check the name: registries say "
		"this of images that do not exist as well",
		endpoint->registry);
}

static void hint_for(const struct registry *registry, const struct endpoint *endpoint, int status,
	struct err *err)
{
	if (registry->actions && (status == 401 || status == 403)) {
		(void)err_hint(err,
			"log in with `docker login %s` (or podman login) as somebody who may push "
			"to %s, or check the name",
			endpoint->registry, endpoint->repository);
		return;
	}
	if (status == 429 && strcmp(endpoint->registry, "docker.io") == 0)
		(void)err_hint(err,
			"Docker Hub limits pulls by address: log in with `docker login`, or name a "
			"mirror for docker.io under `registries` in spaceport.yaml");
	else if (status == 429)
		(void)err_hint(
			err, "wait a while, or log in with `docker login %s`", endpoint->registry);
	else if (status == 401 || status == 403)
		endpoint_hint_login(endpoint, err);
}

int endpoint_status_error(const struct registry *registry, const struct endpoint *endpoint,
	const struct net_response *ret, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	enum err_kind kind = ERR_NETWORK;
	const char *text = arena_printf(&a, "answered %d", ret->status);
	struct str message = str_head(str_of(first_message(&a, buf_str(&ret->body))), 200);

	for (size_t i = 0; i < array_size(statuses); i++) {
		if (statuses[i].status != ret->status)
			continue;
		kind = statuses[i].kind;
		text = statuses[i].text;
	}
	(void)err_set(err, kind, "%s: %s%s%.*s%s", buf_text(&ret->url), text, message.n ? " (" : "",
		STR_ARG(message), message.n ? ")" : "");
	hint_for(registry, endpoint, ret->status, err);
	return -(int)kind;
}

/* ---- One endpoint ---- */

static int fetch(struct registry *registry, struct endpoint *endpoint,
	const struct registry_want *want, struct net_response *ret, struct err *err)
{
	cleanup(buf_done) struct buf url = {0};
	struct net_request request = {
		.authorization = endpoint->authorization,
		.accept = want->accept,
		.from = want->from,
		.max_bytes = want->max_bytes,
		.no_verify = endpoint->no_verify,
		.on_body = want->on_body,
		.is_cancelled = want->is_cancelled,
		.arg = want->arg,
	};

	buf_printf(&url, "%s/v2/%s/%s/%s", endpoint->base, endpoint->repository, want->kind,
		want->name);
	request.url = url.data;
	net_response_done(ret);
	int r = net_fetch(registry->client, &request, ret, err);
	endpoint->has_answered = endpoint->has_answered || ret->status;
	return r;
}

int endpoint_get(struct registry *registry, struct endpoint *endpoint,
	const struct registry_want *want, struct net_response *ret, struct err *err)
{
	int r = fetch(registry, endpoint, want, ret, err);

	/* A token that was good may have expired. */
	if (r == 0 && ret->status == 401) {
		r = endpoint_log_in(registry, endpoint, ret, err);
		if (r == 0)
			r = fetch(registry, endpoint, want, ret, err);
	}
	if (r < 0)
		return r;
	if (ret->status == 200 || ret->status == 206)
		return 0;
	ret->may_retry = ret->status >= 500 || ret->status == 429;
	return endpoint_status_error(registry, endpoint, ret, err);
}

/* ---- All of them ---- */

struct endpoint *registry_endpoint(struct registry *registry, size_t i)
{
	size_t at = (registry->first + i) % registry->count;
	struct endpoint *endpoint = &registry->endpoints[at];

	if (endpoint->is_bad)
		return NULL;
	/* Plain HTTP only where TLS got no answer at all. */
	if (endpoint->is_plain_fallback && registry->endpoints[at - 1].has_answered)
		return NULL;
	/* And where plain HTTP is what it speaks, TLS is not tried again. */
	if (at + 1 < registry->count && endpoint[1].is_plain_fallback && endpoint[1].has_answered &&
		!endpoint->has_answered)
		return NULL;
	return endpoint;
}

static bool is_told_by_next(const struct registry *registry, size_t i)
{
	return i + 1 < registry->count && registry->endpoints[i + 1].is_plain_fallback &&
	       registry->endpoints[i + 1].has_answered;
}

/* Whoever has answered knows more than whoever could not be reached. */
static const struct err *most_telling(const struct registry *registry)
{
	const struct err *last = NULL;

	for (size_t i = 0; i < registry->count; i++) {
		const struct endpoint *endpoint = &registry->endpoints[i];
		if (endpoint->err.kind == ERR_NONE || is_told_by_next(registry, i))
			continue;
		if (endpoint->has_answered && endpoint->err.hint[0])
			return &endpoint->err;
		last = &endpoint->err;
	}
	return last;
}

int registry_failed(struct registry *registry, struct err *err)
{
	cleanup(buf_done) struct buf all = {0};
	const struct err *telling = most_telling(registry);

	for (size_t i = 0; i < registry->count; i++) {
		const struct err *said = &registry->endpoints[i].err;
		if (said->kind == ERR_NONE || is_told_by_next(registry, i))
			continue;
		buf_printf(&all, "%s%s", all.len ? "; " : "", said->text);
	}
	if (!telling)
		return err_set(err, ERR_BUG, "no registry was asked");
	struct err why = *telling;
	(void)err_set(err, why.kind, "%s", buf_text(&all));
	if (why.hint[0])
		(void)err_hint(err, "%s", why.hint);
	return -(int)err->kind;
}

void registry_tell(const struct registry *registry, const struct endpoint *endpoint)
{
	const struct image_progress progress = {
		.image = registry->reference->text, .phase = IMAGE_RESOLVE, .text = endpoint->base};

	if (registry->watcher->on_progress)
		registry->watcher->on_progress(registry->watcher->arg, &progress);
}

/* Seconds that the answer asks us to wait (RFC 9110, 10.2.3); a date counts as nothing said. */
static uint64_t retry_after(const struct net_response *answer)
{
	const char *header = net_header(answer, "Retry-After", 0);
	uint64_t seconds = 0;

	return header && parse_u64(str_of(header), UINT32_MAX, &seconds) ? seconds : 0;
}

static bool is_cancelled(const struct registry *registry)
{
	const struct image_watcher *watcher = registry->watcher;

	return watcher->is_cancelled && watcher->is_cancelled(watcher->arg);
}

bool registry_wait(const struct registry *registry, const struct net_response *answer, int attempt)
{
	uint64_t base = registry->source->retry_ms ? registry->source->retry_ms : DEFAULT_RETRY_MS;
	uint64_t left = base << (attempt - 1), asked = retry_after(answer);

	if (!answer->may_retry || asked > MAX_WAIT_SECONDS)
		return false;
	if (asked * 1000 > left)
		left = asked * 1000;
	while (left && !is_cancelled(registry)) {
		uint64_t part = left < 200 ? left : 200;
		struct timespec time = {.tv_nsec = (long)part * 1000000L};
		(void)nanosleep(&time, NULL); /* a signal only shortens it */
		left -= part;
	}
	return true;
}

static int get_manifest(struct registry *registry, struct endpoint *endpoint, const char *name,
	struct net_response *ret, struct err *err)
{
	const struct registry_want want = {.kind = "manifests",
		.name = name,
		.accept = manifest_types,
		.max_bytes = MANIFEST_MAX_BYTES,
		.is_cancelled = registry->watcher->is_cancelled,
		.arg = registry->watcher->arg};
	int r;

	registry_tell(registry, endpoint);
	for (int attempt = 1;; attempt++) {
		r = endpoint_get(registry, endpoint, &want, ret, err);
		if (r == 0 || !ret->status || attempt == REGISTRY_TRIES ||
			!registry_wait(registry, ret, attempt))
			return r;
	}
}

int registry_hint_wrong(struct err *err)
{
	return err_hint(err, "the registry, or a proxy on the way to it, sends something else than "
			     "the image: try again later, or name another mirror for it under "
			     "`registries` in spaceport.yaml");
}

static int check_digest(
	const struct digest *expected, const struct digest *got, const char *who, struct err *err)
{
	char expected_text[DIGEST_TEXT_SIZE], got_text[DIGEST_TEXT_SIZE];

	if (digest_eq(expected, got))
		return 0;
	(void)err_set(err, ERR_NETWORK, "wrong digest: %s is %s, but what came is %s", who,
		digest_text(expected, expected_text), digest_text(got, got_text));
	return registry_hint_wrong(err);
}

static int check_document(const struct net_response *answer, const struct oci_descriptor *expected,
	const struct digest *got, struct err *err)
{
	struct digest said;
	const char *header = net_header(answer, "Docker-Content-Digest", 0);

	if (expected && expected->size && expected->size != answer->body.len) {
		(void)err_set(err, ERR_NETWORK, "wrong size: %zu bytes came instead of %llu",
			answer->body.len, (unsigned long long)expected->size);
		return registry_hint_wrong(err);
	}
	if (expected)
		return check_digest(&expected->digest, got, "the manifest asked for", err);
	/* Other algorithms are the registry's own business. */
	if (header && digest_parse(str_of(header), &said))
		return check_digest(&said, got, "the manifest, says the registry,", err);
	return 0;
}

static int document_from(struct registry *registry, struct endpoint *endpoint, const char *name,
	const struct oci_descriptor *expected, struct registry_document *ret, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	int r = get_manifest(registry, endpoint, name, &answer, err);

	if (r < 0)
		return r;
	const char *type = net_header(&answer, "Content-Type", 0);
	ret->digest = digest_of(answer.body.data, answer.body.len);
	r = check_document(&answer, expected, &ret->digest, err);
	if (r == 0)
		r = oci_manifest_parse(
			registry->arena, buf_str(&answer.body), str_of(type), &ret->manifest, err);
	if (r == 0)
		return 0;
	/* What the registry sends is not the user's input. */
	err->kind = ERR_NETWORK;
	return err_wrap(err, "%s", buf_text(&answer.url));
}

int registry_manifest(struct registry *registry, const char *name,
	const struct oci_descriptor *expected, struct registry_document *ret, struct err *err)
{
	for (size_t i = 0; i < registry->count; i++) {
		struct endpoint *endpoint = registry_endpoint(registry, i);
		if (!endpoint)
			continue;
		int r = document_from(registry, endpoint, name, expected, ret, err);
		if (r == -ERR_CANCELLED)
			return r;
		endpoint->err = r < 0 ? *err : (struct err){0};
		if (r < 0)
			continue;
		registry->first = (size_t)(endpoint - registry->endpoints);
		return 0;
	}
	return registry_failed(registry, err);
}
