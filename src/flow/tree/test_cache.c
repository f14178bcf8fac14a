/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "os/file.h"
#include "tree/cache.h"
#include "tree/fixture.h"

static const int64_t second = 1000000000;

static struct cache_record *record(const struct tree_cache *c, size_t i)
{
	if (i >= c->old.count || !c->old.records)
		abort();
	return (struct cache_record *)(uintptr_t)&c->old.records[i];
}

static bool has_path(const struct tree_cache *c, size_t i, const char *path)
{
	const struct cache_record *r = record(c, i);

	return str_is(str_from(c->old.texts + r->path, r->path_len), path);
}

/* One build, begun that many seconds after now: its digest; its cache is saved. */
static struct digest build(int root, int64_t later, size_t *ret_learned)
{
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");
	struct digest digest;
	struct err err = {0};

	c->begun += later * second;
	if (tree_digest(s, c, &digest, &err) < 0)
		fail_msg("%s", err.text);
	*ret_learned = c->count;
	assert_int_equal(tree_cache_save(c, root, "cache", &err), 0);
	return digest;
}

static void unchanged_files_are_not_read_again(void **state)
{
	int root = *(int *)*state;
	size_t learned;

	put_file(root, "d/a", "a", 0644);
	put_file(root, "d/sub/b", "b", 0644);
	struct digest first = build(root, 10, &learned);
	assert_int_equal(learned, 2);
	struct digest again = build(root, 20, &learned);
	assert_int_equal(learned, 0);
	assert_true(digest_eq(&first, &again));
	/* A record that says something else shows that it was believed. */
	cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	assert_int_equal(c->old.count, 2);
	record(c, 0)->digest[0] ^= 1;
	struct digest wrong;
	assert_int_equal(tree_digest(s, c, &wrong, NULL), 0);
	assert_false(digest_eq(&first, &wrong));
}

static void changed_files_are_read_again(void **state)
{
	int root = *(int *)*state;
	size_t learned;

	put_file(root, "d/a", "a", 0644);
	put_file(root, "d/b", "b", 0644);
	struct digest first = build(root, 10, &learned);
	struct timespec times[2] = {{0, UTIME_OMIT}, {mtime_of(root, "d/a") / second, 0}};
	/* Same size, same time of modification: the time of change tells. */
	times[1].tv_nsec = mtime_of(root, "d/a") % second;
	put_file(root, "d/a", "x", 0644);
	assert_int_equal(utimensat(root, "d/a", times, 0), 0);
	struct digest second_build = build(root, 20, &learned);
	assert_int_equal(learned, 1);
	assert_false(digest_eq(&first, &second_build));
	put_file(root, "d/a", "a", 0644);
	struct digest third = build(root, 30, &learned);
	assert_int_equal(learned, 1);
	assert_true(digest_eq(&first, &third));
	assert_int_equal(fchmodat(root, "d/b", 0600, 0), 0);
	struct digest fourth = build(root, 40, &learned);
	assert_false(digest_eq(&first, &fourth));
}

static void racy_files_are_not_remembered(void **state)
{
	int root = *(int *)*state;
	size_t learned;
	struct timespec past[2] = {{1, 0}, {1, 0}}, future[2] = {{1LL << 33, 0}, {1LL << 33, 0}};

	put_file(root, "d/a", "a", 0644);
	(void)build(root, 0, &learned);
	assert_int_equal(learned, 0);
	assert_int_equal(faccessat(root, "cache", F_OK, 0), -1);
	/* An old time of modification is no proof, a future one no obstacle. */
	assert_int_equal(utimensat(root, "d/a", past, 0), 0);
	(void)build(root, 1, &learned);
	assert_int_equal(learned, 0);
	assert_int_equal(utimensat(root, "d/a", future, 0), 0);
	(void)build(root, 3, &learned);
	assert_int_equal(learned, 1);
}

static void attributes_are_part_of_what_is_remembered(void **state)
{
	int root = *(int *)*state;
	size_t learned;

	put_file(root, "d/a", "a", 0644);
	struct digest bare = build(root, 10, &learned);
	int fd = openat(root, "d/a", O_RDONLY);
	struct tree_xattr xattr = {"user.color", STR("blue")};
	tree_xattrs_write(fd, &(struct tree_entry){.xattrs = &xattr, .xattr_count = 1});
	close(fd);
	struct digest first = build(root, 20, &learned);
	assert_int_equal(learned, 1);
	struct digest again = build(root, 30, &learned);
	assert_int_equal(learned, 0);
	assert_true(digest_eq(&first, &again));
	assert_false(digest_eq(&bare, &first));
}

