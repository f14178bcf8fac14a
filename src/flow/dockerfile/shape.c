/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "dockerfile/internal.h"

enum flag_type { FLAG_TEXT, FLAG_BOOL, FLAG_MANY };

static const struct {
	const char *name;
	enum instruction_kind kind;
	enum flag_type type;
} flags[] = {
	{"checksum", INSTRUCTION_ADD, FLAG_TEXT},
	{"chmod", INSTRUCTION_ADD, FLAG_TEXT},
	{"chown", INSTRUCTION_ADD, FLAG_TEXT},
	{"exclude", INSTRUCTION_ADD, FLAG_MANY},
	{"keep-git-dir", INSTRUCTION_ADD, FLAG_BOOL},
	{"link", INSTRUCTION_ADD, FLAG_BOOL},
	{"unpack", INSTRUCTION_ADD, FLAG_BOOL},
	{"chmod", INSTRUCTION_COPY, FLAG_TEXT},
	{"chown", INSTRUCTION_COPY, FLAG_TEXT},
	{"exclude", INSTRUCTION_COPY, FLAG_MANY},
	{"from", INSTRUCTION_COPY, FLAG_TEXT},
	{"link", INSTRUCTION_COPY, FLAG_BOOL},
	{"parents", INSTRUCTION_COPY, FLAG_BOOL},
	{"platform", INSTRUCTION_FROM, FLAG_TEXT},
	{"interval", INSTRUCTION_HEALTHCHECK, FLAG_TEXT},
	{"retries", INSTRUCTION_HEALTHCHECK, FLAG_TEXT},
	{"start-interval", INSTRUCTION_HEALTHCHECK, FLAG_TEXT},
	{"start-period", INSTRUCTION_HEALTHCHECK, FLAG_TEXT},
	{"timeout", INSTRUCTION_HEALTHCHECK, FLAG_TEXT},
	{"device", INSTRUCTION_RUN, FLAG_MANY},
	{"mount", INSTRUCTION_RUN, FLAG_MANY},
	{"network", INSTRUCTION_RUN, FLAG_TEXT},
	{"security", INSTRUCTION_RUN, FLAG_TEXT},
};

static int unknown_flag(const struct source *source, const struct instruction *ins,
	const struct flag *flag, struct err *err)
{
	const char *known[array_size(flags) + 1] = {0};
	size_t n = 0;
	char hint[64];

	for (size_t i = 0; i < array_size(flags); i++)
		if (flags[i].kind == ins->kind)
			known[n++] = flags[i].name;
	return source_error(err, ERR_INPUT, source, flag->span, "%s has no flag --%.*s%s",
		instruction_name(ins->kind), STR_ARG(flag->name), suggest(hint, flag->name, known));
}

static int check_flag(const struct source *source, const struct instruction *ins,
	const struct flag *flag, struct err *err)
{
	size_t i = 0;

	while (i < array_size(flags) &&
		!(flags[i].kind == ins->kind && str_is(flag->name, flags[i].name)))
		i++;
	if (i == array_size(flags))
		return unknown_flag(source, ins, flag, err);
	if (flags[i].type != FLAG_MANY && instruction_flag(ins, flags[i].name, NULL) != flag)
		return source_error(
			err, ERR_INPUT, source, flag->span, "--%s is given twice", flags[i].name);
	if (flags[i].type != FLAG_BOOL && !flag->value.p)
		return source_error(err, ERR_INPUT, source, flag->span,
			"--%s needs a value: --%s=…", flags[i].name, flags[i].name);
	if (flags[i].type == FLAG_BOOL && flag->value.p &&
		!str_eq_nocase(flag->value, STR("true")) &&
		!str_eq_nocase(flag->value, STR("false")))
		return source_error(err, ERR_INPUT, source, flag->span,
			"--%s is true or false, not %.*s", flags[i].name, STR_ARG(flag->value));
	return 0;
}

bool instruction_has(const struct instruction *ins, const char *name)
{
	const struct flag *flag = instruction_flag(ins, name, NULL);

	return flag && (!flag->value.p || str_eq_nocase(flag->value, STR("true")));
}

struct str instruction_value(const struct instruction *ins, const char *name)
{
	const struct flag *flag = instruction_flag(ins, name, NULL);

	return flag && flag->value.p ? flag->value : STR("");
}

/* Where "too few words" is shown: the last byte of the instruction's first line is nearest. */
static int too_few(const struct source *source, const struct instruction *ins, const char *what,
	struct err *err)
{
	return source_error(err, ERR_INPUT, source, ins->span, "%s needs %s",
		instruction_name(ins->kind), what);
}

static int check_copy(const struct source *source, const struct instruction *ins, struct err *err)
{
	cleanup(arena_done) struct arena scratch = {0};
	struct heredoc h;

	if (ins->word_count < 2)
		return too_few(source, ins, "at least one source and a destination", err);
	const struct word *dest = &ins->words[ins->word_count - 1];
	if (!ins->json && heredoc_parse_word(&scratch, dest->text, &h))
		return source_error(err, ERR_INPUT, source, dest->span,
			"a heredoc cannot be the destination of %s", instruction_name(ins->kind));
	return 0;
}

static bool is_stage_name(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || strchr("-_.", c))))
			return false;
	}
	return name.n > 0;
}

static int check_from(const struct source *source, const struct instruction *ins, struct err *err)
{
	bool named = ins->word_count == 3 && str_eq_nocase(ins->words[1].text, STR("AS"));

	if (ins->word_count != 1 && !named)
		return source_error(err, ERR_INPUT, source, ins->span,
			"FROM is followed by an image, or by an image, AS and a name");
	if (named && !is_stage_name(ins->words[2].text))
		return source_error(err, ERR_INPUT, source, ins->words[2].span,
			"%.*s cannot be the name of a stage: a letter, then letters, digits, "
			"'-', '_' and '.'",
			STR_ARG(ins->words[2].text));
	return 0;
}

