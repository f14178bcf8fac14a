/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_COMMAND_H
#define OS_COMMAND_H

/*
 * Other programs, started from an argument vector and never through a shell.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/argv.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

struct command {
	struct argv argv; /* argv.items[0] is looked up in PATH */
	struct argv env;  /* the whole environment; ignored when inherit_env */
	bool inherit_env;
	int stdin_fd;	      /* < 0: /dev/null */
	int stdout_fd;	      /* < 0: /dev/null */
	int stderr_fd;	      /* < 0: /dev/null */
	int cwd_fd;	      /* < 0: unchanged */
	bool own_group;	      /* a process group of its own, so that a terminal's ^C passes it by */
	bool die_with_parent; /* SIGKILL when the thread that started it ends */
	bool ends_at_limit;   /* for command_capture(): too much output is an error */
	/*
	 * Runs in the child before exec, NULL for nothing; returns 0 or an errno value that
	 * the parent gets as its error.
	 */
	int (*before_exec)(void *arg);
	void *arg;
};

/* All descriptors -1, nothing else set. */
#define COMMAND_INIT \
	{ \
		.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .cwd_fd = -1 \
	}

void command_done(struct command *c);
DEFINE_CLEANUP_VALUE(struct command, command_done);

/*
 * Start it. ret_pid is the child, to be waited for by the caller. A program that cannot be
 * executed is reported here (ERR_MISSING when it is not found), not by exit code 127.
 */
must_use int command_start(const struct command *c, pid_t *ret_pid, struct err *err);

/*
 * The same in two parts. The child does all that comes before exec, before_exec too, while the
 * caller goes on, and waits there. It has the caller's descriptors as they are now.
 */
struct command_held {
	pid_t pid;
	int go, report;
	char *path;
};

/* Held by nobody. */
#define COMMAND_HELD_INIT \
	{ \
		.go = -1, .report = -1 \
	}

must_use int command_hold(const struct command *c, struct command_held *ret, struct err *err);
/* Let it execute its program; from then on as after command_start(). */
must_use int command_release(struct command_held *held, pid_t *ret_pid, struct err *err);
/* If it is still held, it ends without having executed anything. */
void command_held_done(struct command_held *held);
DEFINE_CLEANUP_VALUE(struct command_held, command_held_done);

/* Wait for it: ret_status as waitpid(2). */
must_use int command_wait(pid_t pid, int *ret_status, struct err *err);

/*
 * Start, read all of its stdout (and stderr, if stderr_fd is -1: merged) into ret_output up to
 * `limit` bytes, wait. Killed after `seconds`, or when it says more and ends_at_limit is set
 * (ERR_LIMIT). Returns 0 when it ran, whatever
 * its status.
 */
must_use int command_capture(struct command *c, size_t limit, int seconds, struct buf *ret_output,
	int *ret_status, struct err *err);

/* The same in two parts, with time for something else in between. */
struct command_capture {
	pid_t pid; /* 0: none is under way */
	int output;
	char *name;
	bool ends_at_limit;
	int64_t deadline;
};

must_use int command_capture_begin(
	struct command *c, int seconds, struct command_capture *ret, struct err *err);
must_use int command_capture_end(struct command_capture *capture, size_t limit,
	struct buf *ret_output, int *ret_status, struct err *err);

/* "exited with 3", "killed by SIGKILL": returns text. */
const char *command_status_text(char text[static 64], int status);

/* The absolute path of a program in PATH (or /usr/sbin, /sbin), or NULL. Caller frees. */
char *command_find(const char *program);

#endif
