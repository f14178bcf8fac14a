/* SPDX-License-Identifier: Apache-2.0 */
#include "os/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/number.h"
#include "os/clock.h"
#include "os/file.h"

/*
 * A limit is a controller; on version 1 each controller is a hierarchy of its own (or
 * shares one, "cpu,cpuacct"), on version 2 all are files of one directory.
 */
enum controller { MEMORY, PIDS, CPU, CONTROLLER_COUNT };

/* A group's name holds the id of the process that made it, so that a sweep knows the dead. */
#define PREFIX "spaceport-"

static const char *const controller_names[] = {"memory", "pids", "cpu"};

struct hierarchy {
	char *dir; /* this process's own group in it, as a path */
	char *top; /* its mount point */
	bool is_v2;
	bool has[CONTROLLER_COUNT];
};

enum { MAX_HIERARCHIES = 16 };

struct hierarchies {
	struct hierarchy items[MAX_HIERARCHIES];
	size_t count;
};

struct member {
	int parent; /* directory that holds the group */
	int dir;
	int procs;
	bool is_v2;
	bool has[CONTROLLER_COUNT];
};

struct cgroup {
	char *name;
	struct member members[MAX_HIERARCHIES];
	size_t count;
	uint64_t user_pids; /* no group limits processes: each user of a member has so many */
};

static void hierarchies_done(struct hierarchies *all)
{
	for (size_t i = 0; i < all->count; i++) {
		free(all->items[i].dir);
		free(all->items[i].top);
	}
	all->count = 0;
}
DEFINE_CLEANUP_VALUE(struct hierarchies, hierarchies_done);

static bool list_has(struct str list, char sep, const char *word)
{
	while (list.p)
		if (str_is(str_trim(str_cut(&list, sep)), word))
			return true;
	return false;
}

static bool wants_any(const struct hierarchy *h)
{
	return h->is_v2 || h->has[MEMORY] || h->has[PIDS] || h->has[CPU];
}

/*
 * A line of mountinfo: "36 35 98:0 /root /mount/point options - type source superoptions".
 * The part before the root is skipped, what is bound from inside a hierarchy is not ours.
 */
static void add_mount(struct hierarchies *all, struct str line)
{
	struct str field[6], rest = line;
	struct hierarchy h = {0};

	for (size_t i = 0; i < 6; i++)
		field[i] = str_cut(&rest, ' ');
	while (rest.p && !str_is(str_cut(&rest, ' '), "-"))
		;
	struct str type = str_cut(&rest, ' ');
	(void)str_cut(&rest, ' '); /* the source says nothing */
	if (all->count == MAX_HIERARCHIES || !str_starts(type, STR("cgroup")))
		return;
	h.is_v2 = str_is(type, "cgroup2");
	for (size_t i = 0; i < CONTROLLER_COUNT && !h.is_v2; i++)
		h.has[i] = list_has(rest, ',', controller_names[i]);
	if (!wants_any(&h) || !str_is(field[3], "/"))
		return;
	h.top = str_dup(field[4]);
	all->items[all->count++] = h;
}

/* A line of /proc/self/cgroup: "4:memory:/path", version 2 "0::/path". */
static void add_own_path(struct hierarchies *all, struct str line)
{
	struct str id = str_cut(&line, ':'), controllers = str_cut(&line, ':');

	for (size_t i = 0; i < all->count; i++) {
		struct hierarchy *h = &all->items[i];
		bool same = h->is_v2 && str_is(id, "0") && controllers.n == 0;
		for (size_t c = 0; c < CONTROLLER_COUNT && !h->is_v2; c++)
			same |= h->has[c] && list_has(controllers, ',', controller_names[c]);
		if (same && !h->dir)
			h->dir = xprintf(
				"%s%.*s", h->top, STR_ARG(str_is(line, "/") ? STR("") : line));
	}
}

