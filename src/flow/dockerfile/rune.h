/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_RUNE_H
#define DOCKERFILE_RUNE_H

/*
 * Characters of UTF-8. Names of files may be any bytes: a byte that is not part of a
 * well-formed sequence is a character of its own, RUNE_STRAY + byte, and stays itself on the
 * way back.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum { RUNE_STRAY = 0x110000, RUNE_END = 0x110100 /* no character is this or more */ };

/* The character at the front of s, which is not empty; *len is its length in bytes. */
uint32_t rune_decode(struct str s, size_t *len);
void rune_encode(struct buf *ret, uint32_t rune);

#endif
