/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "build/internal.h"
#include "os/command.h"

/*
 * Stages at the same time. PID 1 of the box is the scheduler: it knows how far each stage has
 * come. A stage that has something to do and needs no other one for it gets a worker, which
 * makes its steps in their order, until the end or until a step needs a stage that was not
 * there when the worker began. It tells of each step that it begins or has made.
 *
 * A worker needs some milliseconds and a network of its own. So where one stage after another is
 * all there is to do, PID 1 does it itself: most builds, and most ends of the others.
 */

/* ---- how the stages depend on each other ---- */

/* How many can, and one of them. Those that have no steps left are over. */
static size_t can_go_on(struct build_stage *stages, size_t count, struct build_stage **ret)
{
	size_t can = 0;

	for (size_t i = 0; i < count; i++) {
		struct build_stage *stage = &stages[i];
		if (!stage_can_go_on(stages, stage))
			continue;
		stage->is_started = true;
		stage->is_over = stage->next == stage->step_count;
		if (stage->is_over)
			continue;
		*ret = stage;
		can++;
	}
	return can;
}

bool stages_are_sequence(const struct build_stage *stages, size_t count)
{
	cleanup_free struct build_stage *then = xcalloc(count + 1, sizeof(*then));
	struct build_stage *one = NULL;
	size_t can;

	for (size_t i = 0; i < count; i++)
		then[i] = stages[i];
	while ((can = can_go_on(then, count, &one)) == 1)
		one->next++;
	return can == 0;
}

/* What earlier walks found out is forgotten. */
static void begin_again(struct build *b)
{
	for (size_t i = 0; i < b->plan.stage_count; i++) {
		struct build_stage *stage = &b->stages[i];
		stage->is_started = stage->is_over = stage->in_work = false;
		stage->next = 0;
		for (size_t k = 0; k < stage->step_count; k++)
			for (size_t j = 0; j < stage->steps[k].input_count; j++) {
				struct build_input *input = &stage->steps[k].inputs[j];
				/* Content of stages may be new in this build. */
				input->is_known &= input->from->kind == PLAN_CONTEXT;
			}
	}
}

static size_t cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 0;
}

static size_t limit(const struct build *b)
{
	size_t n = b->settings->build.parallel;

	if (n == 0)
		n = cpus() < 2 ? 2 : cpus();
	return n < BUILD_MAX_WORKERS ? n : BUILD_MAX_WORKERS;
}

static size_t count_open(const struct build *b)
{
	size_t open = 0;

	for (size_t i = 0; i < b->plan.stage_count; i++)
		open += b->stages[i].plan->needed && !b->stages[i].is_over;
	return open;
}

int schedule_width(struct build *b, size_t *ret, struct err *err)
{
	*ret = 1;
	begin_again(b);
	if (count_open(b) == 1)
		return 0;
	int r = build_walk(b, WALK_LOOK, err);
	if (r < 0)
		return r;
	size_t open = count_open(b);
	if (open > 1 && !stages_are_sequence(b->stages, b->plan.stage_count))
		*ret = limit(b) < open ? limit(b) : open;
	return 0;
}

/* ---- network ---- */

static bool is_to_run(const struct build_step *step)
{
	return step->op->kind == PLAN_RUN && !step->cached &&
	       step->op->run->network == PLAN_NETWORK_DEFAULT;
}

/* The way out takes a while to come up: time for the steps before the first that runs. */
static void start_network(struct build *b, const struct build_stage *stage)
{
	for (size_t k = stage->next; k < stage->step_count && !b->has_network; k++)
		if (is_to_run(&stage->steps[k]))
			step_run_prepare(b);
}

/* ---- what workers tell ---- */

enum report_kind { STEP_STARTED, STEP_OVER, ENDED };

struct report {
	enum report_kind kind;
	uint32_t step;	   /* its number */
	struct digest key; /* STEP_OVER */
	struct err err;	   /* ENDED */
};

