/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

/*
 * Memory with one lifetime: a parsed configuration, a build, a request. Everything
 * allocated in an arena is released by arena_done() at once, nothing of it before. An
 * arena is the first argument of a function that allocates in it. `{0}` is an empty one.
 */
#include <stddef.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used; /* bytes handed out in all, for limits */
};

void arena_done(struct arena *a);
DEFINE_CLEANUP_VALUE(struct arena, arena_done);

/* Zeroed, aligned for any type; never NULL. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
/* A terminated copy: .p may be used as a C string. */
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);
/*
 * Append-only arrays: returns the array, grown (and moved) if count has reached *cap.
 * arr[count] is then free to be written.
 */
void *arena_grow(struct arena *a, void *arr, size_t count, size_t *cap, size_t size);

#endif
