/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "image/credentials.h"
#include "os/dir.h"
#include "os/file.h"

static char dir[] = "/tmp/test_credentials.XXXXXX";
static char path[100];

static void write_file(const char *name, const char *text, mode_t mode)
{
	struct err err = {0};
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	if (file_replace(fd, name, str_of(text), mode, &err) < 0)
		fail_msg("%s", err.text);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/config.json", dir);
	cleanup(buf_done) struct buf search = {0};
	buf_printf(&search, "%s:%s", dir, getenv("PATH"));
	setenv("PATH", buf_text(&search), 1);
	/* Says what it was asked. */
	write_file("docker-credential-echo",
		"#!/bin/sh\necho chatter >&2\n"
		"echo '{\"ServerURL\":\"x\",\"Username\":\"'\"$1\"'\",\"Secret\":\"'\"$(cat)\"'\"}'\n",
		0755);
	write_file("docker-credential-token",
		"#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'\n", 0755);
	write_file("docker-credential-none",
		"#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n", 0755);
	write_file(
		"docker-credential-locked", "#!/bin/sh\necho 'keychain is locked'\nexit 1\n", 0755);
	write_file("docker-credential-odd", "#!/bin/sh\necho hello\n", 0755);
	return 0;
}

static int tear_down(void **state)
{
	struct err err = {0};

	(void)state;
	return dir_remove_tree(AT_FDCWD, dir, &err);
}

/* "me:secret" and "you:pass:word" */
#define ME  "bWU6c2VjcmV0"
#define YOU "eW91OnBhc3M6d29yZA=="

static void found(void **state)
{
	static const struct {
		const char *file, *registry, *repository;
		const char *user, *password, *token; /* user NULL: none found */
	} rows[] = {
		{"{}", "ghcr.io", "a/b", NULL, NULL, NULL},
		{"{\"auths\":{\"ghcr.io\":{\"auth\":\"" ME "\"}}}", "ghcr.io", "a/b", "me",
			"secret", ""},
		{"{\"auths\":{\"ghcr.io\":{\"auth\":\"" YOU "\"}}}", "ghcr.io", "a/b", "you",
			"pass:word", ""},
		{"{\"auths\":{\"https://ghcr.io/v2/\":{\"username\":\"u\",\"password\":\"p\"}}}",
			"ghcr.io", "a/b", "u", "p", ""},
		{"{\"auths\":{\"ghcr.io.evil\":{\"auth\":\"" ME "\"}}}", "ghcr.io", "a", NULL, NULL,
			NULL},
		{"{\"auths\":{\"ghcr.io:443\":{\"auth\":\"" ME "\"}}}", "ghcr.io", "a", NULL, NULL,
			NULL},
		{"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"" ME "\"}}}", "docker.io",
			"library/python", "me", "secret", ""},
		{"{\"auths\":{\"docker.io\":{\"auth\":\"" ME "\"}}}", "docker.io", "library/python",
			"me", "secret", ""},
		{"{\"auths\":{\"q.io\":{\"auth\":\"" ME "\"},\"q.io/org\":{\"auth\":\"" YOU "\"}}}",
			"q.io", "org/app", "you", "pass:word", ""},
		{"{\"auths\":{\"q.io\":{\"auth\":\"" ME "\"},\"q.io/org\":{\"auth\":\"" YOU "\"}}}",
			"q.io", "organic/app", "me", "secret", ""},
		{"{\"auths\":{\"q.io\":{\"identitytoken\":\"t\",\"auth\":\"" ME "\"}}}", "q.io",
			"x", "me", "secret", "t"},
		{"{\"auths\":{\"q.io\":{}}}", "q.io", "x", NULL, NULL, NULL},
		{"{\"credsStore\":\"echo\"}", "q.io", "x", "get", "q.io", ""},
		{"{\"credsStore\":\"echo\"}", "docker.io", "x", "get",
			"https://index.docker.io/v1/", ""},
		{"{\"credsStore\":\"echo\",\"credHelpers\":{\"q.io\":\"token\"}}", "q.io", "x", "",
			"", "refresh"},
		{"{\"credsStore\":\"none\",\"auths\":{\"q.io\":{\"auth\":\"" ME "\"}}}", "q.io",
			"x", "me", "secret", ""},
		{"{\"credHelpers\":{\"r.io\":\"odd\"}}", "q.io", "x", NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena a = {0};
		struct credentials c = {0};
		struct err err = {0};
		write_file("config.json", rows[i].file, 0600);
		int r = credentials_find(&a, path, rows[i].registry, rows[i].repository, &c, &err);
		if (r < 0)
			fail_msg("row %zu: %s", i, err.text);
		assert_int_equal(r, rows[i].user ? 0 : CREDENTIALS_E_NONE);
		if (!rows[i].user)
			continue;
		assert_string_equal(c.user, rows[i].user);
		assert_string_equal(c.password, rows[i].password);
		assert_string_equal(c.identity_token, rows[i].token);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *file;
		int result;
		const char *error;
	} rows[] = {
		{"[", -ERR_INPUT, "JSON line 1"},
		{"[]", -ERR_INPUT, "the document: expected an object, found an array"},
		{"{\"auths\":{\"q.io\":{\"auth\":\"***\"}}}", -ERR_INPUT,
			"auths.q.io.auth: is not the base64 form of user:password"},
		{"{\"auths\":{\"q.io\":{\"auth\":\"YWJj\"}}}", -ERR_INPUT,
			"auths.q.io.auth: is not the base64 form of user:password"},
		{"{\"auths\":{\"q.io\":{\"auth\":7}}}", -ERR_INPUT, "expected a string"},
		{"{\"credsStore\":\"../../bin/sh\"}", -ERR_INPUT,
			"../../bin/sh is no credential helper's name"},
		{"{\"credsStore\":\"nowhere\"}", -ERR_HOST,
			"credential helper docker-credential-nowhere is not installed"},
		{"{\"credsStore\":\"locked\"}", -ERR_DENIED,
			"docker-credential-locked for q.io: keychain is locked"},
		{"{\"credsStore\":\"odd\"}", -ERR_INPUT, "answer of docker-credential-odd: JSON"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena a = {0};
		struct credentials c = {0};
		struct err err = {0};
		write_file("config.json", rows[i].file, 0600);
		int r = credentials_find(&a, path, "q.io", "x", &c, &err);
		if (r != rows[i].result || !strstr(err.text, rows[i].error) ||
			!strstr(err.text, path))
			fail_msg("row %zu: %d %s", i, r, err.text);
	}
}

static void basic(void **state)
{
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	assert_string_equal(
		credentials_basic(&a, &(struct credentials){"you", "pass:word", ""}), "Basic " YOU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found),
		cmocka_unit_test(refused),
		cmocka_unit_test(basic),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
