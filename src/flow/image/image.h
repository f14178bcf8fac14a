/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

/*
 * Images: found in the local store, pulled from registries, imported from archives.
 *
 * An image is its configuration plus the ordered names of its layers; its id is the digest
 * of the configuration's bytes. Layers themselves live elsewhere: what is pulled or imported
 * goes into a layer sink that the caller gives, and this room keeps only the keys under
 * which the sink knows them.
 *
 *	images/records/<hex of id>.json	  one image, written whole, never changed
 *	images/names/<hex of name>.json	  one name: the image it means. Names with a tag, and
 *					  those with the digest under which it was pulled
 *	images/partial/<hex of digest>	  a blob that is being fetched, or was when something
 *					  broke; the next pull continues it
 *	images/lock			  held while names and records change
 *
 * A record is written before the first name that means it and removed after the last, so a
 * crash leaves at worst a record without names. What cannot be read counts as absent, so that
 * the next pull or build repairs it. Nothing is believed that is not verified: manifests,
 * configurations and blobs against their digests and sizes, unpacked layers against the
 * configuration's diff IDs, a record against its id.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/oci.h"

/* ---- The local store ---- */

struct image_store;

/*
 * dirfd: the directory that has, or will have, images/ in it; it is duplicated. Nothing is made
 * before something is written, so a reader needs no more than the right to read.
 */
must_use int image_store_open(int dirfd, struct image_store **ret, struct err *err);
void image_store_free(struct image_store *store);
DEFINE_CLEANUP(struct image_store *, image_store_free);

enum image_origin { IMAGE_PULLED, IMAGE_BUILT, IMAGE_IMPORTED };

/* "pulled", "built", "imported" */
const char *image_origin_name(enum image_origin origin);

struct image_record {
	struct digest id; /* of the configuration's bytes */
	enum image_origin origin;
	struct str config;	      /* the JSON document, byte for byte */
	struct oci_list layers;	      /* keys of the layer store, bottom first */
	struct oci_list names;	      /* canonical references with a tag; see image_tag() */
	struct oci_list repo_digests; /* "docker.io/library/python@sha256:…" */
	const char *added;	      /* when it came here: "2026-11-24T21:40:42.123Z" */
	uint64_t size; /* bytes of its layers as the origin counts them; 0: unknown */
};

/* Outcomes. */
enum { IMAGE_E_ABSENT = 1 };

/*
 * Find by name ("python:3.13-slim"), by digest reference ("python@sha256:…"), by id
 * ("sha256:…", or at least 4 of its hex digits). A name wins over hex digits. Everything in
 * ret lives in the arena; `names` and `repo_digests` stay empty, image_names() fills them. Returns
 * IMAGE_E_ABSENT when there is none; an id prefix that several images share is ERR_INPUT.
 */
must_use int image_find(struct image_store *store, struct arena *a, struct str text,
	struct image_record *ret, struct err *err);

/* All images with their names, newest first. */
must_use int image_list(struct image_store *store, struct arena *a, struct image_record **ret,
	size_t *ret_count, struct err *err);

/* Fill names and repo_digests. */
must_use int image_names(
	struct image_store *store, struct arena *a, struct image_record *record, struct err *err);

/*
 * Keep a record, and its repo_digests as names. Its id is computed from config and set here;
 * without `added` the file gets the time of now. What is there already stays as it is.
 */
must_use int image_save(struct image_store *store, struct image_record *record, struct err *err);

/*
 * Let a name mean this image from now on. A digest in the reference is not part of it, and
 * there must be a tag. ERR_MISSING when there is no such image.
 */
must_use int image_tag(struct image_store *store, const struct oci_reference *name,
	const struct digest *id, struct err *err);

struct image_removed {
	struct oci_list names; /* that mean nothing any more */
	bool record;	       /* the record went as well */
	struct digest id;
};

/*
 * By name: untag it, and with its last name remove the image. By id: refused (ERR_BUSY) when it
 * has more than one name, unless `force`. Layers stay; whoever owns them collects those that no
 * record mentions. IMAGE_E_ABSENT when there is none.
 */
