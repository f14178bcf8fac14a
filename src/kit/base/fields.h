/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FIELDS_H
#define BASE_FIELDS_H

/*
 * Reads what buf_add_u32(), buf_add_u64() and buf_add_field() wrote, from bytes that are not
 * trusted. After a read past the end `bad` is set and everything reads as zero, so one check
 * at the end of a record is enough.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct fields {
	struct str rest;
	bool bad;
};

uint32_t fields_u32(struct fields *f);
uint64_t fields_u64(struct fields *f);
/* Looks into the record. */
struct str fields_str(struct fields *f);

#endif
