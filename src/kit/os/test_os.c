/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "os/command.h"
#include "os/dir.h"
#include "os/file.h"
#include "os/lock.h"
#include "os/walk.h"

/* A directory of its own for each test, below the system's place for such. */
struct place {
	char path[64];
	int fd;
};

static int place_new(void **state)
{
	static struct place p;

	memcpy(p.path, "/tmp/spaceport-os-XXXXXX", sizeof("/tmp/spaceport-os-XXXXXX"));
	if (!mkdtemp(p.path))
		return -1;
	p.fd = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &p;
	return p.fd < 0 ? -1 : 0;
}

static int place_gone(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_remove_tree(tmp, strrchr(p->path, '/') + 1, &err);

	close(tmp);
	close(p->fd);
	return r;
}

static void links_stay_inside_the_root(void **state)
{
	struct place *p = *state;
	struct err err = {0};

	assert_int_equal(mkdirat(p->fd, "etc", 0755), 0);
	assert_int_equal(symlinkat("/etc/../../../etc/passwd", p->fd, "abs"), 0);
	assert_int_equal(symlinkat("/", p->fd, "rootlink"), 0);
	assert_true(dir_open_in_root(p->fd, "abs", O_RDONLY, 0, &err) < 0);
	assert_int_equal(err.kind, ERR_MISSING);
	int fd = dir_open_in_root(p->fd, "etc/passwd", O_WRONLY | O_CREAT, 0644, &err);
	assert_true(fd >= 0);
	close(fd);
	fd = dir_open_in_root(p->fd, "rootlink/abs", O_RDONLY, 0, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_true(dir_open_beneath(p->fd, "abs", O_RDONLY, 0, &err) < 0);
	assert_true(dir_open_beneath(p->fd, "../x", O_RDONLY, 0, &err) < 0);
	assert_true(dir_open_in_root(p->fd, "/proc/self/fd/0", O_RDONLY, 0, &err) < 0);
}

static void make_all_follows_inside(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	struct stat st;

	assert_int_equal(symlinkat("/real/deep", p->fd, "link"), 0);
	int fd = dir_make_all(p->fd, "/link/a/../b", 0750, NULL, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(p->fd, "real/deep/b", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(symlinkat("loop2", p->fd, "loop1"), 0);
	assert_int_equal(symlinkat("loop1", p->fd, "loop2"), 0);
	assert_true(dir_make_all(p->fd, "loop1/x", 0755, NULL, &err) < 0);
	assert_int_equal(err.sys, ELOOP);
	fd = dir_make_all(p->fd, "../../../up", 0755, NULL, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(p->fd, "up", &st, 0), 0);
	fd = openat(p->fd, "file", O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_true(dir_make_all(p->fd, "file/x", 0755, NULL, &err) < 0);
}

static void targets_are_followed_to_what_is_missing(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	struct stat st;
	struct dir_make make = {.mode = 0711};
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;

	assert_int_equal(symlinkat("../../there/f", p->fd, "first"), 0);
	assert_int_equal(symlinkat("/first", p->fd, "second"), 0);
	assert_true(dir_find_target(p->fd, "second", NULL, &place, &err) < 0);
	assert_int_equal(err.kind, ERR_MISSING);
	assert_int_equal(dir_find_target(p->fd, "second", &make, &place, &err), 0);
	assert_string_equal(place.name, "f");
	assert_int_equal(fstatat(p->fd, "there", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_true(fstatat(place.fd, "f", &st, 0) < 0);
	dir_place_done(&place);
	assert_int_equal(dir_find_target(p->fd, "there/..", NULL, &place, &err), 0);
	assert_string_equal(place.name, ".");
	dir_place_done(&place);
	assert_int_equal(dir_find_target(p->fd, "//there///", NULL, &place, &err), 0);
	assert_string_equal(place.name, "there");
}

static void resolving_tells_the_path_without_links(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	cleanup(buf_done) struct buf real = {0};

	close(dir_make_all(p->fd, "a/b", 0755, NULL, &err));
	assert_int_equal(symlinkat("/a/../a/b", p->fd, "l"), 0);
	assert_int_equal(symlinkat("../../../l", p->fd, "a/b/up"), 0);
	assert_int_equal(dir_resolve(p->fd, "/l/up/../b", &real, &err), 0);
	assert_string_equal(real.data, "a/b");
	buf_clear(&real);
	assert_int_equal(dir_resolve(p->fd, "../..", &real, &err), 0);
	assert_string_equal(buf_text(&real), "");
	assert_true(dir_resolve(p->fd, "a/x", &real, &err) < 0);
	assert_int_equal(err.kind, ERR_MISSING);
	char longer[300];
	memset(longer, 'n', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_true(dir_resolve(p->fd, longer, &real, &err) < 0);
	assert_int_equal(err.sys, ENAMETOOLONG);
}

static void places_are_not_followed(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;

	assert_int_equal(mkdirat(p->fd, "d", 0755), 0);
	assert_int_equal(symlinkat("/elsewhere", p->fd, "d/l"), 0);
	assert_int_equal(dir_find_place(p->fd, "/d/l/", &place, &err), 0);
	assert_string_equal(place.name, "l");
	dir_place_done(&place);
	assert_int_equal(dir_find_place(p->fd, "/", &place, &err), 0);
	assert_string_equal(place.name, ".");
	dir_place_done(&place);
	assert_true(dir_find_place(p->fd, "d/..", &place, &err) < 0);
	assert_true(dir_find_place(p->fd, "missing/x", &place, &err) < 0);
}

static void trees_are_removed_whole(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	struct stat st;

	int fd = dir_make_all(p->fd, "t/a/b/c/d", 0755, NULL, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(symlinkat("/etc", p->fd, "t/etc"), 0);
	assert_int_equal(fchmodat(p->fd, "t/a/b", 0, 0), 0);
	assert_int_equal(dir_remove_tree(p->fd, "t", &err), 0);
	assert_int_equal(fstatat(p->fd, "t", &st, 0), -1);
	assert_int_equal(stat("/etc/passwd", &st), 0);
	assert_int_equal(dir_remove_tree(p->fd, "t", &err), 0);
}

/* Deeper than PATH_MAX and than any number of descriptors. */
static void make_deep(int fd, int depth)
{
	int at = dup(fd);

	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	close(at);
}

struct count {
	int entered, left, files;
	unsigned depth;
};

static int count_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	struct count *c = arg;

	(void)err;
	c->entered += e->step == WALK_ENTER;
	c->left += e->step == WALK_LEAVE;
	c->files += e->step == WALK_ENTRY;
	c->depth = e->depth > c->depth ? e->depth : c->depth;
	return e->step == WALK_ENTER && !strcmp(e->name, "skipped") ? WALK_SKIP : 0;
}

static void deep_trees_are_walked_and_removed(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	struct count c = {0};
	struct stat st;

	assert_int_equal(mkdirat(p->fd, "t", 0755), 0);
	int t = openat(p->fd, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_deep(t, 6000);
	assert_int_equal(mkdirat(t, "skipped", 0755), 0);
	assert_int_equal(symlinkat("/", t, "skipped/link"), 0);
	assert_int_equal(symlinkat("/", t, "link"), 0);
	assert_int_equal(walk_tree(t, count_entry, &c, &err), 0);
	assert_int_equal(c.entered, 6001);
	assert_int_equal(c.left, 6000);
	assert_int_equal(c.files, 1);
	assert_int_equal(c.depth, 5999);
	close(t);
	assert_int_equal(dir_remove_tree(p->fd, "t", &err), 0);
	assert_int_equal(fstatat(p->fd, "t", &st, 0), -1);
}

static void files_are_replaced_and_limited(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	cleanup(buf_done) struct buf b = {0};

	assert_int_equal(file_replace(p->fd, "f", STR("one"), 0644, &err), 0);
	assert_int_equal(file_replace(p->fd, "f", STR("second"), 0600, &err), 0);
	assert_int_equal(file_read(p->fd, "f", 6, &b, &err), 0);
	assert_string_equal(b.data, "second");
	assert_int_equal(file_read(p->fd, "f", 5, &b, &err), -ERR_LIMIT);
	assert_int_equal(file_read(p->fd, "none", 5, &b, &err), -ERR_MISSING);
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_int_equal(file_read(p->fd, "fifo", 5, &b, &err), -ERR_INPUT);
}

static void locks_exclude(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	int one = -1, two = -1;

	assert_int_equal(lock_take(p->fd, "l", LOCK_EXCLUSIVE, 0, &one, &err), 0);
	assert_int_equal(lock_take(p->fd, "l", LOCK_SHARED, 0, &two, &err), LOCK_E_BUSY);
	close(one);
	assert_int_equal(lock_take(p->fd, "l", LOCK_SHARED, 0, &two, &err), 0);
	close(two);
}

static int run(const char *script, int seconds, struct buf *out, int *status, struct err *err)
{
	cleanup(command_done) struct command c = COMMAND_INIT;

	argv_add_all(&c.argv, "sh", "-c", script, NULL);
	argv_add(&c.env, "PATH=/usr/bin:/bin");
	c.die_with_parent = true;
	return command_capture(&c, 1000, seconds, out, status, err);
}

static int leave_mark(void *arg)
{
	return close(open(arg, O_CREAT | O_WRONLY, 0600)) < 0 ? errno : 0;
}

static void held_commands_wait(void **state)
{
	struct place *p = *state;
	char before[80], ran[80], nowhere[] = "/nowhere/at/all";
	cleanup(command_done) struct command c = COMMAND_INIT;
	struct command_held held = COMMAND_HELD_INIT;
	struct err err = {0};
	int status = -1;
	pid_t pid;

	snprintf(before, sizeof(before), "%s/before", p->path);
	snprintf(ran, sizeof(ran), "%s/ran", p->path);
	argv_add_all(&c.argv, "touch", ran, NULL);
	c.inherit_env = true;
	c.before_exec = leave_mark;
	c.arg = before;

	/* One that is dropped has done nothing after before_exec. */
	assert_int_equal(command_hold(&c, &held, &err), 0);
	command_held_done(&held);
	assert_int_equal(unlink(before), 0);
	assert_int_equal(access(ran, F_OK), -1);

	assert_int_equal(command_hold(&c, &held, &err), 0);
	assert_int_equal(command_release(&held, &pid, &err), 0);
	assert_int_equal(command_wait(pid, &status, &err), 0);
	assert_int_equal(status, 0);
	assert_int_equal(unlink(before) + unlink(ran), 0);
	command_held_done(&held);

	/* What before_exec says is told by the release. */
	c.arg = nowhere;
	assert_int_equal(command_hold(&c, &held, &err), 0);
	assert_int_equal(command_release(&held, &pid, &err), -ERR_SYSTEM);
	command_held_done(&held);
}

static void commands_tell_their_end(void **state)
{
	struct err err = {0};
	int status = 0;
	char text[64];
	cleanup(buf_done) struct buf out = {0};
	cleanup(command_done) struct command missing = COMMAND_INIT;
	pid_t pid;

	(void)state;
	assert_int_equal(run("echo out; echo err >&2; exit 3", 10, &out, &status, &err), 0);
	assert_string_equal(out.data, "out\nerr\n");
	assert_string_equal(command_status_text(text, status), "exited with 3");
	assert_int_equal(run("kill -9 $$", 10, &out, &status, &err), 0);
	assert_string_equal(command_status_text(text, status), "killed by SIGKILL");
	assert_int_equal(run("sleep 30", 1, &out, &status, &err), -ERR_LIMIT);
	argv_add(&missing.argv, "no-such-program-here");
	assert_int_equal(command_start(&missing, &pid, &err), -ERR_MISSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(links_stay_inside_the_root, place_new, place_gone),
		cmocka_unit_test_setup_teardown(make_all_follows_inside, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			targets_are_followed_to_what_is_missing, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			resolving_tells_the_path_without_links, place_new, place_gone),
		cmocka_unit_test_setup_teardown(places_are_not_followed, place_new, place_gone),
		cmocka_unit_test_setup_teardown(trees_are_removed_whole, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			deep_trees_are_walked_and_removed, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			files_are_replaced_and_limited, place_new, place_gone),
		cmocka_unit_test_setup_teardown(locks_exclude, place_new, place_gone),
		cmocka_unit_test_setup_teardown(held_commands_wait, place_new, place_gone),
		cmocka_unit_test(commands_tell_their_end),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
