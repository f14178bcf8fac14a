/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "image/compress.h"
#include "image/push.h"
#include "os/file.h"

enum { MAX_ASKED = 4, MAX_MOUNTS = 2, NOT_THERE = 50 };

static const struct image_watcher nobody = {0};

/* One layer on its way. */
struct layer_push {
	struct push *push;
	struct worker *worker;
	const struct push_layer *layer;
	struct upload *upload;
	bool has_session; /* the upload has one that nothing was sent in */
	struct compress *compress;
	uint64_t done; /* bytes of the tar */
	int file;      /* of a layer that goes as a whole */
	struct hasher *hasher;
	uint64_t file_bytes;
};

/* ---- Is it there already ---- */

/* What we have chosen the form of has to have the one that is wanted now. */
static bool is_usable(const struct layer_push *p, const struct place *place)
{
	return !place->is_pushed || place->media == p->push->wish->form;
}

static void take_place(struct layer_push *p, const struct place *place, enum image_phase how)
{
	p->worker->outcome = (struct layer_outcome){.how = how,
		.facts = {.diff_id = place->diff_id},
		.digest = place->digest,
		.size = place->size,
		.media = place->media,
		.is_ours = place->is_pushed};
}

static bool was_asked(const struct push_layer *layer, size_t place)
{
	for (size_t i = 0; i < place; i++)
		if (digest_eq(&layer->places[i].digest, &layer->places[place].digest))
			return true;
	return false;
}

/* 0 or NOT_THERE. */
static int find_blob(struct layer_push *p, struct err *err)
{
	const struct push_layer *layer = p->layer;
	int r = NOT_THERE;

	for (size_t i = 0, asked = 0; i < layer->place_count && asked < MAX_ASKED; i++) {
		const struct place *place = &layer->places[i];
		const struct upload_result blob = {place->digest, place->size};
		if (!is_usable(p, place) || was_asked(layer, i))
			continue;
		r = upload_exists(&p->push->registry, p->push->endpoint, &blob, err);
		if (r == 0)
			take_place(p, place, IMAGE_EXISTS);
		if (r != UPLOAD_E_ABSENT)
			return r;
		asked++;
	}
	return NOT_THERE;
}

/* 0 or NOT_THERE. */
static int mount_blob(struct layer_push *p, struct err *err)
{
	const struct oci_reference *to = p->push->wish->to;

	for (size_t i = 0, asked = 0; i < p->layer->place_count && asked < MAX_MOUNTS; i++) {
		const struct place *place = &p->layer->places[i];
		const struct upload_mount mount = {&place->digest, place->repository};
		if (!is_usable(p, place) || strcmp(place->registry, to->registry) != 0 ||
			strcmp(place->repository, to->repository) == 0)
			continue;
		int r = upload_begin(p->upload, &mount, err);
		if (r < 0)
			return r;
		if (r == UPLOAD_E_MOUNTED) {
			take_place(p, place, IMAGE_MOUNTED);
			return 0;
		}
		p->has_session = true;
		asked++;
	}
	return NOT_THERE;
}

/* ---- Bytes ---- */

static int take_tar(void *arg, struct str piece, struct err *err)
{
	struct layer_push *p = arg;

	uint64_t total = p->worker->job->blob->size; /* it may be a guess */

	p->done += piece.n;
	worker_tell(p->worker, IMAGE_UPLOAD, total && p->done > total ? total : p->done);
	return compress_feed(p->compress, piece, err);
}

/* Pack and compress; the bytes go to `out`. */
static int make_blob(struct layer_push *p, int (*out)(void *arg, struct str piece, struct err *err),
	struct err *err)
{
	const struct compress_options options = {
		.media = p->push->wish->form, .out = out, .arg = p};
	const struct image_writer writer = {take_tar, p};

	p->done = 0;
	compress_free(take_ptr(p->compress));
	/* Before anything has threads: it makes processes. */
	int r = compress_new(&options, &p->compress, err);
	if (r == 0)
		r = image_layer_pack(p->push->wish->layers, p->push->wish->record,
			p->worker->job->layer, &writer, &p->worker->outcome.facts, err);
	return r == 0 ? compress_finish(p->compress, err) : r;
}

static void take_blob(struct layer_push *p, const struct upload_result *blob)
{
	p->worker->outcome.digest = blob->digest;
	p->worker->outcome.size = blob->size;
	p->worker->outcome.media = p->push->wish->form;
	p->worker->outcome.is_ours = true;
}

/* ---- In chunks ---- */

static int to_registry(void *arg, struct str piece, struct err *err)
{
	struct layer_push *p = arg;

	return upload_write(p->upload, piece, err);
}

/* 0 or UPLOAD_E_LOST. */
static int send_chunks(struct layer_push *p, struct err *err)
{
	struct upload_result blob;
	int r = p->has_session ? 0 : upload_begin(p->upload, NULL, err);

	if (r == 0)
		r = make_blob(p, to_registry, err);
	if (r == 0)
		r = upload_finish(p->upload, &blob, err);
	if (r == 0)
		take_blob(p, &blob);
	return r;
}

/* ---- As a whole, from a file ---- */

static int to_file(void *arg, struct str piece, struct err *err)
{
	struct layer_push *p = arg;

	hasher_add(p->hasher, piece.p, piece.n);
	p->file_bytes += piece.n;
	return file_write_fd(p->file, piece, err);
}

static int send_whole(struct layer_push *p, struct err *err)
{
	cleanup(hasher_free) struct hasher *hasher = hasher_new();
	cleanup_close int file = openat(p->push->spool, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (file < 0)
		return err_sys(err, "make a file for the layer");
	p->file = file;
	p->hasher = hasher;
	p->file_bytes = 0;
	int r = make_blob(p, to_file, err);
	if (r < 0)
		return r;
	const struct upload_result blob = {hasher_finish(hasher), p->file_bytes};
	r = upload_file(p->upload, file, &blob, err);
	if (r == 0)
		take_blob(p, &blob);
	return r;
}

/* ---- All of it ---- */

static int send_layer(struct layer_push *p, struct err *err)
{
	int r = find_blob(p, err);

	if (r == NOT_THERE)
		r = mount_blob(p, err);
	if (r == NOT_THERE)
		r = send_chunks(p, err);
	if (r != UPLOAD_E_LOST)
		return r;
	struct err first = *err;
	r = send_whole(p, err);
	return r < 0 && r != -ERR_CANCELLED
		       ? err_hint_add(err, "sent in chunks before: %s", first.text)
		       : r;
}

int push_layer_work(void *arg, struct worker *worker, struct err *err)
{
	struct push *push = arg;

	registry_forked(&push->registry);
	push->registry.watcher = &nobody; /* this process is stopped by killing it */
	struct layer_push p = {.push = push,
		.worker = worker,
		.layer = &push->layers[worker->job->layer],
		.upload = upload_new(
			&push->registry, push->endpoint, push->transfer->source->chunk_bytes),
		.file = -1};
	int r = send_layer(&p, err);
	compress_free(p.compress);
	upload_free(p.upload);
	return r;
}
