/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_LINTER_H
#define DOCKERFILE_LINTER_H

/*
 * The making of findings:
 *
 *	lint.c		the rules' texts, which of them are on, the order of what they find
 *	lint_text.c	rules that need only the text of the instructions
 *	lint_from.c	rules on FROM: what it says with and without the build arguments
 *	lint_stage.c	rules on what instructions do, with the variables of their stage
 */
#include "dockerfile/planner.h"

enum lint_rule {
	LINT_CONSISTENT_INSTRUCTION_CASING,
	LINT_COPY_IGNORED_FILE,
	LINT_DUPLICATE_STAGE_NAME,
	LINT_EXPOSE_INVALID_FORMAT,
	LINT_EXPOSE_PROTO_CASING,
	LINT_FROM_AS_CASING,
	LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED,
	LINT_INVALID_BASE_IMAGE_PLATFORM,
	LINT_INVALID_DEFAULT_ARG_IN_FROM,
	LINT_INVALID_DEFINITION_DESCRIPTION,
	LINT_JSON_ARGS_RECOMMENDED,
	LINT_LEGACY_KEY_VALUE_FORMAT,
	LINT_MAINTAINER_DEPRECATED,
	LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED,
	LINT_NO_EMPTY_CONTINUATION,
	LINT_REDUNDANT_TARGET_PLATFORM,
	LINT_RESERVED_STAGE_NAME,
	LINT_SECRETS_USED_IN_ARG_OR_ENV,
	LINT_STAGE_NAME_CASING,
	LINT_UNDEFINED_ARG_IN_FROM,
	LINT_UNDEFINED_VAR,
	LINT_WORKDIR_RELATIVE_PATH,
	LINT_RULES
};

/* One bit a rule. */
struct lint_config {
	uint32_t skipped, experimental;
	bool is_error;
};

struct linter {
	struct arena *arena;
	const struct dockerfile *file;
	const struct lint_options *options;
	struct lint_config config;
	struct str *lines; /* of the text, for comments before instructions */
	size_t line_count;
	const struct instruction *at; /* the last one looked at, and what is on there */
	struct lint_config at_config;
	struct lint_finding *findings;
	size_t count, cap;
	/* The global scope, with the build arguments and with defaults alone. */
	struct planner globals, defaults;
};

/* What a rule says of an instruction, unless it is off there. */
void lint_add(struct linter *l, enum lint_rule rule, const struct instruction *ins, const char *fmt,
	...) printf_like(4, 5);
/* The last line of the comment right before an instruction, or an empty text. */
struct str lint_comment(const struct linter *l, const struct instruction *ins);
/* The instruction's word, as written. */
struct str lint_word(const struct instruction *ins);
/* Terminated, in double quotes, as Go prints it. */
const char *lint_quoted(struct linter *l, struct str text);

/* An environment that notes which names were asked for. */
struct lint_lookup {
	struct linter *linter;
	struct table *env;
	struct table found, missing;
};

void lint_lookup_done(struct lint_lookup *look);
DEFINE_CLEANUP_VALUE(struct lint_lookup, lint_lookup_done);
/* The text as far as it can be expanded; what is malformed stays as written. */
struct str lint_expand(struct lint_lookup *look, struct str text);
/* For expansion.get */
const char *lint_look_up(void *look, struct str name);
/* " (did you mean $X?)" for a name in the environment, or "". */
const char *lint_suggest(struct linter *l, const struct table *env, struct str name);

void lint_texts(struct linter *l);
void lint_from(struct linter *l, const struct instruction *from);
void lint_stages(struct linter *l);

#endif
