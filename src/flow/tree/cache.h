/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TREE_CACHE_H
#define TREE_CACHE_H

/* A stat cache as cache.c has it in memory; its test sets the clock and looks at the records. */

#include "tree/internal.h"

enum { CACHE_MAX_AGE = 8 }; /* saves that a file no build looks at is remembered for */

struct fresh {
	const char *path; /* in the cache's arena */
	struct cache_record record;
};

struct tree_cache {
	struct arena arena;
	struct buf bytes; /* the file; what `old` looks into */
	struct cache_file old;
	bool *seen;	     /* old records that were looked at */
	size_t next;	     /* the old record expected next: walks come in the file's order */
	int64_t begun;	     /* when this build began, nanoseconds since 1970 */
	struct fresh *fresh; /* learned by this build */
	size_t count, cap;
	struct map *known; /* path → index in fresh, from 1 */
};

#endif
