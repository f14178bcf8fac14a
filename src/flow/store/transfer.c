/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "store/internal.h"

/* ---- layers of images into the layer store ---- */

static void sink_key(void *arg, const struct digest *diff_id, struct buf *ret)
{
	(void)arg;
	struct layer_key key = layer_key_of_diff_id(diff_id);
	buf_add_text(ret, key.hex);
}

/* Where layers go, and the lease that names them before they are there. */
struct sink {
	struct layer_store *layers;
	struct store_lease *lease;
};

static bool sink_has(void *arg, const struct digest *diff_id)
{
	const struct sink *sink = arg;
	struct layer_key key = layer_key_of_diff_id(diff_id);

	/* Without its name in the lease a layer may go again: as good as not there. */
	return store_lease_layers(sink->lease, sink->layers, (struct layer_chain){&key, 1}, NULL) ==
	       0;
}

static int unpack_into(const struct sink *sink, struct layer_draft *draft,
	const struct digest *diff_id, struct image_stream *stream, struct err *err)
{
	struct layer_unpack_options options = {0};
	struct layer_unpack_stats stats;
	cleanup_close int recipe = -1;
	const struct layer_key key = layer_key_of_diff_id(diff_id);

	int r = layer_draft_recipe(draft, &recipe, err);
	if (r < 0)
		return r;
	options.recipe_fd = recipe;
	r = layer_unpack_confined(
		layer_draft_fs(draft), image_stream_fd(stream), &options, &stats, err);
	if (r < 0)
		return image_stream_blame(stream, err);
	r = image_stream_verified(stream, err);
	if (r < 0)
		return r;
	const struct layer_info info = {.kind = LAYER_BASE, .digest = diff_id};
	r = layer_publish(draft, &key, &info, err);
	if (r == 0 && stats.has_recipe)
		source_note(sink->layers, &key, &(struct image_layer_facts){*diff_id, stats.read});
	return r < 0 ? r : 0;
}

static int sink_unpack(
	void *arg, const struct digest *diff_id, struct image_stream *stream, struct err *err)
{
	const struct sink *sink = arg;
	cleanup(layer_discard) struct layer_draft *draft = NULL;

	int r = layer_begin(sink->layers, NULL, &draft, err);
	return r < 0 ? r : unpack_into(sink, draft, diff_id, stream, err);
}

/* A record that is not named could go before it has got its name. */
static void sink_announce(void *arg, const struct digest *id)
{
	const struct sink *sink = arg;

	ignored(store_lease_image(sink->lease, id, NULL));
}

/* ---- settings to sources ---- */

void transfer_source(struct arena *a, const struct settings *settings, struct image_source *ret)
{
	struct image_registry *registries =
		arena_array(a, settings->registry_count + 1, sizeof(*registries));

	for (size_t i = 0; i < settings->registry_count; i++) {
		const struct settings_registry *from = &settings->registries[i];
		registries[i] = (struct image_registry){.name = from->name,
			.mirrors = from->mirrors.items,
			.mirror_count = from->mirrors.count,
			.insecure = from->insecure};
	}
	*ret = (struct image_source){.registries = registries,
		.registry_count = settings->registry_count,
		.credentials = settings->credentials,
		.ca_bundle = settings->ca_bundle};
}

/* ---- memos as memory ---- */

static bool recall(void *arg, struct str name, struct buf *ret)
{
	return layer_memo_get(arg, name, ret, NULL) == 0;
}

static void note(void *arg, struct str name, struct str value)
{
	ignored(layer_memo_put(arg, name, value, NULL)); /* it is found out anew, then */
}

struct image_memory transfer_memory(struct layer_store *layers)
{
	return (struct image_memory){.get = recall, .put = note, .arg = layers};
}

/* ---- one transfer in a box of its own ---- */

struct transfer_job {
	struct store *store;
	const struct store_transfer *transfer;
	struct store_lease *lease;
	const struct oci_reference *reference; /* a pull */
	const struct image_archive *archive;   /* or an import */
	struct sandbox_channel *channel;       /* in the box */
	struct digest id;		       /* outside: what came in */
	uint64_t count;
};

/* A message is progress, or (by its first byte) the outcome. */
enum { OUTCOME = 'o', PROGRESS = 'p' };

static void tell_progress(void *arg, const struct image_progress *progress)
{
	struct transfer_job *job = arg;
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, PROGRESS);
	progress_print(progress, &message);
	sandbox_tell(job->channel, buf_str(&message));
}

