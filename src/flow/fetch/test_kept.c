/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "fetch/internal.h"
#include "os/dir.h"
#include "os/file.h"

struct place {
	char path[32];
	int top, dir;
};

static int place_new(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct err err = {0};

	strcpy(p->path, "/tmp/fetchXXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->top = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(fetch_open(p->top, &p->dir, &err), FETCH_E_ABSENT);
	assert_int_equal(fetch_make(p->top, &p->dir, &err), 0);
	*state = p;
	return 0;
}

static int place_gone(void **state)
{
	struct place *p = *state;
	struct err err = {0};

	close(p->dir);
	close(p->top);
	assert_int_equal(dir_remove_tree(AT_FDCWD, p->path, &err), 0);
	free(p);
	return 0;
}

/* A kept file of so many bytes, last used so many days ago. */
static struct digest keep(const struct place *p, size_t size, int days, char path[static 80])
{
	cleanup(buf_done) struct buf bytes = {0};
	char hex[DIGEST_HEX_SIZE];
	struct err err = {0};

	memset(buf_reserve(&bytes, size), days, size);
	buf_commit(&bytes, size);
	struct digest digest = digest_of(bytes.data, bytes.len);
	snprintf(path, 80, "files/%s", digest_hex(&digest, hex));
	assert_int_equal(file_replace(p->dir, path, buf_str(&bytes), 0600, &err), 0);
	const struct timespec times[] = {{.tv_sec = time(NULL) - days * 86400L}, {.tv_sec = 7}};
	assert_int_equal(utimensat(p->dir, path, times, 0), 0);
	return digest;
}

static bool is_there(const struct place *p, const char *path)
{
	return faccessat(p->dir, path, F_OK, 0) == 0;
}

static void bytes_are_found_by_digest(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	struct fetch_file file;
	char path[80];
	int fd;
	struct digest digest = keep(p, 100, 3, path), other = digest_of("x", 1);

	assert_int_equal(fetch_find(p->dir, &digest, &file, &fd, &err), 0);
	assert_int_equal(file.size, 100);
	assert_int_equal(file.mtime, 7000000000);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
	assert_int_equal(fetch_find(p->dir, &other, &file, &fd, &err), FETCH_E_ABSENT);
	/* Torn: as if it had never been there. */
	int torn = openat(p->dir, path, O_WRONLY | O_TRUNC);
	assert_true(torn >= 0);
	close(torn);
	assert_int_equal(fetch_find(p->dir, &digest, &file, &fd, &err), FETCH_E_ABSENT);
	assert_false(is_there(p, path));
}

static void the_longest_unused_go_first(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	char old[80], newer[80], newest[80];
	struct fetch_file file;
	int fd, lock;

	struct digest used = keep(p, 50000, 9, old);
	(void)keep(p, 60000, 5, newer);
	(void)keep(p, 70000, 2, newest);
	assert_int_equal(fetch_find(p->dir, &used, &file, &fd, &err), 0);
	close(fd);
	/* Nothing goes while somebody holds it. */
	assert_int_equal(fetch_hold(p->dir, &lock, &err), 0);
	assert_int_equal(fetch_trim(p->dir, 150000, &err), 0);
	assert_true(is_there(p, newer));
	close(lock);
	assert_int_equal(fetch_trim(p->dir, 150000, &err), 0);
	assert_true(is_there(p, old)); /* it was used just now */
	assert_false(is_there(p, newer));
	assert_true(is_there(p, newest));
	assert_int_equal(fetch_trim(p->dir, 0, &err), 0);
	assert_true(is_there(p, newest));
	assert_int_equal(fetch_trim(p->dir, 1, &err), 0);
	assert_false(is_there(p, old));
}

static void trees_go_whole_and_old_drafts_too(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	const struct timespec long_ago[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	assert_int_equal(mkdirat(p->dir, "trees/a", 0700), 0);
	assert_int_equal(mkdirat(p->dir, "trees/a/b", 0700), 0);
	assert_int_equal(file_replace(p->dir, "trees/a/b/f", STR("x"), 0600, &err), 0);
	assert_int_equal(mkdirat(p->dir, "tmp-old", 0700), 0);
	assert_int_equal(file_replace(p->dir, "tmp-old/f", STR("x"), 0600, &err), 0);
	assert_int_equal(utimensat(p->dir, "tmp-old", long_ago, 0), 0);
	assert_int_equal(file_replace(p->dir, "tmp-new", STR("x"), 0600, &err), 0);
	assert_int_equal(fetch_trim(p->dir, 1 << 20, &err), 0);
	assert_true(is_there(p, "trees/a/b/f"));
	assert_false(is_there(p, "tmp-old"));
	assert_true(is_there(p, "tmp-new"));
	assert_int_equal(fetch_trim(p->dir, 1, &err), 0);
	assert_false(is_there(p, "trees/a"));
}

static void dates(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* < 0: none */
	} rows[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:37", -1},
		{"Sun, 06 Xyz 1994 08:49:37 GMT", -1},
		{"Sunday, 06-Nov-94 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1914 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 88:49:37 GMT", -1},
		{"", -1},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		int64_t seconds = -1;
		bool is = http_date_parse(str_of(rows[i].text), &seconds);
		assert_int_equal(is, rows[i].seconds >= 0);
		if (is)
			assert_int_equal(seconds, rows[i].seconds);
	}
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, place_new, place_gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(bytes_are_found_by_digest),
		WITH_PLACE(the_longest_unused_go_first),
		WITH_PLACE(trees_go_whole_and_old_drafts_too),
		cmocka_unit_test(dates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
