/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_CACHE_H
#define LAYER_CACHE_H

/* What cache.c and graft.c share. */
#include <fcntl.h>
#include <unistd.h>

#include "layer/internal.h"

#define CACHE_LOCK "lock"
#define CACHE_ID   "id"
/* It was grafted once: layers may share its files. */
#define CACHE_LINKED "linked"
/* It was edited in place while layers shared its files: links to it are made no more. */
#define CACHE_EDITED "edited"
/* The files that layers may share, as they were before a step that may edit them. */
#define CACHE_WATCHED "watched"

enum { CACHE_NAME_SIZE = 48, CACHE_ID_MAX = 4096 };

struct layer_cache {
	struct layer_store *store;
	char name[CACHE_NAME_SIZE];
	int home; /* caches/NAME */
	int fs;	  /* the directory itself, wherever it is */
	int lock;
	bool is_alone;	     /* the lock is exclusive */
	int draft_dir;	     /* -1: not grafted; else a descriptor of active/ID, owned */
	char *path;	     /* in the draft's tree */
	struct watch *watch; /* NULL: not watched */
};

struct watch;
void watch_free(struct watch *w);
/* Verify what a crash left unverified; the cache must be the caller's alone. */
must_use int watch_recover(struct layer_cache *c, struct err *err);

static inline bool cache_is(const struct layer_cache *c, const char *what)
{
	return faccessat(c->home, what, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
/* Leave a word about it in its home. */
must_use int cache_note(const struct layer_cache *c, const char *what, struct err *err);

/* layer_cache_ungraft(), for those whom the result cannot help. */
int graft_end(struct layer_cache *c, struct err *err);

#endif
