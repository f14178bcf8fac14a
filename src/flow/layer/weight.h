/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_WEIGHT_H
#define LAYER_WEIGHT_H

/* What a tree weighs, and how that is remembered. */
#include "layer/internal.h"

/* Count a tree; ret_weight (may be NULL) is filled from the arena. */
must_use int tree_count(int dirfd, struct arena *a, struct layer_usage *ret_usage,
	struct layer_weight *ret_weight, struct err *err);

/* By inode. */
void weight_sort(struct layer_weight *weight);
/* As bytes and back: pure. The parser takes them as foreign. */
void weight_print(const struct layer_weight *weight, struct buf *ret);
bool weight_parse(struct str bytes, struct arena *a, struct layer_weight *ret);

/* Remember the weight of a layer's tree: `fs` with what the store needs besides it. */
void weight_keep(
	struct layer_store *store, const struct layer_key *key, const struct layer_weight *weight);

#endif
