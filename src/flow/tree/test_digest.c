/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "tree/fixture.h"

static struct digest digest_of_selected(
	int root, const struct tree_select_options *options, const char *a, const char *b)
{
	const char *const sources[] = {a, b};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;
	struct digest digest = {0};
	struct err err = {0};

	if (tree_select(root, sources, b ? 2 : 1, options, &s, &err) < 0 ||
		tree_digest(s, NULL, &digest, &err) < 0)
		fail_msg("%s", err.text);
	return digest;
}

static const struct tree_select_options plain = {.wildcard = rules_wildcard};

static struct digest digest_now(int root, const char *a)
{
	return digest_of_selected(root, &plain, a, NULL);
}

/* What each change does to the tree "d", and whether COPY d would give another result. */

static void no_change(int root)
{
	(void)root;
}

static void other_content(int root)
{
	put_file(root, "d/sub/f", "other", 0644);
}

static void other_size(int root)
{
	put_file(root, "d/sub/f", "text and more", 0644);
}

static void other_mode(int root)
{
	assert_int_equal(fchmodat(root, "d/sub/f", 0640, 0), 0);
}

static void set_user_id(int root)
{
	assert_int_equal(fchmodat(root, "d/sub/f", 04644, 0), 0);
}

static void other_directory_mode(int root)
{
	assert_int_equal(fchmodat(root, "d/sub", 0700, 0), 0);
}

static void other_name(int root)
{
	assert_int_equal(renameat(root, "d/sub/f", root, "d/sub/g"), 0);
}

static void other_target(int root)
{
	assert_int_equal(unlinkat(root, "d/link", 0), 0);
	put_link(root, "d/link", "else");
}

static void link_to_file(int root)
{
	assert_int_equal(unlinkat(root, "d/link", 0), 0);
	put_file(root, "d/link", "there", 0777);
}

static void new_empty_directory(int root)
{
	put_dir(root, "d/new", 0755);
}

static void file_to_fifo(int root)
{
	assert_int_equal(unlinkat(root, "d/sub/f", 0), 0);
	assert_int_equal(mkfifoat(root, "d/sub/f", 0644), 0);
}

static void other_attribute(int root)
{
	int fd = openat(root, "d/sub/f", O_RDONLY);

	assert_int_equal(fsetxattr(fd, "user.color", "blue", 4, 0), 0);
	close(fd);
}

static void other_directory_attribute(int root)
{
	int fd = sub(root, "d/sub");

	assert_int_equal(fsetxattr(fd, "user.color", "blue", 4, 0), 0);
	close(fd);
}

static void foreign_attribute(int root)
{
	int fd = openat(root, "d/sub/f", O_RDONLY);

	assert_int_equal(fsetxattr(fd, "user.overlay.opaque", "y", 1, 0), 0);
	close(fd);
}

static void other_times(int root)
{
	struct timespec times[2] = {{1, 2}, {3, 4}};

	assert_int_equal(utimensat(root, "d/sub/f", times, 0), 0);
	assert_int_equal(utimensat(root, "d/sub", times, 0), 0);
}

static void other_inode(int root)
{
	put_file(root, "d/sub/new", "text", 0644);
	assert_int_equal(renameat(root, "d/sub/new", root, "d/sub/f"), 0);
}

static void other_source_mode(int root)
{
	assert_int_equal(fchmodat(root, "d", 0700, 0), 0);
}

static const struct {
	const char *name;
	void (*apply)(int root);
	bool changes;
} changes[] = {
	{"no change", no_change, false},
	{"content", other_content, true},
	{"size", other_size, true},
	{"mode", other_mode, true},
	{"set-user-ID", set_user_id, true},
	{"directory mode", other_directory_mode, true},
	{"name", other_name, true},
	{"target", other_target, true},
	{"link to file", link_to_file, true},
	{"empty directory", new_empty_directory, true},
	{"FIFO", file_to_fifo, true},
	{"attribute", other_attribute, true},
	{"attribute of a directory", other_directory_attribute, true},
	{"attribute that is not carried", foreign_attribute, false},
	{"times", other_times, false},
	{"inode", other_inode, false},
	{"mode of the source itself", other_source_mode, false},
};

static void make_tree(int root)
{
	put_file(root, "d/sub/f", "text", 0644);
	put_link(root, "d/link", "there");
}

static void point_51_what_is_in_the_digest(void **state)
{
	int top = *(int *)*state;

	for (size_t i = 0; i < array_size(changes); i++) {
		char name[32];
		snprintf(name, sizeof(name), "t%zu", i);
		put_dir(top, name, 0755);
		int root = sub(top, name);
		make_tree(root);
		struct digest before = digest_now(root, "d");
		changes[i].apply(root);
		struct digest after = digest_now(root, "d");
		if (digest_eq(&before, &after) == changes[i].changes)
			fail_msg("%s: %s", changes[i].name,
				changes[i].changes ? "not seen" : "seen");
		close(root);
	}
}

static void point_51_place_of_the_source_is_not_in_the_digest(void **state)
{
	int root = *(int *)*state;

	put_file(root, "a/f", "text", 0644);
	put_file(root, "deep/er/b/f", "text", 0644);
	put_file(root, "g", "text", 0644);
	struct digest a = digest_now(root, "a");
	struct digest b = digest_now(root, "deep/er/b");
	assert_true(digest_eq(&a, &b));
	/* Of a file the last name is. */
	a = digest_now(root, "a/f");
	b = digest_now(root, "deep/er/b/f");
	struct digest g = digest_now(root, "g");
	assert_true(digest_eq(&a, &b));
	assert_false(digest_eq(&a, &g));
	/* A file and a directory with such a file in it are not the same. */
	b = digest_now(root, "a");
	assert_false(digest_eq(&a, &b));
}

