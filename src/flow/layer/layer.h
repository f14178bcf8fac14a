/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_LAYER_H
#define LAYER_LAYER_H

/*
 * The layer store: file system layers as plain directories that overlayfs mounts in place.
 * No archive and no digest stands between a build step and its layer: a layer is the upper
 * directory of an overlay, renamed. It is named by a key that says how it came to be.
 *
 *	layers/KEY/fs	 the tree; whiteouts are character devices 0:0, opaque directories
 *			 carry user.overlay.opaque=y. Never changed after it was published
 *	layers/KEY/meta	 struct layer_meta in words
 *	layers/KEY/recipe  of some that were unpacked: what the archive had besides the content of
 *			 its files, to make the same archive again
 *	active/ID/	 a draft: a layer in the making, with a lock its process holds
 *	unsynced/KEY	 the boot during which KEY was written, until it is known to be on disk
 *	caches/HASH/	 directories of RUN --mount=type=cache
 *	digests/HASH	 memos
 *	blobs/		 the image room's partial downloads
 *	locks/		 locks on keys
 *	trash/		 what is to be removed
 *	empty/		 two empty directories, for overlays that have too few layers
 *
 * Everything that writes or mounts runs in a user namespace whose root owns the store: the
 * owners and modes in a layer are then as the image says. LAYER_READ needs no namespace and
 * no privilege beyond that of the store's owner.
 *
 * Many processes may have the store open. What one publishes the others see at once, whole
 * or not at all. A crash of a process leaves a draft, which the next LAYER_WRITE open
 * removes. A crash of the machine can lose or tear what was published shortly before; such
 * layers, and all that were built on them, are known by their unsynced mark and are treated
 * as absent: a wrong layer is worse than a missing one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"
#include "os/dir.h"

/* Outcomes above zero. */
enum {
	LAYER_E_BUSY = 1,    /* another process holds the lock */
	LAYER_E_ABSENT = 2,  /* no such layer or memo (or not to be trusted after a crash) */
	LAYER_E_PRESENT = 3, /* somebody else published this key first; theirs stands */
};

/* ---- Keys ---- */

/* 40 lower-case hexadecimal digits: short, since ~90 of them share one page of options. */
struct layer_key {
	char hex[41];
};

/* A recipe's digest, shortened to its first 20 bytes. */
struct layer_key layer_key_of(const struct digest *recipe);
/* Of a pulled layer: derived from its diff ID. It needs no parent, it holds its whiteouts. */
struct layer_key layer_key_of_diff_id(const struct digest *diff_id);
bool layer_key_parse(struct str hex, struct layer_key *ret);
bool layer_key_eq(const struct layer_key *a, const struct layer_key *b);

/* The layers of a tree, bottom first. `keys` is the caller's. */
struct layer_chain {
	const struct layer_key *keys;
	size_t count;
};

/* ---- The store ---- */

struct layer_store;

enum layer_access { LAYER_READ, LAYER_WRITE };

/*
 * dirfd is the directory of the store (it is duplicated). LAYER_WRITE makes what is missing
 * in it, moves the remains of crashed processes to the trash (their grafted caches go back
 * first), and once a boot drops the layers that a crash of the machine made doubtful. It is
 * refused where the calling process is not the store's owner: outside of its namespace.
 * LAYER_READ changes nothing; a store that was never written is empty.
 */
must_use int layer_store_open(
	int dirfd, enum layer_access access, struct layer_store **ret, struct err *err);
void layer_store_close(struct layer_store *store);
DEFINE_CLEANUP(struct layer_store *, layer_store_close);

/* blobs/, where downloads are kept until they are whole; the store's descriptor. */
int layer_store_blobs(const struct layer_store *store);

/*
 * Make layers durable: when one has been unsynced for `age` seconds or more, syncfs(2) once
 * and clear all marks that were there before. Waits for the disk, so call it beside work that
 * takes its time, and with age 0 (in a child if need be) before a machine is shut down.
 */
must_use int layer_sync(struct layer_store *store, int64_t age, struct err *err);

/* Remove what lies in the trash. May take seconds: not on the way to a result. */
must_use int layer_tidy(struct layer_store *store, struct err *err);

/* ---- Layers ---- */

enum layer_kind {
	LAYER_BASE, /* unpacked from an image's layer; the same bytes can be had again */
	LAYER_STEP, /* made by a build step; never made twice the same */
};

