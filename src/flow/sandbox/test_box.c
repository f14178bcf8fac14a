/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes for real. Needs what the program needs: without it the tests skip, and say why,
 * unless SPACEPORT_MUST_RUN is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "os/clock.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

static struct sandbox_ids ids;
static char scratch[] = "/tmp/spaceport-box-XXXXXX";

static int set_up(void **state)
{
	struct err err = {0};

	(void)state;
	if (!mkdtemp(scratch) || chmod(scratch, 0755) < 0)
		return -1;
	if (sandbox_ids_find(NULL, &ids, &err) < 0) {
		fprintf(stderr, "no boxes here: %s\n", err.text);
		ids.count = 0;
	}
	return 0;
}

static int tear_down(void **state)
{
	char tun[64];

	(void)state;
	snprintf(tun, sizeof(tun), "%s.tun", scratch);
	(void)unlink(tun);
	return rmdir(scratch);
}

static void need_boxes(void)
{
	if (ids.count)
		return;
	assert_null(getenv("SPACEPORT_MUST_RUN"));
	skip();
}

static int look_around(void *arg)
{
	struct stat st;

	(void)arg;
	/* Each bit is an expectation that failed. */
	return (getpid() != 1) | (getuid() != 0) << 1 | (getgid() != 0) << 2 |
	       (getppid() != 0) << 3 | (stat(sandbox_scratch(), &st) < 0 || st.st_uid != 0) << 4 |
	       (access("/proc/self/status", R_OK) < 0) << 5;
}

static void a_box_is_root_and_pid_1_of_its_own(void **state)
{
	struct sandbox_box_options options = {.ids = &ids, .scratch = scratch, .main = look_around};
	struct sandbox_box box;
	struct err err = {0};
	int status = -1;

	(void)state;
	need_boxes();
	assert_int_equal(sandbox_box_start(&options, &box, &err), 0);
	assert_int_equal(sandbox_box_wait(&box, &status, &err), 0);
	assert_int_equal(status, 0);
}

static int leave_a_trace(void *arg)
{
	char path[128];

	(void)arg;
	snprintf(path, sizeof(path), "%s/trace", sandbox_scratch());
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	return fd < 0;
}

static void nothing_of_a_box_is_seen_outside(void **state)
{
	struct sandbox_box_options options = {
		.ids = &ids, .scratch = scratch, .main = leave_a_trace};
	struct sandbox_box box;
	struct err err = {0};
	char path[128];
	int status = -1;

	(void)state;
	need_boxes();
	assert_int_equal(sandbox_box_start(&options, &box, &err), 0);
	assert_int_equal(sandbox_box_wait(&box, &status, &err), 0);
	assert_int_equal(status, 0);
	snprintf(path, sizeof(path), "%s/trace", scratch);
	assert_int_equal(access(path, F_OK), -1);
}

static int wait_for_ever(void *arg)
{
	/* A process below the box, which has to go as well; it holds the pipe open. */
	if (fork() == 0)
		for (;;)
			pause();
	char byte = 'r';
	if (write(*(int *)arg, &byte, 1) != 1)
		return 1;
	for (;;)
		pause();
}

noreturn_fn static void parent_of_a_box(int ready)
{
	struct sandbox_box_options options = {
		.ids = &ids, .scratch = scratch, .main = wait_for_ever, .arg = &ready};
	struct sandbox_box box;
	struct err err = {0};

	if (sandbox_box_start(&options, &box, &err) < 0)
		_exit(1);
	close(ready);
	for (;;)
		pause();
}

