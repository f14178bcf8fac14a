/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "tree/fixture.h"

/* Where COPY puts things, and what it makes of what is there. */

static void point_28_directories_are_copied_as_contents(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "d/a", "1", 0644);
	put_file(t.context, "d/sub/b", "2", 0755);
	copy(t, "d", NULL, "/x");
	copy(t, "d", NULL, "/y/");
	copy(t, "d/sub", NULL, "/y/");
	copy(t, "d/a", NULL, "/");
	copy(t, "d/a", NULL, "/z");
	copy(t, "d/a", NULL, "/new/./dir/.");
	expect_tree(t.image, "file 0644 0:0 a =1\n"
			     "dir 0755 0:0 new\n"
			     "dir 0755 0:0 new/dir\n"
			     "file 0644 0:0 new/dir/a =1\n"
			     "dir 0755 0:0 x\n"
			     "file 0644 0:0 x/a =1\n"
			     "dir 0755 0:0 x/sub\n"
			     "file 0755 0:0 x/sub/b =2\n"
			     "dir 0755 0:0 y\n"
			     "file 0644 0:0 y/a =1\n"
			     "file 0755 0:0 y/b =2\n"
			     "dir 0755 0:0 y/sub\n"
			     "file 0755 0:0 y/sub/b =2\n"
			     "file 0644 0:0 z =1\n");
	close_trees(t);
}

static void point_29_several_files_and_no_directory(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "f1", "1", 0644);
	put_file(t.context, "f2", "2", 0644);
	put_file(t.context, "d/f1", "3", 0644);
	copy(t, "f1", "f2", "/x");
	assert_string_equal(show_one(t.image, "x"), "file 0644 0:0 =2");
	put_dir(t.image, "there", 0755);
	copy(t, "f1", "f2", "/there");
	assert_string_equal(show_one(t.image, "there/f2"), "file 0644 0:0 =2");
	copy(t, "d", "f2", "/fresh");
	assert_string_equal(show_one(t.image, "fresh/f2"), "file 0644 0:0 =2");
	/* Of equal names the last one stays. */
	copy(t, "f1", "d/f1", "/same/");
	assert_string_equal(show_one(t.image, "same/f1"), "file 0644 0:0 =3");
	close_trees(t);
}

static void point_30_nested_dirs_take_source_mode(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_dir(t.image, "tmp", 01777);
	put_dir(t.image, "top", 0700);
	put_dir(t.image, "top/nested", 0711);
	put_owner(t.image, "top", 5, 6);
	put_owner(t.image, "top/nested", 5, 6);
	put_file(t.context, "rootfs/tmp/f", "", 0644);
	put_file(t.context, "d/nested/f", "", 0644);
	put_dir(t.context, "d/closed", 0500);
	assert_int_equal(fchmodat(t.context, "d/nested", 02750, 0), 0);
	copy(t, "rootfs", NULL, "/");
	assert_string_equal(show_one(t.image, "tmp"), "dir 0755 0:0");
	copy(t, "d", NULL, "/top");
	assert_string_equal(show_one(t.image, "top"), "dir 0700 5:6");
	assert_string_equal(show_one(t.image, "top/nested"), "dir 2750 0:0");
	assert_string_equal(show_one(t.image, "top/closed"), "dir 0500 0:0");
	close_trees(t);
}

static void point_31_new_top_dir_is_root_0755(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct dir_owner owner = {1000, 1001};
	struct tree_copy_options options = copy_to("/a/b");
	struct err err = {0};

	put_dir(t.context, "d", 0700);
	put_dir(t.context, "d/sub", 0711);
	copy(t, "d", NULL, "/x");
	assert_string_equal(show_one(t.image, "x"), "dir 0755 0:0");
	assert_string_equal(show_one(t.image, "x/sub"), "dir 0711 0:0");
	options.owner = &owner;
	assert_int_equal(copy_with(t, "d", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "a"), "dir 0755 1000:1001");
	assert_string_equal(show_one(t.image, "a/b"), "dir 0755 1000:1001");
	assert_string_equal(show_one(t.image, "a/b/sub"), "dir 0711 1000:1001");
	/* An existing one keeps its owner, --chown or not. */
	options.dest = "/x";
	assert_int_equal(copy_with(t, "d", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "x"), "dir 0755 0:0");
	assert_string_equal(show_one(t.image, "x/sub"), "dir 0711 1000:1001");
	close_trees(t);
}

