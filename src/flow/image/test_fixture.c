/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "image/test_fixture.h"
#include "os/dir.h"
#include "os/file.h"

struct fake fake;
char path[64];
int dir = -1;
struct image_store *store;
struct arena arena;
struct test_sink sink;
struct image_source source;
int seen[5]; /* progress events by phase */
struct image_progress last_download;
bool cancel, cancel_at_download;

int start(void **state)
{
	(void)state;
	/* A proxy of this machine's environment has no business with loopback. */
	setenv("no_proxy", "127.0.0.1,localhost", 1);
	fake_start(&fake, false);
	return 0;
}

int stop(void **state)
{
	(void)state;
	fake_stop(&fake);
	return 0;
}

int set_up(void **state)
{
	struct err err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_pull.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sink = (struct test_sink){.dir = dir};
	source = (struct image_source){.retry_ms = 1};
	cancel = cancel_at_download = false;
	fake_reset(&fake, FAKE_GOOD);
	return image_store_open(dir, &store, &err);
}

int tear_down(void **state)
{
	struct err err = {0};

	(void)state;
	image_store_free(store);
	arena_done(&arena);
	close(dir);
	return dir_remove_tree(AT_FDCWD, path, &err);
}

static void on_progress(void *arg, const struct image_progress *progress)
{
	(void)arg;
	seen[progress->phase]++;
	if (progress->phase == IMAGE_DOWNLOAD)
		last_download = *progress;
	if (cancel_at_download && progress->phase == IMAGE_DOWNLOAD)
		cancel = true;
}

static bool is_cancelled(void *arg)
{
	(void)arg;
	return cancel;
}

int pull(const char *name, struct image_record *ret, struct err *err)
{
	struct oci_reference ref;
	struct image_layer_sink to = test_sink_of(&sink);
	const struct image_transfer transfer = {.source = &source,
		.sink = &to,
		.watcher = {.on_progress = on_progress, .is_cancelled = is_cancelled}};

	*err = (struct err){0};
	memset(seen, 0, sizeof(seen));
	if (oci_reference_parse(&arena, str_of(name), &ref, err) < 0)
		fail_msg("%s", err->text);
	int r = image_pull(store, &arena, &ref, &transfer, ret, err);
	/* Nothing is left running, however it ended. (0 and not ECHILD: the server is a child.) */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	return r;
}

void assert_layers(void)
{
	for (size_t i = 0; i < FAKE_LAYERS; i++) {
		cleanup(buf_done) struct buf got = {0};
		struct err err = {0};
		char hex[DIGEST_HEX_SIZE];
		if (file_read(dir, digest_hex(&fake.diff_ids[i], hex), 1 << 24, &got, &err) < 0)
			fail_msg("layer %zu: %s", i, err.text);
		assert_true(str_eq(buf_str(&got), buf_str(&fake.tars[i])));
	}
}

bool has_layer(size_t i)
{
	struct image_layer_sink to = test_sink_of(&sink);

	return to.has(to.arg, &fake.diff_ids[i]);
}

void good(const char *name)
{
	struct image_record record;
	struct err err;

	if (pull(name, &record, &err) < 0)
		fail_msg("%s", err.text);
	assert_layers();
}

void assert_fails(const char *name, enum err_kind kind, const char *text)
{
	struct image_record record;
	struct err err;
	int r = pull(name, &record, &err);

	if (r != -(int)kind || !strstr(err.text, text))
		fail_msg("%d %s\nwanted: %s", r, err.text, text);
}

void assert_hint(const char *name, const char *text)
{
	struct image_record record;
	struct err err;

	assert_true(pull(name, &record, &err) < 0);
	if (!strstr(err.hint, text))
		fail_msg("%s\n%s", err.text, err.hint);
}
