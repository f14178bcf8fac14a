/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "image/blob.h"
#include "image/internal.h"
#include "image/places.h"
#include "image/registry.h"
#include "image/worker.h"

static const char *const phase_names[] = {
	[IMAGE_RESOLVE] = "resolve",
	[IMAGE_EXISTS] = "exists",
	[IMAGE_DOWNLOAD] = "download",
	[IMAGE_UNPACK] = "unpack",
	[IMAGE_DONE] = "done",
	[IMAGE_UPLOAD] = "upload",
	[IMAGE_MOUNTED] = "mounted",
	[IMAGE_PACK] = "pack",
};

const char *image_phase_name(enum image_phase phase)
{
	return phase_names[phase];
}

struct pull {
	struct image_store *store;
	struct arena *arena;
	const struct oci_reference *reference;
	const struct image_transfer *transfer;
	struct registry registry;
	struct oci_platform platform;
	struct registry_document
		index; /* what the reference means; has no manifests if it is one */
	struct registry_document image;
	struct str config_text;
	struct oci_config config;
	int partial; /* directory of partial blobs */
};

/* ---- What the reference means ---- */

static int no_platform(const struct pull *pull, struct err *err)
{
	cleanup(buf_done) struct buf offers = {0};
	const struct oci_manifest *index = &pull->index.manifest;

	for (size_t i = 0; i < index->manifest_count; i++) {
		const struct oci_platform *p = &index->manifests[i].platform;
		if (!p->os[0] || strcmp(p->os, "unknown") == 0 ||
			index->manifests[i].media != OCI_MEDIA_MANIFEST)
			continue;
		buf_printf(&offers, "%s%s/%s%s%s", offers.len ? ", " : "", p->os, p->architecture,
			p->variant[0] ? "/" : "", p->variant);
	}
	(void)err_set(err, ERR_MISSING, "there is no image for the platform %s/%s, only for: %s",
		pull->platform.os, pull->platform.architecture,
		offers.len ? offers.data : "none that is named");
	return err_hint(err, "name an image or a tag that is made for this machine's processor");
}

static int resolve(struct pull *pull, struct err *err)
{
	const struct oci_reference *ref = pull->reference;
	struct oci_descriptor pinned = {.digest = ref->digest};
	char digest[DIGEST_TEXT_SIZE];

	int r = registry_manifest(&pull->registry,
		ref->has_digest ? digest_text(&ref->digest, digest) : ref->tag,
		ref->has_digest ? &pinned : NULL, &pull->index, err);
	if (r < 0)
		return r;
	if (pull->index.manifest.media == OCI_MEDIA_MANIFEST) {
		pull->image = pull->index;
		return 0;
	}
	const struct oci_descriptor *chosen =
		oci_manifest_select(&pull->index.manifest, &pull->platform);
	if (!chosen)
		return no_platform(pull, err);
	r = registry_manifest(
		&pull->registry, digest_text(&chosen->digest, digest), chosen, &pull->image, err);
	if (r == 0 && pull->image.manifest.media != OCI_MEDIA_MANIFEST)
		return err_set(err, ERR_NETWORK, "the index leads to another index");
	return r;
}

/* ---- The configuration ---- */

static int collect(void *arg, struct str piece, struct err *err)
{
	(void)err;
	buf_add_str(arg, piece);
	return 0;
}

static int fetch_config(struct pull *pull, struct buf *ret, struct err *err)
{
	struct blob *blob;
	const struct blob_options options = {.registry = &pull->registry,
		.descriptor = &pull->image.manifest.config,
		.dir = -1,
		.consume = collect,
		.arg = ret};
	int r = blob_open(&options, &blob, err);

	if (r < 0)
		return r;
	while ((r = blob_fetch(blob, err)) == BLOB_E_AGAIN)
		buf_clear(ret);
	blob_close(blob, true);
	return r;
}

