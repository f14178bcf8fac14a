/* SPDX-License-Identifier: Apache-2.0 */
/* What goes: layers, what is known of them, and the trash they go to. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "layer/internal.h"
#include "os/lock.h"

int layer_drop(struct layer_store *store, const struct layer_key *key, struct err *err)
{
	int r = trash_move(store, store->places[PLACE_LAYERS], key->hex, err);

	if (r < 0)
		return r;
	/* Of no use without the layer, and no harm. */
	weight_forget(store, key);
	(void)unlinkat(store->places[PLACE_UNSYNCED], key->hex, 0);
	return 0;
}

/* ---- The trash ---- */

/* What removing it gives back: all but the files that have names elsewhere. */
static uint64_t gain_of(int trash, const char *name)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int dir = openat(trash, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct layer_weight weight = {0};

	if (dir < 0 || layer_weigh_tree(dir, &a, &weight, NULL) < 0)
		return 0;
	for (size_t i = 0; i < weight.link_count; i++)
		weight.disk -= weight.links[i].disk;
	return weight.disk;
}

int layer_empty_trash(struct layer_store *store, uint64_t *ret_freed, struct err *err)
{
	int trash = store->places[PLACE_TRASH];
	cleanup_closedir DIR *list = list_open(trash, err);
	const char *name;
	struct err next = {0};
	int first = 0;

	*ret_freed = 0;
	if (!list)
		return err_wrap(err, "trash");
	while ((name = list_next(list))) {
		uint64_t gain = gain_of(trash, name);
		int r = dir_remove_tree(trash, name, first ? &next : err);
		*ret_freed += r == 0 ? gain : 0;
		first = first ? first : r;
	}
	return first ? err_wrap(err, "trash") : 0;
}

int layer_tidy(struct layer_store *store, struct err *err)
{
	uint64_t unused;

	return layer_empty_trash(store, &unused, err);
}

/* ---- Small things ---- */

static int sweep_locks(struct layer_store *store, struct err *err)
{
	cleanup_closedir DIR *list = list_open(store->places[PLACE_LOCKS], err);
	const char *name;
	struct layer_key key;
	int lock;

	if (!list)
		return err_wrap(err, "locks");
	while ((name = list_next(list))) {
		if (!layer_key_parse(str_of(name), &key))
			continue;
		int r = layer_lock_key(store, &key, false, &lock, err);
		if (r < 0)
			return r;
		if (r == 0)
			layer_unlock_key(store, &key, lock); /* which removes it */
	}
	return 0;
}

int layer_sweep(struct layer_store *store, int64_t before, struct err *err)
{
	int digests = store->places[PLACE_DIGESTS];
	cleanup_closedir DIR *list = list_open(digests, err);
	const char *name;
	struct stat st;

	if (!list)
		return err_wrap(err, "memos");
	while ((name = list_next(list))) {
		if (fstatat(digests, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime < before &&
			unlinkat(digests, name, 0) < 0 && errno != ENOENT)
			return err_sys(err, "remove memo %s", name);
	}
	return sweep_locks(store, err);
}
