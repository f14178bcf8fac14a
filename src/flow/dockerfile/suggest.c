/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "dockerfile/internal.h"

enum { LONGEST = 24 };

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static size_t least(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Changes, insertions, removals and swaps of neighbours that lead from a to b. */
static size_t distance(struct str a, struct str b)
{
	size_t rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b.n; j++)
		last[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			char x = lower(a.p[i - 1]), y = lower(b.p[j - 1]);
			row[j] = least(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == lower(b.p[j - 2]) && lower(a.p[i - 2]) == y &&
				before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		size_t *free_row = before;
		before = last;
		last = row;
		row = free_row;
	}
	return last[b.n];
}

const char *suggest(char text[static 64], struct str word, const char *const *candidates)
{
	const char *nearest = NULL;
	size_t best = word.n < 4 ? 2 : 3;

	text[0] = '\0';
	if (!word.n || word.n > LONGEST)
		return text;
	for (; *candidates; candidates++) {
		struct str candidate = str_of(*candidates);
		size_t d = candidate.n <= LONGEST ? distance(word, candidate) : best;
		if (d < best && d < candidate.n) {
			best = d;
			nearest = *candidates;
		}
	}
	if (nearest)
		snprintf(text, 64, " (did you mean %s?)", nearest);
	return text;
}
