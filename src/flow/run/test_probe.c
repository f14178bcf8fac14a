/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"
#include "run/probe.h"

static void status_lines_are_read(void **state)
{
	static const struct {
		const char *bytes;
		int result, status;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n", 0, 200},
		{"HTTP/1.0 404 Not Found\r\n", 0, 404},
		{"HTTP/1.1 405\r\n", 0, 405},
		{"HTTP/1.1 503\n", 0, 503},
		{"HTTP/1.1 200 ", 0, 200},
		{"", PROBE_E_SHORT, 0},
		{"HTTP/1.1 20", PROBE_E_SHORT, 0},
		{"HTTP/1.1 200", PROBE_E_SHORT, 0},
		{"HTTP/1.1 2000", PROBE_E_BAD, 0},
		{"HTTP/1.1 099 x", PROBE_E_BAD, 0},
		{"HTTP/2 200 OK", PROBE_E_BAD, 0},
		{"http/1.1 200 OK", PROBE_E_BAD, 0},
		{"HTTP/1.1  200", PROBE_E_BAD, 0},
		{"SSH-2.0-x", PROBE_E_BAD, 0},
		{"\x15\x03\x01", PROBE_E_BAD, 0},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		int status = 0;
		assert_int_equal(
			probe_parse_status(str_of(rows[i].bytes), &status), rows[i].result);
		assert_int_equal(status, rows[i].status);
	}
}

/* ---- A server in the same loop, which answers with a text and closes ---- */

enum { SERVER_LATE_MS = 60 };

struct scene {
	uv_loop_t loop;
	uv_tcp_t server;
	uv_timer_t late, stop;
	struct probe *probe;
	const char *answer; /* NULL: none, the connection stays open */
	struct sockaddr_in at;
	int status, answers;
	enum probe_seen seen;
};

static void on_answer(void *arg, int status)
{
	struct scene *s = arg;

	s->status = status;
	s->answers++;
	uv_stop(&s->loop);
}

static void on_stop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void on_closed_free(uv_handle_t *handle)
{
	free(handle);
}

static void on_client(uv_stream_t *server, int status)
{
	struct scene *s = server->data;
	uv_tcp_t *client = xcalloc(1, sizeof(*client));
	uv_buf_t buf;

	assert_int_equal(status, 0);
	uv_tcp_init(&s->loop, client);
	assert_int_equal(uv_accept(server, (uv_stream_t *)client), 0);
	if (!s->answer)
		return;
	cleanup_free char *answer = xstrdup(s->answer);
	buf = uv_buf_init(answer, (unsigned)strlen(answer));
	if (buf.len)
		assert_int_equal(uv_try_write((uv_stream_t *)client, &buf, 1), buf.len);
	uv_close((uv_handle_t *)client, on_closed_free);
}

static void on_late(uv_timer_t *timer)
{
	struct scene *s = timer->data;

	assert_int_equal(uv_listen((uv_stream_t *)&s->server, 16, on_client), 0);
}

static void close_all(uv_handle_t *handle, void *arg)
{
	struct scene *s = arg;
	bool own = handle == (uv_handle_t *)&s->server || handle == (uv_handle_t *)&s->late ||
		   handle == (uv_handle_t *)&s->stop;

	if (!uv_is_closing(handle))
		uv_close(handle, own ? NULL : on_closed_free);
}

static void play(struct scene *s, uint64_t listen_after, uint64_t ms)
{
	int size = sizeof(s->at);

	uv_loop_init(&s->loop);
	uv_tcp_init(&s->loop, &s->server);
	s->server.data = s;
	s->at = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(uv_tcp_bind(&s->server, (struct sockaddr *)&s->at, 0), 0);
	assert_int_equal(uv_tcp_getsockname(&s->server, (struct sockaddr *)&s->at, &size), 0);
	uv_timer_init(&s->loop, &s->late);
	s->late.data = s;
	uv_timer_start(&s->late, on_late, listen_after, 0);
	uv_timer_init(&s->loop, &s->stop);
	uv_timer_start(&s->stop, on_stop, ms, 0);
	struct probe_options options = {.loop = &s->loop,
		.to = s->at,
		.host = "localhost:7860",
		.on_answer = on_answer,
		.arg = s};
	s->probe = probe_start(&options);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	s->seen = probe_seen(s->probe);
	probe_close(s->probe);
	/* What is left belongs to the server: the probe closes its own. */
	uv_run(&s->loop, UV_RUN_NOWAIT);
	uv_walk(&s->loop, close_all, s);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
}

static void answers_are_waited_for(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 500 Oops\r\n\r\n"};
	static const int statuses[] = {200, 500};

	(void)state;
	for (size_t i = 0; i < array_size(answers); i++) {
		struct scene s = {.answer = answers[i]};
		play(&s, SERVER_LATE_MS, 20000);
		assert_int_equal(s.answers, 1);
		assert_int_equal(s.status, statuses[i]);
		assert_int_equal(s.seen, PROBE_ANSWERED);
	}
}

static void other_answers_are_no_answer(void **state)
{
	static const struct {
		const char *answer;
		uint64_t listen_after;
		enum probe_seen seen;
	} rows[] = {
		{"SSH-2.0-OpenSSH\r\n", 0, PROBE_NOT_HTTP},
		{"\x15\x03\x01\x00\x02\x02\x46", 0, PROBE_TLS},
		{"HTTP/1.", 0, PROBE_NOT_HTTP},
		{"", 0, PROBE_CLOSED},
		{NULL, 0, PROBE_SILENT},
		{"", 100000, PROBE_REFUSED},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct scene s = {.answer = rows[i].answer};
		play(&s, rows[i].listen_after, 150);
		assert_int_equal(s.answers, 0);
		assert_int_equal(s.seen, rows[i].seen);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_lines_are_read),
		cmocka_unit_test(answers_are_waited_for),
		cmocka_unit_test(other_answers_are_no_answer),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
