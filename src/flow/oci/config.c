/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "oci/oci.h"
#include "json/json.h"

enum {
	CONFIG_MAX_BYTES = 8 << 20,
	MAX_DIFF_IDS = 512, /* more than overlayfs can stack */
};

/* ---- Reading ---- */

/* A list that is there and has nothing in it. */
static struct oci_list empty_list(struct arena *a)
{
	struct oci_list list = {0};

	oci_list_add(a, &list, STR(""));
	list.items[--list.count] = NULL;
	return list;
}

/* An array of strings. Absent and null leave the list absent, an empty array makes it empty. */
static int parse_list(struct arena *a, const struct json *object, const char *key,
	struct oci_list *ret, struct err *err)
{
	const struct json *list = NULL;
	int r = json_opt_array(object, key, &list, err);

	if (r < 0 || !list)
		return r;
	*ret = empty_list(a);
	for (size_t i = 0; i < json_count(list); i++) {
		const struct json *item = json_item(list, i);
		r = json_expect(item, JSON_KIND_STRING, err);
		if (r < 0)
			return r;
		oci_list_add(a, ret, str_of(json_text(item)));
	}
	return 0;
}

/* The keys of an object: how the format writes sets. */
static int parse_set(struct arena *a, const struct json *object, const char *key,
	struct oci_list *ret, struct err *err)
{
	const struct json *set = NULL;
	int r = json_opt_object(object, key, &set, err);

	for (size_t i = 0; r == 0 && i < json_count(set); i++)
		oci_list_add(a, ret, json_item_key(json_item(set, i)));
	return r;
}

static int parse_labels(
	struct arena *a, const struct json *object, struct oci_config *ret, struct err *err)
{
	const struct json *labels = NULL;
	int r = json_opt_object(object, "Labels", &labels, err);

	if (r < 0)
		return r;
	ret->label_count = json_count(labels);
	ret->labels = arena_array(a, ret->label_count, sizeof(*ret->labels));
	for (size_t i = 0; i < ret->label_count; i++) {
		const struct json *item = json_item(labels, i);
		ret->labels[i].key = json_item_key(item).p;
		ret->labels[i].value = "";
		if (json_kind_of(item) == JSON_KIND_NULL)
			continue;
		r = json_expect(item, JSON_KIND_STRING, err);
		if (r < 0)
			return r;
		ret->labels[i].value = json_text(item);
	}
	return 0;
}

static int parse_healthcheck(
	struct arena *a, const struct json *object, struct oci_healthcheck *ret, struct err *err)
{
	const struct json *check = NULL;
	struct oci_list test = {0};
	int r = json_opt_object(object, "Healthcheck", &check, err);

	if (r < 0 || !check)
		return r;
	r = parse_list(a, check, "Test", &test, err);
	ret->test = test.count ? test.items : NULL;
	ret->test_count = test.count;
	if (r == 0)
		r = json_opt_i64(check, "Interval", &ret->interval, err);
	if (r == 0)
		r = json_opt_i64(check, "Timeout", &ret->timeout, err);
	if (r == 0)
		r = json_opt_i64(check, "StartPeriod", &ret->start_period, err);
	if (r == 0)
		r = json_opt_i64(check, "StartInterval", &ret->start_interval, err);
	if (r == 0)
		r = json_opt_u64(check, "Retries", &ret->retries, err);
	return r;
}

static int parse_lists(
	struct arena *a, const struct json *inner, struct oci_config *ret, struct err *err)
{
	const struct {
		const char *key;
		struct oci_list *list;
		int (*parse)(struct arena *, const struct json *, const char *, struct oci_list *,
			struct err *);
	} fields[] = {
		{"Cmd", &ret->cmd, parse_list},
		{"Entrypoint", &ret->entrypoint, parse_list},
		{"Env", &ret->env, parse_list},
		{"ExposedPorts", &ret->exposed_ports, parse_set},
		{"OnBuild", &ret->onbuild, parse_list},
		{"Shell", &ret->shell, parse_list},
		{"Volumes", &ret->volumes, parse_set},
	};

