/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images as an archive that Docker loads and that is an OCI image layout at once: blobs under
 * their digests, found through index.json by the one and through manifest.json by the other.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/map.h"
#include "image/compress.h"
#include "image/export_file.h"
#include "image/internal.h"
#include "os/file.h"
#include "json/json.h"

struct export
{
	struct arena arena;
	const struct image_export_options *options;
	struct export_file file;
	struct map *blobs;  /* text of a digest → itself: what is in the archive */
	struct map *layers; /* text of a diff ID → struct oci_descriptor */
	struct image_progress progress;
};

/* An image, and what was made of it. */
struct exported {
	const struct image_export *image;
	struct oci_manifest manifest;
	struct oci_descriptor descriptor; /* of the manifest */
	struct image_layer_facts *facts;
};

static const char *blob_name(struct export *e, const struct digest *digest)
{
	char hex[DIGEST_HEX_SIZE];

	return arena_printf(&e->arena, "blobs/sha256/%s", digest_hex(digest, hex));
}

/* Note that it is in the archive: false when it was before. */
static bool add_blob(struct export *e, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];

	return !map_set(e->blobs, str_of(digest_text(digest, text)), e);
}

static bool has_blob(const struct export *e, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];

	return map_find(e->blobs, str_of(digest_text(digest, text))) != NULL;
}

static int put_blob(struct export *e, struct str content, enum oci_media media,
	struct oci_descriptor *ret, struct err *err)
{
	*ret = (struct oci_descriptor){.media = media,
		.media_type = oci_media_type(media),
		.digest = digest_of(content.p, content.n),
		.size = content.n};
	return add_blob(e, &ret->digest)
		       ? export_file_put(&e->file, blob_name(e, &ret->digest), content, err)
		       : 0;
}

/* ---- Layers ---- */

static bool is_cancelled(const struct export *e)
{
	const struct image_watcher *watcher = &e->options->watcher;

	return watcher->is_cancelled && watcher->is_cancelled(watcher->arg);
}

static void tell(struct export *e, enum image_phase phase)
{
	const struct image_watcher *watcher = &e->options->watcher;

	e->progress.phase = phase;
	if (watcher->on_progress)
		watcher->on_progress(watcher->arg, &e->progress);
}

/* A layer, and what becomes known of it. */
struct outgoing_layer {
	const struct image_export *image;
	size_t place; /* in the image, from 0 */
	struct image_layer_facts *facts;
};

/* Where the tar of a layer goes: through a compressor or not, into the archive or a spool. */
struct layer_out {
	struct export *e;
	struct compress *compress; /* NULL: none */
	struct hasher *hasher;	   /* of what comes out of it */
	int spool;		   /* < 0: into the archive itself */
	uint64_t size;		   /* of what came out */
	uint64_t told;		   /* bytes of tar when progress was told last */
};

enum { TELL_EVERY = 8 << 20 };

static int take_out(void *arg, struct str piece, struct err *err)
{
	struct layer_out *out = arg;

	out->size += piece.n;
	if (out->hasher)
		hasher_add(out->hasher, piece.p, piece.n);
	return out->spool >= 0 ? file_write_fd(out->spool, piece, err)
			       : export_file_write(&out->e->file, piece, err);
}

static int take_tar(void *arg, struct str piece, struct err *err)
{
	struct layer_out *out = arg;
	struct export *e = out->e;

	if (is_cancelled(e))
		return err_set(err, ERR_CANCELLED, "the export was stopped");
	e->progress.done += piece.n;
	if (e->progress.done - out->told >= TELL_EVERY) {
		out->told = e->progress.done;
		tell(e, IMAGE_PACK);
	}
	return out->compress ? compress_feed(out->compress, piece, err) : take_out(out, piece, err);
}

/* Pack a layer into `out`, and describe what came out. */
static int pack_into(struct layer_out *out, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	const struct image_export_options *options = out->e->options;
	const struct image_writer writer = {take_tar, out};
	int r = image_layer_pack(
		options->layers, &layer->image->record, layer->place, &writer, layer->facts, err);

	if (r == 0 && out->compress)
		r = compress_finish(out->compress, err);
	*ret = (struct oci_descriptor){.media = options->form,
		.media_type = oci_media_type(options->form),
		.size = out->size};
	if (r == 0)
		ret->digest = out->hasher ? hasher_finish(out->hasher) : layer->facts->diff_id;
	return r;
}

