/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

/*
 * Memory that cannot be had ends the process with one line: every input is bounded, and
 * containers outlive the process that started them, so there is nothing to save by limping
 * on. Results are never NULL and are released with free().
 */
#include <stddef.h>

#include "base/attr.h"

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
/* Grow an array to hold at least `want` items of `size` bytes; *cap is updated. */
void *xgrow(void *p, size_t *cap, size_t want, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xprintf(const char *fmt, ...) printf_like(1, 2);

#endif
