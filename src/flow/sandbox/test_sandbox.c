/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sandbox/internal.h"
#include "json/json.h"

static void subid_lines_are_matched_by_name_or_number(void **state)
{
	static const struct {
		const char *line;
		bool matches;
	} rows[] = {
		{"alice:100000:65536", true},
		{"1000:100000:65536", true},
		{"bob:100000:65536", false},
		{"alice:100000", false},
		{"alice:x:65536", false},
		{"alice:4294967295:2", false},
		{"", false},
		{"alice", false},
	};
	uint32_t base, count;

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(
			subid_line(str_of(rows[i].line), STR("alice"), STR("1000"), &base, &count),
			rows[i].matches);
	assert_true(subid_line(STR("alice:7:9\r"), STR("alice"), STR("1"), &base, &count));
	assert_int_equal(base, 7);
	assert_int_equal(count, 9);
}

static void loopback_resolvers_are_replaced(void **state)
{
	static const struct {
		const char *host, *out;
		bool loopback_only;
	} rows[] = {
		{"nameserver 10.0.0.1\nsearch lan\n", "nameserver 10.0.0.1\nsearch lan\n", false},
		{"nameserver 127.0.0.53\noptions edns0\n", "options edns0\n", true},
		{"nameserver 127.0.0.1\nnameserver 9.9.9.9\n", "nameserver 9.9.9.9\n", false},
		{"", "", false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf out = {0};
		bool only = true;
		resolv_rewrite(str_of(rows[i].host), NULL, &out, &only);
		assert_string_equal(buf_text(&out), rows[i].out);
		assert_int_equal(only, rows[i].loopback_only);
	}
	cleanup(argv_done) struct argv servers = {0};
	cleanup(buf_done) struct buf out = {0};
	bool only;
	argv_add(&servers, "1.1.1.1");
	resolv_rewrite(STR("nameserver 127.0.0.53\nsearch x\n"), &servers, &out, &only);
	assert_string_equal(out.data, "nameserver 1.1.1.1\nsearch x\n");
	assert_false(only);
}

static const char profile[] =
	"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"syscalls\":["
	"{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"includes\":{},\"excludes\":{}},"
	"{\"names\":[\"chroot\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_CHROOT\"]}},"
	"{\"names\":[\"bpf\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
	"{\"names\":[\"s390\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"s390x\"]}}]}";

static void seccomp_conditions_are_decided(void **state)
{
	static const char *const chroot_cap[] = {"CAP_SYS_CHROOT"};
	cleanup(buf_done) struct buf with = {0};
	cleanup(buf_done) struct buf without = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(
		seccomp_translate(str_of(profile), chroot_cap, 1, "amd64", &with, &err), 0);
	assert_non_null(strstr(with.data, "\"chroot\""));
	assert_non_null(strstr(with.data, "\"bpf\""));
	assert_null(strstr(with.data, "s390"));
	assert_non_null(strstr(with.data, "SCMP_ARCH_X86_64"));
	assert_int_equal(seccomp_translate(str_of(profile), NULL, 0, "s390x", &without, &err), 0);
	assert_null(strstr(without.data, "\"chroot\""));
	assert_non_null(strstr(without.data, "\"s390\""));
	assert_true(seccomp_translate(STR("{}"), NULL, 0, "amd64", &with, &err) < 0);
}

static void a_space_gets_no_rights(void **state)
{
	cleanup(buf_done) struct buf out = {0};
	cleanup(arena_done) struct arena a = {0};
	struct sandbox_container c = {.id = "x",
		.rootfs = "/r",
		.hostname = "h",
		.cwd = "/",
		.rights = SANDBOX_SPACE,
		.uid = 1000,
		.gid = 1000};
	const struct json *doc;
	struct err err = {0};

	(void)state;
	argv_add(&c.args, "a\"b");
	spec_print(&c, STR(""), STR(""), &out);
	assert_int_equal(json_parse(&a, buf_str(&out), 1 << 20, &doc, &err), 0);
	const struct json *process = json_find(doc, "process");
	const struct json *caps = json_find(process, "capabilities");
	assert_int_equal(json_count(json_find(caps, "bounding")), 0);
	assert_int_equal(json_count(json_find(caps, "effective")), 0);
	bool locked = false;
	assert_int_equal(json_opt_bool(process, "noNewPrivileges", &locked, &err), 0);
	assert_true(locked);
	assert_string_equal(json_text(json_item(json_find(process, "args"), 0)), "a\"b");
	argv_done(&c.args);
}

static void an_insecure_step_gets_all_of_the_box(void **state)
{
	cleanup(buf_done) struct buf out = {0};
	cleanup(arena_done) struct arena a = {0};
	struct sandbox_container c = {.id = "x",
		.rootfs = "/r",
		.hostname = "h",
		.cwd = "/",
		.rights = SANDBOX_INSECURE,
		.reach = SANDBOX_REACH_HOST};
	enum { CAPS = 41, NAMESPACES = 4 };
	const struct json *doc;
	struct err err = {0};

	(void)state;
	spec_print(&c, STR(""), STR(""), &out);
	assert_int_equal(json_parse(&a, buf_str(&out), 1 << 20, &doc, &err), 0);
	const struct json *caps = json_find(json_find(doc, "process"), "capabilities");
	assert_int_equal(json_count(json_find(caps, "effective")), CAPS);
	const struct json *kernel = json_find(doc, "linux");
	assert_null(json_find(kernel, "seccomp"));
	assert_null(json_find(kernel, "maskedPaths"));
	assert_null(json_find(kernel, "readonlyPaths"));
	assert_int_equal(json_count(json_find(kernel, "namespaces")), NAMESPACES);
}

static void a_compiled_filter_is_an_annotation(void **state)
{
	cleanup(buf_done) struct buf out = {0};
	cleanup(arena_done) struct arena a = {0};
	struct sandbox_container c = {.id = "x", .rootfs = "/r", .hostname = "h", .cwd = "/"};
	const struct json *doc;
	struct err err = {0};

	(void)state;
	spec_print(&c, STR("{}"), STR("Zm9v"), &out);
	assert_int_equal(json_parse(&a, buf_str(&out), 1 << 20, &doc, &err), 0);
	const struct json *text =
		json_find(json_find(doc, "annotations"), "run.oci.seccomp_bpf_data");
	assert_string_equal(json_text(text), "Zm9v");
}

static void trust_is_set_only_where_absent(void **state)
{
	cleanup(argv_done) struct argv env = {0};
	const struct sandbox_host_trust trust = {.ca_bundle = "/x", .http_proxy = "http://p:1"};

	(void)state;
	argv_add(&env, "PIP_CERT=/mine");
	argv_add(&env, "http_proxy=");
	sandbox_trust_env(&trust, &env);
	assert_string_equal(argv_env(&env, "PIP_CERT"), "/mine");
	assert_string_equal(argv_env(&env, "http_proxy"), "");
	assert_string_equal(argv_env(&env, "HTTP_PROXY"), "http://p:1");
	assert_string_equal(argv_env(&env, "SSL_CERT_FILE"), "/dev/spaceport/ca-bundle.crt");
	assert_null(argv_env(&env, "HTTPS_PROXY"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subid_lines_are_matched_by_name_or_number),
		cmocka_unit_test(loopback_resolvers_are_replaced),
		cmocka_unit_test(seccomp_conditions_are_decided),
		cmocka_unit_test(a_space_gets_no_rights),
		cmocka_unit_test(an_insecure_step_gets_all_of_the_box),
		cmocka_unit_test(a_compiled_filter_is_an_annotation),
		cmocka_unit_test(trust_is_set_only_where_absent),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
