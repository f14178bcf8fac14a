/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fields.h"

static struct str take(struct fields *f, uint64_t n)
{
	if (f->bad || n > f->rest.n) {
		f->bad = true;
		return STR("");
	}
	struct str part = str_slice(f->rest, 0, (size_t)n);
	f->rest = str_from_index(f->rest, (size_t)n);
	return part;
}

static uint64_t number(struct fields *f, size_t size)
{
	struct str bytes = take(f, size);
	uint64_t v = 0;

	for (size_t i = bytes.n; i-- > 0;)
		v = v << 8 | (unsigned char)bytes.p[i];
	return v;
}

uint32_t fields_u32(struct fields *f)
{
	return (uint32_t)number(f, 4);
}

uint64_t fields_u64(struct fields *f)
{
	return number(f, 8);
}

struct str fields_str(struct fields *f)
{
	return take(f, fields_u64(f));
}
