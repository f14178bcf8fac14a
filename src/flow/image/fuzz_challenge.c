/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "image/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena arena = {0};
	struct challenge c = {0};

	challenge_parse(&arena, str_from((const char *)data, size), &c);
	if (!c.realm || !c.service || !c.error)
		abort();
	if (c.scheme == CHALLENGE_BEARER && !c.realm[0])
		abort();
	return 0;
}
