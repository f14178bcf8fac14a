/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

/*
 * What this host keeps: the state directory as one thing, and the ways in which images come
 * into it. Commands and stages open the store once, and from it the layer store and the image
 * store.
 *
 *	<data>/store/	owned by the boxes' root, mode 0700: layers (layer/layer.h), images
 *			(image/image.h). Written by boxes only; read from outside.
 *	<data>/store/downloads/	what ADD fetched (fetch/fetch.h, fetch_trim())
 *	<data>/store/leases/	what builds and instances need
 *	<data>/run/	instances (run/run.h), owned by the caller
 *	<data>/contexts/	what is known of build contexts' files (tree/tree.h), the caller's
 *	<data>/scratch/	empty: where boxes mount their private tmpfs
 */
#include "base/arena.h"
#include "base/err.h"
#include "image/image.h"
#include "layer/layer.h"
#include "oci/oci.h"
#include "sandbox/sandbox.h"
#include "settings/settings.h"

struct store;

/*
 * Open the state directory, making what is missing with the right owners. `settings` must
 * outlive it. Needs no namespace. ERR_HOST when the user has no subordinate ids.
 */
must_use int store_open(const struct settings *settings, struct store **ret, struct err *err);
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free);

const struct settings *store_settings(const struct store *store);
const struct sandbox_ids *store_ids(const struct store *store);
int store_data(const struct store *store); /* descriptor of <data> */
int store_dir(const struct store *store);  /* descriptor of <data>/store, for the two below */
const char *store_scratch(const struct store *store); /* for sandbox_box_options */
/* For reading, from anywhere; both live as long as the store. */
struct layer_store *store_layers(struct store *store);
struct image_store *store_images(struct store *store);

/*
 * Bytes of the files in an image's layers, as they were counted when each was made. While one of
 * them is not here: what the registry or the archive says, 0 when that is nothing.
 */
uint64_t store_image_size(struct store *store, const struct image_record *image);

/* ---- Leases: what must stay ---- */

/*
 * A build or an instance names in its lease what it needs, as soon as it knows: that is not
 * removed while the process that made the lease, or a box that inherited it, lives. It costs
 * no memory beyond that: a crash of all holders frees it. To be used outside and inside boxes.
 */
struct store_lease;

enum { STORE_E_ABSENT = 1 };

must_use int store_lease_new(struct store *store, struct store_lease **ret, struct err *err);
/* In a box: closes its copy only. */
void store_lease_free(struct store_lease *lease);
DEFINE_CLEANUP(struct store_lease *, store_lease_free);
/*
 * Name layers, whether or not they are there: those that are to be made, too. They count as used
 * now. 0 when all of them are there, and will be; STORE_E_ABSENT when one is not.
 */
must_use int store_lease_layers(struct store_lease *lease, struct layer_store *layers,
	struct layer_chain chain, struct err *err);
/* Name the record of an image, whether or not it is there. */
must_use int store_lease_image(struct store_lease *lease, const struct digest *id, struct err *err);
/* An image's record and all its layers, as store_lease_layers(). */
must_use int store_lease_record(struct store_lease *lease, struct layer_store *layers,
	const struct image_record *record, struct err *err);

/*
 * Outside, after a build has succeeded: what its lease names is kept as that which the newest
 * build of this context (an absolute path) uses, in the place of what it used before.
 */
must_use int store_lease_keep(
	struct store *store, struct store_lease *lease, const char *context, struct err *err);

/*
 * Before a box is started that will call store_open_in_box(): reads the files of this user that
 * the box's root may be unable to read (credentials, certificate authorities).
 */
must_use int store_prepare_box(struct store *store, struct err *err);

/* ---- Inside a box ---- */

/*
 * Both stores for writing. From then on store_settings() names copies, in the box's scratch,
 * of what store_prepare_box() read.
 */
must_use int store_open_in_box(struct store *store, struct layer_store **ret_layers,
	struct image_store **ret_images, struct err *err);

/* Memory for containers, in memos of the layer store, which must outlive it. */
struct sandbox_memory store_memory(struct layer_store *layers);

/*
 * The layers of images on their way out, from `layers`, which was opened in this box and must
 * outlive it. Layers below the one that is packed are mounted in the scratch. Several processes
 * that were forked from the one that opened it may use it at once.
 */
struct store_source;

must_use int store_source_open(
	struct layer_store *layers, struct store_source **ret, struct err *err);
/* For image_layer_pack() and the like; the source is its argument. */
struct image_layer_source store_source_layers(struct store_source *source);
void store_source_free(struct store_source *source);
DEFINE_CLEANUP(struct store_source *, store_source_free);

/* ---- From outside: these start a box for the work ---- */

struct store_transfer {
	image_progress_fn *on_progress; /* called in this process; NULL for none */
	void *arg;
	int cancel_fd; /* readable: stop (ERR_CANCELLED); < 0 for none */
	/* Names the image and its layers, from before they are there; NULL: for the transfer only.
	 */
	struct store_lease *lease;
};

/* Pull, whether or not the name is known here already. */
must_use int store_pull(struct store *store, struct arena *a, const struct oci_reference *reference,
	const struct store_transfer *transfer, struct image_record *ret, struct err *err);

