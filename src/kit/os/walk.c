/* SPDX-License-Identifier: Apache-2.0 */
#include "os/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* A directory that is being walked: what is still to be entered in it. */
struct level {
	char **names;
	struct stat *stats;
	size_t count, next;
	size_t names_cap, stats_cap;
	dev_t dev;
	ino_t ino;
};

struct walk {
	int fd; /* of the deepest level */
	dev_t dev;
	struct level *levels;
	size_t depth, cap;
	walk_visit *visit;
	void *arg;
};

static void level_done(struct level *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->names[i]);
	free(l->names);
	free(l->stats);
}

static void walk_done(struct walk *w)
{
	while (w->depth)
		level_done(&w->levels[--w->depth]);
	free(w->levels);
	if (w->fd >= 0)
		close(w->fd);
}
DEFINE_CLEANUP_VALUE(struct walk, walk_done);

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static struct walk_entry entry_of(
	const struct walk *w, enum walk_step step, const char *name, const struct stat *st)
{
	return (struct walk_entry){
		.step = step,
		.dirfd = w->fd,
		.name = name,
		.depth = (unsigned)w->depth - 1,
		.st = *st,
	};
}

static void remember(struct level *l, const char *name, const struct stat *st)
{
	l->names = xgrow(l->names, &l->names_cap, l->count + 1, sizeof(*l->names));
	l->stats = xgrow(l->stats, &l->stats_cap, l->count + 1, sizeof(*l->stats));
	l->names[l->count] = xstrdup(name);
	l->stats[l->count++] = *st;
}

/* Shows the files of the deepest level and remembers its directories. */
static int list(struct walk *w, struct err *err)
{
	struct level *l = &w->levels[w->depth - 1];
	struct dirent *d;
	struct stat st;
	int copy = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return err_sys(err, "duplicate descriptor");
	cleanup_closedir DIR *dir = fdopendir(copy);
	if (!dir) {
		close(copy);
		return err_sys(err, "list directory");
	}
	while ((errno = 0, d = readdir(dir))) {
		if (is_dots(d->d_name) || fstatat(w->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			remember(l, d->d_name, &st);
			continue;
		}
		struct walk_entry entry = entry_of(w, WALK_ENTRY, d->d_name, &st);
		int r = w->visit(w->arg, &entry, err);
		if (r < 0)
			return r;
	}
	/* A directory that somebody else removes meanwhile has no entries: ENOENT. */
	return errno && errno != ENOENT ? err_sys(err, "list directory") : 0;
}

/* Makes fd the deepest level; takes fd. */
static int push(struct walk *w, int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		close(fd);
		return err_sys(err, "stat directory");
	}
	if (w->fd >= 0)
		close(w->fd);
	w->fd = fd;
	w->levels = xgrow(w->levels, &w->cap, w->depth + 1, sizeof(*w->levels));
	w->levels[w->depth++] = (struct level){.dev = st.st_dev, .ino = st.st_ino};
	return list(w, err);
}

/* Back to the directory above, which must be the one that was left. */
static int pop(struct walk *w, struct err *err)
{
	struct stat st;

	level_done(&w->levels[--w->depth]);
	if (w->depth == 0)
		return 0;
	const struct level *above = &w->levels[w->depth - 1];
	int fd = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open directory above");
	close(w->fd);
	w->fd = fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat directory above");
	if (st.st_dev != above->dev || st.st_ino != above->ino)
		return err_set(err, ERR_BUSY, "a directory was moved while it was walked");
	return 0;
}

/* Takes the next directory of the deepest level; 1 when there is none. */
static int descend(struct walk *w, struct err *err)
{
	struct level *l = &w->levels[w->depth - 1];

	if (l->next == l->count)
		return 1;
	const char *name = l->names[l->next];
	const struct stat *st = &l->stats[l->next++];
	struct walk_entry entry = entry_of(w, WALK_ENTER, name, st);
	int r = w->visit(w->arg, &entry, err);
	if (r < 0 || r == WALK_SKIP || st->st_dev != w->dev)
		return r < 0 ? r : 0;
	int fd = openat(w->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	return push(w, fd, err);
}

static int leave(struct walk *w, struct err *err)
{
	int r = pop(w, err);

	if (r < 0 || w->depth == 0)
		return r;
	const struct level *l = &w->levels[w->depth - 1];
	struct walk_entry entry =
		entry_of(w, WALK_LEAVE, l->names[l->next - 1], &l->stats[l->next - 1]);
	return w->visit(w->arg, &entry, err);
}

int walk_tree(int top, walk_visit *visit, void *arg, struct err *err)
{
	cleanup(walk_done) struct walk w = {.fd = -1, .visit = visit, .arg = arg};
	struct stat st;
	int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		return err_sys(err, "open directory");
	}
	w.dev = st.st_dev;
	int r = push(&w, fd, err);
	while (r >= 0 && w.depth) {
		r = descend(&w, err);
		if (r == 1)
			r = leave(&w, err);
	}
	return r < 0 ? r : 0;
}
