/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "os/dir.h"
#include "os/walk.h"

/*
 * A directory of mode 0 cannot be read or emptied even by its owner without privilege; what
 * a RUN step leaves behind may hold such.
 */
static void open_up(int parent, const char *name, mode_t mode)
{
	if ((mode & 0700) != 0700)
		(void)fchmodat(
			parent, name, 0700, 0); /* what it cannot do shows when it is opened */
}

static int remove_name(int parent, const char *name, int flags, struct err *err)
{
	if (unlinkat(parent, name, flags) == 0 || errno == ENOENT)
		return 0;
	return err_sys(err, "remove %s", name);
}

static int remove_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	const dev_t *dev = arg;

	switch (e->step) {
	case WALK_ENTRY:
		return remove_name(e->dirfd, e->name, 0, err);
	case WALK_ENTER:
		if (e->st.st_dev != *dev)
			return err_set(
				err, ERR_BUSY, "%s: another file system is mounted here", e->name);
		open_up(e->dirfd, e->name, e->st.st_mode);
		return 0;
	case WALK_LEAVE:
		return remove_name(e->dirfd, e->name, AT_REMOVEDIR, err);
	}
	return 0;
}

int dir_remove_tree(int parent, const char *name, struct err *err)
{
	struct stat st, above;
	struct err local = {0};

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat %s", name);
	if (!S_ISDIR(st.st_mode))
		return remove_name(parent, name, 0, err);
	if (fstatat(parent, ".", &above, 0) == 0 && above.st_dev != st.st_dev)
		return err_set(err, ERR_BUSY, "%s: another file system is mounted here", name);
	open_up(parent, name, st.st_mode);
	cleanup_close int fd =
		openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	/* Some file systems leave entries out when others are removed during a listing. */
	for (int tries = 0; tries < 3; tries++) {
		int r = walk_tree(fd, remove_entry, &st.st_dev, &local);
		if (r == 0)
			r = remove_name(parent, name, AT_REMOVEDIR, &local);
		if (r == 0)
			return 0;
		if (local.sys != ENOTEMPTY)
			break;
	}
	if (err)
		*err = local;
	return err_wrap(err, "%s", name);
}
