/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/command.h"
#include "os/file.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

/*
 * How a box comes up. Parent and child talk over a socket pair, one message each way:
 *
 *	child	  cloned into user, mount, PID and IPC namespaces at once: it is PID 1
 *	parent	  writes the id maps (or has newuidmap write them), says "go"
 *	child	  becomes root of the namespace, asks to die with the parent, makes its mounts,
 *		  reports 0 or an error, calls main()
 *	parent	  returns
 *
 * The child has only the memory it got from the parent: nothing is executed in between.
 */

static char scratch_path[4096];

const char *sandbox_scratch(void)
{
	return scratch_path;
}

void scratch_set(const char *path)
{
	snprintf(scratch_path, sizeof(scratch_path), "%s", path);
}

pid_t box_clone(uint64_t namespaces, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = namespaces | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};

	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	*ret_pidfd = pidfd;
	return pid;
}

static int explain_clone(struct err *err)
{
	int sys = errno;

	(void)err_sys(err, "make a user namespace");
	err->kind = ERR_HOST;
	if (sys == ENOSPC || sys == EUSERS)
		return err_hint(err, "sudo sysctl -w user.max_user_namespaces=15000");
	return err_hint(err,
		"unprivileged user namespaces are switched off here; one of these allows them:\n"
		"sudo sysctl -w kernel.unprivileged_userns_clone=1\n"
		"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
}

/* ---- the parent's side ---- */

static int write_map_directly(
	pid_t pid, const char *file, uint32_t base, uint32_t count, struct err *err)
{
	char path[64], line[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	int n = snprintf(line, sizeof(line), "0 %u %u\n", base, count);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		return err_sys(err, "write %s", file);
	return 0;
}

static int write_map_by_program(pid_t pid, const char *program, uint32_t self, uint32_t base,
	uint32_t count, struct err *err)
{
	cleanup(command_done) struct command c = COMMAND_INIT;
	cleanup(buf_done) struct buf output = {0};
	int status;

	argv_add(&c.argv, program);
	argv_printf(&c.argv, "%d", (int)pid);
	argv_add(&c.argv, "0");
	argv_printf(&c.argv, "%u", self);
	argv_add_all(&c.argv, "1", "1", NULL);
	argv_printf(&c.argv, "%u", base);
	argv_printf(&c.argv, "%u", count < SANDBOX_ID_COUNT ? count : SANDBOX_ID_COUNT - 1);
	if (command_capture(&c, 4096, 10, &output, &status, err) < 0) {
		err->kind = ERR_HOST;
		return err_hint(err, "sudo apt-get install uidmap");
	}
	if (status != 0)
		return err_set(err, ERR_HOST, "%s refused: %.*s", program,
			STR_ARG(str_trim(buf_str(&output))));
	return 0;
}

static int write_maps(const struct sandbox_ids *ids, pid_t pid, struct err *err)
{
	int r;

	if (ids->is_root) {
		r = write_map_directly(pid, "uid_map", ids->uid_base, ids->count, err);
		return r < 0 ? r
			     : write_map_directly(pid, "gid_map", ids->gid_base, ids->count, err);
	}
	r = write_map_by_program(pid, "newuidmap", ids->root_uid, ids->uid_base, ids->count, err);
	return r < 0 ? r
		     : write_map_by_program(
			       pid, "newgidmap", ids->root_gid, ids->gid_base, ids->count, err);
}

/* ---- the child's side ---- */

static int become_root(struct err *err)
{
	if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0)
		return err_sys(err, "become root of the namespace");
	/* The change of ids cleared both: without the first, /proc/self belongs to nobody. */
	if (prctl(PR_SET_DUMPABLE, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(err, "prctl");
	return 0;
}

int mount_at(const char *type, const char *target, unsigned long flags, const char *data,
	struct err *err)
{
	if (mount(type, target, type, flags, data) < 0)
		return err_sys(err, "mount %s on %s", type, target);
	return 0;
}

static int make_mounts(const char *scratch, struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, "make mounts private");
	if (mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, err) < 0)
		return err_hint(err,
			"a container that hides parts of /proc cannot hold another one: "
			"start it with an unmasked /proc");
	int r = tun_use(scratch, err);
	if (r < 0)
		return r;
	r = mount_at("tmpfs", scratch, MS_NOSUID | MS_NODEV, "mode=0755,size=64m", err);
	if (r < 0)
		return r;
	/*
	 * crun refuses hosts that mix both versions of control groups. It has nothing to do with
	 * them here (os/cgroup.h), so it is shown none.
	 */
	if (access("/sys/fs/cgroup", F_OK) == 0)
		r = mount_at("tmpfs", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			"mode=0755,size=4k", err);
	return r;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void close_others(const int *keep, int extra)
{
	int kept[64];
	size_t n = 0;
	unsigned from = 3;

	if (!keep)
		return;
	for (size_t i = 0; keep[i] >= 0 && n < array_size(kept) - 1; i++)
		kept[n++] = keep[i];
	kept[n++] = extra;
	qsort(kept, n, sizeof(*kept), compare_fds);
	for (size_t i = 0; i < n; i++) {
		if (kept[i] < (int)from)
			continue;
		if ((unsigned)kept[i] > from)
			(void)close_range(from, (unsigned)kept[i] - 1, 0); /* EBADF is no loss */
		from = (unsigned)kept[i] + 1;
	}
	(void)close_range(from, ~0U, 0);
}

static void default_signals(void)
{
	struct sigaction by_default = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &by_default, NULL); /* SIGKILL and SIGSTOP refuse */
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int set_up_child(const struct sandbox_box_options *o, int sync, struct err *err)
{
	char go;

	default_signals();
	close_others(o->keep, sync);
	/* End of file: the parent could not write the maps, or has died. */
	if (read(sync, &go, 1) != 1)
		return err_set(err, ERR_CANCELLED, "the parent has gone");
	/* Of a session of its own, so that a terminal's ^C reaches the parent alone. */
	if (setsid() < 0)
		return err_sys(err, "setsid");
	int r = become_root(err);
	if (r < 0)
		return r;
	umask(022);
	r = make_mounts(o->scratch, err);
	scratch_set(o->scratch);
	return r;
}

noreturn_fn static void child(const struct sandbox_box_options *o, const int ends[static 2])
{
	struct err err = {0};
	int sync = ends[1];

	/* Held here as well, the parent's end would never be seen to close. */
	close(ends[0]);
	int r = set_up_child(o, sync, &err);

	/* The death signal is set by now: a parent that dies after this takes us along. */
	ssize_t n = send(sync, &err, sizeof(err), MSG_NOSIGNAL);
	close(sync);
	if (r < 0 || n != (ssize_t)sizeof(err))
		_exit(126);
	int code = o->main(o->arg);
	fflush(NULL);
	_exit(code);
}

/* ---- both ---- */

static int wait_for_child(int sync, struct err *err)
{
	struct err theirs = {0};
	ssize_t n;

	do
		n = recv(sync, &theirs, sizeof(theirs), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(theirs))
		return err_set(err, ERR_SYSTEM, "the box ended while it was set up");
	if (theirs.kind == ERR_NONE)
		return 0;
	*err = theirs;
	if (err->kind == ERR_SYSTEM || err->kind == ERR_DENIED || err->kind == ERR_MISSING)
		err->kind = ERR_HOST;
	return err_wrap(err, "set up namespaces");
}

int sandbox_box_start(
	const struct sandbox_box_options *options, struct sandbox_box *ret, struct err *err)
{
	struct sandbox_box box = {.pidfd = -1};
	int sync[2];

	int r = tun_prepare(options->ids, options->scratch, err);
	if (r < 0)
		return r;
	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync) < 0)
		return err_sys(err, "make socket pair");
	box.pid = box_clone(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC, &box.pidfd);
	if (box.pid == 0)
		child(options, sync);
	int sys = errno;
	close(sync[1]);
	cleanup_close int ours = sync[0];
	if (box.pid < 0) {
		errno = sys;
		return explain_clone(err);
	}
	(void)fcntl(box.pidfd, F_SETFD, FD_CLOEXEC);
	r = write_maps(options->ids, box.pid, err);
	if (r == 0 && write(ours, "g", 1) != 1)
		r = err_sys(err, "start the box");
	if (r == 0)
		r = wait_for_child(ours, err);
	if (r < 0) {
		sandbox_box_kill(&box);
		return r;
	}
	*ret = box;
	return 0;
}

int sandbox_box_wait(struct sandbox_box *box, int *ret_status, struct err *err)
{
	int r = command_wait(box->pid, ret_status, err);

	if (box->pidfd >= 0)
		close(box->pidfd);
	*box = (struct sandbox_box){.pidfd = -1};
	return r;
}

void sandbox_box_kill(struct sandbox_box *box)
{
	struct err unused = {0};
	int status;

	if (box->pid <= 0)
		return;
	(void)kill(box->pid, SIGKILL);			  /* ESRCH: it was faster */
	ignored(sandbox_box_wait(box, &status, &unused)); /* it is gone or not ours */
}
