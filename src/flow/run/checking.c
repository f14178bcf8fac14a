/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/attr.h"
#include "base/number.h"
#include "os/clock.h"
#include "os/command.h"
#include "run/health.h"

/*
 * Each check is a process of its own: it has the runtime start the command, which takes many
 * milliseconds, waits for its end, and leaves what it wrote in a file in memory; its exit
 * status is the outcome. Meanwhile PID 1 carries bytes.
 */

enum {
	OUTPUT_MAX = 4096, /* as in Docker */
	PASSED = 0,
	FAILED = 1,
};

struct checking {
	struct checking_options options;
	struct health health;
	struct argv command;
	uv_timer_t timer;
	int64_t started;
	pid_t pid;  /* of the check that goes on; 0: none does */
	int output; /* of it */
};

/* ---- One check, in its own process ---- */

static void write_text(int fd, struct str text)
{
	/* Memory that is full, or whatever else: a check without words is one all the same. */
	ssize_t n = pwrite(fd, text.p, text.n, 0);
	(void)n;
}

/* Take what is there; beyond the limit it is read and dropped, so that nobody waits. */
static void take_output(int fd, struct buf *output)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		size_t room = OUTPUT_MAX - output->len;
		buf_add(output, piece, (size_t)n < room ? (size_t)n : room);
	}
}

/* False: it took too long. */
static bool wait_for_end(pid_t pid, int from, int64_t deadline, struct buf *output)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = from, .events = POLLIN}};

	while (pidfd >= 0) {
		int64_t left = (deadline - clock_now()) / 1000000;
		if (left <= 0)
			return false;
		if (poll(fds, array_size(fds), left < 1000 ? (int)left + 1 : 1000) < 0)
			continue;
		take_output(from, output);
		if (fds[0].revents)
			return true;
		if (fds[1].revents & POLLHUP)
			fds[1].fd = -1;
	}
	return true;
}

static int check(const struct checking *c, int out, int from, struct buf *output, struct err *err)
{
	char text[32];
	int status;
	pid_t pid;

	int64_t deadline = clock_now() + c->health.timeout;
	int r = sandbox_container_exec(c->options.container, &c->command, out, &pid, err);
	close(out);
	if (r < 0)
		return r;
	bool is_in_time = wait_for_end(pid, from, deadline, output);
	if (!is_in_time)
		(void)kill(pid, SIGKILL);
	r = command_wait(pid, &status, err);
	if (r < 0)
		return r;
	if (!is_in_time)
		return err_set(err, ERR_LIMIT, "took longer than %s",
			print_duration(text, c->health.timeout));
	if (output->len == 0 && status != 0)
		buf_add_text(output, command_status_text((char[64]){0}, status));
	return status == 0 ? PASSED : FAILED;
}

static noreturn_fn void check_in_child(const struct checking *c)
{
	cleanup(buf_done) struct buf output = {0};
	struct err err = {0};
	int fds[2];

	/* What the runtime starts is to be ours to wait for. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || pipe2(fds, O_CLOEXEC) < 0 ||
		fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		_exit(FAILED);
	int r = check(c, fds[1], fds[0], &output, &err);
	write_text(c->output, r < 0 ? str_of(err.text) : buf_str(&output));
	_exit(r == PASSED ? PASSED : FAILED);
}

/* ---- Between the checks ---- */

static int64_t age_of(const struct checking *c)
{
	return clock_now() - c->started;
}

static void begin_check(uv_timer_t *timer)
{
	struct checking *c = timer->data;

	c->output = memfd_create("health", MFD_CLOEXEC);
	c->pid = c->output < 0 ? -1 : fork();
	if (c->pid == 0)
		check_in_child(c);
	if (c->pid > 0)
		return; /* goes on with checking_take_child() */
	c->pid = 0;
	uv_timer_start(&c->timer, begin_check, (uint64_t)(c->health.interval / 1000000), 0);
}

static void wait_for_next(struct checking *c)
{
	int64_t pause = health_pause(&c->health, age_of(c));

	uv_timer_start(&c->timer, begin_check, (uint64_t)(pause / 1000000), 0);
}

bool checking_take_child(struct checking *c, pid_t pid, int status)
{
	char text[OUTPUT_MAX];

	if (!c || c->pid != pid)
		return false;
	ssize_t n = pread(c->output, text, sizeof(text), 0);
	close(take_fd(&c->output));
	c->pid = 0;
	if (uv_is_closing((uv_handle_t *)&c->timer))
		return true;
	if (health_take(&c->health, age_of(c), status == 0))
		c->options.on_change(c->options.arg, c->health.status,
			str_trim(str_from(text, n > 0 ? (size_t)n : 0)));
	wait_for_next(c);
	return true;
}

struct checking *checking_start(const struct checking_options *options)
{
	struct health health;

	health_begin(&health, &options->config->healthcheck);
	if (health.status == HEALTH_NONE)
		return NULL;
	struct checking *c = xcalloc(1, sizeof(*c));
	*c = (struct checking){
		.options = *options, .health = health, .started = clock_now(), .output = -1};
	health_command(options->config, &c->command);
	(void)uv_timer_init(options->loop, &c->timer); /* cannot fail */
	c->timer.data = c;
	wait_for_next(c);
	return c;
}

static void free_checking(uv_handle_t *handle)
{
	struct checking *c = handle->data;

	if (c->output >= 0)
		close(c->output);
	argv_done(&c->command);
	free(c);
}

/* A check that goes on ends with the container, whose process it is. */
void checking_close(struct checking *c)
{
	if (c && !uv_is_closing((uv_handle_t *)&c->timer))
		uv_close((uv_handle_t *)&c->timer, free_checking);
}
