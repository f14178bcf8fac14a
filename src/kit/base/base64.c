/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <openssl/evp.h>

/* Whole groups of three bytes, so that the parts join; an int counts them. */
enum { PART = 3 << 20 };

void base64_encode(struct str bytes, struct buf *ret)
{
	for (size_t at = 0; at < bytes.n; at += PART) {
		size_t n = bytes.n - at < PART ? bytes.n - at : PART;
		/* The encoder ends its text with a zero, which is not counted. */
		char *out = buf_reserve(ret, (n + 2) / 3 * 4 + 1);
		int len = EVP_EncodeBlock(
			(unsigned char *)out, (const unsigned char *)bytes.p + at, (int)n);
		buf_commit(ret, (size_t)len);
	}
}
