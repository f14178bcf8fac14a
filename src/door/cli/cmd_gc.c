/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/number.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "store/store.h"
#include "json/json.h"

struct gc_values {
	struct common_options common;
	bool all;
	bool dry_run;
	bool json;
	const char *keep;
	int64_t until;
};

static const struct option_spec own_options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct gc_values, all), NULL,
		"also pulled images that nothing runs, what the newest builds use, and caches",
		NULL, COMPLETE_NOTHING},
	{"dry-run", 0, OPTION_FLAG, offsetof(struct gc_values, dry_run), NULL,
		"tell what would be removed, remove nothing", NULL, COMPLETE_NOTHING},
	{"json", 0, OPTION_FLAG, offsetof(struct gc_values, json), NULL, "print JSON", NULL,
		COMPLETE_NOTHING},
	{"keep-storage", 0, OPTION_TEXT, offsetof(struct gc_values, keep), "SIZE",
		"so much of the build cache is kept, the most recently used first", NULL,
		COMPLETE_NOTHING},
	{"until", 0, OPTION_DURATION, offsetof(struct gc_values, until), "TIME",
		"only what was not used for so long", NULL, COMPLETE_NOTHING},
};

/* What was removed, on its way into text or JSON. */
struct story {
	bool is_json, dry_run;
	int last_kind; /* whose title was printed last; -1: none */
	struct buf text;
	struct json_writer json;
};

static const struct {
	const char *word, *title;
} kinds[] = {
	[STORE_IMAGE] = {"image", "images"},
	[STORE_LAYER] = {"layer", "build cache"},
	[STORE_CACHE] = {"cache", "caches"},
	[STORE_DOWNLOAD] = {"download", "downloads"},
};

static void add_json(struct story *s, const struct store_item *item)
{
	json_begin_object(&s->json);
	json_add_text(&s->json, "kind", kinds[item->kind].word);
	json_add_text(&s->json, "name", item->name);
	json_add_u64(&s->json, "bytes", item->bytes);
	json_add_i64(&s->json, "used", item->used);
	json_end_object(&s->json);
}

static void on_item(void *arg, const struct store_item *item)
{
	struct story *s = arg;
	char size[32];

	if (s->is_json) {
		add_json(s, item);
		return;
	}
	if (s->last_kind != (int)item->kind)
		buf_printf(&s->text, "%s%s %s:\n", s->text.len ? "\n" : "",
			s->dry_run ? "Would delete" : "Deleted", kinds[item->kind].title);
	s->last_kind = (int)item->kind;
	/* An image is a record; its layers have the bytes. */
	if (item->kind == STORE_IMAGE)
		buf_printf(&s->text, "%s\n", item->name);
	else
		buf_printf(&s->text, "%s  %s\n", item->name, print_size(size, item->bytes));
}

static void finish(struct story *s, const struct store_collected *collected)
{
	char size[32];

	if (s->is_json) {
		json_end_array(&s->json);
		json_add_bool(&s->json, "dry_run", s->dry_run);
		json_add_u64(&s->json, "reclaimed", collected->bytes);
		json_end_object(&s->json);
		json_line(&s->json);
		return;
	}
	buf_printf(&s->text, "%s%s: %s\n", s->text.len ? "\n" : "",
		s->dry_run ? "Total reclaimable space" : "Total reclaimed space",
		print_size(size, collected->bytes));
}

static int collect(
	struct invocation *inv, struct store *store, struct store_gc *gc, struct err *err)
{
	const struct gc_values *values = inv->values;
	struct story story = {.is_json = values->json, .dry_run = values->dry_run, .last_kind = -1};
	struct store_collected collected = {0};

	story.json = json_writer_to(&story.text);
	if (values->json) {
		json_begin_object(&story.json);
		json_key(&story.json, "deleted");
		json_begin_array(&story.json);
	}
	gc->on_item = on_item;
	gc->arg = &story;
	int r = store_collect(store, gc, &collected, err);
	if (r == 0) {
		finish(&story, &collected);
		r = print_result(&story.text, err);
	}
	buf_done(&story.text);
	gc->arg = NULL;
	return r;
}

static int gc_main(struct invocation *inv, struct err *err)
{
	const struct gc_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	struct store_gc gc = {.all = values->all,
		.dry_run = values->dry_run,
		.until = values->until / 1000000000,
		.has_keep = values->keep != NULL,
		.cancel_fd = -1};

	if (values->keep && !parse_size(str_of(values->keep), &gc.keep)) {
		(void)err_set(err, ERR_INPUT, "--keep-storage: \"%s\" is not a size", values->keep);
		return err_hint(err, "write a number with its unit: 512MiB, 20GiB");
	}
	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = store_open(&settings, &store, err);
	if (r == 0)
		r = interrupt_watch(1, &gc.cancel_fd, err);
	if (r == 0 && !gc.dry_run)
		r = run_sweep(&settings, gc.all ? 0 : KEPT_RUNS, err);
	return r < 0 ? r : collect(inv, store, &gc, err);
}

const struct cli_command cmd_gc = {
	.name = "gc",
	.summary = "remove what nothing needs any more",
	.operands = "",
	.about = "Removes images without a name, the build cache that neither an image with a name "
		 "nor the newest build of a folder uses, caches beyond their budget, interrupted "
		 "downloads, and what killed processes left. What running builds and Spaces use "
		 "stays. Prints what went and how much space that gave back.",
	.groups = {{"Options", own_options, array_size(own_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct gc_values),
	.run = gc_main,
};
