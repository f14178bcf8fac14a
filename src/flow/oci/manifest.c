/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "oci/oci.h"
#include "json/json.h"

enum {
	MANIFEST_MAX_BYTES =
		4 << 20,  /* what the distribution specification makes registries take */
	MAX_LAYERS = 512, /* more than overlayfs can stack */
	MAX_MANIFESTS = 4096,
};

static const struct {
	const char *name;
	enum oci_media media;
} media_types[] = {
	{"application/vnd.docker.container.image.v1+json", OCI_MEDIA_CONFIG},
	{"application/vnd.docker.distribution.manifest.list.v2+json", OCI_MEDIA_INDEX},
	{"application/vnd.docker.distribution.manifest.v2+json", OCI_MEDIA_MANIFEST},
	{"application/vnd.docker.image.rootfs.diff.tar", OCI_MEDIA_LAYER_TAR},
	{"application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_MEDIA_LAYER_GZIP},
	{"application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_MEDIA_LAYER_ZSTD},
	{"application/vnd.oci.image.config.v1+json", OCI_MEDIA_CONFIG},
	{"application/vnd.oci.image.index.v1+json", OCI_MEDIA_INDEX},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_MEDIA_LAYER_TAR},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_MEDIA_LAYER_GZIP},
	{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", OCI_MEDIA_LAYER_ZSTD},
	{"application/vnd.oci.image.layer.v1.tar", OCI_MEDIA_LAYER_TAR},
	{"application/vnd.oci.image.layer.v1.tar+gzip", OCI_MEDIA_LAYER_GZIP},
	{"application/vnd.oci.image.layer.v1.tar+zstd", OCI_MEDIA_LAYER_ZSTD},
	{"application/vnd.oci.image.manifest.v1+json", OCI_MEDIA_MANIFEST},
};

/* Types that say nothing about the content: what servers without a registry's knowledge send. */
static const char *const neutral_types[] = {
	"", "application/json", "application/octet-stream", "binary/octet-stream"};

static const char *const schema1_types[] = {
	"application/vnd.docker.distribution.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
};

enum oci_media oci_media_of(struct str media_type)
{
	for (size_t i = 0; i < array_size(media_types); i++)
		if (str_is(media_type, media_types[i].name))
			return media_types[i].media;
	return OCI_MEDIA_UNKNOWN;
}

static bool is_one_of(struct str s, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_is(s, list[i]))
			return true;
	return false;
}

static int refuse_schema1(struct err *err)
{
	(void)err_set(err, ERR_INPUT, "image manifest schema 1 is not supported");
	return err_hint(err,
		"it was retired by Docker in 2019; pull the image with an older docker "
		"and push it again");
}

/* What must be true of the document's kind, told by three witnesses that have to agree. */
static int find_kind(
	const struct json *root, struct str content_type, struct oci_manifest *ret, struct err *err)
{
	struct str media_type = {0};
	bool has_index = json_find(root, "manifests");
	bool has_manifest = json_find(root, "config") || json_find(root, "layers");
	int r = json_opt_str(root, "mediaType", &media_type, err);

	if (r < 0)
		return r;
	if (json_find(root, "fsLayers") || is_one_of(media_type, schema1_types, 2) ||
		is_one_of(content_type, schema1_types, 2))
		return refuse_schema1(err);
	if (is_one_of(content_type, neutral_types, array_size(neutral_types)))
		content_type = media_type;
	if (!media_type.n)
		media_type = content_type;
	if (!str_eq(content_type, media_type))
		return err_set(err, ERR_INPUT,
			"media type %.*s was announced, but the document calls itself %.*s",
			STR_ARG(content_type), STR_ARG(media_type));
	if (has_index == has_manifest)
		return err_set(err, ERR_INPUT, "%s",
			has_index ? "the document is an index and a manifest at once"
				  : "the document is neither an index nor a manifest");
	ret->media = has_index ? OCI_MEDIA_INDEX : OCI_MEDIA_MANIFEST;
	if (media_type.n && oci_media_of(media_type) != ret->media)
		return err_set(err, ERR_INPUT, "the document has the fields of an %s, but is %.*s",
			has_index ? "index" : "image manifest", STR_ARG(media_type));
	return 0;
}

