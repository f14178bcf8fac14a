/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_LOCK_H
#define OS_LOCK_H

/*
 * Advisory locks on files (flock): held by an open descriptor, inherited by children that
 * keep it, gone with the last of them however they end.
 */
#include "base/attr.h"
#include "base/err.h"

enum lock_mode { LOCK_SHARED, LOCK_EXCLUSIVE };

enum { LOCK_E_BUSY = 1 };

/*
 * Open (and create, mode 0600) `name` below dirfd and lock it. `wait` false: LOCK_E_BUSY
 * when somebody else holds it. ret_fd is the caller's; closing it releases the lock.
 */
must_use int lock_take(
	int dirfd, const char *name, enum lock_mode mode, int wait, int *ret_fd, struct err *err);

#endif
