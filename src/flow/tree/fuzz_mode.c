/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "tree/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tree_mode m;

	if (tree_mode_parse(str_from((const char *)data, size), &m, NULL) < 0)
		return 0;
	for (mode_t mode = 0; mode <= 07777; mode += 0123) {
		if (tree_mode_apply(&m, S_IFREG | mode) & ~(mode_t)07777 ||
			tree_mode_apply(&m, S_IFDIR | mode) & ~(mode_t)07777)
			abort();
	}
	return 0;
}