/*
 * The same with a compressor, if one is wanted: it starts processes and so has to be there
 * before the thread that digests.
 */
static int pack_as_wanted(struct export *e, int spool, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	cleanup(compress_free) struct compress *compress = NULL;
	cleanup(hasher_free) struct hasher *hasher = NULL;
	struct layer_out out = {.e = e, .spool = spool};

	if (e->options->form != OCI_MEDIA_LAYER_TAR) {
		const struct compress_options options = {
			.media = e->options->form, .out = take_out, .arg = &out};
		int r = compress_new(&options, &compress, err);
		if (r < 0)
			return r;
		hasher = hasher_new();
		out.compress = compress;
		out.hasher = hasher;
	}
	return pack_into(&out, layer, ret, err);
}

/* Into a file: its header comes when all is known. */
static int put_into_file(struct export *e, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	uint64_t place = export_file_keep(&e->file);
	int r = pack_as_wanted(e, -1, layer, ret, err);

	if (r < 0)
		return r;
	if (add_blob(e, &ret->digest))
		return export_file_fill(
			&e->file, place, blob_name(e, &ret->digest), ret->size, err);
	export_file_forget(&e->file, place);
	return 0;
}

static int copy_spool(struct export *e, int spool, uint64_t size, struct err *err)
{
	uint64_t copied = 0;

	if (lseek(spool, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind the compressed layer");
	int r = file_copy(spool, e->file.fd, &copied, err);
	e->file.at += copied;
	if (r == 0 && copied != size)
		r = err_set(err, ERR_BUG, "a compressed layer changed its size");
	return r;
}

/* Into a pipe, compressed: its digest is known when all of it has been made. */
static int put_spooled(struct export *e, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	cleanup_close int spool =
		openat(e->options->spool, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (spool < 0)
		return err_sys(err, "make a temporary file in the store");
	int r = pack_as_wanted(e, spool, layer, ret, err);
	if (r < 0 || !add_blob(e, &ret->digest))
		return r;
	r = export_file_header(&e->file, blob_name(e, &ret->digest), ret->size, err);
	if (r == 0)
		r = copy_spool(e, spool, ret->size, err);
	return r == 0 ? export_file_pad(&e->file, ret->size, err) : r;
}

/* Into a pipe, as it is: what is not known of it is found out first, by packing it twice. */
static int put_known(struct export *e, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	const struct image_record *record = &layer->image->record;
	struct image_layer_facts known;
	int r = image_layer_facts_get(e->options->layers, record, layer->place, &known, err);

	if (r == 0 && has_blob(e, &known.diff_id)) {
		*layer->facts = known;
		*ret = (struct oci_descriptor){.media = OCI_MEDIA_LAYER_TAR,
			.media_type = oci_media_type(OCI_MEDIA_LAYER_TAR),
			.digest = known.diff_id,
			.size = known.size};
		return 0;
	}
	if (r == 0)
		r = export_file_header(&e->file, blob_name(e, &known.diff_id), known.size, err);
	if (r == 0)
		r = pack_as_wanted(e, -1, layer, ret, err);
	if (r < 0)
		return r;
	if (!digest_eq(&layer->facts->diff_id, &known.diff_id)) {
		(void)err_set(err, ERR_FAILED, "layer %s is not what it was",
			record->layers.items[layer->place]);
		return err_hint(err, "export it once more: what it is now has been noted");
	}
	(void)add_blob(e, &known.diff_id);
	return export_file_pad(&e->file, known.size, err);
}

/* What is in the archive already, by its diff ID: true. */
static bool find_layer(
	struct export *e, const struct image_layer_facts *facts, struct oci_descriptor *ret)
{
	char text[DIGEST_TEXT_SIZE];
	const struct oci_descriptor *found =
		map_find(e->layers, str_of(digest_text(&facts->diff_id, text)));

	if (found)
		*ret = *found;
	return found != NULL;
}

static void note_layer(
	struct export *e, const struct image_layer_facts *facts, const struct oci_descriptor *blob)
{
	struct oci_descriptor *kept = arena_alloc(&e->arena, sizeof(*kept));
	char text[DIGEST_TEXT_SIZE];

	*kept = *blob;
	(void)map_set(e->layers, str_of(digest_text(&facts->diff_id, text)), kept);
}

/* In messages, a layer is known by its key: its digest is not known yet. */
static void begin_progress(struct export *e, const struct outgoing_layer *layer, bool is_known)
{
	const struct oci_list *layers = &layer->image->record.layers;
	const char *key = layers->items[layer->place];

	e->progress.layer = is_known ? layer->facts->diff_id : digest_of(key, strlen(key));
	e->progress.index = layer->place;
	e->progress.count = layers->count;
	e->progress.total = is_known ? layer->facts->size : 0;
	e->progress.done = 0;
}

static int put_layer(struct export *e, const struct outgoing_layer *layer,
	struct oci_descriptor *ret, struct err *err)
{
	const struct image_layer_source *source = e->options->layers;
	const struct image_record *record = &layer->image->record;
	int r = source->facts(source->arg, record, layer->place, layer->facts, err);

	if (r < 0)
		return r;
	begin_progress(e, layer, r == 0);
	if (r == 0 && find_layer(e, layer->facts, ret))
		return 0;
	tell(e, IMAGE_PACK);
	if (e->file.is_file)
		r = put_into_file(e, layer, ret, err);
	else if (e->options->form == OCI_MEDIA_LAYER_TAR)
		r = put_known(e, layer, ret, err);
	else
		r = put_spooled(e, layer, ret, err);
	if (r < 0)
		return err_wrap(err, "layer %zu of %zu", layer->place + 1, record->layers.count);
	note_layer(e, layer->facts, ret);
	tell(e, IMAGE_DONE);
	return 0;
}

/* ---- Images ---- */

static int put_manifest(struct export *e, struct exported *x, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct str config;
	int r = image_outgoing_config(&e->arena, &x->image->record, x->facts, &config, err);

	if (r == 0)
		r = put_blob(e, config, OCI_MEDIA_CONFIG, &x->manifest.config, err);
	if (r < 0)
		return r;
	oci_manifest_print(&x->manifest, &text);
	return put_blob(e, buf_str(&text), OCI_MEDIA_MANIFEST, &x->descriptor, err);
}

static int put_image(
	struct export *e, const struct image_export *image, struct exported *ret, struct err *err)
{
	size_t count = image->record.layers.count;
	char id[DIGEST_TEXT_SIZE];

	*ret = (struct exported){.image = image,
		.manifest = {.media = OCI_MEDIA_MANIFEST,
			.layers = arena_array(&e->arena, count, sizeof(*ret->manifest.layers)),
			.layer_count = count},
		.facts = arena_array(&e->arena, count, sizeof(*ret->facts))};
	e->progress.image = image->names.count
				    ? image->names.items[0]
				    : arena_strdup(&e->arena, digest_text(&image->record.id, id));
	for (size_t i = 0; i < count; i++) {
		const struct outgoing_layer layer = {image, i, &ret->facts[i]};
		int r = put_layer(e, &layer, &ret->manifest.layers[i], err);
		if (r < 0)
			return err_wrap(err, "%s", e->progress.image);
	}
	return put_manifest(e, ret, err);
}

/* ---- Documents ---- */

static void add_descriptor(
	struct json_writer *w, const struct oci_descriptor *d, const struct oci_reference *name)
{
	char digest[DIGEST_TEXT_SIZE];

	json_begin_object(w);
	json_add_text(w, "mediaType", d->media_type);
	json_add_text(w, "digest", digest_text(&d->digest, digest));
	json_add_u64(w, "size", d->size);
	if (name) {
		json_key(w, "annotations");
		json_begin_object(w);
		json_add_text(w, "io.containerd.image.name", name->text);
		json_add_text(w, "org.opencontainers.image.ref.name", name->tag);
		json_end_object(w);
	}
	json_end_object(w);
}

/* "docker.io/library/busybox:1.36" again as a reference. */
static int parse_name(
	struct export *e, const char *name, struct oci_reference *ret, struct err *err)
{
	int r = oci_reference_parse(&e->arena, str_of(name), ret, err);

	return r == 0 && !ret->tag ? err_set(err, ERR_BUG, "%s has no tag", name) : r;
}

/* One entry for each name, as containerd writes them. */
static int put_index(struct export *e, const struct exported *all, size_t count, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct json_writer w = json_writer_to(&text);
	struct oci_reference name;

	json_begin_object(&w);
	json_add_u64(&w, "schemaVersion", 2);
	json_add_text(&w, "mediaType", oci_media_type(OCI_MEDIA_INDEX));
	json_key(&w, "manifests");
	json_begin_array(&w);
	for (size_t i = 0; i < count; i++) {
		const struct oci_list *names = &all[i].image->names;
		if (!names->count)
			add_descriptor(&w, &all[i].descriptor, NULL);
		for (size_t k = 0; k < names->count; k++) {
			int r = parse_name(e, names->items[k], &name, err);
			if (r < 0)
				return r;
			add_descriptor(&w, &all[i].descriptor, &name);
		}
	}
	json_end_array(&w);
	json_end_object(&w);
	return export_file_put(&e->file, "index.json", buf_str(&text), err);
}

static int add_tags(
	struct export *e, struct json_writer *w, const struct oci_list *names, struct err *err)
{
	struct oci_reference name;

	json_key(w, "RepoTags");
	json_begin_array(w);
	for (size_t i = 0; i < names->count; i++) {
		int r = parse_name(e, names->items[i], &name, err);
		if (r < 0)
			return r;
		json_put_text(w, name.short_text);
	}
	json_end_array(w);
	return 0;
}

/* Docker's own list. */
static int put_docker(struct export *e, const struct exported *all, size_t count, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct json_writer w = json_writer_to(&text);

	json_begin_array(&w);
	for (size_t i = 0; i < count; i++) {
		const struct oci_manifest *manifest = &all[i].manifest;
		json_begin_object(&w);
		json_add_text(&w, "Config", blob_name(e, &manifest->config.digest));
		int r = add_tags(e, &w, &all[i].image->names, err);
		if (r < 0)
			return r;
		json_key(&w, "Layers");
		json_begin_array(&w);
		for (size_t k = 0; k < manifest->layer_count; k++)
			json_put_text(&w, blob_name(e, &manifest->layers[k].digest));
		json_end_array(&w);
		json_end_object(&w);
	}
	json_end_array(&w);
	return export_file_put(&e->file, "manifest.json", buf_str(&text), err);
}

/* ---- The whole ---- */

static int put_all(struct export *e, struct exported *all, const struct image_export *images,
	size_t count, struct err *err)
{
	int r = export_file_put(
		&e->file, "oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), err);

	if (r == 0)
		r = export_file_put(&e->file, "blobs/", STR(""), err);
	if (r == 0)
		r = export_file_put(&e->file, "blobs/sha256/", STR(""), err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = put_image(e, &images[i], &all[i], err);
	if (r == 0)
		r = put_index(e, all, count, err);
	if (r == 0 && e->options->format == IMAGE_EXPORT_DOCKER)
		r = put_docker(e, all, count, err);
	return r == 0 ? export_file_end(&e->file, err) : r;
}

int image_export(const struct image_export *images, size_t count,
	const struct image_export_options *options, struct digest *ret_manifests, struct err *err)
{
	cleanup(map_free) struct map *blobs = map_new(), *layers = map_new();
	struct export e = {
		.options = options, .blobs = blobs, .layers = layers, .progress = {.text = ""}};
	int r = export_file_open(options->fd, &e.file, err);

	if (r == 0) {
		struct exported *all = arena_array(&e.arena, count, sizeof(*all));
		r = put_all(&e, all, images, count, err);
		for (size_t i = 0; r == 0 && i < count; i++)
			ret_manifests[i] = all[i].descriptor.digest;
	}
	arena_done(&e.arena);
	return r;
}
