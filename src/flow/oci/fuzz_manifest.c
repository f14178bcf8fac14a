/* SPDX-License-Identifier: Apache-2.0 */
/* The first line is the content type, the rest the document. */
#include <stdlib.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena arena = {0};
	struct str rest = str_from((const char *)data, size);
	struct str content_type = str_cut(&rest, '\n');
	struct oci_platform host = {"linux", "arm64", "v8"};
	struct oci_manifest manifest;
	struct err err;

	if (oci_manifest_parse(&arena, rest, content_type, &manifest, &err) < 0)
		return 0;
	if (manifest.media == OCI_MEDIA_INDEX) {
		const struct oci_descriptor *found = oci_manifest_select(&manifest, &host);
		if (found && found->media != OCI_MEDIA_MANIFEST)
			abort();
	}
	for (size_t i = 0; i < manifest.layer_count; i++)
		if (manifest.layers[i].media < OCI_MEDIA_LAYER_TAR)
			abort();
	return 0;
}
