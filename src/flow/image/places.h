/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_PLACES_H
#define IMAGE_PLACES_H

/*
 * Where in registries a layer is: the blobs that are known to be its diff ID's, from pulls and
 * pushes, so that a push finds them again instead of sending them. A text in the store's memory
 * for each layer, newest first, one line a place:
 *
 *	docker.io library/python sha256:… 12345 gzip pulled
 *
 * Pure, but for the last two.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "image/image.h"

enum { PLACES_MAX = 16 /* of one layer; the oldest are forgotten */ };

struct place {
	struct digest diff_id; /* whose blob it is; not part of the line */
	const char *registry, *repository;
	struct digest digest;
	uint64_t size;
	enum oci_media media;
	bool is_pushed; /* by us, so that we chose the form; else it was pulled */
};

/* Lines that are none are passed over. At most PLACES_MAX; they live in the arena. */
size_t places_parse(struct arena *a, struct str text, struct place ret[static PLACES_MAX]);
/* The text of `old` with this place in front. */
void places_print(struct str old, const struct place *place, struct buf *ret);

/* What is known of a layer, with its diff ID; none without a memory (NULL). */
size_t places_find(const struct image_memory *memory, struct arena *a, const struct digest *diff_id,
	struct place ret[static PLACES_MAX]);
void places_remember(
	const struct image_memory *memory, const struct digest *diff_id, const struct place *place);

#endif
