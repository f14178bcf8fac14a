/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_TEST_ARCHIVE_H
#define LAYER_TEST_ARCHIVE_H

/* Tar archives made entry by entry, good ones and bad ones, and what unpacking them gives. */
#include "layer/internal.h"
#include "layer/test_scratch.h"

/* A ustar entry; `pax` are extended records in front of it. */
struct item {
	const char *name;
	char type; /* '0' when unset */
	unsigned mode;
	unsigned uid, gid;
	const char *link;
	const char *data;
	const char *size;   /* the field's own text when it is to lie */
	const char *pax[4]; /* "key=value" */
	size_t pax_size;    /* of pax[0], when it holds NULs */
};

/* "length key=value\n", the length counting itself. */
void archive_add_record(struct buf *to, const char *p, size_t n);
void archive_add(struct buf *tar, const struct item *i);
void archive_end(struct buf *tar);
/* The parts of an entry: its header for so many bytes of data, and zeros to the next block. */
void archive_add_header(struct buf *tar, const struct item *i, size_t size);
void archive_pad(struct buf *tar);
/* A descriptor to read the bytes from. */
int archive_file(struct str bytes);

/* An empty directory of the scratch, to unpack into. */
int archive_root(struct scratch *s);

struct result {
	int r;
	struct err err;
	struct layer_unpack_stats stats;
};

struct result unpack_bytes(int root, struct str bytes, const struct layer_unpack_options *options);
struct result unpack_items(int root, size_t count, const struct item *items,
	const struct layer_unpack_options *options);

/* A file capability as the kernel keeps it, a pax record with NULs in it. */
#define CAPS_RECORD "SCHILY.xattr.security.capability=\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0"

#define UNPACK(root, items) unpack_items(root, array_size(items), items, NULL)

#define assert_unpacked(result) \
	do { \
		if ((result).r != 0) \
			fail_msg("unpack: %s", (result).err.text); \
	} while (0)

#endif
