/* SPDX-License-Identifier: Apache-2.0 */
#include "os/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/clock.h"

void command_done(struct command *c)
{
	argv_done(&c->argv);
	argv_done(&c->env);
}

static int is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

char *command_find(const char *program)
{
	if (strchr(program, '/'))
		return is_program(program) ? xstrdup(program) : NULL;
	const char *path = getenv("PATH");
	cleanup_free char *all = xprintf("%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	struct str rest = str_of(all);
	while (rest.p) {
		struct str dir = str_cut(&rest, ':');
		if (dir.n == 0)
			continue;
		cleanup_free char *full = xprintf("%.*s/%s", STR_ARG(dir), program);
		if (is_program(full))
			return take_ptr(full);
	}
	return NULL;
}

static int use_fd(int fd, int as)
{
	if (fd < 0)
		fd = open("/dev/null", as == STDIN_FILENO ? O_RDONLY : O_WRONLY);
	if (fd == as)
		return fcntl(fd, F_SETFD, 0);
	return dup2(fd, as);
}

/*
 * The descriptors are first moved above 2, since one of them may stand where another has
 * to go.
 */
static int place_fds(const struct command *c)
{
	const int wanted[] = {c->stdin_fd, c->stdout_fd, c->stderr_fd};
	int moved[3];

	for (int i = 0; i < 3; i++) {
		moved[i] = wanted[i];
		if (wanted[i] >= 0 && (moved[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, 3)) < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++)
		if (use_fd(moved[i], i) < 0)
			return -1;
	return 0;
}

static void reset_signals(void)
{
	sigset_t none;
	struct sigaction by_default = {.sa_handler = SIG_DFL};

	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &by_default, NULL); /* SIGKILL and SIGSTOP refuse */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int prepare_child(const struct command *c, pid_t parent)
{
	reset_signals();
	if (c->own_group && setpgid(0, 0) < 0)
		return errno;
	if (place_fds(c) < 0)
		return errno;
	if (c->cwd_fd >= 0 && fchdir(c->cwd_fd) < 0)
		return errno;
	if (c->before_exec) {
		int sys = c->before_exec(c->arg);
		if (sys)
			return sys;
	}
	/* Last: a change of credentials in between clears it. */
	if (c->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return errno;
	if (c->die_with_parent && getppid() != parent && getppid() != 0)
		return ESRCH;
	return 0;
}

struct held_child {
	const char *path;
	int go; /* a byte comes when it may execute; < 0: it may at once */
	int report;
	pid_t parent;
};

/* End of file means that it is not wanted any more. */
static bool may_go(int go)
{
	char byte;
	ssize_t n;

	if (go < 0)
		return true;
	do
		n = read(go, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

noreturn_fn static void child(const struct command *c, const struct held_child *held)
{
	int sys = prepare_child(c, held->parent);

	if (!sys) {
		if (!may_go(held->go))
			_exit(127);
		execve(held->path, c->argv.items, c->inherit_env ? environ : c->env.items);
		sys = errno;
	}
	/* A parent that does not get this sees end of file, and then status 127. */
	if (write(held->report, &sys, sizeof(sys)) < 0)
		_exit(126);
	_exit(127);
}

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Fork; `go` is a socket pair, or -1 twice for a child that does not wait. */
static int start_child(
	const struct command *c, int go[2], struct command_held *ret, struct err *err)
{
	int report[2];
	cleanup_free char *path = command_find(c->argv.items[0]);

	if (!path)
		return err_set(err, ERR_MISSING, "program %s not found", c->argv.items[0]);
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		if (go[1] >= 0)
			close(go[1]);
		child(c, &(struct held_child){path, go[0], report[1], parent});
	}
	int sys = errno;
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		errno = sys;
		return err_sys(err, "start %s", c->argv.items[0]);
	}
	*ret = (struct command_held){
		.pid = pid, .go = -1, .report = report[0], .path = take_ptr(path)};
	return 0;
}

int command_hold(const struct command *c, struct command_held *ret, struct err *err)
{
	int go[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) < 0)
		return err_sys(err, "make socket pair");
	int r = start_child(c, go, ret, err);
	if (r < 0) {
		close_pair(go);
		return r;
	}
	close(go[0]);
	ret->go = go[1];
	return 0;
}

/* What became of its exec. */
static int hear_report(struct command_held *held, pid_t *ret_pid, struct err *err)
{
	int sys = 0;
	pid_t pid = held->pid;
	ssize_t n;

	do
		n = read(held->report, &sys, sizeof(sys));
	while (n < 0 && errno == EINTR);
	held->pid = 0;
	if (n == (ssize_t)sizeof(sys)) {
		(void)waitpid(pid, NULL, 0); /* it has already failed; its status says 127 */
		errno = sys;
		return err_sys(err, "execute %s", held->path);
	}
	*ret_pid = pid;
	return 0;
}

int command_release(struct command_held *held, pid_t *ret_pid, struct err *err)
{
	ssize_t n;

	/* A child that has failed by now does not hear it; it has reported. */
	do
		n = send(held->go, "g", 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return hear_report(held, ret_pid, err);
}

void command_held_done(struct command_held *held)
{
	if (held->go >= 0)
		close(held->go);
	if (held->report >= 0)
		close(held->report);
	if (held->pid > 0)
		(void)waitpid(held->pid, NULL, 0); /* the closed socket ends it */
	free(held->path);
	*held = (struct command_held)COMMAND_HELD_INIT;
}

int command_start(const struct command *c, pid_t *ret_pid, struct err *err)
{
	cleanup(command_held_done) struct command_held held = COMMAND_HELD_INIT;

	int r = start_child(c, (int[]){-1, -1}, &held, err);
	return r < 0 ? r : hear_report(&held, ret_pid, err);
}

int command_wait(pid_t pid, int *ret_status, struct err *err)
{
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, "wait for process %d", (int)pid);
	return 0;
}

/* 0 at end of file; ERR_LIMIT when the deadline passes first, or when more comes than may. */
static int read_until(
	const struct command_capture *capture, size_t limit, struct buf *ret, struct err *err)
{
	for (;;) {
		int64_t left = (capture->deadline - clock_now()) / 1000000;
		struct pollfd p = {.fd = capture->output, .events = POLLIN};
		char chunk[8192];
		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(err, ERR_LIMIT, "took too long");
		ssize_t n = read(capture->output, chunk, sizeof(chunk));
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_sys(err, "read output");
		if (n > 0 && ret->len < limit)
			buf_add(ret, chunk, (size_t)n);
		else if (n > 0 && capture->ends_at_limit)
			return err_set(err, ERR_LIMIT, "said more than %zu bytes", limit);
	}
}

int command_capture_begin(
	struct command *c, int seconds, struct command_capture *ret, struct err *err)
{
	int pipe_fds[2];
	pid_t pid = -1;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	bool merge = c->stderr_fd < 0;
	c->stdout_fd = pipe_fds[1];
	if (merge)
		c->stderr_fd = pipe_fds[1];
	int r = command_start(c, &pid, err);
	close(pipe_fds[1]);
	c->stdout_fd = -1;
	if (merge)
		c->stderr_fd = -1;
	if (r < 0) {
		close(pipe_fds[0]);
		return r;
	}
	*ret = (struct command_capture){.pid = pid,
		.output = pipe_fds[0],
		.name = xstrdup(c->argv.items[0]),
		.ends_at_limit = c->ends_at_limit,
		.deadline = clock_now() + seconds * INT64_C(1000000000)};
	return 0;
}

int command_capture_end(struct command_capture *capture, size_t limit, struct buf *ret_output,
	int *ret_status, struct err *err)
{
	cleanup_free char *name = capture->name;
	int output = capture->output;
	pid_t pid = capture->pid;
	struct err ignored = {0};

	int r = read_until(capture, limit, ret_output, err);
	*capture = (struct command_capture){.output = -1};
	if (r < 0)
		kill(pid, SIGKILL);
	int waited = command_wait(pid, ret_status, r < 0 ? &ignored : err);
	close(output);
	if (r < 0)
		return err_wrap(err, "%s", name);
	return waited;
}

int command_capture(struct command *c, size_t limit, int seconds, struct buf *ret_output,
	int *ret_status, struct err *err)
{
	struct command_capture capture = {.output = -1};

	int r = command_capture_begin(c, seconds, &capture, err);
	return r < 0 ? r : command_capture_end(&capture, limit, ret_output, ret_status, err);
}

const char *command_status_text(char text[static 64], int status)
{
	if (WIFEXITED(status))
		snprintf(text, 64, "exited with %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(text, 64, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		snprintf(text, 64, "ended with status %#x", (unsigned)status);
	return text;
}
