/* SPDX-License-Identifier: Apache-2.0 */
#include "store/survey.h"

#include "base/alloc.h"

void survey_done(struct survey *s)
{
	map_free(s->by_key);
	arena_done(&s->arena);
}

/* ---- Layers ---- */

static int add_layer(void *arg, const struct layer_meta *meta, int64_t used)
{
	struct survey *s = arg;

	s->layers =
		arena_grow(&s->arena, s->layers, s->layer_count, &s->layer_cap, sizeof(*s->layers));
	s->layers[s->layer_count++] =
		(struct survey_layer){.meta = *meta, .used = used, .created = meta->created};
	return 0;
}

static struct survey_layer *find(const struct survey *s, struct str key)
{
	return key.n ? map_find(s->by_key, key) : NULL;
}

static void link_parents(struct survey *s)
{
	for (size_t i = 0; i < s->layer_count; i++)
		(void)map_set(s->by_key, str_of(s->layers[i].meta.key.hex), &s->layers[i]);
	for (size_t i = 0; i < s->layer_count; i++)
		s->layers[i].parent = find(s, str_of(s->layers[i].meta.parent.hex));
	for (size_t i = 0; i < s->layer_count; i++) {
		struct survey_layer *layer = &s->layers[i];
		/* A chain that is longer than all layers together is a circle, made by hand. */
		for (struct survey_layer *p = layer->parent; p && layer->depth < s->layer_count;
			p = p->parent)
			layer->depth++;
	}
}

static int load_layers(struct survey *s, struct layer_store *layers, struct err *err)
{
	int r = layer_list(layers, add_layer, s, err);

	s->by_key = map_new();
	link_parents(s);
	for (size_t i = 0; i < s->layer_count && r == 0; i++) {
		struct survey_layer *layer = &s->layers[i];
		struct err unread = {0};
		/* Never weighed, and not to be read from here: its content will do. */
		if (layer_weigh(layers, &s->arena, &layer->meta.key, &layer->weight, &unread) != 0)
			layer->weight = (struct layer_weight){.disk = layer->meta.size};
	}
	return r;
}

/* ---- Images ---- */

static int load_images(struct survey *s, struct image_store *images, struct err *err)
{
	struct image_record *records = NULL;

	int r = image_list(images, &s->arena, &records, &s->image_count, err);
	if (r < 0)
		return r;
	s->images = arena_array(&s->arena, s->image_count + 1, sizeof(*s->images));
	for (size_t i = 0; i < s->image_count; i++) {
		struct survey_image *image = &s->images[i];
		image->record = &records[i];
		for (size_t k = 0; k < records[i].layers.count; k++) {
			const struct survey_layer *layer =
				find(s, str_of(records[i].layers.items[k]));
			image->is_broken |= !layer;
			image->used = layer ? layer->used : image->used;
		}
	}
	return 0;
}

/* ---- Caches ---- */

static int add_cache(void *arg, const struct layer_cache_info *info)
{
	struct survey *s = arg;

	s->caches =
		arena_grow(&s->arena, s->caches, s->cache_count, &s->cache_cap, sizeof(*s->caches));
	s->caches[s->cache_count] = (struct survey_cache){.info = *info};
	s->caches[s->cache_count++].info.id = arena_strdup(&s->arena, info->id);
	return 0;
}

int survey_load_caches(struct survey *s, struct layer_store *layers, struct err *err)
{
	int r = layer_cache_list(layers, add_cache, s, err);

	for (size_t i = 0; i < s->cache_count && r >= 0; i++)
		r = layer_cache_weigh(
			layers, &s->arena, s->caches[i].info.name, &s->caches[i].weight, err);
	return r < 0 ? r : 0; /* one that has gone weighs nothing */
}

int survey_load(struct survey *s, int store_dir, struct layer_store *layers,
	struct image_store *images, struct err *err)
{
	cleanup(leased_done) struct leased newest = {0};

	int r = load_layers(s, layers, err);
	if (r == 0)
		r = load_images(s, images, err);
	if (r == 0)
		r = newest_take(store_dir, &newest, err);
	if (r == 0)
		survey_mark(s, &newest, NEED_NEWEST);
	return r;
}

/* ---- Needs ---- */

static void mark_layer(const struct survey *s, struct str key, enum need need)
{
	struct survey_layer *layer = find(s, key);

	for (; layer && !(layer->needs & need); layer = layer->parent)
		layer->needs |= need;
}

void survey_mark(struct survey *s, const struct leased *leased, enum need need)
{
	struct str key;
	char id[DIGEST_TEXT_SIZE];

	for (size_t at = 0; map_next(leased->layers, &at, &key);)
		mark_layer(s, key, need);
	for (size_t i = 0; i < s->image_count; i++) {
		struct survey_image *image = &s->images[i];
		if (!map_find(leased->images, str_of(digest_text(&image->record->id, id))))
			continue;
		image->is_leased |= need == NEED_LEASE;
		image->is_newest |= need == NEED_NEWEST;
	}
}

/* What can be had again from its registry, and nobody uses: for those who want all to go. */
static bool is_spare(const struct survey_image *image)
{
	return image->record->origin == IMAGE_PULLED && !image->is_leased;
}

void survey_settle(struct survey *s, bool all)
{
	for (size_t i = 0; i < s->image_count; i++) {
		const struct survey_image *image = &s->images[i];
		const struct image_record *record = image->record;
		bool counts = record->names.count && !(all && is_spare(image));
		for (size_t k = 0; k < record->layers.count; k++)
			mark_layer(s, str_of(record->layers.items[k]),
				counts ? NEED_NAME : NEED_IMAGE);
	}
	for (size_t i = 0; i < s->layer_count; i++) {
		const struct survey_layer *layer = &s->layers[i];
		struct survey_layer *p = layer->parent;
		for (size_t up = 0; p && up < s->layer_count; p = p->parent, up++) {
			p->used = layer->used > p->used ? layer->used : p->used;
			p->created = layer->created > p->created ? layer->created : p->created;
		}
	}
}
