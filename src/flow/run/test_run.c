/* SPDX-License-Identifier: Apache-2.0 */
/* What a Space gets, and what is said when it does not come up. */
#include "run/test_scene.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

static void a_space_comes_up_as_user_1000(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf got = {0};

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	assert_int_equal(s.status, 200);
	assert_string_equal(buf_text(&s.text), run_url(s.run));
	expect_log(&s, "===== Application Startup at ");
	expect_log(&s, "listening on 0.0.0.0:7860\n");
	scene_get(&s, "/", &got);
	assert_string_equal(buf_text(&got), "hello");
	scene_get(&s, "/id", &got);
	assert_string_equal(buf_text(&got), "1000:1000");
	scene_get(&s, "/env", &got);
	expect(buf_text(&got), "FROM_IMAGE=1\n");
	expect(buf_text(&got), "OVERLAID=given\n");
	expect(buf_text(&got), "TOKEN=" SCENE_SECRET "\n");
	expect(buf_text(&got), "HOME=/home/user\n");
	expect(buf_text(&got), "PATH=/usr/local/sbin");
	scene_get(&s, "/read/proc/self/status", &got);
	expect(buf_text(&got), "CapEff:\t0000000000000000\n");
	expect(buf_text(&got), "CapBnd:\t0000000000000000\n");
	expect(buf_text(&got), "NoNewPrivs:\t1\n");
}

static void what_never_began_leaves_no_trace(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	struct run_options o = {.app_port = 7860, .host_port = 21000};
	struct err err = {0};
	struct run_list list;

	(void)state;
	need_boxes();
	assert_int_equal(run_sweep(&scene_settings, 0, &err), 0);
	assert_int_equal(run_prepare(&scene_settings, &o, &s.run, &err), 0);
	assert_int_equal(run_list(&scene_settings, &s.arena, false, &list, &err), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].stage, "BUILDING");
	assert_string_equal(list.items[0].image_id, "");
	/* An image that cannot be started is as none. */
	assert_int_equal(run_begin(s.run, "sha256:00", &err), -ERR_MISSING);
	run_free(s.run);
	s.run = NULL;
	assert_int_equal(run_list(&scene_settings, &s.arena, true, &list, &err), 0);
	assert_int_equal(list.count, 0);
}

/* The second start finds the filter compiled. */
static void every_start_is_filtered(void **state)
{
	(void)state;
	need_boxes();
	for (int i = 0; i < 2; i++) {
		cleanup(scene_done) struct scene s = {0};
		cleanup(buf_done) struct buf got = {0};
		scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
		scene_wait(&s);
		expect_last(&s, RUN_READY);
		scene_get(&s, "/read/proc/self/status", &got);
		expect(buf_text(&got), "Seccomp:\t2\n");
	}
}

static void its_disk_is_writable_and_lost(void **state)
{
	(void)state;
	need_boxes();
	for (int i = 0; i < 2; i++) {
		cleanup(scene_done) struct scene s = {0};
		cleanup(buf_done) struct buf got = {0};
		scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
		scene_wait(&s);
		expect_last(&s, RUN_READY);
		scene_get(&s, "/write/tmp/x", &got);
		assert_string_equal(buf_text(&got), "written");
		scene_get(&s, "/write/home/user/x", &got);
		assert_string_equal(buf_text(&got), "written");
		scene_get(&s, "/write/files/x", &got);
		assert_string_equal(buf_text(&got), "Permission denied");
	}
}

static void the_host_cannot_be_reached_on_loopback(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf got = {0};

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	/* The Space's own port on the host: something does listen there. */
	cleanup_free char *path = xprintf("/connect/127.0.0.1:%u", scene_port(&s));
	scene_get(&s, path, &got);
	assert_string_equal(buf_text(&got), "Connection refused");
}

