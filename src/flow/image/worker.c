/* SPDX-License-Identifier: Apache-2.0 */
#include "image/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/command.h"

enum {
	DEFAULT_PARALLEL = 3,
	MAX_PARALLEL = 16,
	TELL_MS = 100,
	POLL_MS = 200,
	END_MS = 5000, /* for processes that were killed to be gone */
};

#define DEFAULT_UNPACKED_BYTES ((uint64_t)128 << 30)
#define DEFAULT_RATIO	       200

/* What a worker sends: progress, and at its end its result. */
struct report {
	uint32_t index;
	uint32_t phase;
	uint64_t done;
	bool is_result;
	int result;
	struct err err;
	struct layer_outcome outcome;
};

struct slot {
	size_t index;
	pid_t pid;
	int pidfd; /* -1: free */
	bool has_reported;
};

struct crew {
	const struct worker_crew *plan;
	int reports[2]; /* ours, the workers' */
	struct slot slots[MAX_PARALLEL];
	size_t slot_count;
	size_t next, finished;
	struct err failure; /* the first one; kind is ERR_NONE while all is well */
};

/* ---- In a worker ---- */

static void send_report(const struct worker *worker, const struct report *report)
{
	/* A parent that is gone takes us with it. */
	if (send(worker->reports, report, sizeof(*report), MSG_NOSIGNAL) < 0 && errno == EPIPE)
		_exit(1);
}

void worker_tell(struct worker *worker, enum image_phase phase, uint64_t done)
{
	int64_t now = clock_now();

	bool is_between = phase == IMAGE_UPLOAD ||
			  (phase == IMAGE_DOWNLOAD && done < worker->job->blob->size);

	if (is_between && now - worker->reported < TELL_MS * INT64_C(1000000))
		return;
	worker->reported = now;
	send_report(worker,
		&(struct report){.index = (uint32_t)worker->index, .phase = phase, .done = done});
}

struct unpacking_options worker_unpacking(const struct worker *worker)
{
	const struct image_source *source = worker->transfer->source;

	return (struct unpacking_options){
		.sink = worker->transfer->sink,
		.diff_id = &worker->job->diff_id,
		.kind = worker->job->kind,
		.max_bytes = source->limits.unpacked_bytes ? source->limits.unpacked_bytes
							   : DEFAULT_UNPACKED_BYTES,
		.ratio = source->limits.ratio ? source->limits.ratio : DEFAULT_RATIO,
	};
}

static void set_signals(void)
{
	struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigset_t none;

	/* The caller's handlers speak of the caller's things. */
	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &by_default, NULL); /* SIGKILL and SIGSTOP refuse */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

noreturn_fn static void run_worker(struct crew *crew, size_t index, pid_t parent)
{
	struct worker worker = {.job = &crew->plan->jobs[index],
		.transfer = crew->plan->transfer,
		.index = index,
		.reports = crew->reports[1]};
	struct report report = {.index = (uint32_t)index, .is_result = true};

	close(crew->reports[0]);
	set_signals();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	report.result = crew->plan->work(crew->plan->arg, &worker, &report.err);
	report.outcome = worker.outcome;
	send_report(&worker, &report);
	_exit(0);
}

/* ---- In the caller ---- */

static int start_worker(struct crew *crew, struct slot *slot, size_t index, struct err *err)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return err_sys(
			err, "start a process for layer %zu", crew->plan->jobs[index].layer + 1);
	if (pid == 0)
		run_worker(crew, index, parent);
	int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		int r = err_sys(
			err, "watch the process of layer %zu", crew->plan->jobs[index].layer + 1);
		kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0); /* killed, so it ends; nothing is to be told */
		return r;
	}
	*slot = (struct slot){.index = index, .pid = pid, .pidfd = pidfd};
	return 0;
}

static void tell(const struct crew *crew, const struct report *report)
{
	const struct worker_crew *plan = crew->plan;
	const struct image_watcher *watcher = &plan->transfer->watcher;
	const struct layer_job *job = &plan->jobs[report->index];
	const struct image_progress progress = {.image = plan->image,
		.phase = (enum image_phase)report->phase,
		.layer = job->blob->digest,
		.index = job->layer,
		.count = plan->layer_count,
		.done = report->done,
		.total = job->blob->size,
		.text = ""};

	if (watcher->on_progress)
		watcher->on_progress(watcher->arg, &progress);
}

