/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the kind and the size of the pieces; the digest is that of the output. */
#include <stdlib.h>

#include "decompress/decompress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int hash(void *arg, struct str piece, struct err *err)
{
	(void)err;
	hasher_add(arg, piece.p, piece.n);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(hasher_free) struct hasher *hasher = hasher_new();
	struct decompress_options options = {
		.max_bytes = 4 << 20, .ratio = 100, .out = hash, .arg = hasher};
	struct err err = {0};
	struct digest digest;
	int r = 0;

	if (size < 1)
		return 0;
	options.kind = (enum decompress_kind)(data[0] % 6);
	size_t step = 1 + data[0] / 6;
	cleanup(decompress_free) struct decompress *d = decompress_new(&options);
	for (size_t i = 1; r == 0 && i < size; i += step)
		r = decompress_feed(d,
			str_from((const char *)data + i, size - i < step ? size - i : step), &err);
	if (r == 0 && decompress_finish(d, &digest, &err) == 0) {
		struct digest expected = hasher_finish(hasher);
		if (!digest_eq(&digest, &expected))
			abort();
	}
	return 0;
}