struct store_imported {
	struct image_record last;
	size_t count;
};

/* Import an archive: count images came in, at least one. */
must_use int store_import(struct store *store, struct arena *a, const struct image_archive *archive,
	const struct store_transfer *transfer, struct store_imported *ret, struct err *err);

struct store_push {
	const char *image; /* a name, an id or the beginning of one */
	const struct oci_reference *to;
	enum oci_media form; /* of layers that are uploaded, as in image_push */
};

/* Push an image (image_push()). IMAGE_E_ABSENT when there is none; ret lives in the arena. */
must_use int store_push(struct store *store, struct arena *a, const struct store_push *push,
	const struct store_transfer *transfer, struct image_pushed *ret, struct err *err);

/* Which images, to where, and how. */
struct store_export {
	char *const *names; /* names, ids, or beginnings of ids */
	size_t name_count;
	/*
	 * A file, which is there when it is whole and replaces one of its name; or a pipe. NULL:
	 * fd instead, which stays the caller's.
	 */
	const char *path;
	int fd;
	enum image_export_format format;
	enum oci_media form; /* of the layers */
};

struct store_exported {
	struct digest *manifests; /* of the images, each once, in their order */
	size_t count;
};

/* Write images as one archive: image_export(). ERR_MISSING when one is not here. */
must_use int store_export(struct store *store, struct arena *a, const struct store_export *export,
	const struct store_transfer *transfer, struct store_exported *ret, struct err *err);

struct store_removed {
	struct image_removed image;
	size_t layers; /* how many went with it: those that nothing needs, and no lease names */
};

/*
 * Remove a name or an image (image_remove()), and the layers that no image needs any more.
 * IMAGE_E_ABSENT when there is none.
 */
must_use int store_remove(struct store *store, struct arena *a, struct str text, bool force,
	struct store_removed *ret, struct err *err);

/* ---- What it takes of the disk ---- */

enum store_use {
	STORE_USE_IMAGES,	/* layers of images */
	STORE_USE_BUILD_CACHE,	/* layers that no image has */
	STORE_USE_CACHE_MOUNTS, /* of RUN --mount=type=cache */
	STORE_USE_TOOL_CACHES,	/* that steps get without asking */
	STORE_USE_RUNNING,	/* what running builds and Spaces have written */
	STORE_USE_DOWNLOADS,	/* interrupted ones, and those under way */
	STORE_USE_CONTEXTS,	/* digests of files of build contexts */
	STORE_USE_TRASH,
	STORE_USE_OTHER, /* records, memos, logs */
	STORE_USE_COUNT
};

struct store_use_total {
	size_t count, active; /* active: in use now */
	uint64_t bytes;	      /* of disk; what several have counts for the first use here */
	uint64_t reclaimable; /* by store_collect(); of caches: by one of all */
};

struct store_use_row {
	enum store_use use; /* images, build cache, caches */
	const char *name;   /* an image's first name or its id, a layer's key, a cache's id */
	uint64_t bytes;	    /* all of it */
	uint64_t shared;    /* of those, what something else has as well */
	int64_t used;	    /* seconds since 1970; 0: unknown */
	bool is_active;
};

struct store_usage {
	struct store_use_total totals[STORE_USE_COUNT];
	struct store_use_row *rows; /* in the arena */
	size_t row_count;
};

must_use int store_usage(
	struct store *store, struct arena *a, struct store_usage *ret, struct err *err);

/* ---- Collecting ---- */

enum store_item_kind { STORE_IMAGE, STORE_LAYER, STORE_CACHE, STORE_DOWNLOAD };

struct store_item {
	enum store_item_kind kind;
	const char *name; /* an image's id, a layer's key, a cache's id or, if unknown, its name */
	uint64_t bytes;	  /* that the disk gets back */
	int64_t used;	  /* seconds since 1970; 0: unknown */
};

struct store_gc {
	/*
	 * What it takes for granted: only what no lease names. `all`: also images with a name that
	 * were pulled, what newest builds of contexts use, caches, every interrupted download, what
	 * ADD fetched.
	 */
	bool all;
	/*
	 * After a build: down to the budgets of the settings, nothing that was made within the
	 * last hour. Returns at once when somebody else collects, ends after a few seconds.
	 */
	bool is_automatic;
	bool dry_run;
	int64_t until; /* seconds: only what was not used for so long */
	bool has_keep; /* only until no more than `keep` bytes of build cache are left */
	uint64_t keep;
	void (*on_item)(void *arg, const struct store_item *item); /* NULL: no */
	void *arg;
	int cancel_fd;
};

struct store_collected {
	size_t items;
	uint64_t bytes; /* that the disk got back, or would */
};

/*
 * Remove what nothing needs: images without a name, layers that no named image needs (the build
 * cache), caches beyond their budget, interrupted downloads, what dead processes left. An
 * interrupted one is finished by the next. ERR_BUSY never: another one is waited for.
 */
must_use int store_collect(struct store *store, const struct store_gc *gc,
	struct store_collected *ret, struct err *err);

/* Is it worth it to collect after a build? Quick, and may say yes too often. */
bool store_collect_is_due(struct store *store);

/* How many bytes a collection would give back, from what is remembered. */
uint64_t store_reclaimable(struct store *store);

#endif
