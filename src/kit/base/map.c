/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdint.h>
#include <sys/random.h>

#include "base/alloc.h"

struct slot {
	char *key; /* NULL: never used */
	size_t len;
	uint64_t hash;
	void *value; /* NULL with a key: removed */
};

struct map {
	struct slot *slots;
	size_t size;   /* a power of two */
	size_t filled; /* slots with a key, removed ones included */
	size_t count;
};

static uint64_t seed;

static uint64_t hash_of(struct str key)
{
	if (!seed && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = 0x9e3779b97f4a7c15u;
	uint64_t h = seed ^ key.n;
	for (size_t i = 0; i < key.n; i++) {
		h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3u;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9u;
	return h ^ (h >> 32);
}

struct map *map_new(void)
{
	struct map *m = xcalloc(1, sizeof(*m));

	m->size = 16;
	m->slots = xcalloc(m->size, sizeof(*m->slots));
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->size; i++)
		free(m->slots[i].key);
	free(m->slots);
	free(m);
}

/* The slot that holds the key, or the free one where the search ended. */
static struct slot *slot_of(const struct map *m, struct str key, uint64_t hash)
{
	size_t i = hash & (m->size - 1);

	while (m->slots[i].key) {
		struct slot *s = &m->slots[i];
		if (s->hash == hash && str_eq(str_from(s->key, s->len), key))
			return s;
		i = (i + 1) & (m->size - 1);
	}
	return &m->slots[i];
}

void *map_find(const struct map *m, struct str key)
{
	return slot_of(m, key, hash_of(key))->value;
}

static void grow(struct map *m)
{
	struct map next = {.size = m->count * 4 < m->size ? m->size : m->size * 2};

	next.slots = xcalloc(next.size, sizeof(*next.slots));
	for (size_t i = 0; i < m->size; i++) {
		struct slot *s = &m->slots[i];
		if (!s->value) {
			free(s->key);
			continue;
		}
		*slot_of(&next, str_from(s->key, s->len), s->hash) = *s;
		next.count++;
	}
	next.filled = next.count;
	free(m->slots);
	*m = next;
}

void *map_set(struct map *m, struct str key, void *value)
{
	if (m->filled * 4 >= m->size * 3)
		grow(m);
	uint64_t hash = hash_of(key);
	struct slot *s = slot_of(m, key, hash);
	void *old = s->value;
	if (!s->key) {
		s->key = str_dup(key);
		s->len = key.n;
		s->hash = hash;
		m->filled++;
	}
	s->value = value;
	m->count += (value != NULL) - (old != NULL);
	return old;
}

void *map_remove(struct map *m, struct str key)
{
	struct slot *s = slot_of(m, key, hash_of(key));
	void *old = s->value;

	s->value = NULL;
	m->count -= old != NULL;
	return old;
}

size_t map_count(const struct map *m)
{
	return m->count;
}

void *map_next(const struct map *m, size_t *at, struct str *ret_key)
{
	while (*at < m->size) {
		const struct slot *s = &m->slots[(*at)++];
		if (!s->value)
			continue;
		if (ret_key)
			*ret_key = str_from(s->key, s->len);
		return s->value;
	}
	return NULL;
}
