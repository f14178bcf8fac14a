/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/attr.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/dir.h"
#include "os/file.h"
#include "os/lock.h"
#include "run/internal.h"

enum { STATE_MAX = 64 * 1024, INSTANCES_MAX = 10000 };

#define KILLED "its process was killed"

static int open_runs(const struct settings *settings, int *ret_fd, struct err *err)
{
	cleanup_close int data = settings_open_data(settings, err);

	return data < 0 ? data : instances_open(data, ret_fd, err);
}

/* ---- One instance ---- */

/* Nobody holds the lock: it has ended. Then *ret_lock holds it, shared. */
static int has_ended(int dir, int *ret_lock, struct err *err)
{
	int r = lock_take(dir, "lock", LOCK_SHARED, false, ret_lock, err);

	return r < 0 ? r : r == 0;
}

/*
 * 1: ret is filled; 0: not an instance. What its process could not write any more, because it
 * was killed, is put right in ret, which then has no time of its end.
 */
static int load(int dir, struct arena *a, struct state *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	cleanup_close int lock = -1;

	if (file_read(dir, "state", STATE_MAX, &text, NULL) < 0)
		return 0;
	if (!state_parse(a, buf_str(&text), ret))
		return 0;
	int ended = has_ended(dir, &lock, err);
	if (ended < 0)
		return ended;
	if (ended && ret->shown.pid) {
		ret->shown.stage = "STOPPED";
		ret->shown.reason = KILLED;
		ret->shown.pid = 0;
	}
	return 1;
}

static int load_named(
	int runs, const char *name, struct arena *a, struct state *ret, struct err *err)
{
	if (!instance_is_id(str_of(name)))
		return 0;
	cleanup_close int dir = dir_open_beneath(runs, name, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return err->kind == ERR_MISSING ? 0 : dir;
	int r = load(dir, a, ret, err);
	return r < 0 ? err_wrap(err, "run/%s", name) : r;
}

/* ---- All ---- */

struct instances {
	struct state *items;
	size_t count, cap;
};

static int newest_first(const void *a, const void *b)
{
	const struct state *x = a, *y = b;

	return strcmp(y->shown.started, x->shown.started);
}

static DIR *open_dir(int runs, struct err *err)
{
	cleanup_close int fd = openat(runs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		(void)err_sys(err, "read run in the state directory");
	else
		(void)take_fd(&fd);
	return d;
}

static int load_all(
	int runs, struct arena *a, bool ended_too, struct instances *ret, struct err *err)
{
	struct dirent *entry;
	cleanup_closedir DIR *d = open_dir(runs, err);

	if (!d)
		return -(int)err->kind;
	while ((entry = readdir(d)) && ret->count < INSTANCES_MAX) {
		struct state state;
		int r = load_named(runs, entry->d_name, a, &state, err);
		if (r < 0)
			return r;
		if (r == 0 || (!state.shown.pid && !ended_too))
			continue;
		ret->items = arena_grow(a, ret->items, ret->count, &ret->cap, sizeof(state));
		ret->items[ret->count++] = state;
	}
	if (ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), newest_first);
	return 0;
}

int run_list(const struct settings *settings, struct arena *a, bool all, struct run_list *ret,
	struct err *err)
{
	struct instances found = {0};
	cleanup_close int runs = -1;

	int r = open_runs(settings, &runs, err);
	if (r == 0)
		r = load_all(runs, a, all, &found, err);
	if (r < 0)
		return r;
	ret->items = arena_array(a, found.count, sizeof(*ret->items));
	ret->count = found.count;
	for (size_t i = 0; i < found.count; i++)
		ret->items[i] = found.items[i].shown;
	return 0;
}

static bool is_named(const struct run_instance *instance, struct str text)
{
	enum { PREFIX_MIN = 3 };
	struct str space = str_of(instance->space);

	if (text.n >= PREFIX_MIN && str_starts(str_of(instance->id), text))
		return true;
	/* "name" is enough of "owner/name". */
	return str_eq(space, text) || str_eq(str_from_index(space, str_find(space, '/') + 1), text);
}

static int none_found(const struct instances *all, const char *text, struct err *err)
{
	cleanup(buf_done) struct buf names = {0};

	for (size_t i = 0; i < all->count && i < 5; i++)
		buf_printf(&names, "%s%s (%s)", i ? ", " : "", all->items[i].shown.id,
			all->items[i].shown.space);
	(void)err_set(err, ERR_MISSING, "no instance %s", text);
	if (all->count == 0)
		return err_hint(err, "nothing runs: spaceport run starts a Space");
	return err_hint(err, "there is %s", buf_text(&names));
}

int run_find(const struct settings *settings, struct arena *a, const char *text,
	struct run_instance *ret, struct err *err)
{
	struct instances all = {0};
	cleanup_close int runs = -1;

	int r = open_runs(settings, &runs, err);
	if (r == 0)
		r = load_all(runs, a, true, &all, err);
	if (r < 0)
		return r;
	const struct state *found = NULL;
	for (size_t i = 0; i < all.count; i++) {
		const struct state *here = &all.items[i];
		/* The newest; but one that runs before all that have ended. */
		if (is_named(&here->shown, str_of(text)) &&
			(!found || (!found->shown.pid && here->shown.pid)))
			found = here;
	}
	if (!found)
		return none_found(&all, text, err);
	*ret = found->shown;
	return 0;
}

/* ---- Stopping ---- */

/*
 * A descriptor of the process, if it is the one that the state speaks of: its number could
 * be another one's by now. -1: it has ended.
 */
static int open_process(const struct state *state)
{
	cleanup(buf_done) struct buf stat = {0};
	char path[64];
	cleanup_close int fd = pidfd_open(state->shown.pid, 0);

	if (fd < 0)
		return -1;
	/* Read after the descriptor was made: the same process, or none. */
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)state->shown.pid);
	if (file_read(AT_FDCWD, path, 4096, &stat, NULL) < 0 ||
		stat_start_time(buf_str(&stat)) != state->pid_start)
		return -1;
	return take_fd(&fd);
}

