/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TREE_TREE_H
#define TREE_TREE_H

/*
 * File trees on their way into an image: what COPY, ADD and bind mounts select from a build
 * context or from another stage, the digest of it that cache keys are made of, and how it is
 * written into an image's root.
 *
 *	tree_select()	sources of a COPY → a selection: every file found, by its metadata
 *	tree_digest()	a selection → one digest of names, metadata and contents
 *	struct tree_feed	a selection as a stream of entries with open files: from this
 *			process, or through a socket from one that may read what we may not
 *	tree_copy()	a feed → a place in an image's root, as BuildKit's COPY does it
 *	tree_owner_…()	names of users in an image → numbers
 *
 * The process that selects and digests needs nothing but the right to read the files. The one
 * that writes usually is root of a user namespace, where files of the real root cannot be
 * opened, and so gets them through tree_serve().
 *
 * Paths are bytes, never assumed to be UTF-8, without a leading '/', with '/' between names.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"
#include "os/dir.h"

enum {
	TREE_MAX_ENTRIES = 4000000, /* of one selection, unless its options say less */
	TREE_MAX_DEPTH = 200,	    /* directories below each other */
	TREE_MAX_PATH = 4095,	    /* bytes of a path or of a link's target */
	TREE_MAX_XATTRS = 48 * 1024 /* bytes of names and values of one file */
};

/* ---- One entry ---- */

struct tree_xattr {
	const char *name; /* user.* but user.overlay.*, and security.capability */
	struct str value;
};

struct tree_entry {
	/*
	 * Below its source: "pkg/a.py" for a file in a directory; "" for the directory itself,
	 * which is always the first entry of a directory source; the base name as it was
	 * asked for (not that of a link's target) when the source is a file.
	 */
	const char *path;
	bool is_source; /* the entry is the source itself; the next ones are below it */
	mode_t mode;	/* type and permission bits; sockets are regular files of size 0 */
	uid_t uid;
	gid_t gid;
	dev_t rdev;	    /* character and block devices; else 0 */
	uint64_t size;	    /* regular files; else 0 */
	int64_t mtime;	    /* nanoseconds since 1970 */
	const char *target; /* symbolic links; else NULL */
	const struct tree_xattr *xattrs;
	size_t xattr_count;
	/*
	 * Hard links: when several entries are one file, `link` is the number (counted from 1
	 * over the whole feed) of the first of them; in the first of them it is its own number.
	 * 0: the file has no second name here, as far as its link count tells.
	 */
	uint32_t link;
};

/* ---- Selecting ---- */

/*
 * Which paths are left out. Shaped after patterns_match_in() of the room dockerfile: a path
 * has `states` flags, computed from those of the directory above it (NULL at the top).
 */
struct tree_filter {
	const void *arg;
	size_t states;
	/* NULL: nothing is left out. */
	bool (*matches)(const void *arg, struct str path, const bool *parent, bool *state);
	/* May something below this matching directory not match? NULL: no. */
	bool (*may_except_below)(const void *arg, struct str dir);
};

/*
 * COPY --parents: what of a source directory is taken. Paths are relative to it; with what
 * matches come all that is below it and the directories on the way to it. No link is followed
 * on that way.
 */
struct tree_keep {
	/* may_except_below: may something below this directory match, which does not itself? */
	struct tree_filter filter; /* without `matches` everything is taken */
	const char
		*must_find; /* the path as it was asked for, when nothing is ERR_MISSING; or NULL */
};

struct tree_select_options {
	struct tree_filter ignore; /* .dockerignore: paths are relative to the root */
	struct tree_filter
		exclude; /* COPY --exclude: relative to each source; a file's base name */
	const struct tree_keep *keep; /* one for each source; NULL: all of them are taken whole */
	/* Go's filepath.Match for one path component. NULL: sources have no wildcards. */
	bool (*wildcard)(struct str pattern, struct str name);
	bool keep_owner;      /* stages and images; else everything is 0:0 (contexts) */
	const char *place;    /* for errors: "the build context" (when NULL), "stage build" */
	uint64_t max_entries; /* 0: TREE_MAX_ENTRIES */
	/*
	 * Asked now and then by tree_select() and tree_digest(), which end with ERR_CANCELLED when
	 * it says so. NULL: never.
	 */
	bool (*is_cancelled)(const void *arg);
	const void *arg;
};