struct layer_meta {
	struct layer_key key;
	struct layer_key parent; /* hex[0] == '\0': none */
	enum layer_kind kind;
	bool has_digest;
	struct digest digest; /* diff ID (base) or content digest, if known */
	uint64_t size;	      /* bytes of file content */
	uint64_t files;	      /* entries of every type */
	int64_t created;      /* seconds since 1970 */
	char boot[40];	      /* boot ID of the machine then */
};

/* Is the layer there and to be trusted? Two system calls. */
bool layer_has(const struct layer_store *store, const struct layer_key *key);
/* All of them? Fills *ret_absent (may be NULL) with the first that is not. */
bool layer_has_chain(
	const struct layer_store *store, struct layer_chain chain, struct layer_key *ret_absent);
/* 0, LAYER_E_ABSENT or < 0. */
must_use int layer_meta(const struct layer_store *store, const struct layer_key *key,
	struct layer_meta *ret, struct err *err);
/* A descriptor (O_PATH) of the layer's own tree, whiteouts and all: 0, LAYER_E_ABSENT or < 0. */
must_use int layer_open(
	const struct layer_store *store, const struct layer_key *key, int *ret_fd, struct err *err);

/*
 * Every trusted layer, in no order: `each` is called with its meta and the time it was last
 * used (seconds); anything but 0 from it ends the walk and is returned.
 */
must_use int layer_list(const struct layer_store *store,
	int (*each)(void *arg, const struct layer_meta *meta, int64_t used), void *arg,
	struct err *err);
/* Note that the layer was used now; whoever collects garbage goes by it. With LAYER_READ, too. */
void layer_touch(struct layer_store *store, const struct layer_key *key);
/*
 * Move it and every layer that was made on it to the trash. That nobody has them mounted is
 * for the caller to know.
 */
must_use int layer_remove(struct layer_store *store, const struct layer_key *key, struct err *err);

struct layer_usage {
	uint64_t size;	 /* bytes of content */
	uint64_t disk;	 /* bytes of disk blocks; a file with several names counts once */
	uint64_t shared; /* of those, in files that also have names outside the layer */
	uint64_t files;
};

/* Count a layer by walking it; a whole layer store by adding these up. */
must_use int layer_usage(const struct layer_store *store, const struct layer_key *key,
	struct layer_usage *ret, struct err *err);
/* The same for any tree: a draft's upper directory, a cache. */
must_use int layer_usage_of(int dirfd, struct layer_usage *ret, struct err *err);

/*
 * What a tree takes of the disk. A file can have names in several trees: what a build tool links
 * from its cache is in the cache and in layers. Such files are listed, so that who adds up trees
 * counts each of them once. Blocks that a file system shares between files (reflinks) count for
 * each file.
 */
struct layer_link {
	uint64_t inode, disk;
};

struct layer_weight {
	uint64_t disk;		  /* bytes of blocks, the linked files included */
	struct layer_link *links; /* files that have names outside of the tree, by inode */
	size_t link_count;
};

/* 0, LAYER_E_ABSENT or < 0. Remembered from the layer's publication on. */
must_use int layer_weigh(struct layer_store *store, struct arena *a, const struct layer_key *key,
	struct layer_weight *ret, struct err *err);
/* Any tree, by walking it. */
must_use int layer_weigh_tree(
	int dirfd, struct arena *a, struct layer_weight *ret, struct err *err);

/* ---- Collecting ---- */

/*
 * Move one layer to the trash. The caller knows that nothing needs it any more, and that no
 * layer was made on it that is still there.
 */
must_use int layer_drop(struct layer_store *store, const struct layer_key *key, struct err *err);

/* layer_tidy() that counts: *ret_freed is what the disk got back. */
must_use int layer_empty_trash(struct layer_store *store, uint64_t *ret_freed, struct err *err);

/* What is known and was not asked for since `before` (seconds since 1970), and dead locks. */
must_use int layer_sweep(struct layer_store *store, int64_t before, struct err *err);

/* ---- Drafts: layers in the making ---- */

struct layer_draft;

/*
 * A new draft. Its root directory takes mode and owner from the parent's, which may be NULL.
 * Nothing in it is seen by others until layer_publish().
 */
must_use int layer_begin(struct layer_store *store, const struct layer_key *parent,
	struct layer_draft **ret, struct err *err);

/*
 * Both are the draft's: its own directory, in which "merged" is an empty directory to mount on,
 * and the tree to be filled.
 */
int layer_draft_dir(const struct layer_draft *draft);
int layer_draft_fs(const struct layer_draft *draft);
#define LAYER_MERGED "merged"

/* A file of the draft's for layer_unpack_options.recipe_fd; the caller closes it. */
must_use int layer_draft_recipe(struct layer_draft *draft, int *ret_fd, struct err *err);

