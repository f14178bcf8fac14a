/* SPDX-License-Identifier: Apache-2.0 */
#include "run/forward.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"

/*
 * A link is two sides, each a TCP connection: the client's and the app's. What is read from
 * a side is written to the other one at once; what the kernel does not take becomes the
 * other side's `rest`, and reading goes on when that is written. End of file on a side
 * becomes a shutdown of the other side, and after the second one the link is closed. Any error
 * cuts both sides with a reset, so that nobody takes a broken answer for a complete one.
 */

enum {
	PIECE = 64 * 1024,
	RETRY_MS = 20, /* between attempts to connect to the app */
	KEEPALIVE_SECONDS = 60,
	ACCEPTS_AT_ONCE = 32, /* of one listener, before others have their turn */
};

struct link;

struct side {
	struct link *link;
	struct side *other;
	uv_tcp_t tcp;
	uv_write_t write;
	uv_shutdown_t shutdown;
	char *rest;   /* being written to this side */
	bool is_open; /* the handle exists and is not being closed */
	bool eof;     /* this side sends no more, and the other one has been told */
};

struct link {
	struct forward *forward;
	struct link *prev, *next;
	struct side client, app;
	uv_connect_t connect;
	uv_timer_t retry;
	uint64_t give_up; /* loop time, ms */
	unsigned handles; /* of client, app and retry that libuv still knows */
	bool is_ending;
};

struct listening {
	struct forward *forward;
	uv_poll_t poll;
	int fd;
};

struct forward {
	struct forward_options options;
	struct listening *listening;
	struct link *links;
	unsigned link_count, listening_count; /* of listening: handles that libuv still knows */
	bool is_open, is_closing;
	char piece[PIECE]; /* what was read last; nobody keeps it */
};

/* ---- Ends ---- */

static void start_accepting(struct forward *f);

static void free_when_done(struct forward *f)
{
	if (!f->is_closing || f->link_count || f->listening_count)
		return;
	free(f->listening);
	free(f);
}

static void link_free(struct link *link)
{
	struct forward *f = link->forward;

	if (link->next)
		link->next->prev = link->prev;
	if (link->prev)
		link->prev->next = link->next;
	else
		f->links = link->next;
	free(link->client.rest);
	free(link->app.rest);
	free(link);
	f->link_count--;
	start_accepting(f);
	free_when_done(f);
}

static void release_handle(struct link *link)
{
	if (--link->handles == 0 && link->is_ending)
		link_free(link);
}

static void on_side_closed(uv_handle_t *handle)
{
	struct side *side = handle->data;

	release_handle(side->link);
}

static void on_retry_closed(uv_handle_t *handle)
{
	release_handle(handle->data);
}

static void close_side(struct side *side, bool reset)
{
	if (!side->is_open)
		return;
	side->is_open = false;
	if (!reset || uv_tcp_close_reset(&side->tcp, on_side_closed) < 0)
		uv_close((uv_handle_t *)&side->tcp, on_side_closed);
}

/* No more callbacks of the link but those that say it is closed. */
static void end_link(struct link *link, bool reset)
{
	if (link->is_ending)
		return;
	link->is_ending = true;
	close_side(&link->client, reset);
	close_side(&link->app, reset);
	uv_close((uv_handle_t *)&link->retry, on_retry_closed);
}

/* ---- Carrying ---- */

static void start_reading(struct side *side);

static void on_written(uv_write_t *request, int status)
{
	struct side *side = request->data;

	free(side->rest);
	side->rest = NULL;
	if (side->link->is_ending)
		return;
	if (status < 0)
		end_link(side->link, true);
	else
		start_reading(side->other);
}

/* Later, what the kernel does not take now. Until then nothing is read for this side. */
static void write_rest(struct side *side, const char *data, size_t size)
{
	uv_buf_t buf;

	uv_read_stop((uv_stream_t *)&side->other->tcp);
	side->rest = xmalloc(size);
	memcpy(side->rest, data, size);
	buf = uv_buf_init(side->rest, (unsigned)size);
	side->write.data = side;
	if (uv_write(&side->write, (uv_stream_t *)&side->tcp, &buf, 1, on_written) == 0)
		return;
	free(side->rest);
	side->rest = NULL;
	end_link(side->link, true);
}

static void write_now(struct side *side, char *data, size_t size)
{
	uv_buf_t buf = uv_buf_init(data, (unsigned)size);
	int n = uv_try_write((uv_stream_t *)&side->tcp, &buf, 1);

	if (n == UV_EAGAIN)
		n = 0;
	if (n < 0)
		end_link(side->link, true);
	else if ((size_t)n < size)
		write_rest(side, data + n, size - (size_t)n);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
	struct side *side = request->data;
	struct link *link = side->link;

	if (link->is_ending)
		return;
	if (status < 0 && status != UV_ENOTCONN) {
		end_link(link, true);
		return;
	}
	side->other->eof = true;
	if (link->client.eof && link->app.eof)
		end_link(link, false);
}