struct tree_selection;

/*
 * What `sources` name below root (a directory's descriptor, borrowed; the selection keeps one
 * of its own). Each source is cleaned against the root ("../x", "/x" and "x" are the same).
 * A wildcard matches names in one directory, sorted; matching nothing is no error, while a
 * source without wildcards has to exist (ERR_MISSING, with a hint when it was ignored). A
 * link named as a source is followed inside the root; links below a directory are entries.
 * Entries come in the order of the sources and, in each, sorted by name, directories before
 * what is in them. An unreadable directory is an error naming it.
 */
must_use int tree_select(int root, const char *const *sources, size_t count,
	const struct tree_select_options *options, struct tree_selection **ret, struct err *err);
void tree_selection_free(struct tree_selection *s);
DEFINE_CLEANUP(struct tree_selection *, tree_selection_free);

size_t tree_selection_count(const struct tree_selection *s);   /* entries */
uint64_t tree_selection_bytes(const struct tree_selection *s); /* of regular files */

/* ---- Digests ---- */

/*
 * What is known of the files of one root from earlier builds: path → inode, size, times and
 * digest, so that an unchanged file costs one lstat. A file that changed within two seconds
 * before it was read is not remembered: a later change could leave the same times behind.
 */
struct tree_cache;

/* `name` below dirfd. A missing, damaged or foreign file gives an empty cache. */
struct tree_cache *tree_cache_load(int dirfd, const char *name);
void tree_cache_free(struct tree_cache *c);
DEFINE_CLEANUP(struct tree_cache *, tree_cache_free);
/*
 * Replace the file if anything was learned. Files that no selection of the last few builds
 * touched are forgotten.
 */
must_use int tree_cache_save(struct tree_cache *c, int dirfd, const char *name, struct err *err);

/*
 * Names relative to the sources, types, modes, owners, sizes, targets, device numbers,
 * attributes and contents; not the times, not the directory sources' own metadata, not where
 * the sources lie. An empty selection has a digest too. A file that changes meanwhile, or
 * cannot be read, is an error naming it. cache may be NULL.
 */
must_use int tree_digest(
	struct tree_selection *s, struct tree_cache *cache, struct digest *ret, struct err *err);

/* ---- Feeds ---- */

struct tree_feed;

enum { TREE_FEED_END = 1 };

/*
 * The next entry. *ret and *ret_fd are valid until the next call; the descriptor (regular
 * files, at offset 0; -1 for others and for what was a socket) stays the feed's.
 * TREE_FEED_END after the last.
 * A file that is no longer what was selected is an error naming it.
 */
must_use int tree_feed_next(
	struct tree_feed *feed, const struct tree_entry **ret, int *ret_fd, struct err *err);
void tree_feed_free(struct tree_feed *feed);
DEFINE_CLEANUP(struct tree_feed *, tree_feed_free);

/* From a selection of this process, which must outlive the feed. Never fails. */
struct tree_feed *tree_feed_local(const struct tree_selection *s);

/* One file from an open descriptor (borrowed): what ADD fetched. Never fails. */
struct tree_file {
	int fd;
	const char *name; /* one component; must outlive the feed */
	mode_t mode;	  /* permission bits */
	uint64_t size;
	int64_t mtime;
};

struct tree_feed *tree_feed_file(const struct tree_file *file);

/*
 * Selection number `index` of the tree_serve() at the other end of the socket (borrowed). One
 * feed at a time on a socket; what it says is checked as foreign input.
 */
struct tree_feed *tree_feed_receive(int socket, uint32_t index);

/* A pair for tree_serve() and tree_feed_receive(): SOCK_SEQPACKET, O_CLOEXEC. */
must_use int tree_socket_pair(int ret[2], struct err *err);