static int load_config(struct pull *pull, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	const struct oci_descriptor *config = &pull->image.manifest.config;
	struct image_record known;

	if (config->size > CONFIG_MAX_BYTES)
		return err_set(err, ERR_LIMIT,
			"its configuration of %" PRIu64 " bytes is larger than %d", config->size,
			CONFIG_MAX_BYTES);
	/* It may be the image that is here already. */
	int r = record_load(pull->store, pull->arena, &config->digest, &known, err);
	if (r < 0)
		return r;
	if (r == 0) {
		pull->config_text = known.config;
		return 0;
	}
	r = fetch_config(pull, &text, err);
	if (r == 0)
		pull->config_text = arena_str(pull->arena, buf_str(&text));
	return r;
}

/* What a registry sends is not the user's input. */
static int blame_registry(int r, struct err *err)
{
	if (r != -ERR_INPUT)
		return r;
	err->kind = ERR_NETWORK;
	return -ERR_NETWORK;
}

static int check_config(struct pull *pull, struct err *err)
{
	int r = oci_config_parse(pull->arena, pull->config_text, &pull->config, err);

	if (r == 0)
		r = config_check(&pull->config, pull->image.manifest.layer_count, err);
	r = blame_registry(r, err);
	if (r == 0)
		r = config_check_platform(&pull->config, &pull->platform, err);
	if (r == -ERR_INPUT) {
		err->kind = ERR_MISSING; /* nothing is wrong, but nothing fits */
		return -ERR_MISSING;
	}
	return r;
}

/* ---- Layers ---- */

static const struct image_watcher nobody = {0};

struct layer_fetch {
	struct worker *worker;
	struct unpacking *unpacking;
};

static int consume(void *arg, struct str piece, struct err *err)
{
	struct layer_fetch *fetch = arg;

	return unpacking_feed(fetch->unpacking, piece, err);
}

static void tell_done(void *arg, uint64_t done)
{
	struct layer_fetch *fetch = arg;

	worker_tell(fetch->worker, IMAGE_DOWNLOAD, done);
}

/* Fetch and unpack, as often as there is another place to fetch from. */
static int fetch_layer(struct layer_fetch *fetch, struct blob *blob, struct err *err)
{
	const struct unpacking_options options = worker_unpacking(fetch->worker);
	int r;

	do {
		r = unpacking_start(&options, &fetch->unpacking, err);
		if (r < 0)
			return r;
		r = blob_fetch(blob, err);
		if (r == 0)
			worker_tell(fetch->worker, IMAGE_UNPACK, fetch->worker->job->blob->size);
		r = unpacking_finish(fetch->unpacking, r, err);
	} while (r == BLOB_E_AGAIN);
	return r;
}

static int work(void *arg, struct worker *worker, struct err *err)
{
	struct pull *pull = arg;
	const struct image_layer_sink *sink = pull->transfer->sink;
	struct layer_fetch fetch = {.worker = worker};
	struct blob *blob;
	const struct blob_options options = {.registry = &pull->registry,
		.descriptor = worker->job->blob,
		.dir = pull->partial,
		.consume = consume,
		.progress = tell_done,
		.arg = &fetch};

	registry_forked(&pull->registry);
	pull->registry.watcher = &nobody; /* this process is stopped by killing it */
	int r = blob_open(&options, &blob, err);
	if (r < 0)
		return r;
	/* Whoever held the blob's lock may have brought the layer. */
	if (!sink->has(sink->arg, &worker->job->diff_id))
		r = fetch_layer(&fetch, blob, err);
	blob_close(blob, r == 0);
	return blame_registry(r, err);
}

static int bring_layers(struct pull *pull, struct err *err)
{
	const struct oci_manifest *manifest = &pull->image.manifest;
	struct worker_crew crew = {.image = pull->reference->text,
		.layers = manifest->layers,
		.layer_count = manifest->layer_count,
		.transfer = pull->transfer,
		.work = work,
		.arg = pull};

	int r = workers_plan(pull->arena, &crew, &pull->config, err);
	if (r < 0 || !crew.count)
		return r;
	cleanup_close int partial = store_dir_make(pull->store, "partial", err);
	if (partial < 0)
		return partial;
	pull->partial = partial;
	return workers_run(&crew, err);
}

