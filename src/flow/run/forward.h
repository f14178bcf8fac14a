/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_FORWARD_H
#define RUN_FORWARD_H

/*
 * The way into a Space: connections to listening sockets of the host are carried to one
 * address, byte for byte, in both directions. Nothing is parsed, so everything passes:
 * WebSockets, event streams, bodies of any size, half-closed connections.
 *
 * A direction that its reader does not keep up with is not read from until what was read
 * (64 KiB at most) is written; so a connection holds at most two such pieces, and an idle one
 * none. Beyond `max_links` connections nobody is accepted until one ends: clients wait in the
 * kernel's queue, as they do before forward_open().
 *
 * Connections are made in the network namespace that the calling process is in; the
 * listening sockets stay in the one they were made in.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"

struct forward;

struct forward_options {
	uv_loop_t *loop;
	const int *listeners; /* non-blocking; not owned, open until forward_close() is through */
	size_t listener_count;
	struct sockaddr_in to;
	unsigned max_links;
	/* A refused connection is tried again for this long: servers restart. ms */
	unsigned patience;
};

/* Accepts nobody yet. */
must_use int forward_new(
	const struct forward_options *options, struct forward **ret, struct err *err);
/* From now on clients are accepted. */
must_use int forward_open(struct forward *forward, struct err *err);
/*
 * Cut all connections, accept no more. The memory is released by callbacks: the loop has to
 * run until it has nothing more to do.
 */
void forward_close(struct forward *forward);

/* Connections at this moment. */
unsigned forward_links(const struct forward *forward);

#endif
