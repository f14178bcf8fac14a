/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/alloc.h"
#include "base/number.h"
#include "layer/internal.h"
#include "layer/test_scratch.h"

static struct layer_store *reopen(struct scratch *s, enum layer_access access)
{
	struct layer_store *store = NULL;
	struct err err = {0};
	int fd = openat(s->dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_ok(layer_store_open(fd, access, &store, &err), &err);
	close(fd);
	return store;
}

/* ---- Keys and meta ---- */

static void keys_are_forty_digits(void **state)
{
	struct layer_key key;
	struct digest d = digest_of("x", 1);

	(void)state;
	key = layer_key_of(&d);
	assert_int_equal(strlen(key.hex), 40);
	assert_true(layer_key_parse(str_of(key.hex), &key));
	struct layer_key other = layer_key_of_diff_id(&d);
	assert_false(layer_key_eq(&key, &other));
	assert_false(layer_key_parse(STR("2d711642b726b04401627ca9fbac32f5c8530fb"), &key));
	assert_false(layer_key_parse(STR("2d711642b726b04401627ca9fbac32f5c8530fb19"), &key));
	assert_false(layer_key_parse(STR("2D711642b726b04401627ca9fbac32f5c8530fb1"), &key));
	assert_false(layer_key_parse(STR("../../642b726b04401627ca9fbac32f5c8530fb1"), &key));
}

#define META_START "layer 1\nkey 2d711642b726b04401627ca9fbac32f5c8530fb1\nkind step\n"
#define META_END   "size 12\nfiles 3\ncreated 1790000000\nboot b\n"

static void meta_is_parsed_strictly(void **state)
{
	static const struct {
		const char *text, *error; /* NULL: none */
	} table[] = {
		{META_START META_END, NULL},
		{META_START "parent 2d711642b726b04401627ca9fbac32f5c8530fb2\n" META_END, NULL},
		{META_START "parent 2d71\n" META_END, "bad line"},
		{META_START "digest sha256:12\n" META_END, "bad line"},
		{META_START META_END META_END, "bad line"},
		{META_START "size 1\n", "no boot"},
		{META_START "colour red\n" META_END, "bad line"},
		{META_START "size 12\nfiles 3\ncreated 1790000000\nboot \n", "bad line"},
		{META_START "size 12\nfiles 3\ncreated 99999999999999999999\nboot b\n", "bad line"},
		{META_START "size\nfiles 3\ncreated 1790000000\nboot b\n", "bad line"},
		{"layer 2\n" META_END, "version"},
		{"layer 1\nkind layer\n", "bad line"},
		{"layer 1", "no boot"},
		{"", "version"},
	};
	struct layer_meta meta;

	(void)state;
	for (size_t i = 0; i < array_size(table); i++) {
		struct err err = {0};
		int r = meta_parse(str_of(table[i].text), &meta, &err);
		assert_int_equal(r < 0, table[i].error != NULL);
		if (table[i].error && !strstr(err.text, table[i].error))
			fail_msg("row %zu: %s", i, err.text);
	}
}

static void meta_survives_a_round(void **state)
{
	struct layer_meta meta = {
		.key = key_number(1),
		.parent = key_number(2),
		.kind = LAYER_BASE,
		.has_digest = true,
		.digest = digest_of("x", 1),
		.size = 1,
		.files = UINT64_MAX,
		.created = 1790000000,
		.boot = "123e4567-e89b-12d3-a456-426614174000",
	};
	struct layer_meta back;
	cleanup(buf_done) struct buf text = {0}, again = {0};
	struct err err = {0};

	(void)state;
	meta_print(&meta, &text);
	assert_ok(meta_parse(buf_str(&text), &back, &err), &err);
	meta_print(&back, &again);
	assert_string_equal(text.data, again.data);
	assert_true(digest_eq(&meta.digest, &back.digest));
	assert_true(layer_key_eq(&meta.parent, &back.parent));
}

/* ---- Publishing ---- */

static void published_layers_are_seen(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1), parent = key_number(2);
	struct layer_meta meta;
	int fs = -1;