static void find_hierarchies(struct hierarchies *all)
{
	cleanup(buf_done) struct buf mounts = {0};
	cleanup(buf_done) struct buf own = {0};

	/* Without /proc there are no groups to be found, and everything else fails loudly. */
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, &mounts, NULL) < 0 ||
		file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &own, NULL) < 0)
		return;
	struct str rest = buf_str(&mounts);
	while (rest.p)
		add_mount(all, str_cut(&rest, '\n'));
	rest = buf_str(&own);
	while (rest.p)
		add_own_path(all, str_cut(&rest, '\n'));
}

static int write_at(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	return write(fd, text, strlen(text)) < 0 ? errno : 0;
}

static uint64_t read_number(int dir, const char *name, const char *key)
{
	cleanup(buf_done) struct buf text = {0};
	uint64_t v = 0;

	if (file_read(dir, name, 1 << 16, &text, NULL) < 0)
		return 0;
	struct str rest = buf_str(&text);
	while (rest.p) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		if (!key && parse_u64(line, UINT64_MAX, &v))
			return v;
		struct str word = str_cut(&line, ' ');
		if (key && str_is(word, key) && parse_u64(line, UINT64_MAX, &v))
			return v;
	}
	return 0;
}

/* Version 2: which controllers would a child of `dir` have? Switches them on if it may. */
static size_t offer_controllers(int dir, bool has[static CONTROLLER_COUNT])
{
	cleanup(buf_done) struct buf on = {0};
	size_t count = 0;

	for (size_t c = 0; c < CONTROLLER_COUNT; c++) {
		char word[16];
		snprintf(word, sizeof(word), "+%s", controller_names[c]);
		(void)write_at(dir, "cgroup.subtree_control", word); /* read back below */
	}
	if (file_read(dir, "cgroup.subtree_control", 4096, &on, NULL) < 0)
		return 0;
	for (size_t c = 0; c < CONTROLLER_COUNT; c++)
		count += has[c] = list_has(str_trim(buf_str(&on)), ' ', controller_names[c]);
	return count;
}

/*
 * Version 2 gives controllers only to children of groups that hold no process, so the
 * group cannot be made below our own: the nearest ancestor that offers them all and lets us
 * make a child is taken (systemd delegates such a subtree to a user's session).
 */
static int find_v2_parent(const struct hierarchy *h, bool has[static CONTROLLER_COUNT])
{
	cleanup_free char *path = xstrdup(h->dir);
	int best = -1;
	size_t best_count = 0;

	for (;;) {
		bool offered[CONTROLLER_COUNT] = {0};
		cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		size_t count = 0;
		if (dir >= 0 && faccessat(dir, ".", W_OK, AT_EACCESS) == 0)
			count = offer_controllers(dir, offered);
		if (count > best_count) {
			if (best >= 0)
				close(best);
			best = take_fd(&dir);
			best_count = count;
			memcpy(has, offered, sizeof(offered));
		}
		if (best_count == CONTROLLER_COUNT || strlen(path) <= strlen(h->top))
			return best;
		*strrchr(path, '/') = '\0';
	}
}

static int add_member(struct cgroup *group, const struct hierarchy *h)
{
	struct member m = {.is_v2 = h->is_v2};

	memcpy(m.has, h->has, sizeof(m.has));
	cleanup_close int parent = h->is_v2 ? find_v2_parent(h, m.has)
					    : open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return -1;
	if (mkdirat(parent, group->name, 0755) < 0 && errno != EEXIST)
		return -1;
	cleanup_close int dir = openat(parent, group->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int procs = dir < 0 ? -1 : openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0) {
		(void)unlinkat(parent, group->name, AT_REMOVEDIR); /* swept later if this fails */
		return -1;
	}
	m.parent = take_fd(&parent);
	m.dir = take_fd(&dir);
	m.procs = take_fd(&procs);
	group->members[group->count++] = m;
	return 0;
}

