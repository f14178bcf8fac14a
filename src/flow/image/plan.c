/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "image/internal.h"
#include "image/worker.h"

#define DEFAULT_BLOB_BYTES ((uint64_t)64 << 30)

int config_check(const struct oci_config *config, size_t layers, struct err *err)
{
	if (config->diff_ids.count == layers)
		return 0;
	return err_set(err, ERR_INPUT, "its manifest lists %zu layers, its configuration %zu",
		layers, config->diff_ids.count);
}

int config_check_platform(
	const struct oci_config *config, const struct oci_platform *wanted, struct err *err)
{
	const struct oci_platform *made_for = &config->platform;

	/* Images made from nothing often do not say. */
	if (!made_for->architecture[0] || oci_platform_matches(wanted, made_for))
		return 0;
	return err_set(err, ERR_MISSING, "no image for platform %s/%s: it is for %s/%s", wanted->os,
		wanted->architecture, made_for->os, made_for->architecture);
}

static enum decompress_kind kind_of(enum oci_media media)
{
	static const enum decompress_kind kinds[] = {
		[OCI_MEDIA_UNKNOWN] = DECOMPRESS_DETECT,
		[OCI_MEDIA_LAYER_TAR] = DECOMPRESS_PLAIN,
		[OCI_MEDIA_LAYER_GZIP] = DECOMPRESS_GZIP,
		[OCI_MEDIA_LAYER_ZSTD] = DECOMPRESS_ZSTD,
	};

	return kinds[media];
}

static void tell_exists(const struct worker_crew *crew, size_t layer)
{
	const struct image_watcher *watcher = &crew->transfer->watcher;
	const struct image_progress progress = {.image = crew->image,
		.phase = IMAGE_EXISTS,
		.layer = crew->layers[layer].digest,
		.index = layer,
		.count = crew->layer_count,
		.done = crew->layers[layer].size,
		.total = crew->layers[layer].size,
		.text = ""};

	if (watcher->on_progress)
		watcher->on_progress(watcher->arg, &progress);
}

static bool is_planned(const struct layer_job *jobs, size_t count, const struct digest *diff_id)
{
	for (size_t i = 0; i < count; i++)
		if (digest_eq(&jobs[i].diff_id, diff_id))
			return true;
	return false;
}

int workers_plan(
	struct arena *a, struct worker_crew *crew, const struct oci_config *config, struct err *err)
{
	const struct image_layer_sink *sink = crew->transfer->sink;
	uint64_t max = crew->transfer->source->limits.blob_bytes;
	struct layer_job *jobs = arena_array(a, crew->layer_count, sizeof(*jobs));
	size_t count = 0;

	if (!max)
		max = DEFAULT_BLOB_BYTES;
	for (size_t i = 0; i < crew->layer_count; i++) {
		const struct oci_descriptor *blob = &crew->layers[i];
		struct layer_job job = {.blob = blob, .layer = i, .kind = kind_of(blob->media)};
		if (!digest_parse(str_of(config->diff_ids.items[i]), &job.diff_id))
			return err_set(err, ERR_BUG, "a diff ID was not checked");
		if (blob->size > max)
			return err_set(err, ERR_LIMIT,
				"layer %zu of %" PRIu64 " bytes is larger than %" PRIu64, i + 1,
				blob->size, max);
		if (sink->has(sink->arg, &job.diff_id))
			tell_exists(crew, i);
		else if (!is_planned(jobs, count, &job.diff_id))
			jobs[count++] = job;
	}
	crew->jobs = jobs;
	crew->count = count;
	return 0;
}