	assert_false(layer_has(s->store, &key));
	assert_int_equal(layer_meta(s->store, &key, &meta, &err), LAYER_E_ABSENT);
	make_layer(s->store, 2, NULL);
	make_layer(s->store, 1, &parent);
	cleanup(layer_store_close) struct layer_store *reader = reopen(s, LAYER_READ);
	assert_true(layer_has(reader, &key));
	assert_ok(layer_meta(reader, &key, &meta, &err), &err);
	assert_true(layer_key_eq(&meta.parent, &parent));
	assert_int_equal(meta.kind, LAYER_STEP);
	assert_int_equal(meta.size, 1);
	assert_int_equal(meta.files, 1);
	assert_ok(layer_open(reader, &key, &fs, &err), &err);
	assert_string_equal(read_file(fs, "file"), "1");
	close(fs);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
	assert_int_equal(count_entries(s->dir, "store/trash"), 0);
	const struct layer_key keys[] = {parent, key, key_number(7)};
	struct layer_key absent;
	assert_true(layer_has_chain(reader, (struct layer_chain){keys, 2}, NULL));
	assert_false(layer_has_chain(reader, (struct layer_chain){keys, 3}, &absent));
	assert_true(layer_key_eq(&absent, &keys[2]));
}

static void the_first_to_publish_wins(void **state)
{
	SCRATCH(state);
	const struct layer_info info = {.kind = LAYER_BASE};
	struct layer_key key = key_number(1);
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	int fs = -1;

	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	write_file(layer_draft_fs(draft), "file", "mine");
	make_layer(s->store, 1, NULL);
	assert_int_equal(layer_publish(draft, &key, &info, &err), LAYER_E_PRESENT);
	layer_discard(take_ptr(draft));
	assert_ok(layer_open(s->store, &key, &fs, &err), &err);
	assert_string_equal(read_file(fs, "file"), "1");
	close(fs);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
}

static void a_reader_needs_no_store(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1);
	struct layer_store *store = NULL;

	assert_int_equal(mkdirat(s->dir, "none", 0700), 0);
	int fd = openat(s->dir, "none", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(layer_store_open(fd, LAYER_READ, &store, &err), &err);
	close(fd);
	assert_false(layer_has(store, &key));
	cleanup(buf_done) struct buf memo = {0};
	assert_int_equal(layer_memo_get(store, STR("x"), &memo, &err), LAYER_E_ABSENT);
	assert_int_equal(layer_list(store, NULL, NULL, &err), 0);
	layer_store_close(store);
	assert_int_equal(count_entries(s->dir, "none"), 0);
}

static void only_the_owner_writes(void **state)
{
	SCRATCH(state);
	struct layer_store *store = NULL;

	assert_int_equal(mkdirat(s->dir, "other", 0700), 0);
	assert_int_equal(fchownat(s->dir, "other", 1000, 1000, 0), 0);
	int fd = openat(s->dir, "other", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(layer_store_open(fd, LAYER_WRITE, &store, &err), -ERR_DENIED);
	assert_ok(layer_store_open(fd, LAYER_READ, &store, &err), &err);
	layer_store_close(store);
	close(fd);
	assert_int_equal(count_entries(s->dir, "other"), 0);
}

static void roots_take_their_parents_attributes(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1), absent = key_number(9);
	const struct layer_info info = {.kind = LAYER_BASE};
	struct layer_draft *draft = NULL;
	struct stat st;

	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	assert_int_equal(fchown(layer_draft_fs(draft), 5, 6), 0);
	assert_int_equal(fchmod(layer_draft_fs(draft), 01770), 0);
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	layer_discard(draft);
	assert_ok(layer_begin(s->store, &key, &draft, &err), &err);
	assert_int_equal(fstat(layer_draft_fs(draft), &st), 0);
	assert_int_equal(st.st_mode & 07777, 01770);
	assert_int_equal(st.st_uid, 5);
	layer_discard(draft);
	assert_int_equal(layer_begin(s->store, &absent, &draft, &err), -ERR_MISSING);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
}

static int note_layer(void *arg, const struct layer_meta *meta, int64_t used)
{
	int64_t *seen = arg;
	struct layer_key one = key_number(1);

	seen[0]++;
	if (layer_key_eq(&meta->key, &one))
		seen[1] = used;
	return 0;
}

static void layers_are_listed_with_their_use(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1);
	int64_t seen[2] = {0};
	char path[128];
	const struct timespec old[2] = {{1000, 0}, {1000, 0}};

	make_layer(s->store, 1, NULL);
	make_layer(s->store, 2, NULL);
	snprintf(path, sizeof(path), "store/layers/%s/meta", key.hex);
	assert_int_equal(utimensat(s->dir, path, old, 0), 0);
	assert_ok(layer_list(s->store, note_layer, seen, &err), &err);
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 1000);
	layer_touch(s->store, &key);
	assert_ok(layer_list(s->store, note_layer, seen, &err), &err);
	assert_true(seen[1] > 1000);
}

