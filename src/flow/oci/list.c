/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "oci/oci.h"

/*
 * A list knows its count but not its room, so the room is a rule: the next power of two above
 * the count, eight at least. Every list that grows began in oci_list_add() and keeps it.
 */
enum { FIRST_ROOM = 8 };

static bool is_full(size_t count)
{
	return count + 1 >= FIRST_ROOM && ((count + 1) & count) == 0;
}

static void add_item(struct arena *a, struct oci_list *list, char *item)
{
	if (!list->items || is_full(list->count)) {
		size_t room = list->count + 1 < FIRST_ROOM ? FIRST_ROOM : 2 * (list->count + 1);
		char **items = arena_array(a, room, sizeof(*items));
		if (list->items)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
	}
	list->items[list->count++] = item;
	list->items[list->count] = NULL;
}

static char *copy_text(struct arena *a, struct str text)
{
	char *p = arena_alloc(a, text.n + 1);

	if (text.n)
		memcpy(p, text.p, text.n);
	return p;
}

void oci_list_add(struct arena *a, struct oci_list *list, struct str text)
{
	add_item(a, list, copy_text(a, text));
}

static char *find_env(const struct oci_list *list, struct str name, size_t *ret_at)
{
	for (size_t i = 0; i < list->count; i++) {
		char *item = list->items[i];
		if (strncmp(item, name.p, name.n) == 0 && item[name.n] == '=') {
			*ret_at = i;
			return item + name.n + 1;
		}
	}
	return NULL;
}

void oci_list_set_env(struct arena *a, struct oci_list *list, struct str name, struct str value)
{
	char *item = arena_alloc(a, name.n + value.n + 2);
	size_t at;

	memcpy(item, name.p, name.n);
	item[name.n] = '=';
	if (value.n)
		memcpy(item + name.n + 1, value.p, value.n);
	if (find_env(list, name, &at))
		list->items[at] = item;
	else
		add_item(a, list, item);
}

const char *oci_list_env(const struct oci_list *list, struct str name)
{
	size_t at;

	return find_env(list, name, &at);
}

static const char *copy_string(struct arena *a, const char *s)
{
	return s ? arena_strdup(a, s) : NULL;
}

static struct oci_list copy_list(struct arena *a, const struct oci_list *from)
{
	struct oci_list to = {0};

	/* An empty list that is there stays told apart from one that is absent. */
	if (from->items && !from->count)
		to.items = arena_array(a, FIRST_ROOM, sizeof(*to.items));
	for (size_t i = 0; from->items && i < from->count; i++)
		oci_list_add(a, &to, str_of(from->items[i]));
	return to;
}

static void copy_labels(struct arena *a, const struct oci_config *from, struct oci_config *to)
{
	to->labels = arena_array(a, from->label_count, sizeof(*to->labels));
	for (size_t i = 0; i < from->label_count; i++) {
		to->labels[i].key = copy_string(a, from->labels[i].key);
		to->labels[i].value = copy_string(a, from->labels[i].value);
	}
}

static void copy_healthcheck(
	struct arena *a, const struct oci_healthcheck *from, struct oci_healthcheck *to)
{
	struct oci_list test = {.items = from->test, .count = from->test_count};

	to->test = copy_list(a, &test).items;
}

static void copy_history(struct arena *a, const struct oci_config *from, struct oci_config *to)
{
	to->history = arena_array(a, from->history_count, sizeof(*to->history));
	for (size_t i = 0; i < from->history_count; i++) {
		const struct oci_history *h = &from->history[i];
		to->history[i] = (struct oci_history){
			.created_by = copy_string(a, h->created_by),
			.comment = copy_string(a, h->comment),
			.author = copy_string(a, h->author),
			.created = copy_string(a, h->created),
			.empty_layer = h->empty_layer,
		};
	}
}

void oci_config_copy(struct arena *a, const struct oci_config *from, struct oci_config *to)
{
	*to = *from;
	to->platform.os = copy_string(a, from->platform.os);
	to->platform.architecture = copy_string(a, from->platform.architecture);
	to->platform.variant = copy_string(a, from->platform.variant);
	to->author = copy_string(a, from->author);
	to->created = copy_string(a, from->created);
	to->user = copy_string(a, from->user);
	to->working_dir = copy_string(a, from->working_dir);
	to->stop_signal = copy_string(a, from->stop_signal);
	to->env = copy_list(a, &from->env);
	to->cmd = copy_list(a, &from->cmd);
	to->entrypoint = copy_list(a, &from->entrypoint);
	to->shell = copy_list(a, &from->shell);
	to->exposed_ports = copy_list(a, &from->exposed_ports);
	to->volumes = copy_list(a, &from->volumes);
	to->onbuild = copy_list(a, &from->onbuild);
	to->layers = copy_list(a, &from->layers);
	to->diff_ids = copy_list(a, &from->diff_ids);
	copy_labels(a, from, to);
	copy_healthcheck(a, &from->healthcheck, &to->healthcheck);
	copy_history(a, from, to);
}
