/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server that fits on a page: one process, one poll(), no library but libc.
 * It answers GET / on port 7860 and ends when it is told to with SIGTERM or SIGINT.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PORT = 7860,
	VISITOR_MAX = 60,
	HEAD_MAX = 4096,
	SIGNALS = 0, /* places in the poll set: signals, the door, then one a visitor */
	DOOR = 1,
	VISITORS = 2,
};

struct visitor {
	char head[HEAD_MAX + 1]; /* the request as far as it has come, a string */
	size_t length;
};

static struct pollfd polled[VISITORS + VISITOR_MAX];
static struct visitor visitors[VISITOR_MAX];
static unsigned long pages;

static int open_door(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
		bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 64) < 0) {
		perror("hello: port 7860");
		exit(1);
	}
	return fd;
}

/* The signals that end the program, as a file that poll() can watch. */
static int open_signals(void)
{
	sigset_t ending;
	int fd = -1;

	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ending, NULL) == 0)
		fd = signalfd(-1, &ending, SFD_CLOEXEC);
	if (fd < 0) {
		perror("hello: signals");
		exit(1);
	}
	return fd;
}

static void answer(int fd, const char *head)
{
	const char *title = getenv("SPACE_TITLE");
	char body[1024];
	char reply[1536];
	const char *status = "200 OK";
	int length;

	snprintf(body, sizeof(body),
		"<!doctype html><meta charset=\"utf-8\"><title>Hello from C</title>\n"
		"<h1>Hello from C</h1>\n"
		"<p>This is %.200s. It runs as user %u, and this is page %lu since it started.</p>\n",
		title ? title : "a small program", (unsigned)getuid(), ++pages);
	if (strncmp(head, "GET / ", 6) != 0 && strncmp(head, "HEAD / ", 7) != 0) {
		status = "404 Not Found";
		snprintf(body, sizeof(body), "There is only one page here, and it is /\n");
	}
	length = snprintf(reply, sizeof(reply),
		"HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\n"
		"Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		status, strlen(body), strncmp(head, "HEAD ", 5) == 0 ? "" : body);
	if (send(fd, reply, (size_t)length, MSG_NOSIGNAL) != length)
		perror("hello: send");
}

static void welcome(void)
{
	int fd = accept4(polled[DOOR].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (size_t i = 0; fd >= 0 && i < VISITOR_MAX; i++) {
		if (polled[VISITORS + i].fd >= 0)
			continue;
		polled[VISITORS + i] = (struct pollfd){.fd = fd, .events = POLLIN};
		visitors[i].length = 0;
		return;
	}
	if (fd >= 0)
		close(fd); /* every place is taken */
}

/* Reads what has come from visitor i; answers and lets go once the head is whole. */
static void serve(size_t i)
{
	struct visitor *visitor = &visitors[i];
	struct pollfd *place = &polled[VISITORS + i];
	ssize_t got =
		recv(place->fd, visitor->head + visitor->length, HEAD_MAX - visitor->length, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		visitor->length += (size_t)got;
		visitor->head[visitor->length] = '\0';
		if (!strstr(visitor->head, "\r\n\r\n") && visitor->length < HEAD_MAX)
			return;
		answer(place->fd, visitor->head);
	}
	close(place->fd);
	place->fd = -1;
}

int main(void)
{
	polled[SIGNALS] = (struct pollfd){.fd = open_signals(), .events = POLLIN};
	polled[DOOR] = (struct pollfd){.fd = open_door(), .events = POLLIN};
	for (size_t i = 0; i < VISITOR_MAX; i++)
		polled[VISITORS + i].fd = -1;
	printf("hello: listening on port %d\n", PORT);
	fflush(stdout);
	while (poll(polled, VISITORS + VISITOR_MAX, -1) >= 0 || errno == EINTR) {
		if (polled[SIGNALS].revents)
			break;
		for (size_t i = 0; i < VISITOR_MAX; i++) {
			if (polled[VISITORS + i].fd >= 0 && polled[VISITORS + i].revents)
				serve(i);
		}
		if (polled[DOOR].revents)
			welcome();
	}
	printf("hello: good-bye after %lu pages\n", pages);
	return 0;
}
