/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/places.h"
#include "image/test_uploads.h"
#include "os/clock.h"
#include "os/dir.h"

enum { LAYERS = 4, CHUNK = 64 << 10, LARGE_BYTES = 1000000 };

static struct uploads registry;
static char path[64];
static int dir = -1;
static struct image_store *store;
static struct arena arena;
static struct image_source source;
static struct image_record record;
static struct buf tars[LAYERS];
static int packed; /* tars, in this process */
static bool has_facts, has_origin, fails, cancel, is_slow;
static int seen[IMAGE_MOUNTED + 1];

/* ---- Layers ---- */

static int facts_of(void *arg, const struct image_record *r, size_t layer,
	struct image_layer_facts *ret, struct err *err)
{
	(void)arg, (void)r, (void)err;
	*ret = (struct image_layer_facts){.size = tars[layer].len};
	ret->diff_id = digest_of(tars[layer].data, tars[layer].len);
	return has_facts ? 0 : IMAGE_E_ABSENT;
}

static int pack(void *arg, const struct image_record *r, size_t layer,
	const struct image_writer *to, struct err *err)
{
	struct str text = buf_str(&tars[layer]);

	(void)arg, (void)r;
	packed++;
	while (is_slow)
		pause();
	while (text.n) {
		int result = to->write(to->arg, str_slice(text, 0, 50000), err);
		if (result != 0)
			return result;
		text = str_from_index(text, 50000);
	}
	return fails ? err_set(err, ERR_FAILED, "a file named .wh.x") : 0;
}

static int remember(void *arg, const struct image_record *r, size_t layer,
	const struct image_layer_facts *facts, struct err *err)
{
	(void)arg, (void)r, (void)layer, (void)facts, (void)err;
	return 0;
}

static struct digest origin_of_layer(size_t layer)
{
	return digest_of(&layer, sizeof(layer));
}

static int origin(
	void *arg, const struct image_record *r, size_t layer, struct digest *ret, struct err *err)
{
	(void)arg, (void)r, (void)err;
	*ret = origin_of_layer(layer);
	return has_origin ? 0 : IMAGE_E_ABSENT;
}

static const struct image_layer_source layers = {
	.facts = facts_of, .pack = pack, .remember = remember, .origin = origin};

/* ---- Memory ---- */

static struct {
	struct buf name, value;
} memos[32];
static size_t memo_count;

static bool recall(void *arg, struct str name, struct buf *ret)
{
	(void)arg;
	for (size_t i = 0; i < memo_count; i++) {
		if (!str_eq(buf_str(&memos[i].name), name))
			continue;
		buf_add_str(ret, buf_str(&memos[i].value));
		return true;
	}
	return false;
}

static void note(void *arg, struct str name, struct str value)
{
	size_t i = 0;

	(void)arg;
	while (i < memo_count && !str_eq(buf_str(&memos[i].name), name))
		i++;
	assert_true(i < array_size(memos));
	if (i == memo_count)
		buf_add_str(&memos[memo_count++].name, name);
	buf_clear(&memos[i].value);
	buf_add_str(&memos[i].value, value);
}

static const struct image_memory memory = {.get = recall, .put = note};

/* ---- Around the tests ---- */

static void make_layers(void)
{
	static const size_t sizes[LAYERS] = {3000, LARGE_BYTES, 100, 3000};
	uint32_t seed = 1;

	for (size_t i = 0; i < LAYERS; i++) {
		for (seed = i == 3 ? 1 : (uint32_t)i + 1; tars[i].len < sizes[i];) {
			seed = seed * 1103515245 + 12345;
			buf_add_u32(&tars[i], seed ^ seed >> 13);
		}
	}
}

static int start(void **state)
{
	(void)state;
	setenv("no_proxy", "127.0.0.1,localhost", 1);
	uploads_start(&registry);
	make_layers();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	uploads_stop(&registry);
	for (size_t i = 0; i < LAYERS; i++)
		buf_done(&tars[i]);
	return 0;
}

