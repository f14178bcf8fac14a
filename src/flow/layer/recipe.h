/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_RECIPE_H
#define LAYER_RECIPE_H

/*
 * A recipe is what a tar archive had besides the content of its files: headers, padding, the
 * order of all that. With it, a layer that was unpacked can be packed again to the very bytes
 * it came as, whoever had written them.
 *
 *	layers/KEY/recipe    one zstd frame of records, all numbers little-endian:
 *		'L' u32 n, n bytes		bytes of the archive
 *		'F' u64 size, u32 n, n bytes	the content of the file of that path in fs/
 *		'E' u64 n			the end: an archive of n bytes
 *
 * It is written by the confined process that unpacks, from bytes that are hostile, so a
 * reader believes nothing of it; whether the archive comes out right, its digest tells.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

/* ---- recipe.c: writing ---- */

struct recipe;

/* Into fd, an empty file, which stays the caller's. */
struct recipe *recipe_new(int fd);
void recipe_free(struct recipe *r);
DEFINE_CLEANUP(struct recipe *, recipe_free);
/* The archive's bytes, in order; how they are cut is of no matter. */
void recipe_feed(struct recipe *r, struct str bytes);
/* The next file with content is at this path, clean and below the root. */
void recipe_name(struct recipe *r, const char *path, uint64_t size);
/* The tree does not hold what the archive said: there will be no recipe. */
void recipe_break(struct recipe *r);
/* The archive has ended: write the rest, or leave the file empty. Was it written? */
bool recipe_finish(struct recipe *r);

/* ---- recipe_read.c: reading ---- */

enum { RECIPE_LITERAL_MAX = 1 << 20, RECIPE_PATH_MAX = 4096 };

struct recipe_record {
	char kind;	 /* 'L', 'F' or 'E' */
	struct str text; /* bytes, or a path; looks into what was read */
	uint64_t size;
};

enum { RECIPE_E_MORE = 1 };

/*
 * Take a record off the front of *rest: 0, RECIPE_E_MORE when it is not all there yet, or
 * ERR_INPUT. Pure.
 */
must_use int recipe_next(struct str *rest, struct recipe_record *ret, struct err *err);

#endif
