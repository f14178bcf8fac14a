/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "image/test_fixture.h"
#include "os/file.h"

/* ---- Who we are ---- */

static const char *credentials(const char *key, const char *entry)
{
	struct err err = {0};
	const char *file = arena_printf(&arena, "%s/config.json", path);
	const char *text = arena_printf(&arena, "{\"auths\":{\"%s\":{%s}}}", key, entry);

	assert_int_equal(file_replace(AT_FDCWD, file, str_of(text), 0600, &err), 0);
	return file;
}

static const char *own_key(void)
{
	return arena_printf(&arena, "127.0.0.1:%d", fake.server.port);
}

#define ME "\"auth\":\"bWU6c2VjcmV0\""

static void token_is_asked_for(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_TOKEN);
	source.credentials = credentials(own_key(), ME);
	good(fake.reference);
	/* Once: for both manifests, the configuration and all layers. */
	assert_int_equal(fake.state->tokens, 1);
	/* For what we want to do, not for what the server suggests. */
	assert_string_equal(fake.state->last_scope,
		"/token?scope=repository%3Ateam%2Fapp%3Apull&service=the%20service");
}

static void expired_token_is_renewed(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_TOKEN_EXPIRES);
	source.credentials = credentials(own_key(), ME);
	good(fake.reference);
	assert_true(fake.state->tokens >= 2);
}

static void identity_token_is_traded_in(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_TOKEN);
	source.credentials = credentials(own_key(), "\"identitytoken\":\"refresh\"");
	good(fake.reference);
	assert_string_equal(fake.state->last_form,
		"grant_type=refresh_token&client_id=spaceport&refresh_token=refresh"
		"&scope=repository%3Ateam%2Fapp%3Apull&service=the%20service");
}

static void basic_login(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_BASIC);
	source.credentials = credentials(own_key(), ME);
	good(fake.reference);
	assert_int_equal(fake.state->tokens, 0);
}

static void strangers_are_refused(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_TOKEN);
	assert_fails(fake.reference, ERR_DENIED, "access without a login was refused");
	source.credentials = credentials(own_key(), "\"auth\":\"eW91OnBhc3M6d29yZA==\"");
	assert_fails(fake.reference, ERR_DENIED, "the credentials for it were refused");
	assert_hint(fake.reference, "docker login 127.0.0.1:");
	fake_reset(&fake, FAKE_BASIC);
	source.credentials = credentials("elsewhere", ME);
	assert_fails(fake.reference, ERR_DENIED, "a login is wanted");
}

static void redirects_lose_authorization(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_REDIRECT);
	good(fake.reference);
	assert_true(fake.state->blobs > 3);
	assert_string_equal(fake.state->leaked, "");
}

/* ---- Mirrors ---- */

static void mirrors_come_first(void **state)
{
	const char *const mirrors[] = {
		"http://127.0.0.1:1", arena_printf(&arena, "%s/v2/proxy/", fake.server.url)};
	struct image_registry registry = {"ghcr.io", mirrors, 2, false};
	struct image_record found;
	struct err err = {0};

	(void)state;
	source.registries = &registry;
	source.registry_count = 1;
	good("ghcr.io/team/app:v1");
	assert_int_equal(image_find(store, &arena, STR("ghcr.io/team/app:v1"), &found, &err), 0);
}

static void origin_is_asked_after_mirrors(void **state)
{
	const char *const mirrors[] = {
		"http://127.0.0.1:1", arena_printf(&arena, "%s/nothing/here", fake.server.url)};
	const char *name = own_key();
	struct image_registry registry = {name, mirrors, 2, false};

	(void)state;
	source.registries = &registry;
	source.registry_count = 1;
	good(fake.reference);
}