static void forget(void)
{
	for (size_t i = 0; i < memo_count; i++) {
		buf_done(&memos[i].name);
		buf_done(&memos[i].value);
	}
	memo_count = 0;
}

static int set_up(void **state)
{
	static const char config[] = "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},"
				     "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]},"
				     "\"spaceport.layers\":[\"a\",\"b\",\"c\",\"a\"]}";
	static const char *const keys[] = {"a", "b", "c", "a"};
	struct err err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_push.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	source = (struct image_source){.retry_ms = 1, .chunk_bytes = CHUNK};
	has_facts = true;
	has_origin = fails = cancel = is_slow = false;
	uploads_reset(&registry, UPLOADS_GOOD);
	if (image_store_open(dir, &store, &err) < 0)
		return -1;
	record = (struct image_record){.origin = IMAGE_BUILT, .config = str_of(config)};
	for (size_t i = 0; i < LAYERS; i++)
		oci_list_add(&arena, &record.layers, str_of(keys[i]));
	return image_save(store, &record, &err);
}

static int tear_down(void **state)
{
	struct err err = {0};

	(void)state;
	forget();
	image_store_free(store);
	arena_done(&arena);
	close(dir);
	return dir_remove_tree(AT_FDCWD, path, &err);
}

static void on_progress(void *arg, const struct image_progress *progress)
{
	(void)arg;
	seen[progress->phase]++;
}

static bool is_cancelled(void *arg)
{
	(void)arg;
	return cancel;
}

static int push_to(
	const char *repository, enum oci_media form, struct image_pushed *ret, struct err *err)
{
	struct oci_reference to;
	const char *name =
		arena_printf(&arena, "127.0.0.1:%d/%s", registry.server.port, repository);
	const struct image_push push = {
		.record = &record, .to = &to, .form = form, .layers = &layers};
	const struct image_transfer transfer = {.source = &source,
		.memory = &memory,
		.watcher = {.on_progress = on_progress, .is_cancelled = is_cancelled}};

	*err = (struct err){0};
	memset(seen, 0, sizeof(seen));
	if (oci_reference_parse(&arena, str_of(name), &to, err) < 0)
		fail_msg("%s", err->text);
	int r = image_push(store, &arena, &push, &transfer, ret, err);
	/* Nothing is left running, however it ended. (0 and not ECHILD: the server is a child.) */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	return r;
}

/* It works, and what the manifest names is there. */
static struct image_pushed good(const char *repository, enum oci_media form)
{
	struct image_pushed pushed = {0};
	struct oci_manifest m;
	struct err err;

	if (push_to(repository, form, &pushed, &err) < 0)
		fail_msg("%s\n%s", err.text, err.hint);
	struct str name = str_of(repository);
	name = str_cut(&name, ':');
	repository = arena_str(&arena, name).p;
	struct str text = str_of(registry.state->last_manifest);
	if (oci_manifest_parse(&arena, text, str_of(registry.state->last_type), &m, &err) < 0)
		fail_msg("%s", err.text);
	struct digest digest = digest_of(text.p, text.n);
	assert_true(digest_eq(&digest, &pushed.digest));
	assert_int_equal(pushed.size, text.n);
	assert_int_equal(m.layer_count, LAYERS);
	for (size_t i = 0; i < LAYERS; i++)
		assert_int_equal(
			uploads_blob(&registry, repository, &m.layers[i].digest), m.layers[i].size);
	assert_int_equal(uploads_blob(&registry, repository, &m.config.digest), m.config.size);
	assert_true(registry.state->is_range_right);
	return pushed;
}

#define GZIP OCI_MEDIA_LAYER_GZIP
#define ZSTD OCI_MEDIA_LAYER_ZSTD

/* ---- All is well ---- */

