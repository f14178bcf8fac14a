/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_UNPACK_H
#define LAYER_UNPACK_H

/*
 * Unpacking, in three parts: tar.c gives the entries of an archive one after the other,
 * unpack.c decides what each of them means for a layer, and put.c changes the tree. All of it
 * runs in a child (unpacker.c) that gave up its rights (confine.c); archive.c puts one that
 * decompresses before it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "layer/layer.h"

/* ---- tar.c: an archive's entries ---- */

struct tar;

struct tar_entry {
	const char *name;   /* as in the archive */
	const char *target; /* of a link, else NULL */
	bool is_hard_link;
	mode_t mode; /* type and permissions; the type of a hard link means nothing */
	int64_t uid, gid;
	uint64_t size;
	struct timespec mtime;
};

enum { TAR_E_END = 1 };

/* What tar_open() does first; for a process that gives up reading other files before. */
must_use int tar_prepare(struct err *err);
/*
 * Reads fd, which stays the caller's. *read_count is raised by what was read; more than `limit`
 * bytes are ERR_LIMIT. `recipe` (NULL: none) is fed with all of it.
 */
struct recipe;
must_use int tar_open(int fd, uint64_t limit, uint64_t *read_count, struct recipe *recipe,
	struct tar **ret, struct err *err);
void tar_close(struct tar *tar);
DEFINE_CLEANUP(struct tar *, tar_close);

/* The next entry, valid until the call after; TAR_E_END behind the last. */
must_use int tar_next(struct tar *tar, struct tar_entry *ret, struct err *err);
/* A piece of the entry's content, and where it belongs; TAR_E_END behind the last. */
must_use int tar_data(struct tar *tar, struct str *ret_data, uint64_t *ret_offset, struct err *err);
/* The next extended attribute of the entry; false behind the last. */
bool tar_xattr(struct tar *tar, const char **ret_name, struct str *ret_value);
/* Read what follows the archive's end, so that the writer is not cut off. */
must_use int tar_drain(struct tar *tar, struct err *err);

/* ---- put.c: the tree ---- */

/* A directory's time, which is set when nothing changes in it any more. */
struct dir_time {
	const char *path;
	struct timespec mtime;
};

struct unpack {
	const struct layer_unpack_options *options;
	struct layer_limits limits; /* no zeros */
	struct layer_unpack_stats *stats;
	int root;
	struct tar *tar;
	struct recipe *recipe; /* NULL: none is wanted */
	/* Without privilege, for the fuzzer: owners and whiteouts that are refused are left out. */
	bool is_best_effort;
	bool has_opaque, has_whiteout;
	uint64_t content; /* bytes of all files at full length */
	uint64_t xattr_bytes;
	/* The directory last looked up: only names in it have changed since. */
	struct buf parent_path;
	int parent_fd;
	struct arena arena;
	struct dir_time *times;
	size_t time_count, time_cap;
	uint64_t next_report;
};

/* A place in the tree: a directory and a name in it. `path` is the whole, for messages. */
struct spot {
	int dirfd; /* not owned */
	const char *name;
	const char *path;
};

/*
 * The spot of a clean path, with all directories on the way made. The root has none.
 */
must_use int put_find(struct unpack *u, const char *path, struct spot *ret, struct err *err);
/* The existing spot a hard link points at. */
must_use int put_find_target(
	struct unpack *u, const char *path, struct dir_place *ret, struct err *err);

must_use int put_file(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err);
must_use int put_dir(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err);
must_use int put_symlink(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err);
must_use int put_fifo(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err);
/* `target` is a clean path. */
must_use int put_hard_link(
	struct unpack *u, const struct spot *at, const char *target, struct err *err);
must_use int put_whiteout(struct unpack *u, const struct spot *at, struct err *err);
/* The spot's directory hides what is below it. */
must_use int put_opaque(struct unpack *u, const struct spot *at, struct err *err);
/* A real directory, whatever is there. */
must_use int put_system_dir(struct unpack *u, const struct spot *at, struct err *err);
/* Attributes of the root. */
must_use int put_root(struct unpack *u, const struct tar_entry *e, struct err *err);
/* What has to wait until all entries are there. */
must_use int put_finish(struct unpack *u, struct err *err);

/* ---- confine.c ---- */

struct confined {
	/* Besides 0-2 the descriptors that stay open; root < 0: no file may be opened. */
	int root, tar_fd, report_fd, out_fd;
	pid_t parent; /* when it ends, so does the calling process */
	unsigned cpu_seconds;
};

/* Confine the calling process, for good. On failure it is confined in part. */
must_use int confine(const struct confined *c, struct err *err);

/* ---- unpack.c ---- */

/* What headers, padding and attributes may add to the content. */
#define ARCHIVE_OVERHEAD (UINT64_C(8) << 30)

/* With the defaults filled in. */
struct layer_limits unpack_limits(const struct layer_limits *given);

/* Remember the first thing left out. */
void unpack_note(struct unpack *u, const char *path, const char *what);
/* Tell the caller, if it is time to. */
void unpack_report(struct unpack *u);

/*
 * layer_unpack() without privilege: owners that cannot be set and whiteouts that cannot be
 * made are left out. For the fuzzer.
 */
must_use int unpack_best_effort(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err);

#endif
