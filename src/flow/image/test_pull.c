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
#include "os/clock.h"
#include "os/dir.h"
#include "os/file.h"

/* ---- All is well ---- */

static void pulled_image_is_whole(void **state)
{
	struct image_record record = {0}, found;
	struct err err;
	struct digest config = digest_of(fake.config.data.data, fake.config.data.len);
	const char *pinned = NULL;

	(void)state;
	if (pull(fake.reference, &record, &err) < 0)
		fail_msg("%s", err.text);
	assert_layers();
	assert_true(digest_eq(&record.id, &config));
	assert_true(str_eq(record.config, buf_str(&fake.config.data)));
	assert_int_equal(record.layers.count, FAKE_LAYERS);
	assert_string_equal(record.layers.items[0], record.layers.items[3]);
	assert_true(strncmp(record.layers.items[1], "key-", 4) == 0);
	assert_int_equal(record.origin, IMAGE_PULLED);
	assert_true(record.size > fake.layers[1].data.len);
	/* The first layer occurs twice and is fetched once. */
	assert_int_equal(fake.state->served[0] + fake.state->served[3], 1);
	assert_int_equal(seen[IMAGE_DONE], 3);
	assert_int_equal(seen[IMAGE_EXISTS], 0);
	assert_true(seen[IMAGE_RESOLVE] >= 2 && seen[IMAGE_UNPACK] == 3);
	assert_true(last_download.total > 0 && last_download.done == last_download.total);
	assert_int_equal(image_find(store, &arena, str_of(fake.reference), &found, &err), 0);
	pinned = arena_printf(
		&arena, "127.0.0.1:%d/team/app@%s", fake.server.port, fake.index.digest);
	assert_int_equal(image_find(store, &arena, str_of(pinned), &found, &err), 0);
	assert_true(digest_eq(&found.id, &config));
	assert_int_equal(image_names(store, &arena, &found, &err), 0);
	assert_int_equal(found.repo_digests.count, 2);
	/* Nothing remains of the transfer. */
	assert_int_equal(unlinkat(dir, "images/partial", AT_REMOVEDIR), 0);
}

static void second_pull_fetches_no_blob(void **state)
{
	(void)state;
	good(fake.reference);
	fake_reset(&fake, FAKE_GOOD);
	good(fake.reference);
	assert_int_equal(fake.state->blobs, 0);
	assert_int_equal(seen[IMAGE_EXISTS], FAKE_LAYERS);
}

static void pinned_by_digest(void **state)
{
	const char *by_index = arena_printf(
		&arena, "127.0.0.1:%d/team/app:x@%s", fake.server.port, fake.index.digest);
	struct image_record found;
	struct err err;

	(void)state;
	good(by_index);
	assert_int_equal(image_find(store, &arena, str_of(by_index), &found, &err), 0);
	/* The tag beside it was not looked at, so it means nothing here. */
	by_index = arena_printf(&arena, "127.0.0.1:%d/team/app:x", fake.server.port);
	assert_int_equal(image_find(store, &arena, str_of(by_index), &found, &err), IMAGE_E_ABSENT);
	/* This digest is answered with another document. */
	assert_fails(arena_printf(&arena, "127.0.0.1:%d/team/app@%s", fake.server.port,
			     fake.config.digest),
		ERR_NETWORK, "but what came is");
}

/* ---- Connections that break ---- */

static void cut_transfers_are_resumed(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_CUT_ONCE);
	good(fake.reference);
	assert_true(fake.state->ranges >= 3);
	assert_true(fake.state->last_from > 0);
}

static void cut_transfers_without_ranges(void **state)
{
	(void)state;
	fake_reset(&fake, FAKE_CUT_NO_RANGE);
	good(fake.reference);
	assert_true(fake.state->ranges >= 3);
}

static void next_run_goes_on_where_this_one_broke(void **state)
{
	(void)state;
	source.parallel = 1;
	fake_reset(&fake, FAKE_CUT_ALWAYS);
	assert_fails(fake.reference, ERR_NETWORK, "after 5 tries: ");
	assert_int_equal(fake.state->served[0], 5);
	fake_reset(&fake, FAKE_GOOD);
	good(fake.reference);
	assert_int_equal(fake.state->ranges, 1);
	assert_int_equal(fake.state->served[0], 1);
}

static void put_partial(const char *digest, struct str content)
{
	struct err err = {0};

	ignored(mkdirat(dir, "images", 0700)); /* there already the second time */
	ignored(mkdirat(dir, "images/partial", 0700));
	const char *file = arena_printf(&arena, "%s/images/partial/%s", path, digest + 7);
	assert_int_equal(file_replace(AT_FDCWD, file, content, 0600, &err), 0);
}

static void stale_partial_files_are_noticed(void **state)
{
	(void)state;
	put_partial(fake.layers[0].digest, STR("not what it should be"));
	put_partial(fake.layers[1].digest, STR("\x1f\x8b nor this"));
	/* Larger than the blob. */
	put_partial(fake.layers[2].digest, buf_str(&fake.tars[2]));
	good(fake.reference);
	assert_int_equal(fake.state->ranges, 2);
}