static void tell(const struct build *b, const struct report *report)
{
	/* A scheduler that has gone takes this process with it. */
	while (send(b->report, report, sizeof(*report), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

void schedule_tell_start(const struct build *b, const struct build_step *step)
{
	const struct report report = {.kind = STEP_STARTED, .step = step->number};

	if (b->report >= 0)
		tell(b, &report);
}

void schedule_tell_over(const struct build *b, const struct build_step *step)
{
	const struct report report = {.kind = STEP_OVER, .step = step->number, .key = step->key};

	if (b->report >= 0)
		tell(b, &report);
}

/* ---- a worker ---- */

struct worker {
	struct sandbox_box box;
	struct build_stage *stage; /* NULL: there is none */
	int reports;
	uint32_t step; /* what it makes now; 0: nothing */
};

struct schedule {
	struct build *b;
	struct worker workers[BUILD_MAX_WORKERS];
	size_t running;
};

struct job {
	struct schedule *schedule;
	size_t number;
	int report;
};

static int work_on(struct build *b, struct build_stage *stage, size_t number, struct err *err)
{
	char name[32];
	struct layer_store *layers = NULL;
	struct image_store *images = NULL;

	snprintf(name, sizeof(name), "worker-%zu", number);
	int r = sandbox_worker_enter(name, err);
	if (r == 0)
		r = store_open_in_box(b->store, &layers, &images, err);
	if (r < 0)
		return r;
	b->settings = store_settings(b->store);
	b->layers = layers;
	b->images = images;
	b->context_socket = b->server_sockets[number];
	start_network(b, stage);
	return stage_walk(b, stage, WALK_MAKE, err);
}

static int worker_main(void *arg)
{
	const struct job *job = arg;
	struct build *b = job->schedule->b;
	struct report end = {.kind = ENDED};

	b->report = job->report;
	if (work_on(b, job->schedule->workers[job->number].stage, job->number, &end.err) >= 0)
		err_clear(&end.err);
	tell(b, &end);
	return 0;
}

static int start_worker(
	struct schedule *s, size_t number, struct build_stage *stage, struct err *err)
{
	struct worker *w = &s->workers[number];
	struct job job = {.schedule = s, .number = number};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "make socket pair");
	*w = (struct worker){.stage = stage, .reports = fds[0]};
	job.report = fds[1];
	int r = sandbox_worker_start(worker_main, &job, &w->box, err);
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		w->stage = NULL;
		return r;
	}
	stage->in_work = true;
	s->running++;
	return 0;
}

static void forget(struct schedule *s, struct worker *w)
{
	close(w->reports);
	w->stage->in_work = false;
	w->stage = NULL;
	s->running--;
}

/* ---- the scheduler ---- */

/* What it told before it was killed: what it was at. */
static void hear_last(struct worker *w)
{
	struct report report;

	while (recv(w->reports, &report, sizeof(report), MSG_DONTWAIT) == (ssize_t)sizeof(report))
		w->step = report.kind == STEP_STARTED ? report.step : 0;
}

static void cancel_others(struct schedule *s)
{
	for (size_t i = 0; i < s->b->server_count; i++) {
		struct worker *w = &s->workers[i];
		if (!w->stage)
			continue;
		sandbox_box_kill(&w->box);
		hear_last(w);
		const struct build_event event = {.kind = BUILD_STEP_CANCELLED, .step = w->step};
		if (w->step)
			build_emit(s->b, &event);
		forget(s, w);
	}
}

/* Its last word was an error, or there was none. */
static int explain_end(struct worker *w, struct err *err)
{
	char text[64];
	int status;

	int r = sandbox_box_wait(&w->box, &status, err);
	return r < 0 ? r
		     : err_set(err, ERR_SYSTEM, "the process that made a stage %s",
			       command_status_text(text, status));
}

static int take_end(struct schedule *s, struct worker *w, const struct err *said, struct err *err)
{
	int status;

	w->step = 0;
	if (said->kind != ERR_NONE) {
		*err = *said;
		return -(int)said->kind;
	}
	int r = sandbox_box_wait(&w->box, &status, err);
	forget(s, w);
	return r;
}

static int hear(struct schedule *s, struct worker *w, struct err *err)
{
	struct report report;
	ssize_t n = recv(w->reports, &report, sizeof(report), 0);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n != (ssize_t)sizeof(report))
		return explain_end(w, err);
	if (report.kind == ENDED)
		return take_end(s, w, &report.err, err);
	w->step = report.kind == STEP_STARTED ? report.step : 0;
	if (report.kind == STEP_OVER)
		stage_step_over(w->stage, &report.key);
	return 0;
}

static int hear_all(struct schedule *s, struct err *err)
{
	struct pollfd fds[BUILD_MAX_WORKERS];
	size_t count = s->b->server_count;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){
			.fd = s->workers[i].stage ? s->workers[i].reports : -1, .events = POLLIN};
	if (poll(fds, (nfds_t)count, -1) < 0)
		return errno == EINTR ? 0 : err_sys(err, "poll");
	for (size_t i = 0; i < count && r == 0; i++)
		if (fds[i].revents)
			r = hear(s, &s->workers[i], err);
	return r;
}

/* What can begin without work of ours, begins. */
static int start_workers(struct schedule *s, struct err *err)
{
	struct build *b = s->b;
	int r = 0;

	for (size_t i = 0; i < b->plan.stage_count && r == 0; i++) {
		struct build_stage *stage = &b->stages[i];
		size_t number = 0;
		if (stage->in_work || !stage_can_go_on(b->stages, stage))
			continue;
		while (number < b->server_count && s->workers[number].stage)
			number++;
		if (number == b->server_count)
			break;
		r = start_worker(s, number, stage, err);
	}
	return r;
}

static int look(struct build *b, struct err *err)
{
	for (size_t i = 0; i < b->plan.stage_count; i++) {
		if (b->stages[i].in_work)
			continue;
		int r = stage_walk(b, &b->stages[i], WALK_LOOK, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_in_turn(struct build *b, struct err *err)
{
	b->context_socket = b->server_sockets[0];
	for (size_t i = 0; i < b->plan.stage_count; i++)
		start_network(b, &b->stages[i]);
	return build_walk(b, WALK_MAKE, err);
}

static int run(struct schedule *s, struct err *err)
{
	struct build *b = s->b;

	/* One server was started: known from outside to be a sequence, or to be made as one. */
	while (b->server_count > 1) {
		int r = look(b, err);
		if (r < 0)
			return r;
		if (!s->running && stages_are_sequence(b->stages, b->plan.stage_count))
			break;
		r = start_workers(s, err);
		if (r == 0)
			r = hear_all(s, err);
		if (r < 0)
			return r;
	}
	return make_in_turn(b, err);
}

int build_schedule(struct build *b, struct err *err)
{
	cleanup_free struct schedule *s = xcalloc(1, sizeof(*s));

	s->b = b;
	begin_again(b);
	int r = run(s, err);
	if (r < 0)
		cancel_others(s);
	return r;
}
