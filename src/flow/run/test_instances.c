/* SPDX-License-Identifier: Apache-2.0 */
/* What other processes see of a Space, and what is left of it. */
#include "run/test_scene.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/file.h"

static void read_log(const struct run_instance *instance, bool follow, struct buf *ret)
{
	char path[] = "/var/tmp/spaceport-run-log-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	const struct run_log_options options = {
		.fd = fd, .tail = -1, .follow = follow, .cancel_fd = -1};
	struct err err = {0};

	assert_int_equal(unlink(path), 0);
	if (run_instance_log(&scene_settings, instance, &options, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(file_read_fd(fd, 1 << 20, ret, &err), 0);
}

static void forget_all(void)
{
	struct err err = {0};

	if (run_sweep(&scene_settings, 0, &err) < 0)
		fail_msg("%s", err.text);
}

static void instances_are_listed_and_found(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf text = {0};
	struct run_list list;
	struct run_instance found;
	struct err err = {0};

	(void)state;
	need_boxes();
	forget_all();
	scene_start(&s, COMMAND("polite", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	assert_int_equal(run_list(&scene_settings, &s.arena, false, &list, &err), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].id, run_id(s.run));
	assert_string_equal(list.items[0].stage, "RUNNING");
	assert_string_equal(list.items[0].url, run_url(s.run));
	assert_int_equal(list.items[0].pid, getpid());
	cleanup_free char *prefix = xstrndup(run_id(s.run), 4);
	const char *const names[] = {run_id(s.run), prefix, "ada/demo", "demo"};
	for (size_t i = 0; i < array_size(names); i++)
		assert_int_equal(run_find(&scene_settings, &s.arena, names[i], &found, &err), 0);
	assert_int_equal(run_find(&scene_settings, &s.arena, "other", &found, &err), -ERR_MISSING);
	expect(err.hint, "ada/demo");
	/* What runs is not swept. */
	forget_all();
	scene_get(&s, "/", &text);
	run_stop(s.run);
	scene_wait(&s);
	assert_int_equal(run_list(&scene_settings, &s.arena, false, &list, &err), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(run_find(&scene_settings, &s.arena, "demo", &found, &err), 0);
	assert_string_equal(found.stage, "STOPPED");
	assert_string_equal(found.reason, "exited with 0");
	assert_int_equal(found.pid, 0);
	buf_clear(&text);
	read_log(&found, false, &text);
	assert_string_equal(buf_text(&text), buf_text(&s.log));
}

/* A process like `spaceport run`. Writes a byte when the Space is ready. */
noreturn_fn static void be_a_runner(int ready)
{
	struct scene s = {0};

	scene_start(&s, COMMAND("polite", "0.0.0.0", "7860"));
	scene_wait(&s);
	if (s.last != RUN_READY || write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t start_runner(void)
{
	int fds[2];
	char byte;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		be_a_runner(fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void a_killed_runner_leaves_nothing_running(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf log = {0};
	struct run_instance found;
	struct err err = {0};
	int status;

	(void)state;
	need_boxes();
	forget_all();
	pid_t pid = start_runner();
	assert_int_equal(run_find(&scene_settings, &a, "demo", &found, &err), 0);
	assert_int_equal(found.pid, pid);
	kill(pid, SIGKILL);
	/* Follows until the end, which nobody announces. */
	read_log(&found, true, &log);
	expect(buf_text(&log), "listening on");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* ERR_MISSING once nothing of it holds the lock. */
	int r = run_instance_stop(&scene_settings, &found, 10 * SECOND, &err);
	assert_true(r == 0 || r == -ERR_MISSING);
	assert_int_equal(run_find(&scene_settings, &a, "demo", &found, &err), 0);
	assert_string_equal(found.stage, "STOPPED");
	assert_string_equal(found.reason, "its process was killed");
	assert_string_equal(found.ended, "");
	assert_int_equal(run_sweep(&scene_settings, 5, &err), 0);
	assert_int_equal(run_find(&scene_settings, &a, "demo", &found, &err), 0);
	assert_string_not_equal(found.ended, "");
}

static void others_can_stop_it(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct run_instance found;
	struct err err = {0};
	int status;

	(void)state;
	need_boxes();
	forget_all();
	pid_t pid = start_runner();
	assert_int_equal(run_find(&scene_settings, &a, "demo", &found, &err), 0);
	if (run_instance_stop(&scene_settings, &found, 10 * SECOND, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(run_instance_stop(&scene_settings, &found, SECOND, &err), -ERR_MISSING);
}

static void mistakes_are_told_before_anything_starts(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(host_port_close) struct host_port taken = {0};
	struct err err = {0};
	struct run *run = NULL;
	struct run_list list;

	(void)state;
	need_boxes();
	forget_all();
	struct run_options o = {.app_port = 7860};
	assert_int_equal(run_start(&scene_settings, &o, "sha256:00", &run, &err), -ERR_MISSING);
	const char *image = scene_image(&s.arena, (const char *const[]){NULL});
	assert_int_equal(run_start(&scene_settings, &o, image, &run, &err), -ERR_FAILED);
	expect(err.hint, "CMD");
	image = scene_image(&s.arena, COMMAND("sleep"));
	assert_int_equal(host_port_open(NULL, 21500, false, &taken, &err), 0);
	o.host_port = taken.port;
	o.host_port_fixed = true;
	assert_int_equal(run_start(&scene_settings, &o, image, &run, &err), -ERR_INPUT);
	o.app_port = 0;
	assert_int_equal(run_start(&scene_settings, &o, image, &run, &err), -ERR_INPUT);
	assert_int_equal(run_list(&scene_settings, &s.arena, true, &list, &err), 0);
	assert_int_equal(list.count, 0);
}

/* Every file below the state directory. */
static void no_file_holds_the_secret(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	int status;

	(void)state;
	need_boxes();
	/* With the logs of apps that have told it themselves. */
	forget_all();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	pid_t pid = fork();
	if (pid == 0) {
		execlp("grep", "grep", "-rqsF", SCENE_SECRET, scene_settings.data, NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* 2: not everything of the boxes can be read from here. */
	assert_true(status == 1 << 8 || status == 2 << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instances_are_listed_and_found),
		cmocka_unit_test(a_killed_runner_leaves_nothing_running),
		cmocka_unit_test(others_can_stop_it),
		cmocka_unit_test(mistakes_are_told_before_anything_starts),
		cmocka_unit_test(no_file_holds_the_secret),
	};

	alarm(300);
	return cmocka_run_group_tests_name("instances", tests, scene_set_up, scene_tear_down);
}
