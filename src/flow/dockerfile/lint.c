/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/suggest.h"
#include "dockerfile/linter.h"

#define RULE_URL "https://docs.docker.com/go/dockerfile/rule/"

static const struct {
	const char *name, *url, *description;
	bool is_experimental;
} rules[LINT_RULES] = {
	[LINT_CONSISTENT_INSTRUCTION_CASING] = {"ConsistentInstructionCasing",
		RULE_URL "consistent-instruction-casing/",
		"All commands within the Dockerfile should use the same casing (either upper or "
		"lower)",
		false},
	[LINT_COPY_IGNORED_FILE] = {"CopyIgnoredFile", RULE_URL "copy-ignored-file/",
		"Attempting to Copy file that is excluded by .dockerignore", false},
	[LINT_DUPLICATE_STAGE_NAME] = {"DuplicateStageName", RULE_URL "duplicate-stage-name/",
		"Stage names should be unique", false},
	[LINT_EXPOSE_INVALID_FORMAT] = {"ExposeInvalidFormat", RULE_URL "expose-invalid-format/",
		"IP address and host-port mapping should not be used in EXPOSE instruction. This "
		"will become an error in a future release",
		false},
	[LINT_EXPOSE_PROTO_CASING] = {"ExposeProtoCasing", RULE_URL "expose-proto-casing/",
		"Protocol in EXPOSE instruction should be lowercase", false},
	[LINT_FROM_AS_CASING] = {"FromAsCasing", RULE_URL "from-as-casing/",
		"The 'as' keyword should match the case of the 'from' keyword", false},
	[LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED] = {"FromPlatformFlagConstDisallowed",
		RULE_URL "from-platform-flag-const-disallowed/",
		"FROM --platform flag should not use a constant value", false},
	[LINT_INVALID_BASE_IMAGE_PLATFORM] = {"InvalidBaseImagePlatform", "",
		"Base image platform does not match expected target platform", false},
	[LINT_INVALID_DEFAULT_ARG_IN_FROM] = {"InvalidDefaultArgInFrom",
		RULE_URL "invalid-default-arg-in-from/",
		"Default value for global ARG results in an empty or invalid base image name",
		false},
	[LINT_INVALID_DEFINITION_DESCRIPTION] = {"InvalidDefinitionDescription",
		RULE_URL "invalid-definition-description/",
		"Comment for build stage or argument should follow the format: `# <arg/stage name> "
		"<description>`. If this is not intended to be a description comment, add an empty "
		"line or comment between the instruction and the comment.",
		true},
	[LINT_JSON_ARGS_RECOMMENDED] = {"JSONArgsRecommended", RULE_URL "json-args-recommended/",
		"JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior "
		"related to OS signals",
		false},
	[LINT_LEGACY_KEY_VALUE_FORMAT] = {"LegacyKeyValueFormat",
		RULE_URL "legacy-key-value-format/",
		"Legacy key/value format with whitespace separator should not be used", false},
	[LINT_MAINTAINER_DEPRECATED] = {"MaintainerDeprecated", RULE_URL "maintainer-deprecated/",
		"The MAINTAINER instruction is deprecated, use a label instead to define an image "
		"author",
		false},
	[LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED] = {"MultipleInstructionsDisallowed",
		RULE_URL "multiple-instructions-disallowed/",
		"Multiple instructions of the same type should not be used in the same stage",
		false},
	[LINT_NO_EMPTY_CONTINUATION] = {"NoEmptyContinuation", RULE_URL "no-empty-continuation/",
		"Empty continuation lines will become errors in a future release", false},
	[LINT_REDUNDANT_TARGET_PLATFORM] = {"RedundantTargetPlatform",
		RULE_URL "redundant-target-platform/",
		"Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is "
		"the default behavior",
		false},
	[LINT_RESERVED_STAGE_NAME] = {"ReservedStageName", RULE_URL "reserved-stage-name/",
		"Reserved words should not be used as stage names", false},
	[LINT_SECRETS_USED_IN_ARG_OR_ENV] = {"SecretsUsedInArgOrEnv",
		RULE_URL "secrets-used-in-arg-or-env/",
		"Sensitive data should not be used in the ARG or ENV commands", false},
	[LINT_STAGE_NAME_CASING] = {"StageNameCasing", RULE_URL "stage-name-casing/",
		"Stage names should be lowercase", false},
	[LINT_UNDEFINED_ARG_IN_FROM] = {"UndefinedArgInFrom", RULE_URL "undefined-arg-in-from/",
		"FROM command must use declared ARGs", false},
	[LINT_UNDEFINED_VAR] = {"UndefinedVar", RULE_URL "undefined-var/",
		"Variables should be defined before their use", false},
	[LINT_WORKDIR_RELATIVE_PATH] = {"WorkdirRelativePath", RULE_URL "workdir-relative-path/",
		"Relative workdir without an absolute workdir declared within the build can have "
		"unexpected results if the base image changes",
		false},
};

