/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

/*
 * A registry as one repository of it is seen, through every place where that repository can be
 * had: mirrors first, then the registry itself. Each place is an endpoint with its own
 * credentials and token. (OCI distribution specification 1.1, and distribution's token
 * authentication.)
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "image/credentials.h"
#include "image/image.h"
#include "net/net.h"

struct endpoint {
	const char *base;	   /* "https://registry-1.docker.io" */
	const char *repository;	   /* as it is called there */
	const char *registry;	   /* under which its credentials are filed */
	const char *authorization; /* what it accepted last, or NULL */
	bool is_plain_fallback;	   /* for when the endpoint before does not speak TLS */
	bool no_verify;
	bool has_answered; /* in HTTP, whatever it said */
	bool is_bad;	   /* gave content that was not what its digest says */
	struct err err;	   /* why it was no use; kind is ERR_NONE before */
};

struct registry {
	struct arena *arena;
	const struct image_source *source;
	const struct image_watcher *watcher;
	const struct oci_reference *reference;
	struct net_client *client;
	struct endpoint *endpoints;
	size_t count;
	size_t first;		   /* that was of use last */
	const char *actions;	   /* what tokens are asked for; NULL: "pull" */
	struct oci_list also_read; /* other repositories of the registry that they are to open */
};

/* Everything named must outlive ret; release with registry_done(). */
must_use int registry_open(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, const struct image_watcher *watcher,
	struct registry *ret, struct err *err);
/*
 * The same for a push: only the registry itself is asked, never a mirror, and tokens are for
 * writing.
 */
must_use int registry_open_for_push(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, const struct image_watcher *watcher,
	struct registry *ret, struct err *err);
void registry_done(struct registry *registry);
DEFINE_CLEANUP_VALUE(struct registry, registry_done);
/* In a forked child: connections of the parent are not used again. */
void registry_forked(struct registry *registry);

/* Fill ret and ret_count with the endpoints of a reference. */
must_use int endpoints_find(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, struct endpoint **ret, size_t *ret_count,
	struct err *err);

/* One thing of the repository. */
struct registry_want {
	const char *kind; /* "manifests" or "blobs" */
	const char *name; /* tag or digest */
	const char *accept;
	uint64_t from, max_bytes;
	int (*on_body)(void *arg, const struct net_response *r, struct str piece, struct err *err);
	bool (*is_cancelled)(void *arg);
	void *arg;
};

/*
 * Ask one endpoint, logging in when it wants that. 0 only for status 200 and 206. ret is filled
 * as net_fetch() does.
 */
must_use int endpoint_get(struct registry *registry, struct endpoint *endpoint,
	const struct registry_want *want, struct net_response *ret, struct err *err);
/* Any request to an endpoint, or to where it sends us. */
struct registry_send {
	const char *method; /* "HEAD", "GET", "POST", "PATCH", "PUT" */
	const char *url;
	bool is_foreign; /* of another origin: no authorization goes there, no login is made */
	struct str body;
	int body_fd; /* as net_request */
	uint64_t body_size;
	const char *content_type, *content_range; /* or NULL */
	int stall_seconds;			  /* 0: the usual time */
};

/*
 * Returns 0 for an answer of any status, with may_retry set where another try may be answered
 * better. Logs in when the endpoint wants that.
 */
must_use int endpoint_send(struct registry *registry, struct endpoint *endpoint,
	const struct registry_send *send, struct net_response *ret, struct err *err);
/*
 * What was sent was taken, says the registry: for what? ERR_NETWORK when the digest that it tells
 * is another one.
 */
must_use int registry_check_stored(
	const struct net_response *answer, const struct digest *digest, struct err *err);
/* An answer that is no success as an error: URL, meaning, the registry's own message, remedy. */
int endpoint_status_error(const struct registry *registry, const struct endpoint *endpoint,
	const struct net_response *answer, struct err *err);
/*
 * Find out by which endpoint the registry can be reached, and log in there when it wants that.
 */
must_use int registry_reach(struct registry *registry, struct endpoint **ret, struct err *err);

/* Answer the challenge of a 401: fills endpoint->authorization. */
must_use int endpoint_log_in(struct registry *registry, struct endpoint *endpoint,
	const struct net_response *refusal, struct err *err);

/* The remedy where a registry does not let us in. */
void endpoint_hint_login(const struct endpoint *endpoint, struct err *err);

/* The i-th endpoint to ask, or NULL for one that has nothing to add. */
struct endpoint *registry_endpoint(struct registry *registry, size_t i);
/*
 * None was of use: one error that tells what each said, with the kind and the remedy of the first
 * that has answered and has a remedy, or else of the last.
 */
int registry_failed(struct registry *registry, struct err *err);
/* The remedy where what came is not what was asked for. Returns -kind. */
int registry_hint_wrong(struct err *err);

/* Progress: this endpoint is asked now. */
void registry_tell(const struct registry *registry, const struct endpoint *endpoint);

enum { REGISTRY_TRIES = 3 /* for a request that can simply be made again */ };

/*
 * Wait before the next attempt: half a second after the first, then one, two, …, and as long as
 * the answer's Retry-After wants. Returns false, at once, if another attempt is no use or would
 * have to wait for too long. A cancelled wait ends at once.
 */
bool registry_wait(const struct registry *registry, const struct net_response *answer, int attempt);

/* A manifest or an index, verified and parsed. */
struct registry_document {
	struct digest digest; /* of its bytes */
	struct oci_manifest manifest;
};

/*
 * From the first endpoint that has it and gives it as it should be. `expected` is NULL when only
 * the tag `name` is known; its size is not checked if it is 0.
 */
must_use int registry_manifest(struct registry *registry, const char *name,
	const struct oci_descriptor *expected, struct registry_document *ret, struct err *err);

#endif
