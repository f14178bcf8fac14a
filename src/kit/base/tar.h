/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TAR_H
#define BASE_TAR_H

/*
 * Headers of tar entries: ustar, with a pax header (POSIX.1-2001) in front where ustar cannot
 * hold a value. Pure; the same bytes for the same values.
 */
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

enum { TAR_BLOCK = 512 };

enum tar_type {
	TAR_FILE = '0',
	TAR_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHAR = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIR = '5',
	TAR_FIFO = '6',
};

/* An extended attribute: name without '=', value any bytes. */
struct tar_attribute {
	const char *name;
	struct str value;
};

struct tar_header {
	enum tar_type type;
	struct str name;   /* a directory's ends in '/' */
	struct str target; /* of links */
	mode_t mode;	   /* permissions only */
	uint64_t uid, gid;
	uint64_t size;
	int64_t mtime;
	unsigned major, minor;
	const struct tar_attribute *attributes; /* in the order of their names */
	size_t attribute_count;
};

/* Appends whole blocks. */
void tar_print(const struct tar_header *header, struct buf *ret);
/*
 * The same in one block, whatever the numbers in it, so that its place can be kept until they
 * are known. Names and targets must be short, and there are no attributes.
 */
void tar_print_block(const struct tar_header *header, struct buf *ret);

/* Bytes of padding after `size` bytes of content. */
static inline size_t tar_padding(uint64_t size)
{
	return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

#endif
