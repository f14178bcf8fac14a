/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

/*
 * Numbers in text, read whole or not at all: no sign, no blanks, no trailing bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Decimal, at most max. */
bool parse_u64(struct str s, uint64_t max, uint64_t *ret);
/* Octal, at most max: file modes. */
bool parse_octal(struct str s, uint64_t max, uint64_t *ret);
/* Binary-prefixed sizes as Docker reads them: 64m, 1g, 16GiB, 512 (bytes). */
bool parse_size(struct str s, uint64_t *ret);
/*
 * Durations in Go's syntax ("1h30m", "1.5s", "300ms"; "0" alone needs no unit), in
 * nanoseconds. Negative ones are refused.
 */
bool parse_duration(struct str s, int64_t *ret_ns);

/* "1.5 GB", "831 kB": decimal units as docker prints them. Returns text. */
const char *print_size(char text[static 32], uint64_t bytes);
/* "0.04s", "12.3s", "2m05s". */
const char *print_duration(char text[static 32], int64_t ns);

#endif
