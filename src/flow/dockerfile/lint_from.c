/* SPDX-License-Identifier: Apache-2.0 */
#include "base/suggest.h"
#include "dockerfile/linter.h"

/* Every ARG before the first FROM, with a value or not. */
static bool is_global(const struct linter *l, struct str name)
{
	if (table_find(&l->globals.globals, name))
		return true;
	for (size_t i = 0; l->file->instructions[i].kind == INSTRUCTION_ARG; i++)
		for (size_t k = 0; k < l->file->instructions[i].pair_count; k++)
			if (str_eq(l->file->instructions[i].pairs[k].name.text, name))
				return true;
	return false;
}

static void judge_arguments(
	struct linter *l, const struct instruction *from, const struct table *missing)
{
	for (size_t i = 0; i < missing->count; i++) {
		struct str name = missing->items[i].name;
		if (is_global(l, name))
			continue;
		/* Written without the dollar sign, unlike in UndefinedVar. */
		struct suggest near = {.written = name};
		for (size_t k = 0; k < l->globals.globals.count; k++)
			suggest_offer(&near, l->globals.globals.items[k].name.p);
		lint_add(l, LINT_UNDEFINED_ARG_IN_FROM, from,
			"FROM argument '%.*s' is not declared%s%s%s", STR_ARG(name),
			near.best ? " (did you mean " : "", near.best ? near.best : "",
			near.best ? "?)" : "");
	}
}

static void judge_default(struct linter *l, const struct instruction *from)
{
	cleanup(lint_lookup_done) struct lint_lookup look = {
		.linter = l, .env = &l->defaults.globals};
	struct str text = from->words[0].text, name = lint_expand(&look, text);
	struct oci_reference reference;

	if (oci_reference_parse(l->arena, name, &reference, NULL))
		lint_add(l, LINT_INVALID_DEFAULT_ARG_IN_FROM, from,
			"Default value for ARG %.*s results in empty or invalid base image name",
			STR_ARG(text));
}

static bool contains(struct str text, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; n && i + n <= text.n; i++)
		if (memcmp(text.p + i, part, n) == 0)
			return true;
	return false;
}

/* A stage that has the platform in its name means to be for that platform alone. */
static void judge_constant(struct linter *l, const struct instruction *from, struct str text)
{
	struct str name = from->word_count == 3 ? from->words[2].text : STR("");
	struct oci_platform platform;

	if (oci_platform_parse(l->arena, text, &platform, NULL) || contains(name, platform.os) ||
		contains(name, platform.architecture))
		return;
	lint_add(l, LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED, from,
		"FROM --platform flag should not use constant value %s", lint_quoted(l, text));
}

static void judge_platform(
	struct linter *l, const struct instruction *from, const struct flag *flag)
{
	cleanup(lint_lookup_done) struct lint_lookup look = {
		.linter = l, .env = &l->globals.globals};
	struct str text = lint_expand(&look, flag->value);
	const char *target = table_get(&l->globals.globals, STR("TARGETPLATFORM"));

	judge_arguments(l, from, &look.missing);
	if (!look.found.count && !look.missing.count)
		judge_constant(l, from, text);
	if (look.found.count == 1 && !look.missing.count && target && str_is(text, target) &&
		str_is(look.found.items[0].name, "TARGETPLATFORM"))
		lint_add(l, LINT_REDUNDANT_TARGET_PLATFORM, from,
			"Setting platform to predefined %.*s in FROM is redundant as this is the "
			"default behavior",
			STR_ARG(flag->value));
}

void lint_from(struct linter *l, const struct instruction *from)
{
	cleanup(lint_lookup_done) struct lint_lookup look = {
		.linter = l, .env = &l->globals.globals};
	const struct flag *platform = instruction_flag(from, "platform", NULL);

	(void)lint_expand(&look, from->words[0].text);
	judge_arguments(l, from, &look.missing);
	judge_default(l, from);
	if (platform && platform->value.n)
		judge_platform(l, from, platform);
}
