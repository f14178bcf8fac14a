/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_CACHE_H
#define LAYER_CACHE_H

/* What cache.c and graft.c share. */
#include "layer/internal.h"

#define CACHE_LOCK "lock"
#define CACHE_ID   "id"

enum { CACHE_NAME_SIZE = 48, CACHE_ID_MAX = 4096 };

struct layer_cache {
	struct layer_store *store;
	char name[CACHE_NAME_SIZE];
	int home; /* caches/NAME */
	int fs;	  /* the directory itself, wherever it is */
	int lock;
	bool is_alone; /* the lock is exclusive */
	int draft_dir; /* -1: not grafted; else a descriptor of active/ID, owned */
	char *path;    /* in the draft's tree */
};

/* layer_cache_ungraft(), for those whom the result cannot help. */
int graft_end(struct layer_cache *c, struct err *err);

#endif