static void take_result(struct crew *crew, const struct report *report)
{
	char digest[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pidfd >= 0 && crew->slots[i].index == report->index)
			crew->slots[i].has_reported = true;
	if (report->result == 0) {
		crew->finished++;
		if (crew->plan->outcomes)
			crew->plan->outcomes[report->index] = report->outcome;
		tell(crew, &(struct report){.index = report->index,
				   .phase = report->outcome.how ? report->outcome.how : IMAGE_DONE,
				   .done = crew->plan->jobs[report->index].blob->size});
	} else if (crew->failure.kind == ERR_NONE) {
		crew->failure = report->err;
		(void)err_wrap(&crew->failure, "layer %zu (%.19s)",
			crew->plan->jobs[report->index].layer + 1,
			digest_text(&crew->plan->jobs[report->index].blob->digest, digest));
	}
}

static void take_reports(struct crew *crew)
{
	struct report report;

	while (recv(crew->reports[0], &report, sizeof(report), MSG_DONTWAIT) ==
		(ssize_t)sizeof(report)) {
		if (report.is_result)
			take_result(crew, &report);
		else
			tell(crew, &report);
	}
}

static void end_slot(struct crew *crew, struct slot *slot)
{
	int status = 0;
	char text[64];

	close(slot->pidfd);
	slot->pidfd = -1;
	int r = command_wait(slot->pid, &status, &crew->failure);
	if (r == 0 && !slot->has_reported && crew->failure.kind == ERR_NONE)
		(void)err_set(&crew->failure, ERR_SYSTEM, "the process of layer %zu %s",
			crew->plan->jobs[slot->index].layer + 1, command_status_text(text, status));
}

static void watch(struct crew *crew)
{
	struct pollfd fds[MAX_PARALLEL + 1] = {{.fd = crew->reports[0], .events = POLLIN}};

	for (size_t i = 0; i < crew->slot_count; i++)
		fds[i + 1] = (struct pollfd){.fd = crew->slots[i].pidfd, .events = POLLIN};
	if (poll(fds, crew->slot_count + 1, POLL_MS) <= 0)
		return;
	/* A worker reports before it ends, so what it said is here when its end is seen. */
	take_reports(crew);
	for (size_t i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pidfd >= 0 && fds[i + 1].revents)
			end_slot(crew, &crew->slots[i]);
}

static int fill_slots(struct crew *crew, struct err *err)
{
	for (size_t i = 0; i < crew->slot_count; i++) {
		if (crew->slots[i].pidfd >= 0 || crew->next == crew->plan->count)
			continue;
		int r = start_worker(crew, &crew->slots[i], crew->next, err);
		if (r < 0)
			return r;
		crew->next++;
	}
	return 0;
}

/*
 * Kill what runs. Each worker's children die with it, but not in the same instant: all of them
 * hold the reports' other end, so its end of file says that they are gone.
 */
static void end_all(struct crew *crew)
{
	char rest[sizeof(struct report)];
	int64_t deadline = clock_now() + END_MS * INT64_C(1000000);

	for (size_t i = 0; i < crew->slot_count; i++) {
		if (crew->slots[i].pidfd < 0)
			continue;
		kill(crew->slots[i].pid, SIGKILL);
		close(crew->slots[i].pidfd);
		(void)waitpid(crew->slots[i].pid, NULL, 0); /* killed: it has nothing to say */
	}
	close(crew->reports[1]);
	while (clock_now() < deadline) {
		struct pollfd fd = {.fd = crew->reports[0], .events = POLLIN};
		if (poll(&fd, 1, POLL_MS) > 0 && recv(fd.fd, rest, sizeof(rest), 0) == 0)
			break;
	}
	close(crew->reports[0]);
}

static int run(struct crew *crew, struct err *err)
{
	const struct image_watcher *watcher = &crew->plan->transfer->watcher;

	while (crew->finished < crew->plan->count) {
		int r = fill_slots(crew, err);
		if (r < 0)
			return r;
		watch(crew);
		if (crew->failure.kind != ERR_NONE) {
			*err = crew->failure;
			return -(int)err->kind;
		}
		if (watcher->is_cancelled && watcher->is_cancelled(watcher->arg))
			return err_set(err, ERR_CANCELLED, "stopped");
	}
	return 0;
}

int workers_run(const struct worker_crew *plan, struct err *err)
{
	struct crew crew = {.plan = plan, .slot_count = plan->transfer->source->parallel};

	if (!plan->count)
		return 0;
	if (!crew.slot_count)
		crew.slot_count = DEFAULT_PARALLEL;
	if (crew.slot_count > MAX_PARALLEL)
		crew.slot_count = MAX_PARALLEL;
	for (size_t i = 0; i < MAX_PARALLEL; i++)
		crew.slots[i].pidfd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, crew.reports) < 0)
		return err_sys(err, "make socket pair");
	int r = run(&crew, err);
	end_all(&crew);
	return r;
}
