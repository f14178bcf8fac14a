/* SPDX-License-Identifier: Apache-2.0 */
#ifndef YAML_INTERNAL_H
#define YAML_INTERNAL_H

#include <stdarg.h>

#include "yaml/yaml.h"

/* Where the lines of a source begin, so that a place costs a binary search. */
struct lines {
	struct str text;
	size_t *starts;
	size_t count;
};

void lines_init(struct arena *a, struct lines *lines, struct str text);
/* The span of bytes [from, to) of the text. */
struct span lines_span(const struct lines *lines, size_t from, size_t to);

/* Fill the problem, its remedy ("" for none) first, and return -ERR_INPUT. */
int problem_set(struct yaml_problem *problem, struct span span, const char *remedy, const char *fmt,
	...) printf_like(4, 5);

/* Refuse what libfyaml must never see: size, bytes, endless nesting. `at` is part's offset. */
int check_bytes(
	const struct lines *lines, struct str part, size_t at, struct yaml_problem *problem);

#endif