must_use int image_remove(struct image_store *store, struct arena *a, struct str text, bool force,
	struct image_removed *ret, struct err *err);

/* ---- Interrupted downloads ---- */

struct image_sweep {
	int64_t before; /* seconds since 1970: those that did not grow since then */
	bool dry_run;	/* only count */
};

struct image_swept {
	size_t count;
	uint64_t bytes; /* of disk */
};

/* Remove what interrupted pulls left and nobody goes on with. */
must_use int image_sweep(struct image_store *store, const struct image_sweep *sweep,
	struct image_swept *ret, struct err *err);

/* ---- Where layers go ---- */

/* A verified stream of an uncompressed tar, as a sink sees it; opaque. */
struct image_stream;

/* Read the tar here until end of file. */
int image_stream_fd(const struct image_stream *stream);
/*
 * Once the archive has been read, before anything becomes visible: were size, digest and
 * diff ID what the manifest and the configuration promised? Reads the rest of the stream and
 * waits for the answer. < 0: throw away what was unpacked and return this. An end of file
 * alone promises nothing.
 */
must_use int image_stream_verified(struct image_stream *stream, struct err *err);
/*
 * After the unpacking has failed with err: if the stream itself had broken off, so that the
 * archive could not but look damaged, err becomes that. Returns -kind.
 */
int image_stream_blame(struct image_stream *stream, struct err *err);

struct image_layer_sink {
	/* The key under which the store knows, or will know, the layer of this diff ID. */
	void (*key)(void *arg, const struct digest *diff_id, struct buf *ret);
	/* Is it there already? */
	bool (*has)(void *arg, const struct digest *diff_id);
	/*
	 * Unpack it. Called in a process of its own, several at once; that process may be
	 * killed at any moment. Publishes only after image_stream_verified().
	 */
	int (*unpack)(void *arg, const struct digest *diff_id, struct image_stream *stream,
		struct err *err);
	/* An image of this id is about to be kept; NULL: nobody wants to know. */
	void (*announce)(void *arg, const struct digest *id);
	void *arg;
};

/* ---- Progress ---- */

enum image_phase {
	IMAGE_RESOLVE,	/* asking for the manifest; text: where */
	IMAGE_EXISTS,	/* the layer is in the store already */
	IMAGE_DOWNLOAD, /* done of total bytes, compressed */
	IMAGE_UNPACK,	/* all bytes are here; the rest is being unpacked */
	IMAGE_DONE,	/* this layer is in the store, or in the registry or archive */
	IMAGE_UPLOAD,	/* done of total bytes, uncompressed; total may be 0: not known */
	IMAGE_MOUNTED,	/* the registry had it in another repository */
	IMAGE_PACK,	/* done of total bytes, uncompressed; total may be 0: not known */
};

/* "resolve", "exists", "download", "unpack", "done", "upload", "mounted", "pack" */
const char *image_phase_name(enum image_phase phase);

struct image_progress {
	const char *image; /* canonical reference, or the archive's path */
	enum image_phase phase;
	/* Digest of the blob, as the manifest has it; of a push, something that tells layers apart.
	 */
	struct digest layer;
	size_t index, count; /* which layer of how many */
	uint64_t done, total;
	const char *text; /* IMAGE_RESOLVE: the registry or mirror; else "" */
};

typedef void image_progress_fn(void *arg, const struct image_progress *progress);

struct image_watcher {
	image_progress_fn *on_progress;	 /* NULL: none */
	bool (*is_cancelled)(void *arg); /* asked at least once a second; NULL: never */
	void *arg;
};

/* ---- Registries ---- */

struct image_registry {
	const char *name;	    /* "docker.io" */
	const char *const *mirrors; /* URLs, asked in this order before the registry itself */
	size_t mirror_count;
	bool insecure; /* plain HTTP and unverified TLS are allowed for it */
};

/*
 * How registries are reached. A mirror is "http[s]://host[:port][/prefix]": the image
 * docker.io/library/python is asked for as PREFIX/library/python there. Plain HTTP is
 * spoken to mirrors given as http://, to loopback addresses, and to registries marked
 * insecure (after HTTPS failed to connect). Zeroes are a useful default.
 */