static void hear(void *arg, struct str message)
{
	struct transfer_job *job = arg;
	struct str rest = str_from_index(message, 1);
	cleanup(arena_done) struct arena a = {0};
	struct image_progress progress;

	if (message.n == 1 + 2 * DIGEST_SIZE && message.p[0] == OUTCOME) {
		memcpy(job->id.bytes, rest.p, DIGEST_SIZE);
		memcpy(&job->count, rest.p + DIGEST_SIZE, sizeof(job->count));
	}
	if (message.n && message.p[0] == PROGRESS && job->transfer->on_progress &&
		progress_parse(&a, rest, &progress))
		job->transfer->on_progress(job->transfer->arg, &progress);
}

static void tell_outcome(struct transfer_job *job, const struct digest *id, uint64_t count)
{
	char message[1 + 2 * DIGEST_SIZE] = {OUTCOME};

	memcpy(message + 1, id->bytes, DIGEST_SIZE);
	memcpy(message + 1 + DIGEST_SIZE, &count, sizeof(count));
	sandbox_tell(job->channel, str_from(message, sizeof(message)));
}

static int import_in_box(struct transfer_job *job, struct image_store *images, struct arena *a,
	const struct image_transfer *transfer, struct err *err)
{
	struct image_imported imported;

	int r = image_import(images, a, job->archive, transfer, &imported, err);
	if (r == 0 && imported.count)
		tell_outcome(job, &imported.records[imported.count - 1].id, imported.count);
	return r;
}

static int pull_in_box(struct transfer_job *job, struct image_store *images, struct arena *a,
	const struct image_transfer *transfer, struct err *err)
{
	struct image_record record;

	int r = image_pull(images, a, job->reference, transfer, &record, err);
	if (r == 0)
		tell_outcome(job, &record.id, 1);
	return r;
}

static int transfer_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct transfer_job *job = arg;
	cleanup(arena_done) struct arena a = {0};
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;
	struct image_source source;

	job->channel = channel;
	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r < 0)
		return r;
	struct sink to = {layers, job->lease};
	const struct image_layer_sink sink = {.key = sink_key,
		.has = sink_has,
		.unpack = sink_unpack,
		.announce = sink_announce,
		.arg = &to};
	transfer_source(&a, job->store->settings, &source);
	const struct image_memory memory = transfer_memory(layers);
	const struct image_transfer transfer = {.source = &source,
		.sink = &sink,
		.memory = &memory,
		.watcher = {.on_progress = tell_progress, .arg = job}};
	return job->archive ? import_in_box(job, images, &a, &transfer, err)
			    : pull_in_box(job, images, &a, &transfer, err);
}

static int run_transfer(
	struct transfer_job *job, struct arena *a, struct image_record *ret, struct err *err)
{
	struct store *store = job->store;
	char id[DIGEST_TEXT_SIZE];
	cleanup(store_lease_free) struct store_lease *own = NULL;
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = transfer_in_box,
		.on_message = hear,
		.arg = job,
		.cancel_fd = job->transfer->cancel_fd};

	int r = job->transfer->lease ? 0 : store_lease_new(store, &own, err);
	job->lease = own ? own : job->transfer->lease;
	if (r == 0)
		r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	if (r < 0)
		return r;
	if (job->count == 0)
		return err_set(err, ERR_MISSING, "no image came in");
	r = image_find(store->images, a, str_of(digest_text(&job->id, id)), ret, err);
	if (r == IMAGE_E_ABSENT)
		return err_set(err, ERR_BUG, "image %s was brought in and is not there", id);
	if (r == 0)
		r = store_lease_image(job->lease, &ret->id, err);
	return r;
}

int store_pull(struct store *store, struct arena *a, const struct oci_reference *reference,
	const struct store_transfer *transfer, struct image_record *ret, struct err *err)
{
	struct transfer_job job = {.store = store, .transfer = transfer, .reference = reference};

	return run_transfer(&job, a, ret, err);
}

int store_import(struct store *store, struct arena *a, const struct image_archive *archive,
	const struct store_transfer *transfer, struct store_imported *ret, struct err *err)
{
	struct image_archive opened = *archive;
	cleanup_close int fd = -1;
	struct transfer_job job = {.store = store, .transfer = transfer, .archive = &opened};

	/* Here, since the box's root may not be let to where the user's files are. */
	if (opened.fd <= 0) {
		fd = open(archive->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			return err_sys(err, "%s", archive->path);
		opened.fd = fd;
	}
	int r = run_transfer(&job, a, &ret->last, err);
	ret->count = job.count;
	return r;
}