static void point_32_chmod_is_for_parents_too(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct tree_mode mode;
	struct tree_copy_options options = copy_to("/new/dir/f");
	struct err err = {0};

	put_file(t.context, "f", "x", 0644);
	put_file(t.context, "d/sub/script", "x", 0755);
	put_link(t.context, "d/link", "script");
	options.mode = &mode;
	assert_int_equal(tree_mode_parse(STR("700"), &mode, &err), 0);
	assert_int_equal(copy_with(t, "f", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "new"), "dir 0700 0:0");
	assert_string_equal(show_one(t.image, "new/dir"), "dir 0700 0:0");
	assert_string_equal(show_one(t.image, "new/dir/f"), "file 0700 0:0 =x");
	assert_int_equal(tree_mode_parse(STR("0"), &mode, &err), 0);
	options.dest = "/zero";
	assert_int_equal(copy_with(t, "f", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "zero"), "file 0000 0:0 =x");
	assert_int_equal(tree_mode_parse(STR("u=rwX,go=rX"), &mode, &err), 0);
	options.dest = "/words";
	assert_int_equal(copy_with(t, "d", "f", &options, &err), 0);
	assert_string_equal(show_one(t.image, "words"), "dir 0755 0:0");
	assert_string_equal(show_one(t.image, "words/sub/script"), "file 0755 0:0 =x");
	assert_string_equal(show_one(t.image, "words/f"), "file 0644 0:0 =x");
	assert_string_equal(show_one(t.image, "words/link"), "link 0:0 ->script");
	assert_int_equal(tree_mode_parse(STR("go="), &mode, &err), 0);
	options.dest = "/private/x/";
	assert_int_equal(copy_with(t, "f", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "private/x"), "dir 0700 0:0");
	assert_string_equal(show_one(t.image, "private/x/f"), "file 0600 0:0 =x");
	close_trees(t);
}

static void point_33_links_in_the_destination_stay_inside(void **state)
{
	int top = *(int *)*state;
	struct trees t = make_trees(top);

	put_dir(top, "outside", 0755);
	put_file(t.context, "f", "x", 0644);
	put_file(t.context, "d/f", "y", 0644);
	put_link(t.image, "abs", "/real/deep");
	put_link(t.image, "up", "../../../../outside");
	put_link(t.image, "chain", "abs");
	copy(t, "f", NULL, "/abs/one");
	assert_string_equal(show_one(t.image, "real/deep/one"), "file 0644 0:0 =x");
	copy(t, "f", NULL, "/chain/");
	assert_string_equal(show_one(t.image, "real/deep/f"), "file 0644 0:0 =x");
	copy(t, "d", NULL, "/chain");
	assert_string_equal(show_one(t.image, "real/deep/f"), "file 0644 0:0 =y");
	copy(t, "d", NULL, "/up");
	assert_string_equal(show_one(t.image, "outside/f"), "file 0644 0:0 =y");
	/* ".." is taken away before links are looked at, so nothing is made for it. */
	copy(t, "f", NULL, "/up/none/../../../../escaped");
	assert_string_equal(show_one(t.image, "escaped"), "file 0644 0:0 =x");
	assert_string_equal(show_one(t.image, "abs"), "link 0:0 ->/real/deep");
	assert_string_equal(show_one(t.image, "up"), "link 0:0 ->../../../../outside");
	assert_string_equal(show_one(top, "outside/f"), "missing");
	assert_string_equal(show_one(top, "escaped"), "missing");
	assert_string_equal(show_one(t.image, "outside/none"), "missing");
	close_trees(t);
}

static void point_34_a_link_named_is_followed(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "f", "new", 0644);
	put_file(t.image, "target", "old", 0600);
	put_link(t.image, "link", "target");
	put_link(t.image, "dangling", "made/by/copy");
	copy(t, "f", NULL, "/link");
	assert_string_equal(show_one(t.image, "link"), "link 0:0 ->target");
	assert_string_equal(show_one(t.image, "target"), "file 0644 0:0 =new");
	copy(t, "f", NULL, "/dangling");
	assert_string_equal(show_one(t.image, "dangling"), "link 0:0 ->made/by/copy");
	assert_string_equal(show_one(t.image, "made/by/copy"), "file 0644 0:0 =new");
	put_link(t.image, "loop", "loop");
	copy_fails(t, "f", NULL, "/loop", "loop");
	close_trees(t);
}