static void all_places_are_named(void **state)
{
	const char *const mirrors[] = {"http://127.0.0.1:1", "http://127.0.0.1:2/x"};
	struct image_registry registry = {own_key(), mirrors, 2, false};
	struct image_record record;
	struct err err;

	(void)state;
	source.registries = &registry;
	source.registry_count = 1;
	fake_reset(&fake, FAKE_NOT_FOUND);
	assert_int_equal(pull(fake.reference, &record, &err), -ERR_MISSING);
	assert_non_null(strstr(err.text, "http://127.0.0.1:1/v2/team/app/manifests/v1: "));
	assert_non_null(strstr(err.text, "; http://127.0.0.1:2/v2/x/team/app/manifests/v1: "));
	assert_non_null(strstr(err.text, "/team/app/manifests/v1: not found (manifest unknown)"));
	/* It was plain HTTP that it spoke; that TLS got no answer is no news. */
	assert_null(strstr(err.text, "https://"));
}

static void odd_mirrors_are_refused(void **state)
{
	static const char *const odd[] = {
		"127.0.0.1:5000", "ftp://x", "http://", "http://me:pw@host", "https://h?x"};

	(void)state;
	for (size_t i = 0; i < array_size(odd); i++) {
		struct image_registry registry = {"ghcr.io", &odd[i], 1, false};
		source.registries = &registry;
		source.registry_count = 1;
		assert_fails("ghcr.io/team/app", ERR_INPUT, "mirror ");
	}
}

static void wrong_bytes_of_a_mirror_are_replaced(void **state)
{
	struct fake other;
	struct image_registry registry = {NULL, (const char *const[1]){NULL}, 1, false};
	const char *mirror;

	(void)state;
	fake_start(&other, false);
	other.state->mode = FAKE_WRONG_BYTES;
	mirror = other.server.url;
	registry.name = own_key();
	registry.mirrors = &mirror;
	source.registries = &registry;
	source.registry_count = 1;
	good(fake.reference);
	/* The mirror was believed for the rest. */
	assert_int_equal(fake.state->served[1], 1);
	assert_int_equal(fake.state->served[2], 0);
	fake_stop(&other);
}

static void a_place_that_never_answers_is_asked_once(void **state)
{
	struct image_record record;
	struct err err;
	const char *mirror = fake.server.url;
	struct image_registry registry = {"registry.invalid", &mirror, 1, false};

	(void)state;
	source.registries = &registry;
	source.registry_count = 1;
	fake_reset(&fake, FAKE_WRONG_BYTES);
	assert_true(pull("registry.invalid/team/app:v1", &record, &err) < 0);
	assert_non_null(strstr(err.text, "wrong digest"));
	assert_non_null(strstr(err.text, "; https://registry.invalid/"));
	assert_null(strstr(err.text, " tries"));
}

static void tls_with_own_authority(void **state)
{
	struct fake tls;
	struct err err = {0};
	const char *ca = arena_printf(&arena, "%s/ca.pem", path);

	(void)state;
	unsetenv("SSL_CERT_FILE");
	fake_start(&tls, true);
	assert_int_equal(file_replace(AT_FDCWD, ca, buf_str(&tls.server.ca_text), 0600, &err), 0);
	const char *mirror = tls.server.url;
	struct image_registry registry = {"ghcr.io", &mirror, 1, false};
	source.registries = &registry;
	source.registry_count = 1;
	/* Not "ghcr.io" afterwards: this test is about the mirror alone. */
	registry.name = "registry.invalid";
	assert_fails("registry.invalid/team/app:v1", ERR_NETWORK, "certificate");
	source.ca_bundle = ca;
	good("registry.invalid/team/app:v1");
	fake_stop(&tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(token_is_asked_for),
		test(expired_token_is_renewed),
		test(identity_token_is_traded_in),
		test(basic_login),
		test(strangers_are_refused),
		test(redirects_lose_authorization),
		test(mirrors_come_first),
		test(origin_is_asked_after_mirrors),
		test(all_places_are_named),
		test(odd_mirrors_are_refused),
		test(wrong_bytes_of_a_mirror_are_replaced),
		test(a_place_that_never_answers_is_asked_once),
		test(tls_with_own_authority),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
