/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_PACK_H
#define LAYER_PACK_H

/*
 * Packing, in two parts: pack.c walks the tree and decides what belongs into the archive,
 * pack_entry.c reads attributes, compares with what is below, and writes entries.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/tar.h"
#include "layer/layer.h"

struct pack {
	const struct layer_pack_options *options;
	struct layer_pack_stats stats;
	struct arena arena; /* of the names in `links` */
	struct map *links;  /* inode → path under which it was written */
	struct buf path;    /* of the current entry, without a '/' at either end */
	struct buf header;
	char *buffer; /* PACK_BUFFER bytes of archive that are still to be written: */
	size_t filled;
	char *compared[2]; /* PACK_COMPARED bytes each */
};

enum { PACK_BUFFER = 1 << 20, PACK_COMPARED = 128 << 10 };

/* An entry of the tree, or of what is below it. */
struct pack_entry {
	int dirfd; /* not owned; < 0: there is none */
	const char *name;
	struct stat st;
};

/* What an entry has besides its stat. */
struct pack_attributes {
	struct tar_attribute *items; /* sorted by name */
	size_t count;
};

/* Of an open file or directory: user.* and file capabilities, without what is overlayfs's. */
must_use int pack_attributes_read(
	int fd, struct arena *a, struct pack_attributes *ret, struct err *err);

/*
 * security.capability as it is outside of the user namespace in which it was set: the root's
 * id of version 3 goes. False when the value is none of the kernel's.
 */
bool pack_capability(struct str value, char ret[static 24], size_t *ret_length);

/* Are both the same, but for the time of a directory? 1 or 0, < 0. */
must_use int pack_is_same(struct pack *p, const struct pack_entry *e,
	const struct pack_entry *below, struct err *err);

/* Append bytes to the archive; and hand out what has come together. */
must_use int pack_add(struct pack *p, struct str bytes, struct err *err);
/* The next `size` bytes of a file. */
must_use int pack_add_content(struct pack *p, int fd, uint64_t size, struct err *err);
must_use int pack_flush(struct pack *p, struct err *err);

/* Write p->path with what it holds. */
must_use int pack_write(struct pack *p, const struct pack_entry *e, struct err *err);
/* Write an empty file of this name beside p->path's last component (which it replaces). */
must_use int pack_write_marker(
	struct pack *p, const char *prefix, const char *name, struct err *err);

#endif
