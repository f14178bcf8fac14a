/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_INTERNAL_H
#define LAYER_INTERNAL_H

#include <dirent.h>

#include "base/argv.h"
#include "base/map.h"
#include "layer/layer.h"
#include "os/file.h"

/* The directories of a store; their names are in store.c. */
enum place {
	PLACE_LAYERS,
	PLACE_ACTIVE,
	PLACE_UNSYNCED,
	PLACE_CACHES,
	PLACE_DIGESTS,
	PLACE_BLOBS,
	PLACE_LOCKS,
	PLACE_TRASH,
	PLACE_EMPTY, /* two empty directories: layers of a tree that has too few */
	PLACE_COUNT,
};

/* In the store: held shared while a draft is made, exclusively while remains are removed. */
#define STORE_LOCK "lock"
/* In the store: a link whose target is the boot in which the layers were last looked over. */
#define STORE_RECOVERED "recovered"
/* In a draft. */
#define DRAFT_LOCK  "lock"
#define DRAFT_LAYER "layer"
#define DRAFT_WORK  "work"
/* In a layer, and in a draft's layer/. */
#define LAYER_FS     "fs"
#define LAYER_META   "meta"
#define LAYER_RECIPE "recipe"

#define XATTR_OPAQUE "user.overlay.opaque"

/* Names in archives (OCI image specification, layer.md). */
#define WHITEOUT	".wh."
#define WHITEOUT_META	".wh..wh." /* aufs's own files */
#define WHITEOUT_OPAQUE ".wh..wh..opq"

enum { BOOT_SIZE = 40, NAME_SIZE = FILE_NEW_NAME_SIZE };

struct layer_store {
	int dir;
	int places[PLACE_COUNT]; /* -1: absent (LAYER_READ) */
	enum layer_access access;
	char boot[BOOT_SIZE];
};

struct layer_draft {
	struct layer_store *store;
	char id[NAME_SIZE];
	struct layer_key parent; /* hex[0] == 0: none */
	int dir;		 /* active/ID */
	int layer;		 /* active/ID/layer */
	int fs;			 /* active/ID/layer/fs */
	int lock;
};

static inline bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* A listing of `dir` (O_PATH will do) of the store, without names that begin with a dot. */
DIR *list_open(int dir, struct err *err);
/* The next name or NULL; a failed reading ends the listing. */
const char *list_next(DIR *list);

/* Move `name` of dirfd into the trash, under a new name. Missing is done. */
must_use int trash_move(
	const struct layer_store *store, int dirfd, const char *name, struct err *err);

/* Is the open file `fd` still what `name` of `dir` is? */
bool is_still(int dir, const char *name, int fd);

/* ---- meta.c ---- */

/* The file's text: pure. */
must_use int meta_parse(struct str text, struct layer_meta *ret, struct err *err);
void meta_print(const struct layer_meta *meta, struct buf *ret);
/* The meta file below a layer's directory; it must be of `key`. */
must_use int meta_read(int layers, const char *key, struct layer_meta *ret, struct err *err);

/* ---- recover.c ---- */

/* What LAYER_WRITE does at its start. */
must_use int recover(struct layer_store *store, struct err *err);

/*
 * The layers `seeds` (keys as map keys, any value) and all that were made on them go to the trash,
 * the topmost first, so that an interruption leaves no layer without its parent.
 */
must_use int drop_with_children(struct layer_store *store, struct map *seeds, struct err *err);

/* Read the mark of a layer: false when there is none. */
bool mark_read(const struct layer_store *store, const char *key, char boot[static BOOT_SIZE]);
must_use int mark_set(const struct layer_store *store, const char *key, struct err *err);
/* The same for a cache; after a crash of the machine it starts empty. */
must_use int cache_mark(const struct layer_store *store, const char *name, struct err *err);

/* ---- Forgetting what is known of a layer that goes ---- */

void memo_remove(const struct layer_store *store, struct str name);
void weight_forget(const struct layer_store *store, const struct layer_key *key);

/* ---- graft.c ---- */

/* Put back the caches that are still in the draft directory `dir` of a dead process. */
must_use int graft_restore(const struct layer_store *store, int dir, struct err *err);
/* ERR_BUG while a cache is in the draft directory. */
must_use int graft_check_none(int dir, struct err *err);

#endif
