/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fetch/internal.h"
#include "net/test_server.h"
#include "os/dir.h"

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"

struct shared {
	int requests, bodies;
	int version;
};

struct scene {
	char path[32];
	int top, dir;
	struct test_server server;
	struct shared *shared;
	char base[64], url[128];
};

static void handle(void *arg, const struct test_request *request, struct test_reply *reply)
{
	struct shared *shared = arg;
	char etag[32];

	shared->requests++;
	snprintf(etag, sizeof(etag), "\"v%d\"", shared->version);
	if (strcmp(request->path, "/flaky") == 0 && shared->requests < 3) {
		reply->status = 503;
		return;
	}
	if (strcmp(request->path, "/gone") == 0) {
		reply->status = 404;
		return;
	}
	if (strcmp(request->path, "/lies") == 0)
		reply->length = 1000;
	if (strcmp(request->if_none_match, etag) == 0) {
		reply->status = 304;
		return;
	}
	shared->bodies++;
	buf_printf(&reply->headers, "ETag: %s\r\nLast-Modified: " MODIFIED "\r\n", etag);
	buf_printf(&reply->body, "version %d", shared->version);
}

static int scene_new(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct err err = {0};

	strcpy(s->path, "/tmp/fetchXXXXXX");
	assert_non_null(mkdtemp(s->path));
	s->top = open(s->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(fetch_make(s->top, &s->dir, &err), 0);
	s->shared = test_shared(sizeof(*s->shared));
	test_server_start(&s->server, false, handle, s->shared);
	snprintf(s->base, sizeof(s->base), "%s", s->server.url);
	*state = s;
	return 0;
}

static int scene_gone(void **state)
{
	struct scene *s = *state;
	struct err err = {0};

	if (s->server.pid)
		test_server_stop(&s->server);
	close(s->dir);
	close(s->top);
	assert_int_equal(dir_remove_tree(AT_FDCWD, s->path, &err), 0);
	free(s);
	return 0;
}

static int get(struct scene *s, const char *path, const struct fetch_url *how,
	struct fetch_file *ret, struct err *err)
{
	const struct fetch_options options = {.max_bytes = 100};
	struct fetch_url what = *how;

	snprintf(s->url, sizeof(s->url), "%s%s", s->base, path);
	what.url = s->url;
	*err = (struct err){0};
	return fetch_url(s->dir, &options, &what, ret, err);
}

static void kept_bytes_are_asked_about(void **state)
{
	struct scene *s = *state;
	const struct fetch_url plain = {0}, fresh = {.is_fresh = true};
	struct digest zero = digest_of("version 0", 9), one = digest_of("version 1", 9);
	struct fetch_file file;
	struct err err;

	assert_int_equal(get(s, "/f", &plain, &file, &err), 0);
	assert_true(digest_eq(&file.digest, &zero));
	assert_int_equal(file.mtime, INT64_C(784111777) * 1000000000);
	assert_int_equal(get(s, "/f", &plain, &file, &err), 0);
	assert_true(digest_eq(&file.digest, &zero));
	assert_int_equal(s->shared->requests, 2);
	assert_int_equal(s->shared->bodies, 1);
	assert_int_equal(get(s, "/f", &fresh, &file, &err), 0);
	assert_int_equal(s->shared->bodies, 2);
	s->shared->version = 1;
	assert_int_equal(get(s, "/f", &plain, &file, &err), 0);
	assert_true(digest_eq(&file.digest, &one));
	assert_int_equal(s->shared->bodies, 3);
}

static void a_checksum_asks_nobody(void **state)
{
	struct scene *s = *state;
	struct digest zero = digest_of("version 0", 9), other = digest_of("x", 1);
	const struct fetch_url right = {.checksum = &zero}, wrong = {.checksum = &other};
	struct fetch_file file;
	struct err err;

	assert_int_equal(get(s, "/f", &wrong, &file, &err), -ERR_FAILED);
	assert_non_null(strstr(err.text, "its checksum is sha256:"));
	assert_int_equal(get(s, "/f", &right, &file, &err), 0);
	assert_int_equal(s->shared->requests, 1);
	test_server_stop(&s->server);
	s->server.pid = 0;
	assert_int_equal(get(s, "/f", &right, &file, &err), 0);
	assert_false(file.is_stale);
}

static void a_server_that_is_gone(void **state)
{
	struct scene *s = *state;
	const struct fetch_url plain = {0}, fresh = {.is_fresh = true};
	struct fetch_file file;
	struct err err;

	assert_int_equal(get(s, "/f", &plain, &file, &err), 0);
	assert_false(file.is_stale);
	test_server_stop(&s->server);
	s->server.pid = 0;
	assert_int_equal(get(s, "/f", &plain, &file, &err), 0);
	assert_true(file.is_stale);
	assert_true(file.reason[0] != '\0');
	assert_int_equal(get(s, "/f", &fresh, &file, &err), -ERR_NETWORK);
	assert_int_equal(get(s, "/never", &plain, &file, &err), -ERR_NETWORK);
}

static void answers_that_are_none(void **state)
{
	struct scene *s = *state;
	const struct fetch_url plain = {0};
	struct fetch_file file;
	struct err err;

	assert_int_equal(get(s, "/gone", &plain, &file, &err), -ERR_FAILED);
	assert_non_null(strstr(err.text, "status 404"));
	assert_int_equal(get(s, "/lies", &plain, &file, &err), -ERR_NETWORK);
	s->shared->requests = 0;
	assert_int_equal(get(s, "/flaky", &plain, &file, &err), 0);
	assert_int_equal(s->shared->requests, 3);
}

static void too_much_is_refused(void **state)
{
	struct scene *s = *state;
	const struct fetch_options options = {.max_bytes = 5};
	struct fetch_file file;
	struct err err = {0};

	snprintf(s->url, sizeof(s->url), "%s/f", s->base);
	const struct fetch_url what = {.url = s->url};
	assert_int_equal(fetch_url(s->dir, &options, &what, &file, &err), -ERR_LIMIT);
	/* Nothing is left of it. */
	assert_int_equal(fetch_trim(s->dir, 1, &err), 0);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_new, scene_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCENE(kept_bytes_are_asked_about),
		WITH_SCENE(a_checksum_asks_nobody),
		WITH_SCENE(a_server_that_is_gone),
		WITH_SCENE(answers_that_are_none),
		WITH_SCENE(too_much_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