static void complete_partial_file_needs_no_request(void **state)
{
	(void)state;
	put_partial(fake.layers[1].digest, buf_str(&fake.layers[1].data));
	good(fake.reference);
	assert_int_equal(fake.state->served[1], 0);
}

/* ---- Content that is not what it should be ---- */

static void wrong_content(void **state)
{
	static const struct {
		enum fake_mode mode;
		enum err_kind kind;
		const char *text;
	} rows[] = {
		{FAKE_SHORT, ERR_NETWORK, " of "},
		{FAKE_LONG, ERR_NETWORK, "sends more than the "},
		{FAKE_WRONG_BYTES, ERR_NETWORK, "expected sha256:"},
		{FAKE_WRONG_DIFF_ID, ERR_FAILED, "the configuration says diff ID sha256:"},
		{FAKE_DAMAGED, ERR_FAILED, "damaged gzip data"},
		{FAKE_WRONG_TYPE, ERR_NETWORK, "but the document calls itself"},
		{FAKE_WRONG_DIGEST, ERR_NETWORK, "but what came is"},
		{FAKE_OTHER_PLATFORM, ERR_MISSING, "only for: linux/z80"},
		{FAKE_HUGE, ERR_LIMIT, "sent more than the 4194304 bytes expected"},
		{FAKE_HTML, ERR_NETWORK, "JSON line 1"},
		{FAKE_NOT_FOUND, ERR_MISSING, "not found (manifest unknown)"},
		{FAKE_TOO_MANY, ERR_NETWORK, "too many requests (You have reached"},
		{FAKE_BROKEN, ERR_NETWORK, "answered 503 (be right back)"},
		{FAKE_FEWER_LAYERS, ERR_NETWORK,
			"its manifest lists 4 layers, its configuration 3"},
	};

	(void)state;
	source.parallel = 1;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct image_record found;
		struct err err = {0};
		fake_reset(&fake, rows[i].mode);
		assert_fails(fake.reference, rows[i].kind, rows[i].text);
		assert_false(has_layer(1));
		assert_int_equal(image_find(store, &arena, str_of(fake.reference), &found, &err),
			IMAGE_E_ABSENT);
	}
	assert_hint("127.0.0.1:1/x", "mirror");
}

static void limits(void **state)
{
	(void)state;
	source.limits.blob_bytes = 100;
	assert_fails(fake.reference, ERR_LIMIT, "bytes is larger than 100");
	source.limits.blob_bytes = 0;
	source.limits.unpacked_bytes = 1000000;
	assert_fails(fake.reference, ERR_LIMIT, "it unpacks to more than 1.0 MB");
}

/* ---- Sinks and ends ---- */

static void what_the_sink_says(void **state)
{
	(void)state;
	sink.mode = SINK_REFUSES;
	assert_fails(fake.reference, ERR_LIMIT, "entry ../x is refused");
	sink.mode = SINK_DIES;
	assert_fails(fake.reference, ERR_SYSTEM, "the unpacker killed by SIGKILL");
	sink.mode = SINK_GOOD;
	good(fake.reference);
}

static void cancelling_ends_everything(void **state)
{
	int64_t before = clock_now();

	(void)state;
	cancel = true;
	assert_fails(fake.reference, ERR_CANCELLED, "stopped");
	/* While layers are on their way, and cannot go on. */
	sink.mode = SINK_SLOW;
	cancel = false;
	cancel_at_download = true;
	assert_fails(fake.reference, ERR_CANCELLED, "stopped");
	assert_true(clock_now() - before < INT64_C(10000000000));
	/* By the death of the process that pulls. */
	cancel = cancel_at_download = false;
	pid_t pid = fork();
	if (pid == 0) {
		struct image_record record;
		struct err err;
		alarm(1);
		_exit(pull(fake.reference, &record, &err) < 0 ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* Its workers ended with it: they would hold the locks of the blobs otherwise. */
	sink.mode = SINK_GOOD;
	good(fake.reference);
	assert_true(clock_now() - before < INT64_C(15000000000));
}

static void two_at_once_fetch_once(void **state)
{
	pid_t pids[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct image_record record;
			struct err err = {0};
			struct oci_reference ref;
			struct image_layer_sink to = test_sink_of(&sink);
			const struct image_transfer transfer = {.source = &source, .sink = &to};
			int r = oci_reference_parse(&arena, str_of(fake.reference), &ref, &err);
			if (r == 0)
				r = image_pull(store, &arena, &ref, &transfer, &record, &err);
			if (r < 0)
				fprintf(stderr, "%s\n", err.text);
			_exit(r < 0);
		}
	}
	for (int i = 0; i < 2; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_layers();
	for (int i = 1; i < 3; i++)
		assert_int_equal(fake.state->served[i], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(pulled_image_is_whole),
		test(second_pull_fetches_no_blob),
		test(pinned_by_digest),
		test(cut_transfers_are_resumed),
		test(cut_transfers_without_ranges),
		test(next_run_goes_on_where_this_one_broke),
		test(stale_partial_files_are_noticed),
		test(complete_partial_file_needs_no_request),
		test(wrong_content),
		test(limits),
		test(what_the_sink_says),
		test(cancelling_ends_everything),
		test(two_at_once_fetch_once),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
