/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "layer/internal.h"
#include "os/file.h"

static const char *const place_names[PLACE_COUNT] = {
	[PLACE_LAYERS] = "layers",
	[PLACE_ACTIVE] = "active",
	[PLACE_UNSYNCED] = "unsynced",
	[PLACE_CACHES] = "caches",
	[PLACE_DIGESTS] = "digests",
	[PLACE_BLOBS] = "blobs",
	[PLACE_LOCKS] = "locks",
	[PLACE_TRASH] = "trash",
	[PLACE_EMPTY] = "empty",
};

/* ---- Small tools of the room ---- */

DIR *list_open(int dir, struct err *err)
{
	int fd = dir_reopen(dir, O_RDONLY, err);

	if (fd < 0)
		return NULL;
	DIR *list = fdopendir(fd);
	if (!list) {
		(void)err_sys(err, "list directory");
		close(fd);
	}
	return list;
}

const char *list_next(DIR *list)
{
	struct dirent *entry;

	while ((entry = readdir(list))) {
		if (entry->d_name[0] != '.')
			return entry->d_name;
	}
	return NULL;
}

int trash_move(const struct layer_store *store, int dirfd, const char *name, struct err *err)
{
	char id[NAME_SIZE];

	file_new_name(id);
	if (renameat(dirfd, name, store->places[PLACE_TRASH], id) < 0 && errno != ENOENT)
		return err_sys(err, "move %s to the trash", name);
	return 0;
}

bool is_still(int dir, const char *name, int fd)
{
	struct stat at, held;

	return fstatat(dir, name, &at, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &held) == 0 &&
	       at.st_ino == held.st_ino && at.st_dev == held.st_dev;
}

/* ---- Opening ---- */

static int read_boot(char boot[static BOOT_SIZE], struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	int r = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_SIZE, &text, err);
	if (r < 0)
		return r;
	struct str id = str_trim(buf_str(&text));
	if (id.n == 0 || id.n >= BOOT_SIZE)
		return err_set(err, ERR_HOST, "/proc/sys/kernel/random/boot_id is empty");
	memcpy(boot, id.p, id.n);
	boot[id.n] = '\0';
	return 0;
}