static void pass_eof(struct side *from)
{
	struct side *to = from->other;

	uv_read_stop((uv_stream_t *)&from->tcp);
	to->shutdown.data = to;
	if (uv_shutdown(&to->shutdown, (uv_stream_t *)&to->tcp, on_shutdown) < 0)
		end_link(from->link, true);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct side *side = handle->data;

	(void)suggested;
	*ret = uv_buf_init(side->link->forward->piece, PIECE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct side *side = stream->data;

	if (n > 0)
		write_now(side->other, buf->base, (size_t)n);
	else if (n == UV_EOF)
		pass_eof(side);
	else if (n < 0)
		end_link(side->link, true);
}

static void start_reading(struct side *side)
{
	if (uv_read_start((uv_stream_t *)&side->tcp, on_alloc, on_read) < 0)
		end_link(side->link, true);
}

/* ---- Connecting ---- */

static void connect_app(struct link *link);

static void on_retry(uv_timer_t *timer)
{
	connect_app(timer->data);
}

/* A socket that was refused once is of no use: another one takes its place. */
static void on_refused_closed(uv_handle_t *handle)
{
	struct side *side = handle->data;
	struct link *link = side->link;

	if (!link->is_ending)
		uv_timer_start(&link->retry, on_retry, RETRY_MS, 0);
	release_handle(link);
}

static void set_options(uv_tcp_t *tcp)
{
	/* Their failure costs latency, not correctness. */
	(void)uv_tcp_nodelay(tcp, 1);
	(void)uv_tcp_keepalive(tcp, 1, KEEPALIVE_SECONDS);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct link *link = request->data;

	if (link->is_ending)
		return;
	if (status == UV_ECONNREFUSED && uv_now(link->forward->options.loop) < link->give_up) {
		link->app.is_open = false;
		uv_close((uv_handle_t *)&link->app.tcp, on_refused_closed);
		return;
	}
	if (status < 0) {
		end_link(link, true);
		return;
	}
	set_options(&link->app.tcp);
	start_reading(&link->client);
	if (!link->is_ending)
		start_reading(&link->app);
}

static void open_side(struct side *side)
{
	(void)uv_tcp_init(side->link->forward->options.loop, &side->tcp); /* makes no socket */
	side->tcp.data = side;
	side->is_open = true;
	side->link->handles++;
}

static void connect_app(struct link *link)
{
	const struct sockaddr *to = (const struct sockaddr *)&link->forward->options.to;

	open_side(&link->app);
	link->connect.data = link;
	if (uv_tcp_connect(&link->connect, &link->app.tcp, to, on_connect) < 0)
		end_link(link, true);
}

/* ---- Accepting ---- */

static void add_link(struct forward *f, int fd)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->forward = f;
	link->client = (struct side){.link = link, .other = &link->app};
	link->app = (struct side){.link = link, .other = &link->client};
	link->give_up = uv_now(f->options.loop) + f->options.patience;
	link->next = f->links;
	if (f->links)
		f->links->prev = link;
	f->links = link;
	f->link_count++;
	(void)uv_timer_init(f->options.loop, &link->retry); /* cannot fail */
	link->retry.data = link;
	link->handles = 1;
	open_side(&link->client);
	if (uv_tcp_open(&link->client.tcp, fd) < 0) {
		close(fd);
		end_link(link, true);
		return;
	}
	set_options(&link->client.tcp);
	connect_app(link);
}

static void stop_accepting(struct forward *f)
{
	for (size_t i = 0; i < f->options.listener_count; i++)
		uv_poll_stop(&f->listening[i].poll);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct listening *listening = poll->data;
	struct forward *f = listening->forward;

	(void)status;
	(void)events;
	for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
		if (f->link_count >= f->options.max_links) {
			stop_accepting(f);
			return;
		}
		int fd = accept4(listening->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			add_link(f, fd);
			continue;
		}
		/* Out of descriptors: one is free again when a link ends, and then we go on. */
		if ((errno == EMFILE || errno == ENFILE) && f->link_count)
			stop_accepting(f);
		return;
	}
}

static void start_accepting(struct forward *f)
{
	if (!f->is_open || f->is_closing || f->link_count >= f->options.max_links)
		return;
	for (size_t i = 0; i < f->options.listener_count; i++)
		uv_poll_start(&f->listening[i].poll, UV_READABLE, on_connection);
}

/* ---- The whole ---- */

static void on_listening_closed(uv_handle_t *handle)
{
	struct listening *listening = handle->data;
	struct forward *f = listening->forward;

	f->listening_count--;
	free_when_done(f);
}

int forward_new(const struct forward_options *options, struct forward **ret, struct err *err)
{
	struct forward *f = xcalloc(1, sizeof(*f));

	f->options = *options;
	f->listening = xcalloc(options->listener_count, sizeof(*f->listening));
	for (size_t i = 0; i < options->listener_count; i++) {
		struct listening *l = &f->listening[i];
		l->forward = f;
		l->fd = options->listeners[i];
		int r = uv_poll_init(options->loop, &l->poll, l->fd);
		if (r < 0) {
			f->options.listener_count = i;
			forward_close(f);
			return err_set(err, ERR_SYSTEM, "watch the port: %s", uv_strerror(r));
		}
		l->poll.data = l;
		f->listening_count++;
	}
	*ret = f;
	return 0;
}

int forward_open(struct forward *forward, struct err *err)
{
	forward->is_open = true;
	for (size_t i = 0; i < forward->options.listener_count; i++) {
		int r = uv_poll_start(&forward->listening[i].poll, UV_READABLE, on_connection);
		if (r < 0)
			return err_set(err, ERR_SYSTEM, "watch the port: %s", uv_strerror(r));
	}
	return 0;
}

void forward_close(struct forward *forward)
{
	if (!forward || forward->is_closing)
		return;
	forward->is_closing = true;
	for (struct link *link = forward->links, *next; link; link = next) {
		next = link->next;
		end_link(link, true);
	}
	for (size_t i = 0; i < forward->options.listener_count; i++)
		uv_close((uv_handle_t *)&forward->listening[i].poll, on_listening_closed);
	free_when_done(forward);
}

unsigned forward_links(const struct forward *forward)
{
	return forward->link_count;
}
