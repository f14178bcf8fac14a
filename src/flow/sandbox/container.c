/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/command.h"
#include "os/dir.h"
#include "os/file.h"
#include "sandbox/internal.h"
#include "sandbox/mountpoint.h"
#include "sandbox/sandbox.h"

enum { RUNTIME_SECONDS = 60 };

/* /dev, /proc and /sys are mounts of the runtime's own: nothing is made there by us. */
static bool is_in_fixed_mount(const char *path)
{
	static const char *const tops[] = {"/dev", "/proc", "/sys"};

	for (size_t i = 0; i < array_size(tops); i++) {
		size_t n = strlen(tops[i]);
		if (strncmp(path, tops[i], n) == 0 && (path[n] == '/' || !path[n]))
			return true;
	}
	return false;
}

static int make_mountpoint(
	struct sandbox_mountpoints *made, int root, const struct sandbox_mount *m, struct err *err)
{
	struct stat st;
	bool is_dir =
		m->kind == SANDBOX_TMPFS || (stat(m->source, &st) == 0 && S_ISDIR(st.st_mode));

	if (is_in_fixed_mount(m->target))
		return 0;
	int r = mountpoint_make(made, root, m->target, is_dir, err);
	return r < 0 ? err_wrap(err, "mount on %s", m->target) : 0;
}

