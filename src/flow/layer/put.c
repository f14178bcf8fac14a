/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to the tree that is being unpacked. Directories are resolved inside the root, with links
 * followed there; the last component is never followed: what is in its place goes, and the
 * new thing is made so that it fails if something is there.
 *
 * Attributes in this order: owner, mode (chown clears setuid), extended attributes (chown
 * clears capabilities), times.
 */
#include "layer/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer/internal.h"
#include "layer/recipe.h"
#include "os/walk.h"

enum { IMPLIED_MODE = 0755, NAMES_LIMIT = 512 << 20 };

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* ---- Directories on the way ---- */

static int mark_opaque(struct unpack *u, int dirfd, const char *name, struct err *err)
{
	cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open directory");
	if (fsetxattr(fd, XATTR_OPAQUE, "y", 1, 0) < 0 && !u->is_best_effort)
		return err_sys(err, "set %s", XATTR_OPAQUE);
	u->has_opaque = true;
	return 0;
}

static int make_implied(const struct spot *at, struct err *err)
{
	if (mkdirat(at->dirfd, at->name, IMPLIED_MODE) < 0 ||
		fchmodat(at->dirfd, at->name, IMPLIED_MODE, 0) < 0)
		return err_sys(err, "make directory");
	return 0;
}

/* What was below the whited out name stays hidden by the directory that takes its place. */
static int replace_whiteout(struct unpack *u, const struct spot *at, struct err *err)
{
	if (unlinkat(at->dirfd, at->name, 0) < 0)
		return err_sys(err, "remove whiteout");
	int r = make_implied(at, err);
	return r < 0 ? r : mark_opaque(u, at->dirfd, at->name, err);
}

