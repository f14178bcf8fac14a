/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/oci.h"

#define HEX	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OCI	 "application/vnd.oci.image."
#define DOCKER	 "application/vnd.docker."
#define MANIFEST OCI "manifest.v1+json"
#define INDEX	 OCI "index.v1+json"
#define DESC(type, size) \
	"{\"mediaType\":\"" type "\",\"size\":" size ",\"digest\":\"sha256:" HEX "\"}"
#define CONFIG DESC(OCI "config.v1+json", "10")
#define LAYERS "[" DESC(OCI "layer.v1.tar+gzip", "20") "," DESC(OCI "layer.v1.tar+zstd", "30") "]"
#define BODY   "\"config\":" CONFIG ",\"layers\":" LAYERS "}"

static void manifest_is_read(void **state)
{
	static const struct {
		const char *content_type, *json;
	} rows[] = {
		{MANIFEST, "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\"," BODY},
		{MANIFEST "; charset=utf-8",
			"{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\"," BODY},
		{MANIFEST, "{\"schemaVersion\":2," BODY},
		{"", "{\"schemaVersion\":2," BODY},
		{"application/octet-stream",
			"{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\"," BODY},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_manifest m = {0};
		struct err err = {0};
		if (oci_manifest_parse(&arena, str_of(rows[i].json), str_of(rows[i].content_type),
			    &m, &err) < 0)
			fail_msg("row %zu: %s", i, err.text);
		assert_int_equal(m.media, OCI_MEDIA_MANIFEST);
		assert_int_equal(m.config.size, 10);
		assert_int_equal(m.layer_count, 2);
		assert_int_equal(m.layers[0].media, OCI_MEDIA_LAYER_GZIP);
		assert_int_equal(m.layers[1].media, OCI_MEDIA_LAYER_ZSTD);
		assert_int_equal(m.layers[1].size, 30);
		assert_int_equal(m.layers[1].digest.bytes[1], 0x23);
	}
}

static void index_is_read(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_manifest m = {0};
	struct err err = {0};
	const char *json =
		"{\"schemaVersion\":2,\"mediaType\":\"" DOCKER
		"distribution.manifest.list.v2+json\",\"manifests\":[{\"mediaType\":\"" DOCKER
		"distribution.manifest.v2+json\",\"size\":5,\"digest\":\"sha256:" HEX
		"\",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm\","
		"\"variant\":\"v7\"}}]}";

	(void)state;
	assert_int_equal(oci_manifest_parse(&arena, str_of(json),
				 STR(DOCKER "distribution.manifest.list.v2+json"), &m, &err),
		0);
	assert_int_equal(m.media, OCI_MEDIA_INDEX);
	assert_int_equal(m.manifest_count, 1);
	assert_int_equal(m.manifests[0].media, OCI_MEDIA_MANIFEST);
	assert_string_equal(m.manifests[0].platform.variant, "v7");
}

