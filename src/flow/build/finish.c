/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"

/*
 * The image: the target's configuration with the names of its layers. Diff IDs of layers that
 * were made here are not known, since nothing has made archives of them; the names take
 * their place in the configuration, so that the image's id changes with what is in it.
 */

static void list_layers(struct build *b, const struct build_stage *stage, struct oci_list *ret)
{
	*ret = (struct oci_list){0};
	for (size_t i = 0; i < stage->chain_len; i++)
		oci_list_add(&b->arena, ret, str_of(stage->chain[i].hex));
}

static int has_name(struct build *b, const char *tag, const struct digest *id, struct err *err)
{
	struct image_record named;
	int r = image_find(b->images, &b->arena, str_of(tag), &named, err);

	if (r < 0)
		return r;
	return r == 0 && digest_eq(&named.id, id);
}

/* Is the image there under all its names? 1 or 0, < 0 on error. */
static int is_saved(struct build *b, const struct digest *id, struct err *err)
{
	struct image_record record;
	int r = image_find(b->images, &b->arena, str_of(b->image_id), &record, err);

	if (r < 0)
		return r;
	bool there = r == 0;
	for (size_t i = 0; i < b->options->tags.count && there; i++) {
		r = has_name(b, b->options->tags.items[i], id, err);
		if (r < 0)
			return r;
		there = r == 1;
	}
	return there;
}

static int save_names(struct build *b, const struct digest *id, struct err *err)
{
	for (size_t i = 0; i < b->options->tags.count; i++) {
		struct oci_reference name;
		int r = oci_reference_parse(
			&b->arena, str_of(b->options->tags.items[i]), &name, err);
		if (r == 0)
			r = image_tag(b->images, &name, id, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int build_finish(struct build *b, struct err *err)
{
	struct build_stage *target = &b->stages[b->plan.target];
	struct oci_config config = target->plan->config;
	struct image_record record = {.origin = IMAGE_BUILT};
	cleanup(buf_done) struct buf json = {0};

	list_layers(b, target, &record.layers);
	config.layers = record.layers;
	config.platform = oci_platform_host();
	oci_config_print(&config, &json);
	struct digest id = digest_of(json.data, json.len);
	digest_text(&id, b->image_id);
	int r = store_lease_image(b->lease, &id, err);
	if (r == 0)
		r = is_saved(b, &id, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!b->channel)
		return BUILD_E_UNSAVED;
	record.config = buf_str(&json);
	r = image_save(b->images, &record, err);
	return r < 0 ? r : save_names(b, &id, err);
}