static void replace(int root, struct str bytes)
{
	cleanup_close int fd = openat(root, "cache", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(file_write_fd(fd, bytes, NULL), 0);
}

static size_t records_now(int root)
{
	cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");

	return c->old.count;
}

static void damaged_files_count_as_absent(void **state)
{
	int root = *(int *)*state;
	size_t learned;
	cleanup(buf_done) struct buf bytes = {0};

	put_file(root, "d/a", "a", 0644);
	put_file(root, "d/b", "b", 0644);
	struct digest right = build(root, 10, &learned);
	assert_int_equal(file_read(root, "cache", 1 << 20, &bytes, NULL), 0);
	for (size_t i = 0; i < bytes.len; i++) {
		bytes.data[i] ^= 0x10;
		replace(root, buf_str(&bytes));
		assert_int_equal(records_now(root), 0);
		bytes.data[i] ^= 0x10;
	}
	for (size_t n = 0; n < bytes.len; n++) {
		replace(root, str_from(bytes.data, n));
		assert_int_equal(records_now(root), 0);
	}
	struct digest digest = build(root, 20, &learned);
	assert_true(digest_eq(&right, &digest));
	assert_int_equal(learned, 2);
	assert_int_equal(records_now(root), 2);
}

static void written_only_when_something_was_learned(void **state)
{
	int root = *(int *)*state;
	size_t learned;
	struct stat before, after;

	put_file(root, "d/a", "a", 0644);
	(void)build(root, 10, &learned);
	assert_int_equal(fstatat(root, "cache", &before, 0), 0);
	(void)build(root, 20, &learned);
	assert_int_equal(fstatat(root, "cache", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void forgotten_after_some_saves(void **state)
{
	int root = *(int *)*state;
	size_t learned;

	put_file(root, "d/gone", "a", 0644);
	put_file(root, "d/stays", "a", 0644);
	put_file(root, "d/zz", "a", 0644);
	(void)build(root, 10, &learned);
	assert_int_equal(unlinkat(root, "d/gone", 0), 0);
	for (int i = 0; i <= CACHE_MAX_AGE; i++) {
		cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");
		assert_int_equal(c->old.count, 3);
		put_file(root, "d/stays", i % 2 ? "b" : "c", 0644);
		(void)build(root, 20 + i, &learned);
		assert_int_equal(learned, 1);
	}
	cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");
	assert_int_equal(c->old.count, 2);
	assert_true(has_path(c, 0, "d/stays"));
	assert_true(has_path(c, 1, "d/zz"));
	assert_int_equal(record(c, 1)->age, 0);
}

static void several_selections_share_a_cache(void **state)
{
	int root = *(int *)*state;
	cleanup(tree_selection_free) struct tree_selection *one = NULL, *all = NULL;
	struct digest digest;
	struct err err = {0};

	put_file(root, "b", "b", 0644);
	put_file(root, "a/x", "x", 0644);
	put_file(root, "a-", "-", 0644);
	one = selected(root, "b", NULL);
	all = selected(root, ".", "b");
	struct tree_cache *c = tree_cache_load(root, "cache");
	c->begun += 10 * second;
	assert_int_equal(tree_digest(one, c, &digest, &err), 0);
	assert_int_equal(c->count, 1);
	assert_int_equal(tree_digest(all, c, &digest, &err), 0);
	assert_int_equal(c->count, 3);
	assert_int_equal(tree_cache_save(c, root, "cache", &err), 0);
	tree_cache_free(c);
	c = tree_cache_load(root, "cache");
	static const char *const paths[] = {"a/x", "a-", "b"};
	for (size_t i = 0; i < array_size(paths); i++)
		assert_true(has_path(c, i, paths[i]));
	assert_int_equal(tree_digest(one, c, &digest, &err), 0);
	assert_int_equal(tree_digest(all, c, &digest, &err), 0);
	assert_int_equal(c->count, 0);
	tree_cache_free(c);
}

static void saving_needs_a_place(void **state)
{
	int root = *(int *)*state;
	struct err err = {0};
	struct digest digest;

	put_file(root, "d/a", "a", 0644);
	put_dir(root, "cache/in-the-way", 0755);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	cleanup(tree_cache_free) struct tree_cache *c = tree_cache_load(root, "cache");
	c->begun += 10 * second;
	assert_int_equal(tree_digest(s, c, &digest, &err), 0);
	assert_true(tree_cache_save(c, root, "cache", &err) < 0);
	assert_non_null(strstr(err.text, "cache"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(unchanged_files_are_not_read_again),
		fixture_test(changed_files_are_read_again),
		fixture_test(racy_files_are_not_remembered),
		fixture_test(attributes_are_part_of_what_is_remembered),
		fixture_test(damaged_files_count_as_absent),
		fixture_test(written_only_when_something_was_learned),
		fixture_test(forgotten_after_some_saves),
		fixture_test(several_selections_share_a_cache),
		fixture_test(saving_needs_a_place),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
