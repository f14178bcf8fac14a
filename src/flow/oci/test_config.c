/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/oci.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* As docker writes it, cut down. */
static const char python[] =
	"{\"architecture\":\"amd64\",\"config\":{\"Hostname\":\"\",\"User\":\"\","
	"\"AttachStdin\":false,\"Env\":[\"PATH=/usr/local/bin:/usr/bin\",\"LANG=C.UTF-8\"],"
	"\"Cmd\":[\"python3\"],\"Image\":\"\",\"Volumes\":null,\"WorkingDir\":\"\","
	"\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":null},"
	"\"created\":\"2026-05-01T00:00:00Z\",\"docker_version\":\"\","
	"\"history\":[{\"created\":\"2026-05-01T00:00:00Z\",\"created_by\":\"ADD file\"},"
	"{\"created_by\":\"CMD [\\\"python3\\\"]\",\"empty_layer\":true}],"
	"\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}}";

static void parse(struct arena *a, const char *json, struct oci_config *ret)
{
	struct err err = {0};

	if (oci_config_parse(a, str_of(json), ret, &err) < 0)
		fail_msg("%s", err.text);
}

static void dockers_is_read(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_config c;

	(void)state;
	parse(&arena, python, &c);
	assert_string_equal(c.platform.architecture, "amd64");
	assert_string_equal(c.platform.variant, "");
	assert_int_equal(c.env.count, 2);
	assert_string_equal(c.env.items[1], "LANG=C.UTF-8");
	assert_null(c.env.items[2]);
	assert_int_equal(c.cmd.count, 1);
	assert_null(c.entrypoint.items);
	assert_string_equal(c.user, "");
	assert_int_equal(c.diff_ids.count, 1);
	assert_int_equal(c.history_count, 2);
	assert_string_equal(c.history[0].created_by, "ADD file");
	assert_true(c.history[1].empty_layer);
	assert_null(c.healthcheck.test);
}

static void everything_is_printed_in_order(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf out = {0};
	struct oci_config c;

	(void)state;
	parse(&arena,
		"{\"config\":{\"Shell\":[\"/bin/bash\",\"-c\"],\"StopSignal\":\"SIGINT\","
		"\"Labels\":{\"b\":\"2\",\"a\":\"1\"},\"OnBuild\":[\"RUN x\"],\"Entrypoint\":[],"
		"\"WorkingDir\":\"/app\",\"Volumes\":{\"/v\":{},\"/data\":{}},"
		"\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":30000000000,"
		"\"Retries\":3},\"Cmd\":[\"x\"],\"ArgsEscaped\":true,\"Env\":[\"A=1\"],"
		"\"ExposedPorts\":{\"80/tcp\":{},\"7860/tcp\":{}},\"User\":\"user\"},"
		"\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\","
		"\"author\":\"me\",\"created\":\"2026-01-01T00:00:00Z\","
		"\"history\":[{\"comment\":\"c\",\"created_by\":\"b\",\"author\":\"a\","
		"\"created\":\"d\"}],\"rootfs\":{\"diff_ids\":[\"sha256:" HEX "\"],"
		"\"type\":\"layers\"}}",
		&c);
	oci_config_print(&c, &out);
	assert_string_equal(buf_text(&out),
		"{\"created\":\"2026-01-01T00:00:00Z\",\"author\":\"me\","
		"\"architecture\":\"arm64\",\"variant\":\"v8\",\"os\":\"linux\","
		"\"config\":{\"User\":\"user\",\"ExposedPorts\":{\"7860/tcp\":{},\"80/tcp\":{}},"
		"\"Env\":[\"A=1\"],\"Cmd\":[\"x\"],\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],"
		"\"Interval\":30000000000,\"Retries\":3},\"ArgsEscaped\":true,"
		"\"Volumes\":{\"/data\":{},\"/v\":{}},\"WorkingDir\":\"/app\","
		"\"Entrypoint\":[],\"OnBuild\":[\"RUN x\"],\"Labels\":{\"a\":\"1\",\"b\":\"2\"},"
		"\"StopSignal\":\"SIGINT\",\"Shell\":[\"/bin/bash\",\"-c\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]},"
		"\"history\":[{\"created\":\"d\",\"author\":\"a\",\"created_by\":\"b\","
		"\"comment\":\"c\"}]}");
}

static void lists_of_a_parsed_config_grow(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct oci_config c;

	(void)state;
	parse(&arena, "{\"config\":{\"Entrypoint\":[],\"Env\":[\"A=1\"]}}", &c);
	for (int i = 0; i < 40; i++) {
		oci_list_add(&arena, &c.entrypoint, STR("x"));
		oci_list_set_env(&arena, &c.env, str_of(arena_printf(&arena, "N%d", i)), STR("v"));
	}
	assert_int_equal(c.entrypoint.count, 40);
	assert_int_equal(c.env.count, 41);
	assert_string_equal(oci_list_env(&c.env, STR("A")), "1");
	assert_string_equal(oci_list_env(&c.env, STR("N39")), "v");
}

static void smallest_is_complete(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf out = {0};
	struct oci_config c;

	(void)state;
	parse(&arena, "{}", &c);
	oci_config_print(&c, &out);
	assert_string_equal(buf_text(&out), "{\"architecture\":\"\",\"os\":\"\",\"config\":{},"
					    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
	buf_clear(&out);
	oci_config_print(&(struct oci_config){0}, &out);
	assert_string_equal(buf_text(&out), "{\"architecture\":\"\",\"os\":\"\",\"config\":{},"
					    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
}

static void refuses(void **state)
{
	static const struct {
		const char *json, *error;
	} rows[] = {
		{"[]", "image configuration: the document: expected an object, found an array"},
		{"{\"config\":[]}",
			"image configuration: config: expected an object, found an array"},
		{"{\"config\":{\"Env\":\"A=1\"}}",
			"image configuration: config.Env: expected an array, found a string"},
		{"{\"config\":{\"Env\":[\"A=1\",2]}}",
			"image configuration: config.Env[1]: expected a string, found an integer"},
		{"{\"config\":{\"Labels\":{\"a\":1}}}",
			"image configuration: config.Labels.a: expected a string, found an integer"},
		{"{\"rootfs\":{\"type\":\"snapshots\"}}",
			"image configuration: rootfs.type: snapshots is not \"layers\""},
		{"{\"rootfs\":{\"diff_ids\":[\"../x\"]}}",
			"image configuration: rootfs.diff_ids[0]: ../x is not sha256: and 64 lower "
			"case hex digits"},
		{"{\"config\":{\"Healthcheck\":{\"Retries\":-1}}}",
			"image configuration: config.Healthcheck.Retries: -1 is negative"},
		{"{\"history\":{}}",
			"image configuration: history: expected an array, found an object"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct oci_config c;
		struct err err = {0};
		if (oci_config_parse(&arena, str_of(rows[i].json), &c, &err) != -ERR_INPUT)
			fail_msg("row %zu was accepted", i);
		assert_string_equal(err.text, rows[i].error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dockers_is_read),
		cmocka_unit_test(everything_is_printed_in_order),
		cmocka_unit_test(lists_of_a_parsed_config_grow),
		cmocka_unit_test(smallest_is_complete),
		cmocka_unit_test(refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
