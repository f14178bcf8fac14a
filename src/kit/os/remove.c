/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "os/dir.h"

/*
 * A directory of mode 0 cannot be read even by its owner without privilege; what a RUN
 * step leaves behind may hold such.
 */
static int open_listing(int parent, const char *name)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(parent, name, flags);

	if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
		fd = openat(parent, name, flags);
	return fd;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Unlinks all but directories; ret_dir is the name of one that remains, or "". */
static int empty_of_files(DIR *dir, char ret_dir[static 256], struct err *err)
{
	struct dirent *entry;

	ret_dir[0] = '\0';
	while ((errno = 0, entry = readdir(dir))) {
		if (is_dots(entry->d_name))
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno == EACCES && fchmod(dirfd(dir), 0700) == 0 &&
			unlinkat(dirfd(dir), entry->d_name, 0) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return err_sys(err, "remove %s", entry->d_name);
		memcpy(ret_dir, entry->d_name, strlen(entry->d_name) + 1);
		return 0;
	}
	return errno ? err_sys(err, "list directory") : 0;
}

/*
 * Recursion with two descriptors a level. A tree deeper than the descriptor limit allows
 * fails with EMFILE and is left to the next attempt after its deeper part is gone; Linux
 * paths of images stay far below that (PATH_MAX / 2 components).
 */
static int remove_below(int top, dev_t dev, struct err *err);

static int remove_entry(int fd, const char *name, dev_t dev, struct err *err)
{
	struct stat st;
	cleanup_close int sub = open_listing(fd, name);

	if (sub < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	if (fstat(sub, &st) < 0)
		return err_sys(err, "stat %s", name);
	if (st.st_dev != dev)
		return err_set(err, ERR_BUSY, "%s: another file system is mounted here", name);
	int r = remove_below(sub, dev, err);
	if (r < 0)
		return err_wrap(err, "%s", name);
	if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(err, "remove %s", name);
	return 0;
}

static int remove_below(int top, dev_t dev, struct err *err)
{
	char name[256];
	int copy = fcntl(top, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return err_sys(err, "duplicate descriptor");
	cleanup_closedir DIR *dir = fdopendir(copy);
	if (!dir) {
		close(copy);
		return err_sys(err, "list directory");
	}
	for (;;) {
		rewinddir(dir);
		int r = empty_of_files(dir, name, err);
		if (r < 0)
			return r;
		if (!name[0])
			return 0;
		r = remove_entry(top, name, dev, err);
		if (r < 0)
			return r;
	}
}

int dir_remove_tree(int parent, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, "stat %s", name);
	if (!S_ISDIR(st.st_mode))
		return unlinkat(parent, name, 0) == 0 || errno == ENOENT
			       ? 0
			       : err_sys(err, "remove %s", name);
	return remove_entry(parent, name, st.st_dev, err);
}
