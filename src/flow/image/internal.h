/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_INTERNAL_H
#define IMAGE_INTERNAL_H

#include "image/image.h"

struct image_store {
	int dir; /* what image_store_open() was given */
};

/*
 * A directory of the store: "names", "records", "partial". Returns its descriptor or < 0; what
 * is missing is made.
 */
must_use int store_dir_make(const struct image_store *store, const char *name, struct err *err);
/* The same for reading: 0 with *ret_fd, or IMAGE_E_ABSENT. */
must_use int store_dir_find(
	const struct image_store *store, const char *name, int *ret_fd, struct err *err);
/* Held while names and records change, until *ret_lock is closed. */
must_use int store_lock(const struct image_store *store, int *ret_lock, struct err *err);

/* ---- Records ---- */

/* IMAGE_E_ABSENT when there is none that is whole. */
must_use int record_load(const struct image_store *store, struct arena *a, const struct digest *id,
	struct image_record *ret, struct err *err);
/* The caller holds the lock. Both leave be what is there (is gone) already. */
must_use int record_write(
	const struct image_store *store, const struct image_record *record, struct err *err);
must_use int record_remove(
	const struct image_store *store, const struct digest *id, struct err *err);
/* Call each with the id of every record file; anything but 0 ends the walk and is returned. */
must_use int record_each(const struct image_store *store,
	int (*each)(void *arg, const struct digest *id, struct err *err), void *arg,
	struct err *err);

/* Fill record->layers with the sink's keys for the diff IDs of a configuration. */
void record_layers(struct arena *a, const struct image_layer_sink *sink,
	const struct oci_config *config, struct image_record *record);

/* ---- Configurations ---- */

enum { CONFIG_MAX_BYTES = 8 << 20 };

/* Does it describe as many layers as there are? ERR_INPUT. */
must_use int config_check(const struct oci_config *config, size_t layers, struct err *err);
/* Is it for this machine? ERR_MISSING. */
must_use int config_check_platform(
	const struct oci_config *config, const struct oci_platform *wanted, struct err *err);

/* ---- Names: "docker.io/library/python:3.13-slim" and "docker.io/library/python@sha256:…" ---- */

/* What a reference is filed under: with a digest, the tag does not count. */
const char *name_of(struct arena *a, const struct oci_reference *ref);
/* IMAGE_E_ABSENT when the name means nothing. */
must_use int name_load(
	const struct image_store *store, const char *name, struct digest *ret, struct err *err);
must_use int name_write(const struct image_store *store, const char *name, const struct digest *id,
	struct err *err);
must_use int name_remove(const struct image_store *store, const char *name, struct err *err);

struct image_name {
	const char *name;
	struct digest id;
};

/* All of them, in the order of their bytes. */
must_use int name_list(const struct image_store *store, struct arena *a, struct image_name **ret,
	size_t *ret_count, struct err *err);
static inline bool name_is_digest(const char *name)
{
	return strchr(name, '@') != NULL;
}

#endif