static int make_mountpoints(struct sandbox_container *c, struct err *err)
{
	struct sandbox_mount network[NETWORK_MOUNTS];
	size_t network_count = network_mounts(c->reach, network);
	cleanup_close int root = open(c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (root < 0)
		return err_sys(err, "open %s", c->rootfs);
	c->made = mountpoints_new();
	for (size_t i = 0; i < network_count && r == 0; i++)
		r = make_mountpoint(c->made, root, &network[i], err);
	for (size_t i = 0; i < c->mount_count && r == 0; i++)
		r = make_mountpoint(c->made, root, &c->mounts[i], err);
	return r;
}

static char *bundle_path(const struct sandbox_container *c, const char *suffix)
{
	return xprintf("%s/%s%s", sandbox_scratch(), c->id, suffix);
}

static int write_bundle(
	const struct sandbox_container *c, const char *bundle, struct str filter, struct err *err)
{
	cleanup(buf_done) struct buf seccomp = {0};
	cleanup(buf_done) struct buf spec = {0};
	cleanup_free char *config = xprintf("%s/config.json", bundle);

	if (mkdir(bundle, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", bundle);
	/* A runtime that did not take the filter would allow nothing at all. */
	int r = 0;
	if (filter.n)
		buf_add_text(&seccomp, "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}");
	else if (c->rights != SANDBOX_INSECURE)
		r = seccomp_load(c->rights, &seccomp, err);
	if (r < 0)
		return r;
	spec_print(c, buf_str(&seccomp), filter, &spec);
	/* It holds the environment, secrets of a Space among it: readable by the box only. */
	return file_replace(AT_FDCWD, config, buf_str(&spec), 0600, err);
}

const char *sandbox_runtime(const struct sandbox_container *c)
{
	return c->runtime ? c->runtime : "crun";
}

/* In the runtime's process; the result is an errno value. */
static int join(void *arg)
{
	const struct sandbox_container *c = arg;
	struct err unused = {0};

	if (c->reach == SANDBOX_REACH_BOX && sandbox_network_enter(&unused) < 0)
		return ENONET;
	return c->cgroup ? cgroup_join(c->cgroup) : 0;
}

void runtime_command(
	const struct sandbox_container *c, const char *verb, const char *base, struct command *ret)
{
	argv_add(&ret->argv, sandbox_runtime(c));
	argv_printf(&ret->argv, "--root=%s/" SCRATCH_RUNTIME, sandbox_scratch());
	argv_add(&ret->argv, "--cgroup-manager=disabled");
	argv_printf(&ret->argv, "--log=%s.log", base);
	argv_add_all(&ret->argv, verb, "--detach", "--pid-file", NULL);
	argv_printf(&ret->argv, "%s.pid", base);
	/* Nothing of the caller's environment: it may hold secrets. */
	argv_printf(&ret->env, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	/* Where crun makes the file over which it mounts itself; killed meanwhile it stays. */
	argv_printf(&ret->env, "_LIBCONTAINER_STATEDIR=%s", sandbox_scratch());
	ret->stdout_fd = c->stdout_fd;
	ret->stderr_fd = c->stderr_fd;
	ret->before_exec = join;
	/* The callback's argument is not const for everybody's sake; it is only read. */
	memcpy(&ret->arg, &c, sizeof(ret->arg));
}

static void fill_command(const struct sandbox_container *c, const char *bundle, struct command *ret)
{
	runtime_command(c, "run", bundle, ret);
	argv_add_all(&ret->argv, "--bundle", bundle, c->id, NULL);
}

/* crun's log: "2026-…Z: message", the message possibly after `error` fields. */
static struct str last_message(const struct buf *log)
{
	struct str rest = str_trim(buf_str(log)), line = STR("");

	while (rest.p)
		line = str_cut(&rest, '\n');
	const char *stamp = memmem(line.p ? line.p : "", line.n, "Z: ", 3);
	return stamp ? str_from_index(line, (size_t)(stamp - line.p) + 3) : line;
}

static bool contains(struct str text, const char *part)
{
	return memmem(text.p ? text.p : "", text.n, part, strlen(part));
}

static int explain_runtime(const char *program, const char *log_path, struct err *err)
{
	cleanup(buf_done) struct buf log = {0};

	ignored(file_read(AT_FDCWD, log_path, 1 << 16, &log, NULL)); /* empty: no reason known */
	struct str said = last_message(&log);
	if (contains(said, "executable file") || contains(said, "No such file or directory: OCI"))
		return err_set(err, ERR_FAILED, "%s: program not found in the image", program);
	if (contains(said, "open executable") || contains(said, "exec format") ||
		contains(said, "xecutable"))
		return err_set(
			err, ERR_FAILED, "%s: cannot be executed: %.*s", program, STR_ARG(said));
	return err_set(err, ERR_FAILED, "the runtime could not start the container: %.*s",
		STR_ARG(said.n ? said : STR("it gave no reason")));
}

/* The parent of a process, 0 when it is gone. The name in "pid (name) state ppid" is foreign. */
static pid_t parent_of(pid_t pid)
{
	cleanup(buf_done) struct buf text = {0};
	cleanup_free char *path = xprintf("/proc/%d/stat", (int)pid);
	uint64_t ppid;

	if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 0;
	struct str rest = buf_str(&text);
	rest = str_from_index(rest, str_rfind(rest, ')') + 1);
	(void)str_cut(&rest, ' ');
	(void)str_cut(&rest, ' '); /* the state */
	return parse_u64(str_cut(&rest, ' '), INT32_MAX, &ppid) ? (pid_t)ppid : 0;
}

/*
 * A detached runtime leaves its own child between us and the container for a moment after
 * it has ended itself. Until that one ends too, the container is not ours to wait for.
 */
static int wait_for_adoption(pid_t pid, struct err *err)
{
	for (;;) {
		pid_t parent = parent_of(pid);
		if (parent == getpid())
			return 0;
		if (parent == 0)
			return err_set(err, ERR_SYSTEM, "the container's process has vanished");
		cleanup_close int fd = (int)syscall(SYS_pidfd_open, parent, 0);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (fd >= 0 && poll(&p, 1, RUNTIME_SECONDS * 1000) == 0)
			return err_set(err, ERR_HOST, "the runtime does not end");
		(void)waitpid(parent, NULL, WNOHANG); /* by now a child of ours as well */
	}
}

int runtime_find_process(
	pid_t runtime, const char *base, const char *program, pid_t *ret_pid, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	cleanup_free char *log = xprintf("%s.log", base);
	cleanup_free char *pid_file = xprintf("%s.pid", base);
	uint64_t number;
	int status;

	int r = command_wait(runtime, &status, err);
	if (r < 0)
		return r;
	if (status != 0)
		return explain_runtime(program, log, err);
	if (file_read(AT_FDCWD, pid_file, 64, &text, err) < 0)
		return err_wrap(err, "runtime");
	if (!parse_u64(str_trim(buf_str(&text)), INT32_MAX, &number))
		return err_set(err, ERR_HOST, "runtime: %s holds no process id", pid_file);
	*ret_pid = (pid_t)number;
	return wait_for_adoption(*ret_pid, err);
}

static int no_runtime(struct err *err)
{
	err->kind = ERR_HOST;
	return err_hint(err, "sudo apt-get install crun");
}

static bool needs_box(const struct sandbox_container *c)
{
	return c->reach == SANDBOX_REACH_CALLER || c->reach == SANDBOX_REACH_BOX;
}

/* All that the runtime needs: places to mount on, its bundle, the network. */
static int prepare(
	struct sandbox_container *c, const char *bundle, bool *ret_has_filter, struct err *err)
{
	cleanup(buf_done) struct buf filter = {0};

	int r = c->reach == SANDBOX_REACH_HOST ? network_copy_files(err) : 0;
	if (r == 0)
		r = make_mountpoints(c, err);
	if (r < 0)
		return r;
	*ret_has_filter = filter_recall(c, &filter);
	r = write_bundle(c, bundle, buf_str(&filter), err);
	return r < 0 || !needs_box(c) ? r : network_wait(err);
}

int sandbox_container_prepare(struct sandbox_container *c, struct err *err)
{
	cleanup(command_done) struct command command = COMMAND_INIT;
	cleanup_free char *bundle = bundle_path(c, "");
	cleanup_free struct command_held *held = xcalloc(1, sizeof(*held));

	fill_command(c, bundle, &command);
	if (command_hold(&command, held, err) < 0)
		return no_runtime(err);
	c->held = take_ptr(held);
	return 0;
}

static void drop_held(struct sandbox_container *c)
{
	if (c->held)
		command_held_done(c->held);
	free(c->held);
	c->held = NULL;
}

static int release(struct sandbox_container *c, pid_t *ret_runtime, struct err *err)
{
	int r = command_release(c->held, ret_runtime, err);

	drop_held(c);
	return r < 0 ? no_runtime(err) : 0;
}

int sandbox_container_start(struct sandbox_container *c, pid_t *ret_pid, struct err *err)
{
	cleanup_free char *bundle = bundle_path(c, "");
	bool has_filter = false;
	pid_t runtime;
	int r = c->held ? 0 : sandbox_container_prepare(c, err);

	if (r == 0)
		r = prepare(c, bundle, &has_filter, err);
	if (r == 0)
		r = release(c, &runtime, err);
	if (r == 0)
		r = runtime_find_process(
			runtime, bundle, c->args.count ? c->args.items[0] : "", ret_pid, err);
	if (r == 0 && !has_filter)
		filter_keep(c);
	return r;
}

int sandbox_container_clean(struct sandbox_container *c, struct err *err)
{
	static const char *const suffixes[] = {"", ".log", ".pid"};
	cleanup_close int scratch = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free char *state = xprintf(SCRATCH_RUNTIME "/%s", c->id);

	drop_held(c);
	if (c->made) {
		mountpoints_remove(c->made);
		mountpoints_free(c->made);
		c->made = NULL;
	}
	if (scratch < 0)
		return err_sys(err, "open scratch directory");
	for (size_t i = 0; i < array_size(suffixes); i++) {
		cleanup_free char *name = xprintf("%s%s", c->id, suffixes[i]);
		int r = dir_remove_tree(scratch, name, err);
		if (r < 0)
			return r;
	}
	/* Without control groups `crun delete` would do just this, as one more process. */
	return dir_remove_tree(scratch, state, err);
}
