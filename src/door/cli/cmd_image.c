/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "store/store.h"
#include "json/json.h"

/* Every one of these opens the store first. */
static int open_store(
	struct invocation *inv, struct settings *settings, struct store **ret, struct err *err)
{
	int r = invocation_settings(inv, settings, err);
	return r < 0 ? r : store_open(settings, ret, err);
}

static int no_such_image(const char *name, struct err *err)
{
	err_set(err, ERR_MISSING, "no such image: %s", name);
	return err_hint(err, "see what there is: spaceport images");
}

static int print_id(const struct digest *id, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char hex[DIGEST_TEXT_SIZE];

	buf_printf(&text, "%s\n", digest_text(id, hex));
	return print_result(&text, err);
}

/* ---- pull and import ---- */

struct transfer_values {
	struct common_options common;
	unsigned progress;
	const char *tag; /* import */
};

static const struct option_spec pull_options[] = {
	{"progress", 0, OPTION_CHOICE, offsetof(struct transfer_values, progress), "HOW",
		"how to tell what happens", progress_words, COMPLETE_NOTHING},
};

static const struct option_spec import_options[] = {
	{"progress", 0, OPTION_CHOICE, offsetof(struct transfer_values, progress), "HOW",
		"how to tell what happens", progress_words, COMPLETE_NOTHING},
	{"tag", 't', OPTION_TEXT, offsetof(struct transfer_values, tag), "NAME[:TAG]",
		"a name for the image, if there is one in the archive", NULL, COMPLETE_NOTHING},
};

static int start_transfer(struct invocation *inv, struct progress *progress,
	struct store_transfer *ret, struct err *err)
{
	const struct transfer_values *values = inv->values;

	inv->wants_json_story = values->progress == PROGRESS_JSON;
	ret->on_progress = progress_on_transfer;
	ret->arg = progress;
	return interrupt_watch(1, &ret->cancel_fd, err);
}

static int pull_main(struct invocation *inv, struct err *err)
{
	const struct transfer_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(progress_free) struct progress *progress =
		progress_new(values->progress, STDERR_FILENO);
	struct store_transfer transfer = {0};
	struct oci_reference reference;
	struct image_record record = {0};

	int r = oci_reference_parse(&inv->arena, str_of(inv->operands[0]), &reference, err);
	if (r == 0)
		r = open_store(inv, &settings, &store, err);
	if (r == 0)
		r = start_transfer(inv, progress, &transfer, err);
	if (r == 0)
		r = store_pull(store, &inv->arena, &reference, &transfer, &record, err);
	progress_end(progress);
	return r < 0 ? r : print_id(&record.id, err);
}

static int import_main(struct invocation *inv, struct err *err)
{
	const struct transfer_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(progress_free) struct progress *progress =
		progress_new(values->progress, STDERR_FILENO);
	struct store_transfer transfer = {0};
	struct oci_reference reference;
	struct image_archive archive = {.path = inv->operands[0]};
	struct store_imported imported = {0};
	int r = 0;

	progress_set_verb(progress, "import");
	if (values->tag) {
		archive.name = &reference;
		r = oci_reference_parse(&inv->arena, str_of(values->tag), &reference, err);
		if (r < 0)
			return err_wrap(err, "--tag");
	}
	r = open_store(inv, &settings, &store, err);
	if (r == 0)
		r = start_transfer(inv, progress, &transfer, err);
	if (r == 0)
		r = store_import(store, &inv->arena, &archive, &transfer, &imported, err);
	progress_end(progress);
	return r < 0 ? r : print_id(&imported.last.id, err);
}