/* ---- Which rules are on ---- */

static bool parse_bool(struct str text, bool *ret)
{
	/* As Go's strconv.ParseBool has it. */
	static const char *const words[] = {
		"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"};

	for (size_t i = 0; i < array_size(words); i++)
		if (str_is(text, words[i])) {
			*ret = i < array_size(words) / 2;
			return true;
		}
	return false;
}

/* "all", or names of rules between commas; names that are not known mean nothing. */
static uint32_t parse_rules(struct str list)
{
	uint32_t set = 0;

	if (str_is(list, "all"))
		return UINT32_MAX;
	while (list.p) {
		struct str name = str_trim(str_cut(&list, ','));
		for (int i = 0; i < LINT_RULES; i++)
			if (str_is(name, rules[i].name))
				set |= UINT32_C(1) << i;
	}
	return set;
}

/* "skip=A,B;error=true;experimental=all". Returns the part that is wrong, or .p NULL. */
static struct str parse_config(struct str text, struct lint_config *ret)
{
	struct str rest = str_trim(text);

	*ret = (struct lint_config){0};
	if (!rest.n)
		return (struct str){0};
	while (rest.p) {
		struct str part = str_cut(&rest, ';'), value = part;
		struct str key = str_trim(str_cut(&value, '='));
		value = str_trim(value);
		if (value.p && str_is(key, "skip"))
			ret->skipped = parse_rules(value);
		else if (value.p && str_is(key, "experimental"))
			ret->experimental = parse_rules(value);
		else if (!value.p || !str_is(key, "error") || !parse_bool(value, &ret->is_error))
			return part;
	}
	return (struct str){0};
}

static int take_config(struct linter *l, struct err *err)
{
	static const char form[] = "it looks like skip=RULE,RULE;error=true;experimental=all";
	struct str given = l->options->check, directive = l->file->check;
	struct str bad;

	if (given.p) {
		bad = parse_config(given, &l->config);
		if (!bad.p)
			return 0;
		(void)err_set(err, ERR_INPUT, "BUILDKIT_DOCKERFILE_CHECK: invalid check option %s",
			lint_quoted(l, bad));
		return err_hint(err, "%s", form);
	}
	bad = parse_config(str_cut(&directive, ' '), &l->config);
	if (!bad.p)
		return 0;
	return source_error(err, ERR_INPUT, &l->file->source, l->file->check_span,
		"invalid check option %s: %s", lint_quoted(l, bad), form);
}

/* ---- Comments before instructions ---- */

static void split_lines(struct linter *l)
{
	size_t cap = 0;

	for (struct str rest = l->file->source.text; rest.p;) {
		l->lines = arena_grow(l->arena, l->lines, l->line_count, &cap, sizeof(*l->lines));
		l->lines[l->line_count++] = str_trim(str_cut(&rest, '\n'));
	}
}

static bool is_comment_line(const struct linter *l, unsigned line)
{
	if (line <= l->file->directive_line || !line || line > l->line_count)
		return false;
	return str_starts(l->lines[line - 1], STR("#"));
}

static struct str comment_text(const struct linter *l, unsigned line)
{
	return str_trim(str_from_index(l->lines[line - 1], 1));
}

struct str lint_comment(const struct linter *l, const struct instruction *ins)
{
	unsigned line = ins->span.line - 1;

	return is_comment_line(l, line) ? comment_text(l, line) : STR("");
}

/* "# check=skip=…" in the comment right before an instruction is for that instruction. */
static struct lint_config config_at(struct linter *l, const struct instruction *ins)
{
	struct lint_config config = l->config, local = {0};

	if (l->at == ins)
		return l->at_config;
	for (unsigned line = ins->span.line - 1; is_comment_line(l, line); line--) {
		struct str rest = comment_text(l, line);
		struct str key = str_trim(str_cut(&rest, '='));
		rest = str_trim(rest);
		if (!str_eq_nocase(key, STR("check")) ||
			parse_config(str_cut(&rest, ' '), &local).p)
			continue;
		config.skipped |= local.skipped;
		config.experimental |= local.experimental;
	}
	l->at = ins;
	l->at_config = config;
	return config;
}

/* ---- For the rules ---- */

