/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the state directory takes of the disk. Layers and idle caches are remembered, everything
 * else is walked. In a box: an ordinary user cannot look into directories of his subordinate ids.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fields.h"
#include "os/dir.h"
#include "store/survey.h"

enum { BLOCK = 512 };

struct job {
	struct store *store;
	struct sandbox_channel *channel; /* in the box */
	struct ledger *ledger;
	struct store_use_total totals[STORE_USE_COUNT];
	struct arena *arena; /* outside */
	struct store_usage *result;
	size_t cap;
};

/* ---- Messages ---- */

enum { ROW = 'r', TOTALS = 't' };

static void tell_row(const struct job *job, const struct store_use_row *row)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, ROW);
	buf_add_u32(&message, row->use);
	buf_add_u32(&message, row->is_active);
	buf_add_u64(&message, row->bytes);
	buf_add_u64(&message, row->shared);
	buf_add_u64(&message, (uint64_t)row->used);
	buf_add_field(&message, str_of(row->name));
	sandbox_tell(job->channel, buf_str(&message));
}

static void tell_totals(const struct job *job)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, TOTALS);
	for (size_t i = 0; i < STORE_USE_COUNT; i++) {
		buf_add_u64(&message, job->totals[i].count);
		buf_add_u64(&message, job->totals[i].active);
		buf_add_u64(&message, job->totals[i].bytes);
		buf_add_u64(&message, job->totals[i].reclaimable);
	}
	sandbox_tell(job->channel, buf_str(&message));
}

static void hear_row(struct job *job, struct fields *f)
{
	struct store_usage *u = job->result;
	struct store_use_row row = {0};
	uint32_t use = fields_u32(f);

	row.is_active = fields_u32(f) != 0;
	row.bytes = fields_u64(f);
	row.shared = fields_u64(f);
	row.used = (int64_t)fields_u64(f);
	row.name = arena_str(job->arena, fields_str(f)).p;
	if (f->bad || use >= STORE_USE_COUNT)
		return;
	row.use = (enum store_use)use;
	u->rows = arena_grow(job->arena, u->rows, u->row_count, &job->cap, sizeof(*u->rows));
	u->rows[u->row_count++] = row;
}

static void hear(void *arg, struct str message)
{
	struct job *job = arg;
	struct fields f = {.rest = str_from_index(message, 1)};

	if (message.n && message.p[0] == ROW)
		hear_row(job, &f);
	if (message.n == 0 || message.p[0] != TOTALS)
		return;
	for (size_t i = 0; i < STORE_USE_COUNT; i++) {
		struct store_use_total *total = &job->result->totals[i];
		total->count = fields_u64(&f);
		total->active = fields_u64(&f);
		total->bytes = fields_u64(&f);
		total->reclaimable = fields_u64(&f);
	}
}

/* ---- Layers and images ---- */

static enum store_use use_of(const struct survey_layer *layer)
{
	return layer->needs & (NEED_NAME | NEED_IMAGE) ? STORE_USE_IMAGES : STORE_USE_BUILD_CACHE;
}

/* Images before the rest: what a layer of an image shares with another counts for the image. */
static void add_layers(struct job *job, const struct survey *s, enum store_use use)
{
	struct store_use_total *total = &job->totals[use];

	for (size_t i = 0; i < s->layer_count; i++) {
		const struct survey_layer *layer = &s->layers[i];
		if (use_of(layer) != use)
			continue;
		total->bytes += ledger_add(job->ledger, &layer->weight);
		total->reclaimable += layer->gain;
		if (use != STORE_USE_BUILD_CACHE)
			continue;
		total->count++;
		total->active += (layer->needs & NEED_LEASE) != 0;
	}
}

static void tell_layers(const struct job *job, const struct survey *s)
{
	for (size_t i = 0; i < s->layer_count; i++) {
		const struct survey_layer *layer = &s->layers[i];
		const struct store_use_row row = {.use = STORE_USE_BUILD_CACHE,
			.name = layer->meta.key.hex,
			.bytes = layer->weight.disk,
			.shared = ledger_shared(job->ledger, &layer->weight, true),
			.used = layer->used,
			.is_active = (layer->needs & NEED_LEASE) != 0};
		if (use_of(layer) == STORE_USE_BUILD_CACHE)
			tell_row(job, &row);
	}
}

/* How many images have the layer. */
static size_t count_images(const struct survey *s, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < s->image_count; i++)
		for (size_t k = 0; k < s->images[i].record->layers.count; k++)
			n += strcmp(s->images[i].record->layers.items[k], key) == 0;
	return n;
}

