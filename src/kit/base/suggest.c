/* SPDX-License-Identifier: Apache-2.0 */
#include "base/suggest.h"

enum { LONGEST = 64 };

static unsigned char folded(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned char)(c + ('a' - 'A'));
	return (unsigned char)(c == '_' ? '-' : c);
}

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment; three rows of the table are enough for swaps. */
static unsigned distance(struct str a, struct str b)
{
	unsigned rows[3][LONGEST + 1];

	for (size_t j = 0; j <= b.n; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.n; j++) {
			unsigned char x = folded(a.p[i - 1]), y = folded(b.p[j - 1]);
			row[j] = smaller(smaller(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == folded(b.p[j - 2]) && folded(a.p[i - 2]) == y)
				row[j] = smaller(row[j], before[j - 2] + 1);
		}
	}
	return rows[a.n % 3][b.n];
}

void suggest_offer(struct suggest *s, const char *candidate)
{
	struct str other = str_of(candidate);

	if (s->written.n == 0 || s->written.n > LONGEST || other.n > LONGEST)
		return;
	size_t length = s->written.n > other.n ? s->written.n : other.n;
	unsigned allowed = smaller((unsigned)(length + 2) / 3, 3);
	unsigned far = distance(s->written, other);
	if (far >= length || far > allowed || (s->best && far >= s->distance))
		return;
	s->best = candidate;
	s->distance = far;
}
