/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "fetch/internal.h"
#include "os/dir.h"
#include "os/file.h"
#include "os/walk.h"

#define DOWNLOADS "downloads"

enum { DAY = 24 * 60 * 60, PIECE = 1 << 20, ENTRIES_MAX = 1000000 };

int fetch_open(int store_dir, int *ret_dir, struct err *err)
{
	int dir = openat(store_dir, DOWNLOADS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOENT ? FETCH_E_ABSENT : err_sys(err, "open " DOWNLOADS);
	*ret_dir = dir;
	return 0;
}

int fetch_make(int store_dir, int *ret_dir, struct err *err)
{
	static const char *const parts[] = {FETCH_FILES, FETCH_URLS, FETCH_TREES};

	if (mkdirat(store_dir, DOWNLOADS, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make " DOWNLOADS " in the store");
	cleanup_close int dir =
		dir_open_beneath(store_dir, DOWNLOADS, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return dir;
	for (size_t i = 0; i < array_size(parts); i++)
		if (mkdirat(dir, parts[i], 0700) < 0 && errno != EEXIST)
			return err_sys(err, "make " DOWNLOADS "/%s", parts[i]);
	*ret_dir = take_fd(&dir);
	return 0;
}

/* The directory itself is what is locked: opened anew, since its descriptors are inherited. */
static int lock(int dir, int how, int *ret_lock, struct err *err)
{
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, err);

	if (fd < 0)
		return fd;
	while (flock(fd, how) < 0) {
		if (errno == EWOULDBLOCK)
			return FETCH_E_BUSY;
		if (errno != EINTR)
			return err_sys(err, "lock " DOWNLOADS);
	}
	*ret_lock = take_fd(&fd);
	return 0;
}

int fetch_hold(int dir, int *ret_lock, struct err *err)
{
	return lock(dir, LOCK_SH, ret_lock, err);
}

void kept_temporary(char name[static 40])
{
	char random[FILE_NEW_NAME_SIZE];

	file_new_name(random);
	snprintf(name, 40, "tmp-%s", random);
}

/* ---- Files ---- */

static int hash_fd(int fd, struct digest *ret, struct err *err)
{
	cleanup(hasher_free) struct hasher *hasher = hasher_new();
	cleanup_free char *piece = xmalloc(PIECE);
	ssize_t n;

	while ((n = read(fd, piece, PIECE)) != 0) {
		if (n < 0 && errno != EINTR)
			return err_sys(err, "read a kept download");
		if (n > 0)
			hasher_add(hasher, piece, (size_t)n);
	}
	*ret = hasher_finish(hasher);
	return lseek(fd, 0, SEEK_SET) < 0 ? err_sys(err, "rewind a kept download") : 0;
}

int fetch_find(
	int dir, const struct digest *digest, struct fetch_file *ret, int *ret_fd, struct err *err)
{
	static const struct timespec used_now[] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	char hex[DIGEST_HEX_SIZE], path[sizeof(FETCH_FILES) + DIGEST_HEX_SIZE];
	struct digest is;
	struct stat st;

	snprintf(path, sizeof(path), FETCH_FILES "/%s", digest_hex(digest, hex));
	cleanup_close int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? FETCH_E_ABSENT : err_sys(err, "open a kept download");
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat a kept download");
	int r = hash_fd(fd, &is, err);
	if (r < 0)
		return r;
	if (!digest_eq(&is, digest)) {
		/* Torn by a crash of the machine. */
		(void)unlinkat(dir, path, 0);
		return FETCH_E_ABSENT;
	}
	(void)futimens(fd, used_now); /* another user's: it only goes a little sooner */
	*ret = (struct fetch_file){.digest = is,
		.size = (uint64_t)st.st_size,
		.mtime = st.st_mtim.tv_sec * INT64_C(1000000000)};
	*ret_fd = take_fd(&fd);
	return 0;
}

/* ---- What goes ---- */

struct kept {
	char path[280];
	uint64_t size;
	int64_t used;
};

struct collection {
	struct kept *items;
	size_t count, cap;
	uint64_t total;
	const char *part;
};

static uint64_t disk_size(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512;
}

/* A file, or a directory and then all that is in it. */
static int take_entry(void *arg, const struct walk_entry *e, struct err *err)
{
	struct collection *c = arg;
	bool is_tree = strcmp(c->part, FETCH_TREES) == 0;

	if (e->step == WALK_LEAVE)
		return 0;
	if (e->depth == 0) {
		if (c->count == ENTRIES_MAX)
			return err_set(err, ERR_LIMIT, "too many downloads are kept");
		c->items = xgrow(c->items, &c->cap, c->count + 1, sizeof(*c->items));
		struct kept *item = &c->items[c->count++];
		*item = (struct kept){
			.used = is_tree ? e->st.st_mtim.tv_sec : e->st.st_atim.tv_sec};
		snprintf(item->path, sizeof(item->path), "%s/%s", c->part, e->name);
	}
	if (c->count)
		c->items[c->count - 1].size += disk_size(&e->st);
	c->total += disk_size(&e->st);
	return 0;
}

static int by_use(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return x->used < y->used ? -1 : x->used > y->used;
}

static int collect(int dir, struct collection *c, struct err *err)
{
	/* Records of URLs are small; they go with the rest or are found to lead nowhere. */
	static const char *const parts[] = {FETCH_FILES, FETCH_URLS, FETCH_TREES};

	for (size_t i = 0; i < array_size(parts); i++) {
		cleanup_close int fd =
			openat(dir, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "open " DOWNLOADS "/%s", parts[i]);
		c->part = parts[i];
		int r = walk_tree(fd, take_entry, c, err);
		if (r < 0)
			return r;
	}
	if (c->count)
		qsort(c->items, c->count, sizeof(*c->items), by_use);
	return 0;
}

static int remove_path(int dir, const char *path, struct err *err)
{
	cleanup_free char *part = str_dup(str_slice(str_of(path), 0, str_find(str_of(path), '/')));
	cleanup_close int fd = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open " DOWNLOADS "/%s", part);
	return dir_remove_tree(fd, path + strlen(part) + 1, err);
}

static int drop_oldest(int dir, uint64_t max_bytes, struct err *err)
{
	struct collection c = {0};
	int r = collect(dir, &c, err);

	for (size_t i = 0; i < c.count && r == 0 && c.total > max_bytes; i++) {
		r = remove_path(dir, c.items[i].path, err);
		c.total -= c.items[i].size;
	}
	free(c.items);
	return r;
}

static int drop_temporary(void *arg, const struct walk_entry *e, struct err *err)
{
	const int64_t *now = arg;

	if (e->step == WALK_LEAVE || e->depth || strncmp(e->name, "tmp-", 4) != 0)
		return e->step == WALK_ENTER ? WALK_SKIP : 0;
	if (*now - e->st.st_mtim.tv_sec < DAY)
		return e->step == WALK_ENTER ? WALK_SKIP : 0;
	int r = dir_remove_tree(e->dirfd, e->name, err);
	return r < 0 || e->step != WALK_ENTER ? r : WALK_SKIP;
}

int fetch_trim(int dir, uint64_t max_bytes, struct err *err)
{
	cleanup_close int held = -1;
	int64_t now = time(NULL);

	int r = lock(dir, LOCK_EX | LOCK_NB, &held, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = walk_tree(dir, drop_temporary, &now, err);
	return r < 0 || !max_bytes ? r : drop_oldest(dir, max_bytes, err);
}
