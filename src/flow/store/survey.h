/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_SURVEY_H
#define STORE_SURVEY_H

/*
 * Everything that a store holds, with what needs it: read once by who tells or collects, and then
 * worked on without any I/O.
 */
#include "store/internal.h"

/* ---- Bytes of trees that share files ---- */

/* Which trees hold which linked files: each counts once, for whichever tree comes first. */
struct ledger;

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);
DEFINE_CLEANUP(struct ledger *, ledger_free);
/* Put a tree in: how many bytes are new with it. */
uint64_t ledger_add(struct ledger *l, const struct layer_weight *weight);
/* Take a tree out that was put in: how many bytes go with it. */
uint64_t ledger_remove(struct ledger *l, const struct layer_weight *weight);
/* How many of a tree's bytes, in the ledger or not, other trees in it hold as well. */
uint64_t ledger_shared(const struct ledger *l, const struct layer_weight *weight, bool is_in);

/* ---- What there is ---- */

enum need {
	NEED_LEASE = 1,	 /* a build or an instance named it */
	NEED_NAME = 2,	 /* an image that has a name */
	NEED_IMAGE = 4,	 /* an image that has none */
	NEED_NEWEST = 8, /* the newest build of a context */
};

struct survey_layer {
	struct layer_meta meta;
	struct layer_weight weight;
	struct survey_layer *parent; /* NULL: none, or it is not there */
	unsigned depth;		     /* how many are below it */
	unsigned needs;		     /* of it and of all that was made on it */
	int64_t used, created;	     /* the latest of it and of all that was made on it */
	bool is_chosen;		     /* to go */
	uint64_t gain;		     /* then: what the disk gets back */
};

struct survey_image {
	const struct image_record *record; /* with its names */
	bool is_leased, is_newest;
	bool is_broken; /* a layer is missing */
	int64_t used;	/* the latest of its topmost layer */
	bool is_chosen;
};

struct survey_cache {
	struct layer_cache_info info;
	struct layer_weight weight;
	bool is_chosen;
	uint64_t gain;
};

struct survey {
	struct arena arena;
	struct survey_layer *layers;
	size_t layer_count, layer_cap;
	struct map *by_key; /* → struct survey_layer */
	struct survey_image *images;
	size_t image_count;
	struct survey_cache *caches;
	size_t cache_count, cache_cap;
};

/* Layers, images, and what the newest builds of contexts need. */
must_use int survey_load(struct survey *s, int store_dir, struct layer_store *layers,
	struct image_store *images, struct err *err);
/* Those that changed since they were weighed are walked. */
must_use int survey_load_caches(struct survey *s, struct layer_store *layers, struct err *err);
void survey_done(struct survey *s);
DEFINE_CLEANUP_VALUE(struct survey, survey_done);

/* What leases and the newest builds name. Before survey_settle(). */
void survey_mark(struct survey *s, const struct leased *leased, enum need need);
/* Needs of images, and what follows from all needs: after the marks. `all`: as survey_choose(). */
void survey_settle(struct survey *s, bool all);

/* ---- What goes ---- */

struct choice {
	/* Also images that were pulled and that nothing runs, what newest builds used, caches. */
	bool all;
	int64_t now, until; /* seconds; what was used since now - until stays */
	int64_t fresh;	    /* seconds; what was made since now - fresh stays */
	/* Until no more than so many bytes are left that no named image needs; 0: all go. */
	uint64_t keep;
	uint64_t keep_caches; /* the same of caches, UINT64_MAX: they stay */
	bool images_too;      /* images without a name go even if their layers need not */
};

/*
 * Choose what is to go, the least recently used first, a layer after all that were made on it.
 * Pure. ret_order (of the survey's arena) lists the layers in the order in which they may go.
 */
void survey_choose(struct survey *s, const struct choice *choice, struct survey_layer ***ret_order,
	size_t *ret_count);

/* ---- newest.c: what the newest build of each context used ---- */

/* Read them: outside, or in a box. */
must_use int newest_take(int store_dir, struct leased *ret, struct err *err);
/* Outside: forget contexts whose directories are gone. */
void newest_forget_gone(const struct store *store);
/* In a box: forget them all. */
must_use int newest_forget_all(int store_dir, struct err *err);

#endif
