/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "image/archive_file.h"
#include "image/internal.h"
#include "image/worker.h"
#include "json/json.h"

/*
 * Two layouts, and archives that are both at once:
 *
 *	docker save	manifest.json names configurations, layers and tags
 *	OCI layout	index.json leads by digests into blobs/sha256/
 *
 * The first is taken where it is there, since its tags are complete. Either way it is the
 * configuration that decides: its digest is the image's id, its diff IDs say what the layers
 * have to unpack to.
 */
enum { DOCUMENT_MAX_BYTES = 4 << 20, MAX_IMAGES = 1000 };

/* One image in the archive. */
struct found_image {
	struct str config_text;
	struct oci_config config;
	struct oci_descriptor *layers;
	const char **files; /* of the layers, in the archive */
	size_t layer_count;
	struct oci_list names; /* as the archive writes them */
};

struct import {
	struct image_store *store;
	struct arena *arena;
	const struct image_transfer *transfer;
	struct oci_platform platform;
	struct archive_file file;
	struct found_image *images;
	size_t count, cap;
};

static struct found_image *add_image(struct import *import)
{
	import->images = arena_grow(import->arena, import->images, import->count, &import->cap,
		sizeof(*import->images));
	struct found_image *image = &import->images[import->count++];
	*image = (struct found_image){0};
	return image;
}

static int read_config(
	struct import *import, const char *name, struct found_image *image, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	int r = archive_file_read(&import->file, name, CONFIG_MAX_BYTES, &text, err);

	if (r < 0)
		return r;
	image->config_text = arena_str(import->arena, buf_str(&text));
	r = oci_config_parse(import->arena, image->config_text, &image->config, err);
	if (r == 0)
		r = config_check(&image->config, image->layer_count, err);
	if (r == 0)
		r = config_check_platform(&image->config, &import->platform, err);
	return r < 0 ? err_wrap(err, "%s: %s", import->file.path, name) : r;
}

/* ---- docker save ---- */

/*
 * Layers have a path, and no digest before they are unpacked; the diff ID stands in for it in
 * messages.
 */
static int find_docker_layers(struct import *import, const struct json *layers,
	struct found_image *image, struct err *err)
{
	image->layer_count = json_count(layers);
	image->layers = arena_array(import->arena, image->layer_count, sizeof(*image->layers));
	image->files = arena_array(import->arena, image->layer_count, sizeof(*image->files));
	for (size_t i = 0; i < image->layer_count; i++) {
		const struct json *item = json_item(layers, i);
		int r = json_expect(item, JSON_KIND_STRING, err);
		if (r < 0)
			return r;
		image->files[i] = json_text(item);
		if (!archive_file_has(&import->file, image->files[i], &image->layers[i].size))
			return json_error(item, err, "%s is not in the archive", image->files[i]);
	}
	return 0;
}

static int take_names(
	struct import *import, const struct json *names, struct found_image *image, struct err *err)
{
	for (size_t i = 0; i < json_count(names); i++) {
		int r = json_expect(json_item(names, i), JSON_KIND_STRING, err);
		if (r < 0)
			return r;
		oci_list_add(import->arena, &image->names, str_of(json_text(json_item(names, i))));
	}
	return 0;
}

static int find_docker_image(struct import *import, const struct json *entry, struct err *err)
{
	struct found_image *image = add_image(import);
	const struct json *layers = NULL, *names = NULL;
	const char *config = NULL;
	int r = json_get_text(entry, "Config", &config, err);

	if (r == 0)
		r = json_get_array(entry, "Layers", &layers, err);
	if (r == 0)
		r = json_opt_array(entry, "RepoTags", &names, err);
	if (r == 0)
		r = take_names(import, names, image, err);
	if (r == 0)
		r = find_docker_layers(import, layers, image, err);
	if (r < 0)
		return err_wrap(err, "%s: manifest.json", import->file.path);
	r = read_config(import, config, image, err);
	for (size_t i = 0; r == 0 && i < image->layer_count; i++)
		if (!digest_parse(
			    str_of(image->config.diff_ids.items[i]), &image->layers[i].digest))
			r = err_set(err, ERR_BUG, "a diff ID was not checked");
	return r;
}

