/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/file.h"
#include "run/serving.h"
#include "sandbox/sandbox.h"

enum {
	MAX_LINKS = 1024,
	PATIENCE_MS = 3000, /* for an app that refuses connections once it was ready */
	LIMITS_MS = 5000,   /* between looks at what the control group refused */
	STATUS_MAX = 64 * 1024,
};

/* ---- From starting to ready, or not ---- */

static void on_deadline(uv_timer_t *timer)
{
	struct serving *s = timer->data;

	s->is_late = true;
	waiting_look(s, &s->late_words, &s->late_hint);
	(void)kill(s->container->pid, SIGKILL); /* its end is told by SIGCHLD */
}

static void on_answer(void *arg, int status)
{
	struct serving *s = arg;
	struct err err = {0};

	s->is_ready = true;
	uv_timer_stop(&s->deadline);
	uv_timer_stop(&s->look);
	if (forward_open(s->forward, &err) < 0)
		box_tell(s->job,
			&(struct message){.kind = MESSAGE_WARNING, .text = str_of(err.text)});
	box_tell(s->job, &(struct message){.kind = MESSAGE_READY, .status = status});
}

/* ---- Limits ---- */

static void warn(const struct serving *s, const struct buf *text)
{
	if (waiting_may_tell(s))
		box_tell(s->job, &(struct message){.kind = MESSAGE_WARNING, .text = buf_str(text)});
}

/*
 * A worker that is killed, or cannot be started, need not be the end of the app; but its
 * author should know.
 */
static void on_limits(uv_timer_t *timer)
{
	struct serving *s = timer->data;
	struct cgroup_usage now;
	char size[32];

	cgroup_usage(s->job->cgroup, &now);
	if (now.oom_kills > s->usage.oom_kills) {
		cleanup(buf_done) struct buf text = {0};
		buf_printf(&text, "a process of the app was killed for memory: the limit is %s",
			print_size(size, now.memory_limit));
		warn(s, &text);
	}
	if (now.pids_denied > s->usage.pids_denied && !s->usage.pids_denied) {
		cleanup(buf_done) struct buf text = {0};
		buf_add_text(&text, "the app could not start another process or thread: it has "
				    "reached its limit of them");
		warn(s, &text);
	}
	s->usage = now;
}

/* ---- Health ---- */

static void on_health(void *arg, enum health_status status, struct str output)
{
	struct serving *s = arg;

	if (waiting_may_tell(s))
		box_tell(s->job,
			&(struct message){
				.kind = MESSAGE_HEALTH, .status = (int)status, .text = output});
}

static void start_checking(struct serving *s)
{
	const struct checking_options options = {.loop = &s->loop,
		.config = &s->container->image->config,
		.container = s->container->container,
		.on_change = on_health,
		.arg = s};

	s->checking = checking_start(&options);
}

/* ---- Stopping ---- */

static void on_kill(uv_timer_t *timer)
{
	struct serving *s = timer->data;

	(void)kill(s->container->pid, SIGKILL); /* its end is told by SIGCHLD */
}

static bool container_handles(const struct serving *s, int sig)
{
	cleanup(buf_done) struct buf status = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->container->pid);
	return file_read(AT_FDCWD, path, STATUS_MAX, &status, NULL) == 0 &&
	       handles_signal(buf_str(&status), sig);
}

static void stop(struct serving *s)
{
	const char *wanted = s->container->image->config.stop_signal;
	int sig = stop_signal(str_of(wanted ? wanted : ""));

	if (sig == 0)
		sig = SIGTERM;
	/* A signal that its PID 1 does not handle would be dropped, and waited for in vain. */
	if (s->was_asked || !container_handles(s, sig))
		sig = SIGKILL;
	s->was_asked = true;
	(void)kill(s->container->pid, sig);
	uv_timer_start(&s->kill, on_kill, (uint64_t)(s->job->options->stop_timeout / 1000000), 0);
}

