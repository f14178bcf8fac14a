/* SPDX-License-Identifier: Apache-2.0 */
#include "os/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/cleanup.h"

int lock_take(
	int dirfd, const char *name, enum lock_mode mode, int wait, int *ret_fd, struct err *err)
{
	cleanup_close int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int how = (mode == LOCK_SHARED ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB);

	if (fd < 0)
		return err_sys(err, "open lock %s", name);
	while (flock(fd, how) < 0) {
		if (errno == EWOULDBLOCK)
			return LOCK_E_BUSY;
		if (errno != EINTR)
			return err_sys(err, "lock %s", name);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}
