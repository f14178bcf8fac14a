/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "store/store.h"

struct export_values {
	struct common_options common;
	unsigned compression, format, progress;
	const char *output;
};

static const char *const compression_words[] = {"none", "gzip", "zstd", NULL};
static const enum oci_media forms[] = {
	OCI_MEDIA_LAYER_TAR, OCI_MEDIA_LAYER_GZIP, OCI_MEDIA_LAYER_ZSTD};

static const char *const format_words[] = {"docker", "oci", NULL};
static const enum image_export_format formats[] = {IMAGE_EXPORT_DOCKER, IMAGE_EXPORT_OCI};

static const struct option_spec options[] = {
	{"compression", 0, OPTION_CHOICE, offsetof(struct export_values, compression), "HOW",
		"how to compress the layers", compression_words, COMPLETE_NOTHING},
	{"format", 0, OPTION_CHOICE, offsetof(struct export_values, format), "FORMAT",
		"docker: for 'docker load' and readers of OCI layouts; oci: for the latter alone",
		format_words, COMPLETE_NOTHING},
	{"output", 'o', OPTION_TEXT, offsetof(struct export_values, output), "FILE",
		"write to FILE instead of standard output ('-')", NULL, COMPLETE_FILE},
	{"progress", 0, OPTION_CHOICE, offsetof(struct export_values, progress), "HOW",
		"how to tell what happens", progress_words, COMPLETE_NOTHING},
};

static const char *output_path(const struct export_values *values)
{
	return values->output && strcmp(values->output, "-") != 0 ? values->output : NULL;
}

static int print_manifests(const struct store_exported *exported, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char digest[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < exported->count; i++)
		buf_printf(&text, "%s\n", digest_text(&exported->manifests[i], digest));
	return print_result(&text, err);
}

static int export_images(struct invocation *inv, struct store *store, struct progress *progress,
	struct store_exported *ret, struct err *err)
{
	const struct export_values *values = inv->values;
	const struct store_export export = {.names = inv->operands,
		.name_count = inv->operand_count,
		.path = output_path(values),
		.fd = STDOUT_FILENO,
		.format = formats[values->format],
		.form = forms[values->compression]};
	struct store_transfer transfer = {.on_progress = progress_on_transfer, .arg = progress};

	int r = interrupt_watch(1, &transfer.cancel_fd, err);
	return r < 0 ? r : store_export(store, &inv->arena, &export, &transfer, ret, err);
}

static int export_main(struct invocation *inv, struct err *err)
{
	const struct export_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(progress_free) struct progress *progress =
		progress_new(values->progress, STDERR_FILENO);
	struct store_exported exported = {0};

	inv->wants_json_story = values->progress == PROGRESS_JSON;
	progress_set_verb(progress, "export");
	if (!output_path(values) && isatty(STDOUT_FILENO)) {
		(void)err_set(err, ERR_INPUT, "an archive is not written to a terminal");
		return err_hint(err, "give it a file with --output, or redirect standard output");
	}
	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = store_open(&settings, &store, err);
	if (r == 0)
		r = export_images(inv, store, progress, &exported, err);
	progress_end(progress);
	/* Standard output is the archive, otherwise. */
	return r == 0 && output_path(values) ? print_manifests(&exported, err) : r;
}

#define EXPORT_COMMAND \
	.summary = "write images into an archive", .operands = "IMAGE...", \
	.about = "Writes images as one tar archive that 'docker load', 'podman load', 'skopeo' " \
		 "and 'spaceport image import' take: to FILE, which is there when it is whole, " \
		 "or to standard output. With FILE it prints the digests of the manifests.", \
	.min_operands = 1, .max_operands = 1000, .completes = COMPLETE_IMAGE, \
	.groups = {{"Options", options, array_size(options), 0}, COMMON_GROUP}, \
	.values_size = sizeof(struct export_values), .run = export_main

const struct cli_command cmd_export = {.name = "export", EXPORT_COMMAND};
/* What docker calls it. */
const struct cli_command cmd_save = {.name = "save", .is_hidden = true, EXPORT_COMMAND};