struct layer_info {
	enum layer_kind kind;
	const struct digest *digest; /* NULL: not known */
};

/*
 * Make it the layer `key`; the draft must not be mounted. 0, LAYER_E_PRESENT (ours is dropped
 * and theirs is as good) or < 0. layer_discard() is still to be called.
 */
must_use int layer_publish(struct layer_draft *draft, const struct layer_key *key,
	const struct layer_info *info, struct err *err);

/* Release it; what was not published is removed. */
void layer_discard(struct layer_draft *draft);
DEFINE_CLEANUP(struct layer_draft *, layer_discard);

/*
 * Held while a key is made, so that two builds of one step wait for each other instead of
 * doing it twice: take it, ask layer_has() again, then work. *ret_lock is a descriptor to be
 * given to layer_unlock_key(). Without `wait`: LAYER_E_BUSY.
 */
must_use int layer_lock_key(struct layer_store *store, const struct layer_key *key, bool wait,
	int *ret_lock, struct err *err);
void layer_unlock_key(struct layer_store *store, const struct layer_key *key, int lock);

/* ---- Mounting ---- */

/* Where an overlay keeps its changes: two directories below `dir`, on one file system. */
struct layer_upper {
	int dir;	  /* not owned */
	const char *fs;	  /* name of the upper directory; it exists */
	const char *work; /* name of the work directory; made when missing */
	/*
	 * Skip every sync: fast, and right for what is thrown away after a crash anyway. Needs
	 * layer_upper_reset() before it is mounted again.
	 */
	bool is_volatile;
};

/* The draft's own, volatile. */
struct layer_upper layer_draft_upper(const struct layer_draft *draft);

/*
 * Mount the chain on the directory `name` of dirfd: with `upper` writable, without (NULL)
 * read-only. An empty chain is an empty tree; a key that occurs twice counts where it is
 * topmost. More layers than fit into a page of options (about 90) need Linux 6.8.
 */
must_use int layer_mount(struct layer_store *store, struct layer_chain chain,
	const struct layer_upper *upper, int dirfd, const char *name, struct err *err);
/* ERR_BUSY when somebody still has files open in it. */
must_use int layer_unmount(int dirfd, const char *name, struct err *err);
/* Empty the work directory of an upper that is not mounted. */
must_use int layer_upper_reset(const struct layer_upper *upper, struct err *err);

/* Can this kernel mount overlays on this store's file system? Tries it. The error says why not. */
must_use int layer_probe(struct layer_store *store, struct err *err);

/* The directories that a container runtime mounts over. */
enum { LAYER_MADE_DEV = 1, LAYER_MADE_PROC = 2, LAYER_MADE_SYS = 4 };

/*
 * Before a container is started on a merged tree: /dev, /proc and /sys become real
 * directories, whatever an image or a step made of them (runtimes have followed links
 * there). ret_made (may be NULL) says which had to be made.
 */
must_use int layer_rootfs_prepare(int root, unsigned *ret_made, struct err *err);

/* ---- Unpacking ---- */

/* 0 stands for the default in brackets. */
struct layer_limits {
	uint64_t entries;     /* [2 000 000] */
	uint64_t bytes;	      /* file content, sparse files at full length [64 GiB] */
	uint64_t xattr_bytes; /* names and values, all entries together [64 MiB] */
	unsigned path;	      /* bytes of one path or link target [4096] */
	unsigned depth;	      /* components of one path [256] */
	unsigned cpu_seconds; /* of a confined unpack [3600] */
};

struct layer_unpack_stats {
	uint64_t entries, bytes; /* of content written */
	uint64_t read;		 /* bytes of archive consumed */
	uint64_t devices;	 /* skipped: device nodes cannot be had in a user namespace */
	uint64_t sockets;	 /* skipped */
	uint64_t system_entries; /* dropped: content of /dev, /proc and /sys */
	uint64_t xattrs;	 /* dropped: not user.* or security.capability, or refused */
	bool has_recipe;	 /* it was written */
	char first_note[256];	 /* the first thing skipped, by name; "" when there was none */
};

struct layer_unpack_options {
	struct layer_limits limits;
	/* Called now and then (every few MiB) and at the end; may be NULL. */
	void (*progress)(void *arg, const struct layer_unpack_stats *stats);
	void *arg;
	/*
	 * An archive of ordinary files (ADD) and no image layer: names such as .wh.x mean
	 * nothing, /dev is not special, everything goes below `prefix` ("" or NULL: the root),
	 * which keeps its attributes, and `owner` (NULL: as the archive says) owns it.
	 */
	bool is_plain;
	const char *prefix;
	const struct dir_owner *owner;
	/*
	 * layer_draft_recipe(): where to write down how the archive was made; 0: nowhere. Few
	 * archives cannot be described so (some hold a name twice); the file is empty then.
	 */
	int recipe_fd;
};

