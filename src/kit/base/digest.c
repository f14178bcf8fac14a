/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/alloc.h"

struct hasher {
	EVP_MD_CTX *ctx;
};

/* Fetched once: EVP_sha256() repeats the provider look-up at every use (OpenSSL 3.0). */
static const EVP_MD *sha256(void)
{
	static EVP_MD *md;

	if (!md)
		md = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!md)
		abort();
	return md;
}

static void restart(struct hasher *h)
{
	if (EVP_DigestInit_ex(h->ctx, sha256(), NULL) != 1)
		abort();
}

struct hasher *hasher_new(void)
{
	struct hasher *h = xcalloc(1, sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx)
		abort();
	restart(h);
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hasher_add(struct hasher *h, const void *p, size_t n)
{
	if (n && EVP_DigestUpdate(h->ctx, p, n) != 1)
		abort();
}

struct digest hasher_finish(struct hasher *h)
{
	struct digest d;

	if (EVP_DigestFinal_ex(h->ctx, d.bytes, NULL) != 1)
		abort();
	restart(h);
	return d;
}

struct digest digest_of(const void *p, size_t n)
{
	struct digest d;

	if (EVP_Digest(n ? p : "", n, d.bytes, NULL, sha256(), NULL) != 1)
		abort();
	return d;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool digest_parse(struct str text, struct digest *ret)
{
	struct digest d;

	if (text.n != DIGEST_TEXT_SIZE - 1 || !str_starts(text, STR("sha256:")))
		return false;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(text.p[7 + 2 * i]), low = hex_value(text.p[8 + 2 * i]);
		if (high < 0 || low < 0)
			return false;
		d.bytes[i] = (unsigned char)(high << 4 | low);
	}
	*ret = d;
	return true;
}

const char *digest_hex(const struct digest *d, char hex[static DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		hex[2 * i] = digits[d->bytes[i] >> 4];
		hex[2 * i + 1] = digits[d->bytes[i] & 15];
	}
	hex[DIGEST_HEX_SIZE - 1] = '\0';
	return hex;
}

const char *digest_text(const struct digest *d, char text[static DIGEST_TEXT_SIZE])
{
	memcpy(text, "sha256:", sizeof("sha256:"));
	digest_hex(d, text + 7);
	return text;
}
