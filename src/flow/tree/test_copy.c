/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/file.h"
#include "tree/fixture.h"

/* Two trees of a test: what is copied, and the image. */
struct trees {
	int context, image;
};

static struct trees make_trees(int top)
{
	put_dir(top, "context", 0755);
	put_dir(top, "image", 0755);
	return (struct trees){sub(top, "context"), sub(top, "image")};
}

static void close_trees(struct trees t)
{
	close(t.context);
	close(t.image);
}

/* COPY a [b] dest, as the words of a Dockerfile. */
static int copy_with(struct trees t, const char *a, const char *b,
	const struct tree_copy_options *options, struct err *err)
{
	cleanup(tree_selection_free) struct tree_selection *s = selected(t.context, a, b);
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);

	err_clear(err);
	return tree_copy(feed, t.image, options, err);
}

static struct tree_copy_options to(const char *dest)
{
	return (struct tree_copy_options){
		.dest = dest, .dest_is_dir = str_ends(str_of(dest), STR("/"))};
}

static void copy(struct trees t, const char *a, const char *b, const char *dest)
{
	struct tree_copy_options options = to(dest);
	struct err err = {0};

	if (copy_with(t, a, b, &options, &err) < 0)
		fail_msg("%s", err.text);
}

static void copy_fails(
	struct trees t, const char *a, const char *b, const char *dest, const char *text)
{
	struct tree_copy_options options = to(dest);
	struct err err = {0};

	assert_true(copy_with(t, a, b, &options, &err) < 0);
	if (!strstr(err.text, text))
		fail_msg("\"%s\"", err.text);
}

