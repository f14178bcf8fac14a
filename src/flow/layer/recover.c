/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crash leaves behind.
 *
 * Of a process: its draft, whose lock nobody holds any more. Of the machine: layers whose
 * names reached the disk and whose content may not have. Each is marked from before its
 * publication until a sync: a link unsynced/KEY whose target is the ID of the boot (a link,
 * because its text lies in the inode: when the name is there after a crash, the text is
 * too). A mark of another boot means doubt, and doubt about a layer is doubt about
 * everything made on it. A cache that was in use is marked as cache-NAME: its files are
 * linked into layers, so torn ones would be handed on.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "layer/cache.h"
#include "os/lock.h"

#define CACHE_MARK "cache-"

/* ---- Marks ---- */

bool mark_read(const struct layer_store *store, const char *key, char boot[static BOOT_SIZE])
{
	ssize_t n = readlinkat(store->places[PLACE_UNSYNCED], key, boot, BOOT_SIZE - 1);

	if (n < 0 && errno != EINVAL)
		return false;
	/* Something that is no link is nothing of this boot. */
	boot[n < 0 ? 0 : n] = '\0';
	return true;
}

int mark_set(const struct layer_store *store, const char *key, struct err *err)
{
	int dir = store->places[PLACE_UNSYNCED];
	char boot[BOOT_SIZE];

	for (int tries = 0; tries < 3; tries++) {
		if (symlinkat(store->boot, dir, key) == 0)
			return 0;
		if (errno != EEXIST)
			break;
		if (mark_read(store, key, boot) && strcmp(boot, store->boot) == 0)
			return 0;
		(void)unlinkat(dir, key, 0); /* the next try tells */
	}
	return err_sys(err, "mark layer %s as unsynced", key);
}

int cache_mark(const struct layer_store *store, const char *name, struct err *err)
{
	cleanup_free char *mark = xprintf(CACHE_MARK "%s", name);

	return mark_set(store, mark, err);
}

/* The cache that a mark speaks of; NULL: it is of a layer. */
static const char *marked_cache(const char *mark)
{
	size_t n = sizeof(CACHE_MARK) - 1;

	return strncmp(mark, CACHE_MARK, n) == 0 ? mark + n : NULL;
}

