/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "os/clock.h"
#include "os/file.h"
#include "run/parent.h"

/*
 * The parent's side of a start, in the order in which it can fail: what is wanted, the port,
 * the instance's directory, the limits, the box; then the image.
 */

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)

enum { PIDS_MAX = 4096 };

/* ---- What is wanted ---- */

static bool is_env(const char *item)
{
	return item[0] != '=' && strchr(item, '=');
}

static int take_options(struct run *run, const struct run_options *options, struct err *err)
{
	struct run_options *o = &run->options;

	*o = *options;
	if (o->app_port == 0)
		return err_set(err, ERR_INPUT, "app_port 0 is not a port");
	for (size_t i = 0; i < o->env.count; i++)
		if (!is_env(o->env.items[i]))
			return err_set(err, ERR_INPUT, "variable %zu has no name", i + 1);
	if (!o->host_port)
		o->host_port = o->app_port;
	if (!o->start_timeout)
		o->start_timeout = 30 * MINUTE;
	if (!o->stop_timeout)
		o->stop_timeout = 10 * SECOND;
	if (!o->space)
		o->space = "";
	return 0;
}

/* ---- The instance ---- */

static uint64_t own_start_time(void)
{
	cleanup(buf_done) struct buf stat = {0};

	if (file_read(AT_FDCWD, "/proc/self/stat", 4096, &stat, NULL) < 0)
		return 0;
	return stat_start_time(buf_str(&stat));
}

static int make_instance(struct run *run, struct err *err)
{
	const struct sandbox_ids *ids = store_ids(run->store);
	const struct dir_owner owner = {ids->root_uid, ids->root_gid};
	char now[32];

	int r = instances_open(store_data(run->store), &run->runs, err);
	if (r == 0)
		r = instance_new(run->runs, ids->is_root ? &owner : NULL, &run->instance, err);
	if (r < 0)
		return r;
	struct run_instance *shown = &run->state.shown;
	memcpy(shown->id, run->instance.id, sizeof(shown->id));
	shown->space = run->options.space;
	shown->url = buf_text(&run->url);
	shown->stage = "BUILDING";
	shown->image_id = shown->health = shown->reason = shown->ended = "";
	shown->started = arena_strdup(&run->arena, clock_iso(now));
	shown->pid = getpid();
	run->state.pid_start = own_start_time();
	return instance_save(&run->instance, &run->state, err);
}

static int make_limits(struct run *run, struct err *err)
{
	char missing[256];
	const struct cgroup_limits limits = {.memory = run->options.memory,
		.pids = PIDS_MAX,
		.milli_cpus = run->options.milli_cpus};

	int r = cgroup_new(run->instance.id, &limits, &run->cgroup, missing, err);
	if (r < 0 || !*missing)
		return r;
	run->warning = arena_printf(&run->arena, "limits that do not hold here: %s", missing);
	return 0;
}

/* ---- The box ---- */

static int start_box(struct run *run, struct err *err)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, "make socket pair");
	run->socket = fds[0];
	cleanup_close int theirs = fds[1];
	run->job = (struct box_job){.store = run->store,
		.options = &run->options,
		.id = run->instance.id,
		.port = run->port,
		.log_dir = run->instance.log,
		.channel = theirs,
		.outside = run->socket,
		.cgroup = run->cgroup};
	const struct sandbox_box_options options = {.ids = store_ids(run->store),
		.scratch = store_scratch(run->store),
		.main = box_main,
		.arg = &run->job};
	return sandbox_box_start(&options, &run->box, err);
}

static int add_fd(struct run *run, int fd, struct err *err)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? err_sys(err, "watch") : 0;
}

static int watch(struct run *run, struct err *err)
{
	int log_fd;

	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	/* Readable at first: a warning may be there before anything else. */
	run->wake = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (run->epoll < 0 || run->wake < 0)
		return err_sys(err, "watch");
	int r = journal_reader_open(run->instance.log, INSTANCE_LOG, -1, &run->log, err);
	if (r == 0)
		r = journal_reader_watch(run->log, &log_fd, err);
	if (r == 0)
		r = add_fd(run, log_fd, err);
	if (r == 0)
		r = add_fd(run, run->wake, err);
	return r == 0 ? add_fd(run, run->socket, err) : r;
}

