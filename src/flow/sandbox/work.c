/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/command.h"
#include "sandbox/sandbox.h"

/*
 * One packet a message: a byte that says what it is, then the message. The last one is the
 * result, a struct err; a box that ends without it was killed.
 */
enum { MESSAGE = 'm', RESULT = 'r' };

struct sandbox_channel {
	int fd;
};

struct job {
	const struct sandbox_work *work;
	struct sandbox_channel channel;
	int outside; /* the parent's end, to be closed in the box */
};

static void send_packet(int fd, char kind, const void *p, size_t n)
{
	struct iovec parts[] = {{&kind, 1}, {NULL, n}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};

	memcpy(&parts[1].iov_base, &p, sizeof(p));
	while (sendmsg(fd, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

void sandbox_tell(struct sandbox_channel *channel, struct str message)
{
	if (message.n < SANDBOX_MESSAGE_MAX)
		send_packet(channel->fd, MESSAGE, message.p, message.n);
}

static int work_in_box(void *arg)
{
	struct job *job = arg;
	struct err err = {0};

	close(job->outside);
	int r = job->work->work(job->work->arg, &job->channel, &err);
	if (r == 0)
		err_clear(&err);
	send_packet(job->channel.fd, RESULT, &err, sizeof(err));
	return r < 0;
}

enum next { GO_ON, ENDED, HAS_RESULT };

static enum next take_packet(const struct job *job, char *packet, struct err *result)
{
	ssize_t n = recv(job->outside, packet, SANDBOX_MESSAGE_MAX, 0);

	if (n < 0)
		return errno == EINTR ? GO_ON : ENDED;
	if (n == 0)
		return ENDED;
	if (packet[0] == MESSAGE && job->work->on_message)
		job->work->on_message(job->work->arg, str_from(packet + 1, (size_t)n - 1));
	if (packet[0] != RESULT || n != 1 + (ssize_t)sizeof(*result))
		return GO_ON;
	memcpy(result, packet + 1, sizeof(*result));
	/* Foreign bytes: text that ends, and a kind that exists. */
	result->text[sizeof(result->text) - 1] = result->hint[sizeof(result->hint) - 1] = '\0';
	if (result->kind > ERR_BUG)
		result->kind = ERR_BUG;
	return HAS_RESULT;
}

static int wait_ms(const struct sandbox_work *work)
{
	enum { TICK_MS = 100 };
	int64_t left = (work->deadline - clock_now()) / 1000000;
	int longest = work->on_tick ? TICK_MS : 1000000;

	if (!work->deadline)
		return work->on_tick ? TICK_MS : -1;
	return left < 0 ? 0 : left > longest ? longest : (int)left;
}

/* Until the box has given its result or is gone. Returns < 0 when it has to be killed. */
static int relay(const struct job *job, struct err *result, bool *ret_has_result, struct err *err)
{
	cleanup_free char *packet = xmalloc(SANDBOX_MESSAGE_MAX);

	for (;;) {
		struct pollfd p[] = {{.fd = job->outside, .events = POLLIN},
			{.fd = job->work->cancel_fd, .events = POLLIN}};
		int n = poll(p, 2, wait_ms(job->work));
		if (n < 0 && errno != EINTR)
			return err_sys(err, "poll");
		if (n == 0 && job->work->deadline && clock_now() >= job->work->deadline)
			return err_set(err, ERR_LIMIT, "took longer than its time limit");
		if (n == 0 && job->work->on_tick)
			job->work->on_tick(job->work->arg);
		if (n <= 0)
			continue;
		if (p[1].revents)
			return err_set(err, ERR_CANCELLED, "cancelled");
		enum next next = take_packet(job, packet, result);
		if (next == GO_ON)
			continue;
		*ret_has_result = next == HAS_RESULT;
		return 0;
	}
}

static int explain_end(int status, struct err *err)
{
	char text[64];

	(void)err_set(err, ERR_SYSTEM, "the process that did the work %s",
		command_status_text(text, status));
	return err_hint(err, "if the machine is short of memory, the kernel may have killed it");
}

int sandbox_work_run(const struct sandbox_work *work, struct err *err)
{
	struct job job = {.work = work, .outside = -1};
	struct sandbox_box box;
	struct err result = {0};
	bool has_result = false;
	int fds[2], status;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "make socket pair");
	cleanup_close int outside = fds[0];
	job.outside = outside;
	job.channel.fd = fds[1];
	struct sandbox_box_options options = {
		.ids = work->ids, .scratch = work->scratch, .main = work_in_box, .arg = &job};
	int r = sandbox_box_start(&options, &box, err);
	close(fds[1]);
	if (r < 0)
		return r;
	if (work->on_started)
		work->on_started(work->arg);
	r = relay(&job, &result, &has_result, err);
	if (r < 0) {
		sandbox_box_kill(&box);
		return r;
	}
	r = sandbox_box_wait(&box, &status, err);
	if (r < 0)
		return r;
	if (!has_result)
		return explain_end(status, err);
	if (result.kind == ERR_NONE)
		return 0;
	*err = result;
	return -(int)result.kind;
}