static void a_killed_parent_takes_all_along(void **state)
{
	int fds[2], status;
	char byte;

	(void)state;
	need_boxes();
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		parent_of_a_box(fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* End of file means that the box and its child are gone: both held the other end. */
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

/* A newuidmap that kills who calls it: the parent, when the box waits for its maps. */
static void make_killer(char dir[static 32], char program[static 64])
{
	static const char script[] = "#!/bin/sh\nkill -9 $PPID\n";

	snprintf(dir, 32, "/tmp/spaceport-box-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(program, 64, "%s/newuidmap", dir);
	int fd = open(program, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, script, sizeof(script) - 1), sizeof(script) - 1);
	close(fd);
}

static void a_parent_killed_during_the_set_up_leaves_none(void **state)
{
	char dir[32], program[64], byte;
	int fds[2], status;

	(void)state;
	need_boxes();
	make_killer(dir, program);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		ids.is_root = false;
		setenv("PATH", dir, 1);
		parent_of_a_box(fds[1]);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(program);
	rmdir(dir);
	assert_true(WIFSIGNALED(status));
	/* The box held the other end. */
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

/* ---- filters ---- */

struct notes {
	struct buf name, value;
};

static bool recall(void *arg, struct str name, struct buf *ret)
{
	const struct notes *notes = arg;

	if (!str_eq(name, buf_str(&notes->name)))
		return false;
	buf_add_str(ret, buf_str(&notes->value));
	return true;
}

static void note(void *arg, struct str name, struct str value)
{
	struct notes *notes = arg;

	buf_clear(&notes->name);
	buf_clear(&notes->value);
	buf_add_str(&notes->name, name);
	buf_add_str(&notes->value, value);
}

/* What a runtime that compiles filters leaves behind. */
static bool leave_filter(const char *id, size_t size)
{
	static const char bytes[64];
	char path[256];

	snprintf(path, sizeof(path), "%s/" SCRATCH_RUNTIME, sandbox_scratch());
	(void)mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/" SCRATCH_RUNTIME "/%s", sandbox_scratch(), id);
	(void)mkdir(path, 0700);
	snprintf(
		path, sizeof(path), "%s/" SCRATCH_RUNTIME "/%s/seccomp.bpf", sandbox_scratch(), id);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	bool ok = fd >= 0 && write(fd, bytes, size) == (ssize_t)size;
	close(fd);
	return ok;
}

static int keep_filters(void *arg)
{
	struct notes notes = {0};
	const struct sandbox_memory memory = {recall, note, &notes};
	const struct sandbox_container space = {
		.id = "a", .rights = SANDBOX_SPACE, .memory = &memory};
	const struct sandbox_container step = {
		.id = "a", .rights = SANDBOX_BUILD, .memory = &memory};
	struct buf got = {0};

	(void)arg;
	/* Each bit is an expectation that failed. */
	filter_keep(&space);
	int bad = notes.name.len != 0;
	bad |= !leave_filter("a", 15) << 1;
	filter_keep(&space);
	bad |= (notes.name.len != 0) << 2;
	bad |= !leave_filter("a", 16) << 3;
	filter_keep(&space);
	bad |= !filter_recall(&space, &got) << 4;
	bad |= !str_is(buf_str(&got), "AAAAAAAAAAAAAAAAAAAAAA==") << 5;
	/* Other rights have another filter. */
	bad |= filter_recall(&step, &got) << 6;
	return bad;
}

static void whole_filters_are_kept_by_their_rights(void **state)
{
	struct sandbox_box_options options = {
		.ids = &ids, .scratch = scratch, .main = keep_filters};
	struct sandbox_box box;
	struct err err = {0};
	int status = -1;

	(void)state;
	need_boxes();
	assert_int_equal(sandbox_box_start(&options, &box, &err), 0);
	assert_int_equal(sandbox_box_wait(&box, &status, &err), 0);
	assert_int_equal(status, 0);
}

/* ---- work ---- */

static int fail_with_reason(void *arg, struct sandbox_channel *channel, struct err *err)
{
	(void)arg;
	sandbox_tell(channel, STR("about to"));
	(void)err_set(err, ERR_FAILED, "the reason");
	return err_hint(err, "the hint");
}

static void hear(void *arg, struct str message)
{
	*(bool *)arg = str_is(message, "about to");
}

static void work_reports_its_messages_and_its_error(void **state)
{
	bool heard = false;
	struct sandbox_work work = {.ids = &ids,
		.scratch = scratch,
		.work = fail_with_reason,
		.on_message = hear,
		.arg = &heard,
		.cancel_fd = -1};
	struct err err = {0};

	(void)state;
	need_boxes();
	assert_int_equal(sandbox_work_run(&work, &err), -ERR_FAILED);
	assert_string_equal(err.text, "the reason");
	assert_string_equal(err.hint, "the hint");
	assert_true(heard);
}

static int work_for_ever(void *arg, struct sandbox_channel *channel, struct err *err)
{
	(void)arg;
	(void)err;
	sandbox_tell(channel, STR("started"));
	while (pause() < 0)
		;
	return 0;
}

static void cancel_on_message(void *arg, struct str message)
{
	(void)message;
	assert_int_equal(write(*(int *)arg, "x", 1), 1);
}

static void work_is_cancelled_whole(void **state)
{
	int fds[2];
	struct err err = {0};

	(void)state;
	need_boxes();
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct sandbox_work work = {.ids = &ids,
		.scratch = scratch,
		.work = work_for_ever,
		.on_message = cancel_on_message,
		.arg = &fds[1],
		.cancel_fd = fds[0]};
	assert_int_equal(sandbox_work_run(&work, &err), -ERR_CANCELLED);
	close(fds[0]);
	close(fds[1]);
	work = (struct sandbox_work){.ids = &ids,
		.scratch = scratch,
		.work = work_for_ever,
		.cancel_fd = -1,
		.deadline = clock_now() + 50000000};
	assert_int_equal(sandbox_work_run(&work, &err), -ERR_LIMIT);
	/* No child of ours is left to be waited for. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int network_without_egress(void *arg, struct sandbox_channel *channel, struct err *err)
{
	(void)arg;
	(void)channel;
	int r = sandbox_network_start(SANDBOX_NETWORK_NONE, NULL, err);
	return r < 0 ? r : sandbox_network_enter(err);
}

static void a_network_namespace_needs_no_helper_program(void **state)
{
	struct sandbox_work work = {
		.ids = &ids, .scratch = scratch, .work = network_without_egress, .cancel_fd = -1};
	struct err err = {0};

	(void)state;
	need_boxes();
	assert_int_equal(sandbox_work_run(&work, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_box_is_root_and_pid_1_of_its_own),
		cmocka_unit_test(nothing_of_a_box_is_seen_outside),
		cmocka_unit_test(a_killed_parent_takes_all_along),
		cmocka_unit_test(a_parent_killed_during_the_set_up_leaves_none),
		cmocka_unit_test(whole_filters_are_kept_by_their_rights),
		cmocka_unit_test(work_reports_its_messages_and_its_error),
		cmocka_unit_test(work_is_cancelled_whole),
		cmocka_unit_test(a_network_namespace_needs_no_helper_program),
	};

	return cmocka_run_group_tests_name("box", tests, set_up, tear_down);
}
