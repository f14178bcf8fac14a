/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "base/arena.h"
#include "layer/internal.h"
#include "os/walk.h"

enum { BLOCK = 512 }; /* of st_blocks, whatever the file system's own is */

/* A file with several names. */
struct inode {
	uint64_t names, met; /* in all, and in this tree */
	uint64_t disk;
};

struct counting {
	struct layer_usage usage;
	struct arena arena;
	struct map *inodes;
};

/* Is this the first of its names? */
static bool meet(struct counting *c, const struct stat *st)
{
	struct str number = str_from((const char *)&st->st_ino, sizeof(st->st_ino));
	struct inode *inode = map_find(c->inodes, number);

	if (inode) {
		inode->met++;
		return false;
	}
	inode = arena_alloc(&c->arena, sizeof(*inode));
	*inode = (struct inode){st->st_nlink, 1, (uint64_t)st->st_blocks * BLOCK};
	(void)map_set(c->inodes, number, inode);
	return true;
}

static int count(void *arg, const struct walk_entry *e, struct err *err)
{
	struct counting *c = arg;
	const struct stat *st = &e->st;

	(void)err;
	if (e->step == WALK_LEAVE)
		return 0;
	c->usage.files++;
	if (e->step == WALK_ENTRY && st->st_nlink > 1 && !meet(c, st))
		return 0;
	c->usage.disk += (uint64_t)st->st_blocks * BLOCK;
	if (S_ISREG(st->st_mode))
		c->usage.size += (uint64_t)st->st_size;
	return 0;
}

static void add_shared(struct counting *c)
{
	const struct inode *inode;
	size_t at = 0;

	while ((inode = map_next(c->inodes, &at, NULL))) {
		if (inode->met < inode->names)
			c->usage.shared += inode->disk;
	}
}

int layer_usage_of(int dirfd, struct layer_usage *ret, struct err *err)
{
	cleanup(map_free) struct map *inodes = map_new();
	struct counting c = {.inodes = inodes};

	int r = walk_tree(dirfd, count, &c, err);
	if (r == 0) {
		add_shared(&c);
		*ret = c.usage;
	}
	arena_done(&c.arena);
	return r;
}

int layer_usage(const struct layer_store *store, const struct layer_key *key,
	struct layer_usage *ret, struct err *err)
{
	cleanup_close int fs = -1;
	int r = layer_open(store, key, &fs, err);

	if (r == 0)
		r = layer_usage_of(fs, ret, err);
	return r;
}
