/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"

/* The error, or "" when the frontend is built in. */
static void check_syntax(const char *text, const char *given, const char *expected)
{
	cleanup(arena_done) struct arena a = {0};
	struct source source = {"Dockerfile", str_of(text)};
	struct err err = {0};

	int failed = dockerfile_check_syntax(&a, &source, str_of(given), &err);
	assert_int_equal(failed, *expected ? -ERR_INPUT : 0);
	assert_string_equal(err.text, expected);
}

static void a_frontend_is_named_in_other_ways(void **state)
{
	(void)state;
	check_syntax("//syntax=evil/x\nwhatever", NULL,
		"Dockerfile:1:10: the frontend evil/x cannot be run: only docker/dockerfile is "
		"built in");
	check_syntax("#!/usr/bin/env x\n// escape=`\n// syntax = evil/x:1 more\n", NULL,
		"Dockerfile:3:13: the frontend evil/x:1 cannot be run: only docker/dockerfile is "
		"built in");
	check_syntax("// syntax=docker/dockerfile:1\n", NULL, "");
	check_syntax("// a comment\n// syntax=evil/x\n", NULL, "");
	check_syntax("# syntax=docker/dockerfile\n// syntax=evil/x\n", NULL, "");
	check_syntax("{\"syntax\": \"evil/x\", \"a\": [1]}", NULL,
		"Dockerfile:1:1: the frontend evil/x cannot be run: only docker/dockerfile is "
		"built in");
	check_syntax("\n {\"syntax\": 1}", NULL, "");
	check_syntax("{\"syntax\": \"evil/x\", ", NULL, "");
	check_syntax("FROM a", "evil/x:2",
		"BUILDKIT_SYNTAX: the frontend evil/x:2 cannot be run: only docker/dockerfile is "
		"built in");
	check_syntax("# syntax=evil/x\nFROM a", "docker/dockerfile:1.7-labs", "");
	check_syntax("# syntax=evil/x\nFROM a", "dockerfile.v0", "");
	check_syntax("# syntax=docker/dockerfile-other\nFROM a", NULL,
		"Dockerfile:1:10: the frontend docker/dockerfile-other cannot be run: only "
		"docker/dockerfile is built in");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frontend_is_named_in_other_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
