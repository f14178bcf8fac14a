/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "image/challenge.h"

static void parse(void **state)
{
	static const struct {
		const char *header;
		enum challenge_scheme scheme;
		const char *realm, *service, *error;
	} rows[] = {
		{"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
		 "scope=\"repository:library/python:pull\"",
			CHALLENGE_BEARER, "https://auth.docker.io/token", "registry.docker.io", ""},
		{"bearer realm = \"https://x\" , error=invalid_token", CHALLENGE_BEARER,
			"https://x", "", "invalid_token"},
		{"Basic realm=\"Registry \\\"R\\\"\"", CHALLENGE_BASIC, "Registry \"R\"", "", ""},
		{"Basic realm=\"a\", Bearer realm=\"https://b\",service=s", CHALLENGE_BEARER,
			"https://b", "s", ""},
		{"Bearer realm=\"https://b\", Basic realm=\"a\"", CHALLENGE_BEARER, "https://b", "",
			""},
		{"Negotiate YII=, Basic realm=a", CHALLENGE_BASIC, "a", "", ""},
		{"Basic", CHALLENGE_BASIC, "", "", ""},
		{"Bearer", CHALLENGE_NONE, "", "", ""},
		{"Bearer service=\"s\"", CHALLENGE_NONE, "", "", ""},
		{"Digest realm=\"x\"", CHALLENGE_NONE, "", "", ""},
		{"", CHALLENGE_NONE, "", "", ""},
		{"Bearer realm=\"unterminated", CHALLENGE_BEARER, "unterminated", "", ""},
		{"Bearer realm=\"x\\", CHALLENGE_BEARER, "x\\", "", ""},
		{"=,;=\"", CHALLENGE_NONE, "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct challenge c = {0};
		challenge_parse(&arena, str_of(rows[i].header), &c);
		assert_int_equal(c.scheme, rows[i].scheme);
		assert_string_equal(c.realm, rows[i].realm);
		assert_string_equal(c.service, rows[i].service);
		assert_string_equal(c.error, rows[i].error);
	}
}

static void several_headers(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct challenge c = {0};

	(void)state;
	challenge_parse(&arena, STR("Bearer realm=\"https://a\""), &c);
	challenge_parse(&arena, STR("Basic realm=\"b\""), &c);
	assert_int_equal(c.scheme, CHALLENGE_BEARER);
	assert_string_equal(c.realm, "https://a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse),
		cmocka_unit_test(several_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
