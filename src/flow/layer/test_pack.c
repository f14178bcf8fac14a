/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer/pack.h"
#include "layer/test_archive.h"
#include "layer/unpack.h"

/* ---- Archives as text ---- */

static int keep(void *arg, struct str piece, struct err *err)
{
	(void)err;
	buf_add_str(arg, piece);
	return 0;
}

struct packed {
	struct buf tar;
	int r;
	struct err err;
	struct layer_pack_stats stats;
};

static struct packed pack_tree(int root, struct layer_pack_options options)
{
	struct packed p = {0};

	options.write = keep;
	options.arg = &p.tar;
	p.r = layer_pack(root, &options, &p.stats, &p.err);
	if (p.r == 0)
		assert_int_equal(p.stats.size, p.tar.len);
	return p;
}

static struct packed pack_on(int root, int below)
{
	return pack_tree(root, (struct layer_pack_options){.below = below});
}

static char type_letter(const struct tar_entry *e)
{
	static const struct {
		mode_t type;
		char letter;
	} letters[] = {{S_IFREG, '-'}, {S_IFDIR, 'd'}, {S_IFLNK, 'l'}, {S_IFIFO, 'p'}};

	if (e->is_hard_link)
		return 'h';
	for (size_t i = 0; i < array_size(letters); i++)
		if ((e->mode & S_IFMT) == letters[i].type)
			return letters[i].letter;
	return '?';
}

static void print_entry(struct tar *tar, const struct tar_entry *e, struct buf *ret)
{
	struct str value;
	const char *name;

	buf_printf(ret, "%c%04o %d:%d %s", type_letter(e), e->mode & 07777, (int)e->uid,
		(int)e->gid, e->name);
	if (e->target)
		buf_printf(ret, " -> %s", e->target);
	if (e->size)
		buf_printf(ret, " %llu", (unsigned long long)e->size);
	while (tar_xattr(tar, &name, &value))
		buf_printf(ret, " %s/%zu", name, value.n);
	buf_add_char(ret, '\n');
}

/* One line for each entry. */
static void print_tar(const struct buf *bytes, struct buf *ret)
{
	cleanup_close int fd = archive_file(buf_str(bytes));
	cleanup(tar_close) struct tar *tar = NULL;
	struct tar_entry entry;
	uint64_t read = 0;
	struct err err = {0};
	int r = tar_open(fd, UINT64_MAX, &read, NULL, &tar, &err);

	while (r == 0 && (r = tar_next(tar, &entry, &err)) == 0)
		print_entry(tar, &entry, ret);
	if (r < 0)
		fail_msg("read the archive: %s", err.text);
}

static void assert_packed(struct packed *p, const char *expected)
{
	cleanup(buf_done) struct buf text = {0};

	if (p->r != 0)
		fail_msg("pack: %s", p->err.text);
	print_tar(&p->tar, &text);
	assert_string_equal(buf_text(&text), expected);
	buf_done(&p->tar);
}

/* ---- Trees ---- */

static int new_dir(struct scratch *s, const char *name)
{
	assert_int_equal(mkdirat(s->dir, name, 0755), 0);
	int fd = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0755), 0);
	return fd;
}

static void make_dir(int root, const char *path, mode_t mode)
{
	assert_int_equal(mkdirat(root, path, mode), 0);
	assert_int_equal(fchmodat(root, path, mode, 0), 0);
}

static void put(int root, const char *path, const char *text)
{
	const struct timespec times[2] = {{1000, 500}, {1000, 500}};

	write_file(root, path, text);
	assert_int_equal(fchmodat(root, path, 0644, 0), 0);
	assert_int_equal(utimensat(root, path, times, 0), 0);
}

static void set_xattr(int root, const char *path, const char *name, const char *value, size_t n)
{
	int fd = openat(root, path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsetxattr(fd, name, value, n, 0), 0);
	close(fd);
}

static void white_out(int root, const char *path)
{
	assert_int_equal(mknodat(root, path, S_IFCHR, makedev(0, 0)), 0);
}

