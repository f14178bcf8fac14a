/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A collection: reads everything, chooses, renames into the trash while no lease can be written,
 * then empties the trash at leisure. All of it in a box, whose root owns the store. A collection
 * that is killed leaves images without a name fewer, layers in the trash, and nothing half: the
 * next one goes on.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/fields.h"
#include "fetch/fetch.h"
#include "os/clock.h"
#include "os/dir.h"
#include "os/lock.h"
#include "store/survey.h"

#define COLLECTING "collecting" /* in the state directory: locked by who collects */

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
/* Memos nobody asked for, digests of context files nobody wrote, for so long. */
enum { MEMO_AGE = 90 * DAY, CONTEXT_AGE = 30 * DAY };
/* What was made just now is not the first to go, however large it is. */
enum { FRESH = HOUR };
enum { AUTOMATIC_SECONDS = 10 };

struct job {
	struct store *store;
	const struct store_gc *gc;
	struct sandbox_channel *channel; /* in the box */
	int64_t now;
	uint64_t keep, keep_caches;
	struct store_collected *result; /* outside */
};

/* ---- Messages ---- */

enum { ITEM = 'i', TOTAL = 't' };

static void tell_item(const struct job *job, const struct store_item *item)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, ITEM);
	buf_add_u32(&message, item->kind);
	buf_add_u64(&message, item->bytes);
	buf_add_u64(&message, (uint64_t)item->used);
	buf_add_field(&message, str_of(item->name));
	sandbox_tell(job->channel, buf_str(&message));
}

static void tell_total(const struct job *job, uint64_t bytes)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, TOTAL);
	buf_add_u64(&message, bytes);
	sandbox_tell(job->channel, buf_str(&message));
}

static void hear_item(const struct job *job, struct fields *f)
{
	cleanup(arena_done) struct arena a = {0};
	struct store_item item = {0};
	uint32_t kind = fields_u32(f);

	item.bytes = fields_u64(f);
	item.used = (int64_t)fields_u64(f);
	item.name = arena_str(&a, fields_str(f)).p;
	if (f->bad || kind > STORE_DOWNLOAD)
		return;
	item.kind = (enum store_item_kind)kind;
	job->result->items++;
	if (job->gc->on_item)
		job->gc->on_item(job->gc->arg, &item);
}

static void hear(void *arg, struct str message)
{
	const struct job *job = arg;
	struct fields f = {.rest = str_from_index(message, 1)};

	if (message.n && message.p[0] == ITEM)
		hear_item(job, &f);
	else if (message.n && message.p[0] == TOTAL)
		job->result->bytes = fields_u64(&f);
}

/* ---- In the box: what is chosen goes ---- */

static int drop_image(const struct job *job, struct image_store *images,
	const struct survey_image *image, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct image_removed removed;
	char id[DIGEST_TEXT_SIZE];

	(void)digest_text(&image->record->id, id);
	if (!job->gc->dry_run) {
		int r = image_remove(images, &a, str_of(id), true, &removed, err);
		if (r != 0)
			return r < 0 ? r : 0; /* somebody else has removed it */
	}
	const struct store_item item = {.kind = STORE_IMAGE, .name = id, .used = image->used};
	tell_item(job, &item);
	return 0;
}

static int drop_layer(const struct job *job, struct layer_store *layers,
	const struct survey_layer *layer, struct err *err)
{
	int r = job->gc->dry_run ? 0 : layer_drop(layers, &layer->meta.key, err);

	if (r < 0)
		return r;
	const struct store_item item = {.kind = STORE_LAYER,
		.name = layer->meta.key.hex,
		.bytes = layer->gain,
		.used = layer->used};
	tell_item(job, &item);
	return 0;
}

/* One that was opened since it was chosen stays. */
static int drop_cache(const struct job *job, struct layer_store *layers,
	const struct survey_cache *cache, struct err *err)
{
	int r = job->gc->dry_run ? 0 : layer_cache_drop(layers, cache->info.name, err);

	if (r != 0)
		return r < 0 ? r : 0;
	const struct store_item item = {.kind = STORE_CACHE,
		.name = *cache->info.id ? cache->info.id : cache->info.name,
		.bytes = cache->gain,
		.used = cache->info.used};
	tell_item(job, &item);
	return 0;
}

static uint64_t gain_of_all(const struct survey *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->layer_count; i++)
		bytes += s->layers[i].gain;
	for (size_t i = 0; i < s->cache_count; i++)
		bytes += s->caches[i].gain;
	return bytes;
}

/* What goes, layers in their order. */
struct victims {
	const struct survey *survey;
	struct survey_layer **layers;
	size_t layer_count;
};

static int drop_images(
	const struct job *job, const struct victims *v, struct image_store *images, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < v->survey->image_count && r == 0; i++)
		if (v->survey->images[i].is_chosen)
			r = drop_image(job, images, &v->survey->images[i], err);
	return r;
}

static int drop_layers_and_caches(
	const struct job *job, const struct victims *v, struct layer_store *layers, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < v->layer_count && r == 0; i++)
		r = drop_layer(job, layers, v->layers[i], err);
	for (size_t i = 0; i < v->survey->cache_count && r == 0; i++)
		if (v->survey->caches[i].is_chosen)
			r = drop_cache(job, layers, &v->survey->caches[i], err);
	return r;
}