/* A cache in use is written to after the sync as well, and keeps its mark. */
static bool is_in_use(const struct layer_store *store, const char *mark)
{
	const char *cache = marked_cache(mark);
	cleanup_close int lock = -1;

	if (!cache)
		return false;
	cleanup_close int home = openat(
		store->places[PLACE_CACHES], cache, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return home >= 0 && lock_take(home, CACHE_LOCK, LOCK_EXCLUSIVE, 0, &lock, NULL) != 0;
}

static bool mark_is_old(const struct layer_store *store, const char *key, int64_t age)
{
	struct stat st;

	if (fstatat(store->places[PLACE_UNSYNCED], key, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	int64_t seconds = (int64_t)time(NULL) - st.st_mtime;
	return seconds < 0 || seconds >= age;
}

int layer_sync(struct layer_store *store, int64_t age, struct err *err)
{
	cleanup(argv_done) struct argv marked = {0};
	bool is_due = false;
	char boot[BOOT_SIZE];
	const char *name;

	cleanup_closedir DIR *list = list_open(store->places[PLACE_UNSYNCED], err);
	if (!list)
		return err_wrap(err, "unsynced layers");
	while ((name = list_next(list))) {
		argv_add(&marked, name);
		is_due = is_due || mark_is_old(store, name, age);
	}
	if (!is_due)
		return 0;
	if (syncfs(store->dir) < 0)
		return err_sys(err, "sync the layer store");
	for (size_t i = 0; i < marked.count; i++) {
		/* What a mark of another boot speaks of, no sync repairs. */
		if (mark_read(store, marked.items[i], boot) && strcmp(boot, store->boot) == 0 &&
			!is_in_use(store, marked.items[i]) &&
			unlinkat(store->places[PLACE_UNSYNCED], marked.items[i], 0) < 0 &&
			errno != ENOENT)
			return err_sys(err, "remove mark of layer %s", marked.items[i]);
	}
	return 0;
}

/* ---- Drafts ---- */

static int remove_draft(struct layer_store *store, const char *name, struct err *err)
{
	int active = store->places[PLACE_ACTIVE];
	cleanup_close int lock = -1;
	cleanup_close int dir = openat(active, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return errno == ENOTDIR ? trash_move(store, active, name, err) : 0;
	int r = lock_take(dir, DRAFT_LOCK, LOCK_EXCLUSIVE, 0, &lock, err);
	if (r != 0)
		return r == LOCK_E_BUSY ? 0 : r;
	r = graft_restore(store, dir, err);
	return r < 0 ? r : trash_move(store, active, name, err);
}

static int remove_drafts(struct layer_store *store, struct err *err)
{
	cleanup_closedir DIR *list = list_open(store->places[PLACE_ACTIVE], err);
	const char *name;
	int r = 0;

	if (!list)
		return err_wrap(err, "drafts");
	while (r == 0 && (name = list_next(list)))
		r = remove_draft(store, name, err);
	return r;
}

/* ---- Layers ---- */

/* Every layer of the store with its parent. */
struct forest {
	struct layer_meta *metas;
	size_t count, cap;
};

static void forest_done(struct forest *f)
{
	free(f->metas);
}
DEFINE_CLEANUP_VALUE(struct forest, forest_done);

/* Unreadable ones join the seeds. */
static int forest_load(
	const struct layer_store *store, struct forest *f, struct map *seeds, struct err *err)
{
	cleanup_closedir DIR *list = list_open(store->places[PLACE_LAYERS], err);
	const char *name;
	struct layer_meta meta;

	if (!list)
		return err_wrap(err, "layers");
	while ((name = list_next(list))) {
		if (meta_read(store->places[PLACE_LAYERS], name, &meta, NULL) < 0) {
			(void)map_set(seeds, str_of(name), f);
			continue;
		}
		f->metas = xgrow(f->metas, &f->cap, f->count + 1, sizeof(*f->metas));
		f->metas[f->count++] = meta;
	}
	return 0;
}

/* Adds to the seeds what was made on them, and to `order` in the order it is found. */
static void add_children(const struct forest *f, struct map *seeds, struct argv *order)
{
	size_t before;

	do {
		before = order->count;
		for (size_t i = 0; i < f->count; i++) {
			const struct layer_meta *m = &f->metas[i];
			if (map_find(seeds, str_of(m->key.hex)) || !m->parent.hex[0] ||
				!map_find(seeds, str_of(m->parent.hex)))
				continue;
			(void)map_set(seeds, str_of(m->key.hex), seeds);
			argv_add(order, m->key.hex);
		}
	} while (order->count > before);
}

int drop_with_children(struct layer_store *store, struct map *seeds, struct err *err)
{
	cleanup(forest_done) struct forest f = {0};
	cleanup(argv_done) struct argv order = {0};
	size_t at = 0;
	struct str key;

	int r = forest_load(store, &f, seeds, err);
	if (r < 0)
		return r;
	while (map_next(seeds, &at, &key))
		argv_add_str(&order, key);
	add_children(&f, seeds, &order);
	for (size_t i = order.count; i-- > 0;) {
		struct layer_key gone;
		r = trash_move(store, store->places[PLACE_LAYERS], order.items[i], err);
		if (r < 0)
			return r;
		if (layer_key_parse(str_of(order.items[i]), &gone))
			weight_forget(store, &gone);
	}
	for (size_t i = 0; i < order.count; i++) {
		if (unlinkat(store->places[PLACE_UNSYNCED], order.items[i], 0) < 0 &&
			errno != ENOENT)
			return err_sys(err, "remove mark of layer %s", order.items[i]);
	}
	return 0;
}

static int drop_cache(struct layer_store *store, const char *mark, struct err *err)
{
	int r = trash_move(store, store->places[PLACE_CACHES], marked_cache(mark), err);

	if (r == 0 && unlinkat(store->places[PLACE_UNSYNCED], mark, 0) < 0 && errno != ENOENT)
		r = err_sys(err, "remove mark of %s", mark);
	return r;
}

static int drop_doubtful(struct layer_store *store, struct err *err)
{
	cleanup(map_free) struct map *seeds = map_new();
	cleanup_closedir DIR *list = list_open(store->places[PLACE_UNSYNCED], err);
	char boot[BOOT_SIZE];
	const char *name;
	int r = 0;

	if (!list)
		return err_wrap(err, "unsynced layers");
	while (r == 0 && (name = list_next(list))) {
		if (!mark_read(store, name, boot) || strcmp(boot, store->boot) == 0)
			continue;
		if (marked_cache(name))
			r = drop_cache(store, name, err);
		else
			(void)map_set(seeds, str_of(name), store);
	}
	return r < 0 ? r : drop_with_children(store, seeds, err);
}

static bool is_recovered(const struct layer_store *store)
{
	char boot[BOOT_SIZE];
	ssize_t n = readlinkat(store->dir, STORE_RECOVERED, boot, sizeof(boot) - 1);

	if (n < 0)
		return false;
	boot[n] = '\0';
	return strcmp(boot, store->boot) == 0;
}

/* Once a boot is enough: while the machine runs, publishing is atomic. */
static int recover_layers(struct layer_store *store, struct err *err)
{
	char name[NAME_SIZE];

	if (is_recovered(store))
		return 0;
	int r = drop_doubtful(store, err);
	if (r < 0)
		return r;
	file_new_name(name);
	if (symlinkat(store->boot, store->dir, name) < 0 ||
		renameat(store->dir, name, store->dir, STORE_RECOVERED) < 0)
		return err_sys(err, "note the recovery");
	return 0;
}

int recover(struct layer_store *store, struct err *err)
{
	cleanup_close int lock = -1;

	if (lock_take(store->dir, STORE_LOCK, LOCK_EXCLUSIVE, 1, &lock, err) < 0 ||
		remove_drafts(store, err) < 0 || recover_layers(store, err) < 0)
		return err_wrap(err, "recover");
	return 0;
}
