/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "os/file.h"
#include "tree/fixture.h"

/* How COPY writes each kind of file, and feeds that no selection would make. */

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
	struct tree_copy_options options = copy_to("/y");
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
	struct tree_copy_options options = copy_to("/x");
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

static void owners_of_a_stage_are_kept(void **state)
{
	struct trees t = make_trees(*(int *)*state);
	const char *const sources[] = {"d"};
	struct tree_select_options select = {.keep_owner = true};
	struct tree_copy_options options = copy_to("/x");
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
	expect_tree(t.image, "dir 0755 0:0 x\n"
			     "link 9:10 x/link ->x\n"
			     "dir 0755 7:8 x/sub\n"
			     "file 0644 1000:100 x/sub/f =x\n");
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
	struct tree_copy_options options = copy_to("/opt/x");
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
	struct tree_copy_options options = copy_to(dest);

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
	struct tree_copy_options options = copy_to("/x/");
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
		fixture_test(point_35_special_files),
		fixture_test(point_36_hard_links_in_one_copy),
		fixture_test(point_37_times_are_kept),
		fixture_test(point_38_attributes_and_62_their_order),
		fixture_test(owners_of_a_stage_are_kept),
		fixture_test(large_files_and_deep_trees),
		fixture_test(point_39_archives_are_unpacked),
		fixture_test(entries_out_of_order_are_refused),
		fixture_test(sources_that_change_are_noticed),
		fixture_test(links_to_nothing_are_files),
	};

	/* Everything that is copied gets an owner. */
	if (!fixture_become_root())
		return 77; /* skipped, to meson */
	return cmocka_run_group_tests_name("write", tests, NULL, NULL);
}