static bool wait_for_end(int pidfd, int64_t timeout)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int64_t deadline = clock_now() + timeout;

	for (;;) {
		int64_t left = deadline - clock_now();
		int n = poll(&p, 1, left > 0 ? (int)(left / 1000000) + 1 : 0);
		if (n != 0 && !(n < 0 && errno == EINTR))
			return n > 0;
		if (left <= 0)
			return false;
	}
}

/* The box ends a moment after the process: the instance has ended when nobody holds its lock. */
static int wait_for_lock(int dir, const char *id, struct err *err)
{
	int64_t deadline = clock_now() + (int64_t)5 * 1000000000;

	for (;;) {
		cleanup_close int lock = -1;
		int ended = has_ended(dir, &lock, err);
		if (ended != 0)
			return ended < 0 ? ended : 0;
		if (clock_now() > deadline)
			return err_set(err, ERR_BUSY, "instance %s does not end", id);
		usleep(5000); /* locks have no descriptor that could be waited for */
	}
}

static int signal_process(int pidfd, int sig, const char *id, struct err *err)
{
	if (pidfd_send_signal(pidfd, sig, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(err, "signal instance %s", id);
	return 0;
}

int run_instance_stop(const struct settings *settings, const struct run_instance *instance,
	int64_t timeout, struct err *err)
{
	enum { KILL_SECONDS = 5 };
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int runs = -1;
	struct state state = {0};

	int r = open_runs(settings, &runs, err);
	if (r == 0)
		r = load_named(runs, instance->id, &a, &state, err);
	if (r < 0)
		return r;
	if (r == 0 || !state.shown.pid)
		return err_set(err, ERR_MISSING, "instance %s has ended", instance->id);
	cleanup_close int dir =
		dir_open_beneath(runs, instance->id, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return dir;
	cleanup_close int pidfd = open_process(&state);
	if (pidfd < 0)
		return wait_for_lock(dir, instance->id, err);
	r = signal_process(pidfd, SIGTERM, instance->id, err);
	if (r == 0 && !wait_for_end(pidfd, timeout)) {
		r = signal_process(pidfd, SIGKILL, instance->id, err);
		(void)wait_for_end(pidfd, (int64_t)KILL_SECONDS * 1000000000); /* the lock tells */
	}
	return r < 0 ? r : wait_for_lock(dir, instance->id, err);
}

/* ---- Sweeping ---- */

/* Tell what became of it, so that later readers need not conclude it from the lock. */
static int settle(int runs, struct state *state, struct err *err)
{
	struct instance instance = {.dir = -1, .log = -1, .lock = -1};
	char now[32];

	memcpy(instance.id, state->shown.id, sizeof(instance.id));
	cleanup_close int dir = dir_open_beneath(runs, instance.id, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return dir;
	instance.dir = dir;
	state->shown.ended = clock_iso(now);
	return instance_save(&instance, state, err);
}

static int sweep_ended(int runs, struct instances *all, unsigned keep, struct err *err)
{
	unsigned kept = 0;
	int r = 0;

	for (size_t i = 0; i < all->count && r == 0; i++) {
		struct state *state = &all->items[i];
		if (state->shown.pid)
			continue;
		if (kept++ >= keep)
			r = dir_remove_tree(runs, state->shown.id, err);
		else if (!*state->shown.ended)
			r = settle(runs, state, err);
	}
	return r;
}

/* Without a state and without a lock: left by a crash while it was made. */
static int sweep_unfinished(int runs, const char *name, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int lock = -1;
	struct state state;

	if (!instance_is_id(str_of(name)) || load_named(runs, name, &a, &state, err) != 0)
		return 0;
	cleanup_close int dir = dir_open_beneath(runs, name, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return err->kind == ERR_MISSING ? 0 : dir;
	int ended = has_ended(dir, &lock, err);
	return ended == 1 ? dir_remove_tree(runs, name, err) : ended;
}

static int sweep_all_unfinished(int runs, struct err *err)
{
	struct dirent *entry;
	cleanup_closedir DIR *d = open_dir(runs, err);
	int r = 0;

	if (!d)
		return -(int)err->kind;
	while (r == 0 && (entry = readdir(d)))
		r = sweep_unfinished(runs, entry->d_name, err);
	return r;
}

int run_sweep(const struct settings *settings, unsigned keep, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct instances all = {0};
	cleanup_close int runs = -1;
	cleanup_close int whole = -1;

	cgroup_sweep();
	int r = open_runs(settings, &runs, err);
	if (r == 0)
		r = instances_lock(runs, &whole, err);
	if (r == 0)
		r = load_all(runs, &a, true, &all, err);
	if (r == 0)
		r = sweep_ended(runs, &all, keep, err);
	return r == 0 ? sweep_all_unfinished(runs, err) : r;
}
