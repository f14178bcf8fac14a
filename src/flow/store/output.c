/* SPDX-License-Identifier: Apache-2.0 */
#include "store/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"

static char *temporary_name(void)
{
	char name[FILE_NEW_NAME_SIZE];

	file_new_name(name);
	return xprintf(".spaceport-%s", name);
}

static int open_unnamed(struct output *o, struct err *err)
{
	o->fd = openat(o->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
	if (o->fd >= 0)
		return 0;
	/* Old kernels take the flag for O_DIRECTORY. */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return err_sys(err, "write into the directory");
	o->temp = temporary_name();
	o->fd = openat(o->dir, o->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (o->fd >= 0)
		return 0;
	free(take_ptr(o->temp));
	return err_sys(err, "write into the directory");
}

static int open_beside(const char *path, struct output *o, struct err *err)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir =
		slash ? str_dup(str_from(path, (size_t)(slash - path) + 1)) : xstrdup(".");

	o->name = xstrdup(slash ? slash + 1 : path);
	o->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dir < 0)
		return err_sys(err, "%s", dir);
	int r = open_unnamed(o, err);
	return r < 0 ? err_wrap(err, "%s", path) : 0;
}

int output_open(const char *path, struct output *ret, struct err *err)
{
	cleanup(output_done) struct output o = {.fd = -1, .dir = -1};
	struct stat st;
	int r = 0;

	if (!path[0] || path[strlen(path) - 1] == '/')
		return err_set(err, ERR_INPUT, "\"%s\" is no name of a file", path);
	bool is_there = stat(path, &st) == 0;
	if (is_there && S_ISDIR(st.st_mode))
		return err_set(err, ERR_INPUT, "%s: is a directory", path);
	if (is_there && !S_ISREG(st.st_mode)) {
		o.fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (o.fd < 0)
			r = err_sys(err, "%s", path);
	} else {
		r = open_beside(path, &o, err);
	}
	if (r < 0)
		return r;
	*ret = o;
	o = (struct output){.fd = -1, .dir = -1};
	return 0;
}

static int give_name(struct output *o, struct err *err)
{
	cleanup_free char *name = temporary_name();
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", o->fd);
	if (linkat(AT_FDCWD, link, o->dir, name, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(err, "name %s", o->name);
	o->temp = take_ptr(name);
	return 0;
}

int output_keep(struct output *o, struct err *err)
{
	int r = o->dir < 0 || o->temp ? 0 : give_name(o, err);

	if (r < 0 || o->dir < 0)
		return r;
	if (renameat(o->dir, o->temp, o->dir, o->name) < 0)
		return err_sys(err, "rename to %s", o->name);
	free(take_ptr(o->temp));
	return 0;
}

void output_done(struct output *o)
{
	if (o->temp)
		(void)unlinkat(o->dir, o->temp, 0);
	if (o->fd >= 0)
		close(o->fd);
	if (o->dir >= 0)
		close(o->dir);
	free(o->name);
	free(o->temp);
	*o = (struct output){.fd = -1, .dir = -1};
}
