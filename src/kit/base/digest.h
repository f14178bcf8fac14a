/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

/*
 * SHA-256, the only hash of this program: OCI descriptors require it, and with SHA-NI it is
 * fast enough for keys. Text form as in the OCI image specification: "sha256:" + 64 lower
 * case hex digits.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"

#define DIGEST_SIZE	 32
#define DIGEST_HEX_SIZE	 65 /* with the terminator */
#define DIGEST_TEXT_SIZE (7 + DIGEST_HEX_SIZE)

struct digest {
	unsigned char bytes[DIGEST_SIZE];
};

/* A running hash; opaque. */
struct hasher;

struct hasher *hasher_new(void);
void hasher_free(struct hasher *h);
DEFINE_CLEANUP(struct hasher *, hasher_free);
void hasher_add(struct hasher *h, const void *p, size_t n);
/* The digest of all bytes so far; the hasher then starts anew. */
struct digest hasher_finish(struct hasher *h);

struct digest digest_of(const void *p, size_t n);
bool digest_eq(const struct digest *a, const struct digest *b);
/* Accepts exactly the text form; anything else, other algorithms included, is false. */
bool digest_parse(struct str text, struct digest *ret);
const char *digest_hex(const struct digest *d, char hex[static DIGEST_HEX_SIZE]);
const char *digest_text(const struct digest *d, char text[static DIGEST_TEXT_SIZE]);

#endif
