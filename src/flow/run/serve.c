/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"
#include "base/number.h"
#include "journal/journal.h"
#include "os/clock.h"
#include "os/file.h"
#include "run/box.h"
#include "run/diagnose.h"
#include "run/forward.h"
#include "run/probe.h"
#include "sandbox/sandbox.h"

/*
 * The life of a container as PID 1 sees it:
 *
 *	starting   the probe asks, clients wait in the kernel's queue, what is seen is told
 *	ready	   the forwarder carries
 *	stopping   the container was sent a signal
 *	ended	   reaped; what it wrote is read to the end, then the reason is told
 *
 * One loop of libuv; signals come through a signalfd.
 */

enum {
	TAIL_MAX = 16 * 1024,
	READ_MAX = 64 * 1024,
	MAX_LINKS = 1024,
	PATIENCE_MS = 3000,   /* for an app that refuses connections once it was ready */
	LOOK_MS = 500,	      /* between looks at what an app that does not answer is doing */
	TELL_FIRST_MS = 1000, /* until the first thing is told of that */
	TELL_MIN_MS = 2000,   /* between two different things */
	TELL_MAX_MS = 60000,
	QUEUE_MAX = 16 * 1024, /* of events that the parent has not taken: no more of them */
	LAST_WORDS = 15,       /* lines of the log that are shown with a failure */
};

struct output {
	struct serving *s;
	enum journal_stream stream;
	uv_poll_t poll;
	int fd;
};

struct serving {
	const struct box_job *job;
	const struct box_container *container;
	uv_loop_t loop;
	uv_poll_t signals, orders;
	int signal_fd;
	uv_timer_t deadline, look, kill;
	struct output outputs[2];
	struct probe *probe;
	struct forward *forward;
	struct journal *journal;
	bool journal_failed;
	struct buf tail;
	bool is_ready, was_asked, has_ended;
	int status;
	/* What was told last, when (loop time, ms), and when the same is told again. */
	struct buf told;
	uint64_t told_at, tell_again;
	/* The start took too long: what was seen then. */
	bool is_late;
	struct buf late_words, late_hint;
};

static uint16_t app_port(const struct serving *s)
{
	return s->job->options->app_port;
}

/* ---- What the app writes ---- */

static void keep_tail(struct serving *s, struct str bytes)
{
	buf_add_str(&s->tail, bytes);
	if (s->tail.len > (size_t)2 * TAIL_MAX)
		buf_cut_front(&s->tail, s->tail.len - TAIL_MAX);
}

static void add_to_journal(struct serving *s, enum journal_stream stream, struct str bytes)
{
	struct err err = {0};

	/* The app must not stop because its log has no place: it is told once and lost. */
	if (journal_add(s->journal, stream, bytes, &err) == 0 || s->journal_failed)
		return;
	s->journal_failed = true;
	box_tell(s->job, &(struct message){.kind = MESSAGE_WARNING, .text = str_of(err.text)});
}

/* As read(2): < 0 when nothing is there for now, 0 at the end. */
static ssize_t read_output(struct output *o)
{
	char bytes[READ_MAX];
	ssize_t n;

	do
		n = read(o->fd, bytes, sizeof(bytes));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		keep_tail(o->s, str_from(bytes, (size_t)n));
		add_to_journal(o->s, o->stream, str_from(bytes, (size_t)n));
	}
	return n;
}

static void on_output(uv_poll_t *poll, int status, int events)
{
	struct output *o = poll->data;

	(void)events;
	/* The end of file can come before the app's own: it may close what it has no use for. */
	if (status < 0 || read_output(o) == 0)
		uv_poll_stop(poll);
}

static void announce_start(struct serving *s)
{
	char now[32];
	char text[96];

	/* As the log of a Space on Hugging Face begins. */
	clock_iso(now);
	int n = snprintf(text, sizeof(text), "===== Application Startup at %.10s %.8s =====\n\n",
		now, now + 11);
	add_to_journal(s, JOURNAL_STDOUT, str_from(text, (size_t)n));
}

/* ---- What it listens on ---- */

