/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

/*
 * Ctrl-C and its kin (SIGINT, SIGTERM, SIGHUP). The first one is a request: a descriptor
 * becomes readable, and whatever is under way is given up in order. A person who asks again
 * is not kept waiting: the process ends at once, and with it every box it started.
 *
 * Processes forked from this one, boxes among them, inherit the handlers; there they do
 * nothing, since boxes are told by their parent and not by the terminal.
 */
#include "base/attr.h"
#include "base/err.h"

/*
 * Watch from now on. `patience` is how many signals are only counted; the next one ends the
 * process with exit code 130. *ret_fd is readable from the first on and belongs to this room.
 */
must_use int interrupt_watch(int patience, int *ret_fd, struct err *err);

/* How many there were. */
int interrupt_count(void);

#endif
