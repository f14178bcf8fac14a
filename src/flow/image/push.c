/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "image/internal.h"
#include "image/places.h"
#include "image/push.h"

enum { MAX_ALSO_READ = 8 };

/* ---- Plan ---- */

static void add_places(struct push *push, struct push_layer *layer, const struct digest *diff_id)
{
	layer->place_count += places_find(
		push->transfer->memory, push->arena, diff_id, layer->places + layer->place_count);
}

/* What is known of a layer beforehand; of one that nobody has packed yet it is little. */
static int find_layer(struct push *push, size_t i, struct err *err)
{
	const struct image_layer_source *source = push->wish->layers;
	const struct image_record *record = push->wish->record;
	struct push_layer *layer = &push->layers[i];
	struct digest origin;
	int r = source->facts(source->arg, record, i, &layer->facts, err);

	if (r < 0)
		return r;
	layer->is_known = r == 0;
	if (layer->is_known)
		add_places(push, layer, &layer->facts.diff_id);
	r = source->origin ? source->origin(source->arg, record, i, &origin, err) : IMAGE_E_ABSENT;
	if (r == 0 && !(layer->is_known && digest_eq(&origin, &layer->facts.diff_id)))
		add_places(push, layer, &origin);
	return r < 0 ? r : 0;
}

static int find_layers(struct push *push, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < push->layer_count; i++)
		r = find_layer(push, i, err);
	return r;
}

static void add_also_read(struct push *push, const char *repository)
{
	struct oci_list *list = &push->registry.also_read;

	if (strcmp(repository, push->wish->to->repository) == 0 || list->count == MAX_ALSO_READ)
		return;
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], repository) == 0)
			return;
	oci_list_add(push->arena, list, str_of(repository));
}

/* A token has to be good for the repositories from which layers may be mounted. */
static void find_also_read(struct push *push)
{
	for (size_t i = 0; i < push->layer_count; i++)
		for (size_t k = 0; k < push->layers[i].place_count; k++)
			if (strcmp(push->layers[i].places[k].registry, push->wish->to->registry) ==
				0)
				add_also_read(push, push->layers[i].places[k].repository);
}

/* The first layer that is the same one, which may be this one. */
static size_t first_like(const struct push *push, size_t layer)
{
	const struct oci_list *keys = &push->wish->record->layers;

	for (size_t i = 0; i < layer; i++)
		if (strcmp(keys->items[i], keys->items[layer]) == 0 ||
			(push->layers[i].is_known && push->layers[layer].is_known &&
				digest_eq(&push->layers[i].facts.diff_id,
					&push->layers[layer].facts.diff_id)))
			return i;
	return layer;
}

static void plan_jobs(struct push *push, struct worker_crew *crew)
{
	struct layer_job *jobs = arena_array(push->arena, push->layer_count + 1, sizeof(*jobs));
	struct oci_descriptor *shown =
		arena_array(push->arena, push->layer_count + 1, sizeof(*shown));

	for (size_t i = 0; i < push->layer_count; i++) {
		const struct push_layer *layer = &push->layers[i];
		const char *key = push->wish->record->layers.items[i];
		shown[i].digest =
			layer->is_known ? layer->facts.diff_id : digest_of(key, strlen(key));
		shown[i].size = layer->facts.size;
		if (first_like(push, i) != i)
			continue;
		jobs[crew->count++] = (struct layer_job){
			.blob = &shown[i], .layer = i, .diff_id = shown[i].digest};
	}
	crew->layers = shown;
	crew->layer_count = push->layer_count;
	crew->jobs = jobs;
	crew->outcomes = arena_array(push->arena, crew->count + 1, sizeof(*crew->outcomes));
}

/* ---- Layers ---- */

static void take_outcomes(struct push *push, const struct worker_crew *crew)
{
	for (size_t i = 0; i < crew->count; i++)
		push->layers[crew->jobs[i].layer].outcome = crew->outcomes[i];
	for (size_t i = 0; i < push->layer_count; i++)
		push->layers[i].outcome = push->layers[first_like(push, i)].outcome;
}

static int send_layers(struct push *push, struct err *err)
{
	struct worker_crew crew = {.image = push->wish->to->text,
		.transfer = push->transfer,
		.work = push_layer_work,
		.arg = push};

	plan_jobs(push, &crew);
	cleanup_close int spool = store_dir_make(push->store, "partial", err);
	if (spool < 0)
		return spool;
	push->spool = spool;
	int r = workers_run(&crew, err);
	if (r == 0)
		take_outcomes(push, &crew);
	return r;
}

/* ---- Documents ---- */

/* In one piece, unless it is there. */
static int send_config(
	struct push *push, struct str text, struct oci_descriptor *ret, struct err *err)
{
	const struct upload_result wanted = {digest_of(text.p, text.n), text.n};
	struct upload_result sent;
	cleanup(upload_free) struct upload *u =
		upload_new(&push->registry, push->endpoint, push->transfer->source->chunk_bytes);

	*ret = (struct oci_descriptor){
		.media = OCI_MEDIA_CONFIG, .digest = wanted.digest, .size = wanted.size};
	int r = upload_exists(&push->registry, push->endpoint, &wanted, err);
	if (r != UPLOAD_E_ABSENT)
		return r;
	r = upload_begin(u, NULL, err);
	if (r == 0)
		r = upload_write(u, text, err);
	if (r == 0)
		r = upload_finish(u, &sent, err);
	/* What is lost has its error. */
	return r == UPLOAD_E_LOST ? -(int)err->kind : r;
}