static void point_34_a_link_met_in_a_tree_is_not(void **state)
{
	int top = *(int *)*state;
	struct trees t = make_trees(top);

	put_file(top, "outside", "untouched", 0600);
	put_file(t.context, "d/passwd", "new", 0644);
	put_file(t.context, "libs/lib/x", "", 0644);
	put_file(t.image, "victim", "untouched", 0600);
	put_link(t.image, "etc/passwd", "../victim");
	put_link(t.image, "out/passwd", "../../../outside");
	put_dir(t.image, "usr/lib", 0755);
	put_link(t.image, "lib", "usr/lib");
	copy(t, "d", NULL, "/etc");
	copy(t, "d/passwd", NULL, "/out/");
	assert_string_equal(show_one(t.image, "etc/passwd"), "file 0644 0:0 =new");
	assert_string_equal(show_one(t.image, "out/passwd"), "file 0644 0:0 =new");
	assert_string_equal(show_one(t.image, "victim"), "file 0600 0:0 =untouched");
	assert_string_equal(show_one(top, "outside"), "file 0600 0:0 =untouched");
	copy_fails(t, "libs", NULL, "/", "cannot copy to non-directory: /lib");
	assert_string_equal(show_one(t.image, "usr/lib/x"), "missing");
	close_trees(t);
}

static void point_34_types_in_the_way(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "dir/x/f", "", 0644);
	put_file(t.context, "file/x", "text", 0644);
	put_file(t.image, "a/x", "old", 0600);
	put_file(t.image, "b/x/in", "old", 0600);
	copy_fails(t, "dir", NULL, "/a", "cannot copy to non-directory: /a/x");
	copy_fails(t, "dir", NULL, "/a/x", "cannot copy to non-directory: /a/x");
	copy_fails(t, "dir", NULL, "/a/x/", "cannot copy to non-directory: /a/x");
	copy_fails(t, "file/x", NULL, "/a/x/", "cannot copy to non-directory: /a/x");
	copy_fails(t, "file/x", NULL, "/a/x/y", "/a/x/y: open x: Not a directory");
	copy_fails(t, "file", NULL, "/b", "cannot replace the directory /b/x with a file");
	copy_fails(t, "file/x", NULL, "/b/", "cannot replace the directory /b/x with a file");
	assert_string_equal(show_one(t.image, "b/x/in"), "file 0600 0:0 =old");
	/* A file named x into the directory x of the image. */
	copy(t, "file/x", NULL, "/b/x");
	assert_string_equal(show_one(t.image, "b/x/x"), "file 0644 0:0 =text");
	copy(t, "file", NULL, "/a");
	assert_string_equal(show_one(t.image, "a/x"), "file 0644 0:0 =text");
	close_trees(t);
}

static void point_42_a_copy_onto_nothing(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	/* COPY --link writes into an empty root: missing directories, no links to follow. */
	put_file(t.context, "d/f", "x", 0644);
	copy(t, "d", NULL, "/usr/share/app");
	expect_tree(t.image, "dir 0755 0:0 usr\n"
			     "dir 0755 0:0 usr/share\n"
			     "dir 0755 0:0 usr/share/app\n"
			     "file 0644 0:0 usr/share/app/f =x\n");
	close_trees(t);
}

static void kernel_directories_of_the_image_are_ordinary(void **state)
{
	int top = *(int *)*state;
	struct trees t = make_trees(top);

	put_file(t.context, "f", "x", 0644);
	put_link(t.image, "proc", "/proc");
	put_link(t.image, "dev", "../../../../../../dev");
	copy(t, "f", NULL, "/sys/f");
	assert_string_equal(show_one(t.image, "sys/f"), "file 0644 0:0 =x");
	copy_fails(t, "f", NULL, "/proc/f", "/proc/f");
	copy_fails(t, "f", NULL, "/dev/f", "/dev/f");
	assert_int_equal(faccessat(AT_FDCWD, "/dev/f", F_OK, 0), -1);
	close_trees(t);
}

static void nothing_selected_changes_nothing(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	copy(t, "*.none", NULL, "/new/dir/");
	expect_tree(t.image, "");
	close_trees(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(point_28_directories_are_copied_as_contents),
		fixture_test(point_29_several_files_and_no_directory),
		fixture_test(point_30_nested_dirs_take_source_mode),
		fixture_test(point_31_new_top_dir_is_root_0755),
		fixture_test(point_32_chmod_is_for_parents_too),
		fixture_test(point_33_links_in_the_destination_stay_inside),
		fixture_test(point_34_a_link_named_is_followed),
		fixture_test(point_34_a_link_met_in_a_tree_is_not),
		fixture_test(point_34_types_in_the_way),
		fixture_test(point_42_a_copy_onto_nothing),
		fixture_test(kernel_directories_of_the_image_are_ordinary),
		fixture_test(nothing_selected_changes_nothing),
	};

	/* Everything that is copied gets an owner. */
	if (!fixture_become_root())
		return 77; /* skipped, to meson */
	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
