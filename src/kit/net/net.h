/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_NET_H
#define NET_NET_H

/*
 * Fetching and sending over HTTP and HTTPS, on libcurl's easy interface: one request at a
 * time, the caller waits. For worker processes; nothing here belongs into an event loop.
 *
 *	redirects    followed here, up to 10, never from https to http; the authorization goes
 *		     on only to the same scheme, host and port. A request with a method of its
 *		     own is sent on only by 307 and 308, which keep method and body
 *	time-outs    for connecting, and for a peer that takes and sends next to nothing. Time
 *		     the caller spends in its callback does not count
 *	limits	     64 KB of headers; max_bytes of body
 *	certificates verified against ca_bundle, else $SSL_CERT_FILE, else the system's
 *	proxies	     from the environment (http_proxy, https_proxy, no_proxy, …), as curl does
 *
 * libcurl itself is loaded by the first request: where nothing is fetched, it costs nothing.
 * A process that was forked makes a client of its own: connections cannot be shared.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/argv.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

struct net_options {
	const char *ca_bundle;	/* a file of PEM certificates, or NULL */
	const char *user_agent; /* NULL: none is sent */
	int connect_seconds;	/* 0: 15 */
	int stall_seconds;	/* 0: 30. Less than 1 KB in this time is a stall */
};

/* Keeps connections open between requests. The options' strings are copied. */
struct net_client;

struct net_client *net_client_new(const struct net_options *options);
void net_client_free(struct net_client *client);
DEFINE_CLEANUP(struct net_client *, net_client_free);

struct net_response {
	int status;
	struct buf url; /* where the answer came from; for people: no credentials, no query */
	/* "Name: value" lines of the answer, names as sent; find them with net_header(). */
	struct argv headers;
	/* The body, unless on_body took it. Of answers that are no success at most 64 KB. */
	struct buf body;
	/* The answer holds the bytes from this offset on: the request's `from` when the peer
	 * honoured it, else 0. */
	uint64_t from;
	/* With an error: is it of the kind that may go away (cut connection, time-out)? */
	bool may_retry;
	struct buf answered_at; /* the whole URL, for net_location() */
};

void net_response_done(struct net_response *r);
DEFINE_CLEANUP_VALUE(struct net_response, net_response_done);

/* The value of the n-th header of this name (any case), or NULL. */
const char *net_header(const struct net_response *r, const char *name, size_t n);

struct net_request {
	const char *url;  /* absolute, http or https */
	bool head;	  /* HEAD instead of GET */
	const char *form; /* POST of this application/x-www-form-urlencoded text, or NULL */
	/* "POST", "PATCH", "PUT", …: with the body below, which is sent once; NULL: none of them */
	const char *method;
	struct str body;
	int body_fd; /* > 0: the body is this file from its beginning, body_size bytes of it */
	uint64_t body_size;
	const char *content_type;  /* value of the header, or NULL */
	const char *content_range; /* value of the header, or NULL */
	/* Seconds without progress that are a stall, instead of the client's; 0: the client's.
	 * For requests over which the peer has to think. */
	int stall_seconds;
	const char *authorization; /* value of the header, or NULL */
	const char *accept;	   /* value of the header, or NULL */
	/* Values of the headers, or NULL: the answer is 304 when nothing has changed since. */
	const char *if_none_match, *if_modified_since;
	uint64_t from;	    /* ask for the bytes from this offset on */
	uint64_t max_bytes; /* of the body; more is ERR_LIMIT */
	bool no_verify;	    /* take any certificate */
	/*
	 * Gets the body of a successful answer (2xx) piece by piece; status, headers and from of
	 * `r` are known then. < 0 ends the transfer with this error. NULL: r->body gets it.
	 */
	int (*on_body)(void *arg, const struct net_response *r, struct str piece, struct err *err);
	/* Called at least once a second while waiting; true stops with ERR_CANCELLED. */
	bool (*is_cancelled)(void *arg);
	void *arg;
};

/*
 * Returns 0 when there was a whole HTTP answer, whatever its status. Errors name the URL, the
 * cause and, where there is one, the remedy; kinds are ERR_NETWORK, ERR_LIMIT, ERR_INPUT (the
 * URL or the certificate file is unusable), ERR_HOST (no libcurl), ERR_CANCELLED and those of
 * on_body. ret is filled as far as it came in any case, and is to be released with
 * net_response_done().
 */
must_use int net_fetch(struct net_client *client, const struct net_request *request,
	struct net_response *ret, struct err *err);

/*
 * Where the answer's Location header leads, as an absolute URL; *ret_same_origin: to the scheme,
 * host and port of the request, so that its authorization may go there. ERR_NETWORK when there
 * is none, when it is no URL of HTTP, or when it leads from https to http. Appends to ret.
 */
must_use int net_location(const struct net_request *request, const struct net_response *r,
	struct buf *ret, bool *ret_same_origin, struct err *err);

/*
 * A URL as people may see it: without user name, password, query and fragment. Appends to
 * ret; text that is no URL becomes "(not a URL)".
 */
void net_url_shown(const char *url, struct buf *ret);

/* Percent-encode everything but unreserved characters (RFC 3986); appends to ret. */
void net_url_encode(struct str text, struct buf *ret);

#endif