static void pushed_image_is_whole(void **state)
{
	struct image_pushed pushed = good("team/app:v1", GZIP);
	struct image_record found;
	char digest[DIGEST_TEXT_SIZE];
	struct err err = {0};

	(void)state;
	assert_string_equal(registry.state->last_tag, "v1");
	assert_string_equal(
		registry.state->last_type, "application/vnd.oci.image.manifest.v1+json");
	/* The first layer occurs twice and is sent once; the small ones take one request. */
	assert_int_equal(seen[IMAGE_DONE], 3);
	assert_int_equal(registry.state->puts, 4);
	assert_true(registry.state->patches >= LARGE_BYTES / CHUNK);
	assert_true(registry.state->largest <= CHUNK);
	assert_true(digest_eq(&pushed.layers[0].digest, &pushed.layers[3].digest));
	assert_int_equal(pushed.layers[1].how, IMAGE_DONE);
	struct digest diff_id = digest_of(tars[1].data, tars[1].len);
	assert_true(digest_eq(&pushed.layers[1].diff_id, &diff_id));
	/* It is known here by what it is called there. */
	const char *name = arena_printf(&arena, "127.0.0.1:%d/team/app@%s", registry.server.port,
		digest_text(&pushed.digest, digest));
	assert_int_equal(image_find(store, &arena, str_of(name), &found, &err), 0);
	assert_true(digest_eq(&found.id, &record.id));
}

static void second_push_sends_nothing(void **state)
{
	static const enum oci_media forms[] = {GZIP, ZSTD};

	(void)state;
	for (size_t i = 0; i < array_size(forms); i++) {
		struct image_pushed first = good("team/app:v1", forms[i]);
		int posts = registry.state->posts;
		struct image_pushed again = good("team/app:v2", forms[i]);
		assert_int_equal(registry.state->posts, posts);
		assert_int_equal(again.layers[0].how, IMAGE_EXISTS);
		assert_true(digest_eq(&first.digest, &again.digest));
		assert_int_equal(again.layers[1].media, forms[i]);
		assert_int_equal(seen[IMAGE_EXISTS], 3);
	}
	/* Without the memory it is the same again, byte for byte. */
	struct image_pushed before = good("team/app:v3", GZIP);
	forget();
	struct image_pushed after = good("other/app:v3", GZIP);
	assert_true(digest_eq(&before.digest, &after.digest));
}

static void other_repositories_are_mounted_from(void **state)
{
	(void)state;
	uploads_reset(&registry, UPLOADS_TOKEN);
	(void)good("team/app", GZIP);
	assert_non_null(
		strstr(registry.state->last_scope, "scope=repository%3Ateam%2Fapp%3Apull%2Cpush"));
	int puts = registry.state->puts;
	struct image_pushed there = good("other/app", GZIP);
	assert_int_equal(registry.state->mounts, 3);
	assert_int_equal(registry.state->puts, puts + 1); /* the configuration */
	assert_int_equal(there.layers[1].how, IMAGE_MOUNTED);
	assert_int_equal(seen[IMAGE_MOUNTED], 3);
	/* The token has to be good for reading there. */
	assert_non_null(
		strstr(registry.state->last_scope, "&scope=repository%3Ateam%2Fapp%3Apull"));
	/* What went from the registry is sent again. */
	uploads_forget(&registry, "team/app");
	uploads_forget(&registry, "other/app");
	there = good("third/app", GZIP);
	assert_int_equal(there.layers[1].how, IMAGE_DONE);
}

static void mounts_that_are_refused(void **state)
{
	static const enum uploads_mode modes[] = {UPLOADS_NO_MOUNT, UPLOADS_BAD_MOUNT};

	(void)state;
	for (size_t i = 0; i < array_size(modes); i++) {
		uploads_reset(&registry, UPLOADS_GOOD);
		forget();
		(void)good("team/app", GZIP);
		registry.state->mode = modes[i];
		struct image_pushed there = good("other/app", GZIP);
		assert_int_equal(registry.state->mounts, 3);
		assert_int_equal(there.layers[1].how, IMAGE_DONE);
		/* The session that was given instead is the one that is used. */
		assert_int_equal(registry.state->posts, 4 + 3 + 1 + (int)(3 * i));
	}
}