struct image_source {
	const struct image_registry *registries;
	size_t registry_count;
	const char *credentials;      /* a docker-style config.json; NULL: none */
	const char *ca_bundle;	      /* as net_options */
	struct oci_platform platform; /* os NULL: this machine's */
	unsigned parallel;	      /* layers at once; 0: 3 */
	size_t chunk_bytes;	      /* sent with one request; 0: 8 MiB */
	unsigned retry_ms; /* wait before the second try of a cut transfer, doubled each time; 0:
			      500 */
	struct {
		uint64_t blob_bytes;	 /* of one layer, compressed; 0: 64 GiB */
		uint64_t unpacked_bytes; /* of one layer; 0: 128 GiB */
		uint64_t ratio; /* unpacked to compressed, beyond the first 256 MiB; 0: 200 */
	} limits;
};

/* Small facts that cost time only when they are forgotten. */
struct image_memory {
	bool (*get)(void *arg, struct str name, struct buf *ret);
	void (*put)(void *arg, struct str name, struct str value);
	void *arg;
};

/* What a pull, an import or a push works with. */
struct image_transfer {
	const struct image_source *source;
	const struct image_layer_sink *sink; /* not of a push */
	const struct image_memory *memory;   /* where layers are in registries; NULL: none */
	struct image_watcher watcher;
};

/*
 * Ask the registry for `reference` and make it an image of the store, named so. Layers the
 * sink has already are not fetched. Errors: ERR_MISSING (no such image, or
 * none for this platform; every place asked is named), ERR_DENIED, ERR_NETWORK, ERR_LIMIT,
 * ERR_FAILED (a broken image), ERR_CANCELLED, ERR_INPUT and those of the sink. Nothing is left
 * running in any case.
 */
must_use int image_pull(struct image_store *store, struct arena *a,
	const struct oci_reference *reference, const struct image_transfer *transfer,
	struct image_record *ret, struct err *err);

/* ---- Where layers come from, on their way out ---- */

/* What is known of the uncompressed tar of a layer. */
struct image_layer_facts {
	struct digest diff_id;
	uint64_t size; /* bytes */
};

/* Takes bytes in order; anything but 0 ends the writing and is returned by who called. */
struct image_writer {
	int (*write)(void *arg, struct str piece, struct err *err);
	void *arg;
};

/* Layers are asked for by their image and their place in it, from 0, the lowest. */
struct image_layer_source {
	/*
	 * What is known without making the tar: 0 or IMAGE_E_ABSENT, with ret->size about as
	 * large as it will be (0: no idea).
	 */
	int (*facts)(void *arg, const struct image_record *record, size_t layer,
		struct image_layer_facts *ret, struct err *err);
	/* Make the tar: the same bytes each time. */
	int (*pack)(void *arg, const struct image_record *record, size_t layer,
		const struct image_writer *to, struct err *err);
	/*
	 * What the tar turned out to be: it is what `facts` says from now on. ERR_FAILED when it
	 * is not what it had to be, which the next time it will be.
	 */
	int (*remember)(void *arg, const struct image_record *record, size_t layer,
		const struct image_layer_facts *facts, struct err *err);
	/*
	 * The diff ID that a layer had where it was pulled or imported from, which its tar made
	 * here need not have: 0 or IMAGE_E_ABSENT. NULL: not known of any.
	 */
	int (*origin)(void *arg, const struct image_record *record, size_t layer,
		struct digest *ret, struct err *err);
	void *arg;
};

/*
 * Make the tar of a layer, digested on the way (in a thread beside the writing, which happens
 * in the caller's), and let the source remember what it is. `to` may be NULL: the bytes are
 * digested only.
 */
must_use int image_layer_pack(const struct image_layer_source *source,
	const struct image_record *record, size_t layer, const struct image_writer *to,
	struct image_layer_facts *ret, struct err *err);