static void every_kind_of_entry_in_the_order_of_names(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");

	make_dir(root, "b", 01777);
	make_dir(root, "B", 0700);
	put(root, "b/file", "hello");
	assert_int_equal(fchownat(root, "b/file", 5, 6, 0), 0);
	assert_int_equal(fchmodat(root, "b/file", 04755, 0), 0);
	assert_int_equal(linkat(root, "b/file", root, "a", 0), 0);
	assert_int_equal(symlinkat("/b/file", root, "link"), 0);
	assert_int_equal(mkfifoat(root, "pipe", 0600), 0);
	assert_int_equal(fchmodat(root, "pipe", 0620, 0), 0);
	white_out(root, "gone");
	set_xattr(root, "B", XATTR_OPAQUE, "y", 1);
	set_xattr(root, "b", "user.two", "2", 1);
	set_xattr(root, "b", "user.one", "\0\n=", 3);

	struct packed p = pack_on(root, -1);
	struct packed again = pack_on(root, -1);
	assert_int_equal(p.tar.len, again.tar.len);
	assert_memory_equal(p.tar.data, again.tar.data, p.tar.len);
	buf_done(&again.tar);
	assert_packed(&p, "d0755 0:0 ./\n"
			  "d0700 0:0 B/\n"
			  "-0600 0:0 B/.wh..wh..opq\n"
			  "-4755 5:6 a 5\n"
			  "d1777 0:0 b/ user.two/1 user.one/3\n"
			  "h4755 5:6 b/file -> a\n"
			  "-0600 0:0 .wh.gone\n"
			  "l0777 0:0 link -> /b/file\n"
			  "p0620 0:0 pipe\n");
	close(root);
}