/*
 * Fill the tree `root` (a descriptor) from an uncompressed tar stream (v7, ustar, pax, GNU),
 * reading tar_fd to its end. Every name in it is resolved inside root, so nothing can be
 * written elsewhere. Refused, with the entry named: whiteouts of "", "." and "..", names
 * with "..", a root that is no directory, hard links to what the archive does not hold,
 * owners outside the namespace, a cut archive, and whatever passes a limit. On failure
 * the tree is half filled; ret_stats is filled in either case.
 */
must_use int layer_unpack(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err);

/*
 * The same in a child without network, with few capabilities and limited resources, which by
 * Landlock, where the kernel has it, can open no file but those below root. tar_fd is the
 * caller's and is to be closed by it after the start. The child ends with its parent.
 */
struct layer_unpacker;

must_use int layer_unpacker_start(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpacker **ret, struct err *err);
/* Readable when layer_unpacker_step() has something to do. */
int layer_unpacker_fd(const struct layer_unpacker *u);
/* Take in one report: calls progress. LAYER_E_BUSY while it goes on, 0 when it has ended. */
must_use int layer_unpacker_step(struct layer_unpacker *u, struct err *err);
/* Wait for the end; the result is as of layer_unpack(). */
must_use int layer_unpacker_finish(
	struct layer_unpacker *u, struct layer_unpack_stats *ret_stats, struct err *err);
/* Kills it if it still runs. */
void layer_unpacker_free(struct layer_unpacker *u);
DEFINE_CLEANUP(struct layer_unpacker *, layer_unpacker_free);

/* Start and finish in one: for archives that somebody else feeds. */
must_use int layer_unpack_confined(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err);

/* ---- Packing ---- */

struct layer_pack_options {
	/*
	 * The merged tree of the layers below, a descriptor: what is the same there is left out,
	 * opaque directories become whiteouts of what they hide, and whiteouts of nothing go.
	 * < 0: all of the tree is written as it is.
	 */
	int below;
	/* Times later than `epoch` (seconds since 1970) are written as that one. */
	bool has_epoch;
	int64_t epoch;
	/* Takes the archive in pieces; anything but 0 ends the packing and is returned. */
	int (*write)(void *arg, struct str piece, struct err *err);
	void *arg;
};

struct layer_pack_stats {
	uint64_t size; /* bytes of archive */
	uint64_t entries;
	uint64_t sockets; /* left out: an archive cannot hold them */
};

/*
 * Write the tree `root` (a descriptor) as an uncompressed tar, the same bytes for the same
 * tree: names sorted, times in whole seconds, numeric owners, holes filled, whiteouts as files
 * (OCI image specification, layer.md), user.* attributes and file capabilities in pax headers
 * (SCHILY.xattr). ERR_FAILED when a name in it begins with ".wh.", since an archive would mean
 * something else by it. ret_stats may be NULL.
 */
must_use int layer_pack(int root, const struct layer_pack_options *options,
	struct layer_pack_stats *ret_stats, struct err *err);

/*
 * The very archive the layer was unpacked from, by its recipe; of the options only the writer
 * counts. LAYER_E_ABSENT when it has none. Recipes can be damaged or forged: whether it is that
 * archive, its digest says.
 */
must_use int layer_pack_exact(const struct layer_store *store, const struct layer_key *key,
	const struct layer_pack_options *options, struct layer_pack_stats *ret_stats,
	struct err *err);
bool layer_has_recipe(const struct layer_store *store, const struct layer_key *key);
/* Forget a recipe: the layer is packed afresh from then on. */
must_use int layer_drop_recipe(
	struct layer_store *store, const struct layer_key *key, struct err *err);

/*
 * What tells a layer from another one that is later made under the same key: for memos of
 * facts about its tree. 0, LAYER_E_ABSENT or < 0.
 */
must_use int layer_identity(const struct layer_store *store, const struct layer_key *key,
	struct buf *ret, struct err *err);

/* ---- Archives as files: ADD ---- */

/*
 * Is the regular file a tar, plain or compressed by gzip, bzip2, xz or zstd? Its name does not
 * matter: it is one if its first header can be read. Done by confined children for whatever
 * begins like one. The file's offset is at its start afterwards.
 */
