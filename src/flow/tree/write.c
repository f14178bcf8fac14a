/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "base/map.h"
#include "os/file.h"
#include "tree/copy.h"

/* ---- Metadata ---- */

static struct dir_owner owner_of(const struct copier *c, const struct tree_entry *e)
{
	return c->options->owner ? *c->options->owner : (struct dir_owner){e->uid, e->gid};
}

static mode_t mode_of(const struct copier *c, const struct tree_entry *e)
{
	return c->options->mode ? tree_mode_apply(c->options->mode, e->mode) : e->mode & 07777;
}

static void times_of(
	const struct copier *c, const struct tree_entry *e, struct timespec ret[static 2])
{
	int64_t ns = c->options->has_mtime ? c->options->mtime : e->mtime;
	int64_t rest = (ns % 1000000000 + 1000000000) % 1000000000;

	ret[0] = ret[1] = (struct timespec){(ns - rest) / 1000000000, rest};
}

static int owner_failed(struct copier *c, const struct tree_entry *e, struct err *err)
{
	struct dir_owner o = owner_of(c, e);
	int sys = errno;

	(void)tree_copier_failed(c, e, "change owner of", err);
	if (sys == EINVAL)
		return err_hint(err,
			"%u:%u is not among the IDs of the user namespace; "
			"/etc/subuid and /etc/subgid say which are",
			o.uid, o.gid);
	return -(int)err->kind;
}

/* A file system that cannot store a time (before 1901, after 2446) is no reason to fail. */
void tree_write_times(struct copier *c, int fd, const struct tree_entry *e)
{
	struct timespec times[2];

	times_of(c, e, times);
	(void)futimens(fd, times);
}

/*
 * A new file is its maker's and has the mode it was made with, which is nearly always what it
 * is to be. To look costs less than to set.
 */
static bool is_as_meant(struct dir_owner o, mode_t mode, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == o.uid && st.st_gid == o.gid &&
	       (st.st_mode & 07777) == mode;
}

/* In this order: a new owner clears set-user-ID bits and capabilities, writing sets times. */
int tree_write_metadata(struct copier *c, int fd, const struct tree_entry *e, struct err *err)
{
	struct dir_owner o = owner_of(c, e);
	mode_t mode = mode_of(c, e);

	if (!is_as_meant(o, mode, fd)) {
		if (fchown(fd, o.uid, o.gid) < 0)
			return owner_failed(c, e, err);
		if (fchmod(fd, mode) < 0)
			return tree_copier_failed(c, e, "change mode of", err);
	}
	tree_xattrs_write(fd, e);
	tree_write_times(c, fd, e);
	return 0;
}