static const struct cli_command cmd_pull = {
	.name = "pull",
	.summary = "get an image from its registry",
	.operands = "IMAGE",
	.about =
		"Asks the registry (or its mirrors) for IMAGE, fetches the layers that are not here "
		"yet, and prints the image's id.",
	.min_operands = 1,
	.max_operands = 1,
	.completes = COMPLETE_IMAGE,
	.groups = {{"Options", pull_options, array_size(pull_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct transfer_values),
	.run = pull_main,
};

static const struct cli_command cmd_import = {
	.name = "import",
	.summary = "take images out of an archive",
	.operands = "ARCHIVE",
	.about = "Makes the images of an archive images of the store and prints the id of the last "
		 "one: an OCI layout as a directory or a tar file, or what 'docker save' writes.",
	.min_operands = 1,
	.max_operands = 1,
	.completes = COMPLETE_FILE,
	.groups = {{"Options", import_options, array_size(import_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct transfer_values),
	.run = import_main,
};

/* ---- inspect ---- */

static void add_list(struct json_writer *w, const char *key, const struct oci_list *list)
{
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < list->count; i++)
		json_put_text(w, list->items[i]);
	json_end_array(w);
}

/*
 * {"image":{what the store knows},…}: the second part is the image's configuration, byte for
 * byte but for its opening brace.
 */
static void add_inspected(const struct image_record *record, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);
	char id[DIGEST_TEXT_SIZE];

	buf_add_text(ret, "{\"image\":");
	json_begin_object(&w);
	json_add_text(&w, "id", digest_text(&record->id, id));
	add_list(&w, "names", &record->names);
	add_list(&w, "digests", &record->repo_digests);
	json_add_text(&w, "origin", image_origin_name(record->origin));
	json_add_text(&w, "added", record->added);
	add_list(&w, "layers", &record->layers);
	json_add_u64(&w, "size", record->size);
	json_end_object(&w);
	struct str config = str_trim(record->config);
	struct str rest = str_trim_left(str_from_index(config, 1));
	if (!str_starts(rest, STR("}")))
		buf_add_char(ret, ',');
	buf_add_str(ret, rest);
	buf_add_char(ret, '\n');
}

static int inspect_main(struct invocation *inv, struct err *err)
{
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(buf_done) struct buf text = {0};
	struct image_record record = {0};

	int r = open_store(inv, &settings, &store, err);
	if (r == 0)
		r = image_find(
			store_images(store), &inv->arena, str_of(inv->operands[0]), &record, err);
	if (r == IMAGE_E_ABSENT)
		return no_such_image(inv->operands[0], err);
	if (r == 0)
		r = image_names(store_images(store), &inv->arena, &record, err);
	if (r < 0)
		return r;
	record.size = store_image_size(store, &record);
	add_inspected(&record, &text);
	return print_result(&text, err);
}

static const struct cli_command cmd_inspect = {
	.name = "inspect",
	.summary = "print what is known of an image, as JSON",
	.operands = "IMAGE",
	.about = "Prints the configuration of an image (a name, an id or the beginning of one) as "
		 "JSON, and under \"image\" what the store knows of it.",
	.min_operands = 1,
	.max_operands = 1,
	.completes = COMPLETE_IMAGE,
	.groups = {COMMON_GROUP},
	.values_size = sizeof(struct common_options),
	.run = inspect_main,
};

/* ---- rm ---- */

struct rm_values {
	struct common_options common;
	bool force;
};

static const struct option_spec rm_options[] = {
	{"force", 'f', OPTION_FLAG, offsetof(struct rm_values, force), NULL,
		"by id: also an image that has several names", NULL, COMPLETE_NOTHING},
};

static int remove_one(
	struct invocation *inv, struct store *store, const char *name, struct err *err)
{
	const struct rm_values *values = inv->values;
	cleanup(buf_done) struct buf text = {0};
	struct store_removed removed = {0};
	char id[DIGEST_TEXT_SIZE];

	int r = store_remove(store, &inv->arena, str_of(name), values->force, &removed, err);
	if (r == IMAGE_E_ABSENT)
		return no_such_image(name, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < removed.image.names.count; i++)
		buf_printf(&text, "untagged %s\n", removed.image.names.items[i]);
	if (removed.image.record)
		buf_printf(&text, "removed %s\n", digest_text(&removed.image.id, id));
	if (removed.layers)
		buf_printf(&text, "removed %zu layer%s\n", removed.layers,
			removed.layers == 1 ? "" : "s");
	return print_result(&text, err);
}

static int rm_main(struct invocation *inv, struct err *err)
{
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;

	int r = open_store(inv, &settings, &store, err);
	for (size_t i = 0; r == 0 && i < inv->operand_count; i++)
		r = remove_one(inv, store, inv->operands[i], err);
	return r;
}

static const struct cli_command cmd_rm = {
	.name = "rm",
	.summary = "remove images",
	.operands = "IMAGE...",
	.about =
		"Removes names, and with its last name an image and the layers that no other image "
		"needs. By id it removes the image itself.",
	.min_operands = 1,
	.max_operands = 1000,
	.completes = COMPLETE_IMAGE,
	.groups = {{"Options", rm_options, array_size(rm_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct rm_values),
	.run = rm_main,
};

/* ---- image ---- */

static const struct cli_command *const children[] = {&cmd_export, &cmd_import, &cmd_inspect,
	&cmd_pull, &cmd_image_push, &cmd_rm, &cmd_save, NULL};

const struct cli_command cmd_image = {
	.name = "image",
	.summary = "pull, push, export, import, inspect or remove an image",
	.operands = "",
	.about = "Works on single images; 'spaceport images' lists them.",
	.groups = {COMMON_GROUP},
	.values_size = sizeof(struct common_options),
	.children = children,
};
