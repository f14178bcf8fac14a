/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "tree/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A record that was taken says the same when it is printed and read again. */
static void check_records(struct str rest)
{
	cleanup(arena_done) struct arena a = {0};
	struct tree_entry e;
	bool has_fd;

	while (rest.n && tree_record_parse(&a, &rest, &e, &has_fd, NULL) == 0) {
		cleanup(buf_done) struct buf text = {0}, again = {0};
		if (e.path[0] && !tree_path_is_clean(str_of(e.path)))
			abort();
		tree_record_print(&e, has_fd, &text);
		if (text.len > RECORD_MAX_SIZE)
			abort();
		struct str printed = buf_str(&text);
		if (tree_record_parse(&a, &printed, &e, &has_fd, NULL) < 0 || printed.n)
			abort();
		tree_record_print(&e, has_fd, &again);
		if (!str_eq(buf_str(&text), buf_str(&again)))
			abort();
	}
}

static void send_one(int socket, struct str message, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)message.p, message.n};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	(void)sendmsg(socket, &msg, MSG_NOSIGNAL);
}

/* A whole answer, as a server sends it, with one descriptor. */
static void check_answer(struct str message)
{
	const struct tree_entry *e;
	int pair[2], fd;

	if (message.n == 0 || message.n > 32768 || tree_socket_pair(pair, NULL) < 0)
		return;
	int file = memfd_create("fuzz", MFD_CLOEXEC);
	send_one(pair[1], message, file);
	(void)shutdown(pair[1], SHUT_WR);
	struct tree_feed *feed = tree_feed_receive(pair[0], 0);
	while (tree_feed_next(feed, &e, &fd, NULL) == 0)
		;
	tree_feed_free(feed);
	close(file);
	close(pair[0]);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = str_from((const char *)data, size);

	check_records(bytes);
	check_answer(bytes);
	return 0;
}
