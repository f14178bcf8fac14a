/* SPDX-License-Identifier: Apache-2.0 */
#include "os/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/buf.h"

enum { MAX_LINKS = 40 };

/* EAGAIN means that a rename raced with a ".." of the walk: the kernel asks to try again. */
static int openat2_retry(int root, const char *path, struct open_how *how)
{
	for (int tries = 0; tries < 32; tries++) {
		int fd = (int)syscall(SYS_openat2, root, path, how, sizeof(*how));
		if (fd >= 0 || errno != EAGAIN)
			return fd;
	}
	return -1;
}

static int open_resolved(int root, const char *path, int flags, mode_t mode, unsigned resolve)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};

	return openat2_retry(root, *path ? path : ".", &how);
}

int dir_open_in_root(int root, const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = open_resolved(root, path, flags, mode, RESOLVE_IN_ROOT);

	return fd >= 0 ? fd : err_sys(err, "open %s", path);
}

int dir_open_beneath(int root, const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = open_resolved(root, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);

	return fd >= 0 ? fd : err_sys(err, "open %s", path);
}

void dir_place_done(struct dir_place *place)
{
	if (place->fd >= 0)
		close(place->fd);
	place->fd = -1;
}

bool dir_is_name(struct str name)
{
	return name.n > 0 && name.n <= NAME_MAX && !str_is(name, ".") && !str_is(name, "..") &&
	       !memchr(name.p, '/', name.n) && !memchr(name.p, '\0', name.n);
}

int dir_find_place(int root, const char *path, struct dir_place *ret, struct err *err)
{
	struct str rest = str_of(path);

	while (rest.n && rest.p[rest.n - 1] == '/')
		rest.n--;
	size_t slash = str_rfind(rest, '/');
	struct str name = slash < rest.n ? str_from_index(rest, slash + 1) : rest;
	struct str parent = slash < rest.n ? str_slice(rest, 0, slash) : STR("");
	if (rest.n == 0 || str_is(name, "."))
		name = STR(".");
	else if (!dir_is_name(name))
		return err_set(err, ERR_INPUT, "%s: not a usable path", path);
	cleanup_free char *dir = str_dup(parent);
	int fd = dir_open_in_root(root, *dir ? dir : "/", O_PATH | O_DIRECTORY, 0, err);
	if (fd < 0)
		return fd;
	ret->fd = fd;
	memcpy(ret->name, name.p, name.n);
	ret->name[name.n] = '\0';
	return 0;
}

static int make_one(
	int parent, const char *name, mode_t mode, const struct dir_owner *owner, struct err *err)
{
	if (mkdirat(parent, name, mode) < 0)
		return errno == EEXIST ? 0 : err_sys(err, "make directory %s", name);
	if (owner && fchownat(parent, name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "change owner of %s", name);
	/* The umask must not take part: the mode is the caller's. */
	if (fchmodat(parent, name, mode, 0) < 0)
		return err_sys(err, "change mode of %s", name);
	return 0;
}

/*
 * One component below the directory `at` (which is "done" inside root): entered if it is a
 * directory; a link replaces the rest of the path by its target.
 */
static int step(
	int root, struct buf *done, struct buf *todo, struct str name, int *links, struct err *err)
{
	char target[PATH_MAX];

	cleanup_close int at =
		dir_open_in_root(root, done->len ? done->data : "/", O_PATH | O_DIRECTORY, 0, err);
	if (at < 0)
		return at;
	cleanup_free char *component = str_dup(name);
	ssize_t n = readlinkat(at, component, target, sizeof(target) - 1);
	if (n < 0) {
		buf_add_char(done, '/');
		buf_add_str(done, name);
		return at >= 0 ? 0 : -1;
	}
	if (++*links > MAX_LINKS) {
		errno = ELOOP;
		return err_sys(err, "follow %s", component);
	}
	cleanup(buf_done) struct buf rest = {0};
	buf_add(&rest, target, (size_t)n);
	buf_add_char(&rest, '/');
	buf_add_str(&rest, buf_str(todo));
	if (n > 0 && target[0] == '/')
		buf_clear(done);
	buf_clear(todo);
	buf_add_str(todo, buf_str(&rest));
	return 0;
}

static void go_up(struct buf *done)
{
	buf_truncate(done, str_rfind(buf_str(done), '/') % (done->len + 1));
}

static int make_component(
	int root, struct buf *done, mode_t mode, const struct dir_owner *owner, struct err *err)
{
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;

	if (dir_find_place(root, done->data, &place, err) < 0)
		return -(int)err->kind;
	return make_one(place.fd, place.name, mode, owner, err);
}

int dir_make_all(
	int root, const char *path, mode_t mode, const struct dir_owner *owner, struct err *err)
{
	cleanup(buf_done) struct buf done = {0};
	cleanup(buf_done) struct buf todo = {0};
	int links = 0;

	/* Everything exists: the common case is one call. */
	int fd = open_resolved(root, path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
	if (fd >= 0)
		return fd;
	struct err local = {0};
	if (!err)
		err = &local;
	buf_add_text(&todo, path);
	while (todo.len) {
		struct str rest = buf_str(&todo);
		struct str name = str_cut(&rest, '/');
		cleanup_free char *component = str_dup(name);
		name = str_of(component);
		buf_cut_front(&todo, rest.p ? todo.len - rest.n : todo.len);
		if (name.n == 0 || str_is(name, "."))
			continue;
		if (str_is(name, "..")) {
			go_up(&done);
			continue;
		}
		size_t before = done.len;
		if (step(root, &done, &todo, name, &links, err) < 0 ||
			(done.len > before && make_component(root, &done, mode, owner, err) < 0))
			return err_wrap(err, "%s", path);
	}
	return dir_open_in_root(root, done.len ? done.data : "/", O_PATH | O_DIRECTORY, 0, err);
}

int dir_reopen(int fd, int flags, struct err *err)
{
	int again = openat(fd, ".", flags | O_DIRECTORY | O_CLOEXEC);

	return again >= 0 ? again : err_sys(err, "open directory");
}
