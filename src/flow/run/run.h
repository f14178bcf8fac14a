/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_RUN_H
#define RUN_RUN_H

/*
 * Instances: an image running as a Space would on Hugging Face. Fresh disk at each start,
 * UID 1000 whatever the image says, app_port the only way in, limits of the flavor.
 *
 * run_prepare() forks one box (sandbox/sandbox.h). Its PID 1 mounts the image's layers under
 * a fresh upper directory, starts the container, and then is the way in: it holds the host's
 * listening sockets, lives in the Space's network namespace, and carries bytes between
 * the two. It parses nothing of what it carries.
 *
 * Of an image's configuration count Entrypoint, Cmd, Env, WorkingDir and StopSignal. As on
 * Hugging Face, User, ExposedPorts, Volumes and Healthcheck do not decide anything: the
 * Space is up when app_port answers, with whatever HTTP status. A Healthcheck is run as Docker
 * runs it, and told.
 *
 * An instance is a directory <data>/run/<id>/: `state` (key value lines), `log/` (what the app
 * wrote, by journal/), `lock` (held while anything of it runs). A lock that is free means that
 * the instance has ended, however that happened. No value of the environment is in any of
 * them, unless the app itself wrote it to its log.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/argv.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/settings.h"

struct run_options {
	const char *space; /* "namespace/name", for people and SPACE_ID */
	uint16_t app_port;
	uint16_t host_port;   /* wanted port on the host */
	bool host_port_fixed; /* asked for by the user: taken is an error, not the next free one */
	const char *listen;   /* host address; NULL, 127.0.0.1 and localhost: 127.0.0.1 and ::1 */
	struct argv env;      /* variables, secrets and built-in ones, already merged */
	struct argv secret_names; /* of env: masked in what we say of the app's end */
	const char *flavor;
	uint64_t memory; /* bytes */
	uint32_t milli_cpus;
	int64_t start_timeout; /* ns until app_port must answer; 0: 30 minutes */
	int64_t stop_timeout;  /* ns between SIGTERM and SIGKILL; 0: 10 s */
};

enum run_event_kind {
	RUN_STARTED, /* the container runs; text: what is waited for */
	RUN_WAITING, /* still no answer; text: what was seen: "nothing listens yet", "listens on
			127.0.0.1:8000" */
	RUN_READY,   /* app_port answered; text: URL; status: HTTP status of the probe */
	RUN_LOG,     /* text: what the app wrote: a line with its line feed, or, when the app
			pauses in it, a part of one */
	RUN_WARNING, /* text: limits that do not hold, … */
	RUN_HEALTH,  /* HEALTHCHECK's outcome changed; text: "healthy", or "unhealthy: " and what
			the check wrote; status: 0 when healthy */
	RUN_EXITED,  /* the container ended; status: as waitpid; text: why, in words */
	RUN_FAILED,  /* it did not come up; error: what kind of reason; text: why. The container
			is gone */
};

/*
 * The text of RUN_EXITED and RUN_FAILED: the first line says why; lines after it say what to
 * do about it, and the app's last words.
 */

struct run_event {
	enum run_event_kind kind;
	int status;
	bool is_stderr;	  /* RUN_LOG */
	int64_t duration; /* ns since run_begin() */
	struct str text;
	enum err_kind error; /* RUN_FAILED */
};

struct run;

/*
 * Make ready what does not depend on the image, while that is still being built: the port, the
 * instance's directory, limits, the box and its network. Settings and options must outlive the
 * run; the box knows them as they are now. What can be known before anything is started is an
 * error here or in run_begin(): a port that is taken (ERR_INPUT), an image that is not there
 * or has no command, a host that lacks something (ERR_HOST).
 */
must_use int run_prepare(const struct settings *settings, const struct run_options *options,
	struct run **ret, struct err *err);
/*
 * Start the image "sha256:…" of the local store, once; what happens then is told by events. A
 * run that is freed before this, or after an error of it, leaves no trace.
 */
must_use int run_begin(struct run *run, const char *image_id, struct err *err);
/* Both, for an image that is there. */
must_use int run_start(const struct settings *settings, const struct run_options *options,
	const char *image_id, struct run **ret, struct err *err);

/* Readable when run_next() has something. */
int run_fd(const struct run *run);
/* 0: ret holds an event, valid until the next call; RUN_E_NONE: nothing now; RUN_E_END: over. */
enum { RUN_E_NONE = 1, RUN_E_END = 2 };
must_use int run_next(struct run *run, struct run_event *ret, struct err *err);

/*
 * Ask it to stop: the image's StopSignal or SIGTERM, then SIGKILL after stop_timeout, or at
 * once when the container's first process does not handle the signal or this is the second
 * call. Events go on until RUN_E_END.
 */
void run_stop(struct run *run);
/* Kills what still runs, removes the disk; the log and the state stay for `logs`. */
void run_free(struct run *run);
DEFINE_CLEANUP(struct run *, run_free);

const char *run_id(const struct run *run);  /* twelve hex digits */
const char *run_url(const struct run *run); /* "http://localhost:7860" */

/* ---- Instances of all processes, for ps, logs and stop ---- */

struct run_instance {
	char id[16];
	const char *space, *image_id, *url, *stage; /* stage: BUILDING (no image yet),
						       APP_STARTING, RUNNING, STOPPED,
						       RUNTIME_ERROR */
	const char *health; /* "starting", "healthy", "unhealthy"; "" without a HEALTHCHECK */
	const char *reason; /* why it ended, in words; "" while it runs */
	pid_t pid;	    /* the process to signal; 0 when ended */
	const char *started, *ended; /* ISO 8601 */
};

struct run_list {
	struct run_instance *items;
	size_t count;
};

/* Newest first; ended ones only when `all`. Allocated in the arena. */
struct arena;
must_use int run_list(const struct settings *settings, struct arena *a, bool all,
	struct run_list *ret, struct err *err);
/*
 * One by id, the beginning of an id (three digits or more), or the name of its Space, with
 * or without the owner: the newest that runs, else the newest. ERR_MISSING names what there is.
 */
must_use int run_find(const struct settings *settings, struct arena *a, const char *text,
	struct run_instance *ret, struct err *err);
/*
 * SIGTERM to its process, wait `timeout` ns for its end, then SIGKILL; returns when nothing of
 * it runs any more. ERR_MISSING: it has ended already.
 */
must_use int run_instance_stop(const struct settings *settings, const struct run_instance *instance,
	int64_t timeout, struct err *err);
struct run_log_options {
	int fd;		 /* where it is written to, stdout and stderr alike */
	long tail;	 /* from the last so many lines; < 0: all there is */
	bool follow;	 /* go on until the instance has ended */
	bool timestamps; /* "2026-11-24T21:40:42.123Z " in front of each line */
	int cancel_fd;	 /* readable: enough (returns 0); < 0 for none */
};

must_use int run_instance_log(const struct settings *settings, const struct run_instance *instance,
	const struct run_log_options *options, struct err *err);
/* Forget ended instances beyond the newest `keep`, remove disks of dead ones. */
must_use int run_sweep(const struct settings *settings, unsigned keep, struct err *err);

#endif