static const struct {
	const char *content_type, *json, *error;
} refused[] = {
	{MANIFEST, "", "image manifest: JSON line "},
	{MANIFEST, "[]", "image manifest: the document: expected an object, found an array"},
	{MANIFEST, "{\"schemaVersion\":1,\"fsLayers\":[]}",
		"image manifest: image manifest schema 1 is not supported"},
	{DOCKER "distribution.manifest.v1+prettyjws", "{\"schemaVersion\":2," BODY,
		"image manifest: image manifest schema 1 is not supported"},
	{MANIFEST, "{\"schemaVersion\":3," BODY, "image manifest: schemaVersion 3 is not 2"},
	{MANIFEST, "{" BODY, "image manifest: schemaVersion is missing"},
	/* One document, two readings (CVE-2021-41190). */
	{MANIFEST, "{\"schemaVersion\":2,\"manifests\":[]," BODY,
		"image manifest: the document is an index and a manifest at once"},
	{INDEX, "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\"," BODY,
		"image manifest: media type " INDEX
		" was announced, but the document calls itself " MANIFEST},
	{INDEX, "{\"schemaVersion\":2," BODY,
		"image manifest: the document has the fields of an image manifest, but is " INDEX},
	{"", "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST "\",\"manifests\":[]}",
		"image manifest: the document has the fields of an index, but is " MANIFEST},
	{"text/html", "{\"schemaVersion\":2," BODY,
		"image manifest: the document has the fields of an image manifest, but is "
		"text/html"},
	{MANIFEST, "{\"schemaVersion\":2}",
		"image manifest: the document is neither an index nor a manifest"},
	{MANIFEST, "{\"schemaVersion\":2,\"layers\":[]}", "image manifest: config is missing"},
	{MANIFEST,
		"{\"schemaVersion\":2,\"config\":" DESC(
			"application/vnd.cncf.helm.config.v1+json", "1") ",\"layers\":[]}",
		"image manifest: this is no container image: its configuration is of type "
		"application/vnd.cncf.helm.config.v1+json"},
	{MANIFEST,
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[" DESC("application/vnd.in-toto+json", "1") "]}",
		"image manifest: layers[0]: unknown layer type application/vnd.in-toto+json"},
	{MANIFEST,
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"mediaType\":\"" OCI
		"layer.v1.tar\",\"size\":1,\"digest\":\"../../etc/passwd\"}]}",
		"image manifest: layers[0].digest: ../../etc/passwd is not sha256: and 64 "
		"lower case hex digits"},
	{MANIFEST,
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[" DESC(OCI "layer.v1.tar", "-1") "]}",
		"image manifest: layers[0].size: -1 is negative"},
	{MANIFEST,
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[" DESC(OCI "layer.v1.tar", "1e3") "]}",
		"image manifest: layers[0].size: expected an integer, found a number with a "
		"fraction"},
};

static void refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(refused); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_manifest m = {0};
		struct err err = {0};
		int r = oci_manifest_parse(
			&arena, str_of(refused[i].json), str_of(refused[i].content_type), &m, &err);
		if (r != -ERR_INPUT)
			fail_msg("row %zu was accepted", i);
		err.text[strlen(refused[i].error)] = '\0';
		assert_string_equal(err.text, refused[i].error);
	}
}

static void counts_are_limited(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf text = {0};
	struct oci_manifest m;
	struct err err = {0};

	(void)state;
	buf_add_text(&text, "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[");
	for (int i = 0; i < 513; i++)
		buf_printf(&text, "%s%s", i ? "," : "", DESC(OCI "layer.v1.tar", "1"));
	buf_add_text(&text, "]}");
	assert_int_equal(oci_manifest_parse(&arena, buf_str(&text), STR(""), &m, &err), -ERR_INPUT);
	assert_string_equal(err.text, "image manifest: layers: 513 entries are more than 512");
	buf_clear(&text);
	while (text.len <= 4 << 20)
		buf_add_text(&text, "                                                            ");
	assert_int_equal(oci_manifest_parse(&arena, buf_str(&text), STR(""), &m, &err), -ERR_LIMIT);
}

static void what_is_printed_is_read(void **state)
{
	static const char docker[] =
		"{\"schemaVersion\":2,\"config\":" DESC(DOCKER "container.image.v1+json",
			"10") ",\"layers\":[" DESC(DOCKER "image.rootfs.diff.tar.gzip", "20") "]}";
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf text = {0}, again = {0};
	struct oci_manifest m = {0}, back = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(oci_manifest_parse(&arena, str_of(docker),
				 STR(DOCKER "distribution.manifest.v2+json"), &m, &err),
		0);
	oci_manifest_print(&m, &text);
	assert_string_equal(buf_text(&text),
		"{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST
		"\",\"config\":{\"mediaType\":\"" OCI "config.v1+json\",\"digest\":\"sha256:" HEX
		"\",\"size\":10},\"layers\":["
		"{\"mediaType\":\"" OCI "layer.v1.tar+gzip\",\"digest\":\"sha256:" HEX
		"\",\"size\":20}]}");
	assert_int_equal(oci_manifest_parse(&arena, buf_str(&text), STR(MANIFEST), &back, &err), 0);
	oci_manifest_print(&back, &again);
	assert_string_equal(buf_text(&text), buf_text(&again));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manifest_is_read),
		cmocka_unit_test(index_is_read),
		cmocka_unit_test(refuses),
		cmocka_unit_test(counts_are_limited),
		cmocka_unit_test(what_is_printed_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
