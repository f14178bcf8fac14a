/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_PROBE_H
#define RUN_PROBE_H

/*
 * Waits until an app answers: connects to its port, asks for "/" as a browser would, and is
 * content with any HTTP status. A port that is open but gives no answer is not enough.
 *
 * The pause between attempts is a hundredth of the time waited so far, from 5 ms to 250 ms: a
 * quick app is not made to wait, a slow one is not bothered.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <uv.h>

#include "base/attr.h"
#include "base/str.h"

/* ---- The answer ---- */

enum { PROBE_E_SHORT = 1, PROBE_E_BAD = 2 };

/*
 * The status of an HTTP/1 response from its first bytes: 0, PROBE_E_SHORT (could become one)
 * or PROBE_E_BAD (is none).
 */
must_use int probe_parse_status(struct str bytes, int *ret_status);

/* ---- Asking ---- */

/* What the last attempt came to. */
enum probe_seen {
	PROBE_NOTHING,	/* no attempt has ended yet */
	PROBE_REFUSED,	/* nobody listens there */
	PROBE_SILENT,	/* connected, no answer so far */
	PROBE_CLOSED,	/* connected, closed without an answer */
	PROBE_NOT_HTTP, /* answered something else */
	PROBE_TLS,	/* answered as a TLS server does */
	PROBE_ANSWERED,
};

struct probe;

struct probe_options {
	uv_loop_t *loop;
	struct sockaddr_in to;
	const char *host; /* for the Host header: "localhost:7860" */
	/* Called once, when an answer came. */
	void (*on_answer)(void *arg, int status);
	void *arg;
};

/* Begins at once. Never NULL. */
struct probe *probe_start(const struct probe_options *options);
enum probe_seen probe_seen(const struct probe *probe);
/* End it, before or after the answer. The memory is released by callbacks of the loop. */
void probe_close(struct probe *probe);

#endif
