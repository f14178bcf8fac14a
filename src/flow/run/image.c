/* SPDX-License-Identifier: Apache-2.0 */
#include "run/box.h"

static int find_layers(struct layer_store *layers, struct arena *a, const char *id,
	const struct oci_list *names, struct layer_chain *ret, struct err *err)
{
	struct layer_key *keys = arena_array(a, names->count, sizeof(*keys));
	struct layer_key absent;

	for (size_t i = 0; i < names->count; i++)
		if (!layer_key_parse(str_of(names->items[i]), &keys[i]))
			return err_set(
				err, ERR_BUG, "image %s: %s is no layer", id, names->items[i]);
	*ret = (struct layer_chain){keys, names->count};
	if (layer_has_chain(layers, *ret, &absent))
		return 0;
	(void)err_set(err, ERR_MISSING, "layer %.12s of the image is gone", absent.hex);
	return err_hint(err, "build or pull the image again");
}

int run_image_find(struct layer_store *layers, struct image_store *images, struct arena *a,
	const char *id, struct run_image *ret, struct err *err)
{
	struct image_record record;

	int r = image_find(images, a, str_of(id), &record, err);
	if (r == IMAGE_E_ABSENT)
		return err_set(err, ERR_MISSING, "no image %s", id);
	if (r == 0)
		r = oci_config_parse(a, record.config, &ret->config, err);
	if (r < 0)
		return err_wrap(err, "image %s", id);
	if (ret->config.entrypoint.count + ret->config.cmd.count == 0) {
		(void)err_set(err, ERR_FAILED, "the image says of no program that it is to be run");
		return err_hint(err, "CMD or ENTRYPOINT in the Dockerfile");
	}
	return find_layers(layers, a, id, &record.layers, &ret->chain, err);
}
