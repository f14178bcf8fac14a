/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"
#include "run/forward.h"

/*
 * The forwarder runs in a child; the test is the client and the app. All sockets of the
 * test have a time-out, so that a lost byte fails a test instead of hanging it.
 */

enum { TIMEOUT_SECONDS = 20 };

struct carrier {
	pid_t pid;
	int control; /* 'o': open, 'c': close */
	int app;     /* listens: what the forwarder connects to; -1 until app_listen() */
	uint16_t port, app_port;
};

static int listen_on(uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(in);
	int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct forward *f = poll->data;
	struct err err = {0};
	char c = 'c';

	(void)events;
	int fd;
	uv_fileno((uv_handle_t *)poll, &fd);
	if (status < 0 || read(fd, &c, 1) != 1 || c == 'c') {
		forward_close(f);
		uv_close((uv_handle_t *)poll, NULL);
	} else if (forward_open(f, &err) < 0) {
		exit(9);
	}
}

/* Leaves through exit(), so that the leak checker has its say. */
static void run_child(int listener, int control, uint16_t app_port, unsigned max_links)
{
	struct forward *f = NULL;
	struct err err = {0};
	uv_loop_t loop;
	uv_poll_t poll;

	signal(SIGPIPE, SIG_IGN);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	uv_loop_init(&loop);
	struct forward_options options = {.loop = &loop,
		.listeners = &listener,
		.listener_count = 1,
		.to = {.sin_family = AF_INET,
			.sin_port = htons(app_port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
		.max_links = max_links,
		.patience = 1500};
	if (forward_new(&options, &f, &err) < 0)
		exit(8);
	uv_poll_init(&loop, &poll, control);
	poll.data = f;
	uv_poll_start(&poll, UV_READABLE, on_control);
	uv_run(&loop, UV_RUN_DEFAULT);
	exit(uv_loop_close(&loop) == 0 ? 0 : 7);
}

static struct carrier carrier_start(bool with_app, unsigned max_links)
{
	struct carrier c = {.app = -1};
	int control[2];
	int listener = listen_on(0, &c.port);
	int app = listen_on(0, &c.app_port);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
	c.pid = fork();
	if (c.pid == 0) {
		close(control[0]);
		close(app);
		run_child(listener, control[1], c.app_port, max_links);
	}
	close(control[1]);
	close(listener);
	c.control = control[0];
	if (with_app)
		c.app = app;
	else
		close(app);
	return c;
}

static void carrier_tell(struct carrier *c, char what)
{
	assert_int_equal(write(c->control, &what, 1), 1);
}

static void carrier_stop(struct carrier *c)
{
	int status;

	carrier_tell(c, 'c');
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_int_equal(status, 0);
	close(c->control);
	if (c->app >= 0)
		close(c->app);
}

static void set_timeouts(int fd)
{
	struct timeval tv = {.tv_sec = TIMEOUT_SECONDS};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int client_connect(struct carrier *c)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(c->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	set_timeouts(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static bool is_readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static int app_accept(struct carrier *c)
{
	assert_true(is_readable(c->app, TIMEOUT_SECONDS * 1000));
	int fd = accept4(c->app, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	set_timeouts(fd);
	return fd;
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_text(int fd, const char *text)
{
	char got[256] = "";
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t r = recv(fd, got + n, strlen(text) - n, 0);
		if (r <= 0)
			fail_msg("waiting for %s: %s", text, r ? strerror(errno) : "end of file");
		n += (size_t)r;
	}
	assert_string_equal(got, text);
}

static void expect_eof(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void expect_reset(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static char pattern(size_t at, unsigned seed)
{
	return (char)(at * 31 + (at >> 8) * 7 + seed);
}

static size_t send_pattern(int fd, size_t at, size_t size, unsigned seed, int flags)
{
	char piece[16384];
	size_t n = size < sizeof(piece) ? size : sizeof(piece);

	for (size_t i = 0; i < n; i++)
		piece[i] = pattern(at + i, seed);
	ssize_t sent = send(fd, piece, n, MSG_NOSIGNAL | flags);
	return sent < 0 ? 0 : (size_t)sent;
}

static size_t expect_pattern(int fd, size_t at, size_t size, unsigned seed, int flags)
{
	char piece[16384];
	ssize_t n = recv(fd, piece, size < sizeof(piece) ? size : sizeof(piece), flags);

	if (n < 0 && errno == EAGAIN && flags)
		return 0;
	assert_true(n > 0);
	for (ssize_t i = 0; i < n; i++)
		if (piece[i] != pattern(at + (size_t)i, seed))
			fail_msg("byte %zu of %zu is wrong", at + (size_t)i, size);
	return (size_t)n;
}

/* ---- tests ---- */

static void bytes_pass_both_ways(void **state)
{
	struct carrier c = carrier_start(true, 16);
	cleanup_close int client = client_connect(&c);

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int app = app_accept(&c);
	/* An upgraded connection: no request and answer any more, each side speaks at will. */
	send_text(client, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	expect_text(app, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	send_text(app, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	expect_text(client, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	for (int i = 0; i < 100; i++) {
		send_text(app, "\x81\x02hi");
		expect_text(client, "\x81\x02hi");
		send_text(client, "\x81\x82\1\2\3\4xy");
		expect_text(app, "\x81\x82\1\2\3\4xy");
	}
	carrier_stop(&c);
}

static void nobody_is_accepted_before_opening(void **state)
{
	struct carrier c = carrier_start(true, 16);
	cleanup_close int client = client_connect(&c);

	(void)state;
	send_text(client, "early");
	assert_false(is_readable(c.app, 100));
	carrier_tell(&c, 'o');
	cleanup_close int app = app_accept(&c);
	expect_text(app, "early");
	carrier_stop(&c);
	expect_reset(client);
}

static void clients_may_finish_first(void **state)
{
	struct carrier c = carrier_start(true, 16);
	size_t size = 4 << 20, at = 0, seen = 0;

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	cleanup_close int app = app_accept(&c);
	send_text(client, "request");
	shutdown(client, SHUT_WR);
	expect_text(app, "request");
	expect_eof(app);
	while (seen < size) {
		at += send_pattern(app, at, size - at, 1, MSG_DONTWAIT);
		if (is_readable(client, at < size ? 0 : TIMEOUT_SECONDS * 1000))
			seen += expect_pattern(client, seen, size - seen, 1, 0);
	}
	shutdown(app, SHUT_WR);
	expect_eof(client);
	carrier_stop(&c);
}

static void apps_may_finish_first(void **state)
{
	struct carrier c = carrier_start(true, 16);

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	cleanup_close int app = app_accept(&c);
	send_text(app, "bye");
	shutdown(app, SHUT_WR);
	expect_text(client, "bye");
	expect_eof(client);
	send_text(client, "one more thing");
	expect_text(app, "one more thing");
	shutdown(client, SHUT_WR);
	expect_eof(app);
	carrier_stop(&c);
}

/* Both directions full at once: each stalls and goes on again and again. */
static void much_passes_both_ways_at_once(void **state)
{
	enum { SIZE = 12 << 20 };
	struct carrier c = carrier_start(true, 16);
	size_t up = 0, up_seen = 0, down = 0, down_seen = 0;

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	cleanup_close int app = app_accept(&c);
	while (up_seen < SIZE || down_seen < SIZE) {
		struct pollfd p[] = {
			{.fd = client, .events = (short)(POLLIN | (up < SIZE ? POLLOUT : 0))},
			{.fd = app, .events = (short)(POLLIN | (down < SIZE ? POLLOUT : 0))}};
		assert_true(poll(p, 2, TIMEOUT_SECONDS * 1000) > 0);
		if (p[0].revents & POLLOUT)
			up += send_pattern(client, up, SIZE - up, 2, MSG_DONTWAIT);
		if (p[1].revents & POLLOUT)
			down += send_pattern(app, down, SIZE - down, 3, MSG_DONTWAIT);
		if (p[0].revents & POLLIN)
			down_seen += expect_pattern(
				client, down_seen, SIZE - down_seen, 3, MSG_DONTWAIT);
		if (p[1].revents & POLLIN)
			up_seen += expect_pattern(app, up_seen, SIZE - up_seen, 2, MSG_DONTWAIT);
	}
	carrier_stop(&c);
}

static void a_slow_app_slows_its_client(void **state)
{
	struct carrier c = carrier_start(true, 16);
	size_t at = 0, seen = 0, sent;

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	cleanup_close int app = app_accept(&c);
	/* Until it takes no more: the kernel's buffers of two connections and one piece. */
	for (;;) {
		struct pollfd p = {.fd = client, .events = POLLOUT};
		if (poll(&p, 1, 500) == 0)
			break;
		sent = send_pattern(client, at, 1 << 20, 4, MSG_DONTWAIT);
		at += sent;
		assert_true(at < (64u << 20));
	}
	while (seen < at)
		seen += expect_pattern(app, seen, at - seen, 4, 0);
	send_text(client, "go on");
	expect_text(app, "go on");
	carrier_stop(&c);
}

static void resets_pass(void **state)
{
	struct carrier c = carrier_start(true, 16);
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	int app = app_accept(&c);
	send_text(app, "half an ans");
	expect_text(client, "half an ans");
	setsockopt(app, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(app);
	expect_reset(client);

	int other = client_connect(&c);
	cleanup_close int served = app_accept(&c);
	setsockopt(other, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(other);
	expect_reset(served);
	carrier_stop(&c);
}

static void a_refused_connection_is_tried_again(void **state)
{
	struct carrier c = carrier_start(false, 16);
	uint16_t port;

	(void)state;
	carrier_tell(&c, 'o');
	cleanup_close int client = client_connect(&c);
	send_text(client, "patient");
	assert_false(is_readable(client, 200));
	c.app = listen_on(c.app_port, &port);
	cleanup_close int app = app_accept(&c);
	expect_text(app, "patient");
	close(take_fd(&c.app));
	/* Nobody comes: cut, not closed as if that were the answer. */
	cleanup_close int hopeless = client_connect(&c);
	expect_reset(hopeless);
	carrier_stop(&c);
}

static void the_limit_makes_clients_wait(void **state)
{
	enum { MAX = 4 };
	struct carrier c = carrier_start(true, MAX);
	int clients[MAX + 2], apps[MAX + 2];

	(void)state;
	carrier_tell(&c, 'o');
	for (size_t i = 0; i < MAX + 2; i++)
		clients[i] = client_connect(&c);
	for (size_t i = 0; i < MAX; i++)
		apps[i] = app_accept(&c);
	assert_false(is_readable(c.app, 100));
	for (size_t i = 0; i < 2; i++) {
		close(clients[i]);
		expect_eof(apps[i]);
		close(apps[i]);
		apps[MAX + i] = app_accept(&c);
	}
	send_text(clients[MAX + 1], "at last");
	expect_text(apps[MAX + 1], "at last");
	for (size_t i = 2; i < MAX + 2; i++) {
		close(clients[i]);
		close(apps[i]);
	}
	carrier_stop(&c);
}

static void many_links_live_side_by_side(void **state)
{
	enum { MANY = 200 };
	struct carrier c = carrier_start(true, MANY);
	int clients[MANY], apps[MANY];

	(void)state;
	carrier_tell(&c, 'o');
	for (size_t i = 0; i < MANY; i++) {
		clients[i] = client_connect(&c);
		apps[i] = app_accept(&c);
	}
	for (size_t i = 0; i < MANY; i++) {
		char text[16];
		snprintf(text, sizeof(text), "to %zu", i);
		send_text(clients[i], text);
		expect_text(apps[i], text);
	}
	/* Cut while open: nothing may stay behind in the forwarder. */
	carrier_stop(&c);
	for (size_t i = 0; i < MANY; i++) {
		close(clients[i]);
		close(apps[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass_both_ways),
		cmocka_unit_test(nobody_is_accepted_before_opening),
		cmocka_unit_test(clients_may_finish_first),
		cmocka_unit_test(apps_may_finish_first),
		cmocka_unit_test(much_passes_both_ways_at_once),
		cmocka_unit_test(a_slow_app_slows_its_client),
		cmocka_unit_test(resets_pass),
		cmocka_unit_test(a_refused_connection_is_tried_again),
		cmocka_unit_test(the_limit_makes_clients_wait),
		cmocka_unit_test(many_links_live_side_by_side),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
