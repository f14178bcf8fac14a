/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SETTINGS_INTERNAL_H
#define SETTINGS_INTERNAL_H

#include "base/source.h"
#include "settings/settings.h"
#include "yaml/yaml.h"

/* One value on its way into the settings, and where it came from. */
struct loader {
	struct arena *arena;
	const struct settings_caller *caller;
	struct settings *settings;
	const struct source *file;    /* the file, or NULL */
	const struct yaml_node *node; /* the value in the file; NULL: from elsewhere */
	const char *origin;	      /* the variable it is from; NULL: none */
};

/* ---- keys.c ---- */

/* All keys of a document. */
must_use int settings_parse(struct loader *l, const struct yaml_node *root, struct err *err);
/* The variables SPACEPORT_<KEY> of the caller. */
must_use int settings_take_variables(struct loader *l, struct err *err);

/* An error at the loader's place: "spaceport.yaml:3:7: …", "SPACEPORT_DATA: …". */
int refuse(const struct loader *l, struct err *err, const char *fmt, ...) printf_like(3, 4);

/* ---- registries.c ---- */

must_use int read_registries(struct loader *l, const struct yaml_node *value, struct err *err);

/* ---- defaults.c ---- */

/* A copy of a variable of the caller; NULL when it is unset or empty. */
const char *caller_variable(
	struct arena *a, const struct settings_caller *caller, const char *name);
/* The caller's home directory, absolute; NULL: unknown. */
const char *caller_home(struct arena *a, const struct settings_caller *caller);
bool is_readable_file(const char *path);
/* The path of the configuration file; ret_named: the caller asked for this one. */
const char *find_file(struct arena *a, const struct settings_caller *caller, bool *ret_named);
/* What holds before the file and the variables are read. */
void set_defaults(struct loader *l);
/* What depends on keys that stayed unset. */
must_use int fill_defaults(struct loader *l, struct err *err);
/* "" is how an explicit none is kept until no default can replace it. */
void drop_nones(struct settings *settings);

#endif