void lint_add(
	struct linter *l, enum lint_rule rule, const struct instruction *ins, const char *fmt, ...)
{
	struct lint_config config = config_at(l, ins);
	uint32_t bit = UINT32_C(1) << rule;
	va_list ap;

	if (rules[rule].is_experimental ? !(config.experimental & bit) : config.skipped & bit)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	char *p = arena_alloc(l->arena, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	l->findings = arena_grow(l->arena, l->findings, l->count, &l->cap, sizeof(*l->findings));
	l->findings[l->count++] = (struct lint_finding){.rule = rules[rule].name,
		.description = rules[rule].description,
		.url = rules[rule].url,
		.text = p,
		.span = ins->span};
}

struct str lint_word(const struct instruction *ins)
{
	struct part rest = {.text = ins->text};

	return part_first(&rest).text;
}

const char *lint_quoted(struct linter *l, struct str text)
{
	cleanup(buf_done) struct buf quoted = {0};

	print_quoted(&quoted, text);
	return arena_strdup(l->arena, buf_text(&quoted));
}

void lint_lookup_done(struct lint_lookup *look)
{
	table_done(&look->found);
	table_done(&look->missing);
}

const char *lint_look_up(void *arg, struct str name)
{
	struct lint_lookup *look = arg;
	const char *value = table_get(look->env, name);

	table_set(look->linter->arena, value ? &look->found : &look->missing, name, NULL);
	return value;
}

struct str lint_expand(struct lint_lookup *look, struct str text)
{
	struct linter *l = look->linter;
	struct expansion how = {l->file->escape, 0, lint_look_up, look};
	struct str ret = text;

	return expand_word(l->arena, &how, text, &ret, NULL) ? text : ret;
}

const char *lint_suggest(struct linter *l, const struct table *env, struct str name)
{
	struct suggest near = {.written = name};

	for (size_t i = 0; i < env->count; i++)
		suggest_offer(&near, env->items[i].name.p);
	return near.best ? arena_printf(l->arena, " (did you mean $%s?)", near.best) : "";
}

/* ---- All of it ---- */

/* Pointers into one array, whose order is that in which they were found. */
static int compare_places(const void *a, const void *b)
{
	const struct lint_finding *x = *(const struct lint_finding *const *)a;
	const struct lint_finding *y = *(const struct lint_finding *const *)b;

	if (x->span.line != y->span.line)
		return x->span.line < y->span.line ? -1 : 1;
	return (x > y) - (x < y);
}

static void sort_findings(struct linter *l)
{
	const struct lint_finding **places =
		arena_array(l->arena, l->count + 1, sizeof(const struct lint_finding *));
	struct lint_finding *sorted = arena_array(l->arena, l->count + 1, sizeof(*sorted));

	for (size_t i = 0; i < l->count; i++)
		places[i] = &l->findings[i];
	qsort(places, l->count, sizeof(const struct lint_finding *), compare_places);
	for (size_t i = 0; i < l->count; i++)
		sorted[i] = *places[i];
	l->findings = sorted;
}

static struct oci_platform filled(struct oci_platform p)
{
	return (struct oci_platform){
		p.os ? p.os : "", p.architecture ? p.architecture : "", p.variant ? p.variant : ""};
}

/* False when the global scope cannot be expanded: planning will say so. */
static bool take_globals(
	struct linter *l, struct planner *p, struct plan_options *options, struct plan *plan)
{
	*p = (struct planner){.arena = l->arena, .file = l->file, .options = options, .plan = plan};
	options->build_platform = filled(l->options->build_platform);
	p->target_platform = filled(l->options->target_platform);
	if (!*p->target_platform.os)
		p->target_platform = options->build_platform;
	return args_init(p, NULL) == 0;
}

static void globals_done(struct planner *p)
{
	table_done(&p->build_args);
	table_done(&p->globals);
	table_done(&p->declared);
}

int lint(struct arena *a, const struct dockerfile *file, const struct lint_options *options,
	struct lint *ret, struct err *err)
{
	struct linter l = {.arena = a, .file = file, .options = options};
	struct plan_options with = {.build_args = options->build_args}, without = {0};
	struct plan unused = {0};
	int failed = take_config(&l, err);

	if (failed)
		return failed;
	split_lines(&l);
	lint_texts(&l);
	if (take_globals(&l, &l.defaults, &without, &unused) &&
		take_globals(&l, &l.globals, &with, &unused))
		lint_stages(&l);
	globals_done(&l.defaults);
	globals_done(&l.globals);
	sort_findings(&l);
	*ret = (struct lint){l.findings, l.count, l.count && l.config.is_error};
	return 0;
}
