/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_DIR_H
#define OS_DIR_H

/*
 * Paths with foreign parts. Every path of which any component comes from an image, a
 * repository, an archive or a Dockerfile is resolved here, by openat2(2), from a descriptor
 * of the directory it must stay below. What follows works on the descriptor, never on the
 * path again, so nothing can be exchanged between a check and its use.
 *
 * Two ways to resolve:
 *
 *	in root	   the directory is "/" of its own world: absolute paths and ".." and
 *		   symbolic links are resolved inside it, as chroot(2) would. For trees of
 *		   images and build contexts.
 *	beneath	   no symbolic link at all, no "..", no absolute path. For our own stores.
 *
 * Magic links (/proc/PID/fd/N) are refused by both. All descriptors are O_CLOEXEC.
 */
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

/*
 * Open `path` inside `root`; flags and mode as open(2). Returns the descriptor or < 0.
 * The error names the path.
 */
must_use int dir_open_in_root(int root, const char *path, int flags, mode_t mode, struct err *err);
must_use int dir_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *err);

/* A place in a tree: an open directory and a name in it that is no path and is not followed. */
struct dir_place {
	int fd;		/* owned; -1 when unset */
	char name[256]; /* "." when the path names the root itself */
};

void dir_place_done(struct dir_place *place);
DEFINE_CLEANUP_VALUE(struct dir_place, dir_place_done);
#define DIR_PLACE_NONE \
	{ \
		.fd = -1 \
	}

/* The directory of `path` resolved in root (links followed), its last component taken as is. */
must_use int dir_find_place(int root, const char *path, struct dir_place *ret, struct err *err);

struct dir_owner {
	uid_t uid;
	gid_t gid;
};

/*
 * Make every missing directory of `path`, resolved in root; links on the way are followed
 * inside the root, and a dangling link's target is made. New directories get `mode` and
 * `owner` (NULL: leave it), existing ones are untouched. Returns a descriptor (O_PATH |
 * O_DIRECTORY) of the last one.
 */
must_use int dir_make_all(
	int root, const char *path, mode_t mode, const struct dir_owner *owner, struct err *err);

/* How missing directories are made. */
struct dir_make {
	mode_t mode;
	const struct dir_owner *owner; /* NULL: leave it */
};

/*
 * The place that `path`, resolved in root, leads to, its last component followed as well while
 * it is a link; whether something is at that place or not. Missing directories before it are
 * made (make NULL: are ERR_MISSING).
 */
must_use int dir_find_target(int root, const char *path, const struct dir_make *make,
	struct dir_place *ret, struct err *err);

/*
 * The same file's path below root without any link and without a '/' in front ("" is the root
 * itself), appended to ret. ERR_MISSING when there is none.
 */
must_use int dir_resolve(int root, const char *path, struct buf *ret, struct err *err);

/*
 * Remove `name` below `parent` with all it holds, without following links and without
 * crossing into another mount. Missing is done.
 */
must_use int dir_remove_tree(int parent, const char *name, struct err *err);

/* An O_PATH descriptor made readable: the directory behind it opened for reading. */
must_use int dir_reopen(int fd, int flags, struct err *err);

/* Is this a path component: not empty, ".", "..", without '/' and NUL, at most 255 bytes? */
bool dir_is_name(struct str name);

#endif
