/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fields.h"
#include "store/internal.h"

/* A push, in a box of its own as all that talks with registries. */
struct push_job {
	struct store *store;
	struct arena *arena;
	const struct store_push *push;
	const struct store_transfer *transfer;
	struct image_record record;
	struct sandbox_channel *channel; /* in the box */
	/* Outside: what came of it. */
	struct image_pushed pushed;
	size_t layer_cap;
	bool is_done;
};

/* A message is progress, a layer of the result or, at last, the result itself. */
enum { PROGRESS = 'p', LAYER = 'l', RESULT = 'r' };

/* ---- Messages ---- */

static void tell_progress(void *arg, const struct image_progress *progress)
{
	struct push_job *job = arg;
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, PROGRESS);
	progress_print(progress, &message);
	sandbox_tell(job->channel, buf_str(&message));
}

static void tell_layer(const struct push_job *job, const struct image_pushed_layer *layer)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, LAYER);
	buf_add_field(&message, str_from((const char *)layer->diff_id.bytes, DIGEST_SIZE));
	buf_add_field(&message, str_from((const char *)layer->digest.bytes, DIGEST_SIZE));
	buf_add_u64(&message, layer->size);
	buf_add_u32(&message, layer->media);
	buf_add_u32(&message, layer->how);
	sandbox_tell(job->channel, buf_str(&message));
}

static void tell_result(const struct push_job *job, const struct image_pushed *pushed)
{
	cleanup(buf_done) struct buf message = {0};

	for (size_t i = 0; i < pushed->layer_count; i++)
		tell_layer(job, &pushed->layers[i]);
	buf_add_char(&message, RESULT);
	buf_add_field(&message, str_from((const char *)pushed->digest.bytes, DIGEST_SIZE));
	buf_add_field(&message, str_from((const char *)pushed->config.bytes, DIGEST_SIZE));
	buf_add_u64(&message, pushed->size);
	sandbox_tell(job->channel, buf_str(&message));
}

static void take_digest(struct fields *f, struct digest *ret)
{
	struct str bytes = fields_str(f);

	f->bad = f->bad || bytes.n != DIGEST_SIZE;
	if (!f->bad)
		memcpy(ret->bytes, bytes.p, DIGEST_SIZE);
}

static void hear_layer(struct push_job *job, struct fields f)
{
	struct image_pushed_layer layer = {0};

	take_digest(&f, &layer.diff_id);
	take_digest(&f, &layer.digest);
	layer.size = fields_u64(&f);
	uint32_t media = fields_u32(&f), how = fields_u32(&f);
	if (f.bad || f.rest.n || media > OCI_MEDIA_LAYER_ZSTD || how > IMAGE_MOUNTED)
		return;
	layer.media = (enum oci_media)media;
	layer.how = (enum image_phase)how;
	struct image_pushed *pushed = &job->pushed;
	pushed->layers = arena_grow(
		job->arena, pushed->layers, pushed->layer_count, &job->layer_cap, sizeof(layer));
	pushed->layers[pushed->layer_count++] = layer;
}

static void hear_result(struct push_job *job, struct fields f)
{
	take_digest(&f, &job->pushed.digest);
	take_digest(&f, &job->pushed.config);
	job->pushed.size = fields_u64(&f);
	job->is_done = !f.bad && f.rest.n == 0;
}

static void hear(void *arg, struct str message)
{
	struct push_job *job = arg;
	struct fields f = {.rest = str_from_index(message, 1)};
	cleanup(arena_done) struct arena a = {0};
	struct image_progress progress;

	if (!message.n)
		return;
	if (message.p[0] == LAYER)
		hear_layer(job, f);
	else if (message.p[0] == RESULT)
		hear_result(job, f);
	else if (job->transfer->on_progress && progress_parse(&a, f.rest, &progress))
		job->transfer->on_progress(job->transfer->arg, &progress);
}

/* ---- In the box ---- */

static int push_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct push_job *job = arg;
	cleanup(arena_done) struct arena a = {0};
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;
	cleanup(store_source_free) struct store_source *source = NULL;
	struct image_pushed pushed = {0};
	struct image_source registries;

	job->channel = channel;
	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r == 0)
		r = store_source_open(layers, &source, err);
	if (r < 0)
		return r;
	transfer_source(&a, job->store->settings, &registries);
	const struct image_memory memory = transfer_memory(layers);
	const struct image_layer_source from = store_source_layers(source);
	const struct image_transfer transfer = {.source = &registries,
		.memory = &memory,
		.watcher = {.on_progress = tell_progress, .arg = job}};
	const struct image_push push = {.record = &job->record,
		.to = job->push->to,
		.form = job->push->form,
		.layers = &from};
	r = image_push(images, &a, &push, &transfer, &pushed, err);
	if (r == 0)
		tell_result(job, &pushed);
	return r;
}

/* ---- Outside ---- */

static int find_image(struct push_job *job, struct store_lease *lease, struct err *err)
{
	struct store *store = job->store;
	const char *name = job->push->image;
	int r = image_find(store->images, job->arena, str_of(name), &job->record, err);

	if (r != 0)
		return r;
	r = store_lease_image(lease, &job->record.id, err);
	if (r == 0)
		r = store_lease_record(lease, store->layers, &job->record, err);
	if (r != STORE_E_ABSENT)
		return r;
	(void)err_set(err, ERR_MISSING, "image %s: not all of its layers are here", name);
	return err_hint(err, "build it again, or pull it again");
}

int store_push(struct store *store, struct arena *a, const struct store_push *push,
	const struct store_transfer *transfer, struct image_pushed *ret, struct err *err)
{
	cleanup(store_lease_free) struct store_lease *lease = NULL;
	struct push_job job = {.store = store, .arena = a, .push = push, .transfer = transfer};
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = push_in_box,
		.on_message = hear,
		.arg = &job,
		.cancel_fd = transfer->cancel_fd};

	int r = store_lease_new(store, &lease, err);
	if (r == 0)
		r = find_image(&job, lease, err);
	if (r == 0)
		r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	if (r != 0)
		return r;
	if (!job.is_done)
		return err_set(err, ERR_BUG, "the push has ended without a result");
	*ret = job.pushed;
	return 0;
}
