/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"
#include "cli/commands.h"
#include "cli/interrupt.h"

/* While the app is waited for, what is shown moves on so often. */
enum { TICK_MS = 100 };

struct follow {
	const struct space_tools *tools;
	const struct space_plan *plan;
	struct run *run;
	int64_t started; /* ns from the start of the run until the container was there */
	bool is_ready;
	bool was_asked; /* to stop */
	bool is_over;
	enum run_event_kind end; /* RUN_EXITED or RUN_FAILED */
	struct buf reason;
};

/* "build 1.9s (6/7 cached) · start 0.05s · app ready 0.9s" */
static void tell_phases(struct follow *f, int64_t ready)
{
	cleanup(buf_done) struct buf text = {0};
	char time[32];

	if (f->plan->is_built) {
		build_summary(&f->plan->build, &text);
		buf_add_text(&text, " · ");
	}
	buf_printf(&text, "start %s", print_duration(time, f->started));
	buf_printf(&text, " · app ready %s", print_duration(time, ready - f->started));
	progress_note(f->tools->progress, "summary", buf_str(&text));
}

/* The URL alone is the result; a reader that does not want it is no reason to end. */
static void tell_url(struct str url)
{
	cleanup(buf_done) struct buf text = {0};

	buf_printf(&text, "%.*s\n", STR_ARG(url));
	text_show(STDOUT_FILENO, buf_str(&text));
}

static void on_event(struct follow *f, const struct run_event *event)
{
	progress_on_run(f->tools->progress, event);
	switch (event->kind) {
	case RUN_STARTED:
		f->started = event->duration;
		break;
	case RUN_READY:
		f->is_ready = true;
		tell_phases(f, event->duration);
		tell_url(event->text);
		break;
	case RUN_EXITED:
	case RUN_FAILED:
		f->end = event->kind;
		buf_clear(&f->reason);
		buf_add_str(&f->reason, event->text);
		break;
	case RUN_WAITING:
	case RUN_LOG:
	case RUN_WARNING:
	case RUN_HEALTH:
		break;
	}
}

static int take_events(struct follow *f, struct err *err)
{
	struct run_event event;
	int r;

	while ((r = run_next(f->run, &event, err)) == 0)
		on_event(f, &event);
	if (r == RUN_E_END)
		f->is_over = true;
	return r < 0 ? r : 0;
}

/* One request, then no patience any more. */
static int take_interrupts(struct follow *f, struct err *err)
{
	char bytes[16];

	if (read(f->tools->cancel_fd, bytes, sizeof(bytes)) < 0 && errno != EAGAIN)
		return err_sys(err, "read");
	if (interrupt_count() > 1) {
		f->is_over = true;
		return err_set(err, ERR_CANCELLED, "killed");
	}
	if (!f->was_asked)
		progress_note(f->tools->progress, "stopping",
			STR("stopping (Ctrl-C once more to kill it)"));
	f->was_asked = true;
	run_stop(f->run);
	return 0;
}

static int follow_once(struct follow *f, struct err *err)
{
	struct pollfd fds[] = {
		{.fd = run_fd(f->run), .events = POLLIN},
		{.fd = f->tools->cancel_fd, .events = POLLIN},
	};

	int n = poll(fds, array_size(fds), f->is_ready ? -1 : TICK_MS);
	if (n < 0 && errno != EINTR)
		return err_sys(err, "poll");
	if (n < 0)
		return 0;
	int r = fds[1].revents ? take_interrupts(f, err) : 0;
	if (r == 0 && fds[0].revents)
		r = take_events(f, err);
	if (n == 0)
		progress_tick(f->tools->progress);
	return r;
}

/* The first line says why, what follows it what is known besides. */
static int ended(struct follow *f, struct err *err)
{
	struct str rest = buf_str(&f->reason), first = str_cut(&rest, '\n');

	if (f->was_asked && f->is_ready)
		return 0;
	if (f->was_asked)
		return err_set(err, ERR_CANCELLED, "stopped before the app was ready");
	if (first.n == 0)
		first = STR("the app has ended");
	err_set(err, ERR_FAILED, "%.*s", STR_ARG(first));
	return rest.n > 0 ? err_hint(err, "%.*s", STR_ARG(rest)) : -ERR_FAILED;
}

int follow_run(const struct space_tools *tools, const struct space_plan *plan, struct run *run,
	struct err *err)
{
	struct follow f = {.tools = tools, .plan = plan, .run = run};
	int r = 0;

	while (r == 0 && !f.is_over)
		r = follow_once(&f, err);
	progress_end(tools->progress);
	if (r == 0)
		r = ended(&f, err);
	buf_done(&f.reason);
	return r;
}
