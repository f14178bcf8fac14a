/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of an answer: more of them never change what was said of fewer. */
#include <stdint.h>
#include <stdlib.h>

#include "run/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = {(const char *)data, size};
	int before = PROBE_E_SHORT, status = 0, first = 0;

	for (size_t n = 0; n <= size && n < 64; n++) {
		int result = probe_parse_status(str_slice(all, 0, n), &status);
		if (before != PROBE_E_SHORT && result != before)
			abort();
		if (result == 0 && (status < 100 || status > 999 || (first && status != first)))
			abort();
		if (result == 0)
			first = status;
		before = result;
	}
	return 0;
}