static void only_what_differs_from_below(void **state)
{
	SCRATCH(state);
	int below = new_dir(s, "below"), root = new_dir(s, "root");

	for (int i = 0; i < 2; i++) {
		int at = i ? root : below;
		make_dir(at, "same", 0755);
		make_dir(at, "way", 0711);
		make_dir(at, "way/deep", 0750);
		put(at, "way/same", "same");
		put(at, "way/deep/content", i ? "new" : "old");
		put(at, "mode", "mode");
		assert_int_equal(symlinkat("x", at, "link"), 0);
		make_dir(at, "changed", i ? 0700 : 0755);
	}
	put(below, "gone", "gone");
	white_out(root, "gone");
	white_out(root, "never");
	assert_int_equal(fchmodat(root, "mode", 0600, 0), 0);
	put(root, "way/new", "new");
	const struct timespec times[2] = {{7, 7}, {7, 7}};
	assert_int_equal(utimensat(root, "link", times, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(below, "link", times, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(root, "same", times, 0), 0);

	struct packed p = pack_on(root, below);
	assert_packed(&p, "d0700 0:0 changed/\n"
			  "-0600 0:0 .wh.gone\n"
			  "-0600 0:0 mode 4\n"
			  "d0711 0:0 way/\n"
			  "d0750 0:0 way/deep/\n"
			  "-0644 0:0 way/deep/content 3\n"
			  "-0644 0:0 way/new 3\n");
	close(root);
	close(below);
}

static void an_opaque_directory_names_what_it_hides(void **state)
{
	SCRATCH(state);
	int below = new_dir(s, "below"), root = new_dir(s, "root");

	make_dir(below, "d", 0755);
	make_dir(below, "d/sub", 0755);
	put(below, "d/one", "1");
	put(below, "d/two", "2");
	put(below, "d/sub/three", "3");
	make_dir(root, "d", 0755);
	set_xattr(root, "d", XATTR_OPAQUE, "y", 1);
	put(root, "d/two", "two");
	make_dir(root, "d/sub", 0755);
	make_dir(root, "fresh", 0755);
	set_xattr(root, "fresh", XATTR_OPAQUE, "y", 1);

	struct packed p = pack_on(root, below);
	assert_packed(&p, "d0755 0:0 d/\n"
			  "-0600 0:0 d/.wh.one\n"
			  "d0755 0:0 d/sub/\n"
			  "-0600 0:0 d/sub/.wh.three\n"
			  "-0644 0:0 d/two 3\n"
			  "d0755 0:0 fresh/\n");
	close(root);
	close(below);
}

static void a_directory_takes_the_place_of_a_file_and_back(void **state)
{
	SCRATCH(state);
	int below = new_dir(s, "below"), root = new_dir(s, "root");

	put(below, "a", "a");
	make_dir(below, "b", 0755);
	put(below, "b/x", "x");
	make_dir(root, "a", 0755);
	set_xattr(root, "a", XATTR_OPAQUE, "y", 1);
	put(root, "a/y", "y");
	put(root, "b", "b");
	struct packed p = pack_on(root, below);
	assert_packed(&p, "d0755 0:0 a/\n-0644 0:0 a/y 1\n-0644 0:0 b 1\n");
	close(root);
	close(below);
}

static void holes_are_filled_and_times_are_whole(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");

	put(root, "sparse", "start");
	int fd = openat(root, "sparse", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 3 << 20), 0);
	assert_int_equal(pwrite(fd, "end", 3, (3 << 20) - 3), 3);
	close(fd);
	const struct timespec times[2] = {{1000, 999}, {1000, 999}};
	assert_int_equal(utimensat(root, "sparse", times, 0), 0);
	struct packed p = pack_on(root, -1);
	/* The root, the header, the content, the end. */
	assert_int_equal(p.tar.len, 512 + 512 + (3 << 20) + 1024);
	assert_memory_equal(p.tar.data + 1024, "start", 6);
	assert_memory_equal(p.tar.data + 1024 + (3 << 20) - 3, "end", 3);
	assert_memory_equal(p.tar.data + 512 + 136, "00000001750", 12);
	buf_done(&p.tar);
	close(root);
}

static void times_do_not_pass_the_epoch(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");

	put(root, "old", "");
	write_file(root, "young", "");
	struct packed p = pack_tree(
		root, (struct layer_pack_options){.below = -1, .has_epoch = true, .epoch = 2000});
	assert_int_equal(p.tar.len, 3 * 512 + 1024);
	assert_memory_equal(p.tar.data + 136, "00000003720", 12);
	assert_memory_equal(p.tar.data + 512 + 136, "00000001750", 12);
	assert_memory_equal(p.tar.data + 1024 + 136, "00000003720", 12);
	buf_done(&p.tar);
	close(root);
}

static void names_that_mean_whiteouts_are_refused(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");

	make_dir(root, "d", 0755);
	put(root, "d/.wh.sh", "");
	struct packed p = pack_on(root, -1);
	assert_int_equal(p.r, -ERR_FAILED);
	assert_non_null(strstr(p.err.text, "d: .wh.sh: "));
	buf_done(&p.tar);
	close(root);
}

static void capabilities_leave_the_namespace(void **state)
{
	SCRATCH(state);
	static const char v3[] = "\1\0\0\3\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\0";
	char v2[24];
	size_t n = 0;
	int root = new_dir(s, "root");

	assert_true(pack_capability(str_from(v3, 24), v2, &n));
	assert_int_equal(n, 20);
	assert_memory_equal(v2, "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_false(pack_capability(str_from(v3, 23), v2, &n));
	assert_false(pack_capability(STR("\1\0\0\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), v2, &n));

	put(root, "ping", "");
	/* In a namespace the kernel keeps it as version 3, with the namespace's root. */
	set_xattr(root, "ping", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
		20);
	struct packed p = pack_on(root, -1);
	assert_packed(&p, "d0755 0:0 ./\n-0644 0:0 ping security.capability/20\n");
	close(root);
}

static int refuse(void *arg, struct str piece, struct err *err)
{
	size_t *left = arg;

	if (piece.n > *left)
		return err_set(err, ERR_SYSTEM, "full");
	*left -= piece.n;
	return 0;
}

static void a_writer_that_fails_ends_it(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");
	size_t left = 1200;

	put(root, "a", "a");
	put(root, "b", "b");
	const struct layer_pack_options options = {.below = -1, .write = refuse, .arg = &left};
	assert_int_equal(layer_pack(root, &options, NULL, &err), -ERR_SYSTEM);
	assert_non_null(strstr(err.text, "full"));
	close(root);
}

static void what_is_unpacked_again_is_the_same(void **state)
{
	SCRATCH(state);
	int root = new_dir(s, "root");
	cleanup(buf_done) struct buf deep = {0};

	for (int i = 0; i < 12; i++) {
		buf_printf(&deep, "%sa-directory-with-a-long-name", i ? "/" : "");
		make_dir(root, buf_text(&deep), 0755);
	}
	buf_add_text(&deep, "/ünicode and blanks");
	put(root, buf_text(&deep), "content");
	assert_int_equal(symlinkat(buf_text(&deep), root, "long-link"), 0);
	assert_int_equal(linkat(root, buf_text(&deep), root, "zlink", 0), 0);
	white_out(root, "white");
	set_xattr(root, "a-directory-with-a-long-name", XATTR_OPAQUE, "y", 1);
	set_xattr(root, buf_text(&deep), "user.x", "value", 5);

	struct packed first = pack_on(root, -1);
	int copy = new_dir(s, "copy");
	struct result result = unpack_bytes(copy, buf_str(&first.tar), NULL);
	assert_unpacked(result);
	struct packed second = pack_on(copy, -1);
	assert_int_equal(second.r, 0);
	assert_int_equal(first.tar.len, second.tar.len);
	assert_memory_equal(first.tar.data, second.tar.data, first.tar.len);
	buf_done(&first.tar);
	buf_done(&second.tar);
	close(root);
	close(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(every_kind_of_entry_in_the_order_of_names),
		WITH_SCRATCH(only_what_differs_from_below),
		WITH_SCRATCH(an_opaque_directory_names_what_it_hides),
		WITH_SCRATCH(a_directory_takes_the_place_of_a_file_and_back),
		WITH_SCRATCH(holes_are_filled_and_times_are_whole),
		WITH_SCRATCH(times_do_not_pass_the_epoch),
		WITH_SCRATCH(names_that_mean_whiteouts_are_refused),
		WITH_SCRATCH(capabilities_leave_the_namespace),
		WITH_SCRATCH(a_writer_that_fails_ends_it),
		WITH_SCRATCH(what_is_unpacked_again_is_the_same),
	};

	scratch_enter();
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return r;
}
