/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

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

/* The removal of an image, on its way through a box. */
struct removal {
	struct store *store;
	struct arena *arena;
	struct str text;
	bool force, may_drop_layers;
	struct oci_list keys;
	struct image_removed removed;
	size_t layers;
};

void removal_tell(const struct removal *job, struct sandbox_channel *channel);
void removal_hear(void *arg, struct str message);

/* Progress as a message: pure, for both ends. */
void progress_print(const struct image_progress *progress, struct buf *ret);
/* False when the bytes are no progress. Text looks into the arena. */
bool progress_parse(struct arena *a, struct str message, struct image_progress *ret);

#endif
