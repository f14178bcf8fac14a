/* SPDX-License-Identifier: Apache-2.0 */
#include "tree/internal.h"

/*
 * The file of a stat cache: this header, the records, the texts of their paths. Numbers are in
 * the machine's own order (another machine's file has a foreign magic number), so that the
 * records are used where they were read to. The checksum finds damage; it is no protection
 * against somebody who may write to the file, who could as well change the store.
 */
struct header {
	uint64_t magic;
	uint64_t count;
	uint64_t texts_size;
	uint64_t checksum; /* of all that follows */
};

static const uint64_t magic = 0x3165686361635053; /* "SPcache1" */

/* Eight bytes at a time, at the speed of memory. */
static uint64_t checksum(const char *p, size_t n)
{
	const uint64_t prime = 0x9e3779b97f4a7c15;
	uint64_t sum = n * prime, word = 0;

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum = (sum ^ word) * prime;
		sum ^= sum >> 29;
	}
	word = 0;
	memcpy(&word, p, n);
	sum = (sum ^ word) * prime;
	return sum ^ (sum >> 32);
}

static bool record_is_sound(const struct cache_record *r, uint64_t texts_size)
{
	return r->path_len > 0 && r->path <= texts_size && r->path_len <= texts_size - r->path;
}

bool tree_cache_parse(struct str bytes, struct cache_file *ret)
{
	struct header h;

	if (bytes.n < sizeof(h))
		return false;
	memcpy(&h, bytes.p, sizeof(h));
	struct str body = str_from_index(bytes, sizeof(h));
	if (h.magic != magic || h.count > body.n / sizeof(struct cache_record) ||
		h.texts_size != body.n - h.count * sizeof(struct cache_record) ||
		h.checksum != checksum(body.p, body.n))
		return false;
	const struct cache_record *records = (const void *)body.p;
	for (size_t i = 0; i < h.count; i++) {
		if (!record_is_sound(&records[i], h.texts_size))
			return false;
	}
	ret->records = records;
	ret->count = h.count;
	ret->texts = body.p + h.count * sizeof(*records);
	return true;
}

void tree_cache_print(const struct cache_file *file, size_t texts_size, struct buf *ret)
{
	size_t records_size = file->count * sizeof(*file->records);
	struct header h = {.magic = magic, .count = file->count, .texts_size = texts_size};

	(void)buf_reserve(ret, sizeof(h) + records_size + texts_size);
	buf_add(ret, &h, sizeof(h));
	if (records_size)
		buf_add(ret, file->records, records_size);
	buf_add(ret, file->texts, texts_size);
	h.checksum = checksum(ret->data + sizeof(h), ret->len - sizeof(h));
	memcpy(ret->data, &h, sizeof(h));
}
