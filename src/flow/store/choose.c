/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers, images and caches go. */
#include <stdlib.h>

#include "store/survey.h"

/* ---- Layers ---- */

static bool may_go(const struct survey_layer *layer, const struct choice *c)
{
	unsigned needs = NEED_LEASE | NEED_NAME | (c->all ? 0 : NEED_NEWEST);

	return !(layer->needs & needs) && layer->used <= c->now - c->until &&
	       layer->created <= c->now - c->fresh;
}

/* A layer is never older than what was made on it: the deeper one goes first. */
static int oldest_first(const void *a, const void *b)
{
	const struct survey_layer *x = *(struct survey_layer *const *)a,
				  *y = *(struct survey_layer *const *)b;

	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	return (y->depth > x->depth) - (y->depth < x->depth);
}

/* The ledger of everything; *ret_left is what it holds of layers that no named image needs. */
static struct ledger *open_ledger(const struct survey *s, uint64_t *ret_left)
{
	struct ledger *l = ledger_new();

	for (size_t i = 0; i < s->cache_count; i++)
		(void)ledger_add(l, &s->caches[i].weight);
	for (size_t i = 0; i < s->layer_count; i++)
		if (s->layers[i].needs & NEED_NAME)
			(void)ledger_add(l, &s->layers[i].weight);
	*ret_left = 0;
	for (size_t i = 0; i < s->layer_count; i++)
		if (!(s->layers[i].needs & NEED_NAME))
			*ret_left += ledger_add(l, &s->layers[i].weight);
	return l;
}

static void choose_layers(struct survey *s, const struct choice *c, struct ledger *l, uint64_t left,
	struct survey_layer **order, size_t *ret_count)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < s->layer_count; i++)
		if (may_go(&s->layers[i], c))
			order[count++] = &s->layers[i];
	if (count)
		qsort(order, count, sizeof(struct survey_layer *), oldest_first);
	while (kept < count && (left > c->keep || c->keep == 0)) {
		struct survey_layer *layer = order[kept++];
		layer->is_chosen = true;
		layer->gain = ledger_remove(l, &layer->weight);
		left -= layer->gain < left ? layer->gain : left;
	}
	*ret_count = kept;
}

/* ---- Images ---- */

static bool loses_a_layer(const struct survey *s, const struct survey_image *image)
{
	const struct oci_list *layers = &image->record->layers;

	for (size_t i = 0; i < layers->count; i++) {
		const struct survey_layer *layer = map_find(s->by_key, str_of(layers->items[i]));
		if (layer && layer->is_chosen)
			return true;
	}
	return false;
}

static bool image_goes(
	const struct survey *s, const struct survey_image *image, const struct choice *c)
{
	if (loses_a_layer(s, image))
		return true;
	if (image->is_leased || !c->images_too || (image->is_newest && !c->all) ||
		image->used > c->now - c->until)
		return false;
	return image->record->names.count == 0 || (c->all && image->record->origin == IMAGE_PULLED);
}

/* ---- Caches ---- */

static int oldest_cache_first(const void *a, const void *b)
{
	const struct survey_cache *x = *(struct survey_cache *const *)a,
				  *y = *(struct survey_cache *const *)b;

	return (x->info.used > y->info.used) - (x->info.used < y->info.used);
}

static void choose_caches(struct survey *s, const struct choice *c, struct ledger *l)
{
	struct survey_cache **order =
		arena_array(&s->arena, s->cache_count + 1, sizeof(struct survey_cache *));
	uint64_t left = 0;

	for (size_t i = 0; i < s->cache_count; i++) {
		order[i] = &s->caches[i];
		left += s->caches[i].weight.disk;
	}
	if (s->cache_count)
		qsort(order, s->cache_count, sizeof(struct survey_cache *), oldest_cache_first);
	for (size_t i = 0; i < s->cache_count && (left > c->keep_caches || c->all); i++) {
		if (order[i]->info.is_busy || order[i]->info.used > c->now - c->until)
			continue;
		order[i]->is_chosen = true;
		order[i]->gain = ledger_remove(l, &order[i]->weight);
		left -= order[i]->weight.disk;
	}
}

void survey_choose(struct survey *s, const struct choice *choice, struct survey_layer ***ret_order,
	size_t *ret_count)
{
	uint64_t left;
	cleanup(ledger_free) struct ledger *l = open_ledger(s, &left);

	*ret_order = arena_array(&s->arena, s->layer_count + 1, sizeof(struct survey_layer *));
	choose_layers(s, choice, l, left, *ret_order, ret_count);
	for (size_t i = 0; i < s->image_count; i++)
		s->images[i].is_chosen = image_goes(s, &s->images[i], choice);
	choose_caches(s, choice, l);
}
