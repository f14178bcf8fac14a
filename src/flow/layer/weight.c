/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights are remembered: a layer is never changed, and the number of its files' names outside
 * of it does not matter, since whoever adds up trees compares their lists. So the layers of a
 * store are walked once in their life, when they are published.
 *
 * The bytes: disk, then for each linked file by inode the distance from the one before and the
 * blocks, each in groups of seven bits (LEB128): about four bytes a file.
 */
#include "layer/weight.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BLOCK = 512 };

static int by_inode(const void *a, const void *b)
{
	const struct layer_link *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

void weight_sort(struct layer_weight *weight)
{
	if (weight->link_count)
		qsort(weight->links, weight->link_count, sizeof(*weight->links), by_inode);
}

static void add_number(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_add_char(b, (char)(0x80 | (v & 0x7f)));
	buf_add_char(b, (char)v);
}

static bool take_number(struct str *rest, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64 && rest->n; shift += 7) {
		unsigned char c = (unsigned char)rest->p[0];
		*rest = str_from_index(*rest, 1);
		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return true;
	}
	return false;
}

void weight_print(const struct layer_weight *weight, struct buf *ret)
{
	uint64_t before = 0;

	add_number(ret, weight->disk);
	add_number(ret, weight->link_count);
	for (size_t i = 0; i < weight->link_count; i++) {
		add_number(ret, weight->links[i].inode - before);
		add_number(ret, weight->links[i].disk / BLOCK);
		before = weight->links[i].inode;
	}
}

bool weight_parse(struct str bytes, struct arena *a, struct layer_weight *ret)
{
	uint64_t count, inode = 0;

	*ret = (struct layer_weight){0};
	/* Each takes two bytes at least. */
	if (!take_number(&bytes, &ret->disk) || !take_number(&bytes, &count) || count > bytes.n / 2)
		return false;
	ret->links = arena_array(a, count + 1, sizeof(*ret->links));
	for (; ret->link_count < count; ret->link_count++) {
		uint64_t step, blocks;
		if (!take_number(&bytes, &step) || !take_number(&bytes, &blocks))
			return false;
		inode += step;
		ret->links[ret->link_count] = (struct layer_link){inode, blocks * BLOCK};
	}
	return bytes.n == 0;
}

/* ---- Layers ---- */

static void name_memo(const struct layer_key *key, struct buf *ret)
{
	buf_printf(ret, "weight %s", key->hex);
}

void weight_keep(
	struct layer_store *store, const struct layer_key *key, const struct layer_weight *weight)
{
	cleanup(buf_done) struct buf name = {0};
	cleanup(buf_done) struct buf bytes = {0};

	name_memo(key, &name);
	weight_print(weight, &bytes);
	/* One that is too long, or cannot be written, is counted anew each time. */
	ignored(layer_memo_put(store, buf_str(&name), buf_str(&bytes), NULL));
}

void weight_forget(const struct layer_store *store, const struct layer_key *key)
{
	cleanup(buf_done) struct buf name = {0};

	name_memo(key, &name);
	memo_remove(store, buf_str(&name));
}

/* The layer's own directory, and the files beside its tree. */
static uint64_t overhead(const struct layer_store *store, const struct layer_key *key)
{
	cleanup_close int dir = openat(store->places[PLACE_LAYERS], key->hex,
		O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_closedir DIR *list = dir < 0 ? NULL : list_open(dir, NULL);
	const char *name;
	struct stat st;

	if (!list || fstat(dir, &st) < 0)
		return 0;
	uint64_t blocks = (uint64_t)st.st_blocks;
	while ((name = list_next(list)))
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
			blocks += (uint64_t)st.st_blocks;
	return blocks * BLOCK;
}

static int weigh_anew(struct layer_store *store, struct arena *a, const struct layer_key *key,
	struct layer_weight *ret, struct err *err)
{
	cleanup_close int fs = -1;
	int r = layer_open(store, key, &fs, err);

	if (r == 0)
		r = layer_weigh_tree(fs, a, ret, err);
	if (r == 0 && store->access == LAYER_WRITE)
		weight_keep(store, key, ret);
	return r;
}

int layer_weigh(struct layer_store *store, struct arena *a, const struct layer_key *key,
	struct layer_weight *ret, struct err *err)
{
	cleanup(buf_done) struct buf name = {0};
	cleanup(buf_done) struct buf bytes = {0};

	name_memo(key, &name);
	int r = layer_memo_get(store, buf_str(&name), &bytes, err);
	if (r < 0)
		return r;
	if (r != 0 || !weight_parse(buf_str(&bytes), a, ret))
		r = weigh_anew(store, a, key, ret, err);
	if (r == 0)
		ret->disk += overhead(store, key);
	return r;
}
