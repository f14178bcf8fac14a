/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_GLOB_H
#define DOCKERFILE_GLOB_H

/*
 * The patterns of ${name#p}, ${name%p} and ${name/p/r}: '*' any text, '?' one character, and
 * \*, \?, \\ for the characters themselves. Characters are those of UTF-8; a byte that is not
 * part of one counts as one. A step budget keeps hostile patterns cheap.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Cut the shortest (longest) match off the front (back) of the value. */
must_use int glob_trim(struct str pattern, struct str value, bool at_end, bool longest,
	struct buf *ret, struct err *err);
/* Replace the first (every) longest match; a result past EXPAND_MAX_SIZE is not finished. */
must_use int glob_replace(struct str pattern, struct str value, struct str replacement, bool all,
	struct buf *ret, struct err *err);

#endif
