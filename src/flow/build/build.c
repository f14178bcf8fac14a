/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "build/internal.h"
#include "os/clock.h"
#include "os/command.h"

void build_done(struct build *b)
{
	remote_done(b);
	for (size_t i = 0; i < b->selection_count; i++)
		tree_selection_free(b->selections[i]);
	free(b->selections);
	for (size_t i = 0; b->secrets && i < b->options->secret_count; i++) {
		struct buf *value = &b->secrets[i].value;
		if (value->data)
			explicit_bzero(value->data, value->cap);
		buf_done(value);
	}
	build_close_contexts(b);
	cgroup_free(b->cgroup);
	store_lease_free(b->lease);
	store_free(b->store);
	buf_done(&b->dockerfile_text);
	arena_done(&b->arena);
}

int build_open(struct build *b, const struct settings *settings,
	const struct build_options *options, struct err *err)
{
	b->options = options;
	b->settings = settings;
	b->context_socket = b->agent_socket = b->report = -1;
	b->downloads = b->downloads_lock = -1;
	int r = store_open(settings, &b->store, err);
	if (r < 0)
		return r;
	b->layers = store_layers(b->store);
	b->images = store_images(b->store);
	return b->plan_only ? 0 : store_lease_new(b->store, &b->lease, err);
}

/* ---- context servers: this user's rights, for the box to ask ---- */

struct servers {
	pid_t pids[BUILD_MAX_WORKERS];
	size_t count;
	pid_t agents; /* leads a group of processes; 0: there are none */
};

/* A feed keeps its server busy to the end: each worker has one of its own. */
static int start_server(struct build *b, struct servers *servers, struct err *err)
{
	int fds[2];

	int r = tree_socket_pair(fds, err);
	if (r < 0)
		return r;
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0) {
		struct err unused = {0};
		close(fds[1]);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		(void)signal(SIGINT, SIG_IGN); /* the parent decides what ^C means */
		const struct tree_selection *const *selections =
			(const struct tree_selection *const *)b->selections;
		_exit(tree_serve(fds[0], selections, b->selection_count, &unused) < 0);
	}
	close(fds[0]);
	b->server_sockets[b->server_count++] = fds[1];
	if (pid < 0)
		return err_sys(err, "fork");
	servers->pids[servers->count++] = pid;
	return 0;
}

static int start_servers(struct build *b, struct servers *ret, struct err *err)
{
	size_t width;

	int r = schedule_width(b, &width, err);
	for (size_t i = 0; i < width && r == 0; i++)
		r = start_server(b, ret, err);
	return r;
}

/* One for all workers: it answers nothing. It needs no descriptor of this process's. */
static int start_agent_server(struct build *b, struct servers *servers, struct err *err)
{
	enum { ITS_SOCKET = 3 };
	int fds[2];

	if (!b->options->agent_count)
		return 0;
	int r = tree_socket_pair(fds, err);
	if (r < 0)
		return r;
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)setpgid(0, 0);
		if (getppid() != parent || (fds[0] != ITS_SOCKET && dup2(fds[0], ITS_SOCKET) < 0) ||
			close_range(ITS_SOCKET + 1, ~0U, 0) < 0)
			_exit(1);
		agents_serve(ITS_SOCKET, b->options->agents, b->options->agent_count);
	}
	close(fds[0]);
	b->agent_socket = fds[1];
	if (pid < 0)
		return err_sys(err, "fork");
	(void)setpgid(pid, pid); /* whoever comes first */
	servers->agents = pid;
	return 0;
}

static void stop_servers(struct servers *servers)
{
	struct err unused = {0};
	int status;

	if (servers->agents) {
		(void)kill(-servers->agents, SIGKILL);
		ignored(command_wait(servers->agents, &status, &unused));
	}
	for (size_t i = 0; i < servers->count; i++) {
		(void)kill(servers->pids[i], SIGKILL); /* it may have ended with its socket */
		ignored(command_wait(servers->pids[i], &status, &unused));
	}
}

/* ---- in the box ---- */

/* Beside the build: what makes earlier layers durable, and what clears the trash. */
static void start_housekeeping(struct build *b)
{
	enum { SYNC_AGE = 30 };
	struct err unused = {0};

	if (fork() != 0)
		return; /* it ends with the box; without it a later build does the work */
	ignored(layer_sync(b->layers, SYNC_AGE, &unused));
	ignored(layer_tidy(b->layers, &unused));
	_exit(0);
}

static int build_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct build *b = arg;
	struct layer_store *layers;
	struct image_store *images;

	int r = store_open_in_box(b->store, &layers, &images, err);
	if (r < 0)
		return r;
	b->settings = store_settings(b->store);
	b->layers = layers;
	b->images = images;
	b->channel = channel;
	start_housekeeping(b);
	r = build_schedule(b, err);
	if (r == 0)
		r = build_finish(b, err);
	if (r == 0)
		build_emit_text(b, BUILD_IMAGE, str_of(b->image_id));
	/* The stores close with the process. */
	return r;
}

/* ---- outside ---- */

static void hear(void *arg, struct str message)
{
	struct build *b = arg;
	struct build_event event;

	if (!event_parse(message, &event))
		return;
	if (event.kind == BUILD_IMAGE)
		snprintf(b->image_id, sizeof(b->image_id), "%.*s", STR_ARG(event.text));
	if (event.kind == BUILD_STEP_DONE && event.cached)
		b->cached_count++;
	build_emit(b, &event);
}