/* ---- The record ---- */

static void add_repo_digest(struct pull *pull, const struct digest *digest, struct oci_list *list)
{
	char text[DIGEST_TEXT_SIZE];
	const char *name = arena_printf(pull->arena, "%s/%s@%s", pull->reference->registry,
		pull->reference->repository, digest_text(digest, text));

	oci_list_add(pull->arena, list, str_of(name));
}

/* A push to the same registry need not send these layers again. */
static void remember_layers(struct pull *pull)
{
	const struct oci_manifest *manifest = &pull->image.manifest;
	const struct endpoint *endpoint = &pull->registry.endpoints[pull->registry.first];
	struct digest diff_id;

	for (size_t i = 0; i < manifest->layer_count; i++) {
		const struct oci_descriptor *layer = &manifest->layers[i];
		struct place place = {.registry = endpoint->registry,
			.repository = endpoint->repository,
			.digest = layer->digest,
			.size = layer->size,
			.media = layer->media};
		if (!digest_parse(str_of(pull->config.diff_ids.items[i]), &diff_id))
			continue;
		places_remember(pull->transfer->memory, &diff_id, &place);
		if (strcmp(endpoint->registry, pull->reference->registry) == 0)
			continue;
		/* What came from a mirror is behind it, too. */
		place.registry = pull->reference->registry;
		place.repository = pull->reference->repository;
		places_remember(pull->transfer->memory, &diff_id, &place);
	}
}

static int keep(struct pull *pull, struct image_record *ret, struct err *err)
{
	const struct oci_manifest *manifest = &pull->image.manifest;
	const struct oci_reference *ref = pull->reference;
	struct image_record record = {.origin = IMAGE_PULLED, .config = pull->config_text};

	record_layers(pull->arena, pull->transfer->sink, &pull->config, &record);
	for (size_t i = 0; i < manifest->layer_count; i++)
		record.size += manifest->layers[i].size;
	add_repo_digest(pull, &pull->index.digest, &record.repo_digests);
	if (!digest_eq(&pull->index.digest, &pull->image.digest))
		add_repo_digest(pull, &pull->image.digest, &record.repo_digests);
	int r = image_save(pull->store, &record, err);
	/* A digest says which image was wanted; the tag beside it is only a remark. */
	if (r == 0 && !ref->has_digest)
		r = image_tag(pull->store, ref, &record.id, err);
	if (r < 0)
		return r;
	r = record_load(pull->store, pull->arena, &record.id, ret, err);
	return r == IMAGE_E_ABSENT ? err_set(err, ERR_BUG, "its record vanished") : r;
}

static int pull_image(struct pull *pull, struct image_record *ret, struct err *err)
{
	int r = resolve(pull, err);

	if (r == 0)
		r = load_config(pull, err);
	if (r == 0)
		r = check_config(pull, err);
	if (r == 0)
		r = bring_layers(pull, err);
	if (r == 0)
		remember_layers(pull);
	return r == 0 ? keep(pull, ret, err) : r;
}

int image_pull(struct image_store *store, struct arena *a, const struct oci_reference *reference,
	const struct image_transfer *transfer, struct image_record *ret, struct err *err)
{
	const struct image_source *source = transfer->source;
	struct pull pull = {.store = store,
		.arena = a,
		.reference = reference,
		.transfer = transfer,
		.platform = source->platform.os ? source->platform : oci_platform_host(),
		.partial = -1};

	int r = registry_open(a, source, reference, &transfer->watcher, &pull.registry, err);
	if (r == 0)
		r = pull_image(&pull, ret, err);
	registry_done(&pull.registry);
	return r < 0 ? err_wrap(err, "image %s", reference->short_text) : r;
}
