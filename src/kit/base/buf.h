/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

/*
 * Text being built. `data` is never NULL after the first call and always terminated;
 * `{0}` is a valid empty buffer. Grows as needed, out of memory ends the process.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/str.h"

struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void buf_done(struct buf *b);
DEFINE_CLEANUP_VALUE(struct buf, buf_done);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_add_text(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
/* Little-endian bytes, for hashing and binary records. */
void buf_add_u32(struct buf *b, uint32_t v);
void buf_add_u64(struct buf *b, uint64_t v);
/* Length-prefixed, so that joined fields cannot be confused: u64 length, then the bytes. */
void buf_add_field(struct buf *b, struct str s);

/* Room for n more bytes; returns where they go. Follow with buf_commit(). */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_clear(struct buf *b);		     /* keeps the memory */
void buf_cut_front(struct buf *b, size_t n); /* drop the first n bytes */
void buf_truncate(struct buf *b, size_t len);
struct str buf_str(const struct buf *b);
const char *buf_text(const struct buf *b); /* "" when empty; valid until the next change */
char *buf_take(struct buf *b);		   /* the caller frees it; b is empty afterwards */

#endif
