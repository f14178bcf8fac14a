/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

/*
 * "Did you mean …?": the candidate nearest to a word that was not understood.
 *
 *	struct suggest near = {.written = word};
 *	for (size_t i = 0; i < array_size(keys); i++)
 *		suggest_offer(&near, keys[i].name);
 *	if (near.best)
 *		…
 *
 * Distance is the number of inserted, removed, replaced or swapped characters; letters that
 * differ in case only, and '-' for '_', count nothing. Near means at most one change for each
 * three characters begun, three changes at most, and never all of a word.
 */
#include "base/str.h"

struct suggest {
	struct str written;
	const char *best; /* NULL while nothing near was offered; the first of equals wins */
	unsigned distance;
};

void suggest_offer(struct suggest *s, const char *candidate);

#endif
