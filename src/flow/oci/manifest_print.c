/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/oci.h"
#include "json/json.h"

static const char *const names[] = {
	[OCI_MEDIA_UNKNOWN] = "application/octet-stream",
	[OCI_MEDIA_INDEX] = "application/vnd.oci.image.index.v1+json",
	[OCI_MEDIA_MANIFEST] = "application/vnd.oci.image.manifest.v1+json",
	[OCI_MEDIA_CONFIG] = "application/vnd.oci.image.config.v1+json",
	[OCI_MEDIA_LAYER_TAR] = "application/vnd.oci.image.layer.v1.tar",
	[OCI_MEDIA_LAYER_GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
	[OCI_MEDIA_LAYER_ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
};

const char *oci_media_type(enum oci_media media)
{
	return names[media];
}

void oci_descriptor_print(const struct oci_descriptor *descriptor, struct json_writer *w)
{
	char digest[DIGEST_TEXT_SIZE];

	json_begin_object(w);
	json_add_text(w, "mediaType", oci_media_type(descriptor->media));
	json_add_text(w, "digest", digest_text(&descriptor->digest, digest));
	json_add_u64(w, "size", descriptor->size);
	json_end_object(w);
}

void oci_manifest_print(const struct oci_manifest *manifest, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	json_add_u64(&w, "schemaVersion", 2);
	json_add_text(&w, "mediaType", oci_media_type(OCI_MEDIA_MANIFEST));
	json_key(&w, "config");
	oci_descriptor_print(&manifest->config, &w);
	json_key(&w, "layers");
	json_begin_array(&w);
	for (size_t i = 0; i < manifest->layer_count; i++)
		oci_descriptor_print(&manifest->layers[i], &w);
	json_end_array(&w);
	json_end_object(&w);
}
