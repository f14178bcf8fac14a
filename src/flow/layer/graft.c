/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cache in the upper directory of a draft. Across file system boundaries, and a bind mount is
 * one, nothing can be hard linked or cloned, so a tool that links from its cache would copy
 * instead. Therefore the cache itself is renamed into the tree, opaque so that nothing of lower
 * layers shows through, and renamed out again before the tree becomes a layer.
 *
 * active/ID/graft-NAME records it from before the first renaming until after the last: the
 * directory's inode, a blank, its path. The inode tells whether the directory that is at the
 * path afterwards is still the cache, for a program in the tree can move things.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/number.h"
#include "layer/cache.h"
#include "os/file.h"

#define RECORD "graft-"
#define STUB   "stub-"
#define TREE   DRAFT_LAYER "/" LAYER_FS

enum { RECORD_LIMIT = 8192, FILE_NAME_SIZE = CACHE_NAME_SIZE + 8 };

/* A directory's parent in the draft's tree, without a link on the way, and its name. */
static int find_spot(int draft_dir, const char *path, struct dir_place *ret, struct err *err)
{
	struct str rest = str_of(path);
	size_t slash = str_rfind(rest, '/');
	struct str name = slash < rest.n ? str_from_index(rest, slash + 1) : rest;
	cleanup_free char *parent = xprintf(TREE "/%.*s", (int)(slash < rest.n ? slash : 0), path);

	if (!dir_is_name(name))
		return err_set(err, ERR_INPUT, "%s: not a place for a cache", path);
	ret->fd = dir_open_beneath(draft_dir, parent, O_PATH | O_DIRECTORY, 0, err);
	if (ret->fd < 0)
		return ret->fd;
	memcpy(ret->name, name.p, name.n);
	ret->name[name.n] = '\0';
	return 0;
}

static int set_opaque(int dirfd, const char *name, bool is_opaque, struct err *err)
{
	cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd;

	if (fd >= 0 && is_opaque)
		r = fsetxattr(fd, XATTR_OPAQUE, "y", 1, 0);
	else if (fd >= 0)
		r = fremovexattr(fd, XATTR_OPAQUE);
	if (r < 0 && (is_opaque || errno != ENODATA))
		return err_sys(err, "mark cache");
	return 0;
}

static int restore(
	const struct layer_store *store, int draft_dir, const char *file, struct err *err);

int graft_end(struct layer_cache *c, struct err *err)
{
	char file[FILE_NAME_SIZE];

	if (c->draft_dir < 0)
		return 0;
	snprintf(file, sizeof(file), RECORD "%s", c->name);
	int r = restore(c->store, c->draft_dir, file, err);
	close(take_fd(&c->draft_dir));
	free(take_ptr(c->path));
	return r;
}

/* ---- In ---- */

/* flock(2) gives the shared lock up before it fails to get the exclusive one. */
static int be_alone(struct layer_cache *c, struct err *err)
{
	if (c->is_alone || flock(c->lock, LOCK_EX | LOCK_NB) == 0) {
		c->is_alone = true;
		return 0;
	}
	if (errno != EWOULDBLOCK || flock(c->lock, LOCK_SH) < 0)
		return err_sys(err, "lock cache");
	return LAYER_E_BUSY;
}

static int write_record(const struct layer_cache *c, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char file[FILE_NAME_SIZE];
	struct stat st;

	if (fstat(c->fs, &st) < 0)
		return err_sys(err, "stat cache");
	buf_printf(&text, "%" PRIu64 " %s", (uint64_t)st.st_ino, c->path);
	snprintf(file, sizeof(file), RECORD "%s", c->name);
	cleanup_close int fd = openat(
		c->draft_dir, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "record cache");
	return file_write_fd(fd, buf_str(&text), err);
}

static int move_in(const struct layer_cache *c, const struct dir_place *to, struct err *err)
{
	char stub[FILE_NAME_SIZE];

	snprintf(stub, sizeof(stub), STUB "%s", c->name);
	if (set_opaque(c->home, LAYER_FS, true, err) < 0)
		return -(int)err->kind;
	if (renameat(to->fd, to->name, c->draft_dir, stub) < 0)
		return err_sys(err, "make place for the cache");
	if (renameat2(c->home, LAYER_FS, to->fd, to->name, RENAME_NOREPLACE) < 0)
		return err_sys(err, "move the cache into the tree");
	return 0;
}

static int check_empty(const struct dir_place *at, const char *path, struct err *err)
{
	cleanup_closedir DIR *list = NULL;
	cleanup_close int fd =
		openat(at->fd, at->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "%s", path);
	list = list_open(fd, err);
	if (!list)
		return err_wrap(err, "%s", path);
	int count = 0;
	while (readdir(list))
		count++;
	/* "." and "..". */
	return count == 2 ? 0 : err_set(err, ERR_INPUT, "%s: not empty in the new layer", path);
}

