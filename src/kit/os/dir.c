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

/* A new directory is opened before anything is changed, so that nothing else can be. */
static int make_one(
	int parent, const char *name, mode_t mode, const struct dir_owner *owner, struct err *err)
{
	if (mkdirat(parent, name, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(err, "make directory %s", name);
	cleanup_close int fd =
		openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open new directory %s", name);
	if (owner && fchown(fd, owner->uid, owner->gid) < 0)
		return err_sys(err, "change owner of %s", name);
	/* The umask must not take part: the mode is the caller's. */
	return fchmod(fd, mode) == 0 ? 0 : err_sys(err, "change mode of %s", name);
}

/* A path on its way through a root: what it led to so far, and what is still to come. */
struct walk {
	int root;
	int at;		 /* the directory `done` */
	struct buf done; /* without links: "", "/usr", "/usr/lib" */
	struct buf todo;
	int links;
};

static void walk_done(struct walk *w)
{
	if (w->at >= 0)
		close(w->at);
	buf_done(&w->done);
	buf_done(&w->todo);
}

DEFINE_CLEANUP_VALUE(struct walk, walk_done);

static int walk_move(struct walk *w, int fd, const char *name, struct err *err)
{
	if (fd < 0)
		return err_sys(err, "open %s", name);
	if (w->at >= 0)
		close(w->at);
	w->at = fd;
	return 0;
}

/* To the directory `done`, from the root again: after ".." or an absolute link. */
static int walk_restart(struct walk *w, struct err *err)
{
	const char *path = w->done.len ? w->done.data + 1 : ".";
	unsigned resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

	return walk_move(
		w, open_resolved(w->root, path, O_PATH | O_DIRECTORY, 0, resolve), path, err);
}

static int walk_enter(struct walk *w, const char *name, struct err *err)
{
	int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int r = walk_move(w, openat(w->at, name, flags), name, err);

	if (r == 0)
		buf_printf(&w->done, "/%s", name);
	return r;
}

static int walk_up(struct walk *w, struct err *err)
{
	if (w->done.len)
		buf_truncate(&w->done, str_rfind(buf_str(&w->done), '/'));
	return walk_restart(w, err);
}

/* The next component, or "" at the end; a name that no file can have is an error. */
static int walk_next(struct walk *w, char name[static NAME_MAX + 1], struct err *err)
{
	name[0] = '\0';
	while (w->todo.len && !name[0]) {
		struct str rest = buf_str(&w->todo);
		struct str part = str_cut(&rest, '/');
		if (part.n > NAME_MAX) {
			errno = ENAMETOOLONG;
			return err_sys(err, "open %.40s...", part.p);
		}
		if (part.n && !str_is(part, ".")) {
			memcpy(name, part.p, part.n);
			name[part.n] = '\0';
		}
		buf_cut_front(&w->todo, rest.p ? w->todo.len - rest.n : w->todo.len);
	}
	/* Slashes at the end name nothing more. */
	while (w->todo.len && w->todo.data[0] == '/')
		buf_cut_front(&w->todo, 1);
	return 0;
}

/* 1: the name is a link, and its target now stands before what is still to come. */
static int walk_link(struct walk *w, const char *name, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(w->at, name, target, sizeof(target));

	if (n <= 0)
		return 0;
	if (++w->links > MAX_LINKS || n == sizeof(target)) {
		errno = ELOOP;
		return err_sys(err, "follow %s", name);
	}
	struct buf rest = w->todo;
	w->todo = (struct buf){0};
	buf_add(&w->todo, target, (size_t)n);
	buf_add_char(&w->todo, '/');
	buf_add_str(&w->todo, buf_str(&rest));
	buf_done(&rest);
	if (target[0] != '/')
		return 1;
	buf_clear(&w->done);
	return walk_restart(w, err) < 0 ? -(int)err->kind : 1;
}

static int walk_start(struct walk *w, const char *path, struct err *err)
{
	buf_add_text(&w->todo, path);
	return walk_restart(w, err);
}

/*
 * One component further. last: where a component that is no link and has nothing after it is
 * put instead of being entered. 1: the path is at its end.
 */
static int walk_step(struct walk *w, const struct dir_make *make, char *last, struct err *err)
{
	char name[NAME_MAX + 1];

	if (walk_next(w, name, err) < 0)
		return -(int)err->kind;
	if (!name[0])
		return 1;
	if (strcmp(name, "..") == 0)
		return walk_up(w, err);
	int r = walk_link(w, name, err);
	if (r)
		return r < 0 ? r : 0;
	if (last && w->todo.len == 0) {
		memcpy(last, name, strlen(name) + 1);
		return 1;
	}
	if (make && make_one(w->at, name, make->mode, make->owner, err) < 0)
		return -(int)err->kind;
	return walk_enter(w, name, err);
}

static int walk_all(
	struct walk *w, const char *path, const struct dir_make *make, char *last, struct err *err)
{
	int r = walk_start(w, path, err);

	while (r == 0)
		r = walk_step(w, make, last, err);
	return r > 0 ? 0 : err_wrap(err, "%s", path);
}

int dir_make_all(
	int root, const char *path, mode_t mode, const struct dir_owner *owner, struct err *err)
{
	struct err local = {0};
	/* Everything exists: the common case is one call. */
	int fd = open_resolved(root, path, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);

	if (fd >= 0)
		return fd;
	cleanup(walk_done) struct walk w = {.root = root, .at = -1};
	struct dir_make make = {mode, owner};
	int r = walk_all(&w, path, &make, NULL, err ? err : &local);
	return r < 0 ? r : take_fd(&w.at);
}

int dir_find_target(int root, const char *path, const struct dir_make *make, struct dir_place *ret,
	struct err *err)
{
	struct err local = {0};
	cleanup(walk_done) struct walk w = {.root = root, .at = -1};
	char last[NAME_MAX + 1] = ".";
	int r = walk_all(&w, path, make, last, err ? err : &local);

	if (r < 0)
		return r;
	memcpy(ret->name, last, sizeof(last));
	ret->fd = take_fd(&w.at);
	return 0;
}

int dir_resolve(int root, const char *path, struct buf *ret, struct err *err)
{
	struct err local = {0};
	struct stat st;
	cleanup(walk_done) struct walk w = {.root = root, .at = -1};
	char last[NAME_MAX + 1] = ".";
	int r = walk_all(&w, path, NULL, last, err ? err : &local);

	if (r < 0)
		return r;
	if (fstatat(w.at, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "open %s", path);
	if (strcmp(last, ".") != 0)
		buf_printf(&w.done, "/%s", last);
	buf_add_str(ret, str_from_index(buf_str(&w.done), 1));
	return 0;
}

int dir_reopen(int fd, int flags, struct err *err)
{
	int again = openat(fd, ".", flags | O_DIRECTORY | O_CLOEXEC);

	return again >= 0 ? again : err_sys(err, "open directory");
}
