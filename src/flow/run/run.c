/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/command.h"
#include "run/health.h"
#include "run/parent.h"

/* ---- What the box tells ---- */

static void save_state(struct run *run)
{
	struct err unused = {0};

	/* Only `spaceport ps` is the poorer for it, and the lock tells it the truth. */
	ignored(instance_save(&run->instance, &run->state, &unused));
}

static void set_text(struct run *run, struct str text)
{
	buf_clear(&run->text);
	buf_add_str(&run->text, text);
}

static void take_end(struct run *run, const struct message *message)
{
	run->has_end = true;
	run->end = *message;
	buf_clear(&run->end_text);
	buf_add_str(&run->end_text, message->text);
	if (message->hint.n) {
		buf_add_char(&run->end_text, '\n');
		buf_add_str(&run->end_text, message->hint);
	}
}

static void started(struct run *run, const struct message *message, struct run_event *ret)
{
	ret->kind = RUN_STARTED;
	run->state.shown.health = health_status_name((enum health_status)message->status);
	save_state(run);
	buf_clear(&run->text);
	buf_printf(&run->text, "port %u", run->options.app_port);
}

static void waiting(struct run *run, const struct message *message, struct run_event *ret)
{
	ret->kind = RUN_WAITING;
	set_text(run, message->text);
}

static void ready(struct run *run, const struct message *message, struct run_event *ret)
{
	ret->kind = RUN_READY;
	ret->status = message->status;
	set_text(run, buf_str(&run->url));
	run->is_ready = true;
	run->state.shown.stage = "RUNNING";
	save_state(run);
}

static void warned(struct run *run, const struct message *message, struct run_event *ret)
{
	ret->kind = RUN_WARNING;
	set_text(run, message->text);
}

static void checked(struct run *run, const struct message *message, struct run_event *ret)
{
	const char *name = health_status_name((enum health_status)message->status);

	ret->kind = RUN_HEALTH;
	ret->status = message->status == HEALTH_UNHEALTHY;
	buf_clear(&run->text);
	buf_add_text(&run->text, name);
	if (ret->status && message->text.n)
		buf_printf(&run->text, ": %.*s", STR_ARG(message->text));
	run->state.shown.health = name;
	save_state(run);
}

static void (*const events[])(struct run *, const struct message *, struct run_event *) = {
	[MESSAGE_STARTED] = started,
	[MESSAGE_WAITING] = waiting,
	[MESSAGE_READY] = ready,
	[MESSAGE_WARNING] = warned,
	[MESSAGE_HEALTH] = checked,
};

/* The box is gone without a word: killed, by whomever. */
static void box_died(struct run *run)
{
	struct err err = {0};
	char text[64];
	char words[128];
	int status = 0;

	if (sandbox_box_wait(&run->box, &status, &err) < 0)
		status = 0;
	snprintf(words, sizeof(words), "the process that held the Space %s%s",
		WIFSIGNALED(status) ? "was " : "", command_status_text(text, status));
	take_end(run, &(struct message){.kind = MESSAGE_ENDED,
			      .error = run->is_ready ? ERR_NONE : ERR_SYSTEM,
			      .text = str_of(words)});
}

/* True: ret holds an event. */
static bool take_message(struct run *run, struct run_event *ret)
{
	struct message message;

	while (!run->has_end) {
		ssize_t n = recv(run->socket, run->packet, sizeof(run->packet), MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			box_died(run);
			return false;
		}
		if (!message_parse(str_from(run->packet, (size_t)n), &message))
			continue;
		if (message.kind == MESSAGE_ENDED) {
			take_end(run, &message);
			return false;
		}
		events[message.kind](run, &message, ret);
		return true;
	}
	return false;
}

/* ---- The log ---- */

