/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_FILE_H
#define OS_FILE_H

/*
 * Whole files: read with a limit, written so that a reader sees the old or the new content
 * and never half of it, after a crash as well.
 */
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/* Read all of fd, at most `limit` bytes (more is ERR_LIMIT), appending to ret. */
must_use int file_read_fd(int fd, size_t limit, struct buf *ret, struct err *err);

/* The same for a path below dirfd (AT_FDCWD for none); a regular file, never a FIFO. */
must_use int file_read(int dirfd, const char *path, size_t limit, struct buf *ret, struct err *err);

/* Write all of it, however many calls that takes. */
must_use int file_write_fd(int fd, struct str data, struct err *err);

/*
 * Replace `path` below dirfd: temporary file beside it, fsync, rename, fsync of the
 * directory. `path` is one of our own making: none of its parts is foreign.
 */
must_use int file_replace(
	int dirfd, const char *path, struct str data, mode_t mode, struct err *err);

/*
 * A name that nothing has yet, as far as 64 random bits can tell: sixteen hexadecimal digits. Make
 * it with O_EXCL all the same.
 */
enum { FILE_NEW_NAME_SIZE = 17 };
void file_new_name(char name[static FILE_NEW_NAME_SIZE]);

/*
 * Copy bytes between descriptors inside the kernel where it can; until end of file. On a file
 * system that shares blocks (XFS, btrfs) nothing is copied: copy_file_range(2) makes a clone.
 */
must_use int file_copy(int from, int to, uint64_t *ret_bytes, struct err *err);

#endif
