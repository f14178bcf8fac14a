/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <sys/stat.h>

#include "layer/weight.h"
#include "os/walk.h"

enum { BLOCK = 512 }; /* of st_blocks, whatever the file system's own is */

/* A file with several names. */
struct inode {
	uint64_t names, met; /* in all, and in this tree */
	uint64_t disk;
};

struct counting {
	struct layer_usage usage;
	struct arena *arena;
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
	inode = arena_alloc(c->arena, sizeof(*inode));
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

/* In ret's arena, by inode: files that have names elsewhere. */
static void list_links(struct counting *c, struct arena *a, struct layer_weight *ret)
{
	const struct inode *inode;
	struct str number;
	size_t at = 0;

	ret->links = arena_array(a, map_count(c->inodes) + 1, sizeof(*ret->links));
	while ((inode = map_next(c->inodes, &at, &number))) {
		if (inode->met >= inode->names)
			continue;
		struct layer_link *link = &ret->links[ret->link_count++];
		link->disk = inode->disk;
		memcpy(&link->inode, number.p, sizeof(link->inode));
	}
	weight_sort(ret);
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

int tree_count(int dirfd, struct arena *a, struct layer_usage *ret_usage,
	struct layer_weight *ret_weight, struct err *err)
{
	cleanup(map_free) struct map *inodes = map_new();
	cleanup(arena_done) struct arena own = {0};
	struct counting c = {.inodes = inodes, .arena = &own};
	struct stat top;

	int r = walk_tree(dirfd, count, &c, err);
	if (r < 0)
		return r;
	if (fstat(dirfd, &top) < 0)
		return err_sys(err, "stat");
	add_shared(&c);
	*ret_usage = c.usage;
	if (ret_weight) {
		*ret_weight = (struct layer_weight){
			.disk = c.usage.disk + (uint64_t)top.st_blocks * BLOCK};
		list_links(&c, a, ret_weight);
	}
	return 0;
}

int layer_usage_of(int dirfd, struct layer_usage *ret, struct err *err)
{
	return tree_count(dirfd, NULL, ret, NULL, err);
}

int layer_weigh_tree(int dirfd, struct arena *a, struct layer_weight *ret, struct err *err)
{
	struct layer_usage usage;

	return tree_count(dirfd, a, &usage, ret, err);
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