static int find_docker_images(struct import *import, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	const struct json *root = NULL;
	int r = archive_file_read(&import->file, "manifest.json", DOCUMENT_MAX_BYTES, &text, err);

	if (r < 0)
		return r;
	r = json_parse(import->arena, buf_str(&text), DOCUMENT_MAX_BYTES, &root, err);
	if (r == 0)
		r = json_expect(root, JSON_KIND_ARRAY, err);
	if (r == 0 && json_count(root) > MAX_IMAGES)
		r = err_set(err, ERR_LIMIT, "more than %d images", MAX_IMAGES);
	if (r < 0)
		return err_wrap(err, "%s: manifest.json", import->file.path);
	for (size_t i = 0; r == 0 && i < json_count(root); i++)
		r = find_docker_image(import, json_item(root, i), err);
	return r;
}

/* ---- OCI layout ---- */

static const char *blob_path(struct arena *a, const struct digest *digest)
{
	char hex[DIGEST_HEX_SIZE];

	return arena_printf(a, "blobs/sha256/%s", digest_hex(digest, hex));
}

static int check_blob(const struct oci_descriptor *expected, uint64_t size,
	const struct digest *got, struct err *err)
{
	char wanted[DIGEST_TEXT_SIZE], text[DIGEST_TEXT_SIZE];

	if (size == expected->size && digest_eq(got, &expected->digest))
		return 0;
	return err_set(err, ERR_FAILED,
		"wrong digest or size: expected %s of %llu bytes, got %s of %llu",
		digest_text(&expected->digest, wanted), (unsigned long long)expected->size,
		digest_text(got, text), (unsigned long long)size);
}

static int read_blob(
	struct import *import, const struct oci_descriptor *blob, struct buf *ret, struct err *err)
{
	const char *path = blob_path(import->arena, &blob->digest);
	int r = archive_file_read(&import->file, path, DOCUMENT_MAX_BYTES, ret, err);

	if (r < 0)
		return r;
	struct digest digest = digest_of(ret->data, ret->len);
	r = check_blob(blob, ret->len, &digest, err);
	return r < 0 ? err_wrap(err, "%s: %s", import->file.path, path) : r;
}

static int read_manifest(struct import *import, const struct oci_descriptor *blob,
	struct oci_manifest *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	int r = read_blob(import, blob, &text, err);

	if (r < 0)
		return r;
	r = oci_manifest_parse(import->arena, buf_str(&text), str_of(blob->media_type), ret, err);
	return r < 0 ? err_wrap(err, "%s", import->file.path) : r;
}

static int take_oci_image(struct import *import, const struct oci_manifest *manifest,
	struct found_image *image, struct err *err)
{
	image->layers = manifest->layers;
	image->layer_count = manifest->layer_count;
	image->files = arena_array(import->arena, image->layer_count, sizeof(*image->files));
	for (size_t i = 0; i < image->layer_count; i++)
		image->files[i] = blob_path(import->arena, &manifest->layers[i].digest);
	int r = read_config(import, blob_path(import->arena, &manifest->config.digest), image, err);
	if (r < 0)
		return r;
	struct digest digest = digest_of(image->config_text.p, image->config_text.n);
	r = check_blob(&manifest->config, image->config_text.n, &digest, err);
	return r < 0 ? err_wrap(err, "%s: configuration", import->file.path) : r;
}

/*
 * containerd's annotation is a whole name. The specification's is meant as a tag, but holds
 * one in practice when it has more than a tag's characters.
 */
static const char *name_of_entry(const struct json *entry)
{
	const struct json *annotations = json_find(entry, "annotations");
	const char *name = json_text(json_find(annotations, "io.containerd.image.name"));
	const char *ref = json_text(json_find(annotations, "org.opencontainers.image.ref.name"));

	if (name)
		return name;
	return ref && strpbrk(ref, ":/") ? ref : NULL;
}