static enum listening look_at_listeners(struct serving *s, struct buf *words, struct buf *hint)
{
	cleanup(buf_done) struct buf tcp = {0};
	cleanup(buf_done) struct buf tcp6 = {0};
	struct listener all[LISTENERS_MAX];
	size_t count = 0;
	const size_t limit = 4 << 20;

	/* Of this process's network namespace, which is the Space's. A kernel without IPv6 has
	 * no tcp6. */
	if (file_read(AT_FDCWD, "/proc/self/net/tcp", limit, &tcp, NULL) == 0)
		count = listeners_parse(buf_str(&tcp), false, count, all);
	if (file_read(AT_FDCWD, "/proc/self/net/tcp6", limit, &tcp6, NULL) == 0)
		count = listeners_parse(buf_str(&tcp6), true, count, all);
	return listeners_judge(all, count, app_port(s), buf_str(&s->tail), words, hint);
}

/* How a port that is listened on behaves; NULL: as listeners_judge() says. */
static const char *const seen_words[] = {
	[PROBE_NOTHING] = NULL,
	[PROBE_REFUSED] = NULL,
	[PROBE_SILENT] = NULL,
	[PROBE_CLOSED] = "closes connections without an answer",
	[PROBE_NOT_HTTP] = "answers, but not with HTTP",
	[PROBE_TLS] = "speaks TLS, but a Space has to serve plain HTTP",
	[PROBE_ANSWERED] = NULL,
};

/* Why nothing has answered so far. */
static void look(struct serving *s, struct buf *words, struct buf *hint)
{
	const char *seen = seen_words[probe_seen(s->probe)];

	if (look_at_listeners(s, words, hint) != LISTENS_RIGHT || !seen)
		return;
	buf_clear(words);
	buf_printf(words, "port %u %s", app_port(s), seen);
}

/* Events that the parent has not taken yet must not fill the queue: the last one has to fit. */
static bool parent_listens(const struct serving *s)
{
	int queued = 0;

	return ioctl(s->job->channel, SIOCOUTQ, &queued) == 0 && queued < QUEUE_MAX;
}

/* Something else at once, but not more often than it can be read; the same ever more rarely. */
static bool is_due(struct serving *s, struct str words)
{
	uint64_t now = uv_now(&s->loop), since = now - s->told_at;
	bool is_new = !str_eq(buf_str(&s->told), words);

	if (since < (is_new ? TELL_MIN_MS : s->tell_again) || !parent_listens(s))
		return false;
	s->tell_again = is_new ? (uint64_t)2 * TELL_MIN_MS : s->tell_again * 2;
	if (s->tell_again > TELL_MAX_MS)
		s->tell_again = TELL_MAX_MS;
	s->told_at = now;
	buf_clear(&s->told);
	buf_add_str(&s->told, words);
	return true;
}

static void on_look(uv_timer_t *timer)
{
	struct serving *s = timer->data;
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};

	look(s, &words, &hint);
	if (is_due(s, buf_str(&words)))
		box_tell(s->job,
			&(struct message){.kind = MESSAGE_WAITING, .text = buf_str(&words)});
}

/* ---- From starting to ready, or not ---- */

static void on_deadline(uv_timer_t *timer)
{
	struct serving *s = timer->data;

	s->is_late = true;
	look(s, &s->late_words, &s->late_hint);
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
	return file_read(AT_FDCWD, path, READ_MAX, &status, NULL) == 0 &&
	       handles_signal(buf_str(&status), sig);
}

static void stop(struct serving *s)
{
	const char *wanted = s->job->config->stop_signal;
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
	if (n == 0) /* no parent, no Space */
		(void)kill(s->container->pid, SIGKILL);
	if (n == 0)
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
		(uv_handle_t *)&s->outputs[0].poll, (uv_handle_t *)&s->outputs[1].poll};

	for (size_t i = 0; i < array_size(own); i++)
		close_handle(own[i]);
	probe_close(s->probe);
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
		if (pid != s->container->pid)
			continue;
		s->has_ended = true;
		s->status = status;
	}
	if (!s->has_ended)
		return;
	/* With PID 1 of the container all its processes are gone: nothing more can come. */
	for (size_t i = 0; i < 2; i++)
		while (read_output(&s->outputs[i]) > 0)
			;
	end_loop(s);
}

