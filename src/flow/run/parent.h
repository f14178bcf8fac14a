/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_PARENT_H
#define RUN_PARENT_H

/* One instance as the process that started it sees it. */
#include "journal/journal.h"
#include "run/box.h"
#include "sandbox/sandbox.h"

struct run {
	struct arena arena;
	struct run_options
		options; /* a copy with the defaults; what it points to is the caller's */
	struct store *store;
	struct host_port port;
	struct buf url;

	int runs; /* <data>/run */
	struct instance instance;
	struct state state;
	struct store_lease *lease; /* keeps the image and its layers */
	struct cgroup *cgroup;

	struct box_job job;
	struct sandbox_box box;
	int socket; /* to the box */
	int epoll;  /* of socket, wake and the log */
	int wake;   /* readable: an event is there that no other descriptor tells of */
	struct journal_reader *log;
	int64_t started; /* clock_now() */

	const char *warning; /* to be told first; NULL: none */
	char packet[MESSAGE_MAX];
	struct buf text; /* of the event that was given last */
	bool has_end;	 /* the box has said its last word, kept in `end` and `end_text`, or died */
	struct message end; /* kind, status, error, was_asked */
	struct buf end_text;
	bool has_begun, is_ready, is_over;
};

#endif