static int open_place(struct layer_store *store, enum place place, struct err *err)
{
	const char *name = place_names[place];

	if (store->access == LAYER_WRITE && mkdirat(store->dir, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", name);
	int fd = openat(store->dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (store->access == LAYER_WRITE || errno != ENOENT))
		return err_sys(err, "open %s", name);
	store->places[place] = fd;
	return 0;
}

/* Roots of empty trees are seen by the programs in them: everybody may enter. */
static int make_empty(const struct layer_store *store, struct err *err)
{
	static const char *const names[] = {"0", "1"};
	int dir = store->places[PLACE_EMPTY];

	for (size_t i = 0; i < array_size(names); i++) {
		if (mkdirat(dir, names[i], 0755) < 0 && errno != EEXIST)
			return err_sys(err, "make empty/%s", names[i]);
		if (fchmodat(dir, names[i], 0755, 0) < 0)
			return err_sys(err, "change mode of empty/%s", names[i]);
	}
	return 0;
}

static int open_places(struct layer_store *store, struct err *err)
{
	for (int i = 0; i < PLACE_COUNT; i++) {
		int r = open_place(store, (enum place)i, err);
		if (r < 0)
			return r;
	}
	return store->access == LAYER_WRITE ? make_empty(store, err) : 0;
}

/* What another user made in it, the store's own root could not use. */
static int check_owner(const struct layer_store *store, struct err *err)
{
	struct stat st;

	if (fstat(store->dir, &st) < 0)
		return err_sys(err, "stat the store");
	if (st.st_uid == geteuid())
		return 0;
	return err_set(err, ERR_DENIED, "owned by user %u, not by user %u who writes", st.st_uid,
		geteuid());
}

int layer_store_open(int dirfd, enum layer_access access, struct layer_store **ret, struct err *err)
{
	cleanup(layer_store_close) struct layer_store *store = xcalloc(1, sizeof(*store));

	store->access = access;
	for (int i = 0; i < PLACE_COUNT; i++)
		store->places[i] = -1;
	/* Readable, not O_PATH: syncfs(2) wants a real descriptor. */
	store->dir = dir_reopen(dirfd, O_RDONLY, err);
	if (store->dir < 0 || read_boot(store->boot, err) < 0 ||
		(access == LAYER_WRITE && check_owner(store, err) < 0) ||
		open_places(store, err) < 0 || (access == LAYER_WRITE && recover(store, err) < 0))
		return err_wrap(err, "layer store");
	*ret = take_ptr(store);
	return 0;
}

void layer_store_close(struct layer_store *store)
{
	if (!store)
		return;
	for (int i = 0; i < PLACE_COUNT; i++) {
		if (store->places[i] >= 0)
			close(store->places[i]);
	}
	if (store->dir >= 0)
		close(store->dir);
	free(store);
}

int layer_store_blobs(const struct layer_store *store)
{
	return store->places[PLACE_BLOBS];
}

/* ---- Layers ---- */

bool layer_has(const struct layer_store *store, const struct layer_key *key)
{
	char path[sizeof(key->hex) + sizeof("/" LAYER_META)];
	char boot[BOOT_SIZE];

	if (store->places[PLACE_LAYERS] < 0)
		return false;
	snprintf(path, sizeof(path), "%s/" LAYER_META, key->hex);
	return faccessat(store->places[PLACE_LAYERS], path, F_OK, 0) == 0 &&
	       (!mark_read(store, key->hex, boot) || strcmp(boot, store->boot) == 0);
}

bool layer_has_chain(
	const struct layer_store *store, struct layer_chain chain, struct layer_key *ret_absent)
{
	for (size_t i = 0; i < chain.count; i++) {
		if (layer_has(store, &chain.keys[i]))
			continue;
		if (ret_absent)
			*ret_absent = chain.keys[i];
		return false;
	}
	return true;
}

int layer_meta(const struct layer_store *store, const struct layer_key *key, struct layer_meta *ret,
	struct err *err)
{
	if (!layer_has(store, key))
		return LAYER_E_ABSENT;
	return meta_read(store->places[PLACE_LAYERS], key->hex, ret, err);
}

int layer_open(
	const struct layer_store *store, const struct layer_key *key, int *ret_fd, struct err *err)
{
	char path[sizeof(key->hex) + sizeof("/" LAYER_FS)];

	if (!layer_has(store, key))
		return LAYER_E_ABSENT;
	snprintf(path, sizeof(path), "%s/" LAYER_FS, key->hex);
	int fd = openat(
		store->places[PLACE_LAYERS], path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open layer %s", key->hex);
	*ret_fd = fd;
	return 0;
}

int layer_identity(const struct layer_store *store, const struct layer_key *key, struct buf *ret,
	struct err *err)
{
	cleanup_close int fs = -1;
	struct stat st;
	int r = layer_open(store, key, &fs, err);

	if (r != 0)
		return r;
	if (fstat(fs, &st) < 0)
		return err_sys(err, "stat layer %s", key->hex);
	/* A published tree never changes, so neither does its root. */
	buf_printf(ret, "%s %llu %lld.%09ld", key->hex, (unsigned long long)st.st_ino,
		(long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return 0;
}

static int show_layer(const struct layer_store *store, const char *name,
	int (*each)(void *arg, const struct layer_meta *meta, int64_t used), void *arg)
{
	struct layer_meta meta;
	struct layer_key key;
	struct stat st;
	char path[sizeof(key.hex) + sizeof("/" LAYER_META)];

	/* Foreign names, and layers that went or broke since: not there, no error. */
	if (!layer_key_parse(str_of(name), &key) || layer_meta(store, &key, &meta, NULL) != 0)
		return 0;
	snprintf(path, sizeof(path), "%s/" LAYER_META, key.hex);
	if (fstatat(store->places[PLACE_LAYERS], path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return each(arg, &meta, st.st_mtime);
}

int layer_list(const struct layer_store *store,
	int (*each)(void *arg, const struct layer_meta *meta, int64_t used), void *arg,
	struct err *err)
{
	const char *name;
	int r = 0;

	if (store->places[PLACE_LAYERS] < 0)
		return 0;
	cleanup_closedir DIR *list = list_open(store->places[PLACE_LAYERS], err);
	if (!list)
		return err_wrap(err, "layers");
	while (r == 0 && (name = list_next(list)))
		r = show_layer(store, name, each, arg);
	return r;
}

void layer_touch(struct layer_store *store, const struct layer_key *key)
{
	char path[sizeof(key->hex) + sizeof("/" LAYER_META)];

	snprintf(path, sizeof(path), "%s/" LAYER_META, key->hex);
	/* A time that cannot be set makes the layer look older, nothing else. */
	(void)utimensat(store->places[PLACE_LAYERS], path, NULL, AT_SYMLINK_NOFOLLOW);
}

int layer_remove(struct layer_store *store, const struct layer_key *key, struct err *err)
{
	cleanup(map_free) struct map *seeds = map_new();

	(void)map_set(seeds, str_of(key->hex), store);
	return drop_with_children(store, seeds, err);
}