static void point_51_owners_and_devices(void **state)
{
	need_root();
	int root = *(int *)*state;
	struct tree_select_options keep = {.keep_owner = true};

	put_file(root, "d/f", "", 0644);
	struct digest context = digest_now(root, "d");
	struct digest stage = digest_of_selected(root, &keep, "d", NULL);
	assert_true(digest_eq(&context, &stage));
	put_owner(root, "d/f", 0, 1000);
	struct digest again = digest_now(root, "d");
	assert_true(digest_eq(&context, &again));
	again = digest_of_selected(root, &keep, "d", NULL);
	assert_false(digest_eq(&stage, &again));
	if (mknodat(root, "null", S_IFCHR | 0666, makedev(1, 3)) < 0)
		return; /* in a user namespace */
	struct digest null = digest_now(root, "null");
	assert_int_equal(unlinkat(root, "null", 0), 0);
	assert_int_equal(mknodat(root, "null", S_IFCHR | 0666, makedev(1, 5)), 0);
	struct digest zero = digest_now(root, "null");
	assert_false(digest_eq(&null, &zero));
}

static void point_52_wildcards_and_empty_sets(void **state)
{
	int root = *(int *)*state;

	put_file(root, "a.txt", "same", 0644);
	put_file(root, "b.txt", "same", 0644);
	struct digest two = digest_now(root, "*.txt");
	struct digest none = digest_now(root, "*.none");
	struct digest nothing = digest_now(root, "nowhere/*");
	assert_true(digest_eq(&none, &nothing));
	assert_false(digest_eq(&none, &two));
	assert_int_equal(renameat(root, "b.txt", root, "c.txt"), 0);
	struct digest renamed = digest_now(root, "*.txt");
	assert_false(digest_eq(&two, &renamed));
	/* What is not matched is not looked at. */
	put_file(root, "other", "", 0644);
	struct digest again = digest_now(root, "*.txt");
	assert_true(digest_eq(&renamed, &again));
	/* In which order sources are written matters: the last one wins. */
	put_file(root, "x/f", "1", 0644);
	put_file(root, "y/f", "2", 0644);
	struct digest xy = digest_of_selected(root, &plain, "x", "y");
	struct digest yx = digest_of_selected(root, &plain, "y", "x");
	assert_false(digest_eq(&xy, &yx));
}

/* A released digest may not change silently: every key of every user's store is made of it. */
static void the_digest_is_the_same_everywhere(void **state)
{
	int root = *(int *)*state;
	char hex[DIGEST_HEX_SIZE];

	make_tree(root);
	assert_int_equal(fchmodat(root, "d/sub", 0755, 0), 0);
	struct digest digest = digest_now(root, "d");
	assert_string_equal(digest_hex(&digest, hex),
		"c5f50b96bea99f4d9c6d701d6dc1f6e77244a4428240866ba62925af7b693799");
	digest = digest_now(root, "*.none");
	assert_string_equal(digest_hex(&digest, hex),
		"f3231d35d4c94281c2937bce0a8540f621cd60da5d155d99ec1592f13554858f");
}

static void changed_files_are_named(void **state)
{
	int root = *(int *)*state;
	static void (*const happens[])(int) = {
		other_content, other_size, other_times, other_inode, other_name, file_to_fifo};

	for (size_t i = 0; i < array_size(happens); i++) {
		char name[32];
		struct digest digest = {{1}};
		struct err err = {0};
		snprintf(name, sizeof(name), "t%zu", i);
		put_dir(root, name, 0755);
		int dir = sub(root, name);
		make_tree(dir);
		cleanup(tree_selection_free) struct tree_selection *s = selected(dir, "d", NULL);
		happens[i](dir);
		assert_true(tree_digest(s, NULL, &digest, &err) < 0);
		assert_int_equal(err.kind, ERR_FAILED);
		assert_string_equal(err.text,
			"the build context: d/sub/f changed while the build was reading it");
		assert_int_equal(digest.bytes[0], 1);
		close(dir);
	}
}

static void unreadable_files_are_named(void **state)
{
	int root = *(int *)*state;
	uid_t self = geteuid();
	struct digest digest;
	struct err err = {0};

	put_file(root, "f", "", 0);
	assert_int_equal(fchmod(root, 0755), 0);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "f", NULL);
	if (self == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_true(tree_digest(s, NULL, &digest, &err) < 0);
	assert_int_equal(seteuid(self), 0);
	assert_int_equal(err.kind, ERR_DENIED);
	assert_non_null(strstr(err.text, "open f"));
	assert_non_null(strstr(err.hint, ".dockerignore"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(point_51_what_is_in_the_digest),
		fixture_test(point_51_place_of_the_source_is_not_in_the_digest),
		fixture_test(point_52_wildcards_and_empty_sets),
		fixture_test(the_digest_is_the_same_everywhere),
		fixture_test(changed_files_are_named),
		fixture_test(unreadable_files_are_named),
		fixture_test(point_51_owners_and_devices),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