static void mask_all(const struct serving *s, struct buf *text)
{
	const struct argv *names = &s->job->options->secret_names;

	for (size_t i = 0; i < names->count; i++) {
		const char *value = argv_env(&s->job->options->env, names->items[i]);
		const struct str secret = str_of(value);
		if (value)
			mask_secrets(text, &secret, 1);
	}
}

static void describe_late(const struct serving *s, struct buf *words, struct buf *hint)
{
	const int64_t time = s->job->options->start_timeout;
	const int64_t minute = INT64_C(60000000000);
	char text[32];

	buf_printf(words, "port %u did not answer within ", app_port(s));
	if (time < minute)
		buf_printf(words, "%.3gs: ", (double)time / 1e9);
	else
		buf_printf(words, "%s: ", print_duration(text, time));
	buf_add_str(words, buf_str(&s->late_words));
	buf_add_str(hint, buf_str(&s->late_hint));
}

static void describe_end(const struct serving *s, struct buf *words, struct buf *hint)
{
	struct ending ending = {.status = s->status,
		.was_ready = s->is_ready,
		.was_asked = s->was_asked,
		.app_port = app_port(s),
		.cause = cause_find(buf_str(&s->tail))};

	if (ending.cause.kind == CAUSE_PATH_DENIED)
		path_look(
			s->container->root, s->container->cwd, ending.cause.subject, &ending.path);
	if (s->job->cgroup)
		cgroup_usage(s->job->cgroup, &ending.usage);
	ending_describe(&ending, words, hint);
}

static void describe(const struct serving *s, struct arena *a, struct message *ret)
{
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};
	bool has_failed = !s->is_ready && !s->was_asked;

	if (s->is_late)
		describe_late(s, &words, &hint);
	else
		describe_end(s, &words, &hint);
	if (has_failed && s->tail.len) {
		buf_add_text(&hint, hint.len ? "\nits last words:\n" : "its last words:\n");
		tail_lines(buf_str(&s->tail), LAST_WORDS, &hint);
	}
	mask_all(s, &words);
	mask_all(s, &hint);
	replace_controls(&words);
	replace_controls(&hint);
	*ret = (struct message){.kind = MESSAGE_ENDED,
		.status = s->status,
		.error = !has_failed  ? ERR_NONE
			 : s->is_late ? ERR_LIMIT
				      : ERR_FAILED,
		.was_asked = s->was_asked,
		.text = arena_str(a, buf_str(&words)),
		.hint = arena_str(a, str_trim_right(buf_str(&hint)))};
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
		r = watch(s, &o->poll, o->fd, on_output, o);
	}
	return r < 0 ? err_set(err, ERR_SYSTEM, "event loop: %s", uv_strerror(r)) : 0;
}

static void start_timers(struct serving *s)
{
	uv_timer_t *timers[] = {&s->deadline, &s->look, &s->kill};

	for (size_t i = 0; i < array_size(timers); i++) {
		(void)uv_timer_init(&s->loop, timers[i]); /* cannot fail */
		timers[i]->data = s;
	}
	uv_timer_start(
		&s->deadline, on_deadline, (uint64_t)(s->job->options->start_timeout / 1000000), 0);
	uv_timer_start(&s->look, on_look, LOOK_MS, LOOK_MS);
	/* As if something else had been told a while ago. */
	s->told_at = uv_now(&s->loop) + TELL_FIRST_MS - TELL_MIN_MS;
	s->tell_again = TELL_MIN_MS;
}

static int start_serving(struct serving *s, struct err *err)
{
	const struct box_job *job = s->job;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(app_port(s))};
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
		announce_start(&s);
		r = start_serving(&s, err);
	}
	if (r == 0) {
		(void)uv_run(&s.loop, UV_RUN_DEFAULT); /* until end_loop() */
		(void)uv_loop_close(&s.loop);
		describe(&s, a, ret);
	}
	serving_done(&s);
	return r;
}
