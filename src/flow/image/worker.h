/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_WORKER_H
#define IMAGE_WORKER_H

/*
 * The layers of one image come in side by side: each in a worker process, a few at once. When
 * one fails, or the caller wants to stop, or the caller itself dies, all of them end, and none
 * is left when workers_run() returns.
 */
#include "image/image.h"
#include "image/unpacking.h"

struct layer_job {
	struct digest diff_id;
	const struct oci_descriptor *blob;
	enum decompress_kind kind;
};

/* A worker, as seen from inside its process. */
struct worker {
	const struct layer_job *job;
	const struct image_transfer *transfer;
	size_t index;
	int reports;
	int64_t reported; /* when, by clock_now() */
};

struct worker_crew {
	const char *image; /* for progress */
	const struct layer_job *jobs;
	size_t count;
	const struct image_transfer *transfer;
	/* Runs in the worker: bring in worker->job. */
	int (*work)(void *arg, struct worker *worker, struct err *err);
	void *arg;
};

must_use int workers_run(const struct worker_crew *crew, struct err *err);

/* In a worker: tell how far it is. Some ten times a second, whatever the caller does. */
void worker_tell(struct worker *worker, enum image_phase phase, uint64_t done);

/* In a worker: the limits of this transfer, and its job, as options for unpacking_start(). */
struct unpacking_options worker_unpacking(const struct worker *worker);

#endif
