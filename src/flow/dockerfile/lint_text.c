/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/linter.h"

enum casing { CASING_MIXED, CASING_LOWER, CASING_UPPER };

static enum casing casing_of(struct str word)
{
	bool lower = false, upper = false;

	for (size_t i = 0; i < word.n; i++) {
		lower = lower || (word.p[i] >= 'a' && word.p[i] <= 'z');
		upper = upper || (word.p[i] >= 'A' && word.p[i] <= 'Z');
	}
	if (lower && upper)
		return CASING_MIXED;
	return upper ? CASING_UPPER : CASING_LOWER;
}

static void judge_blank_lines(struct linter *l, const struct instruction *ins)
{
	/* BuildKit shows the last line of the instruction, and so do we. */
	struct instruction place = *ins;

	place.span = (struct span){.line = ins->blank_line, .col = 1};
	if (ins->blank_line)
		lint_add(l, LINT_NO_EMPTY_CONTINUATION, &place, "Empty continuation line");
}

static struct str stage_name(const struct instruction *from)
{
	return from->word_count == 3 ? from->words[2].text : STR("");
}

static void judge_from_casing(struct linter *l, const struct instruction *from)
{
	struct str name = stage_name(from), word = lint_word(from);
	enum casing casing = casing_of(word);

	if (!name.n)
		return;
	if (casing_of(name) != CASING_LOWER)
		lint_add(l, LINT_STAGE_NAME_CASING, from, "Stage name '%.*s' should be lowercase",
			STR_ARG(name));
	/* A FROM in mixed case is another rule's matter. */
	if (casing != CASING_MIXED && casing_of(from->words[1].text) != casing)
		lint_add(l, LINT_FROM_AS_CASING, from,
			"'%.*s' and '%.*s' keywords' casing do not match",
			STR_ARG(from->words[1].text), STR_ARG(word));
}

static void judge_maintainer(struct linter *l, const struct instruction *ins)
{
	lint_add(l, LINT_MAINTAINER_DEPRECATED, ins,
		"Maintainer instruction is deprecated in favor of using label");
}

static bool is_described(struct str comment, struct str name)
{
	return str_eq(str_cut(&comment, ' '), name);
}

static void say_description(
	struct linter *l, const struct instruction *ins, const char *kind, struct str name)
{
	lint_add(l, LINT_INVALID_DEFINITION_DESCRIPTION, ins,
		"Comment for %s should follow the format: `# %.*s <description>`", kind,
		STR_ARG(name));
}

static void judge_from_comment(struct linter *l, const struct instruction *from)
{
	struct str comment = lint_comment(l, from), name = stage_name(from);

	if (comment.n && name.n && !is_described(comment, name))
		say_description(l, from, "FROM", name);
}

static void judge_arg_comment(struct linter *l, const struct instruction *arg)
{
	struct str comment = lint_comment(l, arg);

	if (!comment.n)
		return;
	for (size_t i = 0; i < arg->pair_count; i++)
		if (is_described(comment, arg->pairs[i].name.text))
			return;
	say_description(
		l, arg, "ARG", arg->pair_count > 1 ? STR("<arg_key>") : arg->pairs[0].name.text);
}

/* ---- The file as a whole ---- */

static void judge_name(struct linter *l, struct map *names, const struct instruction *from)
{
	struct str name = stage_name(from);

	if (!name.n)
		return;
	const char *lower = lower_case(l->arena, name);
	if (strcmp(lower, "scratch") == 0 || strcmp(lower, "context") == 0)
		lint_add(l, LINT_RESERVED_STAGE_NAME, from,
			"Stage name should not use the same name as reserved stage %s",
			lint_quoted(l, str_of(lower)));
	if (map_set(names, str_of(lower), names))
		lint_add(l, LINT_DUPLICATE_STAGE_NAME, from,
			"Duplicate stage name %s, stage names should be unique",
			lint_quoted(l, str_of(lower)));
}

/* The first instruction that counts: ARGs of the global scope are not judged. */
static size_t first_stage(const struct dockerfile *file)
{
	size_t i = 0;

	while (file->instructions[i].kind != INSTRUCTION_FROM)
		i++;
	return i;
}

static void judge_word_casing(struct linter *l)
{
	const struct dockerfile *file = l->file;
	size_t counts[3] = {0}, first = first_stage(file);

	for (size_t i = first; i < file->instruction_count; i++)
		counts[casing_of(lint_word(&file->instructions[i]))]++;
	bool lower = counts[CASING_LOWER] > counts[CASING_UPPER];
	for (size_t i = first; i < file->instruction_count; i++) {
		const struct instruction *ins = &file->instructions[i];
		struct str word = lint_word(ins);
		if (casing_of(word) != (lower ? CASING_LOWER : CASING_UPPER))
			lint_add(l, LINT_CONSISTENT_INSTRUCTION_CASING, ins,
				"Command '%.*s' should match the case of the command majority (%s)",
				STR_ARG(word), lower ? "lowercase" : "uppercase");
	}
}

void lint_texts(struct linter *l)
{
	cleanup(map_free) struct map *names = map_new();

	for (size_t i = 0; i < l->file->instruction_count; i++) {
		const struct instruction *ins = &l->file->instructions[i];
		judge_blank_lines(l, ins);
		if (ins->kind == INSTRUCTION_FROM) {
			judge_from_casing(l, ins);
			judge_from_comment(l, ins);
			judge_name(l, names, ins);
		} else if (ins->kind == INSTRUCTION_ARG) {
			judge_arg_comment(l, ins);
		} else if (ins->kind == INSTRUCTION_MAINTAINER) {
			judge_maintainer(l, ins);
		}
	}
	judge_word_casing(l);
}
