/* SPDX-License-Identifier: Apache-2.0 */
#include "run/probe.h"

#include "base/alloc.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"

/* ---- the answer ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9112 section 4: HTTP-version SP 3DIGIT SP … */
int probe_parse_status(struct str bytes, int *ret_status)
{
	static const char form[] = "HTTP/1.d ddd";
	int status = 0;

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (i == bytes.n)
			return PROBE_E_SHORT;
		char c = bytes.p[i];
		if (form[i] == 'd' ? !is_digit(c) : c != form[i])
			return PROBE_E_BAD;
		if (i > 8)
			status = status * 10 + (c - '0');
	}
	if (bytes.n == sizeof(form) - 1)
		return PROBE_E_SHORT;
	/* Some servers leave the reason out, with its blank. */
	char end = bytes.p[sizeof(form) - 1];
	if ((end != ' ' && end != '\r' && end != '\n') || status < 100)
		return PROBE_E_BAD;
	*ret_status = status;
	return 0;
}

/* A TLS alert or handshake record, RFC 8446 section 5.1. */
static bool looks_like_tls(struct str bytes)
{
	return bytes.n >= 2 && (bytes.p[0] == 0x15 || bytes.p[0] == 0x16) && bytes.p[1] == 3;
}

/* ---- asking ---- */

enum {
	PAUSE_MIN_MS = 5,
	PAUSE_MAX_MS = 250,
	/* Apps that compute their first page may need long; each new question costs them. */
	ANSWER_MS = 30 * 1000,
	/* After the answer: the rest of the page is read, so that the app sees no broken pipe. */
	REST_MS = 2000,
	REST_BYTES = 4 << 20,
};

struct probe {
	struct probe_options options;
	uint64_t started; /* loop time, ms */
	uv_timer_t timer; /* the next attempt, or the end of this one */
	uv_tcp_t tcp;	  /* of this attempt */
	uv_connect_t connect;
	uv_write_t write;
	struct buf request;
	char head[64]; /* the answer's first bytes */
	size_t head_size, rest;
	enum probe_seen seen;
	bool tcp_open, is_closing;
	unsigned handles; /* of timer and tcp that libuv still knows */
	char piece[4096];
};

static void attempt(uv_timer_t *timer);

static void pause_attempts(struct probe *p)
{
	uint64_t pause = (uv_now(p->options.loop) - p->started) / 100;

	if (pause < PAUSE_MIN_MS)
		pause = PAUSE_MIN_MS;
	if (pause > PAUSE_MAX_MS)
		pause = PAUSE_MAX_MS;
	uv_timer_start(&p->timer, attempt, pause, 0);
}

static void on_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	p->handles--;
	if (!p->is_closing && p->seen != PROBE_ANSWERED)
		pause_attempts(p);
	if (!p->is_closing || p->handles)
		return;
	buf_done(&p->request);
	free(p);
}

static void end_attempt(struct probe *p)
{
	if (!p->tcp_open)
		return;
	p->tcp_open = false;
	uv_timer_stop(&p->timer);
	uv_close((uv_handle_t *)&p->tcp, on_closed);
}

static void on_late(uv_timer_t *timer)
{
	struct probe *p = timer->data;

	if (p->seen != PROBE_ANSWERED)
		p->seen = PROBE_SILENT;
	end_attempt(p);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct probe *p = handle->data;

	(void)suggested;
	*ret = uv_buf_init(p->piece, sizeof(p->piece));
}

static void answered(struct probe *p, int status)
{
	p->seen = PROBE_ANSWERED;
	uv_timer_start(&p->timer, on_late, REST_MS, 0);
	p->options.on_answer(p->options.arg, status);
}

static void take_head(struct probe *p, struct str bytes)
{
	size_t room = sizeof(p->head) - p->head_size;
	struct str part = str_slice(bytes, 0, room);
	int status = 0;

	memcpy(p->head + p->head_size, part.p, part.n);
	p->head_size += part.n;
	struct str head = str_from(p->head, p->head_size);
	switch (probe_parse_status(head, &status)) {
	case 0:
		answered(p, status);
		return;
	case PROBE_E_SHORT:
		return;
	default:
		p->seen = looks_like_tls(head) ? PROBE_TLS : PROBE_NOT_HTTP;
		end_attempt(p);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct probe *p = stream->data;

	if (n == 0)
		return;
	if (n < 0) {
		if (p->seen != PROBE_ANSWERED)
			p->seen = p->head_size ? PROBE_NOT_HTTP : PROBE_CLOSED;
		end_attempt(p);
		return;
	}
	if (p->seen != PROBE_ANSWERED) {
		take_head(p, str_from(buf->base, (size_t)n));
		return;
	}
	p->rest += (size_t)n;
	if (p->rest > REST_BYTES)
		end_attempt(p);
}

static void on_written(uv_write_t *request, int status)
{
	struct probe *p = request->data;

	if (status < 0 && status != UV_ECANCELED && p->seen != PROBE_ANSWERED)
		end_attempt(p);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct probe *p = request->data;
	uv_stream_t *stream = (uv_stream_t *)&p->tcp;
	uv_buf_t buf = uv_buf_init(p->request.data, (unsigned)p->request.len);

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		p->seen = PROBE_REFUSED;
		end_attempt(p);
		return;
	}
	/* An attempt that has not ended says nothing against how the last one did. */
	if (p->seen == PROBE_NOTHING || p->seen == PROBE_REFUSED)
		p->seen = PROBE_SILENT;
	p->write.data = p;
	if (uv_write(&p->write, stream, &buf, 1, on_written) < 0 ||
		uv_read_start(stream, on_alloc, on_read) < 0)
		end_attempt(p);
}

static void attempt(uv_timer_t *timer)
{
	struct probe *p = timer->data;
	const struct sockaddr *to = (const struct sockaddr *)&p->options.to;

	(void)uv_tcp_init(p->options.loop, &p->tcp); /* makes no socket yet */
	p->tcp.data = p;
	p->tcp_open = true;
	p->handles++;
	p->head_size = 0;
	p->connect.data = p;
	uv_timer_start(&p->timer, on_late, ANSWER_MS, 0);
	if (uv_tcp_connect(&p->connect, &p->tcp, to, on_connect) < 0)
		end_attempt(p);
}

struct probe *probe_start(const struct probe_options *options)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->options = *options;
	buf_printf(&p->request,
		"GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: spaceport\r\nAccept: */*\r\n"
		"Connection: close\r\n\r\n",
		options->host);
	p->started = uv_now(options->loop);
	(void)uv_timer_init(options->loop, &p->timer); /* cannot fail */
	p->timer.data = p;
	p->handles = 1;
	attempt(&p->timer);
	return p;
}

enum probe_seen probe_seen(const struct probe *probe)
{
	return probe->seen;
}

void probe_close(struct probe *probe)
{
	if (!probe || probe->is_closing)
		return;
	probe->is_closing = true;
	end_attempt(probe);
	uv_close((uv_handle_t *)&probe->timer, on_closed);
}
