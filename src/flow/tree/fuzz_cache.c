/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "tree/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * The checksum keeps nearly all inputs out, so the bytes are taken as what a file has behind
 * its header, and the right header is put in front of them; then as they are.
 */
static void read_all(struct str bytes)
{
	struct cache_file file;
	size_t sum = 0;

	if (!tree_cache_parse(bytes, &file))
		return;
	for (size_t i = 0; i < file.count; i++) {
		const struct cache_record *r = &file.records[i];
		for (size_t k = 0; k < r->path_len; k++)
			sum += (unsigned char)file.texts[r->path + k];
	}
	if (sum == SIZE_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Aligned, as from a file. */
	cleanup_free char *copy = xmalloc(size + 1);
	cleanup(buf_done) struct buf whole = {0};
	struct str bytes = str_from(copy, size);
	size_t count = size ? data[0] % 8 : 0;

	if (size)
		memcpy(copy, data, size);
	read_all(bytes);
	if (count * sizeof(struct cache_record) > size)
		count = size / sizeof(struct cache_record);
	struct cache_file file = {
		.records = (const void *)copy,
		.count = count,
		.texts = copy + count * sizeof(struct cache_record),
	};
	tree_cache_print(&file, size - count * sizeof(struct cache_record), &whole);
	read_all(buf_str(&whole));
	return 0;
}
