/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TREE_COPY_H
#define TREE_COPY_H

/* What copy.c (where things go) and write.c (how they are written) share. */

#include "tree/internal.h"

/* A directory on the way to the current entry. */
struct level {
	int fd;
	bool is_dest; /* the destination itself */
	size_t path_len;
	struct tree_entry entry; /* in the copier's arena */
};

struct copier {
	struct tree_feed *feed;
	int root;
	const struct tree_copy_options *options;
	const char *dest; /* clean: "/", "/usr/bin" */
	bool dest_is_dir;
	struct dir_make make; /* for directories that dest needs */
	struct level *levels;
	size_t depth;
	struct buf path;    /* of the directory on top, in its source */
	struct arena arena; /* entries of the levels */
	struct arena texts; /* dest */
	struct map *links;  /* number of an entry that has more names → its path in the image */
	bool is_dest;	    /* the current source is a file that becomes dest itself */
	struct buf text;    /* for errors */
	char *block;	    /* for contents */
};

enum { COPIER_BLOCK = 64 * 1024 };

/* An entry and where it goes: `name` in the directory `dir`. */
struct target {
	int dir;
	const char *name;
	const struct tree_entry *entry;
	mode_t mode; /* regular files: to be made with */
	int content; /* regular files; -1: empty */
};

/* Anything but a directory, in place of whatever but a directory is there. */
int tree_write_entry(struct copier *c, const struct target *t, struct err *err);
/* Owner, mode, attributes and times of an open file or directory. */
int tree_write_metadata(struct copier *c, int fd, const struct tree_entry *e, struct err *err);
void tree_write_times(struct copier *c, int fd, const struct tree_entry *e);

/* The entry's path in the image; valid until the next call. */
const char *tree_copier_where(struct copier *c, const struct tree_entry *e);
/* The error of a system call that did not do `what` to the entry. */
int tree_copier_failed(
	struct copier *c, const struct tree_entry *e, const char *what, struct err *err);

#endif
