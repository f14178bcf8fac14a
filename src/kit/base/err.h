/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

/*
 * Errors are values on the caller's stack. Every function that can fail takes a
 * `struct err *` as its last argument and returns
 *
 *	0	done
 *	< 0	failed; the error is full
 *	> 0	an outcome that the function's header names and its caller must handle
 *
 * An error is made and returned in one expression, and gains context on its way up:
 *
 *	return err_set(err, ERR_INPUT, "app_port %s is not a port", text);
 *	return err_sys(err, "open %s", path);
 *	return err_wrap(err, "image %s", name);
 *
 * Wording: the thing, then what is wrong with it, then (after a line feed, through
 * err_hint()) what the user can do. Text from outside is passed as an argument, never as
 * the format, and control characters in it are replaced by '?'.
 */
#include "base/attr.h"

enum err_kind {
	ERR_NONE,
	ERR_INPUT,     /* what the user wrote is wrong: usage, configuration, a file of theirs */
	ERR_MISSING,   /* a named thing does not exist */
	ERR_FAILED,    /* the work was done properly and failed: a RUN step, an app that exits */
	ERR_DENIED,    /* no permission, or a credential was refused */
	ERR_LIMIT,     /* a limit of ours was passed: size, depth, count, time */
	ERR_BUSY,      /* another process holds it */
	ERR_NETWORK,   /* a peer could not be reached or did not keep to the protocol */
	ERR_HOST,      /* the host lacks something: a program, a device, a kernel feature */
	ERR_SYSTEM,    /* a system call failed in a way nobody planned for */
	ERR_CANCELLED, /* the user asked to stop */
	ERR_BUG,       /* this program contradicts itself */
};

struct err {
	enum err_kind kind;
	int sys;	 /* errno of the cause, or 0 */
	char text[1024]; /* one line; terminated */
	char hint[512];	 /* what to do about it; may hold line feeds; may be empty */
};

/* Fill err and return -kind. A NULL err is allowed for callers who only want the result. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) printf_like(3, 4);

/*
 * The same from errno, whose text is appended after ": ". The kind follows from errno:
 * ENOENT is ERR_MISSING, EACCES and EPERM ERR_DENIED, all others ERR_SYSTEM.
 */
int err_sys(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Put "fmt: " in front of the text; returns -kind, or 0 when err holds no error. */
int err_wrap(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Set the hint (the remedy). Returns -kind. */
int err_hint(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Append a line to the hint. Returns -kind. */
int err_hint_add(struct err *err, const char *fmt, ...) printf_like(2, 3);

void err_clear(struct err *err);

/* The process exit code that a kind means: 1 failed, 2 usage, 3 host, 4 internal. */
int err_exit_code(const struct err *err);

/* "input", "network", … : for machine-readable output. */
const char *err_kind_name(enum err_kind kind);

#endif
