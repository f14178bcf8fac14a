/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_HEALTH_H
#define RUN_HEALTH_H

/*
 * HEALTHCHECK, as Docker understands it: a command that is run in the container every now and
 * then, and what its outcomes say of the app. It decides nothing: a Space is up when app_port
 * answers, and an unhealthy one is told of, not killed.
 *
 * The rules are pure; a struct checking runs the command.
 */
#include <uv.h>

#include "base/buf.h"
#include "oci/oci.h"
#include "sandbox/sandbox.h"

/* ---- Rules ---- */

enum health_status { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/* "", "starting", "healthy", "unhealthy" */
const char *health_status_name(enum health_status status);

struct health {
	/* Nanoseconds, with Docker's defaults filled in: 30 s, 30 s, 0, 5 s; 3. */
	int64_t interval, timeout, start_period, start_interval;
	uint64_t retries;

	enum health_status status;
	uint64_t failures; /* without a success in between */
};

/* HEALTH_STARTING, or HEALTH_NONE when the image has no check. */
void health_begin(struct health *h, const struct oci_healthcheck *check);
/*
 * Take one outcome in, `age` ns after the container's start: true when the status changed.
 * Until the first success, a failure within the start period does not count.
 */
bool health_take(struct health *h, int64_t age, bool has_passed);
/* From the end of one check to the start of the next; ns. */
int64_t health_pause(const struct health *h, int64_t age);
/* The command: CMD as it is, CMD-SHELL behind the image's SHELL. */
void health_command(const struct oci_config *config, struct argv *ret);

/* ---- Running it ---- */

struct checking;

struct checking_options {
	uv_loop_t *loop;
	const struct oci_config *config;
	const struct sandbox_container *container; /* it runs */
	/* The status changed; output: what the last check wrote, or why it could not run. */
	void (*on_change)(void *arg, enum health_status status, struct str output);
	void *arg;
};

/* NULL when the image has no check. */
struct checking *checking_start(const struct checking_options *options);
/* A child of this process has ended: true if it was the check's. */
bool checking_take_child(struct checking *c, pid_t pid, int status);
/* No more of it; memory is released by a callback of the loop. NULL is fine. */
void checking_close(struct checking *c);

#endif
