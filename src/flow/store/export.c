/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "store/internal.h"
#include "store/output.h"

/* ---- Which images, and under which names ---- */

/* The name itself, if that was what the image was asked for by; an id gives no name. */
static void take_name(struct arena *a, struct image_export *image, const char *text)
{
	struct oci_reference ref;

	if (oci_reference_parse(a, str_of(text), &ref, NULL) < 0 || !ref.tag || ref.has_digest)
		return;
	for (size_t i = 0; i < image->names.count; i++)
		if (strcmp(image->names.items[i], ref.text) == 0)
			return;
	for (size_t i = 0; i < image->record.names.count; i++)
		if (strcmp(image->record.names.items[i], ref.text) == 0)
			oci_list_add(a, &image->names, str_of(ref.text));
}

static int add_image(struct store *store, struct arena *a, const char *name,
	struct image_export *images, size_t *count, struct err *err)
{
	struct image_record record = {0};
	size_t at = 0;
	int r = image_find(store->images, a, str_of(name), &record, err);

	if (r == IMAGE_E_ABSENT) {
		(void)err_set(err, ERR_MISSING, "no such image: %s", name);
		return err_hint(err, "see what there is: spaceport images");
	}
	if (r == 0)
		r = image_names(store->images, a, &record, err);
	if (r < 0)
		return r;
	while (at < *count && !digest_eq(&images[at].record.id, &record.id))
		at++;
	if (at == *count)
		images[(*count)++] = (struct image_export){.record = record};
	take_name(a, &images[at], name);
	return 0;
}

static int hold(struct store *store, struct store_lease *lease, const struct image_record *record,
	struct err *err)
{
	char id[DIGEST_TEXT_SIZE];
	int r = store_lease_record(lease, store->layers, record, err);

	if (r != STORE_E_ABSENT)
		return r;
	(void)err_set(err, ERR_MISSING, "image %s: some of its layers are not in the store",
		digest_text(&record->id, id));
	return err_hint(err, "%s",
		record->origin == IMAGE_BUILT ? "build it again" : "pull or import it again");
}

/* ---- The box ---- */

struct export_job {
	struct store *store;
	const struct store_transfer *transfer;
	const struct store_export *export;
	const struct image_export *images;
	size_t count;
	int fd;
	struct sandbox_channel *channel; /* in the box */
	struct digest *manifests;	 /* outside */
	bool is_done;
};

enum { OUTCOME = 'o', PROGRESS = 'p' };

static void tell_progress(void *arg, const struct image_progress *progress)
{
	struct export_job *job = arg;
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, PROGRESS);
	progress_print(progress, &message);
	sandbox_tell(job->channel, buf_str(&message));
}

static void hear(void *arg, struct str message)
{
	struct export_job *job = arg;
	struct str rest = str_from_index(message, 1);
	cleanup(arena_done) struct arena a = {0};
	struct image_progress progress;

	if (!message.n)
		return;
	if (message.p[0] == OUTCOME && rest.n == job->count * DIGEST_SIZE) {
		for (size_t i = 0; i < job->count; i++)
			memcpy(job->manifests[i].bytes, rest.p + i * DIGEST_SIZE, DIGEST_SIZE);
		job->is_done = true;
	}
	if (message.p[0] == PROGRESS && job->transfer->on_progress &&
		progress_parse(&a, rest, &progress))
		job->transfer->on_progress(job->transfer->arg, &progress);
}

static int export_from(struct export_job *job, struct layer_store *layers, struct err *err)
{
	cleanup(store_source_free) struct store_source *source = NULL;
	cleanup(buf_done) struct buf message = {0};
	cleanup_free struct digest *manifests = xcalloc(job->count, sizeof(*manifests));
	int r = store_source_open(layers, &source, err);

	if (r < 0)
		return r;
	const struct image_layer_source from = store_source_layers(source);
	const struct image_export_options options = {.fd = job->fd,
		.spool = layer_store_blobs(layers),
		.format = job->export->format,
		.form = job->export->form,
		.layers = &from,
		.watcher = {.on_progress = tell_progress, .arg = job}};
	r = image_export(job->images, job->count, &options, manifests, err);
	if (r < 0)
		return r;
	buf_add_char(&message, OUTCOME);
	for (size_t i = 0; i < job->count; i++)
		buf_add(&message, manifests[i].bytes, DIGEST_SIZE);
	sandbox_tell(job->channel, buf_str(&message));
	return 0;
}

static int export_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct export_job *job = arg;
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;

	job->channel = channel;
	int r = store_open_in_box(job->store, &layers, &images, err);
	return r == 0 ? export_from(job, layers, err) : r;
}

static int run(struct export_job *job, struct err *err)
{
	struct store *store = job->store;
	cleanup(store_lease_free) struct store_lease *lease = NULL;
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = export_in_box,
		.on_message = hear,
		.arg = job,
		.cancel_fd = job->transfer->cancel_fd};
	int r = store_lease_new(store, &lease, err);

	for (size_t i = 0; r == 0 && i < job->count; i++)
		r = hold(store, lease, &job->images[i].record, err);
	if (r == 0)
		r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	return r == 0 && !job->is_done ? err_set(err, ERR_BUG, "the export said no result") : r;
}

static int run_into(struct export_job *job, const char *path, struct err *err)
{
	cleanup(output_done) struct output output = {.fd = -1, .dir = -1};
	int r = output_open(path, &output, err);

	if (r < 0)
		return r;
	job->fd = output.fd;
	r = run(job, err);
	return r == 0 ? output_keep(&output, err) : r;
}

int store_export(struct store *store, struct arena *a, const struct store_export *export,
	const struct store_transfer *transfer, struct store_exported *ret, struct err *err)
{
	struct image_export *images = arena_array(a, export->name_count, sizeof(*images));
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < export->name_count; i++)
		r = add_image(store, a, export->names[i], images, &count, err);
	if (r < 0)
		return r;
	*ret = (struct store_exported){
		.manifests = arena_array(a, count, sizeof(*ret->manifests)), .count = count};
	struct export_job job = {.store = store,
		.transfer = transfer,
		.export = export,
		.images = images,
		.count = count,
		.fd = export->fd,
		.manifests = ret->manifests};
	return export->path ? run_into(&job, export->path, err) : run(&job, err);
}