static int limit_memory(const struct member *m, uint64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	int sys = write_at(m->dir, m->is_v2 ? "memory.max" : "memory.limit_in_bytes", text);
	/* Swap is a part of the limit; kernels without swap accounting lack the file. */
	(void)write_at(m->dir, m->is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
		m->is_v2 ? "0" : text);
	return sys;
}

static int limit_pids(const struct member *m, uint64_t count)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
	return write_at(m->dir, "pids.max", text);
}

static int limit_cpu(const struct member *m, uint64_t milli_cpus)
{
	char text[64];
	unsigned long long quota = milli_cpus * 100;

	if (m->is_v2)
		snprintf(text, sizeof(text), "%llu 100000", quota);
	else
		snprintf(text, sizeof(text), "%llu", quota);
	return write_at(m->dir, m->is_v2 ? "cpu.max" : "cpu.cfs_quota_us", text);
}

/* Why a limit does not hold as it should. */
static const char *lack_text(enum controller c, int sys)
{
	if (c == PIDS)
		return "no control group for it, counted for each user instead";
	return sys == ENOENT ? "no control group for it" : strerror(sys);
}

static void set_limits(
	struct cgroup *group, const struct cgroup_limits *limits, char missing[static 256])
{
	static int (*const set[CONTROLLER_COUNT])(const struct member *, uint64_t) = {
		limit_memory, limit_pids, limit_cpu};
	const uint64_t wanted[CONTROLLER_COUNT] = {
		limits->memory, limits->pids, limits->milli_cpus};
	size_t used = 0;

	missing[0] = '\0';
	for (size_t c = 0; c < CONTROLLER_COUNT; c++) {
		int sys = ENOENT;
		if (!wanted[c])
			continue;
		for (size_t i = 0; i < group->count && sys; i++)
			if (group->members[i].has[c])
				sys = set[c](&group->members[i], wanted[c]);
		if (!sys)
			continue;
		if (c == PIDS)
			group->user_pids = wanted[c];
		used += (size_t)snprintf(missing + used, used < 256 ? 256 - used : 0, "%s%s (%s)",
			used ? ", " : "", controller_names[c], lack_text(c, sys));
		if (used >= 256)
			return;
	}
}

int cgroup_new(const char *name, const struct cgroup_limits *limits, struct cgroup **ret,
	char ret_missing[static 256], struct err *err)
{
	cleanup(hierarchies_done) struct hierarchies all = {0};
	cleanup(cgroup_free) struct cgroup *group = xcalloc(1, sizeof(*group));

	if (strchr(name, '/'))
		return err_set(err, ERR_BUG, "control group name %s", name);
	group->name = xprintf(PREFIX "%d-%s", (int)getpid(), name);
	find_hierarchies(&all);
	for (size_t i = 0; i < all.count; i++)
		if (all.items[i].dir)
			(void)add_member(
				group, &all.items[i]); /* what lacks is told by set_limits */
	set_limits(group, limits, ret_missing);
	*ret = take_ptr(group);
	return 0;
}

/*
 * Since Linux 5.14 the kernel counts a user's processes in each user namespace by themselves,
 * so a box has this limit for itself, whatever else its owner runs.
 */
static int limit_user(const struct cgroup *group)
{
	const struct rlimit limit = {group->user_pids, group->user_pids};

	return group->user_pids && setrlimit(RLIMIT_NPROC, &limit) < 0 && errno != EPERM ? errno
											 : 0;
}

int cgroup_join(const struct cgroup *group)
{
	for (size_t i = 0; i < group->count; i++)
		if (write(group->members[i].procs, "0", 1) < 0)
			return errno;
	return limit_user(group);
}