static void anything_passes(void **state)
{
	enum { SIZE = 4 << 20, PIECE = 65536 };
	cleanup(scene_done) struct scene s = {0};
	static const char request[] = "GET /echo HTTP/1.1\r\nUpgrade: x\r\n\r\n";
	static char out[PIECE], in[PIECE];
	size_t sent = 0, got = 0, head = strlen("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	cleanup_close int fd = scene_connect(&s);
	assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	assert_int_equal(recv(fd, in, head, MSG_WAITALL), head);
	while (got < SIZE) {
		struct pollfd p = {
			.fd = fd, .events = (short)(POLLIN | (sent < SIZE ? POLLOUT : 0))};
		assert_int_equal(poll(&p, 1, SCENE_PATIENCE_MS), 1);
		if (p.revents & POLLOUT) {
			for (size_t i = 0; i < PIECE; i++)
				out[i] = (char)((sent + i) * 31 >> 3);
			ssize_t n = send(fd, out, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
		}
		ssize_t n = recv(fd, in, PIECE, MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(in[i], (char)(got * 31 >> 3));
	}
	shutdown(fd, SHUT_WR);
	/* All that was sent comes back, then the end. */
	while (got < sent)
		got += (size_t)recv(fd, in, PIECE, 0);
	assert_int_equal(recv(fd, in, 1, 0), 0);
}

static const struct {
	const char *command[6];
	int64_t timeout; /* ms */
	enum err_kind error;
	const char *says[4];
} failures[] = {
	{{"/app", "serve", "0.0.0.0", "8000"}, 1600, ERR_LIMIT,
		{"port 7860 did not answer within 1.6s: the app listens on 0.0.0.0:8000, not "
		 "on port 7860",
			"app_port: 8000"}},
	{{"/app", "serve", "127.0.0.1", "7860"}, 1600, ERR_LIMIT,
		{"listens on 127.0.0.1:7860 only", "0.0.0.0"}},
	{{"/app", "silent", "0.0.0.0", "7860"}, 1600, ERR_LIMIT,
		{"port 7860 takes connections but gives no answer"}},
	{{"/app", "sleep"}, 1600, ERR_LIMIT, {"nothing listens on any port"}},
	{{"/app", "exit", "3", "last words"}, 30000, ERR_FAILED,
		{"exited with 3 before port 7860 answered\n", "  last words"}},
	{{"/app", "confess", "TOKEN"}, 30000, ERR_FAILED, {"exited with 5", "  TOKEN is ***"}},
	{{"/app", "open", "/files/x"}, 30000, ERR_FAILED,
		{"cannot write to /files/x as UID 1000 (does not exist, and /files belongs to "
		 "root, mode 0755)"}},
	{{"/app", "open", "x"}, 30000, ERR_FAILED,
		{"cannot write to x as UID 1000 (does not exist, and /work belongs to root"}},
	{{"/no/such/program"}, 30000, ERR_FAILED, {"/no/such/program"}},
	{{"/etc/passwd"}, 30000, ERR_FAILED, {"/etc/passwd"}},
};

static void what_does_not_answer_is_explained(void **state)
{
	(void)state;
	need_boxes();
	for (size_t i = 0; i < array_size(failures); i++) {
		cleanup(scene_done) struct scene s = {
			.options = {.start_timeout = failures[i].timeout * 1000000}};
		scene_start(&s, failures[i].command);
		scene_wait(&s);
		expect_last(&s, RUN_FAILED);
		assert_int_equal(s.error, failures[i].error);
		for (size_t k = 0; k < array_size(failures[i].says) && failures[i].says[k]; k++)
			expect(buf_text(&s.text), failures[i].says[k]);
		if (failures[i].error == ERR_LIMIT)
			assert_true(s.waiting.len > 0);
	}
}

/* False when this host has no limits. */
static bool is_killed_for_memory(void)
{
	cleanup(scene_done) struct scene s = {.options = {.memory = 64 << 20}};

	scene_start(&s, COMMAND("eat"));
	/* Waits to the end when there is nothing to warn of. */
	if (scene_wait_for(&s, RUN_WARNING) && strstr(buf_text(&s.warnings), "memory")) {
		fprintf(stderr, "no memory limits here: %s\n", buf_text(&s.warnings));
		return false;
	}
	(void)scene_wait_for(&s, RUN_FAILED); /* or is over already */
	expect_last(&s, RUN_FAILED);
	expect(buf_text(&s.text), "killed for memory: the limit is 67.1 MB");
	return true;
}

static void memory_has_its_limit(void **state)
{
	(void)state;
	need_boxes();
	if (is_killed_for_memory())
		return;
	assert_null(getenv("SPACEPORT_MUST_RUN"));
	skip();
}

static void stopping_is_asked_for(void **state)
{
	static const struct {
		const char *mode;
		int64_t timeout; /* ms */
		int status;
		const char *log;
	} rows[] = {
		{"polite", 30000, 0, "good-bye\n"},
		/* no handler: the signal would never arrive, so nobody waits for it */
		{"serve", 3600000, SIGKILL, ""},
		{"stubborn", 100, SIGKILL, "no\n"},
	};

	(void)state;
	need_boxes();
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(scene_done) struct scene s = {
			.options = {.stop_timeout = rows[i].timeout * 1000000}};
		scene_start(&s, COMMAND(rows[i].mode, "0.0.0.0", "7860"));
		scene_wait(&s);
		expect_last(&s, RUN_READY);
		run_stop(s.run);
		scene_wait(&s);
		expect_last(&s, RUN_EXITED);
		assert_int_equal(s.status, rows[i].status);
		expect(buf_text(&s.log), rows[i].log);
	}
}

static void a_killed_box_is_told(void **state)
{
	cleanup(scene_done) struct scene s = {0};

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("polite", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	assert_int_equal(kill(s.run->box.pid, SIGKILL), 0);
	scene_wait(&s);
	expect_last(&s, RUN_EXITED);
	expect(buf_text(&s.text), "the process that held the Space was killed by SIGKILL");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_space_comes_up_as_user_1000),
		cmocka_unit_test(what_never_began_leaves_no_trace),
		cmocka_unit_test(every_start_is_filtered),
		cmocka_unit_test(its_disk_is_writable_and_lost),
		cmocka_unit_test(the_host_cannot_be_reached_on_loopback),
		cmocka_unit_test(anything_passes),
		cmocka_unit_test(what_does_not_answer_is_explained),
		cmocka_unit_test(memory_has_its_limit),
		cmocka_unit_test(stopping_is_asked_for),
		cmocka_unit_test(a_killed_box_is_told),
	};

	alarm(300);
	return cmocka_run_group_tests_name("run", tests, scene_set_up, scene_tear_down);
}
