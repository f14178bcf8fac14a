/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/number.h"
#include "cli/columns.h"
#include "cli/commands.h"
#include "store/store.h"
#include "json/json.h"

struct images_values {
	struct common_options common;
	bool json;
	bool quiet;
};

static const struct option_spec own_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct images_values, json), NULL, "print JSON", NULL,
		COMPLETE_NOTHING},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct images_values, quiet), NULL,
		"print names only, and ids of images that have none", NULL, COMPLETE_NOTHING},
};

/* "docker.io/library/python:3.13-slim" as people write it: "python:3.13-slim". */
static const char *short_name(struct arena *a, const char *name)
{
	struct oci_reference reference;

	if (oci_reference_parse(a, str_of(name), &reference, NULL) < 0)
		return name;
	return reference.short_text;
}

static void add_row(
	struct columns *t, struct arena *a, const struct image_record *image, const char *name)
{
	cleanup(buf_done) struct buf age = {0};
	char hex[DIGEST_HEX_SIZE], size[32];

	columns_add_text(t, name ? short_name(a, name) : "-");
	columns_add(t, str_slice(str_of(digest_hex(&image->id, hex)), 0, 12));
	columns_add_text(t, image_origin_name(image->origin));
	age_print(&age, image->added, time(NULL));
	columns_add(t, buf_str(&age));
	columns_add_text(t, image->size > 0 ? print_size(size, image->size) : "-");
}

static void print_table(
	struct invocation *inv, const struct image_record *images, size_t count, struct buf *ret)
{
	static const char *const head[] = {"NAME", "ID", "ORIGIN", "ADDED", "SIZE", NULL};
	cleanup(columns_done) struct columns t;

	columns_init(&t, head);
	for (size_t i = 0; i < count; i++) {
		if (images[i].names.count == 0)
			add_row(&t, &inv->arena, &images[i], NULL);
		for (size_t k = 0; k < images[i].names.count; k++)
			add_row(&t, &inv->arena, &images[i], images[i].names.items[k]);
	}
	columns_print(&t, &inv->out, ret);
}

static void print_names(
	struct invocation *inv, const struct image_record *images, size_t count, struct buf *ret)
{
	char text[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < count; i++) {
		if (images[i].names.count == 0)
			buf_printf(ret, "%s\n", digest_text(&images[i].id, text));
		for (size_t k = 0; k < images[i].names.count; k++)
			buf_printf(ret, "%s\n", short_name(&inv->arena, images[i].names.items[k]));
	}
}

static void print_json(const struct image_record *images, size_t count, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);
	char text[DIGEST_TEXT_SIZE];

	json_begin_array(&w);
	for (size_t i = 0; i < count; i++) {
		json_begin_object(&w);
		json_add_text(&w, "id", digest_text(&images[i].id, text));
		json_key(&w, "names");
		json_begin_array(&w);
		for (size_t k = 0; k < images[i].names.count; k++)
			json_put_text(&w, images[i].names.items[k]);
		json_end_array(&w);
		json_add_text(&w, "origin", image_origin_name(images[i].origin));
		json_add_text(&w, "added", images[i].added);
		json_add_u64(&w, "layers", images[i].layers.count);
		json_add_u64(&w, "size", images[i].size);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_line(&w);
}

static int images_main(struct invocation *inv, struct err *err)
{
	const struct images_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(buf_done) struct buf text = {0};
	struct image_record *images = NULL;
	size_t count = 0;

	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = store_open(&settings, &store, err);
	if (r == 0)
		r = image_list(store_images(store), &inv->arena, &images, &count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		images[i].size = store_image_size(store, &images[i]);
	if (values->json)
		print_json(images, count, &text);
	else if (values->quiet)
		print_names(inv, images, count, &text);
	else
		print_table(inv, images, count, &text);
	return print_result(&text, err);
}

const struct cli_command cmd_images = {
	.name = "images",
	.summary = "list the images that are here",
	.operands = "",
	.about = "Lists the images of the store, newest first: pulled, built and imported ones.",
	.groups = {{"Options", own_options, array_size(own_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct images_values),
	.run = images_main,
};