int layer_cache_graft(
	struct layer_cache *cache, struct layer_draft *draft, const char *path, struct err *err)
{
	cleanup(dir_place_done) struct dir_place to = DIR_PLACE_NONE;
	struct err local = {0};

	if (cache_is(cache, CACHE_EDITED))
		return LAYER_E_BUSY;
	path += strspn(path, "/");
	int r = find_spot(draft->dir, path, &to, &local);
	if (r == 0)
		r = check_empty(&to, path, &local);
	if (r == 0)
		r = be_alone(cache, &local);
	if (r == 0)
		r = cache_note(cache, CACHE_LINKED, &local);
	if (r == 0) {
		cache->draft_dir = fcntl(draft->dir, F_DUPFD_CLOEXEC, 0);
		cache->path = xstrdup(path);
		r = cache->draft_dir < 0 ? err_sys(&local, "duplicate descriptor")
					 : write_record(cache, &local);
		if (r == 0)
			r = move_in(cache, &to, &local);
		if (r < 0)
			(void)graft_end(cache, NULL); /* the first error counts */
	}
	if (r < 0 && err)
		*err = local;
	return r;
}

/* ---- Out ---- */

static bool read_record(int draft_dir, const char *file, uint64_t *ret_inode, struct buf *ret_path)
{
	cleanup(buf_done) struct buf text = {0};

	if (file_read(draft_dir, file, RECORD_LIMIT, &text, NULL) < 0)
		return false;
	struct str rest = buf_str(&text);
	struct str inode = str_cut(&rest, ' ');
	if (!rest.p || !parse_u64(inode, UINT64_MAX, ret_inode))
		return false;
	buf_add_str(ret_path, rest);
	return true;
}

/* Moves the directory out if it is the one that went in; otherwise it is lost, no error. */
static int move_out(int draft_dir, const char *file, int home, struct err *err)
{
	cleanup(dir_place_done) struct dir_place at = DIR_PLACE_NONE;
	cleanup(buf_done) struct buf path = {0};
	uint64_t inode;
	struct stat st;
	char stub[FILE_NAME_SIZE];

	if (!read_record(draft_dir, file, &inode, &path) ||
		find_spot(draft_dir, buf_text(&path), &at, NULL) < 0 ||
		fstatat(at.fd, at.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (st.st_ino == inode && S_ISDIR(st.st_mode)) {
		if (renameat2(at.fd, at.name, home, LAYER_FS, RENAME_NOREPLACE) < 0)
			return errno == EEXIST ? 0 : err_sys(err, "take the cache out");
		int r = set_opaque(home, LAYER_FS, false, err);
		if (r < 0)
			return r;
	}
	snprintf(stub, sizeof(stub), STUB "%s", file + sizeof(RECORD) - 1);
	if (renameat2(draft_dir, stub, at.fd, at.name, RENAME_NOREPLACE) < 0 && errno != ENOENT &&
		errno != EEXIST)
		return err_sys(err, "put the mount point back");
	return 0;
}

static int restore(
	const struct layer_store *store, int draft_dir, const char *file, struct err *err)
{
	cleanup_close int home = openat(store->places[PLACE_CACHES], file + sizeof(RECORD) - 1,
		O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (home >= 0) {
		int r = move_out(draft_dir, file, home, err);
		if (r < 0)
			return r;
	}
	if (unlinkat(draft_dir, file, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove record of cache");
	return 0;
}

static bool is_record(const char *name)
{
	return strncmp(name, RECORD, sizeof(RECORD) - 1) == 0 && strlen(name) < FILE_NAME_SIZE;
}

int layer_cache_ungraft(struct layer_cache *cache, struct err *err)
{
	return graft_end(cache, err);
}

int graft_restore(const struct layer_store *store, int dir, struct err *err)
{
	cleanup_closedir DIR *list = list_open(dir, err);
	const char *name;
	int r = 0;

	if (!list)
		return err_wrap(err, "grafted caches");
	while (r == 0 && (name = list_next(list))) {
		if (is_record(name))
			r = restore(store, dir, name, err);
	}
	return r;
}

int graft_check_none(int dir, struct err *err)
{
	cleanup_closedir DIR *list = list_open(dir, err);
	const char *name;

	if (!list)
		return err_wrap(err, "grafted caches");
	while ((name = list_next(list))) {
		if (is_record(name))
			return err_set(err, ERR_BUG, "a cache is still grafted into the layer");
	}
	return 0;
}
