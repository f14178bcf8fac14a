/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "layer/weight.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is printed and read again without a difference. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf first = {0}, second = {0};
	struct layer_weight weight;

	if (!weight_parse(str_from((const char *)data, size), &a, &weight))
		return 0;
	weight_print(&weight, &first);
	if (!weight_parse(buf_str(&first), &a, &weight))
		abort();
	weight_print(&weight, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		abort();
	return 0;
}