/* A pulled layer is a blob that we cannot make again, but know where to find. */
static void pulled_layers_keep_their_blobs(void **state)
{
	struct digest blob = digest_of("blob", 4), diff_id = origin_of_layer(1);
	struct place place = {
		.registry = arena_printf(&arena, "127.0.0.1:%d", registry.server.port),
		.repository = "library/base",
		.digest = blob,
		.size = 77,
		.media = ZSTD};
	char text[DIGEST_TEXT_SIZE];

	(void)state;
	has_origin = true;
	has_facts = false;
	places_remember(&memory, &diff_id, &place);
	registry.state->sizes[0] = 77;
	registry.state->blob_count = 1;
	snprintf(registry.state->blobs[0], sizeof(registry.state->blobs[0]), "library/base %s",
		digest_text(&blob, text));
	struct image_pushed pushed = good("team/app", GZIP);
	assert_int_equal(pushed.layers[1].how, IMAGE_MOUNTED);
	assert_true(digest_eq(&pushed.layers[1].digest, &blob));
	assert_true(digest_eq(&pushed.layers[1].diff_id, &diff_id));
	assert_int_equal(pushed.layers[1].media, ZSTD);
	assert_int_equal(pushed.layers[0].how, IMAGE_DONE);
}

/* ---- Registries differ ---- */

static void peculiar_registries(void **state)
{
	static const enum uploads_mode modes[] = {UPLOADS_CUT_ONCE, UPLOADS_ANSWER_LOST,
		UPLOADS_SESSION_LOST, UPLOADS_NO_CHUNKS, UPLOADS_LEAST, UPLOADS_STUCK_RANGE,
		UPLOADS_HALF, UPLOADS_BUSY, UPLOADS_OTHER_SIZE};

	(void)state;
	source.parallel = 1;
	for (size_t i = 0; i < array_size(modes); i++) {
		uploads_reset(&registry, modes[i]);
		forget();
		(void)good("team/app", GZIP);
		if (modes[i] == UPLOADS_CUT_ONCE)
			assert_true(registry.state->gets >= 1 && registry.state->bodies == 1);
		if (modes[i] == UPLOADS_LEAST)
			assert_int_equal(registry.state->patches, 4);
		if (modes[i] == UPLOADS_NO_CHUNKS)
			assert_true(registry.state->largest > LARGE_BYTES / 2);
	}
}

/* What it says of its own state is not believed; the digest is what counts. */
static void ranges_that_lie(void **state)
{
	(void)state;
	uploads_reset(&registry, UPLOADS_RANGE_LIES);
	(void)good("team/app", GZIP);
	assert_true(registry.state->largest > LARGE_BYTES / 2);
}

/* An upload that broke off is asked about once, and goes on with what is missing. */
static void cut_uploads_are_resumed(void **state)
{
	(void)state;
	source.parallel = 1;
	uploads_reset(&registry, UPLOADS_CUT_ONCE);
	(void)good("team/app", GZIP);
	assert_int_equal(registry.state->gets, 1);
	assert_int_equal(registry.state->posts, 4);
}

static void requests_shrink_to_what_is_taken(void **state)
{
	struct buf small = tars[1];

	(void)state;
	tars[1] = (struct buf){0};
	for (uint32_t seed = 5; tars[1].len < 9 << 20;) {
		seed = seed * 1103515245 + 12345;
		buf_add_u32(&tars[1], seed ^ seed >> 13);
	}
	source.chunk_bytes = 0;
	uploads_reset(&registry, UPLOADS_SMALL);
	(void)good("team/app", GZIP);
	/* 8 MiB are refused, then two of 4 MiB and the rest. */
	assert_int_equal(registry.state->patches, 4);
	assert_int_equal(registry.state->largest, 8 << 20);
	buf_done(&tars[1]);
	tars[1] = small;
}

