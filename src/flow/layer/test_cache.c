/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "layer/internal.h"
#include "layer/test_scratch.h"

static const struct layer_cache_options shared = {.sharing = LAYER_SHARED, .mode = 0755};
static const struct layer_cache_options locked = {.sharing = LAYER_LOCKED, .mode = 0755};
static const struct layer_cache_options private = {.sharing = LAYER_PRIVATE, .mode = 0755};

static struct layer_cache *open_cache(
	struct scratch *s, struct str id, const struct layer_cache_options *options)
{
	struct layer_cache *cache = NULL;
	struct err err = {0};

	assert_ok(layer_cache_open(s->store, id, options, &cache, &err), &err);
	return cache;
}

static bool is_busy(struct scratch *s, struct str id, const struct layer_cache_options *options)
{
	struct layer_cache *cache = NULL;
	struct err err = {0};
	int r = layer_cache_open(s->store, id, options, &cache, &err);

	layer_cache_close(cache);
	assert_true(r == 0 || r == LAYER_E_BUSY);
	return r == LAYER_E_BUSY;
}

static void sharing_is_kept(void **state)
{
	SCRATCH(state);
	struct layer_cache *one = open_cache(s, STR("a"), &shared);

	assert_false(is_busy(s, STR("a"), &shared));
	assert_true(is_busy(s, STR("a"), &locked));
	assert_false(is_busy(s, STR("b"), &locked));
	write_file(layer_cache_dir(one), "x", "kept");
	struct layer_cache *copy = open_cache(s, STR("a"), &private);
	assert_string_equal(type_of(layer_cache_dir(copy), "x"), "");
	layer_cache_close(copy);
	layer_cache_close(one);
	one = open_cache(s, STR("a"), &locked);
	assert_string_equal(read_file(layer_cache_dir(one), "x"), "kept");
	assert_true(is_busy(s, STR("a"), &shared));
	assert_true(is_busy(s, STR("a"), &locked));
	layer_cache_close(one);
	assert_false(is_busy(s, STR("a"), &locked));
}

