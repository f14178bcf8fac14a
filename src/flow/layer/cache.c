/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache mounts: caches/NAME/fs is the directory, caches/NAME/lock says who uses it, and by its
 * time when that began, caches/NAME/id holds the id. NAME is the hash of the id; a private copy has
 * a number behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "layer/cache.h"
#include "os/file.h"
#include "os/lock.h"

enum { PRIVATE_COPIES = 64 };

static void name_of(struct str id, unsigned copy, char name[static CACHE_NAME_SIZE])
{
	char hex[DIGEST_HEX_SIZE];
	struct digest d = digest_of(id.p, id.n);

	snprintf(name, CACHE_NAME_SIZE, "%.40s", digest_hex(&d, hex));
	if (copy)
		snprintf(name + 40, CACHE_NAME_SIZE - 40, "-%u", copy);
}

static int open_home(struct layer_cache *c, struct err *err)
{
	int caches = c->store->places[PLACE_CACHES];

	if (mkdirat(caches, c->name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make cache");
	c->home = openat(caches, c->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->home >= 0 ? 0 : err_sys(err, "open cache");
}

/* Made under another name and renamed, so that it is never seen without its owner. */
static int make_fs(struct layer_cache *c, const struct layer_cache_options *o, struct err *err)
{
	char name[NAME_SIZE];

	file_new_name(name);
	if (mkdirat(c->home, name, 0700) < 0 ||
		fchownat(c->home, name, o->uid, o->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(c->home, name, o->mode, 0) < 0)
		return err_sys(err, "make cache of %u:%u, mode %04o", o->uid, o->gid, o->mode);
	if (o->fill) {
		cleanup_close int fd =
			openat(c->home, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || o->fill(o->arg, fd, err) < 0) {
			ignored(trash_move(c->store, c->home, name, NULL));
			return fd < 0 ? err_sys(err, "open cache") : err_wrap(err, "fill cache");
		}
	}
	if (renameat2(c->home, name, c->home, LAYER_FS, RENAME_NOREPLACE) == 0)
		return 0;
	int r = errno == EEXIST ? 0 : err_sys(err, "make cache");
	ignored(trash_move(c->store, c->home, name, NULL)); /* somebody else was first */
	return r;
}

int cache_note(const struct layer_cache *c, const char *what, struct err *err)
{
	cleanup_close int fd =
		openat(c->home, what, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(err, "note that the cache is %s", what) : 0;
}

static int open_fs(struct layer_cache *c, const struct layer_cache_options *o, struct err *err)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	if (o->is_fresh) {
		int r = trash_move(c->store, c->home, LAYER_FS, err);
		if (r < 0)
			return r;
	}
	c->fs = openat(c->home, LAYER_FS, flags);
	if (c->fs < 0 && errno == ENOENT) {
		int r = make_fs(c, o, err);
		if (r < 0)
			return r;
		c->fs = openat(c->home, LAYER_FS, flags);
	}
	return c->fs >= 0 ? 0 : err_sys(err, "open cache");
}

static void close_home(struct layer_cache *c)
{
	if (c->lock >= 0)
		close(take_fd(&c->lock));
	if (c->home >= 0)
		close(take_fd(&c->home));
}

/*
 * The cache may be dropped between its opening and its locking: then there is no file to lock any
 * more, or what is locked lies in the trash, and a new one is made.
 */
static int lock_home(struct layer_cache *c, enum lock_mode mode, bool wait, struct err *err)
{
	enum { TRIES_MAX = 1000 };
	struct err local = {0};

	for (int tries = 0;; tries++) {
		int r = open_home(c, &local);
		if (r == 0)
			r = lock_take(c->home, CACHE_LOCK, mode, wait, &c->lock, &local);
		if (r == 0 && is_still(c->store->places[PLACE_CACHES], c->name, c->home))
			return 0;
		close_home(c);
		if (r == LOCK_E_BUSY)
			return LAYER_E_BUSY;
		if (r < 0 && (r != -ERR_MISSING || tries == TRIES_MAX)) {
			if (err)
				*err = local;
			return r;
		}
	}
}

/* For people: what it is, and when it was used last. */
static void note_use(const struct layer_cache *c, struct str id)
{
	cleanup_close int fd = openat(
		c->home, CACHE_ID, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		ignored(file_write_fd(fd, str_head(id, CACHE_ID_MAX), NULL));
	(void)futimens(c->lock, NULL); /* else it looks older than it is */
}

static int try_open(struct layer_cache *c, struct str id, const struct layer_cache_options *o,
	bool wait, struct err *err)
{
	bool is_alone = o->sharing != LAYER_SHARED || o->is_fresh;

	int r = lock_home(c, is_alone ? LOCK_EXCLUSIVE : LOCK_SHARED, wait, err);
	if (r != 0)
		return r;
	c->is_alone = is_alone;
	note_use(c, id);
	r = cache_mark(c->store, c->name, err);
	if (r == 0)
		r = open_fs(c, o, err);
	return r < 0 || !is_alone ? r : watch_recover(c, err);
}

int layer_cache_open(struct layer_store *store, struct str id,
	const struct layer_cache_options *options, struct layer_cache **ret, struct err *err)
{
	cleanup(layer_cache_close) struct layer_cache *c = xcalloc(1, sizeof(*c));
	unsigned copies = options->sharing == LAYER_PRIVATE ? PRIVATE_COPIES : 1;
	int r = LAYER_E_BUSY;

	*c = (struct layer_cache){
		.store = store, .home = -1, .fs = -1, .lock = -1, .draft_dir = -1};
	for (unsigned i = 0; i < copies && r == LAYER_E_BUSY; i++) {
		name_of(id, i, c->name);
		r = try_open(c, id, options, options->wait && i + 1 == copies, err);
	}
	if (r == 0)
		*ret = take_ptr(c);
	return r;
}

int layer_cache_dir(const struct layer_cache *cache)
{
	return cache->fs;
}

void layer_cache_close(struct layer_cache *cache)
{
	if (!cache)
		return;
	/* Whoever forgot to: the draft's end would take the cache with it. */
	(void)graft_end(cache, NULL);
	/* A sync may have come between: what was written since then is not on disk. */
	if (cache->fs >= 0)
		ignored(cache_mark(cache->store, cache->name, NULL));
	watch_free(cache->watch);
	int fds[] = {cache->fs, cache->home, cache->lock};
	for (size_t i = 0; i < array_size(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(cache);
}
