/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "tree/internal.h"

/*
 * Files through a socket. The reader asks, the server answers each request with one message:
 *
 *	request	 u32 op (OPEN a selection from its start, or NEXT of the open one), u32 index
 *	answer	 u32 kind
 *		 FILES: u32 records, u32 descriptors; the records; the descriptors (SCM_RIGHTS)
 *			in the order of the records that have one
 *		 END:	nothing more
 *		 ERROR: i32 kind of error; text and hint, each terminated
 *
 * The reader asks for the next message before it reads the one it has, so that both sides
 * work at the same time. Never more descriptors are on their way than one message holds (the
 * kernel counts them against the user's limit).
 */
enum op { OP_OPEN = 1, OP_NEXT };
enum answer { ANSWER_FILES = 1, ANSWER_END, ANSWER_ERROR };

enum {
	REQUEST_SIZE = 8,
	FILES_HEADER = 12,
	MAX_FDS = 64,
	FULL_SIZE = 24 * 1024, /* a message that has this much is sent */
	MESSAGE_SIZE = FULL_SIZE + RECORD_MAX_SIZE,
};

int tree_socket_pair(int ret[2], struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket pair");
	ret[0] = pair[0];
	ret[1] = pair[1];
	return 0;
}

/* ---- One message ---- */

struct message {
	char *bytes; /* MESSAGE_SIZE */
	size_t len;
	int fds[MAX_FDS];
	size_t fd_count;
};

static void close_fds(struct message *m)
{
	for (size_t i = 0; i < m->fd_count; i++) {
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	}
	m->fd_count = 0;
}

union control {
	char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	struct cmsghdr align;
};