/* 0: ret holds a line, or a part of one; RUN_E_NONE. */
static int take_log(struct run *run, struct run_event *ret, struct err *err)
{
	struct journal_line line;

	int r = journal_reader_next(run->log, &line, err);
	if (r < 0)
		return r;
	if (r == JOURNAL_E_END && !journal_reader_rest(run->log, &line))
		return RUN_E_NONE;
	ret->kind = RUN_LOG;
	ret->is_stderr = line.stream == JOURNAL_STDERR;
	set_text(run, line.text);
	if (line.ends)
		buf_add_char(&run->text, '\n');
	return 0;
}

/* ---- The end ---- */

static void finish(struct run *run, struct run_event *ret)
{
	struct run_instance *shown = &run->state.shown;
	struct str rest = buf_str(&run->end_text), first = str_cut(&rest, '\n');
	char now[32];

	ret->kind = run->end.error == ERR_NONE ? RUN_EXITED : RUN_FAILED;
	ret->error = run->end.error;
	ret->status = run->end.status;
	set_text(run, buf_str(&run->end_text));
	run->is_over = true;
	shown->health = "";
	shown->stage = run->end.was_asked ? "STOPPED" : "RUNTIME_ERROR";
	shown->reason = arena_str(&run->arena, first).p;
	shown->ended = arena_strdup(&run->arena, clock_iso(now));
	shown->pid = 0;
	save_state(run);
}

static int next(struct run *run, struct run_event *ret, struct err *err)
{
	uint64_t count;

	if (run->warning) {
		ret->kind = RUN_WARNING;
		set_text(run, str_of(run->warning));
		run->warning = NULL;
		return 0;
	}
	if (take_message(run, ret))
		return 0;
	/* The box wrote the log before it said its last word, so all of it is there by now. */
	int r = take_log(run, ret, err);
	if (r != RUN_E_NONE)
		return r;
	if (run->has_end) {
		finish(run, ret);
		return 0;
	}
	if (read(run->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return err_sys(err, "read");
	return RUN_E_NONE;
}

int run_next(struct run *run, struct run_event *ret, struct err *err)
{
	if (run->is_over)
		return RUN_E_END;
	*ret = (struct run_event){0};
	int r = next(run, ret, err);
	ret->duration = clock_now() - run->started;
	ret->text = buf_str(&run->text);
	return r;
}

/* ---- The rest ---- */

int run_fd(const struct run *run)
{
	return run->epoll;
}

const char *run_id(const struct run *run)
{
	return run->instance.id;
}

const char *run_url(const struct run *run)
{
	return buf_text(&run->url);
}

void run_stop(struct run *run)
{
	const char order = ORDER_STOP;

	/* A box that does not hear it has ended, or will be killed by run_free(). */
	if (send(run->socket, &order, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

/* After its last word the box removes the instance's disk; much of it may take a moment. */
static void end_box(struct run *run)
{
	enum { CLEAN_MS = 3000 };
	struct pollfd p = {.fd = run->box.pidfd, .events = POLLIN};

	if (run->has_end && run->box.pid > 0)
		(void)poll(&p, 1, CLEAN_MS); /* killed if it is not through */
	sandbox_box_kill(&run->box);
}

void run_free(struct run *run)
{
	if (!run)
		return;
	end_box(run);
	/* Nothing has run: there is nothing to be looked at afterwards. */
	if (!run->has_begun && run->instance.id[0])
		instance_forget(run->runs, &run->instance);
	if (run->has_begun && run->state.shown.pid) {
		run->end = (struct message){.was_asked = true};
		buf_add_text(&run->end_text, "killed");
		finish(run, &(struct run_event){0});
	}
	const int fds[] = {run->runs, run->socket, run->epoll, run->wake};
	for (size_t i = 0; i < array_size(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	cgroup_free(run->cgroup);
	journal_reader_free(run->log);
	instance_done(&run->instance);
	host_port_close(&run->port);
	store_lease_free(run->lease);
	store_free(run->store);
	buf_done(&run->url);
	buf_done(&run->text);
	buf_done(&run->end_text);
	arena_done(&run->arena);
	free(run);
}
