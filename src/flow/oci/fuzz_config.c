/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed parses again and is printed as the same bytes. */
#include <stdlib.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf first = {0}, second = {0};
	struct oci_config config;
	struct err err;

	if (oci_config_parse(&arena, str_from((const char *)data, size), &config, &err) < 0)
		return 0;
	oci_config_print(&config, &first);
	if (oci_config_parse(&arena, buf_str(&first), &config, &err) < 0)
		abort();
	oci_config_print(&config, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		abort();
	return 0;
}