static int open_port(struct run *run, struct err *err)
{
	const struct run_options *o = &run->options;

	int r = host_port_open(o->listen, o->host_port, o->host_port_fixed, &run->port, err);
	if (r == 0)
		host_port_url(o->listen, run->port.port, &run->url);
	return r;
}

static int prepare(struct run *run, const struct settings *settings,
	const struct run_options *options, struct err *err)
{
	int r = take_options(run, options, err);

	if (r == 0)
		r = store_open(settings, &run->store, err);
	if (r == 0)
		r = store_lease_new(run->store, &run->lease, err); /* the box inherits it */
	if (r == 0)
		r = open_port(run, err);
	if (r == 0)
		r = store_prepare_box(run->store, err);
	if (r == 0)
		r = make_instance(run, err);
	if (r == 0)
		r = make_limits(run, err);
	if (r == 0)
		r = start_box(run, err);
	/* The box has its own: the port is to be free as soon as it has ended. */
	host_port_close(&run->port);
	return r == 0 ? watch(run, err) : r;
}

int run_prepare(const struct settings *settings, const struct run_options *options,
	struct run **ret, struct err *err)
{
	cleanup(run_free) struct run *run = xcalloc(1, sizeof(*run));

	run->runs = run->socket = run->epoll = run->wake = -1;
	run->instance = (struct instance){.dir = -1, .log = -1, .lock = -1};
	run->box.pidfd = -1;
	int r = prepare(run, settings, options, err);
	if (r < 0)
		return r;
	*ret = take_ptr(run);
	return 0;
}

/* A box that has ended by now has said why: run_next() tells it. */
static void order_image(struct run *run, const char *id)
{
	cleanup(buf_done) struct buf order = {0};

	buf_add_char(&order, ORDER_IMAGE);
	buf_add_text(&order, id);
	while (send(run->socket, order.data, order.len, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* What was found may have gone before it was named. */
static int keep_image(struct run *run, struct store *store, const char *id,
	const struct run_image *image, struct err *err)
{
	struct digest digest;

	if (!digest_parse(str_of(id), &digest))
		return err_set(err, ERR_BUG, "%s is no image id", id);
	int r = store_lease_image(run->lease, &digest, err);
	if (r == 0)
		r = store_lease_layers(run->lease, store_layers(store), image->chain, err);
	if (r == STORE_E_ABSENT)
		return err_set(err, ERR_MISSING, "layers of image %s were just removed", id);
	return r;
}

/* In a store that is opened for it: that of the run may be older than any layer. */
static int look_for_image(struct run *run, const char *id, struct err *err)
{
	cleanup(store_free) struct store *store = NULL;
	struct run_image image = {0};

	int r = store_open(store_settings(run->store), &store, err);
	if (r == 0)
		r = run_image_find(
			store_layers(store), store_images(store), &run->arena, id, &image, err);
	return r < 0 ? r : keep_image(run, store, id, &image, err);
}

int run_begin(struct run *run, const char *image_id, struct err *err)
{
	struct run_instance *shown = &run->state.shown;
	char now[32];

	run->started = clock_now();
	int r = look_for_image(run, image_id, err);
	if (r < 0)
		return r;
	run->has_begun = true;
	order_image(run, image_id);
	shown->image_id = arena_strdup(&run->arena, image_id);
	shown->stage = "APP_STARTING";
	shown->started = arena_strdup(&run->arena, clock_iso(now));
	return instance_save(&run->instance, &run->state, err);
}

int run_start(const struct settings *settings, const struct run_options *options,
	const char *image_id, struct run **ret, struct err *err)
{
	cleanup(run_free) struct run *run = NULL;

	int r = run_prepare(settings, options, &run, err);
	if (r == 0)
		r = run_begin(run, image_id, err);
	if (r < 0)
		return r;
	*ret = take_ptr(run);
	return 0;
}