must_use int layer_archive_probe(int fd, bool *ret, struct err *err);

/*
 * layer_unpack_confined() for such a file, decompressed by a second confined child. More than
 * 200 times the file's size (beyond the first 256 MiB) is ERR_LIMIT too.
 */
must_use int layer_unpack_archive(int root, int fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err);

/* ---- Cache mounts ---- */

enum layer_sharing { LAYER_SHARED, LAYER_LOCKED, LAYER_PRIVATE };

struct layer_cache_options {
	enum layer_sharing sharing; /* as the Dockerfile says */
	bool wait;		    /* for whoever is in the way, instead of LAYER_E_BUSY */
	bool is_fresh;		    /* start empty, whatever it held */
	mode_t mode;		    /* of a new directory */
	uid_t uid;
	gid_t gid;
	/* Gives a new directory its first content, before anybody sees it; NULL: it is empty. */
	int (*fill)(void *arg, int dirfd, struct err *err);
	void *arg;
};

struct layer_cache;

/*
 * The cache `id` (any bytes; hashed, never a path). SHARED is open to several at once,
 * LOCKED to one, PRIVATE takes a free copy of its own. Mode and owner are those of a new
 * directory only. 0, LAYER_E_BUSY or < 0.
 */
must_use int layer_cache_open(struct layer_store *store, struct str id,
	const struct layer_cache_options *options, struct layer_cache **ret, struct err *err);
/* Its directory (O_PATH); the cache's. */
int layer_cache_dir(const struct layer_cache *cache);
void layer_cache_close(struct layer_cache *cache);
DEFINE_CLEANUP(struct layer_cache *, layer_cache_close);

struct layer_cache_info {
	char name[48];	/* in the store */
	const char *id; /* printable text of it; "" when nobody wrote it down */
	int64_t used;	/* seconds */
	bool is_busy;	/* somebody has it open */
};

/* Every cache, in no order; anything but 0 from `each` ends the walk and is returned. */
must_use int layer_cache_list(const struct layer_store *store,
	int (*each)(void *arg, const struct layer_cache_info *info), void *arg, struct err *err);
/* Remembered until its next use. 0, LAYER_E_ABSENT or < 0. */
must_use int layer_cache_weigh(struct layer_store *store, struct arena *a, const char *name,
	struct layer_weight *ret, struct err *err);
/* Move it to the trash whole: 0, LAYER_E_BUSY, LAYER_E_ABSENT or < 0. */
must_use int layer_cache_drop(struct layer_store *store, const char *name, struct err *err);

/*
 * Put the cache itself into the draft's upper directory at `path`, where hard links and
 * clones between it and the rest of the tree work, and take it out again. The draft is not
 * mounted at either time. At `path` the upper directory must hold an empty directory, which
 * is there again afterwards, with no link on the way to it: one that is made through the
 * mounted tree is so. Needs the cache to itself: LAYER_E_BUSY else, and for a cache that
 * was found to be edited in place. After a crash the next LAYER_WRITE open puts it back.
 */
must_use int layer_cache_graft(
	struct layer_cache *cache, struct layer_draft *draft, const char *path, struct err *err);
must_use int layer_cache_ungraft(struct layer_cache *cache, struct err *err);

/*
 * Files of a cache that was grafted can be files of published layers as well, by a hard link: who
 * writes into such a file changes those layers. Around a step that may do so (one that does
 * not get the cache grafted), layer_cache_watch() notes these files and layer_cache_verify()
 * compares. Owner and mode are put back; layers whose content was changed are dropped with
 * all that was made on them, and the cache is never grafted again. What a crash leaves
 * unverified, the next layer_cache_open() that is alone verifies. Costs nothing for caches
 * that never were grafted.
 */
struct layer_cache_edits {
	size_t layers;	 /* dropped */
	size_t restored; /* files whose owner or mode was put back */
	char first[256]; /* name of the first edited file found in a layer; "" for none */
};

must_use int layer_cache_watch(struct layer_cache *cache, struct err *err);
must_use int layer_cache_verify(
	struct layer_cache *cache, struct layer_cache_edits *ret, struct err *err);

/* ---- Memos ---- */

/*
 * Small facts about things that never change (the digest of a selection of files of a layer),
 * by name. Losing one costs time only. 0, LAYER_E_ABSENT or < 0.
 */
must_use int layer_memo_get(
	const struct layer_store *store, struct str name, struct buf *ret, struct err *err);
must_use int layer_memo_put(
	struct layer_store *store, struct str name, struct str value, struct err *err);

#endif