static int find_oci_image(struct import *import, const struct oci_descriptor *entry,
	const char *name, struct err *err)
{
	struct oci_manifest manifest = {0};

	/* Signatures and other artifacts lie beside images. */
	if (entry->media != OCI_MEDIA_MANIFEST && entry->media != OCI_MEDIA_INDEX)
		return 0;
	if (entry->platform.os[0] && !oci_platform_matches(&import->platform, &entry->platform))
		return 0;
	int r = read_manifest(import, entry, &manifest, err);
	if (r == 0 && manifest.media == OCI_MEDIA_INDEX) {
		const struct oci_descriptor *chosen =
			oci_manifest_select(&manifest, &import->platform);
		if (!chosen)
			return 0;
		r = read_manifest(import, chosen, &manifest, err);
	}
	if (r < 0)
		return r;
	if (manifest.media != OCI_MEDIA_MANIFEST)
		return err_set(
			err, ERR_INPUT, "%s: an index leads to another index", import->file.path);
	struct found_image *image = add_image(import);
	if (name)
		oci_list_add(import->arena, &image->names, str_of(name));
	return take_oci_image(import, &manifest, image, err);
}

static int find_oci_images(struct import *import, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct oci_manifest index = {0};
	const struct json *root = NULL;
	int r = archive_file_read(&import->file, "index.json", DOCUMENT_MAX_BYTES, &text, err);

	if (r < 0)
		return r;
	r = oci_manifest_parse(import->arena, buf_str(&text), STR(""), &index, err);
	if (r == 0 && (index.media != OCI_MEDIA_INDEX || index.manifest_count > MAX_IMAGES))
		r = err_set(err, ERR_INPUT, "is no index of at most %d images", MAX_IMAGES);
	/* Once more, for the annotations. */
	if (r == 0)
		r = json_parse(import->arena, buf_str(&text), DOCUMENT_MAX_BYTES, &root, err);
	if (r < 0)
		return err_wrap(err, "%s: index.json", import->file.path);
	const struct json *entries = json_find(root, "manifests");
	for (size_t i = 0; r == 0 && i < index.manifest_count; i++)
		r = find_oci_image(
			import, &index.manifests[i], name_of_entry(json_item(entries, i)), err);
	return r;
}

static int find_images(struct import *import, struct err *err)
{
	int r;

	if (archive_file_has(&import->file, "manifest.json", NULL)) {
		r = find_docker_images(import, err);
	} else if (archive_file_has(&import->file, "index.json", NULL)) {
		r = find_oci_images(import, err);
	} else {
		(void)err_set(err, ERR_INPUT, "%s: is no image archive", import->file.path);
		return err_hint(err, "it has neither manifest.json (docker save) nor index.json "
				     "(OCI layout) in it");
	}
	if (r == 0 && !import->count)
		r = err_set(err, ERR_MISSING, "%s: no image for platform %s/%s in it",
			import->file.path, import->platform.os, import->platform.architecture);
	return r;
}

/* ---- Layers ---- */

struct layer_read {
	struct worker *worker;
	struct unpacking *unpacking;
	struct hasher *hasher;
	uint64_t done;
};

static int consume(void *arg, struct str piece, struct err *err)
{
	struct layer_read *read = arg;

	hasher_add(read->hasher, piece.p, piece.n);
	read->done += piece.n;
	worker_tell(read->worker, IMAGE_DOWNLOAD, read->done);
	return unpacking_feed(read->unpacking, piece, err);
}

struct image_import {
	struct import *import;
	const struct found_image *image;
};

static int read_layer(
	struct layer_read *read, const struct archive_file *file, const char *name, struct err *err)
{
	const struct oci_descriptor *blob = read->worker->job->blob;
	int r = archive_file_stream(file, name, consume, read, err);

