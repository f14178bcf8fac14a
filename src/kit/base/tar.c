/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tar.h"

#include <stdio.h>

#include "base/attr.h"

/* Offsets and lengths of ustar's fields (POSIX.1-2017, pax, "ustar Interchange Format"). */
enum field {
	NAME,
	MODE,
	UID,
	GID,
	SIZE,
	MTIME,
	CHECKSUM,
	TYPE,
	TARGET,
	MAGIC,
	MAJOR,
	MINOR,
	PREFIX
};

static const struct {
	unsigned at, length;
} fields[] = {
	[NAME] = {0, 100},
	[MODE] = {100, 8},
	[UID] = {108, 8},
	[GID] = {116, 8},
	[SIZE] = {124, 12},
	[MTIME] = {136, 12},
	[CHECKSUM] = {148, 8},
	[TYPE] = {156, 1},
	[TARGET] = {157, 100},
	[MAGIC] = {257, 8},
	[MAJOR] = {329, 8},
	[MINOR] = {337, 8},
	[PREFIX] = {345, 155},
};

static void put(char *block, enum field field, struct str value)
{
	size_t n = value.n < fields[field].length ? value.n : fields[field].length;

	if (n)
		memcpy(block + fields[field].at, value.p, n);
}

/* The largest number that fits into a field of octal digits and a terminator. */
static uint64_t largest(enum field field)
{
	return (UINT64_C(1) << (3 * (fields[field].length - 1))) - 1;
}

/* In base 256, as GNU tar does, where octal digits do not suffice: all readers know it. */
static void put_large(char *block, enum field field, uint64_t value)
{
	unsigned length = fields[field].length;
	char *to = block + fields[field].at;

	for (unsigned i = length; i-- > 0; value >>= 8)
		to[i] = (char)(value & 0xff);
	to[0] = (char)0x80;
}

static void put_number(char *block, enum field field, uint64_t value)
{
	char digits[24];
	int width = (int)fields[field].length - 1;

	if (value > largest(field)) {
		put_large(block, field, value);
		return;
	}
	int n = snprintf(digits, sizeof(digits), "%0*llo", width, (unsigned long long)value);
	put(block, field, str_from(digits, (size_t)n));
}

/* Where to cut a long name: before its last part, if both sides fit. 0: nowhere. */
static size_t find_cut(struct str name)
{
	size_t from = name.n > fields[NAME].length + 1 ? name.n - fields[NAME].length - 1 : 0;

	for (size_t i = from; i + 1 < name.n && i <= fields[PREFIX].length; i++) {
		if (name.p[i] == '/' && i > 0)
			return i;
	}
	return 0;
}

static bool fits(struct str name)
{
	return name.n <= fields[NAME].length || find_cut(name);
}

static void put_name(char *block, struct str name)
{
	size_t cut = name.n > fields[NAME].length ? find_cut(name) : 0;

	if (cut) {
		put(block, PREFIX, str_slice(name, 0, cut));
		name = str_from_index(name, cut + 1);
	}
	put(block, NAME, name);
}

static void put_checksum(char *block)
{
	unsigned sum = 0;
	char digits[16];

	put(block, CHECKSUM, STR("        "));
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char)block[i];
	snprintf(digits, sizeof(digits), "%06o", sum);
	/* Six digits, a NUL, and the blank that stands there already. */
	put(block, CHECKSUM, str_from(digits, 7));
}

static void add_block(const struct tar_header *h, char type, struct buf *ret)
{
	char *block = buf_reserve(ret, TAR_BLOCK);

	memset(block, 0, TAR_BLOCK);
	put_name(block, h->name);
	put_number(block, MODE, h->mode);
	put_number(block, UID, h->uid);
	put_number(block, GID, h->gid);
	put_number(block, SIZE, h->size);
	put_number(block, MTIME, h->mtime < 0 ? 0 : (uint64_t)h->mtime);
	put(block, TYPE, str_from(&type, 1));
	put(block, TARGET, h->target);
	put(block, MAGIC, str_from("ustar\00000", 8));
	if (h->type == TAR_CHAR || h->type == TAR_BLOCK_DEVICE) {
		put_number(block, MAJOR, h->major);
		put_number(block, MINOR, h->minor);
	}
	put_checksum(block);
	buf_commit(ret, TAR_BLOCK);
}

/* ---- pax ---- */

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void add_record(struct buf *records, const char *prefix, const char *key, struct str value)
{
	size_t rest = strlen(prefix) + strlen(key) + value.n + 3; /* blank, '=', line feed */
	size_t length = rest + 1;
	char digits[24];

	while (rest + (size_t)snprintf(digits, sizeof(digits), "%zu", length) != length)
		length = rest + strlen(digits);
	buf_printf(records, "%s %s%s=", digits, prefix, key);
	buf_add_str(records, value);
	buf_add_char(records, '\n');
}

static void add_number(struct buf *records, const char *key, int64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%lld", (long long)value);

	add_record(records, "", key, str_from(digits, (size_t)n));
}

static void add_records(const struct tar_header *h, struct buf *records)
{
	if (!fits(h->name))
		add_record(records, "", "path", h->name);
	if (h->target.n > fields[TARGET].length)
		add_record(records, "", "linkpath", h->target);
	if (h->uid > largest(UID))
		add_number(records, "uid", (int64_t)h->uid);
	if (h->gid > largest(GID))
		add_number(records, "gid", (int64_t)h->gid);
	if (h->size > largest(SIZE))
		add_number(records, "size", (int64_t)h->size);
	if (h->mtime < 0 || (uint64_t)h->mtime > largest(MTIME))
		add_number(records, "mtime", h->mtime);
	for (size_t i = 0; i < h->attribute_count; i++)
		add_record(records, "SCHILY.xattr.", h->attributes[i].name, h->attributes[i].value);
}

/* The name of a pax header says nothing; readers that do not know pax make a file of it. */
static void add_pax(struct str records, struct buf *ret)
{
	const struct tar_header pax = {
		.name = STR("PaxHeaders.0"), .mode = 0644, .size = records.n};
	size_t padding = tar_padding(records.n);

	add_block(&pax, 'x', ret);
	buf_add_str(ret, records);
	if (padding) {
		memset(buf_reserve(ret, padding), 0, padding);
		buf_commit(ret, padding);
	}
}

void tar_print_block(const struct tar_header *header, struct buf *ret)
{
	add_block(header, (char)header->type, ret);
}

void tar_print(const struct tar_header *header, struct buf *ret)
{
	cleanup(buf_done) struct buf records = {0};

	add_records(header, &records);
	if (records.len)
		add_pax(buf_str(&records), ret);
	add_block(header, (char)header->type, ret);
}
