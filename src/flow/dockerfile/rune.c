/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/rune.h"

uint32_t rune_decode(struct str s, size_t *len)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	*len = 1;
	if (n > 1 && (p[0] < 0xc2 || p[0] > 0xf4 || n > s.n))
		return RUNE_STRAY + p[0];
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return RUNE_STRAY + p[0];
		c = c << 6 | (p[i] & 0x3f);
	}
	/* Only what rune_encode() gives back as it was. */
	if ((n == 3 && c < 0x800) || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return RUNE_STRAY + p[0];
	*len = n;
	return c;
}

void rune_encode(struct buf *ret, uint32_t c)
{
	if (c < 0x80 || c >= RUNE_STRAY) {
		buf_add_char(ret, (char)(c < 0x80 ? c : c - RUNE_STRAY));
		return;
	}
	if (c >= 0x10000)
		buf_add_char(ret, (char)(0xf0 | c >> 18));
	if (c >= 0x800)
		buf_add_char(ret, (char)(c >= 0x10000 ? 0x80 | (c >> 12 & 0x3f) : 0xe0 | c >> 12));
	buf_add_char(ret, (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6));
	buf_add_char(ret, (char)(0x80 | (c & 0x3f)));
}