static void on_order(uv_poll_t *poll, int status, int events)
{
	struct serving *s = poll->data;
	char order;
	ssize_t n = recv(s->job->channel, &order, 1, MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (n == 1 && order == ORDER_STOP)
		stop(s);
	if (n != 0)
		return;
	/* No parent, no Space. */
	(void)kill(s->container->pid, SIGKILL);
	uv_poll_stop(poll);
}

/* ---- The end ---- */

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void end_loop(struct serving *s)
{
	uv_handle_t *own[] = {(uv_handle_t *)&s->signals, (uv_handle_t *)&s->orders,
		(uv_handle_t *)&s->deadline, (uv_handle_t *)&s->look, (uv_handle_t *)&s->kill,
		(uv_handle_t *)&s->limits, (uv_handle_t *)&s->outputs[0].poll,
		(uv_handle_t *)&s->outputs[1].poll};

	for (size_t i = 0; i < array_size(own); i++)
		close_handle(own[i]);
	probe_close(s->probe);
	checking_close(s->checking);
	forward_close(s->forward);
}

/* PID 1 reaps everybody: pasta, and what crun leaves behind, are children, too. */
static void on_child(uv_poll_t *poll, int poll_status, int events)
{
	struct serving *s = poll->data;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)poll_status;
	(void)events;
	while (read(s->signal_fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (checking_take_child(s->checking, pid, status) || pid != s->container->pid)
			continue;
		s->has_ended = true;
		s->status = status;
	}
	if (!s->has_ended)
		return;
	/* With PID 1 of the container all its processes are gone: nothing more can come. */
	output_drain(s);
	end_loop(s);
}

/* ---- The loop ---- */

/* Descriptors for as many connections as there may be; the container has its own limit. */
static unsigned find_max_links(void)
{
	enum { OTHERS = 64 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1;
	rlim_t wanted = (rlim_t)2 * MAX_LINKS + OTHERS;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* what holds is read back */
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= wanted)
		return MAX_LINKS;
	return limit.rlim_cur > OTHERS + 2 ? (unsigned)(limit.rlim_cur - OTHERS) / 2 : 1;
}

static int open_signals(struct serving *s, struct err *err)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	s->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? err_sys(err, "signals") : 0;
}

static int watch(struct serving *s, uv_poll_t *poll, int fd, uv_poll_cb callback, void *data)
{
	int r = uv_poll_init(&s->loop, poll, fd);

	poll->data = data;
	return r < 0 ? r : uv_poll_start(poll, UV_READABLE, callback);
}

static int watch_all(struct serving *s, struct err *err)
{
	int r = watch(s, &s->signals, s->signal_fd, on_child, s);

	if (r == 0)
		r = watch(s, &s->orders, s->job->channel, on_order, s);
	for (size_t i = 0; i < 2 && r == 0; i++) {
		struct output *o = &s->outputs[i];
		o->s = s;
		o->stream = i == 0 ? JOURNAL_STDOUT : JOURNAL_STDERR;
		o->fd = i == 0 ? s->container->out : s->container->err;
		r = watch(s, &o->poll, o->fd, output_callback, o);
	}
	return r < 0 ? err_set(err, ERR_SYSTEM, "event loop: %s", uv_strerror(r)) : 0;
}

static void start_timers(struct serving *s)
{
	uv_timer_t *timers[] = {&s->deadline, &s->look, &s->kill, &s->limits};

	for (size_t i = 0; i < array_size(timers); i++) {
		(void)uv_timer_init(&s->loop, timers[i]); /* cannot fail */
		timers[i]->data = s;
	}
	uv_timer_start(
		&s->deadline, on_deadline, (uint64_t)(s->job->options->start_timeout / 1000000), 0);
	waiting_start(s);
	if (s->job->cgroup)
		uv_timer_start(&s->limits, on_limits, LIMITS_MS, LIMITS_MS);
}

static int start_serving(struct serving *s, struct err *err)
{
	const struct box_job *job = s->job;
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(s->job->options->app_port)};
	cleanup_free char *host = xprintf("localhost:%u", job->port.port);

	(void)inet_pton(AF_INET, SANDBOX_ADDRESS, &to.sin_addr); /* a constant that is one */
	int r = watch_all(s, err);
	if (r < 0)
		return r;
	start_timers(s);
	const struct forward_options forward = {.loop = &s->loop,
		.listeners = job->port.fds,
		.listener_count = job->port.count,
		.to = to,
		.max_links = find_max_links(),
		.patience = PATIENCE_MS};
	r = forward_new(&forward, &s->forward, err);
	if (r < 0)
		return r;
	const struct probe_options probe = {
		.loop = &s->loop, .to = to, .host = host, .on_answer = on_answer, .arg = s};
	s->probe = probe_start(&probe);
	start_checking(s);
	/* It may have ended before its signal was waited for. */
	on_child(&s->signals, 0, 0);
	return 0;
}

static void serving_done(struct serving *s)
{
	struct buf *texts[] = {&s->tail, &s->told, &s->late_words, &s->late_hint};

	for (size_t i = 0; i < array_size(texts); i++)
		buf_done(texts[i]);
	journal_free(s->journal);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
}

int serve(const struct box_job *job, const struct box_container *container, struct arena *a,
	struct message *ret, struct err *err)
{
	struct serving s = {.job = job, .container = container, .signal_fd = -1};

	int r = journal_open(job->log_dir, INSTANCE_LOG, JOURNAL_FILE_LIMIT, &s.journal, err);
	if (r == 0)
		r = open_signals(&s, err);
	if (r == 0 && uv_loop_init(&s.loop) < 0)
		r = err_set(err, ERR_SYSTEM, "event loop");
	if (r == 0) {
		output_announce(&s);
		r = start_serving(&s, err);
	}
	if (r == 0) {
		(void)uv_run(&s.loop, UV_RUN_DEFAULT); /* until end_loop() */
		(void)uv_loop_close(&s.loop);
		report(&s, a, ret);
	}
	serving_done(&s);
	return r;
}