static void removal_takes_what_was_made_on_it(void **state)
{
	SCRATCH(state);
	struct layer_key one = key_number(1), two = key_number(2), three = key_number(3),
			 four = key_number(4);

	make_layer(s->store, 1, NULL);
	make_layer(s->store, 2, &one);
	make_layer(s->store, 3, &two);
	make_layer(s->store, 4, &one);
	assert_ok(layer_remove(s->store, &two, &err), &err);
	assert_true(layer_has(s->store, &one));
	assert_false(layer_has(s->store, &two));
	assert_false(layer_has(s->store, &three));
	assert_true(layer_has(s->store, &four));
	assert_int_equal(count_entries(s->dir, "store/trash"), 2);
	assert_ok(layer_tidy(s->store, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/trash"), 0);
}

/* ---- Crashes of a process ---- */

static int die_with_draft(void *arg)
{
	struct scratch *s = arg;
	struct layer_draft *draft = NULL;
	struct err err = {0};

	if (layer_begin(s->store, NULL, &draft, &err) < 0)
		return 1;
	write_file(layer_draft_fs(draft), "file", "half");
	raise(SIGKILL);
	return 2;
}

static void dead_drafts_are_removed_and_live_ones_not(void **state)
{
	SCRATCH(state);
	cleanup(layer_discard) struct layer_draft *live = NULL;

	assert_ok(layer_begin(s->store, NULL, &live, &err), &err);
	assert_int_equal(in_child(die_with_draft, s), 256 + SIGKILL);
	assert_int_equal(count_entries(s->dir, "store/active"), 2);
	cleanup(layer_store_close) struct layer_store *again = reopen(s, LAYER_WRITE);
	assert_int_equal(count_entries(s->dir, "store/active"), 1);
	assert_int_equal(count_entries(s->dir, "store/trash"), 1);
	write_file(layer_draft_fs(live), "file", "alive");
	assert_ok(layer_tidy(again, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/trash"), 0);
}

enum { PUBLISHERS_FILES = 20 };

/* Publishes layers of several files until it is killed. */
static int publish_forever(void *arg)
{
	struct scratch *s = arg;
	const struct layer_info info = {.kind = LAYER_STEP};
	struct err err = {0};

	for (unsigned n = (unsigned)getpid() << 12;; n++) {
		struct layer_draft *draft = NULL;
		struct layer_key key = key_number(n);
		if (layer_begin(s->store, NULL, &draft, &err) < 0)
			return 1;
		for (int i = 0; i < PUBLISHERS_FILES; i++) {
			char name[16];
			snprintf(name, sizeof(name), "f%d", i);
			write_file(layer_draft_fs(draft), name, key.hex);
		}
		if (layer_publish(draft, &key, &info, &err) < 0)
			return 1;
		layer_discard(draft);
	}
}

static void check_layer_whole(struct layer_store *store, const struct layer_meta *meta)
{
	struct err err = {0};
	int fs = -1;

	assert_ok(layer_open(store, &meta->key, &fs, &err), &err);
	assert_int_equal(meta->files, PUBLISHERS_FILES);
	for (int i = 0; i < PUBLISHERS_FILES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		assert_string_equal(read_file(fs, name), meta->key.hex);
	}
	close(fs);
}

struct whole {
	struct layer_store *store;
	int count;
};

static int check_one(void *arg, const struct layer_meta *meta, int64_t used)
{
	struct whole *w = arg;

	(void)used;
	check_layer_whole(w->store, meta);
	w->count++;
	return 0;
}

static void kill_publisher_after(struct scratch *s, long milliseconds)
{
	const struct timespec nap = {.tv_nsec = milliseconds * 1000000L};
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(publish_forever(s));
	nanosleep(&nap, NULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int check_all_whole(struct scratch *s)
{
	cleanup(layer_store_close) struct layer_store *again = reopen(s, LAYER_WRITE);
	struct whole w = {.store = again};
	struct err err = {0};

	assert_int_equal(count_entries(s->dir, "store/active"), 0);
	assert_ok(layer_list(again, check_one, &w, &err), &err);
	assert_int_equal(w.count, count_entries(s->dir, "store/layers"));
	return w.count;
}

static void killed_publishers_leave_whole_layers(void **state)
{
	SCRATCH(state);
	int count = 0;

	for (int round = 0; round < 15; round++) {
		kill_publisher_after(s, 3 + round * 2);
		count = check_all_whole(s);
	}
	assert_true(count > 0);
}

/* ---- Crashes of the machine ---- */

/* As if the layer had been published in another boot and the machine had crashed since. */
static void make_doubtful(struct scratch *s, unsigned number)
{
	struct layer_key key = key_number(number);
	char path[128];

	snprintf(path, sizeof(path), "store/unsynced/%s", key.hex);
	assert_int_equal(unlinkat(s->dir, path, 0), 0);
	assert_int_equal(symlinkat("00000000-0000-0000-0000-000000000000", s->dir, path), 0);
	(void)unlinkat(s->dir, "store/recovered", 0);
}

static void doubtful_layers_and_their_children_go(void **state)
{
	SCRATCH(state);
	struct layer_key keys[6];

	for (unsigned i = 0; i < array_size(keys); i++)
		keys[i] = key_number(i);
	make_layer(s->store, 0, NULL);
	make_layer(s->store, 1, &keys[0]);
	make_layer(s->store, 3, &keys[1]);
	make_layer(s->store, 2, &keys[3]);
	make_layer(s->store, 4, &keys[0]);
	make_layer(s->store, 5, NULL);
	make_doubtful(s, 1);
	cleanup(layer_store_close) struct layer_store *reader = reopen(s, LAYER_READ);
	assert_false(layer_has(reader, &keys[1]));
	assert_true(layer_has(reader, &keys[0]));
	cleanup(layer_store_close) struct layer_store *again = reopen(s, LAYER_WRITE);
	const bool stays[] = {true, false, false, false, true, true};
	for (unsigned i = 0; i < array_size(keys); i++)
		assert_int_equal(layer_has(again, &keys[i]), stays[i]);
	assert_int_equal(count_entries(s->dir, "store/layers"), 3);
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 3);
	/* And it can be made anew. */
	make_layer(again, 1, &keys[0]);
	assert_true(layer_has(again, &keys[1]));
}

static void broken_layers_go(void **state)
{
	SCRATCH(state);
	struct layer_key one = key_number(1), two = key_number(2), three = key_number(3);
	char path[128], other[128];

	make_layer(s->store, 1, NULL);
	make_layer(s->store, 2, &one);
	make_layer(s->store, 3, NULL);
	assert_ok(layer_sync(s->store, 0, &err), &err);
	snprintf(path, sizeof(path), "store/layers/%s/meta", one.hex);
	write_file(s->dir, path, "");
	/* A layer under another one's name. */
	snprintf(path, sizeof(path), "store/layers/%s", three.hex);
	snprintf(other, sizeof(other), "store/layers/%s", key_number(4).hex);
	assert_int_equal(renameat(s->dir, path, s->dir, other), 0);
	assert_int_equal(unlinkat(s->dir, "store/recovered", 0), 0);
	cleanup(layer_store_close) struct layer_store *again = reopen(s, LAYER_WRITE);
	assert_false(layer_has(again, &one));
	assert_false(layer_has(again, &two));
	assert_int_equal(count_entries(s->dir, "store/layers"), 0);
}

static void sync_clears_marks(void **state)
{
	SCRATCH(state);

	make_layer(s->store, 1, NULL);
	make_layer(s->store, 2, NULL);
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 2);
	assert_ok(layer_sync(s->store, 3600, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 2);
	assert_ok(layer_sync(s->store, 0, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 0);
	make_layer(s->store, 3, NULL);
	make_doubtful(s, 3);
	assert_ok(layer_sync(s->store, 0, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 1);
}

/* ---- Locks ---- */

enum { COUNTERS = 4, COUNTS = 50 };

static int count_under_lock(void *arg)
{
	struct scratch *s = arg;
	struct layer_key key = key_number(1);
	struct err err = {0};

	for (int i = 0; i < COUNTS; i++) {
		int lock = -1;
		uint64_t n = 0;
		char text[16];
		if (layer_lock_key(s->store, &key, true, &lock, &err) < 0)
			return 1;
		const char *old = read_file(s->dir, "counter");
		if (!old || !parse_u64(str_of(old), 100000, &n))
			return 2;
		snprintf(text, sizeof(text), "%u", (unsigned)n + 1);
		write_file(s->dir, "counter", text);
		layer_unlock_key(s->store, &key, lock);
	}
	return 0;
}

static void locks_on_keys_exclude(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1);
	pid_t pids[COUNTERS];
	int lock = -1, second = -1, status;

	write_file(s->dir, "counter", "0");
	for (int i = 0; i < COUNTERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(count_under_lock(s));
	}
	for (int i = 0; i < COUNTERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_string_equal(read_file(s->dir, "counter"), "200");
	assert_ok(layer_lock_key(s->store, &key, false, &lock, &err), &err);
	assert_int_equal(layer_lock_key(s->store, &key, false, &second, &err), LAYER_E_BUSY);
	layer_unlock_key(s->store, &key, lock);
	assert_ok(layer_lock_key(s->store, &key, false, &second, &err), &err);
	layer_unlock_key(s->store, &key, second);
	assert_int_equal(count_entries(s->dir, "store/locks"), 0);
}

/* ---- Memos and usage ---- */

static void memos_are_kept_whole_or_not(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf value = {0};
	char path[128], hex[DIGEST_HEX_SIZE];
	struct digest d = digest_of("name", 4);

	assert_int_equal(layer_memo_get(s->store, STR("name"), &value, &err), LAYER_E_ABSENT);
	assert_ok(layer_memo_put(s->store, STR("name"), STR("one\ntwo"), &err), &err);
	assert_ok(layer_memo_put(s->store, STR("empty"), STR(""), &err), &err);
	assert_ok(layer_memo_get(s->store, STR("name"), &value, &err), &err);
	assert_string_equal(value.data, "one\ntwo");
	buf_clear(&value);
	assert_ok(layer_memo_get(s->store, STR("empty"), &value, &err), &err);
	assert_int_equal(value.len, 0);
	snprintf(path, sizeof(path), "store/digests/%s", digest_hex(&d, hex));
	cleanup_free char *text = xstrdup(read_file(s->dir, path));
	text[strlen(text) - 1] = 'X';
	write_file(s->dir, path, text);
	assert_int_equal(layer_memo_get(s->store, STR("name"), &value, &err), LAYER_E_ABSENT);
	write_file(s->dir, path, "");
	assert_int_equal(layer_memo_get(s->store, STR("name"), &value, &err), LAYER_E_ABSENT);
}

static void shared_files_count_once(void **state)
{
	SCRATCH(state);
	struct layer_usage usage;

	assert_int_equal(mkdirat(s->dir, "u", 0755), 0);
	assert_int_equal(mkdirat(s->dir, "u/d", 0755), 0);
	write_file(s->dir, "u/a", "12345");
	write_file(s->dir, "u/b", "123");
	assert_int_equal(linkat(s->dir, "u/a", s->dir, "u/d/a", 0), 0);
	assert_int_equal(linkat(s->dir, "u/b", s->dir, "outside", 0), 0);
	int fd = openat(s->dir, "u", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_ok(layer_usage_of(fd, &usage, &err), &err);
	close(fd);
	assert_int_equal(usage.files, 4);
	assert_int_equal(usage.size, 8);
	assert_true(usage.shared > 0 && usage.shared < usage.disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_forty_digits),
		cmocka_unit_test(meta_is_parsed_strictly),
		cmocka_unit_test(meta_survives_a_round),
		WITH_SCRATCH(published_layers_are_seen),
		WITH_SCRATCH(the_first_to_publish_wins),
		WITH_SCRATCH(a_reader_needs_no_store),
		WITH_SCRATCH(only_the_owner_writes),
		WITH_SCRATCH(roots_take_their_parents_attributes),
		WITH_SCRATCH(layers_are_listed_with_their_use),
		WITH_SCRATCH(removal_takes_what_was_made_on_it),
		WITH_SCRATCH(dead_drafts_are_removed_and_live_ones_not),
		WITH_SCRATCH(killed_publishers_leave_whole_layers),
		WITH_SCRATCH(doubtful_layers_and_their_children_go),
		WITH_SCRATCH(broken_layers_go),
		WITH_SCRATCH(sync_clears_marks),
		WITH_SCRATCH(locks_on_keys_exclude),
		WITH_SCRATCH(memos_are_kept_whole_or_not),
		WITH_SCRATCH(shared_files_count_once),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer store", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
