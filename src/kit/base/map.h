/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

/*
 * A hash map from byte strings to pointers. Keys are copied, values are the caller's.
 * Hashing is seeded per process, so foreign keys cannot be chosen to collide.
 */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"

struct map;

struct map *map_new(void);
void map_free(struct map *m);
DEFINE_CLEANUP(struct map *, map_free);

/* NULL when absent. */
void *map_find(const struct map *m, struct str key);
/* Returns the value that was replaced, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
void *map_remove(struct map *m, struct str key);
size_t map_count(const struct map *m);

/*
 * Walk in no particular order: *at starts at 0; NULL at the end. The map may not be
 * changed on the way. ret_key may be NULL.
 */
void *map_next(const struct map *m, size_t *at, struct str *ret_key);

#endif
