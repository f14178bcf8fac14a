/* SPDX-License-Identifier: Apache-2.0 */
#ifndef YAML_YAML_H
#define YAML_YAML_H

/*
 * A safe reader for the small YAML documents that people write: the block at the top of
 * README.md and spaceport.yaml. Bytes in, a tree out; nothing is printed, nothing is opened.
 *
 * The syntax is YAML 1.2's, read by libfyaml, less what a configuration never needs and an
 * attacker likes: anchors, aliases, tags, directives, a second document and keys that are
 * not scalars are refused by name. Duplicate keys are errors that name both lines. Scalars
 * stay text: whether `yes`, `3.10` or `~` means something is up to the caller's schema,
 * because YAML 1.1 and 1.2 disagree on it.
 *
 * Limits: YAML_MAX_BYTES of text, YAML_MAX_DEPTH levels of nesting; only well-formed UTF-8
 * without control characters (tab and line ends excepted).
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/source.h"
#include "base/str.h"

enum { YAML_MAX_BYTES = 64 * 1024, YAML_MAX_DEPTH = 32 };

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_pair;

struct yaml_node {
	enum yaml_kind kind;
	/*
	 * Its place in the whole source, quotes included. A collection in block style is
	 * marked by its first line.
	 */
	struct span span;
	struct str text;		/* scalar: the value, .p terminated; "" for an empty one */
	bool plain;			/* scalar: neither quoted nor a | or > block */
	size_t count;			/* of items or pairs */
	const struct yaml_node **items; /* sequence */
	const struct yaml_pair *pairs;	/* mapping, in the order written */
};

struct yaml_pair {
	const struct yaml_node *key; /* always a scalar */
	const struct yaml_node *value;
};

/* What is wrong with a text, and where, in words that need no further context. */
struct yaml_problem {
	struct span span;
	char text[512];
	char remedy[192]; /* may be empty */
};

/*
 * Parse `part`, a slice of source->text; spans count from the start of source->text, so that
 * a block that begins on line 2 of a README has the lines its writer sees. An empty document
 * gives a mapping without pairs. The tree lives in the arena. Returns 0, or -ERR_INPUT with
 * the problem filled (the first one: YAML cannot be read past an error).
 */
must_use int yaml_parse(struct arena *a, const struct source *source, struct str part,
	const struct yaml_node **ret, struct yaml_problem *problem);

/* The problem as a source_error(); returns -ERR_INPUT. */
int yaml_problem_error(
	const struct yaml_problem *problem, const struct source *source, struct err *err);

/* The value of a key of a mapping, or NULL (also when node is not a mapping). */
const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key);

/* Is it nothing: a plain scalar that is empty, ~, null, Null or NULL? */
bool yaml_is_null(const struct yaml_node *node);
/* A plain true or false as YAML 1.2 spells them (true, True, TRUE, …). False: it is not one. */
bool yaml_bool(const struct yaml_node *node, bool *ret);

/* "text", "a list", "a mapping": for messages. */
const char *yaml_kind_text(enum yaml_kind kind);

#endif
