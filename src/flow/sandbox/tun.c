/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "os/file.h"
#include "sandbox/internal.h"

/*
 * pasta opens /dev/net/tun as the box's root, who is nobody on the host. Most distributions
 * give the node mode 0666. Where they do not, real root makes a node of its own beside the
 * scratch directory, for the box alone, and leaves the host's as it is; an ordinary user
 * needs the host's to be opened.
 */
#define TUN "/dev/net/tun"

static char *own_node(const char *scratch)
{
	return xprintf("%s.tun", scratch);
}

static int make_node(const struct sandbox_ids *ids, const char *path, dev_t device, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == device &&
		st.st_uid == ids->root_uid && st.st_nlink == 1)
		return 0;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, "remove %s", path);
	if (mknod(path, S_IFCHR | 0600, device) < 0)
		return err_sys(err, "make device node %s", path);
	if (lchown(path, ids->root_uid, ids->root_gid) < 0)
		return err_sys(err, "change owner of %s", path);
	return 0;
}

int tun_prepare(const struct sandbox_ids *ids, const char *scratch, struct err *err)
{
	struct stat st;

	/* A missing or closed device is the network's error, later: not every box needs one. */
	if (!ids->is_root || stat(TUN, &st) < 0 || !S_ISCHR(st.st_mode) ||
		(st.st_mode & 0006) == 0006)
		return 0;
	cleanup_free char *path = own_node(scratch);
	return make_node(ids, path, st.st_rdev, err);
}

int tun_use(const char *scratch, struct err *err)
{
	cleanup_free char *path = own_node(scratch);

	if (access(TUN, R_OK | W_OK) == 0 || access(path, F_OK) < 0)
		return 0;
	if (mount(path, TUN, NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "mount %s on " TUN, path);
	return 0;
}