static void only_new_caches_get_owner_and_mode(void **state)
{
	SCRATCH(state);
	struct layer_cache_options options = {
		.sharing = LAYER_SHARED, .mode = 02770, .uid = 1000, .gid = 1001};
	struct stat st;

	struct layer_cache *c = open_cache(s, STR("a"), &options);
	assert_int_equal(fstat(layer_cache_dir(c), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02770);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	write_file(layer_cache_dir(c), "x", "x");
	layer_cache_close(c);
	options.uid = 5;
	c = open_cache(s, STR("a"), &options);
	assert_int_equal(fstat(layer_cache_dir(c), &st), 0);
	assert_int_equal(st.st_uid, 1000);
	layer_cache_close(c);
	options.is_fresh = true;
	c = open_cache(s, STR("a"), &options);
	assert_int_equal(fstat(layer_cache_dir(c), &st), 0);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(count_entries(layer_cache_dir(c), "."), 0);
	assert_true(is_busy(s, STR("a"), &options));
	layer_cache_close(c);
}

static void ids_are_no_paths(void **state)
{
	SCRATCH(state);

	layer_cache_close(open_cache(s, STR("../../escaped"), &shared));
	layer_cache_close(open_cache(s, STR("/etc\0x"), &shared));
	layer_cache_close(open_cache(s, STR("/etc\0y"), &shared));
	layer_cache_close(open_cache(s, STR(""), &shared));
	assert_int_equal(count_entries(s->dir, "store/caches"), 4);
	assert_string_equal(type_of(s->dir, "escaped"), "");
}

/* ---- Grafts ---- */

/* A draft with root/.cache/uv made through a mount, as the build room does it. */
static struct layer_draft *draft_with_target(struct scratch *s)
{
	struct layer_draft *draft = NULL;
	struct err err = {0};

	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	int fs = layer_draft_fs(draft);
	assert_int_equal(mkdirat(fs, "root", 0700), 0);
	assert_int_equal(mkdirat(fs, "root/.cache", 0755), 0);
	assert_int_equal(mkdirat(fs, "root/.cache/uv", 0711), 0);
	return draft;
}

#define TARGET "/root/.cache/uv"

static void grafted_caches_share_files_with_the_tree(void **state)
{
	SCRATCH(state);
	const struct layer_chain nothing = {0};
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	struct stat st;

	write_file(layer_cache_dir(cache), "wheel", "wheel");
	assert_ok(layer_cache_graft(cache, draft, TARGET, &err), &err);
	struct layer_upper upper = layer_draft_upper(draft);
	int dir = layer_draft_dir(draft);
	assert_ok(layer_mount(s->store, nothing, &upper, dir, LAYER_MERGED, &err), &err);
	int root = openat(dir, LAYER_MERGED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(linkat(root, "root/.cache/uv/wheel", root, "installed", 0), 0);
	write_file(root, "root/.cache/uv/new", "new");
	close(root);
	assert_ok(layer_unmount(dir, LAYER_MERGED, &err), &err);
	const struct layer_info info = {.kind = LAYER_STEP};
	struct layer_key key = key_number(1);
	assert_int_equal(layer_publish(draft, &key, &info, &err), -ERR_BUG);
	assert_ok(layer_cache_ungraft(cache, &err), &err);
	int fs = layer_draft_fs(draft);
	assert_int_equal(fstatat(fs, "installed", &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(count_entries(fs, "root/.cache/uv"), 0);
	assert_int_equal(fstatat(fs, "root/.cache/uv", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_string_equal(type_of(fs, "root/.cache/uv"), "d");
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	layer_discard(draft);
	layer_cache_close(cache);
	cache = open_cache(s, STR("uv"), &shared);
	assert_string_equal(read_file(layer_cache_dir(cache), "new"), "new");
	assert_string_equal(type_of(layer_cache_dir(cache), "."), "d");
	layer_cache_close(cache);
}

static int die_with_graft(void *arg)
{
	struct scratch *s = arg;
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &locked);
	struct err err = {0};

	write_file(layer_cache_dir(cache), "wheel", "wheel");
	if (layer_cache_graft(cache, draft, TARGET, &err) != 0)
		return 1;
	raise(SIGKILL);
	return 2;
}

static void grafts_of_the_dead_come_back(void **state)
{
	SCRATCH(state);
	struct layer_store *again = NULL;

	assert_int_equal(in_child(die_with_graft, s), 256 + SIGKILL);
	int fd = openat(s->dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(layer_store_open(fd, LAYER_WRITE, &again, &err), &err);
	close(fd);
	assert_ok(layer_tidy(again, &err), &err);
	struct layer_cache *cache = open_cache(s, STR("uv"), &locked);
	assert_string_equal(read_file(layer_cache_dir(cache), "wheel"), "wheel");
	assert_string_equal(type_of(layer_cache_dir(cache), "."), "d");
	layer_cache_close(cache);
	layer_store_close(again);
}

static void discarded_drafts_give_grafts_back(void **state)
{
	SCRATCH(state);
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);

	write_file(layer_cache_dir(cache), "wheel", "wheel");
	assert_ok(layer_cache_graft(cache, draft, TARGET, &err), &err);
	layer_discard(draft);
	layer_cache_close(cache);
	cache = open_cache(s, STR("uv"), &shared);
	assert_string_equal(read_file(layer_cache_dir(cache), "wheel"), "wheel");
	layer_cache_close(cache);
}

/* What a hostile step can do to the place while it runs. */
static void a_place_that_changed_gives_nothing_away(void **state)
{
	SCRATCH(state);
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	int fs = layer_draft_fs(draft);

	assert_int_equal(mkdirat(s->dir, "victim", 0700), 0);
	write_file(s->dir, "victim/uv", "precious");
	assert_ok(layer_cache_graft(cache, draft, TARGET, &err), &err);
	assert_int_equal(renameat(fs, "root/.cache", fs, "root/moved"), 0);
	assert_int_equal(symlinkat("../../../../../../victim", fs, "root/.cache"), 0);
	assert_ok(layer_cache_ungraft(cache, &err), &err);
	assert_string_equal(read_file(s->dir, "victim/uv"), "precious");
	layer_cache_close(cache);
	/* The cache went with the step; the next one starts empty. */
	cache = open_cache(s, STR("uv"), &shared);
	assert_int_equal(count_entries(layer_cache_dir(cache), "."), 0);
	/* Another directory in its place stays where it is. */
	assert_int_equal(mkdirat(fs, "other", 0755), 0);
	assert_ok(layer_cache_graft(cache, draft, "other", &err), &err);
	assert_int_equal(renameat(fs, "other", fs, "other2"), 0);
	assert_int_equal(mkdirat(fs, "other", 0755), 0);
	write_file(fs, "other/mine", "mine");
	assert_ok(layer_cache_ungraft(cache, &err), &err);
	assert_string_equal(read_file(fs, "other/mine"), "mine");
	layer_cache_close(cache);
	layer_discard(draft);
}

static void unfit_places_are_refused(void **state)
{
	SCRATCH(state);
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	int fs = layer_draft_fs(draft);
	static const char *const paths[] = {"", "/", "/none", "/none/x", "/root", "/link",
		"/link/x", "/file", "/root/..", "/../x", "/root/.cache/uv/."};

	assert_int_equal(symlinkat("root/.cache", fs, "link"), 0);
	write_file(fs, "file", "file");
	for (size_t i = 0; i < array_size(paths); i++)
		assert_true(layer_cache_graft(cache, draft, paths[i], &err) < 0);
	struct layer_cache *second = open_cache(s, STR("uv"), &shared);
	assert_int_equal(layer_cache_graft(cache, draft, TARGET, &err), LAYER_E_BUSY);
	layer_cache_close(second);
	assert_ok(layer_cache_graft(cache, draft, TARGET, &err), &err);
	layer_cache_close(cache);
	assert_false(is_busy(s, STR("uv"), &locked));
	layer_discard(draft);
}

/* ---- Edits in place ---- */

/* A published layer that has the cache's "wheel" by a hard link, "other" beside it. */
static void publish_with_link(struct scratch *s, unsigned number)
{
	const struct layer_info info = {.kind = LAYER_STEP};
	struct layer_draft *draft = draft_with_target(s);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	struct layer_key key = key_number(number);
	struct err err = {0};
	int fs = layer_draft_fs(draft);

	write_file(layer_cache_dir(cache), "wheel", "wheel");
	assert_ok(layer_cache_graft(cache, draft, TARGET, &err), &err);
	assert_int_equal(linkat(fs, "root/.cache/uv/wheel", fs, "installed", 0), 0);
	assert_ok(layer_cache_ungraft(cache, &err), &err);
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	layer_discard(draft);
	layer_cache_close(cache);
}

static void edited_layers_are_dropped(void **state)
{
	SCRATCH(state);
	struct layer_cache_edits edits;
	struct layer_key key = key_number(1);

	publish_with_link(s, 1);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	assert_ok(layer_cache_watch(cache, &err), &err);
	assert_ok(layer_cache_verify(cache, &edits, &err), &err);
	assert_int_equal(edits.layers, 0);
	assert_true(layer_has(s->store, &key));
	assert_ok(layer_cache_watch(cache, &err), &err);
	write_file(layer_cache_dir(cache), "wheel", "edited");
	assert_ok(layer_cache_verify(cache, &edits, &err), &err);
	assert_int_equal(edits.layers, 1);
	assert_string_equal(edits.first, "installed");
	assert_false(layer_has(s->store, &key));
	struct layer_draft *draft = draft_with_target(s);
	layer_cache_close(cache);
	cache = open_cache(s, STR("uv"), &shared);
	assert_int_equal(layer_cache_graft(cache, draft, TARGET, &err), LAYER_E_BUSY);
	layer_cache_close(cache);
	layer_discard(draft);
}

/* The cached name may go after the edit: the layer's tells as well. */
static void edits_of_removed_names_are_found(void **state)
{
	SCRATCH(state);
	struct layer_cache_edits edits;
	struct layer_key key = key_number(1);

	publish_with_link(s, 1);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	assert_ok(layer_cache_watch(cache, &err), &err);
	write_file(layer_cache_dir(cache), "wheel", "edited");
	assert_int_equal(unlinkat(layer_cache_dir(cache), "wheel", 0), 0);
	assert_ok(layer_cache_verify(cache, &edits, &err), &err);
	assert_int_equal(edits.layers, 1);
	assert_false(layer_has(s->store, &key));
	layer_cache_close(cache);
}

static void owner_and_mode_are_put_back(void **state)
{
	SCRATCH(state);
	struct layer_cache_edits edits;
	struct layer_key key = key_number(1);
	struct stat st;

	publish_with_link(s, 1);
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	assert_ok(layer_cache_watch(cache, &err), &err);
	assert_int_equal(fchmodat(layer_cache_dir(cache), "wheel", 0600, 0), 0);
	assert_int_equal(fchownat(layer_cache_dir(cache), "wheel", 7, 8, 0), 0);
	assert_ok(layer_cache_verify(cache, &edits, &err), &err);
	assert_int_equal(edits.layers, 0);
	assert_int_equal(edits.restored, 1);
	layer_cache_close(cache);
	int layer = -1;
	assert_ok(layer_open(s->store, &key, &layer, &err), &err);
	assert_int_equal(fstatat(layer, "installed", &st, 0), 0);
	close(layer);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, 0);
}

static int die_while_editing(void *arg)
{
	struct scratch *s = arg;
	struct layer_cache *cache = open_cache(s, STR("uv"), &shared);
	struct err err = {0};

	if (layer_cache_watch(cache, &err) != 0)
		return 1;
	write_file(layer_cache_dir(cache), "wheel", "edited");
	raise(SIGKILL);
	return 2;
}

static void edits_of_the_dead_are_found(void **state)
{
	SCRATCH(state);
	struct layer_key key = key_number(1);

	publish_with_link(s, 1);
	assert_int_equal(in_child(die_while_editing, s), 256 + SIGKILL);
	assert_true(layer_has(s->store, &key));
	layer_cache_close(open_cache(s, STR("uv"), &locked));
	assert_false(layer_has(s->store, &key));
}

static int fill_or_fail(void *arg, int dirfd, struct err *err)
{
	const char *text = arg;

	if (!text)
		return err_set(err, ERR_INPUT, "no content");
	write_file(dirfd, "first", text);
	return 0;
}

static void new_caches_are_filled_once(void **state)
{
	SCRATCH(state);
	char text[] = "given";
	struct layer_cache_options options = locked;
	struct layer_cache *cache = NULL;

	options.fill = fill_or_fail;
	assert_int_equal(layer_cache_open(s->store, STR("x"), &options, &cache, &err), -ERR_INPUT);
	options.arg = text;
	cache = open_cache(s, STR("x"), &options);
	assert_string_equal(read_file(layer_cache_dir(cache), "first"), "given");
	assert_int_equal(unlinkat(layer_cache_dir(cache), "first", 0), 0);
	layer_cache_close(cache);
	cache = open_cache(s, STR("x"), &options);
	assert_int_equal(count_entries(layer_cache_dir(cache), "."), 0);
	layer_cache_close(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(sharing_is_kept),
		WITH_SCRATCH(only_new_caches_get_owner_and_mode),
		WITH_SCRATCH(ids_are_no_paths),
		WITH_SCRATCH(grafted_caches_share_files_with_the_tree),
		WITH_SCRATCH(grafts_of_the_dead_come_back),
		WITH_SCRATCH(discarded_drafts_give_grafts_back),
		WITH_SCRATCH(a_place_that_changed_gives_nothing_away),
		WITH_SCRATCH(unfit_places_are_refused),
		WITH_SCRATCH(edited_layers_are_dropped),
		WITH_SCRATCH(edits_of_removed_names_are_found),
		WITH_SCRATCH(owner_and_mode_are_put_back),
		WITH_SCRATCH(edits_of_the_dead_are_found),
		WITH_SCRATCH(new_caches_are_filled_once),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer caches", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