static int put_manifest(
	struct push *push, struct str text, const struct digest *digest, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	const struct registry_send send = {.method = "PUT",
		.url = arena_printf(push->arena, "%s/v2/%s/manifests/%s", push->endpoint->base,
			push->endpoint->repository, push->wish->to->tag),
		.body = text,
		.content_type = oci_media_type(OCI_MEDIA_MANIFEST),
		.stall_seconds = MANIFEST_SECONDS};

	for (int attempt = 1;; attempt++) {
		int r = endpoint_send(&push->registry, push->endpoint, &send, &answer, err);
		if (r == 0 && answer.status >= 200 && answer.status < 300)
			return registry_check_stored(&answer, digest, err);
		if (r == 0)
			r = endpoint_status_error(&push->registry, push->endpoint, &answer, err);
		if (attempt == REGISTRY_TRIES || !registry_wait(&push->registry, &answer, attempt))
			return r;
	}
}

static int send_documents(struct push *push, struct image_pushed *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct image_layer_facts *facts =
		arena_array(push->arena, push->layer_count + 1, sizeof(*facts));
	struct oci_manifest manifest = {.media = OCI_MEDIA_MANIFEST,
		.layers = arena_array(push->arena, push->layer_count + 1, sizeof(*manifest.layers)),
		.layer_count = push->layer_count};
	struct str config;

	for (size_t i = 0; i < push->layer_count; i++) {
		const struct layer_outcome *outcome = &push->layers[i].outcome;
		facts[i] = outcome->facts;
		manifest.layers[i] = (struct oci_descriptor){
			.media = outcome->media, .digest = outcome->digest, .size = outcome->size};
	}
	int r = image_outgoing_config(push->arena, push->wish->record, facts, &config, err);
	if (r == 0)
		r = send_config(push, config, &manifest.config, err);
	if (r < 0)
		return r;
	oci_manifest_print(&manifest, &text);
	ret->digest = digest_of(text.data, text.len);
	ret->size = text.len;
	ret->config = manifest.config.digest;
	return put_manifest(push, buf_str(&text), &ret->digest, err);
}

/* ---- Afterwards ---- */

static void remember(struct push *push, struct image_pushed *ret)
{
	ret->layer_count = push->layer_count;
	ret->layers = arena_array(push->arena, push->layer_count + 1, sizeof(*ret->layers));
	for (size_t i = 0; i < push->layer_count; i++) {
		const struct layer_outcome *outcome = &push->layers[i].outcome;
		const struct place place = {.registry = push->wish->to->registry,
			.repository = push->wish->to->repository,
			.digest = outcome->digest,
			.size = outcome->size,
			.media = outcome->media,
			.is_pushed = outcome->is_ours};
		places_remember(push->transfer->memory, &outcome->facts.diff_id, &place);
		ret->layers[i] = (struct image_pushed_layer){.diff_id = outcome->facts.diff_id,
			.digest = outcome->digest,
			.size = outcome->size,
			.media = outcome->media,
			.how = outcome->how ? outcome->how : IMAGE_DONE};
	}
}

/* The image has a name more: that by which it is known there. */
static int name_digest(struct push *push, const struct image_pushed *pushed, struct err *err)
{
	cleanup_close int lock = -1;
	struct oci_reference named = *push->wish->to;

	named.has_digest = true;
	named.digest = pushed->digest;
	int r = store_lock(push->store, &lock, err);
	return r < 0 ? r
		     : name_write(push->store, name_of(push->arena, &named),
			       &push->wish->record->id, err);
}

static int push_image(struct push *push, struct image_pushed *ret, struct err *err)
{
	int r = find_layers(push, err);

	if (r < 0)
		return r;
	find_also_read(push);
	r = registry_reach(&push->registry, &push->endpoint, err);
	if (r == 0)
		r = send_layers(push, err);
	if (r == 0)
		r = send_documents(push, ret, err);
	if (r < 0)
		return r;
	remember(push, ret);
	return name_digest(push, ret, err);
}

int image_push(struct image_store *store, struct arena *a, const struct image_push *wish,
	const struct image_transfer *transfer, struct image_pushed *ret, struct err *err)
{
	struct push push = {.store = store,
		.arena = a,
		.wish = wish,
		.transfer = transfer,
		.layer_count = wish->record->layers.count,
		.spool = -1};

	if (wish->to->has_digest || !wish->to->tag) {
		(void)err_set(err, ERR_INPUT, "%s: an image is pushed to a tag, not to a digest",
			wish->to->text);
		return err_hint(err, "the digest is what comes of it: name a tag");
	}
	push.layers = arena_array(a, push.layer_count + 1, sizeof(*push.layers));
	int r = registry_open_for_push(
		a, transfer->source, wish->to, &transfer->watcher, &push.registry, err);
	if (r == 0)
		r = push_image(&push, ret, err);
	registry_done(&push.registry);
	return r < 0 ? err_wrap(err, "push to %s", wish->to->short_text) : r;
}
