/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/recipe.h"
#include "layer/test_archive.h"

/* ---- Layers from archives, and back ---- */

static int keep(void *arg, struct str piece, struct err *err)
{
	(void)err;
	buf_add_str(arg, piece);
	return 0;
}

/* Unpack into a layer with its recipe; false when it has none. */
static bool publish(struct scratch *s, struct str tar, bool is_confined, struct layer_key *ret)
{
	const struct layer_info info = {.kind = LAYER_BASE};
	struct layer_draft *draft = NULL;
	struct layer_unpack_options options = {0};
	struct layer_unpack_stats stats;
	struct err err = {0};
	cleanup_close int fd = archive_file(tar), recipe = -1;

	*ret = key_number(1);
	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	assert_ok(layer_draft_recipe(draft, &recipe, &err), &err);
	options.recipe_fd = recipe;
	if (is_confined)
		assert_ok(layer_unpack_confined(layer_draft_fs(draft), fd, &options, &stats, &err),
			&err);
	else
		assert_ok(layer_unpack(layer_draft_fs(draft), fd, &options, &stats, &err), &err);
	assert_ok(layer_publish(draft, ret, &info, &err), &err);
	layer_discard(draft);
	assert_int_equal(stats.has_recipe, layer_has_recipe(s->store, ret));
	return stats.has_recipe;
}

static int pack(struct scratch *s, const struct layer_key *key, struct buf *ret, struct err *err)
{
	const struct layer_pack_options options = {.write = keep, .arg = ret};
	struct layer_pack_stats stats;
	int r = layer_pack_exact(s->store, key, &options, &stats, err);

	if (r == 0)
		assert_int_equal(stats.size, ret->len);
	return r;
}

static void assert_exact(struct scratch *s, struct str tar, bool is_confined)
{
	cleanup(buf_done) struct buf again = {0};
	struct layer_key key;
	struct err err = {0};

	assert_true(publish(s, tar, is_confined, &key));
	assert_ok(pack(s, &key, &again, &err), &err);
	assert_int_equal(again.len, tar.n);
	if (tar.n)
		assert_memory_equal(again.data, tar.p, tar.n);
}

static void add_all(struct buf *tar, const struct item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		archive_add(tar, &items[i]);
	archive_end(tar);
}

static const struct item ordinary[] = {
	{"./", '5', 0751, 1, 2},
	{"usr/", '5', 0755},
	{"usr/bin/", '5', 0755},
	{"usr/bin/su", '0', 04755, 3, 4, .data = "su", .pax = {"mtime=1234567890.987654321"}},
	{"usr/bin/sudo", '1', .link = "usr/bin/su"},
	{"bin", '2', 0777, 7, 8, .link = "usr/bin"},
	{"bin/sh", '0', 0755, .data = "through a link"},
	{"/abs//./file", '0', 0600, .data = "an odd name"},
	{"empty", '0', 0600},
	{"pax", '0', 0600, .data = "its size is in the pax header", .pax = {"size=29"},
		.size = "7"},
	{".wh.gone", '0', 0600},
	{"usr/.wh..wh..opq", '0', 0600},
	{"fifo", '6', 0600},
};

static void archives_come_back_byte_for_byte(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0};

	add_all(&tar, ordinary, array_size(ordinary));
	/* What writers leave behind the end. */
	for (int i = 0; i < 20; i++)
		buf_add(&tar, "\0\0\0\0\0\0\0\0", 8);
	buf_add_text(&tar, "and more");
	assert_exact(s, buf_str(&tar), false);
}

static void so_they_do_from_a_confined_child(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0};

	add_all(&tar, ordinary, array_size(ordinary));
	assert_exact(s, buf_str(&tar), true);
}

static void an_archive_of_nothing_has_a_recipe(void **state)
{
	SCRATCH(state);

	assert_exact(s, STR(""), false);
}

/* Several reads, and content that ends at none of their borders. */
static void large_archives_come_back_as_well(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, data = {0};

	for (int i = 0; i < 300000; i++)
		buf_printf(&data, "%d,", i);
	for (int i = 0; i < 400; i++) {
		cleanup(buf_done) struct buf name = {0};
		buf_printf(&name, "file-%d", i);
		const struct item item = {.name = buf_text(&name),
			.type = '0',
			.mode = 0644,
			.data = i % 100 ? data.data + data.len - (size_t)i * 97 : data.data};
		archive_add(&tar, &item);
	}
	archive_end(&tar);
	assert_exact(s, buf_str(&tar), false);
}

struct unlike {
	const char *what;
	struct item items[3];
	size_t count;
};

static void assert_none(struct scratch *s, const struct unlike *c)
{
	cleanup(buf_done) struct buf tar = {0}, out = {0};
	struct layer_key key;
	struct err err = {0};

	add_all(&tar, c->items, c->count);
	if (publish(s, buf_str(&tar), false, &key))
		fail_msg("%s: has a recipe", c->what);
	assert_int_equal(pack(s, &key, &out, &err), LAYER_E_ABSENT);
	assert_ok(layer_remove(s->store, &key, &err), &err);
}