	for (size_t i = 0; i < array_size(fields); i++) {
		int r = fields[i].parse(a, inner, fields[i].key, fields[i].list, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_inner(
	struct arena *a, const struct json *root, struct oci_config *ret, struct err *err)
{
	const struct json *inner = NULL;
	int r = json_opt_object(root, "config", &inner, err);

	if (r < 0 || !inner)
		return r;
	r = json_opt_text(inner, "User", &ret->user, err);
	if (r == 0)
		r = json_opt_text(inner, "WorkingDir", &ret->working_dir, err);
	if (r == 0)
		r = json_opt_text(inner, "StopSignal", &ret->stop_signal, err);
	if (r == 0)
		r = json_opt_bool(inner, "ArgsEscaped", &ret->args_escaped, err);
	if (r == 0)
		r = parse_lists(a, inner, ret, err);
	if (r == 0)
		r = parse_labels(a, inner, ret, err);
	if (r == 0)
		r = parse_healthcheck(a, inner, &ret->healthcheck, err);
	return r;
}

static int parse_rootfs(
	struct arena *a, const struct json *root, struct oci_config *ret, struct err *err)
{
	const struct json *rootfs = NULL;
	const char *type = "layers";
	struct digest digest;
	int r = json_opt_object(root, "rootfs", &rootfs, err);

	if (r < 0 || !rootfs)
		return r;
	r = json_opt_text(rootfs, "type", &type, err);
	if (r < 0)
		return r;
	if (strcmp(type, "layers") != 0)
		return json_error(json_find(rootfs, "type"), err, "%s is not \"layers\"", type);
	r = parse_list(a, root, "spaceport.layers", &ret->layers, err);
	if (r == 0)
		r = parse_list(a, rootfs, "diff_ids", &ret->diff_ids, err);
	if (r < 0)
		return r;
	const struct json *ids = json_find(rootfs, "diff_ids");
	if (ret->diff_ids.count > MAX_DIFF_IDS)
		return json_error(
			ids, err, "%zu layers are more than %d", ret->diff_ids.count, MAX_DIFF_IDS);
	for (size_t i = 0; i < ret->diff_ids.count; i++)
		if (!digest_parse(str_of(ret->diff_ids.items[i]), &digest))
			return json_error(json_item(ids, i), err,
				"%s is not sha256: and 64 lower case hex digits",
				ret->diff_ids.items[i]);
	return 0;
}

static int parse_history_entry(const struct json *entry, struct oci_history *ret, struct err *err)
{
	*ret = (struct oci_history){"", "", "", "", false};
	int r = json_opt_text(entry, "created_by", &ret->created_by, err);
	if (r == 0)
		r = json_opt_text(entry, "comment", &ret->comment, err);
	if (r == 0)
		r = json_opt_text(entry, "author", &ret->author, err);
	if (r == 0)
		r = json_opt_text(entry, "created", &ret->created, err);
	if (r == 0)
		r = json_opt_bool(entry, "empty_layer", &ret->empty_layer, err);
	return r;
}

static int parse_history(
	struct arena *a, const struct json *root, struct oci_config *ret, struct err *err)
{
	const struct json *history = NULL;
	int r = json_opt_array(root, "history", &history, err);

	ret->history_count = json_count(history);
	ret->history = arena_array(a, ret->history_count, sizeof(*ret->history));
	for (size_t i = 0; r == 0 && i < ret->history_count; i++)
		r = parse_history_entry(json_item(history, i), &ret->history[i], err);
	return r;
}

static int parse_outer(const struct json *root, struct oci_config *ret, struct err *err)
{
	int r = json_opt_text(root, "os", &ret->platform.os, err);

	if (r == 0)
		r = json_opt_text(root, "architecture", &ret->platform.architecture, err);
	if (r == 0)
		r = json_opt_text(root, "variant", &ret->platform.variant, err);
	if (r == 0)
		r = json_opt_text(root, "author", &ret->author, err);
	if (r == 0)
		r = json_opt_text(root, "created", &ret->created, err);
	return r;
}

int oci_config_parse(struct arena *a, struct str json, struct oci_config *ret, struct err *err)
{
	const struct json *root = NULL;
	struct oci_config config = {
		.platform = {"", "", ""},
		.author = "",
		.created = "",
		.user = "",
		.working_dir = "",
		.stop_signal = "",
	};
	int r = json_parse(a, json, CONFIG_MAX_BYTES, &root, err);

	if (r == 0)
		r = json_expect(root, JSON_KIND_OBJECT, err);
	if (r == 0)
		r = parse_outer(root, &config, err);
	if (r == 0)
		r = parse_inner(a, root, &config, err);
	if (r == 0)
		r = parse_rootfs(a, root, &config, err);
	if (r == 0)
		r = parse_history(a, root, &config, err);
	if (r < 0)
		return err_wrap(err, "image configuration");
	*ret = config;
	return 0;
}

/* ---- Printing ---- */

static void add_unless_empty(struct json_writer *w, const char *key, const char *text)
{
	if (text && text[0])
		json_add_text(w, key, text);
}

static void add_list(struct json_writer *w, const char *key, const struct oci_list *list)
{
	if (!list->items)
		return;
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < list->count; i++)
		json_put_text(w, list->items[i]);
	json_end_array(w);
}

static int compare_keys(const void *a, const void *b)
{
	const struct oci_pair *pair_a = a, *pair_b = b;
	int order = strcmp(pair_a->key, pair_b->key);

	return order ? order : strcmp(pair_a->value, pair_b->value);
}

/*
 * Objects whose keys are a set are written in the order of the keys, so that the order in
 * which somebody added them does not make another image. Sorts `pairs`.
 */
static void add_sorted(
	struct json_writer *w, const char *key, struct oci_pair *pairs, size_t count, bool is_set)
{
	if (!count)
		return;
	qsort(pairs, count, sizeof(*pairs), compare_keys);
	json_key(w, key);
	json_begin_object(w);
	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && strcmp(pairs[i].key, pairs[i + 1].key) == 0)
			continue;
		json_key(w, pairs[i].key);
		if (is_set)
			json_put_raw(w, STR("{}"));
		else
			json_put_text(w, pairs[i].value);
	}
	json_end_object(w);
}

