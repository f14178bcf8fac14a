/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/table.h"

#include <stdlib.h>

void table_done(struct table *t)
{
	map_free(t->index);
	t->index = NULL;
}

static void *place_value(size_t at)
{
	/* Places count from 1, so that NULL can mean "not there". */
	return (void *)(uintptr_t)(at + 1);
}

static struct entry *find(const struct table *t, struct str name)
{
	uintptr_t place = t->index ? (uintptr_t)map_find(t->index, name) : 0;

	return place ? &t->items[place - 1] : NULL;
}

const struct entry *table_find(const struct table *t, struct str name)
{
	return find(t, name);
}

const char *table_get(void *table, struct str name)
{
	const struct entry *e = find(table, name);

	return e ? e->value : NULL;
}

static struct entry *find_or_add(struct arena *a, struct table *t, struct str name)
{
	struct entry *e = find(t, name);

	if (e)
		return e;
	if (!t->index)
		t->index = map_new();
	t->items = arena_grow(a, t->items, t->count, &t->cap, sizeof(*t->items));
	(void)map_set(t->index, name, place_value(t->count));
	return &t->items[t->count++];
}

void table_set(struct arena *a, struct table *t, struct str name, const char *value)
{
	struct entry *e = find_or_add(a, t, name);

	e->text = arena_printf(a, "%.*s=%s", STR_ARG(name), value ? value : "");
	e->name = arena_str(a, name);
	e->value = value ? e->text + name.n + 1 : NULL;
}

void table_copy(struct arena *a, struct table *t, const struct table *from)
{
	for (size_t i = 0; i < from->count; i++)
		*find_or_add(a, t, from->items[i].name) = from->items[i];
}

void table_add_list(struct arena *a, struct table *t, const struct oci_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct str value = str_of(list->items[i]);
		struct str name = str_cut(&value, '=');
		table_set(a, t, name, value.p ? value.p : "");
	}
}

struct oci_list table_list(struct arena *a, const struct table *t)
{
	struct oci_list list = {.items = arena_array(a, t->count + 1, sizeof(*list.items))};

	for (size_t i = 0; i < t->count; i++)
		if (t->items[i].value)
			list.items[list.count++] = t->items[i].text;
	return list;
}

void table_add_names(struct arena *a, struct table *t, const struct oci_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		table_set(a, t, str_of(list->items[i]), NULL);
}

static int compare_names(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return str_cmp(x->name, y->name);
}

static struct entry *sorted(struct arena *a, const struct table *t)
{
	struct entry *items = arena_array(a, t->count + 1, sizeof(*items));

	if (t->count) {
		memcpy(items, t->items, t->count * sizeof(*items));
		qsort(items, t->count, sizeof(*items), compare_names);
	}
	return items;
}

struct oci_list table_names(struct arena *a, const struct table *t)
{
	const struct entry *items = sorted(a, t);
	struct oci_list list = {0};

	for (size_t i = 0; i < t->count; i++)
		oci_list_add(a, &list, items[i].name);
	return list;
}

void table_add_labels(struct arena *a, struct table *t, const struct oci_config *config)
{
	for (size_t i = 0; i < config->label_count; i++)
		table_set(a, t, str_of(config->labels[i].key), config->labels[i].value);
}

void table_labels(struct arena *a, const struct table *t, struct oci_config *ret)
{
	const struct entry *items = sorted(a, t);

	ret->labels = arena_array(a, t->count, sizeof(*ret->labels));
	ret->label_count = t->count;
	for (size_t i = 0; i < t->count; i++)
		ret->labels[i] = (struct oci_pair){items[i].name.p, items[i].value};
}
