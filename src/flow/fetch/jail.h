/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FETCH_JAIL_H
#define FETCH_JAIL_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* In the jail: the directory in which its programs work. */
#define JAIL_WORK "/work"

struct jail {
	const char *root;
	uint64_t max_bytes; /* of one file; 0: no limit */
};

/*
 * Make the root of it at an absolute path whose parent is there, on a file system of this mount
 * namespace's own. Needs the right to mount.
 */
must_use int jail_make(const char *root, struct err *err);
/* Show the open directory as JAIL_WORK, and take it away again. */
must_use int jail_enter_work(const char *root, int dir, struct err *err);
void jail_leave_work(const char *root);
/* For struct command, with a struct jail as its arg: from here on the child is in it. */
int jail_before_exec(void *arg);

#endif
