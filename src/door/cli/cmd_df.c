/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/number.h"
#include "cli/columns.h"
#include "cli/commands.h"
#include "store/store.h"
#include "json/json.h"

struct df_values {
	struct common_options common;
	bool json;
};

static const struct option_spec own_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct df_values, json), NULL, "print JSON", NULL,
		COMPLETE_NOTHING},
};

static const struct {
	const char *title, *word;
} uses[STORE_USE_COUNT] = {
	[STORE_USE_IMAGES] = {"Images", "images"},
	[STORE_USE_BUILD_CACHE] = {"Build cache", "build_cache"},
	[STORE_USE_CACHE_MOUNTS] = {"Cache mounts", "cache_mounts"},
	[STORE_USE_TOOL_CACHES] = {"Tool caches", "tool_caches"},
	[STORE_USE_RUNNING] = {"Running", "running"},
	[STORE_USE_DOWNLOADS] = {"Downloads", "downloads"},
	[STORE_USE_CONTEXTS] = {"Contexts", "contexts"},
	[STORE_USE_TRASH] = {"Trash", "trash"},
	[STORE_USE_OTHER] = {"Other", "other"},
};

static uint64_t total_of(const struct store_usage *usage)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < STORE_USE_COUNT; i++)
		bytes += usage->totals[i].bytes;
	return bytes;
}

/* ---- Text ---- */

static void add_number(struct columns *t, size_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", n);
	columns_add_text(t, text);
}

static void add_reclaimable(struct columns *t, const struct store_use_total *total)
{
	char size[32], text[64];
	uint64_t percent = total->bytes ? total->reclaimable * 100 / total->bytes : 0;

	snprintf(text, sizeof(text), "%s (%u%%)", print_size(size, total->reclaimable),
		(unsigned)percent);
	columns_add_text(t, total->bytes ? text : print_size(size, 0));
}

static void print_totals(struct invocation *inv, const struct store_usage *usage, struct buf *ret)
{
	static const char *const head[] = {"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE", NULL};
	cleanup(columns_done) struct columns t;
	char size[32];

	columns_init(&t, head);
	for (size_t i = 0; i < STORE_USE_COUNT; i++) {
		const struct store_use_total *total = &usage->totals[i];
		columns_add_text(&t, uses[i].title);
		add_number(&t, total->count);
		add_number(&t, total->active);
		columns_add_text(&t, print_size(size, total->bytes));
		add_reclaimable(&t, total);
	}
	columns_add_text(&t, "Total");
	columns_add_text(&t, "");
	columns_add_text(&t, "");
	columns_add_text(&t, print_size(size, total_of(usage)));
	columns_add_text(&t, "");
	columns_print(&t, &inv->out, ret);
}

static void add_age(struct columns *t, int64_t used)
{
	cleanup(buf_done) struct buf age = {0};
	time_t when = used;
	struct tm tm;
	char iso[32] = "";

	if (used && gmtime_r(&when, &tm))
		(void)strftime(iso, sizeof(iso), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
	age_print(&age, iso, time(NULL));
	columns_add_text(t, used ? buf_text(&age) : "-");
}

/* Layers by the first digits of their keys; what else there is, by its short name. */
static const char *name_of(struct arena *a, const struct store_use_row *row)
{
	struct oci_reference reference;

	if (row->use == STORE_USE_BUILD_CACHE)
		return arena_printf(a, "%.12s", row->name);
	if (row->use == STORE_USE_IMAGES && str_starts(str_of(row->name), STR("sha256:")))
		return arena_printf(a, "%.19s", row->name);
	if (row->use == STORE_USE_IMAGES &&
		oci_reference_parse(a, str_of(row->name), &reference, NULL) == 0)
		return reference.short_text;
	return row->name;
}

static void print_rows(struct invocation *inv, const struct store_usage *usage, enum store_use use,
	struct buf *ret)
{
	static const char *const head[] = {
		"NAME", "USED", "SIZE", "SHARED", "UNIQUE", "ACTIVE", NULL};
	cleanup(columns_done) struct columns t;
	char size[32];
	size_t n = 0;

	columns_init(&t, head);
	for (size_t i = 0; i < usage->row_count; i++) {
		const struct store_use_row *row = &usage->rows[i];
		if (row->use != use)
			continue;
		n++;
		columns_add_text(&t, name_of(&inv->arena, row));
		add_age(&t, row->used);
		columns_add_text(&t, print_size(size, row->bytes));
		columns_add_text(&t, print_size(size, row->shared));
		columns_add_text(&t, print_size(size, row->bytes - row->shared));
		columns_add_text(&t, row->is_active ? "yes" : "-");
	}
	if (!n)
		return;
	buf_printf(ret, "\n%s:\n", uses[use].title);
	columns_print(&t, &inv->out, ret);
}

/* ---- JSON ---- */

static void add_total(struct json_writer *w, const struct store_use_total *total)
{
	json_begin_object(w);
	json_add_u64(w, "total", total->count);
	json_add_u64(w, "active", total->active);
	json_add_u64(w, "size", total->bytes);
	json_add_u64(w, "reclaimable", total->reclaimable);
	json_end_object(w);
}

static void add_row(struct json_writer *w, const struct store_use_row *row)
{
	json_begin_object(w);
	json_add_text(w, "type", uses[row->use].word);
	json_add_text(w, "name", row->name);
	json_add_u64(w, "size", row->bytes);
	json_add_u64(w, "shared", row->shared);
	json_add_i64(w, "used", row->used);
	json_add_bool(w, "active", row->is_active);
	json_end_object(w);
}

static void print_json(const struct store_usage *usage, bool details, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	for (size_t i = 0; i < STORE_USE_COUNT; i++) {
		json_key(&w, uses[i].word);
		add_total(&w, &usage->totals[i]);
	}
	json_add_u64(&w, "size", total_of(usage));
	if (details) {
		json_key(&w, "details");
		json_begin_array(&w);
		for (size_t i = 0; i < usage->row_count; i++)
			add_row(&w, &usage->rows[i]);
		json_end_array(&w);
	}
	json_end_object(&w);
	json_line(&w);
}

static int df_main(struct invocation *inv, struct err *err)
{
	const struct df_values *values = inv->values;
	struct settings settings = {0};
	cleanup(store_free) struct store *store = NULL;
	cleanup(buf_done) struct buf text = {0};
	struct store_usage usage = {0};

	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = store_open(&settings, &store, err);
	if (r == 0)
		r = store_usage(store, &inv->arena, &usage, err);
	if (r < 0)
		return r;
	if (values->json) {
		print_json(&usage, values->common.verbose, &text);
		return print_result(&text, err);
	}
	print_totals(inv, &usage, &text);
	for (int use = 0; use < STORE_USE_COUNT && values->common.verbose; use++)
		print_rows(inv, &usage, (enum store_use)use, &text);
	return print_result(&text, err);
}

const struct cli_command cmd_df = {
	.name = "df",
	.summary = "tell what the store takes of the disk",
	.operands = "",
	.about =
		"Tells by what the disk is used, and how much 'spaceport gc' would give back. A "
		"file that several layers and caches have counts once. With --verbose each image, layer of "
		"the build cache and cache is told, too.",
	.groups = {{"Options", own_options, array_size(own_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct df_values),
	.run = df_main,
};
