/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_ARCHIVE_FILE_H
#define IMAGE_ARCHIVE_FILE_H

/*
 * The files of an image archive by their names: a tar (plain, gzip or zstd; read by libarchive,
 * its tar reader only) or a directory. Nothing is unpacked; what is asked for is read through
 * the archive, which skips the rest by seeking where the archive is not compressed.
 */
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

struct archive_file {
	const char *path; /* for messages */
	int fd;
	bool is_dir;
	struct archive_entry_info *entries;
	size_t count, cap;
};

/*
 * Look through it; `fd` > 0 is taken instead of opening path, and stays the caller's. Names are
 * taken without leading "./" or "/"; links between entries are followed. At most 100,000 entries.
 * Lives in the arena; archive_file_done() closes it.
 */
must_use int archive_file_open(
	struct arena *a, const char *path, int fd, struct archive_file *ret, struct err *err);
void archive_file_done(struct archive_file *file);
DEFINE_CLEANUP_VALUE(struct archive_file, archive_file_done);

/* Is it in there, as a regular file (or a link to one)? ret_size may be NULL. */
bool archive_file_has(const struct archive_file *file, const char *name, uint64_t *ret_size);

/* All of a file of at most `max` bytes; ERR_INPUT when it is missing. */
must_use int archive_file_read(const struct archive_file *file, const char *name, size_t max,
	struct buf *ret, struct err *err);

/* All bytes of a file in order. May be used in a forked child. */
must_use int archive_file_stream(const struct archive_file *file, const char *name,
	int (*consume)(void *arg, struct str piece, struct err *err), void *arg, struct err *err);

#endif
