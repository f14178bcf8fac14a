/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_DIGESTING_H
#define IMAGE_DIGESTING_H

/*
 * SHA-256 of a long stream in a thread of its own, a few MiB behind whoever reads and writes
 * the stream: on two processors the digest costs no time.
 */
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

struct digesting;

must_use int digesting_start(struct digesting **ret, struct err *err);
/* The bytes are copied. */
void digesting_add(struct digesting *d, struct str piece);
/* Waits for the thread. Only digesting_free() may be called after it. */
struct digest digesting_finish(struct digesting *d);
void digesting_free(struct digesting *d);
DEFINE_CLEANUP(struct digesting *, digesting_free);

#endif
