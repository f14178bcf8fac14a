/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking in a child that can do little else: no network, no new privileges, six capabilities
 * (over the namespace's own files), limits on memory and processor time, and by Landlock,
 * where the kernel has it, no files but those below the root. It reports through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "layer/unpack.h"
#include "os/command.h"

#define MEMORY_LIMIT (UINT64_C(2) << 30)

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SHADOW_MEMORY 1
#endif
#endif
#ifndef HAS_SHADOW_MEMORY
#define HAS_SHADOW_MEMORY 0
#endif

struct report {
	bool is_last;
	int result;
	struct layer_unpack_stats stats;
	struct err err;
};

/* Writes of up to PIPE_BUF bytes are never mixed or cut. */
_Static_assert(sizeof(struct report) <= 4096, "a report must fit into one write");

struct layer_unpacker {
	pid_t pid; /* 0: gone and waited for */
	int fd;
	struct layer_unpack_options options;
	struct layer_unpack_stats stats;
	int result; /* LAYER_E_BUSY: runs */
	struct err err;
};

/* ---- In the child ---- */

struct child {
	int root, tar_fd, report_fd;
	pid_t parent;
	struct layer_unpack_options options;
};

static int limit(int resource, rlim_t value, struct err *err)
{
	const struct rlimit both = {value, value};

	return setrlimit(resource, &both) == 0 ? 0 : err_sys(err, "set resource limit");
}

static int set_limits(const struct child *c, struct err *err)
{
	if (limit(RLIMIT_CORE, 0, err) < 0 || limit(RLIMIT_NPROC, 0, err) < 0 ||
		limit(RLIMIT_CPU, unpack_limits(&c->options.limits).cpu_seconds, err) < 0)
		return -(int)err->kind;
	/* The sanitizers reserve terabytes of addresses. */
	return HAS_SHADOW_MEMORY ? 0 : limit(RLIMIT_AS, MEMORY_LIMIT, err);
}

static int drop_capabilities(struct err *err)
{
	static const unsigned kept[] = {
		CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	uint32_t mask = 0;

	for (size_t i = 0; i < array_size(kept); i++)
		mask |= CAP_TO_MASK(kept[i]);
	if (syscall(SYS_capget, &header, data) < 0)
		return err_sys(err, "read capabilities");
	data[0].permitted &= mask;
	data[0].effective = data[0].permitted;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){0};
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, "drop capabilities");
	return 0;
}

/*
 * Nothing but what is below the root may be opened or made from here on. Before its second
 * version (Linux 5.19) Landlock forbade every hard link between directories: not used then.
 */
static int confine_to(int root, struct err *err)
{
	const uint64_t ours = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
			      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
			      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
			      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
			      LANDLOCK_ACCESS_FS_REFER;
	const struct landlock_ruleset_attr all = {
		.handled_access_fs = ours | LANDLOCK_ACCESS_FS_EXECUTE |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_BLOCK,
	};
	const struct landlock_path_beneath_attr below = {.allowed_access = ours, .parent_fd = root};
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version < 2)
		return 0;
	cleanup_close int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (rules < 0 ||
		syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0 ||
		syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_sys(err, "confine by Landlock");
	return 0;
}

/* All but the standard ones and the three of the child. */
static int close_others(const struct child *c, struct err *err)
{
	unsigned from = 3;

	for (int left = 3; left > 0; left--) {
		const int fds[] = {c->root, c->tar_fd, c->report_fd};
		unsigned next = UINT_MAX;
		for (size_t i = 0; i < array_size(fds); i++) {
			if ((unsigned)fds[i] >= from && (unsigned)fds[i] < next)
				next = (unsigned)fds[i];
		}
		if (next == UINT_MAX)
			break;
		if (next > from && syscall(SYS_close_range, from, next - 1, 0) < 0)
			return err_sys(err, "close descriptors");
		from = next + 1;
	}
	if (syscall(SYS_close_range, from, UINT_MAX, 0) < 0)
		return err_sys(err, "close descriptors");
	return 0;
}

static int confine(const struct child *c, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != c->parent)
		return err_set(err, ERR_CANCELLED, "the parent has gone");
	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, "leave the network");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "give up new privileges");
	if (tar_prepare(err) < 0 || close_others(c, err) < 0 || set_limits(c, err) < 0 ||
		drop_capabilities(err) < 0)
		return -(int)err->kind;
	return confine_to(c->root, err);
}