/* The same for what cannot be opened. */
static int write_metadata_at(struct copier *c, const struct target *t, struct err *err)
{
	const struct tree_entry *e = t->entry;
	struct dir_owner o = owner_of(c, e);
	struct timespec times[2];

	if (fchownat(t->dir, t->name, o.uid, o.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return owner_failed(c, e, err);
	if (!S_ISLNK(e->mode) && fchmodat(t->dir, t->name, mode_of(c, e), AT_SYMLINK_NOFOLLOW) < 0)
		return tree_copier_failed(c, e, "change mode of", err);
	times_of(c, e, times);
	(void)utimensat(t->dir, t->name, times, AT_SYMLINK_NOFOLLOW); /* see tree_write_times() */
	return 0;
}

/* ---- Creating ---- */

/* Each returns a descriptor or 0, or < 0 with errno; EEXIST when the name is taken. */

static int create_regular(const struct target *t)
{
	return openat(t->dir, t->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		t->mode & 0777);
}

static int create_link(const struct target *t)
{
	return symlinkat(t->entry->target, t->dir, t->name);
}

static int create_fifo(const struct target *t)
{
	return mkfifoat(t->dir, t->name, 0600);
}

/* Character device 0:0 is overlayfs's mark of a deleted file; a COPY --link writes into a layer. */
static int create_device(const struct target *t)
{
	if (S_ISCHR(t->entry->mode) && t->entry->rdev == 0) {
		errno = EPERM;
		return -1;
	}
	return mknodat(t->dir, t->name, (t->entry->mode & S_IFMT) | 0600, t->entry->rdev);
}

static const struct {
	mode_t type;
	int (*create)(const struct target *t);
	const char *what;
} kinds[] = {
	{S_IFREG, create_regular, "create file"},
	{S_IFLNK, create_link, "create link"},
	{S_IFIFO, create_fifo, "create FIFO"},
	{S_IFCHR, create_device, "create device"},
	{S_IFBLK, create_device, "create device"},
};

static int directory_in_the_way(struct copier *c, const struct tree_entry *e, struct err *err)
{
	(void)err_set(err, ERR_FAILED, "cannot replace the directory %s with a file",
		tree_copier_where(c, e));
	return err_hint(err, "remove it in an earlier step, or copy to another place");
}

/* Frees a name that is taken, never following it. 1: it is free now. */
static int remove_taken(struct copier *c, const struct target *t, struct err *err)
{
	struct stat st;

	if (errno != EEXIST)
		return 0;
	if (unlinkat(t->dir, t->name, 0) == 0 || errno == ENOENT)
		return 1;
	if (fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return directory_in_the_way(c, t->entry, err);
	return tree_copier_failed(c, t->entry, "replace", err);
}

static int create_failed(
	struct copier *c, const struct target *t, const char *what, struct err *err)
{
	bool is_device = S_ISCHR(t->entry->mode) || S_ISBLK(t->entry->mode);
	int sys = errno;

	(void)tree_copier_failed(c, t->entry, what, err);
	if (is_device && sys == EPERM)
		return err_hint(err, "device nodes cannot be made in a user namespace; "
				     "leave it out with --exclude or .dockerignore");
	return -(int)err->kind;
}

/* Returns a descriptor for regular files, 0 for others. */
static int create(struct copier *c, const struct target *t, struct err *err)
{
	size_t i = 0;

	while (i < array_size(kinds) && kinds[i].type != (t->entry->mode & S_IFMT))
		i++;
	if (i == array_size(kinds))
		return err_set(
			err, ERR_BUG, "%s has no known type", tree_copier_where(c, t->entry));
	int fd = kinds[i].create(t);
	if (fd >= 0)
		return fd;
	int r = remove_taken(c, t, err);
	if (r < 0)
		return r;
	if (r)
		fd = kinds[i].create(t);
	return fd >= 0 ? fd : create_failed(c, t, kinds[i].what, err);
}

/* ---- Contents ---- */

/* Small files in one piece: for them that is faster than what copies inside of the kernel. */
static int copy_small(
	struct copier *c, const struct target *t, int to, uint64_t *ret, struct err *err)
{
	size_t have = 0;
	ssize_t n;

	do {
		n = read(t->content, c->block + have, COPIER_BLOCK - have);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "read");
		have += n > 0 ? (size_t)n : 0;
	} while (n != 0 && have < t->entry->size);
	*ret = have;
	return file_write_fd(to, str_from(c->block, have), err);
}

static int write_content(struct copier *c, const struct target *t, int to, struct err *err)
{
	const struct tree_entry *e = t->entry;
	struct stat st;
	uint64_t bytes = 0;

	int r = e->size < COPIER_BLOCK ? copy_small(c, t, to, &bytes, err)
				       : file_copy(t->content, to, &bytes, err);
	if (r < 0) {
		errno = err->sys;
		return tree_copier_failed(c, e, "write", err);
	}
	/* The sender saw the file unchanged when it opened it. Is it still? */
	if (fstat(t->content, &st) < 0)
		return tree_copier_failed(c, e, "stat source of", err);
	if (bytes == e->size && (uint64_t)st.st_size == e->size && stat_ns(&st.st_mtim) == e->mtime)
		return 0;
	(void)err_set(err, ERR_FAILED, "the source of %s changed while the build was reading it",
		tree_copier_where(c, e));
	return err_hint(err, "build again; if a program keeps writing to the file, "
			     "list it in .dockerignore");
}

static struct str link_key(const uint32_t *number)
{
	return str_from((const char *)number, sizeof(*number));
}

static void remember_link(struct copier *c, const struct tree_entry *e)
{
	/* Not in the arena, which is emptied with each source: kept until the copy ends. */
	char *path = str_dup(str_of(tree_copier_where(c, e)));

	free(map_set(c->links, link_key(&e->link), path));
}

/* 1: it is another name of what was written before. */
static int write_link(struct copier *c, const struct target *t, struct err *err)
{
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
	const char *path = map_find(c->links, link_key(&t->entry->link));

	if (!path || dir_find_target(c->root, path, NULL, &place, NULL) < 0)
		return 0;
	if (linkat(place.fd, place.name, t->dir, t->name, 0) == 0)
		return 1;
	int r = remove_taken(c, t, err);
	if (r <= 0)
		return r;
	/* Too many links, or the first name was just replaced by this one: a copy does as well. */
	return linkat(place.fd, place.name, t->dir, t->name, 0) == 0;
}

static int write_regular(struct copier *c, const struct target *t, struct err *err)
{
	struct target made = *t;

	made.mode = mode_of(c, t->entry);
	cleanup_close int fd = create(c, &made, err);
	if (fd < 0)
		return fd;
	if (t->content >= 0 && write_content(c, t, fd, err) < 0)
		return -(int)err->kind;
	return tree_write_metadata(c, fd, t->entry, err);
}

int tree_write_entry(struct copier *c, const struct target *t, struct err *err)
{
	const struct tree_entry *e = t->entry;
	int r;

	if (!S_ISREG(e->mode)) {
		r = create(c, t, err);
		return r < 0 ? r : write_metadata_at(c, t, err);
	}
	if (e->link && e->link != c->feed->number) {
		r = write_link(c, t, err);
		if (r)
			return r < 0 ? r : 0;
	}
	r = write_regular(c, t, err);
	if (r == 0 && e->link == c->feed->number)
		remember_link(c, e);
	return r;
}
