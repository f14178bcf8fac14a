/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a registry says of an upload, and what the store remembers of blobs. What is read of the
 * latter is written, and read again as the same.
 */
#include <stdlib.h>

#include "image/places.h"
#include "image/upload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct place *a, const struct place *b)
{
	return digest_eq(&a->digest, &b->digest) && a->size == b->size && a->media == b->media &&
	       a->is_pushed == b->is_pushed && strcmp(a->registry, b->registry) == 0 &&
	       strcmp(a->repository, b->repository) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf printed = {0};
	struct str text = str_from((const char *)data, size);
	struct place places[PLACES_MAX], again[PLACES_MAX];
	uint64_t bytes;

	if (upload_range_parse(text, &bytes) && bytes == 1)
		abort(); /* 0-0 stands for nothing */
	size_t count = places_parse(&a, text, places);
	if (!count)
		return 0;
	places_print(text, &places[0], &printed);
	if (!places_parse(&a, buf_str(&printed), again) || !is_same(&places[0], &again[0]))
		abort();
	return 0;
}