static void send(int fd, const struct report *report)
{
	ssize_t n;

	do
		n = write(fd, report, sizeof(*report));
	while (n < 0 && errno == EINTR);
}

/* A reader that is slow misses some of these. */
static void send_progress(void *arg, const struct layer_unpack_stats *stats)
{
	const struct child *c = arg;
	const struct report report = {.stats = *stats};
	struct pollfd pipe = {.fd = c->report_fd, .events = POLLOUT};

	/* Writable: there is room for one whole write. */
	if (poll(&pipe, 1, 0) == 1 && pipe.revents & POLLOUT)
		send(c->report_fd, &report);
}

noreturn_fn static void run_child(const struct child *given)
{
	struct child c = *given;
	struct report report = {.is_last = true};

	c.options.progress = send_progress;
	c.options.arg = &c;
	report.result = confine(&c, &report.err);
	if (report.result < 0)
		(void)err_wrap(&report.err, "confine");
	else
		report.result =
			layer_unpack(c.root, c.tar_fd, &c.options, &report.stats, &report.err);
	send(c.report_fd, &report);
	_exit(0);
}

/* ---- In the parent ---- */

int layer_unpacker_start(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpacker **ret, struct err *err)
{
	cleanup(layer_unpacker_free) struct layer_unpacker *u = xcalloc(1, sizeof(*u));
	int fds[2];

	*u = (struct layer_unpacker){.fd = -1, .options = *options, .result = LAYER_E_BUSY};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	u->fd = fds[0];
	cleanup_close int report_fd = fds[1];
	const struct child child = {
		.root = root,
		.tar_fd = tar_fd,
		.report_fd = report_fd,
		.parent = getpid(),
		.options = *options,
	};
	u->pid = fork();
	if (u->pid < 0) {
		u->pid = 0;
		return err_sys(err, "fork");
	}
	if (u->pid == 0)
		run_child(&child);
	*ret = take_ptr(u);
	return 0;
}

int layer_unpacker_fd(const struct layer_unpacker *u)
{
	return u->fd;
}

static int reap(struct layer_unpacker *u)
{
	int status = 0;

	while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
	return status;
}

/* It ended without a last report. */
static void explain_end(struct layer_unpacker *u)
{
	char text[64];
	int status = reap(u);
	bool is_time =
		WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);

	u->result = err_set(&u->err, is_time ? ERR_LIMIT : ERR_SYSTEM, "unpacking %s",
		command_status_text(text, status));
	if (is_time)
		u->result = err_hint(&u->err,
			"It needed more than %u seconds of processor time or "
			"the host ran out of memory.",
			unpack_limits(&u->options.limits).cpu_seconds);
}

static void take_report(struct layer_unpacker *u, const struct report *report)
{
	u->stats = report->stats;
	if (!report->is_last) {
		if (u->options.progress)
			u->options.progress(u->options.arg, &u->stats);
		return;
	}
	(void)reap(u);
	u->result = report->result;
	u->err = report->err;
}

int layer_unpacker_step(struct layer_unpacker *u, struct err *err)
{
	struct report report;

	if (u->result == LAYER_E_BUSY) {
		ssize_t n;
		do
			n = read(u->fd, &report, sizeof(report));
		while (n < 0 && errno == EINTR);
		if (n == (ssize_t)sizeof(report))
			take_report(u, &report);
		else
			explain_end(u);
	}
	if (u->result < 0 && err)
		*err = u->err;
	return u->result;
}

int layer_unpacker_finish(
	struct layer_unpacker *u, struct layer_unpack_stats *ret_stats, struct err *err)
{
	int r;

	do
		r = layer_unpacker_step(u, err);
	while (r == LAYER_E_BUSY);
	if (ret_stats)
		*ret_stats = u->stats;
	return r;
}

void layer_unpacker_free(struct layer_unpacker *u)
{
	if (!u)
		return;
	if (u->pid > 0) {
		(void)kill(u->pid, SIGKILL); /* it is ours and not yet waited for */
		(void)reap(u);
	}
	if (u->fd >= 0)
		close(u->fd);
	free(u);
}

int layer_unpack_confined(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err)
{
	cleanup(layer_unpacker_free) struct layer_unpacker *u = NULL;
	int r = layer_unpacker_start(root, tar_fd, options, &u, err);

	return r < 0 ? r : layer_unpacker_finish(u, ret_stats, err);
}
