/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is accepted is accepted again in its canonical and its short form, as the same. */
#include <stdlib.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct arena *a, const char *text, const struct oci_reference *as)
{
	struct oci_reference again;
	struct err err;

	if (oci_reference_parse(a, str_of(text), &again, &err) < 0 ||
		strcmp(again.text, as->text) != 0 || strcmp(again.repository, as->repository) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_reference ref;
	struct err err;

	if (oci_reference_parse(&arena, str_from((const char *)data, size), &ref, &err) == 0) {
		same(&arena, ref.text, &ref);
		same(&arena, ref.short_text, &ref);
		if (strstr(ref.repository, "..") || strstr(ref.text, "//"))
			abort();
	}
	struct oci_platform platform;
	if (oci_platform_parse(&arena, str_from((const char *)data, size), &platform, &err) == 0 &&
		!oci_platform_matches(&platform, &platform))
		abort();
	return 0;
}
