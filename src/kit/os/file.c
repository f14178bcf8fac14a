/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"

enum { CHUNK = 64 * 1024 };

int file_read_fd(int fd, size_t limit, struct buf *ret, struct err *err)
{
	size_t start = ret->len;

	for (;;) {
		ssize_t n = read(fd, buf_reserve(ret, CHUNK), CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read");
		buf_commit(ret, (size_t)n);
		if (n == 0)
			return 0;
		if (ret->len - start > limit)
			return err_set(err, ERR_LIMIT, "larger than %zu bytes", limit);
	}
}

int file_read(int dirfd, const char *path, size_t limit, struct buf *ret, struct err *err)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_sys(err, "read %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INPUT, "read %s: is a directory", path);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return err_set(err, ERR_INPUT, "read %s: not a regular file", path);
	if (file_read_fd(fd, limit, ret, err) < 0)
		return err_wrap(err, "%s", path);
	return 0;
}

int file_write_fd(int fd, struct str data, struct err *err)
{
	while (data.n) {
		ssize_t n = write(fd, data.p, data.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "write");
		data = str_from_index(data, (size_t)n);
	}
	return 0;
}

/* `path` is what the file is going to be called, for errors. */
static int write_synced(int dirfd, const char *temp, const char *path, struct str data, mode_t mode,
	struct err *err)
{
	cleanup_close int fd =
		openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd < 0)
		return err_sys(err, "create %s", path);
	if (file_write_fd(fd, data, err) < 0)
		return err_wrap(err, "%s", path);
	return fsync(fd) == 0 ? 0 : err_sys(err, "fsync %s", path);
}

static int sync_parent(int dirfd, const char *path, int dir_len, struct err *err)
{
	cleanup_free char *parent = dir_len ? xstrndup(path, (size_t)dir_len) : xstrdup(".");
	cleanup_close int dir = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* A directory that may be written but not read cannot be synced. */
	if (dir >= 0 && fsync(dir) < 0)
		return err_sys(err, "fsync directory of %s", path);
	return 0;
}

int file_replace(int dirfd, const char *path, struct str data, mode_t mode, struct err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int dir_len = (int)(name - path);
	cleanup_free char *temp = xprintf("%.*s.%.200s.%d.tmp", dir_len, path, name, (int)getpid());

	/* Only this process uses the name: what is there is from a dead one with our pid. */
	if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove %s", temp);
	int r = write_synced(dirfd, temp, path, data, mode, err);
	if (r == 0 && renameat(dirfd, temp, dirfd, path) < 0)
		r = err_sys(err, "rename to %s", path);
	if (r < 0) {
		(void)unlinkat(dirfd, temp, 0); /* the first error is the one to tell */
		return r;
	}
	return sync_parent(dirfd, path, dir_len, err);
}

static ssize_t copy_some(int from, int to, bool *range_works)
{
	enum { MOST = 1 << 30 };

	if (*range_works) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, MOST, 0);
		if (n > 0)
			return n;
		/* 0 can also mean that this file system does not say; sendfile settles it. */
		*range_works = false;
	}
	return sendfile(to, from, NULL, MOST);
}

int file_copy(int from, int to, uint64_t *ret_bytes, struct err *err)
{
	bool range_works = true;
	uint64_t total = 0;

	for (;;) {
		ssize_t n = copy_some(from, to, &range_works);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "copy");
		if (n == 0)
			break;
		total += (uint64_t)n;
	}
	if (ret_bytes)
		*ret_bytes = total;
	return 0;
}

void file_new_name(char name[static FILE_NEW_NAME_SIZE])
{
	uint64_t random = 0;

	/* Never short and never interrupted for so few bytes (getrandom(2)). */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		abort();
	snprintf(name, FILE_NEW_NAME_SIZE, "%016" PRIx64, random);
}
