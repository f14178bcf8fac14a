/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/dir.h"

enum { MAX_LINKS = 20 };

struct made {
	int parent;
	char name[256];
	dev_t dev;
	ino_t ino;
	bool is_dir;
	struct timespec times[2]; /* of the parent, before */
	struct timespec after;	  /* its modification time when this had been made */
};

struct sandbox_mountpoints {
	struct made *items;
	size_t count, cap;
};

struct sandbox_mountpoints *mountpoints_new(void)
{
	return xcalloc(1, sizeof(struct sandbox_mountpoints));
}

void mountpoints_free(struct sandbox_mountpoints *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < all->count; i++)
		close(all->items[i].parent);
	free(all->items);
	free(all);
}

static int create(int parent, const char *name, bool is_dir)
{
	if (is_dir)
		return mkdirat(parent, name, 0755);
	cleanup_close int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return fd < 0 ? -1 : 0;
}

static void remember(struct sandbox_mountpoints *all, struct dir_place *place,
	const struct stat *parent, const struct stat *st)
{
	all->items = xgrow(all->items, &all->cap, all->count + 1, sizeof(*all->items));
	struct made *m = &all->items[all->count++];
	*m = (struct made){.parent = take_fd(&place->fd),
		.dev = st->st_dev,
		.ino = st->st_ino,
		.is_dir = S_ISDIR(st->st_mode),
		.times = {parent->st_atim, parent->st_mtim}};
	memcpy(m->name, place->name, sizeof(m->name));
	struct stat now;
	if (fstat(m->parent, &now) == 0)
		m->after = now.st_mtim;
}

/* What is to be made, and how many links led to it. */
struct wanted {
	const char *path;
	bool is_dir;
	int links;
};

static int make_path(
	struct sandbox_mountpoints *all, int root, const struct wanted *wanted, struct err *err);

/* The runtime follows a link that leads nowhere, inside the root: so its target is made. */
static int make_target(struct sandbox_mountpoints *all, int root, const struct wanted *link,
	const struct dir_place *place, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(place->fd, place->name, target, sizeof(target) - 1);

	if (n <= 0 || link->links >= MAX_LINKS)
		return err_set(err, ERR_INPUT, "mount point %s: too many links", link->path);
	target[n] = '\0';
	int dir_len = (int)(strrchr(link->path, '/') - link->path);
	cleanup_free char *full = target[0] == '/'
					  ? xstrdup(target)
					  : xprintf("%.*s/%s", dir_len, link->path, target);
	const struct wanted next = {full, link->is_dir, link->links + 1};
	return make_path(all, root, &next, err);
}

/* One component whose parent exists. */
static int make_one(
	struct sandbox_mountpoints *all, int root, const struct wanted *wanted, struct err *err)
{
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
	const char *path = wanted->path;
	struct stat parent, st;

	int r = dir_find_place(root, path, &place, err);
	if (r < 0)
		return r;
	if (fstat(place.fd, &parent) < 0)
		return err_sys(err, "stat parent of %s", path);
	if (fstatat(place.fd, place.name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		return make_target(all, root, wanted, &place, err);
	if (create(place.fd, place.name, wanted->is_dir) < 0)
		return err_sys(err, "make mount point %s", path);
	if (fstatat(place.fd, place.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat %s", path);
	remember(all, &place, &parent, &st);
	return 0;
}

static bool exists(int root, const char *path)
{
	cleanup_close int fd = dir_open_in_root(root, path, O_PATH, 0, NULL);

	return fd >= 0;
}

static int make_path(
	struct sandbox_mountpoints *all, int root, const struct wanted *wanted, struct err *err)
{
	size_t len = strlen(wanted->path);

	for (size_t end = 1; end <= len; end++) {
		if (wanted->path[end] != '/' && wanted->path[end] != '\0')
			continue;
		cleanup_free char *prefix = xstrndup(wanted->path, end);
		if (exists(root, prefix))
			continue;
		const struct wanted part = {prefix, end < len || wanted->is_dir, wanted->links};
		int r = make_one(all, root, &part, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int mountpoint_make(
	struct sandbox_mountpoints *all, int root, const char *path, bool is_dir, struct err *err)
{
	const struct wanted wanted = {.path = path, .is_dir = is_dir};

	return make_path(all, root, &wanted, err);
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* A parent that nobody else changed gets the times from before; else those it has now. */
static void remove_one(const struct made *m)
{
	struct stat st, parent;

	if (fstat(m->parent, &parent) < 0)
		return;
	const struct timespec now[2] = {parent.st_atim, parent.st_mtim};
	bool is_ours = is_same_time(&parent.st_mtim, &m->after);
	if (fstatat(m->parent, m->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != m->dev ||
		st.st_ino != m->ino || (!m->is_dir && st.st_size != 0))
		return;
	/* A directory that has got content stays: the step put it there. */
	if (unlinkat(m->parent, m->name, m->is_dir ? AT_REMOVEDIR : 0) < 0)
		return;
	cleanup_close int dir = openat(m->parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		(void)futimens(dir, is_ours ? m->times : now); /* only tidiness is lost */
}

void mountpoints_remove(struct sandbox_mountpoints *all)
{
	while (all->count) {
		struct made *m = &all->items[--all->count];
		remove_one(m);
		close(m->parent);
	}
}
