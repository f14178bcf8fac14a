/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/oci.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void accepts(void **state)
{
	static const struct {
		const char *in, *registry, *repository, *tag, *text, *short_text;
	} rows[] = {
		{"python", "docker.io", "library/python", "latest",
			"docker.io/library/python:latest", "python:latest"},
		{"python:3.13-slim", "docker.io", "library/python", "3.13-slim",
			"docker.io/library/python:3.13-slim", "python:3.13-slim"},
		{"library/python", "docker.io", "library/python", "latest",
			"docker.io/library/python:latest", "python:latest"},
		{"docker.io/python:a", "docker.io", "library/python", "a",
			"docker.io/library/python:a", "python:a"},
		{"index.docker.io/me/app", "docker.io", "me/app", "latest",
			"docker.io/me/app:latest", "me/app:latest"},
		{"ghcr.io/astral-sh/uv:0.11.18", "ghcr.io", "astral-sh/uv", "0.11.18",
			"ghcr.io/astral-sh/uv:0.11.18", "ghcr.io/astral-sh/uv:0.11.18"},
		{"localhost/x", "localhost", "x", "latest", "localhost/x:latest",
			"localhost/x:latest"},
		{"127.0.0.1:5000/a/b:v1", "127.0.0.1:5000", "a/b", "v1", "127.0.0.1:5000/a/b:v1",
			"127.0.0.1:5000/a/b:v1"},
		{"[::1]:5000/a", "[::1]:5000", "a", "latest", "[::1]:5000/a:latest",
			"[::1]:5000/a:latest"},
		{"Registry.LAN/a", "registry.lan", "a", "latest", "registry.lan/a:latest",
			"registry.lan/a:latest"},
		{"a__b/c---d.e_f", "docker.io", "a__b/c---d.e_f", "latest",
			"docker.io/a__b/c---d.e_f:latest", "a__b/c---d.e_f:latest"},
		{"x@sha256:" HEX, "docker.io", "library/x", NULL, "docker.io/library/x@sha256:" HEX,
			"x@sha256:" HEX},
		{"x:v@sha256:" HEX, "docker.io", "library/x", "v",
			"docker.io/library/x:v@sha256:" HEX, "x:v@sha256:" HEX},
		{"x:_A.b-C", "docker.io", "library/x", "_A.b-C", "docker.io/library/x:_A.b-C",
			"x:_A.b-C"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_reference ref = {0};
		struct err err = {0};
		if (oci_reference_parse(&arena, str_of(rows[i].in), &ref, &err) < 0)
			fail_msg("%s", err.text);
		assert_string_equal(ref.registry, rows[i].registry);
		assert_string_equal(ref.repository, rows[i].repository);
		if (rows[i].tag)
			assert_string_equal(ref.tag, rows[i].tag);
		else
			assert_null(ref.tag);
		assert_string_equal(ref.text, rows[i].text);
		assert_string_equal(ref.short_text, rows[i].short_text);
		assert_int_equal(ref.has_digest, strstr(rows[i].in, "@") != NULL);
	}
}

static void refuses(void **state)
{
	static const struct {
		struct str in;
		const char *error;
	} rows[] = {
		{STR(""), "image name \"\": there is no name"},
		{STR(":tag"), "image name \":tag\": there is no name"},
		{STR("Python"), "image name \"Python\": repository Python must be in lower case"},
		{STR("me/App"), "image name \"me/App\": repository me/App must be in lower case"},
		{STR("Host/a"), "image name \"Host/a\": repository Host/a must be in lower case"},
		{STR("a/../b"),
			"image name \"a/../b\": repository \"a/../b\" is not made of a-z, 0-9 and "
			"single separators . _ - /"},
		{STR("a//b"), NULL},
		{STR("/a"), NULL},
		{STR("a/"), NULL},
		{STR("-a"), NULL},
		{STR("a-"), NULL},
		{STR("a..b/c"), NULL},
		{STR("a___b"), NULL},
		{STR("a b"), NULL},
		{STR("a\0b"), NULL},
		{STR("a\nb"), NULL},
		{STR("a:"), "image name \"a:\": tag \"\" is not 1 to 128 letters, digits, _ . -"},
		{STR("a:.b"), NULL},
		{STR("a:b/c"), NULL},
		{STR("a:b c"), NULL},
		{STR("host:port/a"), "image name \"host:port/a\": host:port is not a registry's "
				     "host[:port]"},
		{STR("host:123456/a"), NULL},
		{STR("-host.de/a"), NULL},
		{STR("a.b.:80/c"), NULL},
		{STR("[::1/a"), NULL},
		{STR("a@sha256:12"), "image name \"a@sha256:12\": digest sha256:12 is not sha256: "
				     "and 64 lower case hex digits"},
		{STR("a@sha512:" HEX HEX), NULL},
		{STR("a@"), NULL},
		{STR(HEX), "image name \"" HEX "\": 64 hex digits are an image id, not a name"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_reference ref = {.registry = "untouched"};
		struct err err = {0};
		int r = oci_reference_parse(&arena, rows[i].in, &ref, &err);
		if (r != -ERR_INPUT)
			fail_msg("row %zu was accepted as %s", i, ref.text);
		assert_string_equal(ref.registry, "untouched");
		if (rows[i].error)
			assert_string_equal(err.text, rows[i].error);
	}
}

static void length_is_limited(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_reference ref;
	struct err err;
	char name[300];

	(void)state;
	memset(name, 'a', sizeof(name));
	/* docker.io/library/ takes 18 of the 255. */
	assert_int_equal(oci_reference_parse(&arena, str_from(name, 237), &ref, &err), 0);
	assert_int_equal(oci_reference_parse(&arena, str_from(name, 238), &ref, &err), -ERR_INPUT);
	name[1] = ':';
	assert_int_equal(oci_reference_parse(&arena, str_from(name, 130), &ref, &err), 0);
	assert_int_equal(oci_reference_parse(&arena, str_from(name, 131), &ref, &err), -ERR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(length_is_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
