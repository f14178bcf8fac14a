/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_BUILD_H
#define BUILD_BUILD_H

/*
 * A Dockerfile and its build context become an image.
 *
 * The plan is made from the Dockerfile alone, then walked from the bottom: each step has a
 * key made of its parent's key, its text after expansion and the content of its inputs. A
 * step whose layer is in the store costs nothing. Up to the first missing layer all this
 * happens in the calling process, without any namespace; from there on a box is started
 * which pulls, copies, runs and publishes.
 *
 * The caller gets events as they happen, in the calling process.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/argv.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/settings.h"
#include "json/json.h"

struct build_secret {
	const char *id;
	const char *env;  /* name of the caller's environment variable, or NULL */
	const char *file; /* path on the host, or NULL */
};

/* An ssh-agent of the user's, for RUN --mount=type=ssh. */
struct build_agent {
	const char *id;
	const char *socket; /* path on the host */
};

enum build_event_kind {
	BUILD_PLANNED,	      /* text: "12 steps, 2 stages" ; total: number of steps */
	BUILD_STEP_START,     /* step, name: "[2/9] RUN useradd -m -u 1000 user" */
	BUILD_STEP_LOG,	      /* step, text: bytes of the step's output */
	BUILD_STEP_DONE,      /* step, duration; cached: its layer was there */
	BUILD_STEP_FAILED,    /* step, text: reason */
	BUILD_STEP_WAITS,     /* step, text: what for */
	BUILD_STEP_CANCELLED, /* step: it was ended because another one has failed */
	BUILD_PULL,	      /* name: image; text: layer digest; phase; layers; done/total bytes */
	BUILD_TICK,    /* nothing new; several times a second while work goes on, so that what
			  is shown can show time passing */
	BUILD_WARNING, /* text */
	BUILD_IMAGE,   /* text: image id; the last event of a successful build */
};

struct build_event {
	enum build_event_kind kind;
	uint32_t step;	 /* from 1; pulls have 0 */
	uint32_t layers; /* BUILD_PULL: how many the image has; 0 while that is not known */
	bool cached;
	uint64_t done, total; /* bytes */
	int64_t duration;     /* ns */
	struct str name, phase, text;
};

typedef void build_event_fn(void *arg, const struct build_event *event);

struct build_options {
	const char *dir;  /* build context; default "." */
	const char *file; /* Dockerfile, relative to the working directory; NULL: DIR/Dockerfile */
	const char *target; /* stage name or number, NULL for the last */
	struct argv tags;   /* image names */
	/*
	 * NAME=WHERE: what takes the place of the stage or image NAME. WHERE is a directory or
	 * docker-image://REFERENCE.
	 */
	struct argv contexts;
	const char *platform;	/* "linux/amd64"; NULL: this machine's */
	struct argv build_args; /* NAME=value, or NAME to take it from the environment */
	const struct build_secret *secrets;
	size_t secret_count;
	const struct build_agent *agents;
	size_t agent_count;
	struct argv allow; /* "network.host", "security.insecure": besides the settings' */
	bool no_cache;
	bool no_tool_cache; /* uv, pip and npm keep their caches in the image */
	bool pull;	    /* ask the registry even if the name is known here */
	build_event_fn *on_event;
	void *arg;
	/* A descriptor that becomes readable when the user wants to stop; < 0 for none. */
	int cancel_fd;
};

struct build_result {
	char image_id[80]; /* "sha256:…" */
	uint32_t steps, cached;
	int64_t duration; /* ns */
};

/*
 * Build. A failed step is ERR_FAILED: err->text is "Dockerfile:12: RUN uv sync exited with
 * 1", err->hint the excerpt with its caret, the step's last lines and what the kernel knows. A
 * cancelled build is ERR_CANCELLED. Nothing is left running or mounted in any case.
 */
must_use int build_run(const struct settings *settings, const struct build_options *options,
	struct build_result *ret, struct err *err);

/*
 * What build_run() would do, without doing it: for people (text) or for programs (json: see
 * docs/plan.md). A key that depends on the output of a step that has not run is null.
 */
must_use int build_plan(const struct settings *settings, const struct build_options *options,
	bool json, struct buf *ret, struct err *err);

/*
 * BuildKit's checks of the Dockerfile, as `docker build --check` prints them: nothing is built
 * or pulled, and no image has to be here. An error of the Dockerfile is the function's
 * own, behind the findings. *ret_count: how many there are.
 */
must_use int build_check(const struct settings *settings, const struct build_options *options,
	bool json, struct buf *ret, size_t *ret_count, struct err *err);

#endif