static int parse_platform(const struct json *descriptor, struct oci_platform *ret, struct err *err)
{
	const struct json *platform = NULL;
	int r = json_opt_object(descriptor, "platform", &platform, err);

	*ret = (struct oci_platform){"", "", ""};
	if (r == 0 && platform)
		r = json_get_text(platform, "os", &ret->os, err);
	if (r == 0 && platform)
		r = json_get_text(platform, "architecture", &ret->architecture, err);
	if (r == 0 && platform)
		r = json_opt_text(platform, "variant", &ret->variant, err);
	return r;
}

static int parse_descriptor(const struct json *value, struct oci_descriptor *ret, struct err *err)
{
	struct str digest = {0};
	int r = json_get_text(value, "mediaType", &ret->media_type, err);

	if (r == 0)
		r = json_get_u64(value, "size", &ret->size, err);
	if (r == 0)
		r = json_get_str(value, "digest", &digest, err);
	if (r == 0)
		r = parse_platform(value, &ret->platform, err);
	if (r < 0)
		return r;
	ret->media = oci_media_of(str_of(ret->media_type));
	if (!digest_parse(digest, &ret->digest))
		return json_error(json_find(value, "digest"), err,
			"%.*s is not sha256: and 64 lower case hex digits", STR_ARG(digest));
	return 0;
}

static int parse_descriptors(struct arena *a, const struct json *list, size_t max,
	struct oci_descriptor **ret, struct err *err)
{
	size_t count = json_count(list);

	if (count > max)
		return json_error(list, err, "%zu entries are more than %zu", count, max);
	*ret = arena_array(a, count, sizeof(**ret));
	for (size_t i = 0; i < count; i++) {
		int r = parse_descriptor(json_item(list, i), &(*ret)[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_layer(enum oci_media media)
{
	return media == OCI_MEDIA_LAYER_TAR || media == OCI_MEDIA_LAYER_GZIP ||
	       media == OCI_MEDIA_LAYER_ZSTD;
}

static int parse_image(
	struct arena *a, const struct json *root, struct oci_manifest *ret, struct err *err)
{
	const struct json *config = NULL, *layers = NULL;
	int r = json_get_object(root, "config", &config, err);

	if (r == 0)
		r = json_get_array(root, "layers", &layers, err);
	if (r == 0)
		r = parse_descriptor(config, &ret->config, err);
	if (r == 0)
		r = parse_descriptors(a, layers, MAX_LAYERS, &ret->layers, err);
	if (r < 0)
		return r;
	ret->layer_count = json_count(layers);
	if (ret->config.media != OCI_MEDIA_CONFIG)
		return err_set(err, ERR_INPUT,
			"this is no container image: its configuration is of type %s",
			ret->config.media_type);
	for (size_t i = 0; i < ret->layer_count; i++)
		if (!is_layer(ret->layers[i].media))
			return json_error(json_item(layers, i), err, "unknown layer type %s",
				ret->layers[i].media_type);
	return 0;
}

static int parse_index(
	struct arena *a, const struct json *root, struct oci_manifest *ret, struct err *err)
{
	const struct json *manifests = NULL;
	int r = json_get_array(root, "manifests", &manifests, err);

	if (r == 0)
		r = parse_descriptors(a, manifests, MAX_MANIFESTS, &ret->manifests, err);
	if (r == 0)
		ret->manifest_count = json_count(manifests);
	return r;
}

static int parse_document(struct arena *a, struct str text, struct str content_type,
	struct oci_manifest *ret, struct err *err)
{
	const struct json *root = NULL;
	uint64_t version = 0;
	int r = json_parse(a, text, MANIFEST_MAX_BYTES, &root, err);

	if (r == 0)
		r = json_get_u64(root, "schemaVersion", &version, err);
	if (r < 0)
		return r;
	if (version == 1)
		return refuse_schema1(err);
	if (version != 2)
		return err_set(
			err, ERR_INPUT, "schemaVersion %llu is not 2", (unsigned long long)version);
	r = find_kind(root, content_type, ret, err);
	if (r < 0)
		return r;
	return ret->media == OCI_MEDIA_INDEX ? parse_index(a, root, ret, err)
					     : parse_image(a, root, ret, err);
}

int oci_manifest_parse(struct arena *a, struct str json, struct str content_type,
	struct oci_manifest *ret, struct err *err)
{
	struct oci_manifest manifest = {0};
	/* Parameters as in "…; charset=utf-8" say nothing here. */
	struct str type = str_trim(str_slice(content_type, 0, str_find(content_type, ';')));
	int r = parse_document(a, json, type, &manifest, err);

	if (r < 0)
		return err_wrap(err, "image manifest");
	*ret = manifest;
	return 0;
}
