/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "store/survey.h"

struct held {
	uint64_t trees; /* that hold the file */
};

struct ledger {
	struct map *files; /* inode → struct held */
	struct arena arena;
};

struct ledger *ledger_new(void)
{
	struct ledger *l = xcalloc(1, sizeof(*l));

	l->files = map_new();
	return l;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	map_free(l->files);
	arena_done(&l->arena);
	free(l);
}

static struct str key_of(const struct layer_link *link)
{
	return str_from((const char *)&link->inode, sizeof(link->inode));
}

uint64_t ledger_add(struct ledger *l, const struct layer_weight *weight)
{
	uint64_t bytes = weight->disk;

	for (size_t i = 0; i < weight->link_count; i++) {
		const struct layer_link *link = &weight->links[i];
		struct held *held = map_find(l->files, key_of(link));
		if (!held) {
			held = arena_alloc(&l->arena, sizeof(*held));
			(void)map_set(l->files, key_of(link), held);
		}
		bytes -= held->trees++ ? link->disk : 0;
	}
	return bytes;
}

uint64_t ledger_remove(struct ledger *l, const struct layer_weight *weight)
{
	uint64_t bytes = weight->disk;

	for (size_t i = 0; i < weight->link_count; i++) {
		const struct layer_link *link = &weight->links[i];
		struct held *held = map_find(l->files, key_of(link));
		bytes -= held && --held->trees ? link->disk : 0;
	}
	return bytes;
}

uint64_t ledger_shared(const struct ledger *l, const struct layer_weight *weight, bool is_in)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < weight->link_count; i++) {
		const struct held *held = map_find(l->files, key_of(&weight->links[i]));
		bytes += held && held->trees > (is_in ? 1 : 0) ? weight->links[i].disk : 0;
	}
	return bytes;
}
