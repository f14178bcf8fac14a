/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_WALK_H
#define OS_WALK_H

/*
 * Every entry of a directory tree, whatever its depth, with two descriptors in all: a tree
 * that some program left behind may be deeper than descriptors or PATH_MAX allow. Links are
 * not followed, other file systems not entered.
 */
#include <stdbool.h>
#include <sys/stat.h>

#include "base/attr.h"
#include "base/err.h"

enum walk_step {
	WALK_ENTRY, /* anything but a directory */
	WALK_ENTER, /* a directory, before what it holds */
	WALK_LEAVE, /* the same directory, after what it holds */
};

struct walk_entry {
	enum walk_step step;
	int dirfd;	  /* the directory it is in */
	const char *name; /* in that directory */
	unsigned depth;	  /* 0: directly in the top */
	struct stat st;	  /* of the entry itself; a directory's from before it was entered */
};

/*
 * Returned by the visitor on WALK_ENTER: do not go in (there is no WALK_LEAVE then). 0 goes
 * on, < 0 ends the walk with the error the visitor has set.
 */
enum { WALK_SKIP = 1 };

/*
 * The visitor may remove or change the entry it is shown. Entries that vanish on the way are
 * passed by. A directory on another file system is shown with its st_dev and not entered.
 */
typedef int walk_visit(void *arg, const struct walk_entry *entry, struct err *err);

/* Walk what is in `top`, a descriptor of a directory (O_PATH will do); top is not shown. */
must_use int walk_tree(int top, walk_visit *visit, void *arg, struct err *err);

#endif
