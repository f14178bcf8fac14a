/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_TABLE_H
#define DOCKERFILE_TABLE_H

/*
 * Named values in the order in which they were first set: environments, labels, arguments;
 * and sets of names: ports, volumes. Entries live in the arena, only the index needs
 * table_done(); a table without its index can still be copied from. `{0}` is an empty one.
 */
#include "base/arena.h"
#include "base/map.h"
#include "oci/oci.h"

struct entry {
	struct str name;   /* terminated */
	const char *value; /* NULL: declared without one */
	char *text;	   /* "name=value" */
};

struct table {
	struct entry *items;
	size_t count, cap;
	struct map *index; /* name → its place, from 1 */
};

void table_done(struct table *t);
DEFINE_CLEANUP_VALUE(struct table, table_done);

/* Replaces the value where the name stands. */
void table_set(struct arena *a, struct table *t, struct str name, const char *value);
const struct entry *table_find(const struct table *t, struct str name);
/* For expansion.get, with the table as its arg. */
const char *table_get(void *table, struct str name);
/* Set all of from's; the texts are shared. */
void table_copy(struct arena *a, struct table *t, const struct table *from);

/* Set all "name=value" of a list (without '=': an empty value). */
void table_add_list(struct arena *a, struct table *t, const struct oci_list *list);
/* The texts of the entries that have a value, in order; the texts are shared. */
struct oci_list table_list(struct arena *a, const struct table *t);
/* Sets of names, sorted on their way out as in a JSON object. */
void table_add_names(struct arena *a, struct table *t, const struct oci_list *list);
struct oci_list table_names(struct arena *a, const struct table *t);
/* Labels, sorted by key. */
void table_add_labels(struct arena *a, struct table *t, const struct oci_config *config);
void table_labels(struct arena *a, const struct table *t, struct oci_config *ret);

#endif
