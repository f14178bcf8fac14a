/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config/config.h"
#include "yaml/yaml.h"

/* A README being read. */
struct loader {
	struct arena *arena;
	struct space_config *config;
};

/* Which sdk a field has an effect with: bit 1 << enum space_sdk. */
enum {
	ON_DOCKER = 1 << SPACE_SDK_DOCKER,
	ON_GRADIO = 1 << SPACE_SDK_GRADIO,
	ON_STREAMLIT = 1 << SPACE_SDK_STREAMLIT,
	ON_STATIC = 1 << SPACE_SDK_STATIC,
	ON_PYTHON = ON_GRADIO | ON_STREAMLIT,
	ON_SERVERS = ON_DOCKER | ON_PYTHON,
	ON_ALL = ON_SERVERS | ON_STATIC,
};

struct field;

/* Takes a value that is not null into the field; what is wrong with it becomes findings. */
typedef void field_reader(struct loader *l, const struct field *f, const struct yaml_node *value);

struct field {
	const char *name;
	field_reader *read;	    /* NULL: known, kept by nobody */
	size_t offset;		    /* in struct space_config */
	unsigned sdks;		    /* ON_… */
	const char *rule;	    /* of its findings; NULL: bad-value */
	field_reader *check;	    /* of a text, a number or each item of a list; may be NULL */
	const char *const *allowed; /* NULL-terminated words; NULL: any */
	uint64_t min, max;	    /* of a number */
	bool one_is_list;	    /* a text alone stands for a list of one */
};

/* ---- finding.c ---- */

/* Returns the finding, whose remedy ("" at first) the caller may set. */
struct space_finding *finding_add(struct loader *l, enum finding_level level, const char *rule,
	struct span span, const char *fmt, ...) printf_like(5, 6);
/* Of a field's value, as an error. */
struct space_finding *field_error(struct loader *l, const struct field *f,
	const struct yaml_node *value, const char *fmt, ...) printf_like(4, 5);
struct space_finding *field_warning(struct loader *l, const struct field *f,
	const struct yaml_node *value, const char *fmt, ...) printf_like(4, 5);
/* A text of the README in quotes: cut to what a message can hold, nothing in it acts. */
const char *shown(struct loader *l, struct str text);
/* "a, b or c". */
const char *word_list(struct loader *l, const char *const *words);
/* The word nearest to a text, or NULL. */
const char *nearest(const char *const *words, struct str text);
void findings_sort(struct space_config *config);

/* ---- read.c: readers by the kind of a value ---- */

field_reader read_text, read_choice, read_bool, read_number, read_duration, read_list, read_headers,
	read_preload;

/* ---- value.c: checks of single values ---- */

field_reader check_emoji, check_description, check_python, check_app_file, check_base_path,
	check_port, check_hardware, check_storage, check_url, check_hub_id, check_license;

/* ---- names.c ---- */

/* What breaks the Hub's rule for one part of an id, or NULL. */
const char *id_part_problem(struct str part);

/* ---- flavors.c ---- */

/* What there is to say about a name that is no flavor of the table but one of the Hub's. */
const char *flavor_remark(struct str name);

#endif