static void authorization_stays_at_home(void **state)
{
	(void)state;
	uploads_reset(&registry, UPLOADS_TOKEN);
	(void)good("team/app", GZIP);
	registry.state->mode = UPLOADS_ELSEWHERE;
	forget();
	struct image_pushed pushed;
	struct err err;
	if (push_to("moved/app", GZIP, &pushed, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(registry.state->leaked, "");
}

/* ---- What fails ---- */

static void failures(void **state)
{
	static const struct {
		enum uploads_mode mode;
		enum err_kind kind;
		const char *text;
	} rows[] = {
		{UPLOADS_DENIED, ERR_DENIED,
			"access denied (requested access to the resource is denied)"},
		{UPLOADS_LATER, ERR_NETWORK, "too many requests (come back tomorrow)"},
		{UPLOADS_CUT_ALWAYS, ERR_NETWORK, "after 5 tries"},
		{UPLOADS_LOOP, ERR_NETWORK, "more than 10 redirects"},
		{UPLOADS_NO_LOCATION, ERR_NETWORK, "does not say where to go on"},
		{UPLOADS_FILE_LOCATION, ERR_NETWORK, "redirects to what is no HTTP URL"},
		{UPLOADS_WRONG_DIGEST, ERR_NETWORK, "wrong digest"},
		{UPLOADS_WRONG_MANIFEST, ERR_NETWORK, "manifests/latest: wrong digest"},
		{UPLOADS_ENDLESS, ERR_LIMIT, "sent more than the 1048576 bytes expected"},
	};

	(void)state;
	source.parallel = 1;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct image_pushed pushed;
		struct err err;
		uploads_reset(&registry, rows[i].mode);
		forget();
		int r = push_to("team/app", GZIP, &pushed, &err);
		if (r != -(int)rows[i].kind || !strstr(err.text, rows[i].text))
			fail_msg("mode %d: %d %s\nwanted: %s", rows[i].mode, r, err.text,
				rows[i].text);
		assert_non_null(strstr(err.text, "push to 127.0.0.1"));
		/* A manifest is never sent before all that it names. */
		assert_int_equal(registry.state->manifests, rows[i].mode == UPLOADS_WRONG_MANIFEST);
	}
}

static void what_the_layers_say(void **state)
{
	struct image_pushed pushed;
	struct err err;

	(void)state;
	fails = true;
	assert_int_equal(push_to("team/app", GZIP, &pushed, &err), -ERR_FAILED);
	assert_non_null(strstr(err.text, "a file named .wh.x"));
	fails = false;
	assert_int_equal(push_to("team/app@sha256:"
				 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
				 GZIP, &pushed, &err),
		-ERR_INPUT);
	assert_non_null(strstr(err.text, "is pushed to a tag"));
}

static void cancelling_ends_everything(void **state)
{
	struct image_pushed pushed;
	struct err err;
	int64_t before = clock_now();

	(void)state;
	is_slow = true;
	pid_t pid = fork();
	if (pid == 0) {
		alarm(1);
		_exit(push_to("team/app", GZIP, &pushed, &err) < 0 ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	cancel = true;
	assert_int_equal(push_to("team/app", GZIP, &pushed, &err), -ERR_CANCELLED);
	assert_true(clock_now() - before < INT64_C(15000000000));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(pushed_image_is_whole),
		test(second_push_sends_nothing),
		test(other_repositories_are_mounted_from),
		test(mounts_that_are_refused),
		test(pulled_layers_keep_their_blobs),
		test(peculiar_registries),
		test(ranges_that_lie),
		test(cut_uploads_are_resumed),
		test(requests_shrink_to_what_is_taken),
		test(authorization_stays_at_home),
		test(failures),
		test(what_the_layers_say),
		test(cancelling_ends_everything),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
