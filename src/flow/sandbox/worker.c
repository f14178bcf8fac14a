/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

int sandbox_worker_start(
	int (*main)(void *arg), void *arg, struct sandbox_box *ret, struct err *err)
{
	struct sandbox_box worker = {.pidfd = -1};

	fflush(NULL);
	worker.pid = box_clone(CLONE_NEWNS | CLONE_NEWPID, &worker.pidfd);
	if (worker.pid == 0)
		_exit(main(arg));
	if (worker.pid < 0)
		return err_sys(err, "start a worker");
	(void)fcntl(worker.pidfd, F_SETFD, FD_CLOEXEC);
	*ret = worker;
	return 0;
}

int sandbox_worker_enter(const char *name, struct err *err)
{
	cleanup_free char *scratch = xprintf("%s/%s", sandbox_scratch(), name);

	/* Of this namespace: process ids that the runtime writes down are looked up in it. */
	int r = mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, err);
	if (r < 0)
		return r;
	if (mkdir(scratch, 0755) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", scratch);
	scratch_set(scratch);
	return 0;
}