static void add_set(struct json_writer *w, const char *key, const struct oci_list *list)
{
	cleanup_free struct oci_pair *pairs = xcalloc(list->count + 1, sizeof(*pairs));

	for (size_t i = 0; i < list->count; i++)
		pairs[i] = (struct oci_pair){list->items[i], ""};
	add_sorted(w, key, pairs, list->count, true);
}

static void add_labels(struct json_writer *w, const struct oci_config *config)
{
	cleanup_free struct oci_pair *pairs = xcalloc(config->label_count + 1, sizeof(*pairs));

	for (size_t i = 0; i < config->label_count; i++)
		pairs[i] = config->labels[i];
	add_sorted(w, "Labels", pairs, config->label_count, false);
}

static void add_healthcheck(struct json_writer *w, const struct oci_healthcheck *check)
{
	const struct oci_list test = {check->test, check->test_count};
	const struct {
		const char *key;
		int64_t ns;
	} times[] = {
		{"Interval", check->interval},
		{"Timeout", check->timeout},
		{"StartPeriod", check->start_period},
		{"StartInterval", check->start_interval},
	};

	if (!check->test && !check->interval && !check->timeout && !check->start_period &&
		!check->start_interval && !check->retries)
		return;
	json_key(w, "Healthcheck");
	json_begin_object(w);
	add_list(w, "Test", &test);
	for (size_t i = 0; i < array_size(times); i++)
		if (times[i].ns)
			json_add_i64(w, times[i].key, times[i].ns);
	if (check->retries)
		json_add_u64(w, "Retries", check->retries);
	json_end_object(w);
}

/* The fields in the order in which docker prints them. */
static void add_inner(struct json_writer *w, const struct oci_config *config)
{
	json_key(w, "config");
	json_begin_object(w);
	add_unless_empty(w, "User", config->user);
	add_set(w, "ExposedPorts", &config->exposed_ports);
	add_list(w, "Env", &config->env);
	add_list(w, "Cmd", &config->cmd);
	add_healthcheck(w, &config->healthcheck);
	if (config->args_escaped)
		json_add_bool(w, "ArgsEscaped", true);
	add_set(w, "Volumes", &config->volumes);
	add_unless_empty(w, "WorkingDir", config->working_dir);
	add_list(w, "Entrypoint", &config->entrypoint);
	add_list(w, "OnBuild", &config->onbuild);
	add_labels(w, config);
	add_unless_empty(w, "StopSignal", config->stop_signal);
	add_list(w, "Shell", &config->shell);
	json_end_object(w);
}

static void add_history(struct json_writer *w, const struct oci_config *config)
{
	if (!config->history_count)
		return;
	json_key(w, "history");
	json_begin_array(w);
	for (size_t i = 0; i < config->history_count; i++) {
		const struct oci_history *entry = &config->history[i];
		json_begin_object(w);
		add_unless_empty(w, "created", entry->created);
		add_unless_empty(w, "author", entry->author);
		add_unless_empty(w, "created_by", entry->created_by);
		add_unless_empty(w, "comment", entry->comment);
		if (entry->empty_layer)
			json_add_bool(w, "empty_layer", true);
		json_end_object(w);
	}
	json_end_array(w);
}

static void add_rootfs(struct json_writer *w, const struct oci_config *config)
{
	if (config->layers.count) {
		json_key(w, "spaceport.layers");
		json_begin_array(w);
		for (size_t i = 0; i < config->layers.count; i++)
			json_put_text(w, config->layers.items[i]);
		json_end_array(w);
	}
	json_key(w, "rootfs");
	json_begin_object(w);
	json_add_text(w, "type", "layers");
	json_key(w, "diff_ids");
	json_begin_array(w);
	for (size_t i = 0; i < config->diff_ids.count; i++)
		json_put_text(w, config->diff_ids.items[i]);
	json_end_array(w);
	json_end_object(w);
}

void oci_config_print(const struct oci_config *config, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	add_unless_empty(&w, "created", config->created);
	add_unless_empty(&w, "author", config->author);
	/* Both are required by the specification, unlike the variant. */
	json_add_text(&w, "architecture",
		config->platform.architecture ? config->platform.architecture : "");
	add_unless_empty(&w, "variant", config->platform.variant);
	json_add_text(&w, "os", config->platform.os ? config->platform.os : "");
	add_inner(&w, config);
	add_rootfs(&w, config);
	add_history(&w, config);
	json_end_object(&w);
}