/*
 * Trees that nobody has weighed yet are walked here, before anybody has to wait for it; what is
 * found under the lock afterwards is remembered.
 */
static int warm_up(const struct job *job, struct layer_store *layers, struct image_store *images,
	struct survey *ret_caches, struct err *err)
{
	cleanup(survey_done) struct survey layers_only = {0};
	int r = survey_load(&layers_only, job->store->dir, layers, images, err);

	return r < 0 ? r : survey_load_caches(ret_caches, layers, err);
}

static int choose_and_drop(const struct job *job, struct layer_store *layers,
	struct image_store *images, uint64_t *ret_gain, struct err *err)
{
	const struct store_gc *gc = job->gc;
	const struct choice choice = {.all = gc->all,
		.now = job->now,
		.until = gc->until,
		.fresh = gc->is_automatic ? FRESH : 0,
		.keep = job->keep,
		.keep_caches = job->keep_caches,
		.images_too = !gc->is_automatic && !gc->has_keep};
	cleanup(survey_done) struct survey s = {0};
	cleanup(leased_done) struct leased leased = {0};
	cleanup_close int guard = -1;
	struct victims victims = {.survey = &s};

	int r = warm_up(job, layers, images, &s, err);
	if (r == 0)
		r = leased_take(job->store->dir, &leased, &guard, err);
	if (r == 0)
		r = survey_load(&s, job->store->dir, layers, images, err);
	if (r < 0)
		return r;
	survey_mark(&s, &leased, NEED_LEASE);
	survey_settle(&s, gc->all);
	survey_choose(&s, &choice, &victims.layers, &victims.layer_count);
	*ret_gain = gain_of_all(&s);
	if (gc->all && !gc->dry_run)
		r = newest_forget_all(job->store->dir, err);
	/* Images first: one without its layers is broken, layers without it only unneeded. */
	if (r == 0)
		r = drop_images(job, &victims, images, err);
	return r < 0 ? r : drop_layers_and_caches(job, &victims, layers, err);
}

/* ---- In the box: the rest ---- */

static int64_t download_age(const struct store_gc *gc)
{
	return gc->all ? 0 : gc->is_automatic ? 7 * DAY : DAY;
}

static int sweep_downloads(
	const struct job *job, struct image_store *images, uint64_t *ret_bytes, struct err *err)
{
	const struct image_sweep sweep = {
		.before = job->now - download_age(job->gc), .dry_run = job->gc->dry_run};
	struct image_swept swept;

	int r = image_sweep(images, &sweep, &swept, err);
	if (r == 0 && swept.count) {
		const struct store_item item = {.kind = STORE_DOWNLOAD,
			.name = "interrupted downloads",
			.bytes = swept.bytes};
		tell_item(job, &item);
	}
	*ret_bytes = swept.bytes;
	return r;
}

static uint64_t weigh_downloads(const struct job *job)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int dir = -1;
	struct layer_weight weight = {0};

	if (fetch_open(job->store->dir, &dir, NULL) != 0 ||
		layer_weigh_tree(dir, &a, &weight, NULL) < 0)
		return 0;
	return weight.disk;
}

/*
 * What ADD fetched has a limit of its own, which builds see to: here all of it goes, or nothing.
 * Neither does while a build uses it.
 */
static int drop_fetched(const struct job *job, uint64_t *ret_bytes, struct err *err)
{
	enum { NOTHING_FITS = 1 };
	cleanup_close int dir = -1;
	uint64_t before = weigh_downloads(job);

	*ret_bytes = 0;
	if (!job->gc->all || before == 0)
		return 0;
	int r = job->gc->dry_run ? 0 : fetch_open(job->store->dir, &dir, err);
	if (r == 0 && !job->gc->dry_run)
		r = fetch_trim(dir, NOTHING_FITS, err);
	if (r < 0)
		return r;
	uint64_t after = weigh_downloads(job);
	*ret_bytes = job->gc->dry_run ? before : after < before ? before - after : 0;
	const struct store_item item = {
		.kind = STORE_DOWNLOAD, .name = "downloads of ADD", .bytes = *ret_bytes};
	if (*ret_bytes)
		tell_item(job, &item);
	return 0;
}

static uint64_t weigh_trash(const struct job *job)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int trash =
		dir_open_beneath(job->store->dir, "trash", O_PATH | O_DIRECTORY, 0, NULL);
	struct layer_weight weight = {0};
	struct stat st;

	if (trash < 0 || fstat(trash, &st) < 0 || layer_weigh_tree(trash, &a, &weight, NULL) < 0)
		return 0;
	weight.disk -= (uint64_t)st.st_blocks * 512; /* it stays */
	for (size_t i = 0; i < weight.link_count; i++)
		weight.disk -= weight.links[i].disk;
	return weight.disk;
}