static void tick(void *arg)
{
	const struct build_event event = {.kind = BUILD_TICK};

	build_emit(arg, &event);
}

static void close_box_ends(void *arg)
{
	struct build *b = arg;

	while (b->server_count)
		close(b->server_sockets[--b->server_count]);
	if (b->agent_socket >= 0)
		close(take_fd(&b->agent_socket));
}

static int make_cgroup(struct build *b, struct err *err)
{
	const struct cgroup_limits limits = {.memory = b->settings->build.memory,
		.pids = b->settings->build.pids,
		.milli_cpus = b->settings->build.milli_cpus};
	char missing[256];

	cgroup_sweep();
	int r = cgroup_new("build", &limits, &b->cgroup, missing, err);
	if (r == 0 && missing[0]) {
		const char *text = arena_printf(
			&b->arena, "limits that this host does not enforce: %s", missing);
		build_emit_text(b, BUILD_WARNING, str_of(text));
	}
	return r;
}

static int run_box(struct build *b, int64_t start, struct err *err)
{
	struct servers servers = {0};
	const struct sandbox_work work = {.ids = store_ids(b->store),
		.scratch = store_scratch(b->store),
		.work = build_in_box,
		.on_message = hear,
		.on_started = close_box_ends,
		.on_tick = tick,
		.arg = b,
		.cancel_fd = b->options->cancel_fd,
		.deadline = b->settings->build.timeout ? start + b->settings->build.timeout : 0};

	int r = make_cgroup(b, err);
	if (r == 0)
		r = start_servers(b, &servers, err);
	if (r == 0)
		r = start_agent_server(b, &servers, err);
	b->cached_count = 0;
	if (r == 0)
		r = sandbox_work_run(&work, err);
	stop_servers(&servers);
	close_box_ends(b);
	return r == -ERR_LIMIT ? err_wrap(err, "build") : r;
}

/* Nothing had to be done: tell it as it would have been told. */
static void emit_all_cached(struct build *b)
{
	for (size_t i = 0; i < b->plan.stage_count; i++) {
		const struct build_stage *stage = &b->stages[i];
		for (size_t k = 0; k < stage->step_count; k++) {
			cleanup(buf_done) struct buf name = {0};
			plan_op_print(stage->plan, stage->steps[k].op, &name);
			struct build_event event = {.kind = BUILD_STEP_START,
				.step = stage->steps[k].number,
				.cached = true,
				.name = buf_str(&name)};
			build_emit(b, &event);
			event.kind = BUILD_STEP_DONE;
			build_emit(b, &event);
		}
	}
	build_emit_text(b, BUILD_IMAGE, str_of(b->image_id));
}

static void emit_planned(struct build *b)
{
	size_t needed = 0;

	for (size_t i = 0; i < b->plan.stage_count; i++)
		needed += b->plan.stages[i].needed;
	const char *text = arena_printf(&b->arena, "%u step%s, %zu stage%s", b->step_count,
		b->step_count == 1 ? "" : "s", needed, needed == 1 ? "" : "s");
	const struct build_event event = {
		.kind = BUILD_PLANNED, .total = b->step_count, .text = str_of(text)};
	build_emit(b, &event);
}

static int build_or_find(struct build *b, int64_t start, struct err *err)
{
	int r = build_prepare(b, err);

	if (r == 0)
		r = remote_ask(b, err);
	if (r == 0)
		r = build_walk(b, WALK_PLAN, err);
	if (r < 0)
		return r;
	emit_planned(b);
	bool whole = b->cached_count == b->step_count && b->stages[b->plan.target].is_over;
	r = whole ? build_finish(b, err) : BUILD_E_UNSAVED;
	if (r == 0)
		emit_all_cached(b);
	if (r != BUILD_E_UNSAVED)
		return r;
	r = remote_bring(b, err);
	if (r == 0)
		r = store_prepare_box(b->store, err);
	return r < 0 ? r : run_box(b, start, err);
}

/* The image is there: that its layers may be collected some day is no reason to fail. */
static void keep_newest(struct build *b)
{
	cleanup_free char *context = realpath(b->options->dir, NULL);

	if (context)
		ignored(store_lease_keep(b->store, b->lease, context, NULL));
}

int build_run(const struct settings *settings, const struct build_options *options,
	struct build_result *ret, struct err *err)
{
	cleanup(build_done) struct build b = {0};
	int64_t start = clock_now();

	int r = build_open(&b, settings, options, err);
	if (r == 0)
		r = build_or_find(&b, start, err);
	if (r < 0)
		return r;
	keep_newest(&b);
	*ret = (struct build_result){
		.steps = b.step_count, .cached = b.cached_count, .duration = clock_now() - start};
	snprintf(ret->image_id, sizeof(ret->image_id), "%s", b.image_id);
	return 0;
}

int build_plan(const struct settings *settings, const struct build_options *options, bool json,
	struct buf *ret, struct err *err)
{
	cleanup(build_done) struct build b = {.plan_only = true};

	int r = build_open(&b, settings, options, err);
	if (r == 0)
		r = build_prepare(&b, err);
	if (r == 0)
		r = build_walk(&b, WALK_PLAN, err);
	if (r == 0 && json)
		build_print_json(&b, ret);
	else if (r == 0)
		build_print_plan(&b, ret);
	return r;
}
