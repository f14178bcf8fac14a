/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/oci.h"

static struct oci_platform platform(struct arena *a, const char *text)
{
	struct oci_platform ret = {0};
	struct err err = {0};

	if (oci_platform_parse(a, str_of(text), &ret, &err) < 0)
		fail_msg("%s", err.text);
	return ret;
}

static void parse(void **state)
{
	static const char *const bad[] = {
		"", "linux", "linux/", "/amd64", "linux/amd64/", "linux/arm64/v8/x", "Linux/amd64"};
	cleanup(arena_done) struct arena arena = {0};
	struct oci_platform p = platform(&arena, "linux/arm64/v8");

	(void)state;
	assert_string_equal(p.os, "linux");
	assert_string_equal(p.architecture, "arm64");
	assert_string_equal(p.variant, "v8");
	assert_string_equal(platform(&arena, "linux/amd64").variant, "");
	for (size_t i = 0; i < array_size(bad); i++) {
		struct err err = {0};
		assert_int_equal(oci_platform_parse(&arena, str_of(bad[i]), &p, &err), -ERR_INPUT);
		assert_non_null(strstr(err.text, "is not os/architecture[/variant]"));
	}
}

static void host_is_linux(void **state)
{
	struct oci_platform host = oci_platform_host();

	(void)state;
	assert_string_equal(host.os, "linux");
	assert_string_not_equal(host.architecture, "unknown");
}

static void matches(void **state)
{
	static const struct {
		const char *wanted, *offered;
		bool matches;
	} rows[] = {
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "windows/amd64", false},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "linux/amd64/v1", true},
		{"linux/amd64", "linux/amd64/v3", false},
		{"linux/amd64/v3", "linux/amd64", true},
		{"linux/amd64/v3", "linux/amd64/v2", true},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm64", "linux/arm64/v9", false},
		{"linux/arm/v7", "linux/arm/v6", true},
		{"linux/arm/v6", "linux/arm/v7", false},
		{"linux/arm/v7", "linux/arm", true},
		{"linux/riscv64", "linux/riscv64", true},
		{"linux/amd64", "unknown/unknown", false},
		{"linux/mips64le/softfloat", "linux/mips64le/softfloat", true},
		{"linux/mips64le/softfloat", "linux/mips64le/hardfloat", false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_platform wanted = platform(&arena, rows[i].wanted);
		struct oci_platform offered = platform(&arena, rows[i].offered);
		if (oci_platform_matches(&wanted, &offered) != rows[i].matches)
			fail_msg("%s and %s", rows[i].wanted, rows[i].offered);
	}
}

static int selected(const char *const *offers, const char *wanted_text)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_descriptor entries[8] = {0};
	struct oci_manifest index = {.media = OCI_MEDIA_INDEX, .manifests = entries};
	struct oci_platform wanted = platform(&arena, wanted_text);

	for (; offers[index.manifest_count]; index.manifest_count++) {
		struct oci_descriptor *entry = &entries[index.manifest_count];
		const char *offer = offers[index.manifest_count];
		entry->media = strcmp(offer, "nested") == 0 ? OCI_MEDIA_INDEX : OCI_MEDIA_MANIFEST;
		entry->platform = (struct oci_platform){"", "", ""};
		if (strchr(offer, '/'))
			entry->platform = platform(&arena, offer);
	}
	const struct oci_descriptor *found = oci_manifest_select(&index, &wanted);
	return found ? (int)(found - entries) : -1;
}

#define OFFERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void select_takes_the_best(void **state)
{
	(void)state;
	assert_int_equal(
		selected(OFFERS("linux/arm64/v8", "linux/amd64", "unknown/unknown"), "linux/amd64"),
		1);
	assert_int_equal(selected(OFFERS("linux/arm64", "unknown/unknown"), "linux/amd64"), -1);
	assert_int_equal(
		selected(OFFERS("linux/arm/v5", "linux/arm/v7", "linux/arm/v6"), "linux/arm/v7"),
		1);
	assert_int_equal(
		selected(OFFERS("linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64"),
			"linux/amd64/v2"),
		1);
	assert_int_equal(selected(OFFERS("linux/amd64", "linux/amd64"), "linux/amd64"), 0);
	assert_int_equal(selected(OFFERS("none"), "linux/amd64"), 0);
	assert_int_equal(selected(OFFERS("nested", "none"), "linux/amd64"), 1);
	assert_int_equal(selected(OFFERS("nested"), "linux/amd64"), -1);
	assert_int_equal(selected(OFFERS("none", "none"), "linux/amd64"), -1);
	assert_int_equal(selected(OFFERS("none", "unknown/unknown"), "linux/amd64"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse),
		cmocka_unit_test(host_is_linux),
		cmocka_unit_test(matches),
		cmocka_unit_test(select_takes_the_best),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
