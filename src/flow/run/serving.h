/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_SERVING_H
#define RUN_SERVING_H

/*
 * The life of a container as PID 1 sees it:
 *
 *	starting   the probe asks, clients wait in the kernel's queue, what is seen is told
 *	ready	   the forwarder carries
 *	stopping   the container was sent a signal
 *	ended	   reaped; what it wrote is read to the end, then the reason is told
 *
 * One loop of libuv; signals come through a signalfd.
 */
#include <uv.h>

#include "journal/journal.h"
#include "run/box.h"
#include "run/diagnose.h"
#include "run/forward.h"
#include "run/health.h"
#include "run/probe.h"

struct output {
	struct serving *s;
	enum journal_stream stream;
	uv_poll_t poll;
	int fd;
};

struct serving {
	const struct box_job *job;
	const struct box_container *container;
	uv_loop_t loop;
	uv_poll_t signals, orders;
	int signal_fd;
	uv_timer_t deadline, look, kill, limits;
	struct output outputs[2];
	struct probe *probe;
	struct checking *checking; /* NULL: the image has no HEALTHCHECK */
	struct forward *forward;
	struct journal *journal;
	bool journal_failed;
	struct buf tail; /* what the app wrote last, of both streams */
	bool is_ready, was_asked, has_ended;
	int status;
	struct cgroup_usage usage; /* what was told of it */
	/* What was told last of an app that does not answer, when (loop time, ms), and after
	 * how long the same is told again. */
	struct buf told;
	uint64_t told_at, tell_again;
	/* The start took too long: what was seen then. */
	bool is_late;
	struct buf late_words, late_hint;
};

/* ---- What the app writes: to the journal, and the end of it kept ---- */

/* The first lines of every log. */
void output_announce(struct serving *s);
void output_callback(uv_poll_t *poll, int status, int events);
/* What is still in the pipes of an app that has ended. */
void output_drain(struct serving *s);

/* ---- Waiting for an answer ---- */

/* Every now and then, tell why there is none. */
void waiting_start(struct serving *s);
/* Why nothing has answered so far. */
void waiting_look(struct serving *s, struct buf *words, struct buf *hint);
/* Events that the parent has not taken must not fill the queue: the last one has to fit. */
bool waiting_may_tell(const struct serving *s);

/* ---- The end ---- */

/* Of a container that has ended: why. Texts are in the arena. */
void report(const struct serving *s, struct arena *a, struct message *ret);

#endif