/*
 * Answer requests for the given selections until the other end is closed. What goes wrong
 * with a file is told to the peer as its error; only a broken socket is an error here.
 */
must_use int tree_serve(
	int socket, const struct tree_selection *const *selections, size_t count, struct err *err);

/* ---- Copying ---- */

/* A --chmod: octal up to 07777, or symbolic as chmod(1) reads it ("u=rwX,go=rX"). */
enum { TREE_MODE_MAX_CLAUSES = 32 };

struct tree_mode_clause {
	mode_t who;	 /* the bits it may touch: 04700, 02070, 00007, 07777 … */
	char op;	 /* '=', '+', '-' */
	mode_t bits;	 /* of rwxst, spread over user, group and others */
	bool execute_if; /* X: x for directories and where any x is set */
	char copy_from;	 /* 'u', 'g', 'o', or 0 */
};

struct tree_mode {
	bool is_octal;
	mode_t octal;
	size_t count;
	struct tree_mode_clause clauses[TREE_MODE_MAX_CLAUSES];
};

must_use int tree_mode_parse(struct str text, struct tree_mode *ret, struct err *err);
/* New permission bits (07777) for a file whose st_mode is `mode`. */
mode_t tree_mode_apply(const struct tree_mode *m, mode_t mode);

/* How ADD treats sources that are archives. */
struct tree_unpacker {
	void *arg;
	/* Looks at the content of a regular file, by pread(2). */
	bool (*is_archive)(void *arg, int fd);
	/* From fd at its start, into the open directory dest. */
	int (*unpack)(void *arg, int fd, int dest, struct err *err);
};

struct tree_copy_options {
	const char *dest; /* absolute, in the image; "x/.." is cut before links are looked at */
	bool dest_is_dir; /* it was written with a '/' or "/." at its end */
	const struct dir_owner *owner; /* --chown; NULL: that of the entries */
	const struct tree_mode *mode;  /* --chmod; NULL: that of the entries */
	/* SOURCE_DATE_EPOCH: what is copied gets `mtime`; directories made for dest do not. */
	bool has_mtime;
	int64_t mtime;			      /* nanoseconds since 1970 */
	const struct tree_unpacker *unpacker; /* ADD; NULL: archives are files */
	size_t *became_dest; /* counts the files that became dest itself; NULL: nobody asks */
};

/*
 * Copy everything the feed has to options->dest below root, as COPY does: dest is resolved in
 * root through links, its last component included; below it no link is ever followed. A
 * directory source's contents go into dest, a file becomes dest, or a file in it when it is a
 * directory. Missing parents are made 0755 root, or with --chmod and --chown; a new dest the
 * same; directories below dest that exist take mode and owner of the source. Of several files
 * for a dest that is no directory each replaces the one before. Files and links in the way are
 * replaced; a directory in the way of a file, or anything else in the way of a directory, is
 * ERR_FAILED. Errors name the path in the image; what was written before one stays, so the
 * caller drops the layer.
 */
must_use int tree_copy(
	struct tree_feed *feed, int root, const struct tree_copy_options *options, struct err *err);

/* ---- Users of an image ---- */

/*
 * The text of --chown: "1000" is 1000:1000, "name" is the user with their own group, "u:g",
 * "u:" is group 0. Names come from /etc/passwd and /etc/group below root; an unknown one is
 * ERR_MISSING with a hint, and never root. "root" needs no file.
 */
must_use int tree_owner_resolve(int root, struct str text, struct dir_owner *ret, struct err *err);

struct tree_user {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* the others the user is in; owned */
	size_t group_count;
	char *home; /* "/" when unknown; owned */
};

void tree_user_done(struct tree_user *user);
DEFINE_CLEANUP_VALUE(struct tree_user, tree_user_done);

/*
 * The text of USER, as a process will run: "" is root. A number without an entry has group 0
 * and home "/"; with ":group" the other groups are dropped; an unknown name is ERR_MISSING.
 */
must_use int tree_user_resolve(int root, struct str text, struct tree_user *ret, struct err *err);

#endif
