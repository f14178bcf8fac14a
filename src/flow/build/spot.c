/* SPDX-License-Identifier: Apache-2.0 */
#include "build/spot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"

void spot_done(struct spot *spot)
{
	free(spot->path);
	*spot = (struct spot){0};
}

/* ---- on the mounted tree ---- */

/* The deepest directory of `target` that is there; *ret_known is the length of its path. */
static int find_known(int root, const char *target, size_t *ret_known)
{
	cleanup_close int at = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	*ret_known = 0;
	for (size_t end = 1; at >= 0 && target[end - 1]; end++) {
		if (target[end] != '/' && target[end] != '\0')
			continue;
		cleanup_free char *prefix = xstrndup(target, end);
		int fd = dir_open_in_root(root, prefix, O_PATH | O_DIRECTORY, 0, NULL);
		if (fd < 0)
			break;
		close(at);
		at = fd;
		*ret_known = end;
		if (!target[end])
			break;
	}
	return take_fd(&at);
}

static bool may_write(const struct stat *st, const struct dir_owner *owner)
{
	if (!owner || owner->uid == 0)
		return true;
	mode_t bits = st->st_uid == owner->uid ? 0300 : st->st_gid == owner->gid ? 0030 : 0003;
	return (st->st_mode & bits) == bits;
}

static bool is_empty(int dir)
{
	cleanup_closedir DIR *list = NULL;
	int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, NULL);
	int count = 0;

	if (fd < 0)
		return false;
	list = fdopendir(fd);
	if (!list) {
		close(fd);
		return false;
	}
	while (count < 3 && readdir(list))
		count++;
	return count == 2; /* "." and ".." */
}

static char *parent_of(const struct spot *spot)
{
	size_t n = strlen(spot->path);

	for (size_t up = spot->made ? spot->made : 1; up > 0; up--) {
		while (n > 0 && spot->path[n - 1] != '/')
			n--;
		n -= n > 0; /* the '/' */
	}
	return n ? xstrndup(spot->path, n) : xstrdup(".");
}

/* It must be in the upper directory: a change of its mode to what it was brings it there. */
static bool copy_up(int dir)
{
	struct stat st;
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, NULL);

	return fd >= 0 && fstat(fd, &st) == 0 && fchmod(fd, st.st_mode & 07777) == 0;
}

static bool take_existing(int root, int dir, const struct spot_wish *wish, struct spot *spot)
{
	struct stat st;

	if (!spot->path[0] || (wish->only_empty && !is_empty(dir)))
		return false;
	if (fstat(dir, &st) < 0 || !may_write(&st, wish->owner))
		return false;
	cleanup_free char *parent = parent_of(spot);
	if (fstatat(root, parent, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	spot->times[0] = st.st_atim;
	spot->times[1] = st.st_mtim;
	return copy_up(dir);
}

static int make_one(int parent, const char *name, const struct dir_owner *owner)
{
	if (mkdirat(parent, name, 0755) < 0)
		return -1; /* EEXIST: a file, or a link that leads nowhere */
	if (owner && fchownat(parent, name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool make_rest(int parent, const char *rest, const struct spot_wish *wish, struct spot *spot)
{
	cleanup_close int at = openat(parent, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct str text = str_of(rest + strspn(rest, "/"));
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0 || !may_write(&st, wish->owner))
		return false;
	spot->times[0] = st.st_atim;
	spot->times[1] = st.st_mtim;
	while (text.p) {
		struct str part = str_cut(&text, '/');
		if (!dir_is_name(part))
			return false;
		cleanup_free char *name = str_dup(part);
		int next = make_one(at, name, wish->owner);
		if (next < 0)
			return false;
		close(at);
		at = next;
		spot->made++;
	}
	return true;
}

bool spot_make(int root, const char *target, const struct spot_wish *wish, struct spot *ret)
{
	cleanup(buf_done) struct buf path = {0};
	size_t known;
	cleanup_close int at = find_known(root, target, &known);
	cleanup_free char *prefix = xstrndup(target, known);

	*ret = (struct spot){0};
	if (at < 0 || (known && dir_resolve(root, prefix, &path, NULL) < 0))
		return false;
	const char *rest = target + known;
	buf_add_text(&path, path.len ? rest : rest + strspn(rest, "/"));
	ret->path = xstrdup(buf_text(&path));
	return *rest ? make_rest(at, rest, wish, ret) : take_existing(root, at, wish, ret);
}

/* ---- on the upper directory ---- */

static int open_parent(const struct spot *spot, int fs)
{
	cleanup_free char *parent = parent_of(spot);

	return dir_open_beneath(fs, parent, O_RDONLY | O_DIRECTORY, 0, NULL);
}

void spot_grafted(struct spot *spot, int fs)
{
	struct stat st;
	cleanup_close int parent = open_parent(spot, fs);

	if (parent >= 0 && fstat(parent, &st) == 0)
		spot->grafted = st.st_mtim;
}

void spot_has_run(struct spot *spot, int fs)
{
	struct stat st;
	cleanup_close int parent = open_parent(spot, fs);

	if (parent < 0 || fstat(parent, &st) < 0)
		return;
	spot->now[0] = st.st_atim;
	spot->now[1] = st.st_mtim;
}

/* From the last component up, as long as nothing is in it. False: something stays. */
static bool remove_made(const struct spot *spot, int fs)
{
	cleanup_free char *path = xstrdup(spot->path);

	for (size_t i = 0; i < spot->made; i++) {
		char *slash = strrchr(path, '/');
		const char *parent = slash ? path : ".", *name = slash ? slash + 1 : path;
		if (slash)
			*slash = '\0';
		cleanup_close int dir = dir_open_beneath(fs, parent, O_PATH | O_DIRECTORY, 0, NULL);
		if (dir >= 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return false;
	}
	return true;
}

void spot_undo(struct spot *spot, int root)
{
	if (spot->path && spot->made && remove_made(spot, root)) {
		cleanup_close int parent = open_parent(spot, root);
		if (parent >= 0)
			(void)futimens(parent, spot->times); /* only tidiness is lost */
	}
	spot_done(spot);
}

void spot_tidy(struct spot *spot, int fs)
{
	bool is_gone = remove_made(spot, fs);
	cleanup_close int parent = open_parent(spot, fs);
	bool is_unchanged = spot->now[1].tv_sec == spot->grafted.tv_sec &&
			    spot->now[1].tv_nsec == spot->grafted.tv_nsec;

	/* Only tidiness is lost. */
	if (parent >= 0)
		(void)futimens(parent, is_gone && is_unchanged ? spot->times : spot->now);
}
