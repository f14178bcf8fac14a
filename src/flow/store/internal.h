/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "base/map.h"
#include "store/store.h"

struct store {
	const struct settings *settings;
	struct settings box_settings;		 /* in a box */
	struct buf credentials, ca_bundle;	 /* contents, for the box */
	char *credentials_path, *ca_bundle_path; /* in the box */
	struct sandbox_ids ids;
	int data, dir;
	char *scratch;
	struct layer_store *layers;
	struct image_store *images;
};

/*
 * Open a directory of the store's, made if it is missing and given to `owner` (the box's root;
 * only real root has to, an ordinary user is that root).
 */
must_use int part_open(
	int dir, const char *name, mode_t mode, const struct sandbox_ids *owner, struct err *err);

/* ---- lease.c ---- */

#define LEASE_LAYER "layer "
#define LEASE_IMAGE "image "

/* What leases name, as keys of maps (any value). */
struct leased {
	struct map *layers, *images; /* hexadecimal keys; "sha256:…" */
	size_t count;		     /* of leases */
};

/* The lines of a lease, a box's included. */
must_use int lease_print(const struct store_lease *lease, struct buf *ret, struct err *err);
/* Adds what a lease's text names: pure. */
void lease_parse(struct str text, struct leased *ret);

/*
 * Read all leases that are held, in a box. Until *ret_guard is closed nothing more is named:
 * be quick.
 */
must_use int leased_take(int store_dir, struct leased *ret, int *ret_guard, struct err *err);
void leased_done(struct leased *leased);
DEFINE_CLEANUP_VALUE(struct leased, leased_done);

/* The removal of an image, on its way through a box. */
struct removal {
	struct store *store;
	struct arena *arena;
	struct str text;
	bool force;
	struct oci_list keys;
	struct image_removed removed;
	size_t layers;
};

void removal_tell(const struct removal *job, struct sandbox_channel *channel);
void removal_hear(void *arg, struct str message);

/* ---- transfer.c: what pulls and pushes work with, in a box ---- */

void transfer_source(struct arena *a, const struct settings *settings, struct image_source *ret);
struct image_memory transfer_memory(struct layer_store *layers);

/* Progress as a message: pure, for both ends. */
void progress_print(const struct image_progress *progress, struct buf *ret);
/* False when the bytes are no progress. Text looks into the arena. */
bool progress_parse(struct arena *a, struct str message, struct image_progress *ret);

/* Remember the facts of a layer that can be packed as it came. */
void source_note(struct layer_store *layers, const struct layer_key *key,
	const struct image_layer_facts *facts);

#endif
