/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking in a confined child, which reports through a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "layer/unpack.h"
#include "os/command.h"

struct report {
	bool is_last;
	int result;
	struct layer_unpack_stats stats;
	struct err err;
};

/* Writes of up to PIPE_BUF bytes are never mixed or cut. */
_Static_assert(sizeof(struct report) <= 4096, "a report must fit into one write");

struct layer_unpacker {
	pid_t pid; /* 0: gone and waited for */
	int fd;
	struct layer_unpack_options options;
	struct layer_unpack_stats stats;
	int result; /* LAYER_E_BUSY: runs */
	struct err err;
};

/* ---- In the child ---- */

struct child {
	struct confined confined;
	struct layer_unpack_options options;
};

static void write_report(int fd, const struct report *report)
{
	ssize_t n;

	do
		n = write(fd, report, sizeof(*report));
	while (n < 0 && errno == EINTR);
}

/* A reader that is slow misses some of these. */
static void send_progress(void *arg, const struct layer_unpack_stats *stats)
{
	const struct child *c = arg;
	const struct report report = {.stats = *stats};
	struct pollfd pipe = {.fd = c->confined.report_fd, .events = POLLOUT};

	/* Writable: there is room for one whole write. */
	if (poll(&pipe, 1, 0) == 1 && pipe.revents & POLLOUT)
		write_report(c->confined.report_fd, &report);
}

noreturn_fn static void run_child(const struct child *given)
{
	struct child c = *given;
	struct report report = {.is_last = true};

	c.options.progress = send_progress;
	c.options.arg = &c;
	report.result = confine(&c.confined, &report.err);
	if (report.result < 0)
		(void)err_wrap(&report.err, "confine");
	else
		report.result = layer_unpack(
			c.confined.root, c.confined.tar_fd, &c.options, &report.stats, &report.err);
	write_report(c.confined.report_fd, &report);
	_exit(0);
}

/* ---- In the parent ---- */

int layer_unpacker_start(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpacker **ret, struct err *err)
{
	cleanup(layer_unpacker_free) struct layer_unpacker *u = xcalloc(1, sizeof(*u));
	int fds[2];

	*u = (struct layer_unpacker){.fd = -1, .options = *options, .result = LAYER_E_BUSY};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	u->fd = fds[0];
	cleanup_close int report_fd = fds[1];
	const struct child child = {
		.confined =
			{
				.root = root,
				.tar_fd = tar_fd,
				.report_fd = report_fd,
				.out_fd = options->recipe_fd,
				.parent = getpid(),
				.cpu_seconds = unpack_limits(&options->limits).cpu_seconds,
			},
		.options = *options,
	};
	u->pid = fork();
	if (u->pid < 0) {
		u->pid = 0;
		return err_sys(err, "fork");
	}
	if (u->pid == 0)
		run_child(&child);
	*ret = take_ptr(u);
	return 0;
}

int layer_unpacker_fd(const struct layer_unpacker *u)
{
	return u->fd;
}

static int reap(struct layer_unpacker *u)
{
	int status = 0;

	while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
	return status;
}

/* It ended without a last report. */
static void explain_end(struct layer_unpacker *u)
{
	char text[64];
	int status = reap(u);
	bool is_time =
		WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);

	u->result = err_set(&u->err, is_time ? ERR_LIMIT : ERR_SYSTEM, "unpacking %s",
		command_status_text(text, status));
	if (is_time)
		u->result = err_hint(&u->err,
			"It needed more than %u seconds of processor time or "
			"the host ran out of memory.",
			unpack_limits(&u->options.limits).cpu_seconds);
}

static void take_report(struct layer_unpacker *u, const struct report *report)
{
	u->stats = report->stats;
	if (!report->is_last) {
		if (u->options.progress)
			u->options.progress(u->options.arg, &u->stats);
		return;
	}
	(void)reap(u);
	u->result = report->result;
	u->err = report->err;
}

int layer_unpacker_step(struct layer_unpacker *u, struct err *err)
{
	struct report report;

	if (u->result == LAYER_E_BUSY) {
		ssize_t n;
		do
			n = read(u->fd, &report, sizeof(report));
		while (n < 0 && errno == EINTR);
		if (n == (ssize_t)sizeof(report))
			take_report(u, &report);
		else
			explain_end(u);
	}
	if (u->result < 0 && err)
		*err = u->err;
	return u->result;
}

int layer_unpacker_finish(
	struct layer_unpacker *u, struct layer_unpack_stats *ret_stats, struct err *err)
{
	int r;

	do
		r = layer_unpacker_step(u, err);
	while (r == LAYER_E_BUSY);
	if (ret_stats)
		*ret_stats = u->stats;
	return r;
}

void layer_unpacker_free(struct layer_unpacker *u)
{
	if (!u)
		return;
	if (u->pid > 0) {
		(void)kill(u->pid, SIGKILL); /* it is ours and not yet waited for */
		(void)reap(u);
	}
	if (u->fd >= 0)
		close(u->fd);
	free(u);
}

int layer_unpack_confined(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err)
{
	cleanup(layer_unpacker_free) struct layer_unpacker *u = NULL;
	int r = layer_unpacker_start(root, tar_fd, options, &u, err);

	return u ? layer_unpacker_finish(u, ret_stats, err) : r;
}