/* A whiteout among the directories of the path: there is something below it after all. */
static int replace_whiteouts(struct unpack *u, const char *path, struct err *err)
{
	struct str whole = str_of(path);

	for (size_t end = 1; end <= whole.n; end++) {
		cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
		struct stat st;
		if (end < whole.n && path[end] != '/')
			continue;
		cleanup_free char *front = str_dup(str_slice(whole, 0, end));
		int r = dir_find_place(u->root, front, &place, err);
		if (r < 0)
			return r;
		if (fstatat(place.fd, place.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return 0;
		struct spot at = {place.fd, place.name, front};
		r = is_whiteout(&st) ? replace_whiteout(u, &at, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_parents(struct unpack *u, const char *path, struct err *err)
{
	const struct dir_owner root = {0, 0};
	const struct dir_owner *owner = u->options->owner ? u->options->owner : &root;

	/* They count as entries, or a short archive could make any number of them. */
	for (const char *c = path; *c; c++)
		u->stats->entries += *c == '/';
	u->stats->entries++;
	return dir_make_all(u->root, path, IMPLIED_MODE, u->is_best_effort ? NULL : owner, err);
}

static int open_parent(struct unpack *u, const char *path, struct err *err)
{
	struct err local = {0};
	int fd = dir_open_in_root(u->root, path, O_PATH | O_DIRECTORY, 0, &local);

	if (fd < 0 && local.sys == ENOTDIR) {
		int r = replace_whiteouts(u, path, err);
		if (r < 0)
			return r;
	}
	if (fd < 0 && (local.sys == ENOENT || local.sys == ENOTDIR))
		return make_parents(u, path, err);
	if (fd < 0) {
		*err = local;
		return -(int)err->kind;
	}
	return fd;
}

int put_find(struct unpack *u, const char *path, struct spot *ret, struct err *err)
{
	struct str whole = str_of(path);
	size_t slash = str_rfind(whole, '/');
	struct str parent = slash < whole.n ? str_slice(whole, 0, slash) : STR("");

	if (u->parent_fd < 0 || !str_eq(buf_str(&u->parent_path), parent)) {
		cleanup_free char *dir = str_dup(parent);
		int fd = open_parent(u, dir, err);
		if (fd < 0)
			return fd;
		if (u->parent_fd >= 0)
			close(u->parent_fd);
		u->parent_fd = fd;
		buf_clear(&u->parent_path);
		buf_add_str(&u->parent_path, parent);
	}
	ret->dirfd = u->parent_fd;
	ret->name = slash < whole.n ? path + slash + 1 : path;
	ret->path = path;
	return 0;
}

int put_find_target(struct unpack *u, const char *path, struct dir_place *ret, struct err *err)
{
	struct stat st;
	struct err local = {0};

	if (dir_find_place(u->root, path, ret, &local) < 0 ||
		fstatat(ret->fd, ret->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_whiteout(&st))
		return err_set(err, ERR_INPUT,
			"hard link to %.300s, which this archive does not hold before it", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INPUT, "hard link to %.300s, a directory", path);
	return 0;
}

/* ---- Making and replacing ---- */

/* Returns a descriptor or 0, or -1 with errno; EEXIST when something is there. */
typedef int make_fn(const struct spot *at, const void *arg);

static int make_file(const struct spot *at, const void *arg)
{
	(void)arg;
	return openat(
		at->dirfd, at->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int make_dir(const struct spot *at, const void *arg)
{
	(void)arg;
	return mkdirat(at->dirfd, at->name, 0700);
}

static int make_symlink(const struct spot *at, const void *arg)
{
	return symlinkat(arg, at->dirfd, at->name);
}

static int make_fifo(const struct spot *at, const void *arg)
{
	(void)arg;
	return mkfifoat(at->dirfd, at->name, 0600);
}

static int make_link(const struct spot *at, const void *arg)
{
	const struct dir_place *target = arg;

	return linkat(target->fd, target->name, at->dirfd, at->name, 0);
}

static int remove_existing(
	const struct unpack *u, const struct spot *at, const struct stat *st, struct err *err)
{
	if (u->recipe)
		recipe_break(u->recipe); /* the archive holds more than the tree */
	if (S_ISDIR(st->st_mode))
		return dir_remove_tree(at->dirfd, at->name, err);
	if (unlinkat(at->dirfd, at->name, 0) < 0)
		return err_sys(err, "remove what was there");
	return 0;
}

/* Make it, in place of anything that is there. Returns what `make` returned, or < 0. */
static int replace(const struct unpack *u, const struct spot *at, make_fn *make, const void *arg,
	struct err *err)
{
	struct stat st;
	int fd = make(at, arg);

	if (fd < 0 && errno == EEXIST) {
		if (fstatat(at->dirfd, at->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, "stat what is there");
		int r = remove_existing(u, at, &st, err);
		if (r < 0)
			return r;
		fd = make(at, arg);
	}
	return fd >= 0 ? fd : err_sys(err, "create");
}

/* ---- Attributes ---- */

static int owner_of(
	const struct unpack *u, const struct tar_entry *e, struct dir_owner *ret, struct err *err)
{
	if (u->options->owner) {
		*ret = *u->options->owner;
		return 0;
	}
	if (e->uid < 0 || e->gid < 0 || e->uid >= UINT32_MAX || e->gid >= UINT32_MAX)
		return err_set(err, ERR_INPUT, "owner %lld:%lld is no user and group",
			(long long)e->uid, (long long)e->gid);
	*ret = (struct dir_owner){(uid_t)e->uid, (gid_t)e->gid};
	return 0;
}

static int owner_refused(const struct unpack *u, const struct dir_owner *owner, struct err *err)
{
	if (u->is_best_effort)
		return 0;
	if (errno != EINVAL)
		return err_sys(err, "change owner to %u:%u", owner->uid, owner->gid);
	(void)err_set(err, ERR_INPUT,
		"owner %u:%u is outside of the range of users and groups that images may have here",
		owner->uid, owner->gid);
	return err_hint(err,
		"Images may use ids up to 65535. Ids beyond that come from the host on "
		"which the image was made; rebuild it with chown to smaller ones.");
}

static bool is_kept_xattr(const char *name)
{
	return strcmp(name, "security.capability") == 0 ||
	       (strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0);
}

/* Kept as far as the file system allows; a layer without some is still that layer. */
static int set_xattrs(struct unpack *u, int fd, const char *path, struct err *err)
{
	const char *name;
	struct str value;

	while (tar_xattr(u->tar, &name, &value)) {
		u->xattr_bytes += strlen(name) + value.n;
		if (u->xattr_bytes > u->limits.xattr_bytes)
			return err_set(err, ERR_LIMIT,
				"extended attributes of more than %llu bytes in all",
				(unsigned long long)u->limits.xattr_bytes);
		if (is_kept_xattr(name) && fsetxattr(fd, name, value.p, value.n, 0) == 0)
			continue;
		u->stats->xattrs++;
		unpack_note(u, path, "extended attributes dropped");
	}
	return 0;
}

static int set_times(int fd, const struct tar_entry *e, struct err *err)
{
	const struct timespec times[2] = {e->mtime, e->mtime};

	return futimens(fd, times) == 0 ? 0 : err_sys(err, "set times");
}

/* All but the times, which for a directory come last. */
static int set_attributes(
	struct unpack *u, int fd, const struct tar_entry *e, const char *path, struct err *err)
{
	struct dir_owner owner = {0};
	mode_t mode = e->mode & 07777;

	int r = owner_of(u, e, &owner, err);
	if (r == 0 && fchown(fd, owner.uid, owner.gid) < 0)
		r = owner_refused(u, &owner, err);
	if (r < 0)
		return r;
	if (u->is_best_effort)
		mode |= 0700; /* or nothing could be put below it */
	if (fchmod(fd, mode) < 0)
		return err_sys(err, "change mode");
	return set_xattrs(u, fd, path, err);
}

/* Of a thing that is not opened: a link, a FIFO. */
static int set_attributes_at(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	const struct timespec times[2] = {e->mtime, e->mtime};
	struct dir_owner owner = {0};

	int r = owner_of(u, e, &owner, err);
	if (r == 0 && fchownat(at->dirfd, at->name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = owner_refused(u, &owner, err);
	if (r < 0)
		return r;
	/* A FIFO that was just made: nothing is followed here. Links have no mode. */
	if (!S_ISLNK(e->mode) && fchmodat(at->dirfd, at->name, e->mode & 07777, 0) < 0)
		return err_sys(err, "change mode");
	if (utimensat(at->dirfd, at->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "set times");
	return 0;
}

static int remember_time(
	struct unpack *u, const struct tar_entry *e, const char *path, struct err *err)
{
	if (u->arena.used > NAMES_LIMIT)
		return err_set(
			err, ERR_LIMIT, "more names of directories than %d MiB", NAMES_LIMIT >> 20);
	u->times = arena_grow(&u->arena, u->times, u->time_count, &u->time_cap, sizeof(*u->times));
	u->times[u->time_count++] = (struct dir_time){arena_strdup(&u->arena, path), e->mtime};
	return 0;
}

/* ---- Kinds of entries ---- */

static int write_at(int fd, struct str data, uint64_t offset, struct err *err)
{
	while (data.n) {
		ssize_t n = pwrite(fd, data.p, data.n, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "write");
		data = str_from_index(data, (size_t)n);
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_content(struct unpack *u, int fd, const struct tar_entry *e, struct err *err)
{
	uint64_t offset, end = 0;
	struct str data;
	int r;

	while ((r = tar_data(u->tar, &data, &offset, err)) == 0) {
		if (offset > e->size || data.n > e->size - offset)
			return err_set(err, ERR_INPUT, "more content than its size says");
		if (write_at(fd, data, offset, err) < 0)
			return -(int)err->kind;
		end = offset + data.n;
		u->stats->bytes += data.n;
		unpack_report(u);
	}
	if (r < 0)
		return r;
	/* The hole at the end of a sparse file. */
	if (end < e->size && ftruncate(fd, (off_t)e->size) < 0)
		return err_sys(err, "extend to %llu bytes", (unsigned long long)e->size);
	return 0;
}

int put_file(struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	cleanup_close int fd = replace(u, at, make_file, NULL, err);

	if (fd < 0)
		return fd;
	if (u->recipe && e->size)
		recipe_name(u->recipe, at->path, e->size);
	int r = write_content(u, fd, e, err);
	if (r == 0)
		r = set_attributes(u, fd, e, at->path, err);
	return r < 0 ? r : set_times(fd, e, err);
}

/* An existing directory stays, with all that is in it. */
static int ensure_dir(struct unpack *u, const struct spot *at, struct err *err)
{
	struct stat st;

	if (make_dir(at, NULL) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(err, "make directory");
	if (fstatat(at->dirfd, at->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, "stat what is there");
	if (S_ISDIR(st.st_mode))
		return 0;
	if (is_whiteout(&st))
		return replace_whiteout(u, at, err);
	return replace(u, at, make_dir, NULL, err);
}

static int dress_dir(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	cleanup_close int fd =
		openat(at->dirfd, at->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open directory");
	int r = set_attributes(u, fd, e, at->path, err);
	return r < 0 ? r : remember_time(u, e, at->path, err);
}

int put_dir(struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	int r = ensure_dir(u, at, err);

	return r < 0 ? r : dress_dir(u, at, e, err);
}

int put_root(struct unpack *u, const struct tar_entry *e, struct err *err)
{
	const struct spot at = {u->root, ".", "."};

	return dress_dir(u, &at, e, err);
}

int put_symlink(struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	int r = replace(u, at, make_symlink, e->target, err);

	return r < 0 ? r : set_attributes_at(u, at, e, err);
}

int put_fifo(struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	int r = replace(u, at, make_fifo, NULL, err);

	return r < 0 ? r : set_attributes_at(u, at, e, err);
}

int put_hard_link(struct unpack *u, const struct spot *at, const char *target, struct err *err)
{
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
	struct stat old, st;

	int r = put_find_target(u, target, &place, err);
	if (r < 0)
		return r;
	/* Said twice, or a link to itself: to remove it first would remove the file. */
	if (fstatat(at->dirfd, at->name, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
		fstatat(place.fd, place.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		old.st_ino == st.st_ino && old.st_dev == st.st_dev)
		return 0;
	return replace(u, at, make_link, &place, err);
}

int put_whiteout(struct unpack *u, const struct spot *at, struct err *err)
{
	struct stat st;

	/*
	 * Whiteouts speak of lower layers only, wherever they stand in the archive: what this
	 * layer has there already stays, and hides the lower one as it is.
	 */
	if (fstatat(at->dirfd, at->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode) ? mark_opaque(u, at->dirfd, at->name, err) : 0;
	if (mknodat(at->dirfd, at->name, S_IFCHR, makedev(0, 0)) < 0 && !u->is_best_effort)
		return err_sys(err, "make whiteout");
	u->has_whiteout = true;
	return 0;
}

int put_opaque(struct unpack *u, const struct spot *at, struct err *err)
{
	return mark_opaque(u, at->dirfd, ".", err);
}

int put_system_dir(struct unpack *u, const struct spot *at, struct err *err)
{
	struct stat st;

	if (fstatat(at->dirfd, at->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return 0;
	int r = replace(u, at, make_dir, NULL, err);
	if (r == 0 && fchmodat(at->dirfd, at->name, IMPLIED_MODE, 0) < 0)
		r = err_sys(err, "change mode");
	return r;
}

/* ---- The end ---- */

struct purge {
	bool is_inside; /* of an opaque directory, at this depth: */
	unsigned depth;
};

static bool is_opaque(int dirfd, const char *name)
{
	char value = 0;
	cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && fgetxattr(fd, XATTR_OPAQUE, &value, 1) == 1 && value == 'y';
}

static int purge_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	struct purge *p = arg;

	if (e->step == WALK_ENTRY && p->is_inside && is_whiteout(&e->st) &&
		unlinkat(e->dirfd, e->name, 0) < 0)
		return err_sys(err, "remove whiteout %s", e->name);
	if (e->step == WALK_ENTER && !p->is_inside && is_opaque(e->dirfd, e->name)) {
		p->is_inside = true;
		p->depth = e->depth;
	}
	if (e->step == WALK_LEAVE && p->is_inside && p->depth == e->depth)
		p->is_inside = false;
	return 0;
}

/*
 * Below an opaque directory nothing is merged, so overlayfs would show whiteouts there by
 * name.
 */
static int purge_whiteouts(struct unpack *u, struct err *err)
{
	struct purge p = {.is_inside = is_opaque(u->root, "."), .depth = UINT32_MAX};

	if (!u->has_opaque || !u->has_whiteout)
		return 0;
	return walk_tree(u->root, purge_entry, &p, err);
}

static int set_dir_time(const struct unpack *u, const struct dir_time *t, struct err *err)
{
	const struct timespec times[2] = {t->mtime, t->mtime};
	cleanup_close int fd =
		dir_open_in_root(u->root, t->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, NULL);

	/* Replaced by something else since: that has its own time. */
	if (fd < 0)
		return 0;
	return futimens(fd, times) == 0 ? 0 : err_sys(err, "set times of %.300s", t->path);
}

int put_finish(struct unpack *u, struct err *err)
{
	int r = purge_whiteouts(u, err);

	for (size_t i = 0; r == 0 && i < u->time_count; i++)
		r = set_dir_time(u, &u->times[i], err);
	return r;
}
