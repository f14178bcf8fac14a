/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "run/internal.h"

static int connect_to(int family, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
	cleanup_close int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return family == AF_INET ? connect(fd, (struct sockaddr *)&in, sizeof(in))
				 : connect(fd, (struct sockaddr *)&in6, sizeof(in6));
}

static void localhost_is_both_addresses(void **state)
{
	static const char *const names[] = {NULL, "localhost", "127.0.0.1"};

	(void)state;
	for (size_t i = 0; i < array_size(names); i++) {
		cleanup(host_port_close) struct host_port port = {0};
		struct err err = {0};
		assert_int_equal(host_port_open(names[i], 20000, false, &port, &err), 0);
		assert_true(port.port >= 20000);
		assert_int_equal(connect_to(AF_INET, port.port), 0);
		if (port.count == 2)
			assert_int_equal(connect_to(AF_INET6, port.port), 0);
	}
}

static void taken_ports_are_passed_over_or_refused(void **state)
{
	cleanup(host_port_close) struct host_port first = {0};
	cleanup(host_port_close) struct host_port second = {0};
	cleanup(host_port_close) struct host_port third = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(host_port_open(NULL, 20100, false, &first, &err), 0);
	assert_int_equal(host_port_open(NULL, first.port, false, &second, &err), 0);
	assert_true(second.port > first.port);
	assert_int_equal(host_port_open(NULL, first.port, true, &third, &err), -ERR_INPUT);
	assert_int_equal(third.count, 0);
	assert_non_null(strstr(err.text, "is taken"));
	/* Somebody on ::1 alone takes the port, too. */
	if (first.count == 2) {
		close(first.fds[0]);
		first.fds[0] = first.fds[1];
		first.count = 1;
		assert_int_equal(host_port_open(NULL, first.port, true, &third, &err), -ERR_INPUT);
	}
}

static void other_addresses_are_read(void **state)
{
	struct err err = {0};

	(void)state;
	static const char *const good[] = {"0.0.0.0", "127.0.0.2"};
	for (size_t i = 0; i < array_size(good); i++) {
		cleanup(host_port_close) struct host_port port = {0};
		assert_int_equal(host_port_open(good[i], 20200, false, &port, &err), 0);
		assert_int_equal(port.count, 1);
	}
	static const char *const bad[] = {"", "example.org", "1.2.3", "127.0.0.1:80", "192.0.2.1"};
	for (size_t i = 0; i < array_size(bad); i++) {
		cleanup(host_port_close) struct host_port port = {0};
		assert_int_equal(host_port_open(bad[i], 20200, false, &port, &err), -ERR_INPUT);
	}
}

static void urls_are_for_people(void **state)
{
	static const struct {
		const char *address, *url;
	} rows[] = {
		{NULL, "http://localhost:80"},
		{"127.0.0.1", "http://localhost:80"},
		{"0.0.0.0", "http://localhost:80"},
		{"::", "http://localhost:80"},
		{"10.1.2.3", "http://10.1.2.3:80"},
		{"fd00::1", "http://[fd00::1]:80"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf url = {0};
		host_port_url(rows[i].address, 80, &url);
		assert_string_equal(buf_text(&url), rows[i].url);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(localhost_is_both_addresses),
		cmocka_unit_test(taken_ports_are_passed_over_or_refused),
		cmocka_unit_test(other_addresses_are_read),
		cmocka_unit_test(urls_are_for_people),
	};

	return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