void cgroup_usage(const struct cgroup *group, struct cgroup_usage *ret)
{
	*ret = (struct cgroup_usage){0};
	for (size_t i = 0; i < group->count; i++) {
		const struct member *m = &group->members[i];
		if (m->has[MEMORY] && m->is_v2) {
			ret->memory_peak = read_number(m->dir, "memory.peak", NULL);
			ret->memory_limit = read_number(m->dir, "memory.max", NULL);
			ret->oom_kills = read_number(m->dir, "memory.events", "oom_kill");
		} else if (m->has[MEMORY]) {
			ret->memory_peak = read_number(m->dir, "memory.max_usage_in_bytes", NULL);
			ret->memory_limit = read_number(m->dir, "memory.limit_in_bytes", NULL);
			ret->oom_kills = read_number(m->dir, "memory.oom_control", "oom_kill");
		}
		if (m->has[PIDS])
			ret->pids_denied = read_number(m->dir, "pids.events", "max");
	}
}

static size_t signal_members(const struct member *m, int sig)
{
	cleanup(buf_done) struct buf text = {0};
	size_t count = 0;

	if (file_read(m->dir, "cgroup.procs", 16 << 20, &text, NULL) < 0)
		return 0;
	struct str rest = buf_str(&text);
	while (rest.p) {
		uint64_t pid;
		if (!parse_u64(str_cut(&rest, '\n'), INT32_MAX, &pid) || pid == 0)
			continue;
		count++;
		(void)kill((pid_t)pid, sig); /* it may have ended meanwhile */
	}
	return count;
}

void cgroup_kill(const struct cgroup *group, int sig)
{
	int64_t deadline = clock_now() + 1000000000;

	for (;;) {
		size_t left = 0;
		for (size_t i = 0; i < group->count; i++)
			left += signal_members(&group->members[i], sig);
		if (!left || sig != SIGKILL || clock_now() > deadline)
			return;
		usleep(2000); /* version 1 has no file that tells when a group becomes empty */
	}
}

/*
 * EBUSY while the last members are still being reaped, which takes long on a busy machine. What
 * stays after that is left to a cgroup_sweep().
 */
static void remove_group(int parent, const char *name)
{
	enum { PATIENCE_US = 3000000, PAUSE_US = 1000, PAUSE_MAX_US = 50000 };
	useconds_t waited = 0, pause = PAUSE_US;

	while (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno == EBUSY && waited < PATIENCE_US) {
		usleep(pause);
		waited += pause;
		pause = pause < PAUSE_MAX_US / 2 ? pause * 2 : PAUSE_MAX_US;
	}
}

void cgroup_free(struct cgroup *group)
{
	if (!group)
		return;
	cgroup_kill(group, SIGKILL);
	for (size_t i = 0; i < group->count; i++) {
		struct member *m = &group->members[i];
		close(m->procs);
		close(m->dir);
		remove_group(m->parent, group->name);
		close(m->parent);
	}
	free(group->name);
	free(group);
}

static bool is_left_behind(const char *name)
{
	struct str rest = str_of(name);
	uint64_t pid;

	if (!str_starts(rest, STR(PREFIX)))
		return false;
	rest = str_from_index(rest, sizeof(PREFIX) - 1);
	return parse_u64(str_cut(&rest, '-'), INT32_MAX, &pid) && pid && kill((pid_t)pid, 0) < 0 &&
	       errno == ESRCH;
}

static void sweep_dir(const char *path)
{
	cleanup_closedir DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (is_left_behind(entry->d_name))
			/* Refused by the kernel (EBUSY) while anything lives in it. */
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
}

void cgroup_sweep(void)
{
	cleanup(hierarchies_done) struct hierarchies all = {0};

	find_hierarchies(&all);
	for (size_t i = 0; i < all.count; i++) {
		const struct hierarchy *h = &all.items[i];
		if (!h->dir)
			continue;
		cleanup_free char *path = xstrdup(h->dir);
		sweep_dir(path);
		while (h->is_v2 && strlen(path) > strlen(h->top)) {
			*strrchr(path, '/') = '\0';
			sweep_dir(path);
		}
	}
}
