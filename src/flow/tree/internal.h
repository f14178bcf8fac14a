/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TREE_INTERNAL_H
#define TREE_INTERNAL_H

#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "tree/tree.h"

/* ---- Selections ---- */

/* An entry as it was found, with what tells later whether it is still the same. */
struct node {
	const char *real;		 /* below the selection's root, without links */
	const char *path;		 /* as in struct tree_entry */
	const char *target;		 /* links */
	const struct tree_xattr *xattrs; /* directories; those of files are read when opened */
	size_t xattr_count;
	uint64_t dev, ino, rdev, size;
	int64_t mtime, changed;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t link;
	bool is_source;
	bool is_socket; /* regular, empty, and never opened */
	bool is_bare;	/* its digest was made, and it has no attributes */
};

struct tree_selection {
	struct arena arena; /* texts of the nodes */
	int root;
	bool keep_owner;
	const char *place;
	struct node *nodes;
	size_t count, cap;
	uint64_t max_entries;
	uint64_t bytes;
	bool (*is_cancelled)(const void *arg);
	const void *arg;
};

/* 0, or ERR_CANCELLED. */
int tree_selection_go_on(const struct tree_selection *s, struct err *err);

static inline int64_t stat_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* Append what st describes; real and path must live as long as the selection. */
int tree_selection_add(struct tree_selection *s, const struct stat *st, const char *real,
	const char *path, struct err *err);

/*
 * Add everything below the open directory fd (the caller's), whose node was added last, to
 * the selection; keep may be NULL.
 */
int tree_walk(struct tree_selection *s, int fd, const struct tree_select_options *options,
	const struct tree_keep *keep, struct err *err);

/* What a filter says of a path, and of what is below it. */
enum verdict { TAKE, LEAVE, LOOK_BELOW };

enum verdict tree_filter_ask(
	const struct tree_filter *f, const char *path, const bool *parent, bool *state);
/* The other way round: what does not match is left out. */
enum verdict tree_keep_ask(
	const struct tree_keep *keep, const char *path, const bool *parent, bool *state);
/* The same for a path whose directories were not asked before; state as above, may be NULL. */
enum verdict tree_filter_ask_whole(const struct tree_filter *f, const char *path, bool *state);

/* ---- Opening the files of a selection ---- */

/* Keeps the directory of the last file open, since the next one is likely to lie there too. */
struct opener {
	const struct tree_selection *selection;
	int dir;
	const char *dir_path;
	size_t dir_len;
};

#define OPENER_OF(s) \
	{ \
		.selection = (s), .dir = -1 \
	}

void tree_opener_done(struct opener *o);
DEFINE_CLEANUP_VALUE(struct opener, tree_opener_done);
/* The regular file or directory of a node; an error names it if it is no longer the same. */
int tree_opener_open(struct opener *o, const struct node *node, struct err *err);
/* The error of an entry, by its real path, that is not what it was any more. */
int tree_changed(const struct tree_selection *s, const char *real, struct err *err);
/* Is what fd is open on still the node? */
int tree_node_verify(
	const struct tree_selection *s, const struct node *node, int fd, struct err *err);

/* ---- Extended attributes ---- */

/*
 * Those that are carried (struct tree_xattr), sorted by name. None is a file system without
 * them; too many is an error.
 */
int tree_xattrs_read(
	struct arena *a, int fd, const struct tree_xattr **ret, size_t *ret_count, struct err *err);
bool tree_xattr_is_carried(const char *name);
/* Best effort: a file system may have none. */
void tree_xattrs_write(int fd, const struct tree_entry *entry);
/* Appends names and values as fields. */
void tree_xattrs_print(const struct tree_xattr *xattrs, size_t count, struct buf *ret);

/* ---- The stat cache ---- */

/* What is remembered of a file: the digest of its content and, if it has any, attributes. */
struct body {
	struct digest digest;
	bool has_xattrs;
};

/* false: not known, or the file changed since. */
bool tree_cache_find(struct tree_cache *c, const struct node *node, struct body *ret);
void tree_cache_note(struct tree_cache *c, const struct node *node, const struct body *body);

/*
 * A cache file's records, looking into the bytes (8-byte aligned), which must live as long.
 * false when they are not such a file.
 */
struct cache_record {
	uint64_t dev, ino, size;
	int64_t mtime, changed;
	unsigned char digest[DIGEST_SIZE];
	uint32_t path; /* offset in the texts */
	uint16_t path_len;
	uint8_t has_xattrs;
	uint8_t age; /* saves since a build looked at it */
};

struct cache_file {
	const struct cache_record *records; /* sorted by tree_path_order() */
	size_t count;
	const char *texts;
};

bool tree_cache_parse(struct str bytes, struct cache_file *ret);
void tree_cache_print(const struct cache_file *file, size_t texts_size, struct buf *ret);

/* ---- Paths ---- */

/*
 * Any path, made relative to the root: without ".", empty parts and "..", which stops at the
 * root. "" is the root itself.
 */
char *tree_path_clean(struct arena *a, const char *path);
/* Not empty, parts that dir_is_name(), at most TREE_MAX_PATH bytes. */
bool tree_path_is_clean(struct str path);
/* Negative, 0, positive: the order of a walk that sorts names: '/' comes before all bytes. */
int tree_path_order(struct str a, struct str b);
/* Index of the last name in a path. */
size_t tree_path_base(struct str path);

/* ---- Feeds ---- */

struct tree_feed {
	int (*next)(struct tree_feed *feed, struct err *err); /* fills entry and fd */
	void (*free)(struct tree_feed *feed);
	struct tree_entry entry;
	uint32_t number; /* of the entry, from 1 */
	int fd;
};

/*
 * An entry as the bytes of a message. `has_fd`: a descriptor belongs to it. The largest is
 * RECORD_MAX_SIZE bytes.
 */
enum { RECORD_MAX_SIZE = TREE_MAX_XATTRS + 2 * TREE_MAX_PATH + 128 };

void tree_record_print(const struct tree_entry *entry, bool has_fd, struct buf *ret);
/*
 * The record at the front of *rest, which is cut off. Foreign bytes: everything a struct
 * tree_entry promises is checked. Texts are copied into the arena.
 */
int tree_record_parse(struct arena *a, struct str *rest, struct tree_entry *ret, bool *ret_has_fd,
	struct err *err);

/* ---- passwd(5) and group(5) ---- */

struct passwd_entry {
	struct str name, home;
	uint32_t uid, gid;
};

/* The first line that fits; lines that are none are passed over. false: there is none. */
bool tree_passwd_find_name(struct str file, struct str name, struct passwd_entry *ret);
bool tree_passwd_find_uid(struct str file, uint32_t uid, struct passwd_entry *ret);
bool tree_group_find(struct str file, struct str name, uint32_t *ret_gid);
/* The next group of *rest that has the user as a member; *rest is cut behind it. */
bool tree_group_next_of(struct str *rest, struct str user, uint32_t *ret_gid);

#endif
