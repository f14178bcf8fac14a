/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_PUSH_H
#define IMAGE_PUSH_H

/*
 * A push, in two parts: push.c plans, writes the documents and remembers; push_layer.c brings
 * one layer to the registry, in a worker.
 */
#include "image/image.h"
#include "image/places.h"
#include "image/registry.h"
#include "image/upload.h"
#include "image/worker.h"

enum { MANIFEST_SECONDS = 120 /* for the registry to look at everything that it names */ };

struct push_layer {
	bool is_known; /* facts are */
	struct image_layer_facts facts;
	/* Of its tar, and of what it was pulled as: two diff IDs of one tree. */
	struct place places[2 * PLACES_MAX];
	size_t place_count;
	struct layer_outcome outcome;
};

struct push {
	struct image_store *store;
	struct arena *arena;
	const struct image_push *wish;
	const struct image_transfer *transfer;
	struct registry registry;
	struct endpoint *endpoint; /* the one that answers */
	struct push_layer *layers; /* of the record, in its order */
	size_t layer_count;
	int spool; /* directory for what has to be on disk to be sent */
};

/* The work of a worker_crew; arg is the struct push. */
int push_layer_work(void *arg, struct worker *worker, struct err *err);

#endif