static void what_the_tree_does_not_hold_has_none(void **state)
{
	SCRATCH(state);
	static const struct unlike cases[] = {
		{"a name twice", {{"a", '0', 0644, .data = "one"}, {"a", '0', 0644, .data = "two"}},
			2},
		{"content below /dev", {{"dev/x", '0', 0644, .data = "x"}}, 1},
		{"the same, and then a file of that size",
			{{"dev/x", '0', 0644, .data = "x"}, {"y", '0', 0644, .data = "y"}}, 2},
		{"a whiteout with content", {{".wh.x", '0', 0644, .data = "x"}}, 1},
		{"a file where a link replaces it",
			{{"a", '0', 0644, .data = "one"}, {"a", '2', .link = "b"}}, 2},
	};

	for (size_t i = 0; i < array_size(cases); i++)
		assert_none(s, &cases[i]);
}

/* ---- Recipes that lie ---- */

static void assert_refused(struct scratch *s, const struct layer_key *key, const char *expected)
{
	cleanup(buf_done) struct buf out = {0};
	struct err err = {0};

	assert_true(pack(s, key, &out, &err) < 0);
	if (!strstr(err.text, expected))
		fail_msg("%s: expected %s", err.text, expected);
}

static int open_in_layer(
	struct scratch *s, const struct layer_key *key, const char *name, int flags)
{
	cleanup(buf_done) struct buf path = {0};

	buf_printf(&path, "%s/%s", key->hex, name);
	int fd = openat(s->store->places[PLACE_LAYERS], buf_text(&path), flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void damaged_recipes_are_refused(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0};
	struct layer_key key;
	struct stat st;

	add_all(&tar, ordinary, array_size(ordinary));
	assert_true(publish(s, buf_str(&tar), false, &key));
	int fs = open_in_layer(s, &key, "fs", O_RDONLY | O_DIRECTORY);
	write_file(fs, "usr/bin/su", "another size");
	assert_refused(s, &key, "usr/bin/su: is not the file that was unpacked");
	assert_int_equal(unlinkat(fs, "usr/bin/su", 0), 0);
	assert_int_equal(symlinkat("sh", fs, "usr/bin/su"), 0);
	assert_refused(s, &key, "usr/bin/su");
	close(fs);

	int fd = open_in_layer(s, &key, "recipe", O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
	assert_refused(s, &key, "it has no end");
	assert_int_equal(pwrite(fd, "nonsense", 8, 0), 8);
	assert_refused(s, &key, "recipe of layer");
	close(fd);
	assert_ok(layer_drop_recipe(s->store, &key, &err), &err);
	assert_false(layer_has_recipe(s->store, &key));
}

static void records_are_taken_one_by_one(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t n;
		int r;
		char kind;
	} cases[] = {
		{"", 0, RECIPE_E_MORE, 0},
		{"L\3\0\0\0abcd", 9, 0, 'L'},
		{"L\5\0\0\0abcd", 9, RECIPE_E_MORE, 0},
		{"L\5\0\0", 4, RECIPE_E_MORE, 0},
		{"L\1\0\x10\0", 5, -ERR_INPUT, 0},
		{"F\7\0\0\0\0\0\0\0\1\0\0\0p", 14, 0, 'F'},
		{"F\7\0\0\0\0\0\0\0\0\0\0\0", 13, -ERR_INPUT, 0},
		{"F\7\0\0\0\0\0\0\0\2\0\0\0p\0", 15, -ERR_INPUT, 0},
		{"F\7\0\0\0\0\0\0\0\1\x10\0\0p", 14, -ERR_INPUT, 0},
		{"E\7\0\0\0\0\0\0\0", 9, 0, 'E'},
		{"E\7\0\0\0\0\0\0", 8, RECIPE_E_MORE, 0},
		{"X", 1, -ERR_INPUT, 0},
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct str rest = str_from(cases[i].bytes, cases[i].n);
		struct recipe_record record;
		struct err err = {0};
		assert_int_equal(recipe_next(&rest, &record, &err), cases[i].r);
		if (cases[i].r == 0)
			assert_int_equal(record.kind, cases[i].kind);
		else
			assert_int_equal(rest.n, cases[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_taken_one_by_one),
		WITH_SCRATCH(archives_come_back_byte_for_byte),
		WITH_SCRATCH(so_they_do_from_a_confined_child),
		WITH_SCRATCH(an_archive_of_nothing_has_a_recipe),
		WITH_SCRATCH(large_archives_come_back_as_well),
		WITH_SCRATCH(what_the_tree_does_not_hold_has_none),
		WITH_SCRATCH(damaged_recipes_are_refused),
	};

	scratch_enter();
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return r;
}
