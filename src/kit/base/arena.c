/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/*
 * Under AddressSanitizer each allocation is a block of its own, so that an overrun of one
 * value into the next is seen.
 */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_SIZE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_SIZE 1
#endif
#endif
#ifndef BLOCK_SIZE
#define BLOCK_SIZE 4000
#endif

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	_Alignas(max_align_t) char data[];
};

void arena_done(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *next = a->blocks->next;
		free(a->blocks);
		a->blocks = next;
	}
	a->used = 0;
}

static struct arena_block *block_for(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;

	if (b && b->size - b->used >= size)
		return b;
	size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
	b = xcalloc(1, sizeof(*b) + room);
	b->size = room;
	if (room == size && a->blocks && BLOCK_SIZE > 1) {
		/* A large value: keep filling the block in front. */
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		b->next = a->blocks;
		a->blocks = b;
	}
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t align = _Alignof(max_align_t);
	size_t padded = (size + align - 1) & ~(align - 1);
	struct arena_block *b = block_for(a, BLOCK_SIZE > 1 ? padded : size);
	void *p = b->data + b->used;

	b->used += BLOCK_SIZE > 1 ? padded : size;
	a->used += padded;
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / 2 / size)
		abort();
	return arena_alloc(a, count * size);
}

static char *copy(struct arena *a, const char *from, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	if (n)
		memcpy(p, from, n);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	return str_from(copy(a, s.p, s.n), s.n);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return copy(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	size_t size = n < 0 ? 1 : (size_t)n + 1;
	char *p = arena_alloc(a, size);
	vsnprintf(p, size, fmt, again);
	va_end(again);
	return p;
}

void *arena_grow(struct arena *a, void *arr, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return arr;
	size_t next = *cap ? *cap * 2 : 8;
	void *p = arena_array(a, next, size);
	if (count)
		memcpy(p, arr, count * size);
	*cap = next;
	return p;
}
