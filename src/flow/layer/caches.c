/* SPDX-License-Identifier: Apache-2.0 */
/* The caches of a store as a whole: what there is, what it weighs, and its end. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "layer/cache.h"
#include "layer/weight.h"
#include "os/file.h"
#include "os/lock.h"

static int open_home(const struct layer_store *store, const char *name)
{
	return openat(
		store->places[PLACE_CACHES], name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Lock it if nobody uses it: LAYER_E_BUSY else. */
static int lock_idle(int home, int *ret_lock, struct err *err)
{
	int r = lock_take(home, CACHE_LOCK, LOCK_EXCLUSIVE, 0, ret_lock, err);

	return r == LOCK_E_BUSY ? LAYER_E_BUSY : r;
}

static void read_id(int home, struct buf *ret)
{
	buf_clear(ret);
	if (file_read(home, CACHE_ID, CACHE_ID_MAX, ret, NULL) < 0 || !str_is_utf8(buf_str(ret)))
		buf_clear(ret);
}

static int show(const struct layer_store *store, const char *name,
	int (*each)(void *arg, const struct layer_cache_info *info), void *arg)
{
	cleanup_close int home = open_home(store, name);
	cleanup_close int lock = -1;
	cleanup(buf_done) struct buf id = {0};
	struct layer_cache_info info = {0};
	struct stat st;

	/* Without a lock it was never used. */
	if (home < 0 || strlen(name) >= sizeof(info.name) ||
		fstatat(home, CACHE_LOCK, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	memcpy(info.name, name, strlen(name) + 1);
	info.used = st.st_mtime;
	info.is_busy = lock_idle(home, &lock, NULL) != 0;
	read_id(home, &id);
	info.id = buf_text(&id);
	return each(arg, &info);
}

int layer_cache_list(const struct layer_store *store,
	int (*each)(void *arg, const struct layer_cache_info *info), void *arg, struct err *err)
{
	const char *name;
	int r = 0;

	if (store->places[PLACE_CACHES] < 0)
		return 0;
	cleanup_closedir DIR *list = list_open(store->places[PLACE_CACHES], err);
	if (!list)
		return err_wrap(err, "caches");
	while (r == 0 && (name = list_next(list)))
		r = show(store, name, each, arg);
	return r;
}

/* ---- Weighing ---- */

/* When it was used last, as bytes in front of what is remembered. */
static uint64_t stamp_of(int home)
{
	struct stat st;

	if (fstatat(home, CACHE_LOCK, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

static bool recall(const struct layer_store *store, struct str memo, uint64_t stamp,
	struct arena *a, struct layer_weight *ret)
{
	cleanup(buf_done) struct buf bytes = {0};
	uint64_t known;

	if (layer_memo_get(store, memo, &bytes, NULL) != 0 || bytes.len < sizeof(known))
		return false;
	memcpy(&known, bytes.data, sizeof(known));
	return known == stamp &&
	       weight_parse(str_from_index(buf_str(&bytes), sizeof(known)), a, ret);
}

static void remember(struct layer_store *store, struct str memo, uint64_t stamp,
	const struct layer_weight *weight)
{
	cleanup(buf_done) struct buf bytes = {0};

	buf_add(&bytes, &stamp, sizeof(stamp));
	weight_print(weight, &bytes);
	ignored(layer_memo_put(store, memo, buf_str(&bytes), NULL));
}

static void name_memo(const char *name, struct buf *ret)
{
	buf_printf(ret, "weight of cache %s", name);
}

int layer_cache_weigh(struct layer_store *store, struct arena *a, const char *name,
	struct layer_weight *ret, struct err *err)
{
	cleanup_close int home = open_home(store, name);
	cleanup_close int lock = -1;
	cleanup(buf_done) struct buf memo = {0};

	if (home < 0)
		return errno == ENOENT ? LAYER_E_ABSENT : err_sys(err, "open cache %s", name);
	/* While it is in use nothing that was seen of it holds afterwards. */
	int busy = lock_idle(home, &lock, err);
	if (busy < 0)
		return busy;
	uint64_t stamp = stamp_of(home);
	name_memo(name, &memo);
	if (!busy && recall(store, buf_str(&memo), stamp, a, ret))
		return 0;
	int r = layer_weigh_tree(home, a, ret, err);
	if (r == 0 && !busy && store->access == LAYER_WRITE)
		remember(store, buf_str(&memo), stamp, ret);
	return r;
}

int layer_cache_drop(struct layer_store *store, const char *name, struct err *err)
{
	cleanup_close int home = open_home(store, name);
	cleanup_close int lock = -1;
	cleanup(buf_done) struct buf memo = {0};

	if (home < 0)
		return errno == ENOENT ? LAYER_E_ABSENT : err_sys(err, "open cache %s", name);
	int r = lock_idle(home, &lock, err);
	if (r != 0)
		return r;
	if (!is_still(store->places[PLACE_CACHES], name, home))
		return LAYER_E_ABSENT;
	name_memo(name, &memo);
	memo_remove(store, buf_str(&memo));
	/* With the lock in it: who waits for that finds out and makes a new one. */
	return trash_move(store, store->places[PLACE_CACHES], name, err);
}
