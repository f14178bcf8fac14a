/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_SPOT_H
#define BUILD_SPOT_H

/*
 * The directory of a step's tree that a cache is put in place of. It is made through the
 * mounted tree, so that the upper directory has it, with no link on the way; everything after
 * that happens in the upper directory while it is not mounted. What was made for the cache
 * goes again, and times are given back that only this changed.
 */
#include <stdbool.h>
#include <time.h>

#include "os/dir.h"

struct spot {
	char *path;  /* below the tree, without '/' in front and without links; owned */
	size_t made; /* how many of its last components were made for it */
	struct timespec times[2]; /* of the directory above what was made: before, */
	struct timespec grafted;  /* and its modification time with the cache below it */
	struct timespec now[2];	  /* and when the step had run */
};

struct spot_wish {
	/* Owner of what is made, who must be allowed to make it; NULL: root's, and always. */
	const struct dir_owner *owner;
	bool only_empty; /* not where the tree has files already */
};

/* False: there is no such place, a link leads nowhere, it is not empty, not the owner's. */
bool spot_make(int root, const char *target, const struct spot_wish *wish, struct spot *ret);
void spot_done(struct spot *spot);
/* No use for it after all: what was made goes again, from the mounted tree or the upper one. */
void spot_undo(struct spot *spot, int root);

/* `fs` is the upper directory, not mounted: after the graft, before its end, after it. */
void spot_grafted(struct spot *spot, int fs);
void spot_has_run(struct spot *spot, int fs);
void spot_tidy(struct spot *spot, int fs);

#endif
