/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "layer/weight.h"
#include "os/file.h"
#include "os/lock.h"

static int make_dir(int parent, const char *name, mode_t mode, int *ret_fd, struct err *err)
{
	if (mkdirat(parent, name, mode) < 0 || fchmodat(parent, name, mode, 0) < 0)
		return err_sys(err, "make %s", name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open %s", name);
	*ret_fd = fd;
	return 0;
}

static int make_tree(struct layer_draft *d, struct err *err)
{
	cleanup_close int work = -1, merged = -1;

	if (make_dir(d->dir, DRAFT_LAYER, 0700, &d->layer, err) < 0 ||
		make_dir(d->layer, LAYER_FS, 0755, &d->fs, err) < 0 ||
		make_dir(d->dir, DRAFT_WORK, 0700, &work, err) < 0 ||
		make_dir(d->dir, LAYER_MERGED, 0755, &merged, err) < 0)
		return err_wrap(err, "new layer");
	return 0;
}

/* A recovery may take any draft without a lock for a dead one, so none runs meanwhile. */
static int make_locked(struct layer_draft *d, struct err *err)
{
	cleanup_close int store_lock = -1;

	if (lock_take(d->store->dir, STORE_LOCK, LOCK_SHARED, 1, &store_lock, err) < 0 ||
		make_dir(d->store->places[PLACE_ACTIVE], d->id, 0700, &d->dir, err) < 0 ||
		lock_take(d->dir, DRAFT_LOCK, LOCK_EXCLUSIVE, 0, &d->lock, err) < 0)
		return err_wrap(err, "new layer");
	return 0;
}

/* The root of a merged tree shows the attributes of its topmost layer's root. */
static int take_root_attributes(
	struct layer_draft *d, const struct layer_key *parent, struct err *err)
{
	cleanup_close int fs = -1;
	struct stat st;

	int r = layer_open(d->store, parent, &fs, err);
	if (r == LAYER_E_ABSENT)
		return err_set(err, ERR_MISSING, "layer %s is not in the store", parent->hex);
	if (r < 0)
		return r;
	if (fstat(fs, &st) < 0 || fchown(d->fs, st.st_uid, st.st_gid) < 0 ||
		fchmod(d->fs, st.st_mode & 07777) < 0)
		return err_sys(err, "take over the root's attributes");
	return 0;
}

int layer_begin(struct layer_store *store, const struct layer_key *parent, struct layer_draft **ret,
	struct err *err)
{
	cleanup(layer_discard) struct layer_draft *d = xcalloc(1, sizeof(*d));

	*d = (struct layer_draft){.store = store, .dir = -1, .layer = -1, .fs = -1, .lock = -1};
	if (parent)
		d->parent = *parent;
	file_new_name(d->id);
	int r = make_locked(d, err);
	if (r == 0)
		r = make_tree(d, err);
	if (r == 0 && parent)
		r = take_root_attributes(d, parent, err);
	if (r < 0)
		return r;
	*ret = take_ptr(d);
	return 0;
}

int layer_draft_dir(const struct layer_draft *draft)
{
	return draft->dir;
}

int layer_draft_fs(const struct layer_draft *draft)
{
	return draft->fs;
}

int layer_draft_recipe(struct layer_draft *draft, int *ret_fd, struct err *err)
{
	int fd = openat(draft->layer, LAYER_RECIPE,
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_sys(err, "create the recipe of a layer");
	*ret_fd = fd;
	return 0;
}

static int write_meta(struct layer_draft *d, const struct layer_key *key,
	const struct layer_info *info, const struct layer_usage *usage, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct layer_meta meta = {
		.key = *key,
		.parent = d->parent,
		.kind = info->kind,
		.has_digest = info->digest != NULL,
		.created = time(NULL),
	};

	meta.size = usage->size;
	meta.files = usage->files;
	if (info->digest)
		meta.digest = *info->digest;
	memcpy(meta.boot, d->store->boot, sizeof(meta.boot));
	meta_print(&meta, &text);
	/* No fsync: until it is known to be on disk, the layer is marked as unsynced. */
	cleanup_close int fd = openat(
		d->layer, LAYER_META, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(err, "create meta of layer %s", key->hex);
	return file_write_fd(fd, buf_str(&text), err);
}

int layer_publish(struct layer_draft *draft, const struct layer_key *key,
	const struct layer_info *info, struct err *err)
{
	struct layer_store *store = draft->store;
	cleanup(arena_done) struct arena a = {0};
	struct layer_usage usage;
	struct layer_weight weight;

	if (layer_has(store, key))
		return LAYER_E_PRESENT;
	/*
	 * The mark comes after all content and before the name, so that whatever is under the
	 * name after a crash is either marked or was synced together with its mark's removal.
	 */
	int r = graft_check_none(draft->dir, err);
	if (r == 0 && tree_count(draft->fs, &a, &usage, &weight, err) < 0)
		r = err_wrap(err, "count layer %s", key->hex);
	if (r == 0)
		r = write_meta(draft, key, info, &usage, err);
	if (r == 0)
		r = mark_set(store, key->hex, err);
	if (r < 0)
		return r;
	if (renameat(draft->dir, DRAFT_LAYER, store->places[PLACE_LAYERS], key->hex) == 0) {
		weight_keep(store, key, &weight);
		return 0;
	}
	/* A layer is never empty, so rename(2) replaces none. */
	if (errno == ENOTEMPTY || errno == EEXIST)
		return LAYER_E_PRESENT;
	return err_sys(err, "publish layer %s", key->hex);
}

static void close_all(struct layer_draft *d)
{
	int *const fds[] = {&d->fs, &d->layer, &d->dir, &d->lock};

	for (size_t i = 0; i < array_size(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
	}
}

/*
 * Through the trash, under the same name: what cannot be removed now (something is still mounted)
 * is removed by a later layer_tidy(). Caches that are still grafted go back first.
 */
static int throw_away(struct layer_draft *d, struct err *err)
{
	int trash = d->store->places[PLACE_TRASH];
	int r = graft_restore(d->store, d->dir, err);

	if (r == 0 && renameat(d->store->places[PLACE_ACTIVE], d->id, trash, d->id) < 0)
		r = err_sys(err, "move a draft to the trash");
	return r < 0 ? r : dir_remove_tree(trash, d->id, err);
}

void layer_discard(struct layer_draft *draft)
{
	struct err err = {0};

	if (!draft)
		return;
	/* Nobody can do better now: what is left over, the next recovery takes. */
	if (draft->dir >= 0)
		(void)throw_away(draft, &err);
	close_all(draft);
	free(draft);
}

/* ---- Locks on keys ---- */

int layer_lock_key(struct layer_store *store, const struct layer_key *key, bool wait, int *ret_lock,
	struct err *err)
{
	int dir = store->places[PLACE_LOCKS];

	for (;;) {
		cleanup_close int lock = -1;
		int r = lock_take(dir, key->hex, LOCK_EXCLUSIVE, wait, &lock, err);
		if (r == LOCK_E_BUSY)
			return LAYER_E_BUSY;
		if (r < 0)
			return err_wrap(err, "layer %s", key->hex);
		/*
		 * Somebody may have removed the file between its opening and its locking. Each
		 * turn means that another holder has finished: no endless loop.
		 */
		if (is_still(dir, key->hex, lock)) {
			*ret_lock = take_fd(&lock);
			return 0;
		}
	}
}

void layer_unlock_key(struct layer_store *store, const struct layer_key *key, int lock)
{
	if (lock < 0)
		return;
	/* While it is held: who waits for it finds out and makes a new one. */
	(void)unlinkat(store->places[PLACE_LOCKS], key->hex, 0);
	close(lock);
}
