/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "image/image.h"
#include "image/test_registry.h"
#include "os/clock.h"
#include "os/dir.h"
#include "os/file.h"

static struct fake fake;
static char path[64];
static int dir = -1;
static struct image_store *store;
static struct arena arena;
static struct test_sink sink;
static struct image_source source;
static int seen[5]; /* progress events by phase */
static struct image_progress last_download;
static bool cancel, cancel_at_download;

static int start(void **state)
{
	(void)state;
	/* A proxy of this machine's environment has no business with loopback. */
	setenv("no_proxy", "127.0.0.1,localhost", 1);
	fake_start(&fake, false);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fake_stop(&fake);
	return 0;
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

static int pull(const char *name, struct image_record *ret, struct err *err)
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
	/* Nothing is left running, however it ended. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	return r;
}

/* The server is a child of this process as well, hence 0 above and not ECHILD. */

static void assert_layers(void)
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

static bool has_layer(size_t i)
{
	struct image_layer_sink to = test_sink_of(&sink);

	return to.has(to.arg, &fake.diff_ids[i]);
}

static void good(const char *name)
{
	struct image_record record;
	struct err err;

	if (pull(name, &record, &err) < 0)
		fail_msg("%s", err.text);
	assert_layers();
}

static void assert_fails(const char *name, enum err_kind kind, const char *text)
{
	struct image_record record;
	struct err err;
	int r = pull(name, &record, &err);

	if (r != -(int)kind || !strstr(err.text, text))
		fail_msg("%d %s\nwanted: %s", r, err.text, text);
}

static void assert_hint(const char *name, const char *text)
{
	struct image_record record;
	struct err err;

	assert_true(pull(name, &record, &err) < 0);
	if (!strstr(err.hint, text))
		fail_msg("%s\n%s", err.text, err.hint);
}

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
	assert_fails(fake.reference, ERR_LIMIT, "the layer unpacks to more than 1.0 MB");
}

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

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
		test(what_the_sink_says),
		test(cancelling_ends_everything),
		test(two_at_once_fetch_once),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
