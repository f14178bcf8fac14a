/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/alloc.h"
#include "base/map.h"
#include "os/file.h"
#include "tree/cache.h"

/*
 * The rule against racy timestamps: the clock that stamps files ticks (every 4 ms, on some
 * file systems every 2 s), so a file can change twice within a tick and look the same. What
 * changed within this time before the build began is therefore read again by the next one.
 */
static const int64_t racy_ns = 2000000000;

enum { MAX_FILE_SIZE = 1 << 30 };

struct tree_cache *tree_cache_load(int dirfd, const char *name)
{
	struct tree_cache *c = xcalloc(1, sizeof(*c));
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	c->begun = stat_ns(&now);
	if (file_read(dirfd, name, MAX_FILE_SIZE, &c->bytes, NULL) < 0 ||
		!tree_cache_parse(buf_str(&c->bytes), &c->old))
		c->old = (struct cache_file){0};
	c->seen = xcalloc(c->old.count + 1, sizeof(bool));
	c->known = map_new();
	return c;
}

void tree_cache_free(struct tree_cache *c)
{
	if (!c)
		return;
	arena_done(&c->arena);
	buf_done(&c->bytes);
	free(c->seen);
	free(c->fresh);
	map_free(c->known);
	free(c);
}

static struct str path_of(const struct cache_file *file, size_t i)
{
	return str_from(file->texts + file->records[i].path, file->records[i].path_len);
}

/* Index of the path's record, or the count. */
static size_t find_record(struct tree_cache *c, struct str path)
{
	size_t low = 0, high = c->old.count;

	if (c->next < high && str_eq(path_of(&c->old, c->next), path))
		return c->next;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = tree_path_order(path_of(&c->old, middle), path);
		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return c->old.count;
}

static bool record_fits(const struct cache_record *r, const struct node *node, struct body *ret)
{
	if (r->dev != node->dev || r->ino != node->ino || r->size != node->size ||
		r->mtime != node->mtime || r->changed != node->changed)
		return false;
	memcpy(ret->digest.bytes, r->digest, DIGEST_SIZE);
	ret->has_xattrs = r->has_xattrs;
	return true;
}

static struct fresh *find_fresh(struct tree_cache *c, const struct node *node)
{
	uintptr_t index = c->count ? (uintptr_t)map_find(c->known, str_of(node->real)) : 0;

	return index ? &c->fresh[index - 1] : NULL;
}

bool tree_cache_find(struct tree_cache *c, const struct node *node, struct body *ret)
{
	size_t i = find_record(c, str_of(node->real));

	if (i < c->old.count) {
		c->seen[i] = true;
		c->next = i + 1;
		if (record_fits(&c->old.records[i], node, ret))
			return true;
	}
	struct fresh *fresh = find_fresh(c, node);
	return fresh && record_fits(&fresh->record, node, ret);
}

/* The time of change cannot be set by hand; that of modification can, to the future too. */
static bool is_racy(const struct tree_cache *c, const struct node *node)
{
	int64_t limit = c->begun - racy_ns;

	return node->changed > limit || (node->mtime > limit && node->mtime <= c->begun);
}

void tree_cache_note(struct tree_cache *c, const struct node *node, const struct body *body)
{
	struct fresh *f = find_fresh(c, node);

	if (is_racy(c, node))
		return;
	if (!f) {
		c->fresh = xgrow(c->fresh, &c->cap, c->count + 1, sizeof(*c->fresh));
		f = &c->fresh[c->count++];
		f->path = arena_strdup(&c->arena, node->real);
		(void)map_set(c->known, str_of(f->path), (void *)(uintptr_t)c->count); /* new */
	}
	f->record = (struct cache_record){
		.dev = node->dev,
		.ino = node->ino,
		.size = node->size,
		.mtime = node->mtime,
		.changed = node->changed,
		.has_xattrs = body->has_xattrs,
	};
	memcpy(f->record.digest, body->digest.bytes, DIGEST_SIZE);
}

/* ---- Saving ---- */

static int by_path(const void *a, const void *b)
{
	const struct fresh *x = a, *y = b;

	return tree_path_order(str_of(x->path), str_of(y->path));
}

struct merged {
	struct cache_record *records;
	size_t count;
	struct buf texts;
};

static void merged_done(struct merged *m)
{
	free(m->records);
	buf_done(&m->texts);
}

DEFINE_CLEANUP_VALUE(struct merged, merged_done);

static void put(struct merged *m, const struct cache_record *record, struct str path, uint8_t age)
{
	struct cache_record *r = &m->records[m->count++];

	*r = *record;
	r->path = (uint32_t)m->texts.len;
	r->path_len = (uint16_t)path.n;
	r->age = age;
	buf_add_str(&m->texts, path);
}

static void put_old(struct tree_cache *c, size_t i, struct merged *m)
{
	const struct cache_record *r = &c->old.records[i];

	if (c->seen[i])
		put(m, r, path_of(&c->old, i), 0);
	else if (r->age < CACHE_MAX_AGE)
		put(m, r, path_of(&c->old, i), (uint8_t)(r->age + 1));
}

/* Both sorted; what is fresh replaces the old. */
static void merge(struct tree_cache *c, struct merged *m)
{
	size_t old = 0;

	m->records = xcalloc(c->old.count + c->count + 1, sizeof(*m->records));
	qsort(c->fresh, c->count, sizeof(*c->fresh), by_path);
	for (size_t i = 0; i < c->count; i++) {
		struct str path = str_of(c->fresh[i].path);
		while (old < c->old.count && tree_path_order(path_of(&c->old, old), path) < 0)
			put_old(c, old++, m);
		if (old < c->old.count && str_eq(path_of(&c->old, old), path))
			old++;
		put(m, &c->fresh[i].record, path, 0);
	}
	while (old < c->old.count)
		put_old(c, old++, m);
}

int tree_cache_save(struct tree_cache *c, int dirfd, const char *name, struct err *err)
{
	cleanup(merged_done) struct merged m = {0};
	cleanup(buf_done) struct buf bytes = {0};

	if (c->count == 0)
		return 0;
	merge(c, &m);
	struct cache_file file = {m.records, m.count, buf_text(&m.texts)};
	tree_cache_print(&file, m.texts.len, &bytes);
	if (bytes.len > MAX_FILE_SIZE)
		return 0;
	return file_replace(dirfd, name, buf_str(&bytes), 0600, err);
}
