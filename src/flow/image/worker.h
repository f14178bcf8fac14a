/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_WORKER_H
#define IMAGE_WORKER_H

/*
 * The layers of one image come in, or go out, side by side: each in a worker process, a few at
 * once. When one fails, or the caller wants to stop, or the caller itself dies, all of them end,
 * and none is left when workers_run() returns.
 */
#include "image/image.h"
#include "image/unpacking.h"

struct layer_job {
	struct digest diff_id;
	const struct oci_descriptor *blob;
	size_t layer; /* which of the image, from 0 */
	enum decompress_kind kind;
};

/* What came of a job, where that is not known beforehand. */
struct layer_outcome {
	enum image_phase how; /* IMAGE_EXISTS, …; 0: IMAGE_DONE */
	struct image_layer_facts facts;
	struct digest digest; /* of the blob */
	uint64_t size;
	enum oci_media media;
	bool is_ours; /* the form of the blob was our choice, now or earlier */
};

/* A worker, as seen from inside its process. */
struct worker {
	const struct layer_job *job;
	struct layer_outcome outcome; /* the work fills it */
	const struct image_transfer *transfer;
	size_t index;
	int reports;
	int64_t reported; /* when, by clock_now() */
};

struct worker_crew {
	const char *image;		     /* for progress */
	const struct oci_descriptor *layers; /* of the image, bottom first */
	size_t layer_count;
	const struct image_transfer *transfer;
	/* Runs in the worker: bring worker->job in, or out. */
	int (*work)(void *arg, struct worker *worker, struct err *err);
	void *arg;
	/* workers_plan() fills these for layers that come in. */
	const struct layer_job *jobs;
	size_t count;
	struct layer_outcome *outcomes; /* one for each job; NULL: not wanted */
};

/*
 * Make jobs of the layers that are not in the sink yet, each once; a layer of unknown media type is
 * decompressed by what it looks like. config_check() has been passed.
 */
must_use int workers_plan(struct arena *a, struct worker_crew *crew,
	const struct oci_config *config, struct err *err);
must_use int workers_run(const struct worker_crew *crew, struct err *err);

/* In a worker: tell how far it is. Some ten times a second, whatever the caller does. */
void worker_tell(struct worker *worker, enum image_phase phase, uint64_t done);

/* In a worker: the limits of this transfer, and its job, as options for unpacking_start(). */
struct unpacking_options worker_unpacking(const struct worker *worker);

#endif
