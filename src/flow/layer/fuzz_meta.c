/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "layer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is printed and read again without a difference. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(buf_done) struct buf first = {0}, second = {0};
	struct layer_meta meta;

	if (meta_parse(str_from((const char *)data, size), &meta, NULL) < 0)
		return 0;
	meta_print(&meta, &first);
	if (meta_parse(buf_str(&first), &meta, NULL) < 0)
		abort();
	meta_print(&meta, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		abort();
	return 0;
}