static int check_one(const struct source *source, const struct instruction *ins, struct err *err)
{
	return ins->word_count == 1 ? 0 : too_few(source, ins, "one argument", err);
}

static int check_some(const struct source *source, const struct instruction *ins, struct err *err)
{
	if (!ins->word_count && !ins->pair_count)
		return too_few(source, ins, "at least one argument", err);
	for (size_t i = 0; i < ins->word_count; i++)
		if (!str_trim(ins->words[i].text).n)
			return source_error(err, ERR_INPUT, source, ins->words[i].span,
				"an empty argument of %s", instruction_name(ins->kind));
	return 0;
}

static int check_shell(const struct source *source, const struct instruction *ins, struct err *err)
{
	if (!ins->word_count)
		return too_few(source, ins, "at least one argument", err);
	if (ins->json)
		return 0;
	return source_error(err, ERR_INPUT, source, ins->words[0].span,
		"SHELL wants a JSON array: SHELL [\"/bin/bash\", \"-c\"]");
}

static int check_word_of(const struct source *source, const struct instruction *ins,
	const char *name, const char *const *allowed, struct err *err)
{
	const struct flag *flag = instruction_flag(ins, name, NULL);
	char hint[64];

	if (!flag)
		return 0;
	for (size_t i = 0; allowed[i]; i++)
		if (str_is(flag->value, allowed[i]))
			return 0;
	return source_error(err, ERR_INPUT, source, flag->span, "--%s cannot be %.*s%s", name,
		STR_ARG(flag->value), suggest(hint, flag->value, allowed));
}

static int check_run(const struct source *source, const struct instruction *ins, struct err *err)
{
	static const char *const networks[] = {"default", "none", "host", NULL};
	static const char *const securities[] = {"sandbox", "insecure", NULL};
	int failed = check_word_of(source, ins, "network", networks, err);

	if (failed || (failed = check_word_of(source, ins, "security", securities, err)))
		return failed;
	if (ins->json && !ins->word_count)
		return source_error(err, ERR_INPUT, source, ins->span, "RUN [] names no program");
	return 0;
}

static int check_durations(
	const struct source *source, const struct instruction *ins, struct err *err)
{
	static const char *const names[] = {
		"interval", "start-interval", "start-period", "timeout"};
	int64_t ns;

	for (size_t i = 0; i < array_size(names); i++) {
		const struct flag *flag = instruction_flag(ins, names[i], NULL);
		if (!flag || !flag->value.n)
			continue;
		if (!parse_duration(flag->value, &ns))
			return source_error(err, ERR_INPUT, source, flag->span,
				"--%s=%.*s is not a duration such as 30s, 1m30s or 500ms", names[i],
				STR_ARG(flag->value));
		if (ns > 0 && ns < 1000000)
			return source_error(err, ERR_INPUT, source, flag->span,
				"--%s cannot be less than 1ms", names[i]);
	}
	return 0;
}

static int check_health(const struct source *source, const struct instruction *ins, struct err *err)
{
	const struct flag *retries = instruction_flag(ins, "retries", NULL);
	uint64_t n;

	if (!ins->word_count)
		return too_few(source, ins, "CMD and a command, or NONE", err);
	struct word type = ins->words[0];
	if (str_eq_nocase(type.text, STR("NONE")))
		return ins->word_count == 1
			       ? 0
			       : source_error(err, ERR_INPUT, source, ins->words[1].span,
					 "HEALTHCHECK NONE takes no arguments");
	if (!str_eq_nocase(type.text, STR("CMD")))
		return source_error(err, ERR_INPUT, source, type.span,
			"HEALTHCHECK is followed by CMD or NONE, not %.*s", STR_ARG(type.text));
	if (ins->word_count < 2)
		return too_few(source, ins, "a command after CMD", err);
	if (retries && retries->value.n && !parse_u64(retries->value, INT32_MAX, &n))
		return source_error(err, ERR_INPUT, source, retries->span,
			"--retries=%.*s is not a number of retries", STR_ARG(retries->value));
	return check_durations(source, ins, err);
}

typedef int check_fn(const struct source *source, const struct instruction *ins, struct err *err);

/* CMD and ENTRYPOINT may be empty. */
static check_fn *const checks[INSTRUCTION_KINDS] = {
	[INSTRUCTION_ADD] = check_copy,
	[INSTRUCTION_ARG] = check_some,
	[INSTRUCTION_COPY] = check_copy,
	[INSTRUCTION_ENV] = check_some,
	[INSTRUCTION_EXPOSE] = check_some,
	[INSTRUCTION_FROM] = check_from,
	[INSTRUCTION_HEALTHCHECK] = check_health,
	[INSTRUCTION_LABEL] = check_some,
	[INSTRUCTION_MAINTAINER] = check_one,
	[INSTRUCTION_ONBUILD] = check_some,
	[INSTRUCTION_RUN] = check_run,
	[INSTRUCTION_SHELL] = check_shell,
	[INSTRUCTION_STOPSIGNAL] = check_one,
	[INSTRUCTION_USER] = check_one,
	[INSTRUCTION_VOLUME] = check_some,
	[INSTRUCTION_WORKDIR] = check_one,
};

int instruction_check(const struct source *source, const struct instruction *ins, struct err *err)
{
	for (size_t i = 0; i < ins->flag_count; i++) {
		int failed = check_flag(source, ins, &ins->flags[i], err);
		if (failed)
			return failed;
	}
	return checks[ins->kind] ? checks[ins->kind](source, ins, err) : 0;
}