	/* Of docker's layers only the diff ID is known, which is checked later. */
	struct digest digest = hasher_finish(read->hasher);
	if (r == 0 && blob->media != OCI_MEDIA_UNKNOWN)
		r = check_blob(blob, read->done, &digest, err);
	return r < 0 ? err_wrap(err, "%s", name) : r;
}

static int work(void *arg, struct worker *worker, struct err *err)
{
	const struct image_import *job = arg;
	const struct unpacking_options options = worker_unpacking(worker);
	cleanup(hasher_free) struct hasher *hasher = hasher_new();
	struct layer_read read = {.worker = worker, .hasher = hasher};
	int r = unpacking_start(&options, &read.unpacking, err);

	if (r < 0)
		return r;
	r = read_layer(&read, &job->import->file, job->image->files[worker->job->layer], err);
	if (r == 0)
		worker_tell(worker, IMAGE_UNPACK, read.done);
	return unpacking_finish(read.unpacking, r, err);
}

static int bring_layers(struct import *import, const struct found_image *image, struct err *err)
{
	struct image_import job = {import, image};
	struct worker_crew crew = {.image = import->file.path,
		.layers = image->layers,
		.layer_count = image->layer_count,
		.transfer = import->transfer,
		.work = work,
		.arg = &job};
	int r = workers_plan(import->arena, &crew, &image->config, err);

	if (r == 0)
		r = workers_run(&crew, err);
	return r < 0 ? err_wrap(err, "%s", import->file.path) : r;
}

/* ---- Records ---- */

static int tag(struct import *import, const struct digest *id, const char *name, struct err *err)
{
	struct oci_reference ref;
	int r = oci_reference_parse(import->arena, str_of(name), &ref, err);

	if (r < 0)
		return err_wrap(err, "%s", import->file.path);
	/* "name@sha256:…" as a name means nothing here. */
	return ref.tag ? image_tag(import->store, &ref, id, err) : 0;
}

static int keep(struct import *import, const struct found_image *image,
	const struct oci_reference *name, struct image_record *ret, struct err *err)
{
	struct image_record record = {.origin = IMAGE_IMPORTED, .config = image->config_text};

	record_layers(import->arena, import->transfer->sink, &image->config, &record);
	for (size_t i = 0; i < image->layer_count; i++)
		record.size += image->layers[i].size;
	int r = image_save(import->store, &record, err);
	for (size_t i = 0; r == 0 && i < image->names.count; i++)
		r = tag(import, &record.id, image->names.items[i], err);
	if (r == 0 && name)
		r = image_tag(import->store, name, &record.id, err);
	if (r == 0)
		r = record_load(import->store, import->arena, &record.id, ret, err);
	if (r == IMAGE_E_ABSENT)
		return err_set(err, ERR_BUG, "its record vanished");
	return r == 0 ? image_names(import->store, import->arena, ret, err) : r;
}

static int import_images(struct import *import, const struct oci_reference *name,
	struct image_imported *ret, struct err *err)
{
	int r = find_images(import, err);

	if (r < 0)
		return r;
	if (name && import->count > 1)
		return err_set(err, ERR_INPUT,
			"%s: %zu images are in it, which cannot all be named %s", import->file.path,
			import->count, name->short_text);
	ret->count = import->count;
	ret->records = arena_array(import->arena, import->count, sizeof(*ret->records));
	for (size_t i = 0; r == 0 && i < import->count; i++) {
		r = bring_layers(import, &import->images[i], err);
		if (r == 0)
			r = keep(import, &import->images[i], name, &ret->records[i], err);
	}
	return r;
}

int image_import(struct image_store *store, struct arena *a, const struct image_archive *archive,
	const struct image_transfer *transfer, struct image_imported *ret, struct err *err)
{
	const struct image_source *source = transfer->source;
	struct import import = {.store = store,
		.arena = a,
		.transfer = transfer,
		.platform = source->platform.os ? source->platform : oci_platform_host()};
	int r = archive_file_open(a, archive->path, archive->fd, &import.file, err);

	if (r == 0)
		r = import_images(&import, archive->name, ret, err);
	archive_file_done(&import.file);
	return r;
}
