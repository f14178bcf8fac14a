/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "build/internal.h"

/*
 * The user's ssh-agents, with the user's rights. No agent's socket ever gets into the box: a
 * connection of a step ends here, and each of its requests is looked at, as BuildKit does. A step
 * may list the keys and have something signed; it may not add keys, take them away or lock the
 * agent. (draft-ietf-sshm-ssh-agent.)
 *
 * One process for each listening socket and one for each connection: all that is slow here waits
 * for somebody else. They end with the step, and with the server at the latest.
 */

enum { HEADER = 4, MESSAGE_MAX = 256 * 1024 }; /* OpenSSH's limit */
enum { MAX_CONNECTIONS = 16, MAX_LISTENERS = 256, LOOK_AGAIN_MS = 100 };

enum message {
	AGENT_FAILURE = 5,
	REQUEST_IDENTITIES = 11,
	SIGN_REQUEST = 13,
};

/* ---- one connection ---- */

static bool read_all(int fd, unsigned char *p, size_t n)
{
	while (n) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

static bool write_all(int fd, const unsigned char *p, size_t n)
{
	while (n) {
		ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		p += put;
		n -= (size_t)put;
	}
	return true;
}

/* A length and as many bytes; the first of them says what kind of message it is. */
static bool read_message(int fd, unsigned char *text, size_t *ret_len)
{
	if (!read_all(fd, text, HEADER))
		return false;
	size_t n = (size_t)text[0] << 24 | (size_t)text[1] << 16 | (size_t)text[2] << 8 | text[3];
	*ret_len = HEADER + n;
	return n > 0 && n <= MESSAGE_MAX && read_all(fd, text + HEADER, n);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return take_fd(&fd);
}

static bool answer(int client, int agent, unsigned char *text, size_t n)
{
	static const unsigned char failure[] = {0, 0, 0, 1, AGENT_FAILURE};

	if (text[HEADER] != REQUEST_IDENTITIES && text[HEADER] != SIGN_REQUEST)
		return write_all(client, failure, sizeof(failure));
	return write_all(agent, text, n) && read_message(agent, text, &n) &&
	       write_all(client, text, n);
}

static void carry(int client, const char *path)
{
	cleanup_close int agent = connect_to(path);
	cleanup_free unsigned char *text = xmalloc(HEADER + MESSAGE_MAX);
	size_t n;

	while (agent >= 0 && read_message(client, text, &n) && answer(client, agent, text, n))
		;
}

/* ---- processes ---- */

/* As fork(2); the child does not outlive this process. */
static pid_t fork_bound(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static void reap(size_t *running)
{
	while (*running && waitpid(-1, NULL, WNOHANG) > 0)
		--*running;
}

static bool start_connection(int listener, const char *path)
{
	cleanup_close int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid = client < 0 ? -1 : fork_bound();

	if (pid == 0) {
		close(listener);
		carry(client, path);
		_exit(0);
	}
	return pid > 0;
}

static void listen_on(int listener, int lifeline, const char *path)
{
	size_t running = 0;

	for (;;) {
		reap(&running);
		bool is_full = running == MAX_CONNECTIONS;
		struct pollfd p[] = {{.fd = lifeline, .events = POLLIN},
			{.fd = is_full ? -1 : listener, .events = POLLIN}};
		if (poll(p, 2, is_full ? LOOK_AGAIN_MS : -1) < 0)
			return;
		if (p[0].revents || (p[1].revents & ~POLLIN))
			return;
		if (p[1].revents)
			running += start_connection(listener, path);
	}
}

/* ---- requests ---- */

struct request {
	uint32_t index;
	int fds[AGENT_REQUEST_FDS]; /* < 0: was not there */
};

/* No more of them fit into the space for them. */
static void take_fds(struct msghdr *msg, struct request *ret)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t n = c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
			   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
			   : 0;

	for (size_t i = 0; i < AGENT_REQUEST_FDS; i++)
		ret->fds[i] = -1;
	if (n && n <= AGENT_REQUEST_FDS)
		memcpy(ret->fds, CMSG_DATA(c), n * sizeof(int));
}

/* False at the end: nobody can send any more. */
static bool receive(int socket, struct request *ret)
{
	union {
		char bytes[CMSG_SPACE(AGENT_REQUEST_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&ret->index, sizeof(ret->index)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	take_fds(&msg, ret);
	if (n != (ssize_t)sizeof(ret->index))
		ret->index = UINT32_MAX;
	return true;
}

void agents_serve(int socket, const struct build_agent *agents, size_t count)
{
	struct request request;
	size_t running = 0;

	while (receive(socket, &request)) {
		const int *fds = request.fds;
		bool is_whole = request.index < count && fds[0] >= 0 && fds[1] >= 0;
		reap(&running);
		pid_t pid = is_whole && running < MAX_LISTENERS ? fork_bound() : -1;
		if (pid == 0) {
			close(socket);
			listen_on(fds[0], fds[1], agents[request.index].socket);
			_exit(0);
		}
		running += pid > 0;
		for (size_t i = 0; i < AGENT_REQUEST_FDS; i++)
			if (fds[i] >= 0)
				close(fds[i]);
	}
	_exit(0);
}
