/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/internal.h"

enum { BACKLOG = 512 };

struct address {
	struct sockaddr_storage storage;
	socklen_t size;
	bool is_optional; /* a host without IPv6 does without */
};

static struct address address_v4(struct in_addr in)
{
	struct address a = {.size = sizeof(struct sockaddr_in)};
	const struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = in};

	memcpy(&a.storage, &sin, sizeof(sin));
	return a;
}

static struct address address_v6(struct in6_addr in)
{
	struct address a = {.size = sizeof(struct sockaddr_in6)};
	const struct sockaddr_in6 sin = {.sin6_family = AF_INET6, .sin6_addr = in};

	memcpy(&a.storage, &sin, sizeof(sin));
	return a;
}

static bool is_localhost(const char *text)
{
	return !text || strcmp(text, "localhost") == 0 || strcmp(text, "127.0.0.1") == 0;
}

/*
 * "localhost" is both loopback addresses: browsers try ::1 first, where somebody else might
 * answer.
 */
static int find_addresses(
	const char *text, struct address ret[static 2], size_t *ret_count, struct err *err)
{
	const struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
	struct in_addr in;
	struct in6_addr in6;

	*ret_count = 1;
	if (is_localhost(text)) {
		ret[0] = address_v4(loopback);
		ret[1] = address_v6(in6addr_loopback);
		ret[1].is_optional = true;
		*ret_count = 2;
	} else if (inet_pton(AF_INET, text, &in) == 1) {
		ret[0] = address_v4(in);
	} else if (inet_pton(AF_INET6, text, &in6) == 1) {
		ret[0] = address_v6(in6);
	} else {
		return err_set(err, ERR_INPUT, "listen: %s is not an address", text);
	}
	return 0;
}

static void set_port(struct address *a, uint16_t port)
{
	if (a->storage.ss_family == AF_INET)
		((struct sockaddr_in *)&a->storage)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&a->storage)->sin6_port = htons(port);
}

/* The descriptor, or < 0 and errno. */
static int listen_at(const struct address *a)
{
	int yes = 1, family = a->storage.ss_family;
	cleanup_close int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	/* A port whose last connections linger in TIME_WAIT is free all the same. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	/* :: takes IPv4 as well, ::1 beside 127.0.0.1 must not. */
	yes = a->is_optional;
	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)&a->storage, a->size) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return take_fd(&fd);
}

void host_port_close(struct host_port *port)
{
	for (size_t i = 0; i < port->count; i++)
		close(port->fds[i]);
	port->count = 0;
}

/* All addresses on one port; 0, or errno with nothing open. */
static int listen_at_all(struct address *addresses, size_t count, struct host_port *ret)
{
	for (size_t i = 0; i < count; i++) {
		set_port(&addresses[i], ret->port);
		int fd = listen_at(&addresses[i]);
		if (fd >= 0) {
			ret->fds[ret->count++] = fd;
			continue;
		}
		int sys = errno;
		if (addresses[i].is_optional && sys != EADDRINUSE)
			continue;
		host_port_close(ret);
		return sys;
	}
	return 0;
}

static int explain(int sys, uint16_t port, const char *address, struct err *err)
{
	errno = sys;
	if (sys == EADDRINUSE) {
		(void)err_set(err, ERR_INPUT, "port %u is taken by another program", port);
		return err_hint(err, "-p with another port, or none: the next free one is taken");
	}
	(void)err_sys(err, "listen on port %u of %s", port, address ? address : "127.0.0.1");
	if (sys == EADDRNOTAVAIL)
		err->kind = ERR_INPUT;
	if (sys == EACCES && port < 1024)
		return err_hint(err,
			"ports below 1024 need root, or: sudo sysctl -w "
			"net.ipv4.ip_unprivileged_port_start=%u",
			port);
	return -(int)err->kind;
}

/* Of a port that may not be used the one 8000 above it: 80 becomes 8080. */
static uint16_t next_port(uint16_t port, int sys)
{
	if (sys == EACCES && port < 1024)
		return (uint16_t)(port + 8000);
	return port == UINT16_MAX ? 1024 : (uint16_t)(port + 1);
}

int host_port_open(
	const char *address, uint16_t port, bool is_fixed, struct host_port *ret, struct err *err)
{
	enum { TRIES = 1000 };
	struct address addresses[2] = {0};
	size_t count;
	int sys = EADDRINUSE;

	*ret = (struct host_port){.port = port};
	int r = find_addresses(address, addresses, &count, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < (is_fixed ? 1 : TRIES); i++) {
		sys = listen_at_all(addresses, count, ret);
		if (sys == 0)
			return 0;
		if (is_fixed || (sys != EADDRINUSE && sys != EACCES))
			break;
		ret->port = next_port(ret->port, sys);
	}
	return explain(sys, ret->port, address, err);
}

void host_port_url(const char *address, uint16_t port, struct buf *ret)
{
	bool is_any = address && (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0 ||
					 strcmp(address, "::1") == 0);
	const char *host = is_any || is_localhost(address) ? "localhost" : address;

	buf_printf(ret, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u", host, port);
}