/* Nobody shall notice it: the disk's and the processor's idle time is enough. */
static void be_humble(void)
{
	enum { WHO_PROCESS = 1, CLASS_IDLE = 3 << 13, NICE = 10 };

	(void)syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE);
	(void)setpriority(PRIO_PROCESS, 0, NICE);
}

static int collect_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct job *job = arg;
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;
	uint64_t gain = 0, downloads = 0, fetched = 0, freed = 0;

	job->channel = channel;
	if (job->gc->is_automatic)
		be_humble();
	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r == 0)
		r = choose_and_drop(job, layers, images, &gain, err);
	if (r == 0)
		r = sweep_downloads(job, images, &downloads, err);
	if (r == 0)
		r = drop_fetched(job, &fetched, err);
	if (r == 0 && job->gc->dry_run) {
		tell_total(job, gain + downloads + fetched + weigh_trash(job));
		return 0;
	}
	if (r == 0)
		r = layer_sweep(layers, job->now - MEMO_AGE, err);
	if (r == 0)
		r = layer_empty_trash(layers, &freed, err);
	tell_total(job, freed + downloads + fetched);
	return r;
}

/* ---- Outside ---- */

static uint64_t share_of_disk(const struct store *store, struct settings_share share)
{
	struct statvfs st;

	if (!share.percent)
		return share.bytes;
	if (fstatvfs(store->data, &st) < 0)
		return UINT64_MAX;
	return (uint64_t)st.f_blocks * st.f_frsize / 100 * share.percent;
}

static uint64_t layers_to_keep(const struct store *store, const struct store_gc *gc)
{
	if (gc->has_keep)
		return gc->keep;
	return gc->is_automatic ? share_of_disk(store, store->settings->store.budget) : 0;
}

/* Digests of files of contexts: they are the caller's, and made anew when they are missed. */
static void sweep_contexts(const struct store *store, int64_t before)
{
	cleanup_close int fd =
		dir_open_beneath(store->data, "contexts", O_RDONLY | O_DIRECTORY, 0, NULL);
	cleanup_closedir DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;

	if (!list)
		return;
	(void)take_fd(&fd);
	while ((entry = readdir(list)))
		if (entry->d_name[0] != '.' &&
			fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			st.st_mtime < before)
			(void)unlinkat(dirfd(list), entry->d_name, 0); /* or the next time */
}

/* LOCK_E_BUSY when it is automatic and another one is at it. */
static int begin(struct store *store, const struct store_gc *gc, int *ret_lock, struct err *err)
{
	int r = lock_take(
		store->data, COLLECTING, LOCK_EXCLUSIVE, !gc->is_automatic, ret_lock, err);

	if (r != 0 || gc->dry_run)
		return r;
	if (futimens(*ret_lock, NULL) < 0)
		return err_sys(err, "note the time of the collection");
	newest_forget_gone(store);
	sweep_contexts(store, time(NULL) - CONTEXT_AGE);
	return 0;
}

int store_collect(struct store *store, const struct store_gc *gc, struct store_collected *ret,
	struct err *err)
{
	cleanup_close int lock = -1;
	struct job job = {.store = store, .gc = gc, .now = time(NULL), .result = ret};
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = collect_in_box,
		.on_message = hear,
		.arg = &job,
		.cancel_fd = gc->cancel_fd,
		.deadline = gc->is_automatic ? clock_now() + AUTOMATIC_SECONDS * INT64_C(1000000000)
					     : 0};

	*ret = (struct store_collected){0};
	job.keep = layers_to_keep(store, gc);
	job.keep_caches = share_of_disk(store, store->settings->store.cache_budget);
	int r = begin(store, gc, &lock, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	/* What is left of its time's work is the next one's. */
	return gc->is_automatic && r == -ERR_LIMIT ? 0 : r;
}

/* ---- Is it worth it? ---- */

struct estimate {
	uint64_t bytes;
};

static int add_size(void *arg, const struct layer_meta *meta, int64_t used)
{
	enum { OF_ENTRY = 4096 }; /* what a file takes beyond its content, generously */
	struct estimate *e = arg;

	(void)used;
	e->bytes += meta->size + meta->files * OF_ENTRY;
	return 0;
}

bool store_collect_is_due(struct store *store)
{
	enum { OFTEN = 10 * MINUTE };
	struct estimate e = {0};
	struct stat st;

	if (fstatat(store->data, COLLECTING, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		st.st_mtime + OFTEN < time(NULL) || st.st_mtime > time(NULL) + MINUTE)
		return true;
	return layer_list(store->layers, add_size, &e, NULL) == 0 &&
	       e.bytes > share_of_disk(store, store->settings->store.budget);
}

uint64_t store_reclaimable(struct store *store)
{
	const struct choice choice = {
		.now = time(NULL), .keep_caches = UINT64_MAX, .images_too = true};
	cleanup(survey_done) struct survey s = {0};
	struct survey_layer **order;
	struct err unused = {0};
	size_t count;

	/* Without leases: what runs now will have ended when it is looked at. */
	if (survey_load(&s, store->dir, store->layers, store->images, &unused) < 0)
		return 0;
	survey_settle(&s, false);
	survey_choose(&s, &choice, &order, &count);
	return gain_of_all(&s);
}