static void tell_image(const struct job *job, struct survey *s, const struct survey_image *image)
{
	const struct image_record *record = image->record;
	cleanup(ledger_free) struct ledger *own = ledger_new();
	char id[DIGEST_TEXT_SIZE];
	struct store_use_row row = {.use = STORE_USE_IMAGES,
		.name = record->names.count ? record->names.items[0] : digest_text(&record->id, id),
		.used = image->used,
		.is_active = image->is_leased};

	for (size_t i = 0; i < record->layers.count; i++) {
		const struct survey_layer *layer =
			map_find(s->by_key, str_of(record->layers.items[i]));
		if (!layer)
			continue;
		row.bytes += ledger_add(own, &layer->weight);
		row.shared += count_images(s, layer->meta.key.hex) > 1
				      ? layer->weight.disk
				      : ledger_shared(job->ledger, &layer->weight, true);
	}
	row.shared = row.shared < row.bytes ? row.shared : row.bytes;
	tell_row(job, &row);
}

static void add_images(struct job *job, struct survey *s)
{
	job->totals[STORE_USE_IMAGES].count = s->image_count;
	for (size_t i = 0; i < s->image_count; i++) {
		job->totals[STORE_USE_IMAGES].active += s->images[i].is_leased;
		tell_image(job, s, &s->images[i]);
	}
}

/* ---- Caches ---- */

/* The caches of package managers that builds get without asking: "uv 1000 …". */
static bool is_tool(const char *id)
{
	static const char *const tools[] = {"uv ", "pip ", "npm "};

	for (size_t i = 0; i < array_size(tools); i++)
		if (str_starts(str_of(id), str_of(tools[i])))
			return true;
	return false;
}

static enum store_use use_of_cache(const struct survey_cache *cache)
{
	return is_tool(cache->info.id) ? STORE_USE_TOOL_CACHES : STORE_USE_CACHE_MOUNTS;
}

static void add_caches(struct job *job, const struct survey *s)
{
	for (size_t i = 0; i < s->cache_count; i++) {
		const struct survey_cache *cache = &s->caches[i];
		struct store_use_total *total = &job->totals[use_of_cache(cache)];
		uint64_t fresh = ledger_add(job->ledger, &cache->weight);
		total->count++;
		total->active += cache->info.is_busy;
		total->bytes += fresh;
		total->reclaimable += cache->info.is_busy ? 0 : fresh;
	}
}

static void tell_caches(const struct job *job, const struct survey *s)
{
	for (size_t i = 0; i < s->cache_count; i++) {
		const struct survey_cache *cache = &s->caches[i];
		const struct store_use_row row = {.use = use_of_cache(cache),
			.name = *cache->info.id ? cache->info.id : cache->info.name,
			.bytes = cache->weight.disk,
			.shared = ledger_shared(job->ledger, &cache->weight, true),
			.used = cache->info.used,
			.is_active = cache->info.is_busy};
		tell_row(job, &row);
	}
}

/* ---- Directories that are walked ---- */

/* Parts of the store that others here count; their own directories count as the rest. */
static const struct {
	const char *path;
	enum store_use use;
	bool is_counted; /* by its layers or caches */
} parts[] = {
	{"layers", STORE_USE_OTHER, true},
	{"caches", STORE_USE_OTHER, true},
	{"active", STORE_USE_RUNNING, false},
	{"blobs", STORE_USE_DOWNLOADS, false},
	{"downloads", STORE_USE_DOWNLOADS, false},
	{"trash", STORE_USE_TRASH, false},
};

#define PARTIAL "images/partial"

static size_t count_entries(int dir)
{
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, NULL);
	cleanup_closedir DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	size_t n = 0;

	if (!list)
		return 0;
	(void)take_fd(&fd);
	while ((entry = readdir(list)))
		n += entry->d_name[0] != '.';
	return n;
}

/* Bytes that nothing before had; what goes away meanwhile is passed by. */
static uint64_t weigh(struct job *job, int parent, const char *path)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int fd = dir_open_beneath(parent, path, O_PATH | O_NOFOLLOW, 0, NULL);
	struct layer_weight weight = {0};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return (uint64_t)st.st_blocks * BLOCK;
	if (layer_weigh_tree(fd, &a, &weight, NULL) < 0)
		return 0;
	return ledger_add(job->ledger, &weight);
}

