/* SPDX-License-Identifier: Apache-2.0 */
/* Archives as files: what counts as one, and what comes out of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "layer/test_archive.h"

static const struct item two[] = {{"d/one", .data = "1"}, {"two", '0', 04755, 7, 8, .data = "2"}};

static void make_tar(struct buf *to)
{
	for (size_t i = 0; i < array_size(two); i++)
		archive_add(to, &two[i]);
	archive_end(to);
}

/* What the program makes of the bytes. */
static void pack(const char *program, struct str bytes, struct buf *ret)
{
	char in[] = "/tmp/packXXXXXX";
	int fd = mkstemp(in);
	char piece[4096];
	size_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
	cleanup_free char *command = xprintf("%s -c <%s", program, in);
	FILE *out = popen(command, "r"); /* NOLINT(cert-env33-c): text of this file */
	assert_non_null(out);
	while ((n = fread(piece, 1, sizeof(piece), out)) > 0)
		buf_add(ret, piece, n);
	assert_int_equal(pclose(out), 0);
	close(fd);
	unlink(in);
}

static bool is_archive(struct str bytes)
{
	struct err err = {0};
	cleanup_close int fd = archive_file(bytes);
	bool is = false;

	assert_ok(layer_archive_probe(fd, &is, &err), &err);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return is;
}

static void assert_unpacks(int root, struct str bytes, const struct dir_owner *owner)
{
	const struct layer_unpack_options options = {.is_plain = true, .owner = owner};
	struct layer_unpack_stats stats;
	struct err err = {0};
	struct stat st;
	cleanup_close int fd = archive_file(bytes);

	assert_ok(layer_unpack_archive(root, fd, &options, &stats, &err), &err);
	assert_int_equal(stats.bytes, 2);
	assert_string_equal(read_file(root, "d/one"), "1");
	assert_int_equal(fstatat(root, "two", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_uid, owner ? owner->uid : 7);
	assert_int_equal(fstatat(root, "d", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void every_compression(void **state)
{
	SCRATCH(state);
	static const char *const programs[] = {"gzip", "bzip2", "xz", "zstd"};
	const struct dir_owner owner = {5, 6};
	cleanup(buf_done) struct buf tar = {0};
	cleanup_close int root = archive_root(s);

	make_tar(&tar);
	assert_true(is_archive(buf_str(&tar)));
	assert_unpacks(root, buf_str(&tar), NULL);
	for (size_t i = 0; i < array_size(programs); i++) {
		cleanup(buf_done) struct buf packed = {0};
		pack(programs[i], buf_str(&tar), &packed);
		assert_true(is_archive(buf_str(&packed)));
		assert_unpacks(root, buf_str(&packed), i % 2 ? &owner : NULL);
	}
}

static void what_is_no_archive(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, gzip = {0}, text = {0}, broken = {0}, zeros = {0};

	make_tar(&tar);
	pack("gzip", buf_str(&tar), &gzip);
	pack("gzip", STR("a text, and no archive"), &text);
	buf_add_str(&broken, buf_str(&tar));
	broken.data[10] ^= 1; /* the checksum does not hold */
	memset(buf_reserve(&zeros, 10240), 0, 10240);
	buf_commit(&zeros, 10240);
	const struct str rows[] = {STR(""), STR("x"), STR("\x1f\x8b\x08 this is no gzip data"),
		STR("BZh9 nor is this"), buf_str(&text), buf_str(&broken), buf_str(&zeros),
		str_slice(buf_str(&gzip), 0, 20), str_slice(buf_str(&tar), 0, 511)};
	for (size_t i = 0; i < array_size(rows); i++)
		if (is_archive(rows[i]))
			fail_msg("row %zu is an archive", i);
}

static void damage_after_the_first_header(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, big = {0}, gzip = {0};
	const struct layer_unpack_options options = {.is_plain = true};
	struct layer_unpack_stats stats;
	int root = archive_root(s);

	for (unsigned n = 1; big.len < 2000000; n = n * 1103515245 + 12345)
		buf_printf(&big, "%u ", n);
	const struct item items[] = {{"big", .data = big.data}, {"after", .data = "x"}};
	for (size_t i = 0; i < array_size(items); i++)
		archive_add(&tar, &items[i]);
	archive_end(&tar);
	pack("gzip", buf_str(&tar), &gzip);
	gzip.data[gzip.len / 2] ^= 0x55;
	assert_true(is_archive(buf_str(&gzip)));
	cleanup_close int fd = archive_file(buf_str(&gzip));
	assert_int_equal(layer_unpack_archive(root, fd, &options, &stats, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, "damaged gzip data"));
	close(root);
}

static void a_bomb_is_stopped(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf zeros = {0}, head = {0}, packed = {0};
	const struct layer_unpack_options options = {
		.is_plain = true, .limits = {.bytes = 1 << 20}};
	struct layer_unpack_stats stats;
	int root = archive_root(s);

	memset(buf_reserve(&zeros, 64 << 20), 0, 64 << 20);
	buf_commit(&zeros, 64 << 20);
	archive_add_header(&head, &(struct item){"zeros"}, zeros.len);
	buf_add_str(&head, buf_str(&zeros));
	archive_end(&head);
	pack("zstd", buf_str(&head), &packed);
	cleanup_close int fd = archive_file(buf_str(&packed));
	assert_int_equal(layer_unpack_archive(root, fd, &options, &stats, &err), -ERR_LIMIT);
	assert_int_equal(stats.bytes, 0);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(every_compression),
		WITH_SCRATCH(what_is_no_archive),
		WITH_SCRATCH(damage_after_the_first_header),
		WITH_SCRATCH(a_bomb_is_stopped),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
