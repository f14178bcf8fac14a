/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "store/store.h"
#include "json/json.h"

struct push_values {
	struct common_options common;
	unsigned compression;
	bool json;
	unsigned progress;
	bool quiet;
};

static const char *const compression_words[] = {"gzip", "zstd", NULL};
static const enum oci_media compression_forms[] = {OCI_MEDIA_LAYER_GZIP, OCI_MEDIA_LAYER_ZSTD};

static const struct option_spec push_options[] = {
	{"compression", 0, OPTION_CHOICE, offsetof(struct push_values, compression), "FORM",
		"of layers that are uploaded", compression_words, COMPLETE_NOTHING},
	{"json", 0, OPTION_FLAG, offsetof(struct push_values, json), NULL,
		"print what was pushed as JSON", NULL, COMPLETE_NOTHING},
	{"progress", 0, OPTION_CHOICE, offsetof(struct push_values, progress), "HOW",
		"how to tell what happens", progress_words, COMPLETE_NOTHING},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct push_values, quiet), NULL,
		"tell nothing, and print the digest only", NULL, COMPLETE_NOTHING},
};

static const char *how_word(enum image_phase how)
{
	return how == IMAGE_DONE ? "uploaded" : image_phase_name(how);
}

static void print_json(
	const struct oci_reference *to, const struct image_pushed *pushed, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);
	char text[DIGEST_TEXT_SIZE];

	json_begin_object(&w);
	json_add_text(&w, "reference", to->text);
	json_add_text(&w, "digest", digest_text(&pushed->digest, text));
	json_add_u64(&w, "size", pushed->size);
	json_add_text(&w, "mediaType", oci_media_type(OCI_MEDIA_MANIFEST));
	json_add_text(&w, "config", digest_text(&pushed->config, text));
	json_key(&w, "layers");
	json_begin_array(&w);
	for (size_t i = 0; i < pushed->layer_count; i++) {
		const struct image_pushed_layer *layer = &pushed->layers[i];
		json_begin_object(&w);
		json_add_text(&w, "digest", digest_text(&layer->digest, text));
		json_add_u64(&w, "size", layer->size);
		json_add_text(&w, "mediaType", oci_media_type(layer->media));
		json_add_text(&w, "diffId", digest_text(&layer->diff_id, text));
		json_add_text(&w, "how", how_word(layer->how));
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
	json_line(&w);
}

/* "latest: digest: sha256:… size: 528", as docker says it. */
static int print_pushed(const struct push_values *values, const struct oci_reference *to,
	const struct image_pushed *pushed, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char digest[DIGEST_TEXT_SIZE];

	(void)digest_text(&pushed->digest, digest);
	if (values->json)
		print_json(to, pushed, &text);
	else if (values->quiet)
		buf_printf(&text, "%s\n", digest);
	else
		buf_printf(&text, "%s: digest: %s size: %llu\n", to->tag, digest,
			(unsigned long long)pushed->size);
	return print_result(&text, err);
}

static int no_such_image(const char *name, struct err *err)
{
	err_set(err, ERR_MISSING, "no such image: %s", name);
	return err_hint(err, "see what there is: spaceport images");
}

static int push_image(struct invocation *inv, struct progress *progress,
	const struct oci_reference *to, struct image_pushed *ret, struct err *err)
{
	const struct push_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	struct store_transfer transfer = {
		.on_progress = values->quiet ? NULL : progress_on_transfer, .arg = progress};
	const struct store_push push = {.image = inv->operands[0],
		.to = to,
		.form = compression_forms[values->compression]};

	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = store_open(&settings, &store, err);
	if (r == 0)
		r = interrupt_watch(1, &transfer.cancel_fd, err);
	if (r == 0)
		r = store_push(store, &inv->arena, &push, &transfer, ret, err);
	progress_end(progress);
	return r == IMAGE_E_ABSENT ? no_such_image(push.image, err) : r;
}

static int push_main(struct invocation *inv, struct err *err)
{
	const struct push_values *values = inv->values;
	const char *where = inv->operands[inv->operand_count - 1];
	cleanup(progress_free) struct progress *progress =
		progress_new(values->progress, STDERR_FILENO);
	struct oci_reference to;
	struct image_pushed pushed = {0};

	inv->wants_json_story = values->progress == PROGRESS_JSON;
	progress_set_verb(progress, "push");
	int r = oci_reference_parse(&inv->arena, str_of(where), &to, err);
	if (r == 0)
		r = push_image(inv, progress, &to, &pushed, err);
	return r < 0 ? r : print_pushed(values, &to, &pushed, err);
}

const struct cli_command cmd_image_push = {
	.name = "push",
	.summary = "bring an image to a registry",
	.operands = "IMAGE [DESTINATION]",
	.about =
		"Uploads what the registry does not have yet and prints the digest under which the "
		"image is there. Without DESTINATION, IMAGE is the name there as well. Mirrors are "
		"never pushed to.",
	.min_operands = 1,
	.max_operands = 2,
	.completes = COMPLETE_IMAGE,
	.groups = {{"Options", push_options, array_size(push_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct push_values),
	.run = push_main,
};