static void add_part(struct job *job, int store_dir, const char *name)
{
	struct stat st;
	size_t i = 0;

	while (i < array_size(parts) && strcmp(parts[i].path, name) != 0)
		i++;
	if (i == array_size(parts)) {
		job->totals[STORE_USE_OTHER].bytes += weigh(job, store_dir, name);
		return;
	}
	if (fstatat(store_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	uint64_t own = (uint64_t)st.st_blocks * BLOCK;
	job->totals[STORE_USE_OTHER].bytes += own;
	if (parts[i].is_counted)
		return;
	struct store_use_total *total = &job->totals[parts[i].use];
	cleanup_close int dir = dir_open_beneath(store_dir, name, O_PATH | O_DIRECTORY, 0, NULL);
	uint64_t bytes = weigh(job, store_dir, name);
	bytes -= own < bytes ? own : bytes;
	/* Those of ADD are kept in folders by their kind. */
	size_t count = dir < 0 || strcmp(name, "downloads") == 0 ? 0 : count_entries(dir);
	total->bytes += bytes;
	total->count += count;
	total->active += parts[i].use == STORE_USE_RUNNING ? count : 0;
	total->reclaimable += parts[i].use == STORE_USE_TRASH ? bytes : 0;
}

static void add_downloads(struct job *job, int store_dir)
{
	struct store_use_total *total = &job->totals[STORE_USE_DOWNLOADS];
	cleanup_close int dir = dir_open_beneath(store_dir, PARTIAL, O_PATH | O_DIRECTORY, 0, NULL);

	if (dir < 0)
		return;
	uint64_t bytes = weigh(job, store_dir, PARTIAL);
	total->bytes += bytes;
	total->reclaimable += bytes;
	total->count += count_entries(dir);
	/* It is walked again with the rest of images/. */
	struct store_use_total *rest = &job->totals[STORE_USE_OTHER];
	rest->bytes -= bytes < rest->bytes ? bytes : rest->bytes;
}

static int each_entry(struct job *job, int dir, const char *but,
	void (*add)(struct job *job, int dir, const char *name), struct err *err)
{
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, err);
	cleanup_closedir DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!list)
		return fd < 0 ? fd : err_sys(err, "list the state directory");
	(void)take_fd(&fd);
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			strcmp(entry->d_name, but) != 0)
			add(job, dir, entry->d_name);
	return 0;
}

/* ---- In the box ---- */

static int load(struct job *job, struct survey *s, struct layer_store *layers,
	struct image_store *images, struct err *err)
{
	const struct choice choice = {
		.now = time(NULL), .keep_caches = UINT64_MAX, .images_too = true};
	cleanup(leased_done) struct leased leased = {0};
	cleanup_close int guard = -1;
	struct survey_layer **order;
	size_t count;

	int r = survey_load_caches(s, layers, err);
	if (r == 0)
		r = survey_load(s, job->store->dir, layers, images, err);
	if (r == 0)
		r = leased_take(job->store->dir, &leased, &guard, err);
	if (r < 0)
		return r;
	close(take_fd(&guard));
	survey_mark(s, &leased, NEED_LEASE);
	survey_settle(s, false);
	survey_choose(s, &choice, &order, &count);
	return 0;
}

static int count_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct job *job = arg;
	cleanup(survey_done) struct survey s = {0};
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;

	job->channel = channel;
	job->ledger = ledger_new();
	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r == 0)
		r = load(job, &s, layers, images, err);
	if (r == 0) {
		add_layers(job, &s, STORE_USE_IMAGES);
		add_layers(job, &s, STORE_USE_BUILD_CACHE);
		add_caches(job, &s);
		/* With all in the ledger it is known what is shared. */
		add_images(job, &s);
		tell_layers(job, &s);
		tell_caches(job, &s);
		r = each_entry(job, job->store->dir, "", add_part, err);
	}
	if (r == 0) {
		add_downloads(job, job->store->dir);
		tell_totals(job);
	}
	ledger_free(job->ledger);
	return r;
}

/* ---- Outside ---- */

static void add_own(struct job *job, int data, const char *name)
{
	bool is_context = strcmp(name, "contexts") == 0;
	struct store_use_total *total =
		&job->result->totals[is_context ? STORE_USE_CONTEXTS : STORE_USE_OTHER];
	cleanup_close int dir = dir_open_beneath(data, name, O_PATH | O_DIRECTORY, 0, NULL);

	total->bytes += weigh(job, data, name);
	total->count += is_context && dir >= 0 ? count_entries(dir) : 0;
}

int store_usage(struct store *store, struct arena *a, struct store_usage *ret, struct err *err)
{
	cleanup(ledger_free) struct ledger *ledger = NULL;
	struct job job = {.store = store, .arena = a, .result = ret};
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = count_in_box,
		.on_message = hear,
		.arg = &job,
		.cancel_fd = -1};

	*ret = (struct store_usage){0};
	int r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	if (r < 0)
		return r;
	ledger = ledger_new();
	job.ledger = ledger;
	return each_entry(&job, store->data, "store", add_own, err);
}