/* Returns 1 when the other end is gone. */
static int send_message(int socket, const struct message *m, struct err *err)
{
	union control control = {0};
	struct iovec iov = {m->bytes, m->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (m->fd_count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(m->fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), m->fds, m->fd_count * sizeof(int));
	}
	do
		n = sendmsg(socket, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? 1 : err_sys(err, "send files");
	return 0;
}

static void take_fds(struct msghdr *msg, struct message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count && m->fd_count < MAX_FDS; i++)
			memcpy(&m->fds[m->fd_count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

/* Returns 1 when the other end is gone. The descriptors are the caller's in any case. */
static int receive_message(int socket, struct message *m, struct err *err)
{
	union control control;
	struct iovec iov = {m->bytes, MESSAGE_SIZE};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	m->fd_count = 0;
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 1 : err_sys(err, "receive files");
	take_fds(&msg, m);
	m->len = (size_t)n;
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return err_set(err, ERR_BUG, "message of a file server is too long");
	return n == 0 ? 1 : 0;
}

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* ---- The server ---- */

struct server {
	int socket;
	const struct tree_selection *const *selections;
	size_t count;
	struct tree_feed *feed; /* of the selection that was opened last */
	struct buf pending;	/* a record that did not fit into the last message */
	int pending_fd;
	struct buf text;
};

static void server_close(struct server *s)
{
	if (s->pending_fd >= 0)
		close(take_fd(&s->pending_fd));
	buf_clear(&s->pending);
	tree_feed_free(s->feed);
	s->feed = NULL;
}

static void server_done(struct server *s)
{
	server_close(s);
	buf_done(&s->pending);
	buf_done(&s->text);
}

DEFINE_CLEANUP_VALUE(struct server, server_done);

static int open_selection(struct server *s, uint32_t index, struct err *err)
{
	server_close(s);
	if (index >= s->count)
		return err_set(err, ERR_BUG, "there is no selection %u", index);
	s->feed = tree_feed_local(s->selections[index]);
	return 0;
}

/* Makes the next record pending, unless one is. TREE_FEED_END after the last. */
static int fetch(struct server *s, struct err *err)
{
	const struct tree_entry *entry;
	int fd;

	if (s->pending.len)
		return 0;
	int r = tree_feed_next(s->feed, &entry, &fd, err);
	if (r)
		return r;
	tree_record_print(entry, fd >= 0, &s->pending);
	s->pending_fd = take_fd(&s->feed->fd);
	return 0;
}

/* Fills m->fds and s->text with records until one of them is full. */
static int gather(struct server *s, struct message *m, struct err *err)
{
	uint32_t records = 0;
	int r = 0;

	buf_clear(&s->text);
	buf_add(&s->text, "\0\0\0\0\0\0\0\0\0\0\0", FILES_HEADER);
	while (s->text.len < FULL_SIZE && m->fd_count < MAX_FDS && (r = fetch(s, err)) == 0) {
		buf_add_str(&s->text, buf_str(&s->pending));
		buf_clear(&s->pending);
		if (s->pending_fd >= 0)
			m->fds[m->fd_count++] = take_fd(&s->pending_fd);
		records++;
	}
	if (r < 0)
		return r;
	cleanup(buf_done) struct buf header = {0};
	buf_add_u32(&header, records ? ANSWER_FILES : ANSWER_END);
	buf_add_u32(&header, records);
	buf_add_u32(&header, (uint32_t)m->fd_count);
	memcpy(s->text.data, header.data, FILES_HEADER);
	return 0;
}

static void print_error(struct server *s, const struct err *err)
{
	buf_clear(&s->text);
	buf_add_u32(&s->text, ANSWER_ERROR);
	buf_add_u32(&s->text, (uint32_t)err->kind);
	buf_add(&s->text, err->text, strlen(err->text) + 1);
	buf_add(&s->text, err->hint, strlen(err->hint) + 1);
}

/* Returns 1 when the other end is gone. */
static int answer(struct server *s, const char request[static REQUEST_SIZE], struct err *err)
{
	struct message m = {0};
	struct err why = {0};
	int r = 0;

	if (get_u32(request) == OP_OPEN)
		r = open_selection(s, get_u32(request + 4), &why);
	else if (get_u32(request) != OP_NEXT || !s->feed)
		r = err_set(&why, ERR_BUG, "malformed request for files");
	if (r == 0)
		r = gather(s, &m, &why);
	if (r < 0) {
		close_fds(&m);
		print_error(s, &why);
	}
	m.bytes = s->text.data;
	m.len = s->text.len;
	r = send_message(s->socket, &m, err);
	close_fds(&m);
	return r;
}

int tree_serve(
	int socket, const struct tree_selection *const *selections, size_t count, struct err *err)
{
	cleanup(server_done) struct server s = {
		.socket = socket, .selections = selections, .count = count, .pending_fd = -1};
	cleanup_free char *bytes = xmalloc(MESSAGE_SIZE);
	struct message request = {.bytes = bytes};
	int r = 0;

	while (r == 0 && (r = receive_message(socket, &request, err)) == 0) {
		close_fds(&request);
		if (request.len != REQUEST_SIZE)
			return err_set(err, ERR_BUG, "malformed request for files");
		r = answer(&s, bytes, err);
	}
	close_fds(&request);
	return r < 0 ? r : 0;
}

/* ---- The reader ---- */

struct socket_feed {
	struct tree_feed feed;
	int socket;
	uint32_t index;
	bool opened;
	bool is_asked; /* an answer is on its way */
	struct message message;
	struct str records; /* of the message, still to be read */
	uint32_t records_left;
	size_t next_fd;
	struct arena arena; /* of the message's entries */
};

static void socket_free(struct tree_feed *feed)
{
	struct socket_feed *f = (struct socket_feed *)feed;

	close_fds(&f->message);
	/* The answer that nobody waits for any more is not the next feed's. */
	if (f->is_asked)
		ignored(receive_message(f->socket, &f->message, NULL));
	close_fds(&f->message);
	free(f->message.bytes);
	arena_done(&f->arena);
}

static int malformed(struct err *err)
{
	return err_set(err, ERR_BUG, "malformed answer of a file server");
}

static int told_error(const struct message *m, struct err *err)
{
	struct str rest = str_from_index(str_from(m->bytes, m->len), 8);
	struct str text = str_cut(&rest, '\0');
	struct str hint = rest.p ? str_cut(&rest, '\0') : (struct str){0};
	uint32_t kind = m->len >= 8 ? get_u32(m->bytes + 4) : 0;

	if (kind == ERR_NONE || kind > ERR_BUG || !rest.p)
		return malformed(err);
	(void)err_set(err, (enum err_kind)kind, "%.*s", STR_ARG(text));
	return hint.n ? err_hint(err, "%.*s", STR_ARG(hint)) : -(int)kind;
}

/* The descriptors of a server are opened files and nothing that could block or act. */
static int check_fds(const struct message *m, struct err *err)
{
	struct stat st;

	for (size_t i = 0; i < m->fd_count; i++) {
		if (fstat(m->fds[i], &st) < 0 || !S_ISREG(st.st_mode))
			return malformed(err);
	}
	return 0;
}

/* Returns 1 when the other end is gone. */
static int ask(struct socket_feed *f, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct message request = {0};

	buf_add_u32(&text, f->opened ? OP_NEXT : OP_OPEN);
	buf_add_u32(&text, f->index);
	request.bytes = text.data;
	request.len = text.len;
	int r = send_message(f->socket, &request, err);
	f->opened = f->is_asked = r == 0;
	return r;
}

static int receive(struct socket_feed *f, struct err *err)
{
	int r = f->is_asked ? 0 : ask(f, err);

	if (r == 0)
		r = receive_message(f->socket, &f->message, err);
	f->is_asked = false;
	return r > 0 ? err_set(err, ERR_FAILED, "the process that reads the files has ended") : r;
}

/* Ask for the next message and take it apart. */
static int fill(struct socket_feed *f, struct err *err)
{
	struct message *m = &f->message;

	close_fds(m);
	arena_done(&f->arena);
	f->next_fd = 0;
	if (receive(f, err) < 0)
		return -(int)err->kind;
	uint32_t kind = m->len >= 4 ? get_u32(m->bytes) : 0;
	if (kind == ANSWER_ERROR)
		return told_error(m, err);
	if (kind == ANSWER_END)
		return TREE_FEED_END;
	if (kind != ANSWER_FILES || m->len < FILES_HEADER || get_u32(m->bytes + 4) == 0 ||
		get_u32(m->bytes + 8) != m->fd_count)
		return malformed(err);
	f->records_left = get_u32(m->bytes + 4);
	f->records = str_from_index(str_from(m->bytes, m->len), FILES_HEADER);
	int r = check_fds(m, err);
	/* That the server is gone is told when what it sent is used up. */
	return r < 0 ? r : ask(f, err) < 0 ? -(int)err->kind : 0;
}

static int socket_next(struct tree_feed *feed, struct err *err)
{
	struct socket_feed *f = (struct socket_feed *)feed;
	bool has_fd;
	int r = f->records_left ? 0 : fill(f, err);

	if (r)
		return r;
	if (tree_record_parse(&f->arena, &f->records, &feed->entry, &has_fd, err) < 0)
		return -(int)err->kind;
	f->records_left--;
	if ((f->records_left == 0 && f->records.n) || feed->entry.link > feed->number + 1 ||
		feed->number >= TREE_MAX_ENTRIES)
		return malformed(err);
	if (!has_fd)
		return 0;
	if (f->next_fd >= f->message.fd_count)
		return malformed(err);
	feed->fd = take_fd(&f->message.fds[f->next_fd++]);
	return 0;
}

struct tree_feed *tree_feed_receive(int socket, uint32_t index)
{
	struct socket_feed *f = xcalloc(1, sizeof(*f));

	f->feed = (struct tree_feed){.next = socket_next, .free = socket_free, .fd = -1};
	f->socket = socket;
	f->index = index;
	f->message.bytes = xmalloc(MESSAGE_SIZE);
	return &f->feed;
}