static void expect(int dir, const char *text)
{
	cleanup_free char *found = show(dir, true);

	assert_string_equal(found, text);
}

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
	expect(t.image, "file 0644 0:0 a =1\n"
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

static void point_29_several_files_need_a_directory(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "f1", "1", 0644);
	put_file(t.context, "f2", "2", 0644);
	put_file(t.context, "d/f1", "3", 0644);
	copy_fails(t, "f1", "f2", "/x", "several files cannot all become /x");
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
	struct tree_copy_options options = to("/a/b");
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
	struct tree_copy_options options = to("/new/dir/f");
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

static void point_35_special_files(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	assert_int_equal(mknodat(t.context, "sock", S_IFSOCK | 0750, 0), 0);
	put_dir(t.context, "d", 0755);
	assert_int_equal(mkfifoat(t.context, "d/pipe", 0), 0);
	assert_int_equal(fchmodat(t.context, "d/pipe", 0622, 0), 0);
	put_file(t.image, "x/pipe", "old", 0600);
	copy(t, "sock", NULL, "/sock");
	assert_string_equal(show_one(t.image, "sock"), "file 0750 0:0 =");
	copy(t, "d", NULL, "/x");
	assert_string_equal(show_one(t.image, "x/pipe"), "fifo 0622 0:0");
	if (mknodat(t.context, "d/null", S_IFCHR | 0600, makedev(1, 3)) == 0) {
		copy(t, "d", NULL, "/x");
		assert_string_equal(show_one(t.image, "x/null"), "char 0600 0:0");
	}
	close_trees(t);
}

static ino_t inode(int dir, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_ino;
}

static void point_36_hard_links_in_one_copy(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	put_file(t.context, "d/a", "x", 0644);
	put_dir(t.context, "d/sub", 0755);
	assert_int_equal(linkat(t.context, "d/a", t.context, "d/sub/b", 0), 0);
	assert_int_equal(linkat(t.context, "d/a", t.context, "other", 0), 0);
	put_file(t.image, "x/sub/b", "in the way", 0600);
	copy(t, "d", NULL, "/x");
	assert_int_equal(inode(t.image, "x/a"), inode(t.image, "x/sub/b"));
	ino_t before = inode(t.image, "x/a");
	copy(t, "other", NULL, "/x/other");
	assert_int_not_equal(inode(t.image, "x/other"), before);
	copy(t, "d", "other", "/y/");
	assert_int_equal(inode(t.image, "y/a"), inode(t.image, "y/other"));
	/* Both names become one: the file must survive it. */
	assert_int_equal(mkdirat(t.context, "e", 0755), 0);
	assert_int_equal(linkat(t.context, "d/a", t.context, "e/a", 0), 0);
	copy(t, "d/a", "e/a", "/z/");
	assert_string_equal(show_one(t.image, "z/a"), "file 0644 0:0 =x");
	/* The image's own links are not written through. */
	put_file(t.image, "p/a", "old", 0600);
	assert_int_equal(linkat(t.image, "p/a", t.image, "kept", 0), 0);
	copy(t, "d", NULL, "/p");
	assert_string_equal(show_one(t.image, "kept"), "file 0600 0:0 =old");
	close_trees(t);
}

static void point_37_times_are_kept(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct timespec times[2] = {{1, 2}, {1234567890, 123456789}};
	struct timespec old[2] = {{1, 2}, {-5, 700000000}};

	put_file(t.context, "d/sub/f", "x", 0644);
	put_link(t.context, "d/link", "x");
	assert_int_equal(utimensat(t.context, "d/sub/f", times, 0), 0);
	assert_int_equal(utimensat(t.context, "d/link", times, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(t.context, "d/sub", old, 0), 0);
	assert_int_equal(utimensat(t.context, "d", times, 0), 0);
	put_dir(t.image, "x", 0700);
	copy(t, "d", NULL, "/x");
	int64_t expected = 1234567890123456789;
	assert_int_equal(mtime_of(t.image, "x/sub/f"), expected);
	assert_int_equal(mtime_of(t.image, "x/link"), expected);
	assert_int_equal(mtime_of(t.image, "x"), expected);
	assert_int_equal(mtime_of(t.image, "x/sub"), -4300000000);
	struct tree_copy_options options = to("/y");
	struct err err = {0};
	options.has_mtime = true;
	options.mtime = 1700000000000000000;
	assert_int_equal(copy_with(t, "d", NULL, &options, &err), 0);
	assert_int_equal(mtime_of(t.image, "y/sub/f"), options.mtime);
	assert_int_equal(mtime_of(t.image, "y/sub"), options.mtime);
	assert_int_equal(mtime_of(t.image, "y/link"), options.mtime);
	close_trees(t);
}

static void set_xattr(int dir, const char *path, const char *name, const void *value, size_t n)
{
	int fd = openat(dir, path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fsetxattr(fd, name, value, n, 0), 0);
	close(fd);
}

static ssize_t get_xattr(int dir, const char *path, const char *name, char value[static 64])
{
	int fd = openat(dir, path, O_RDONLY);
	ssize_t n = fgetxattr(fd, name, value, 64);

	close(fd);
	return n;
}

static void point_38_attributes_and_62_their_order(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct dir_owner owner = {1000, 1000};
	struct tree_copy_options options = to("/x");
	struct err err = {0};
	char value[64];
	/* cap_net_raw=ep, version 2, as capability.h lays it out */
	static const char caps[20] = {1, 0, 0, 2, 0, 0x20};

	put_file(t.context, "d/suid", "x", 06755);
	put_file(t.context, "d/ping", "x", 0755);
	put_dir(t.context, "d/sub", 0755);
	set_xattr(t.context, "d/suid", "user.color", "blue", 4);
	set_xattr(t.context, "d/suid", "user.overlay.opaque", "y", 1);
	set_xattr(t.context, "d/sub", "user.color", "red", 3);
	set_xattr(t.context, "d/ping", "security.capability", caps, sizeof(caps));
	options.owner = &owner;
	assert_int_equal(copy_with(t, "d", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "x/suid"), "file 6755 1000:1000 =x");
	assert_int_equal(get_xattr(t.image, "x/suid", "user.color", value), 4);
	assert_memory_equal(value, "blue", 4);
	assert_int_equal(get_xattr(t.image, "x/sub", "user.color", value), 3);
	assert_int_equal(get_xattr(t.image, "x/suid", "user.overlay.opaque", value), -1);
	assert_int_equal(get_xattr(t.image, "x/ping", "security.capability", value), sizeof(caps));
	assert_memory_equal(value, caps, sizeof(caps));
	close_trees(t);
}

static void point_42_a_copy_onto_nothing(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	/* COPY --link writes into an empty root: missing directories, no links to follow. */
	put_file(t.context, "d/f", "x", 0644);
	copy(t, "d", NULL, "/usr/share/app");
	expect(t.image, "dir 0755 0:0 usr\n"
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

static void owners_of_a_stage_are_kept(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	const char *const sources[] = {"d"};
	struct tree_select_options select = {.keep_owner = true};
	struct tree_copy_options options = to("/x");
	cleanup(tree_selection_free) struct tree_selection *s = NULL;
	struct err err = {0};

	put_file(t.context, "d/sub/f", "x", 0644);
	put_link(t.context, "d/link", "x");
	put_owner(t.context, "d/sub", 7, 8);
	put_owner(t.context, "d/sub/f", 1000, 100);
	put_owner(t.context, "d/link", 9, 10);
	assert_int_equal(tree_select(t.context, sources, 1, &select, &s, &err), 0);
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);
	assert_int_equal(tree_copy(feed, t.image, &options, &err), 0);
	expect(t.image, "dir 0755 0:0 x\n"
			"link 9:10 x/link ->x\n"
			"dir 0755 7:8 x/sub\n"
			"file 0644 1000:100 x/sub/f =x\n");
	close_trees(t);
}

static void nothing_selected_changes_nothing(void **state)
{
	struct trees t = make_trees(*(int *)*state);

	copy(t, "*.none", NULL, "/new/dir/");
	expect(t.image, "");
	close_trees(t);
}

static void large_files_and_deep_trees(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	size_t size = 3 << 20;
	cleanup_free char *data = xmalloc(size);
	cleanup(buf_done) struct buf copied = {0}, path = {0};

	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761U >> 13);
	int fd = openat(t.context, "large", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(file_write_fd(fd, str_from(data, size), NULL), 0);
	close(fd);
	copy(t, "large", NULL, "/large");
	assert_int_equal(file_read(t.image, "large", size, &copied, NULL), 0);
	assert_int_equal(copied.len, size);
	assert_memory_equal(copied.data, data, size);
	buf_add_text(&path, "d");
	for (int i = 1; i < TREE_MAX_DEPTH; i++)
		buf_add_text(&path, "/n");
	buf_add_text(&path, "/leaf");
	put_file(t.context, path.data, "deep", 0644);
	copy(t, "d", NULL, "/d");
	assert_string_equal(show_one(t.image, path.data), "file 0644 0:0 =deep");
	close_trees(t);
}

/* ---- ADD ---- */

static bool looks_like_archive(void *arg, int fd)
{
	char byte;

	(void)arg;
	return pread(fd, &byte, 1, 0) == 1 && byte == 'A';
}

/* An archive of this test is A and the name of the one file in it. */
static int unpack_archive(void *arg, int fd, int dest, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	++*(int *)arg;
	if (file_read_fd(fd, 100, &text, err) < 0)
		return -1;
	if (str_is(buf_str(&text), "Abroken"))
		return err_set(err, ERR_INPUT, "archive is broken");
	put_file(dest, text.data + 1, "unpacked", 0644);
	return 0;
}

static void point_39_archives_are_unpacked(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	int calls = 0;
	struct tree_unpacker unpacker = {&calls, looks_like_archive, unpack_archive};
	struct tree_copy_options options = to("/opt/x");
	struct err err = {0};

	put_file(t.context, "one.tar", "Amember", 0644);
	put_file(t.context, "named.tar", "no archive", 0644);
	put_file(t.context, "d/two.tar", "Ainner", 0644);
	put_link(t.context, "link", "one.tar");
	options.unpacker = &unpacker;
	assert_int_equal(copy_with(t, "link", NULL, &options, &err), 0);
	assert_string_equal(show_one(t.image, "opt/x/member"), "file 0644 0:0 =unpacked");
	assert_string_equal(show_one(t.image, "opt/x"), "dir 0755 0:0");
	options.dest = "/all/";
	options.dest_is_dir = true;
	assert_int_equal(copy_with(t, "*.tar", "d", &options, &err), 0);
	assert_int_equal(calls, 2);
	assert_string_equal(show_one(t.image, "all/named.tar"), "file 0644 0:0 =no archive");
	/* In a directory they are files. */
	assert_string_equal(show_one(t.image, "all/two.tar"), "file 0644 0:0 =Ainner");
	put_file(t.context, "broken", "Abroken", 0644);
	assert_true(copy_with(t, "broken", NULL, &options, &err) < 0);
	assert_string_equal(err.text, "archive is broken");
	close_trees(t);
}

/* ---- Feeds that say what no selection would ---- */

struct made_up {
	struct tree_feed feed;
	const struct tree_entry *entries;
	size_t count;
	int content;
};

static int made_up_next(struct tree_feed *feed, struct err *err)
{
	struct made_up *m = (struct made_up *)feed;

	(void)err;
	if (feed->number == m->count)
		return TREE_FEED_END;
	feed->entry = m->entries[feed->number];
	if (S_ISREG(feed->entry.mode))
		feed->fd = fcntl(m->content, F_DUPFD_CLOEXEC, 0);
	return 0;
}

static void made_up_free(struct tree_feed *feed)
{
	(void)feed;
}

static int copy_made_up(struct trees t, const struct tree_entry *entries, size_t count,
	const char *dest, struct err *err)
{
	struct made_up *m = xcalloc(1, sizeof(*m));
	struct tree_copy_options options = to(dest);

	put_file(t.context, "content", "12345", 0644);
	m->feed = (struct tree_feed){.next = made_up_next, .free = made_up_free, .fd = -1};
	m->entries = entries;
	m->count = count;
	m->content = openat(t.context, "content", O_RDONLY);
	int r = tree_copy(&m->feed, t.image, &options, err);
	close(m->content);
	tree_feed_free(&m->feed);
	return r;
}

static void entries_out_of_order_are_refused(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct err err = {0};
	const struct tree_entry orphan[] = {{.path = "a/b", .mode = S_IFREG | 0644, .size = 5}};
	const struct tree_entry jump[] = {
		{.path = "", .is_source = true, .mode = S_IFDIR | 0755},
		{.path = "a", .mode = S_IFDIR | 0755},
		{.path = "b", .mode = S_IFDIR | 0755},
		{.path = "a/c", .mode = S_IFREG | 0644, .size = 5},
	};
	const struct tree_entry link[] = {
		{.path = "", .is_source = true, .mode = S_IFDIR | 0755},
		{.path = "a", .mode = S_IFLNK | 0777, .target = "/etc"},
		{.path = "a/passwd", .mode = S_IFREG | 0644, .size = 5},
	};
	assert_true(copy_made_up(t, orphan, 1, "/x", &err) < 0);
	assert_int_equal(err.kind, ERR_BUG);
	assert_true(copy_made_up(t, jump, 4, "/x", &err) < 0);
	assert_int_equal(err.kind, ERR_BUG);
	assert_true(copy_made_up(t, link, 3, "/y", &err) < 0);
	assert_int_equal(err.kind, ERR_BUG);
	/* Through a link that stands there already neither. */
	const struct tree_entry through[] = {
		{.path = "", .is_source = true, .mode = S_IFDIR | 0755},
		{.path = "a", .mode = S_IFDIR | 0755},
	};
	assert_true(copy_made_up(t, through, 2, "/y", &err) < 0);
	assert_string_equal(err.text, "cannot copy to non-directory: /y/a");
	close_trees(t);
}

static void sources_that_change_are_noticed(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct err err = {0};
	struct tree_entry e = {.path = "f", .is_source = true, .mode = S_IFREG | 0644, .size = 6};

	assert_true(copy_made_up(t, &e, 1, "/x/", &err) < 0);
	assert_string_equal(err.text, "the source of /x/f changed while the build was reading it");
	e.size = 5; /* that fits, its time does not */
	assert_true(copy_made_up(t, &e, 1, "/x/", &err) < 0);
	close_trees(t);
}

/* A link to an entry that never came, or that was replaced, is a file. */
static void links_to_nothing_are_files(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	struct err err = {0};

	put_file(t.context, "content", "12345", 0644);
	struct timespec times[2] = {{0, 0}, {5, 0}};
	struct tree_entry e = {.path = "f",
		.is_source = true,
		.mode = S_IFREG | 0644,
		.size = 5,
		.mtime = 5000000000,
		.link = 17};
	struct made_up m = {{.next = made_up_next, .free = made_up_free, .fd = -1}, &e, 1, -1};
	struct tree_copy_options options = to("/x/");
	m.content = openat(t.context, "content", O_RDONLY);
	assert_int_equal(futimens(m.content, times), 0);
	assert_int_equal(tree_copy(&m.feed, t.image, &options, &err), 0);
	if (m.feed.fd >= 0)
		close(m.feed.fd);
	close(m.content);
	assert_string_equal(show_one(t.image, "x/f"), "file 0644 0:0 =12345");
	close_trees(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(point_28_directories_are_copied_as_contents),
		fixture_test(point_29_several_files_need_a_directory),
		fixture_test(point_30_nested_dirs_take_source_mode),
		fixture_test(point_31_new_top_dir_is_root_0755),
		fixture_test(point_32_chmod_is_for_parents_too),
		fixture_test(point_33_links_in_the_destination_stay_inside),
		fixture_test(point_34_a_link_named_is_followed),
		fixture_test(point_34_a_link_met_in_a_tree_is_not),
		fixture_test(point_34_types_in_the_way),
		fixture_test(point_35_special_files),
		fixture_test(point_36_hard_links_in_one_copy),
		fixture_test(point_37_times_are_kept),
		fixture_test(point_38_attributes_and_62_their_order),
		fixture_test(point_39_archives_are_unpacked),
		fixture_test(point_42_a_copy_onto_nothing),
		fixture_test(kernel_directories_of_the_image_are_ordinary),
		fixture_test(owners_of_a_stage_are_kept),
		fixture_test(nothing_selected_changes_nothing),
		fixture_test(large_files_and_deep_trees),
		fixture_test(entries_out_of_order_are_refused),
		fixture_test(sources_that_change_are_noticed),
		fixture_test(links_to_nothing_are_files),
	};

	/* Everything that is copied gets an owner. */
	if (!fixture_become_root())
		return 77; /* skipped, to meson */
	return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
