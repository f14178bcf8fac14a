/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_INTERNAL_H
#define RUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "os/dir.h"
#include "run/run.h"

/* ---- What the box tells: one packet a message ---- */

enum message_kind {
	MESSAGE_STARTED, /* the container runs; status: enum health_status, starting or none */
	MESSAGE_WAITING, /* text: what was seen */
	MESSAGE_READY,	 /* status: that of the answer */
	MESSAGE_WARNING, /* text */
	MESSAGE_HEALTH,	 /* status: enum health_status; text: what the check wrote */
	MESSAGE_ENDED,	 /* the last one: text and hint say why */
};

struct message {
	enum message_kind kind;
	int status; /* MESSAGE_ENDED: as waitpid, of the container; 0 when there was none */
	/* MESSAGE_ENDED: what kept it from coming up; ERR_NONE when the app had answered, or
	 * was asked to stop. */
	enum err_kind error;
	bool was_asked;
	struct str text, hint;
};

/* Longer texts and hints are cut when they are printed. */
enum { MESSAGE_TEXT_MAX = 4096, MESSAGE_MAX = 3 * MESSAGE_TEXT_MAX };

/* Pure. The parser takes its bytes as foreign; text and hint look into them. */
void message_print(const struct message *message, struct buf *ret);
bool message_parse(struct str bytes, struct message *ret);

/* What the parent tells: one byte, after ORDER_IMAGE the image's id. */
#define ORDER_IMAGE 'i'
#define ORDER_STOP  's'

/* ---- The port on the host ---- */

struct host_port {
	int fds[2]; /* listening, non-blocking */
	size_t count;
	uint16_t port;
};

/* The next free port when it is not fixed; ERR_INPUT when it is taken. */
must_use int host_port_open(
	const char *address, uint16_t port, bool is_fixed, struct host_port *ret, struct err *err);
void host_port_close(struct host_port *port);
DEFINE_CLEANUP_VALUE(struct host_port, host_port_close);
/* "http://localhost:7860", as a person on this host reaches it. */
void host_port_url(const char *address, uint16_t port, struct buf *ret);

/* ---- Stopping ---- */

/* "SIGINT", "INT", "2", "SIGRTMIN+3": the signal, SIGTERM when empty; 0 when there is none. */
int stop_signal(struct str text);

/*
 * Does the process handle the signal, by its /proc/PID/status? PID 1 of a container that does not
 * will never see it: the kernel drops it.
 */
bool handles_signal(struct str proc_status, int sig);

/* ---- The state of an instance on disk ---- */

struct state {
	struct run_instance shown;
	uint64_t pid_start; /* of pid: clock ticks since boot, so that a reused id is noticed */
};

/* "key value" lines; line feeds in values become blanks. Pure. */
void state_print(const struct state *state, struct buf *ret);
/* Strings are copied to the arena; what is missing is "" or 0. False without a valid id. */
bool state_parse(struct arena *a, struct str text, struct state *ret);

/* Field 22 of /proc/PID/stat; 0 when there is none. Pure. */
uint64_t stat_start_time(struct str stat);

bool instance_is_id(struct str text); /* twelve lower-case hex digits */

/* <data>/run, made if missing. */
must_use int instances_open(int data, int *ret_fd, struct err *err);

/* Held while an instance is made, and while they are swept. */
must_use int instances_lock(int runs, int *ret_lock, struct err *err);

/* A new instance: directory, locked, with its log directory. All descriptors are the caller's. */
struct instance {
	char id[16];
	int dir, log, lock;
};

void instance_done(struct instance *instance);
DEFINE_CLEANUP_VALUE(struct instance, instance_done);

/* log_owner: the box's root, who writes the log; NULL when that is the caller. */
must_use int instance_new(
	int runs, const struct dir_owner *log_owner, struct instance *ret, struct err *err);
must_use int instance_save(
	const struct instance *instance, const struct state *state, struct err *err);
/* Remove it whole. */
void instance_forget(int runs, struct instance *instance);

#define INSTANCE_LOG "app"

#endif
