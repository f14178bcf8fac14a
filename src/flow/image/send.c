/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "image/registry.h"

/* Of answers nothing is read but headers and, when they are no success, messages. */
enum { ANSWER_MAX_BYTES = 1 << 20 };

static int send_once(struct registry *registry, struct endpoint *endpoint,
	const struct registry_send *send, struct net_response *ret, struct err *err)
{
	bool is_head = strcmp(send->method, "HEAD") == 0;
	bool is_get = strcmp(send->method, "GET") == 0;
	const struct net_request request = {
		.url = send->url,
		.head = is_head,
		.method = is_head || is_get ? NULL : send->method,
		.body = send->body,
		.body_fd = send->body_fd,
		.body_size = send->body_size,
		.content_type = send->content_type,
		.content_range = send->content_range,
		.authorization = send->is_foreign ? NULL : endpoint->authorization,
		.max_bytes = ANSWER_MAX_BYTES,
		.no_verify = endpoint->no_verify,
		.stall_seconds = send->stall_seconds,
		.is_cancelled = registry->watcher->is_cancelled,
		.arg = registry->watcher->arg,
	};

	net_response_done(ret);
	int r = net_fetch(registry->client, &request, ret, err);
	if (!send->is_foreign)
		endpoint->has_answered = endpoint->has_answered || ret->status;
	return r;
}

int endpoint_send(struct registry *registry, struct endpoint *endpoint,
	const struct registry_send *send, struct net_response *ret, struct err *err)
{
	int r = send_once(registry, endpoint, send, ret, err);

	if (r == 0 && ret->status == 401 && !send->is_foreign) {
		r = endpoint_log_in(registry, endpoint, ret, err);
		if (r == 0)
			r = send_once(registry, endpoint, send, ret, err);
	}
	if (r == 0)
		ret->may_retry = ret->status >= 500 || ret->status == 429;
	return r;
}

static int ask_version(struct registry *registry, struct endpoint *endpoint, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	const char *url = arena_printf(registry->arena, "%s/v2/", endpoint->base);
	const struct registry_send send = {.method = "GET", .url = url};

	for (int attempt = 1;; attempt++) {
		int r = endpoint_send(registry, endpoint, &send, &answer, err);
		/* What it says to the first real request tells more than this. */
		if (r == 0 && !answer.may_retry)
			return 0;
		if (r == 0)
			r = endpoint_status_error(registry, endpoint, &answer, err);
		/* Of one that has never answered, waiting makes no better one. */
		if (!endpoint->has_answered || attempt == REGISTRY_TRIES ||
			!registry_wait(registry, &answer, attempt))
			return r;
	}
}

int registry_reach(struct registry *registry, struct endpoint **ret, struct err *err)
{
	for (size_t i = 0; i < registry->count; i++) {
		struct endpoint *endpoint = registry_endpoint(registry, i);
		if (!endpoint)
			continue;
		registry_tell(registry, endpoint);
		int r = ask_version(registry, endpoint, err);
		if (r == 0)
			*ret = endpoint;
		if (r == 0 || r == -ERR_CANCELLED)
			return r;
		endpoint->err = *err;
	}
	return registry_failed(registry, err);
}

int registry_check_stored(
	const struct net_response *answer, const struct digest *digest, struct err *err)
{
	const char *header = net_header(answer, "Docker-Content-Digest", 0);
	char ours[DIGEST_TEXT_SIZE];
	struct digest theirs;

	if (!header || !digest_parse(str_of(header), &theirs) || digest_eq(&theirs, digest))
		return 0;
	(void)err_set(err, ERR_NETWORK, "%s: wrong digest: %s was sent, %.100s was stored",
		buf_text(&answer->url), digest_text(digest, ours), header);
	return err_hint(err, "the registry, or a proxy on the way to it, changes what it is given");
}