/* The facts, asked for or found out by packing. */
must_use int image_layer_facts_get(const struct image_layer_source *source,
	const struct image_record *record, size_t layer, struct image_layer_facts *ret,
	struct err *err);

/*
 * The configuration for others: with the diff IDs that `facts` has for the record's layers, and
 * nothing in it that only this store understands. Byte for byte the image's own when that
 * says the same already, so that an image which was pulled keeps its id.
 */
must_use int image_outgoing_config(struct arena *a, const struct image_record *record,
	const struct image_layer_facts *facts, struct str *ret, struct err *err);

/* ---- Pushes ---- */

struct image_push {
	const struct image_record *record;
	const struct oci_reference *to; /* with a tag and without a digest */
	/*
	 * OCI_MEDIA_LAYER_GZIP or OCI_MEDIA_LAYER_ZSTD: the form of layers that are uploaded. One
	 * that was pulled and is in the registry already keeps the form in which it is there.
	 */
	enum oci_media form;
	const struct image_layer_source *layers;
};

struct image_pushed_layer {
	struct digest diff_id, digest; /* of the tar, of the blob */
	uint64_t size;		       /* of the blob */
	enum oci_media media;
	enum image_phase how; /* IMAGE_DONE: uploaded; IMAGE_EXISTS, IMAGE_MOUNTED */
};

struct image_pushed {
	struct digest digest; /* of the manifest */
	uint64_t size;
	struct digest config;		   /* the image's id there */
	struct image_pushed_layer *layers; /* bottom first */
	size_t layer_count;
};

/*
 * Bring an image to a registry, never to one of its mirrors: what it has already is not sent
 * again, what another of its repositories has is mounted from there, layers go side by side, and
 * the manifest comes last. The record gets the name with the digest. Errors: ERR_DENIED,
 * ERR_NETWORK, ERR_LIMIT, ERR_CANCELLED, ERR_INPUT and those of the layers. Nothing is left
 * running in any case.
 */
must_use int image_push(struct image_store *store, struct arena *a, const struct image_push *push,
	const struct image_transfer *transfer, struct image_pushed *ret, struct err *err);

/* ---- Archives ---- */

struct image_archive {
	const char *path;		  /* relative to the working directory */
	int fd;				  /* > 0: it is open already; path is for messages only */
	const struct oci_reference *name; /* or NULL */
};

struct image_imported {
	struct image_record *records; /* with their names */
	size_t count;
};

/*
 * Make the images of an archive images of the store: an OCI layout as a tar or a directory, or
 * what `docker save` writes. They get the names the archive has for them, and `name` if
 * there is only one image in it. Verified as a pull is.
 */
must_use int image_import(struct image_store *store, struct arena *a,
	const struct image_archive *archive, const struct image_transfer *transfer,
	struct image_imported *ret, struct err *err);

enum image_export_format {
	IMAGE_EXPORT_DOCKER, /* for `docker load`, and an OCI image layout as well */
	IMAGE_EXPORT_OCI,    /* an OCI image layout and nothing else */
};

/* An image on its way out. */
struct image_export {
	struct image_record record;
	struct oci_list names; /* canonical references with a tag: those that the archive has */
};

struct image_export_options {
	/*
	 * Where to: a regular file, which is written from where its descriptor stands and cut
	 * where the archive ends, or a pipe.
	 */
	int fd;
	int spool; /* a directory for temporary files without names: compressed, to a pipe */
	enum image_export_format format;
	enum oci_media form; /* of the layers: OCI_MEDIA_LAYER_TAR, _GZIP or _ZSTD */
	const struct image_layer_source *layers;
	struct image_watcher watcher;
};

/*
 * Write images as one archive, the same bytes for the same images. A pipe gets each layer after its
 * digest is known, so what was never packed before is packed twice for it, and compressed
 * layers are kept in the spool meanwhile. ret_manifests: digests of the images' manifests, in
 * their order. ERR_CANCELLED, errors of the layers, and of the output.
 */
must_use int image_export(const struct image_export *images, size_t count,
	const struct image_export_options *options, struct digest *ret_manifests, struct err *err);

#endif
