/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digesting.h"
#include "image/internal.h"

/* ---- Layers ---- */

struct passing {
	struct digesting *digesting;
	const struct image_writer *to;
	uint64_t size;
};

static int pass(void *arg, struct str piece, struct err *err)
{
	struct passing *p = arg;

	p->size += piece.n;
	digesting_add(p->digesting, piece);
	return p->to ? p->to->write(p->to->arg, piece, err) : 0;
}

int image_layer_pack(const struct image_layer_source *source, const struct image_record *record,
	size_t layer, const struct image_writer *to, struct image_layer_facts *ret, struct err *err)
{
	cleanup(digesting_free) struct digesting *digesting = NULL;
	int r = digesting_start(&digesting, err);

	if (r < 0)
		return r;
	struct passing passing = {.digesting = digesting, .to = to};
	const struct image_writer writer = {pass, &passing};
	r = source->pack(source->arg, record, layer, &writer, err);
	if (r != 0)
		return r;
	*ret = (struct image_layer_facts){digesting_finish(digesting), passing.size};
	return source->remember(source->arg, record, layer, ret, err);
}

int image_layer_facts_get(const struct image_layer_source *source,
	const struct image_record *record, size_t layer, struct image_layer_facts *ret,
	struct err *err)
{
	int r = source->facts(source->arg, record, layer, ret, err);

	return r == IMAGE_E_ABSENT ? image_layer_pack(source, record, layer, NULL, ret, err) : r;
}

/* ---- Configuration ---- */

static struct oci_list diff_ids_of(
	struct arena *a, const struct image_layer_facts *facts, size_t count)
{
	struct oci_list ids = {0};
	char text[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < count; i++)
		oci_list_add(a, &ids, str_of(digest_text(&facts[i].diff_id, text)));
	return ids;
}

static bool says_already(const struct oci_config *config, const struct oci_list *diff_ids)
{
	if (config->layers.count || config->diff_ids.count != diff_ids->count)
		return false;
	for (size_t i = 0; i < diff_ids->count; i++)
		if (strcmp(config->diff_ids.items[i], diff_ids->items[i]) != 0)
			return false;
	return true;
}

int image_outgoing_config(struct arena *a, const struct image_record *record,
	const struct image_layer_facts *facts, struct str *ret, struct err *err)
{
	struct oci_config config;
	cleanup(buf_done) struct buf text = {0};
	struct oci_list diff_ids = diff_ids_of(a, facts, record->layers.count);
	int r = oci_config_parse(a, record->config, &config, err);

	if (r < 0)
		return r;
	if (says_already(&config, &diff_ids)) {
		*ret = record->config;
		return 0;
	}
	config.layers = (struct oci_list){0};
	config.diff_ids = diff_ids;
	oci_config_print(&config, &text);
	*ret = arena_str(a, buf_str(&text));
	return 0;
}
