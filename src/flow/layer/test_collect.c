/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "layer/test_scratch.h"
#include "layer/weight.h"

static const struct layer_cache_options shared = {.sharing = LAYER_SHARED, .mode = 0755};

/* ---- Weights ---- */

static void weights_survive_a_round(void **state)
{
	struct layer_link links[] = {
		{UINT64_MAX, 512}, {1, 0}, {70000, (uint64_t)1 << 40}, {127, 4096}, {128, 512}};
	struct layer_weight weight = {.disk = 123456789, .links = links, .link_count = 5}, back;
	cleanup(buf_done) struct buf bytes = {0};
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	weight_sort(&weight);
	weight_print(&weight, &bytes);
	assert_true(weight_parse(buf_str(&bytes), &a, &back));
	assert_int_equal(back.disk, weight.disk);
	assert_int_equal(back.link_count, 5);
	assert_memory_equal(back.links, links, sizeof(links));
	/* Cut anywhere it is none. */
	for (size_t n = 0; n < bytes.len; n++)
		assert_false(weight_parse(str_from(bytes.data, n), &a, &back));
	buf_add_char(&bytes, 0);
	assert_false(weight_parse(buf_str(&bytes), &a, &back));
	/* A count without its files. */
	assert_false(weight_parse(STR("\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), &a, &back));
}

/* A layer with a file of 64 KiB of its own, and one that `cache` has, too. */
static void make_linked(struct scratch *s, unsigned number, int cache)
{
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	const struct layer_key key = key_number(number);
	const struct layer_info info = {.kind = LAYER_STEP};
	struct err err = {0};
	static char big[65536];

	memset(big, 'x', sizeof(big) - 1);
	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	write_file(layer_draft_fs(draft), "own", big);
	assert_int_equal(linkat(cache, "wheel", layer_draft_fs(draft), "wheel", 0), 0);
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
}

static void what_a_cache_has_too_is_listed(void **state)
{
	SCRATCH(state);
	cleanup(arena_done) struct arena a = {0};
	cleanup(layer_cache_close) struct layer_cache *cache = NULL;
	struct layer_weight one, again, weight_of_cache;
	const struct layer_key key = key_number(1);
	struct stat st;
	char path[80];

	assert_ok(layer_cache_open(s->store, STR("/root/.cache"), &shared, &cache, &err), &err);
	write_file(layer_cache_dir(cache), "wheel", "12345");
	make_linked(s, 1, layer_cache_dir(cache));
	assert_ok(layer_weigh(s->store, &a, &key, &one, &err), &err);
	assert_int_equal(one.link_count, 1);
	assert_true(one.disk >= 65536 + one.links[0].disk);
	assert_int_equal(fstatat(layer_cache_dir(cache), "wheel", &st, 0), 0);
	assert_int_equal(one.links[0].inode, st.st_ino);
	assert_int_equal(one.links[0].disk, st.st_blocks * 512);
	/* It is remembered: the tree is not looked at any more. */
	snprintf(path, sizeof(path), "store/layers/%s/fs/later", key.hex);
	write_file(s->dir, path, "123");
	assert_ok(layer_weigh(s->store, &a, &key, &again, &err), &err);
	assert_int_equal(again.disk, one.disk);
	layer_cache_close(take_ptr(cache));
	struct digest d = digest_of("/root/.cache", 12);
	char hex[DIGEST_HEX_SIZE], name[48];
	snprintf(name, sizeof(name), "%.40s", digest_hex(&d, hex));
	assert_ok(layer_cache_weigh(s->store, &a, name, &weight_of_cache, &err), &err);
	assert_int_equal(weight_of_cache.link_count, 1);
	assert_int_equal(weight_of_cache.links[0].inode, st.st_ino);
}

/* ---- Caches ---- */

struct listed {
	struct layer_cache_info info;
	char id[64];
	size_t count;
};

static int list_one(void *arg, const struct layer_cache_info *info)
{
	struct listed *l = arg;

	l->info = *info;
	snprintf(l->id, sizeof(l->id), "%s", info->id);
	l->count++;
	return 0;
}

static struct listed list_caches(struct scratch *s)
{
	struct listed l = {0};
	struct err err = {0};

	assert_ok(layer_cache_list(s->store, list_one, &l, &err), &err);
	return l;
}

static void caches_go_when_nobody_uses_them(void **state)
{
	SCRATCH(state);
	struct layer_cache *cache = NULL, *next = NULL;

	assert_ok(layer_cache_open(s->store, STR("pip"), &shared, &cache, &err), &err);
	write_file(layer_cache_dir(cache), "x", "1");
	struct listed l = list_caches(s);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.id, "pip");
	assert_true(l.info.is_busy);
	assert_true(l.info.used >= time(NULL) - 10);
	assert_int_equal(layer_cache_drop(s->store, l.info.name, &err), LAYER_E_BUSY);
	layer_cache_close(cache);
	assert_false(list_caches(s).info.is_busy);
	assert_ok(layer_cache_drop(s->store, l.info.name, &err), &err);
	assert_int_equal(layer_cache_drop(s->store, l.info.name, &err), LAYER_E_ABSENT);
	assert_int_equal(list_caches(s).count, 0);
	assert_ok(layer_cache_open(s->store, STR("pip"), &shared, &next, &err), &err);
	assert_string_equal(type_of(layer_cache_dir(next), "x"), "");
	layer_cache_close(next);
}

/* Opens and closes the cache again and again; a file in it must stay while it is open. */
static int use_cache(void *arg)
{
	struct scratch *s = arg;

	for (int i = 0; i < 300; i++) {
		struct layer_cache *cache = NULL;
		struct stat st;
		if (layer_cache_open(s->store, STR("c"),
			    &(struct layer_cache_options){
				    .sharing = LAYER_LOCKED, .wait = true, .mode = 0755},
			    &cache, NULL) != 0)
			return 1;
		write_file(layer_cache_dir(cache), "x", "1");
		/* Its directory was not taken away meanwhile. */
		if (fstatat(layer_cache_dir(cache), "x", &st, 0) < 0)
			return 2;
		layer_cache_close(cache);
	}
	return 0;
}

static int drop_caches(void *arg)
{
	struct scratch *s = arg;
	struct digest d = digest_of("c", 1);
	char hex[DIGEST_HEX_SIZE], name[48];

	snprintf(name, sizeof(name), "%.40s", digest_hex(&d, hex));
	for (int i = 0; i < 300; i++) {
		struct err err = {0};
		if (layer_cache_drop(s->store, name, &err) < 0)
			return 3;
		usleep(200);
	}
	return 0;
}

static int use_and_drop(void *arg)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(drop_caches(arg));
	int used = in_child(use_cache, arg), status = 0;
	while (waitpid(pid, &status, 0) < 0)
		;
	return used ? used : status;
}

static void dropping_does_not_hurt_users(void **state)
{
	SCRATCH(state);
	assert_int_equal(in_child(use_and_drop, s), 0);
}

/* ---- The end of layers ---- */

static void the_trash_counts_what_the_disk_gets_back(void **state)
{
	SCRATCH(state);
	cleanup(layer_cache_close) struct layer_cache *cache = NULL;
	const struct layer_key one = key_number(1), two = key_number(2);
	static char big[262144];
	uint64_t freed;

	memset(big, 'y', sizeof(big) - 1);
	assert_ok(layer_cache_open(s->store, STR("c"), &shared, &cache, &err), &err);
	write_file(layer_cache_dir(cache), "wheel", big);
	make_linked(s, 1, layer_cache_dir(cache));
	make_linked(s, 2, layer_cache_dir(cache));
	assert_ok(layer_drop(s->store, &one, &err), &err);
	assert_false(layer_has(s->store, &one));
	assert_true(layer_has(s->store, &two));
	assert_ok(layer_empty_trash(s->store, &freed, &err), &err);
	/* Its own file, not the one that the cache has. */
	assert_true(freed >= 65536 && freed < 262144);
	assert_int_equal(unlinkat(layer_cache_dir(cache), "wheel", 0), 0);
	assert_ok(layer_drop(s->store, &two, &err), &err);
	assert_ok(layer_empty_trash(s->store, &freed, &err), &err);
	assert_true(freed >= 327680);
	assert_int_equal(count_entries(s->dir, "store/trash"), 0);
	/* The cache that is in use. */
	assert_int_equal(count_entries(s->dir, "store/unsynced"), 1);
}

static void old_memos_and_dead_locks_go(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf value = {0};
	struct layer_key live = key_number(1), dead = key_number(2);
	char path[80];
	int lock = -1;

	assert_ok(layer_memo_put(s->store, STR("m"), STR("v"), &err), &err);
	assert_ok(layer_lock_key(s->store, &live, true, &lock, &err), &err);
	snprintf(path, sizeof(path), "store/locks/%s", dead.hex);
	write_file(s->dir, path, "");
	assert_ok(layer_sweep(s->store, time(NULL) - 100, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/locks"), 1);
	assert_ok(layer_memo_get(s->store, STR("m"), &value, &err), &err);
	assert_ok(layer_sweep(s->store, time(NULL) + 100, &err), &err);
	assert_int_equal(layer_memo_get(s->store, STR("m"), &value, &err), LAYER_E_ABSENT);
	layer_unlock_key(s->store, &live, lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_survive_a_round),
		WITH_SCRATCH(what_a_cache_has_too_is_listed),
		WITH_SCRATCH(caches_go_when_nobody_uses_them),
		WITH_SCRATCH(dropping_does_not_hurt_users),
		WITH_SCRATCH(the_trash_counts_what_the_disk_gets_back),
		WITH_SCRATCH(old_memos_and_dead_locks_go),
	};

	scratch_enter();
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return r;
}
