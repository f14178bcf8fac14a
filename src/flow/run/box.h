/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_BOX_H
#define RUN_BOX_H

/*
 * The inside of an instance: what PID 1 of its box does. The parent fills a job, forks with it,
 * says later which image is to run (ORDER_IMAGE), and hears of it through the same socket
 * (message_parse()); the log goes straight to the journal.
 */
#include "layer/layer.h"
#include "oci/oci.h"
#include "os/cgroup.h"
#include "run/internal.h"
#include "run/run.h"
#include "sandbox/sandbox.h"
#include "store/store.h"

/* What is run. */
struct run_image {
	struct oci_config config;
	struct layer_chain chain;
};

/* Find it in the stores; everything in ret lives in the arena. What cannot run is an error. */
must_use int run_image_find(struct layer_store *layers, struct image_store *images, struct arena *a,
	const char *id, struct run_image *ret, struct err *err);

struct box_job {
	struct store *store;
	const struct run_options *options; /* with every default filled in */
	const char *id;
	struct host_port port;
	int log_dir;
	int channel; /* SOCK_SEQPACKET */
	int outside; /* the parent's end of it, closed in the box */
	const struct cgroup *cgroup;
};

/* For sandbox_box_options; arg is a struct box_job. */
int box_main(void *arg);

/* Tell the parent. One that has gone is no error: the box is about to end with it. */
void box_tell(const struct box_job *job, const struct message *message);

/* ---- What runs in it ---- */

/* The container's pieces, from its start to its end. */
struct box_container {
	const struct run_image *image;
	const struct sandbox_container *container;
	pid_t pid;
	int out, err;	 /* read ends of its pipes */
	int root;	 /* its tree */
	const char *cwd; /* where it started */
};

/*
 * Follow a container that has been started: log, probe, port, orders; until it has ended.
 * Fills *ret, a MESSAGE_ENDED; its text and hint are in the arena.
 */
must_use int serve(const struct box_job *job, const struct box_container *container,
	struct arena *a, struct message *ret, struct err *err);

#endif
