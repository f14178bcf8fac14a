/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/internal.h"
#include "os/lock.h"

/* Whoever fetches the blob holds the file's lock, and who waits for it looks whether it is gone. */
static int sweep_file(int dir, const char *name, const struct image_sweep *sweep,
	struct image_swept *ret, struct err *err)
{
	struct stat st;
	cleanup_close int lock = -1;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		st.st_mtime > sweep->before)
		return 0;
	int r = lock_take(dir, name, LOCK_EXCLUSIVE, 0, &lock, err);
	if (r != 0)
		return r == LOCK_E_BUSY ? 0 : r;
	if (!sweep->dry_run && unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove partial blob %s", name);
	ret->count++;
	ret->bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

int image_sweep(struct image_store *store, const struct image_sweep *sweep, struct image_swept *ret,
	struct err *err)
{
	struct dirent *entry;
	int fd = -1, r = store_dir_find(store, "partial", &fd, err);

	*ret = (struct image_swept){0};
	if (r != 0)
		return r < 0 ? r : 0;
	cleanup_closedir DIR *dir = fdopendir(fd);
	if (!dir) {
		r = err_sys(err, "read partial blobs");
		close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = sweep_file(dirfd(dir), entry->d_name, sweep, ret, err);
	return r;
}
