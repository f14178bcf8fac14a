/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

/* How the arguments of an instruction are taken apart; each fills words or pairs. */
typedef int arguments_fn(
	struct reader *r, struct part args, struct instruction *ins, struct err *err);

static int take_text(struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_list(struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_array_or_text(
	struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_array_or_list(
	struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_names(struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_pairs(struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_health(
	struct reader *r, struct part args, struct instruction *ins, struct err *err);
static int take_trigger(
	struct reader *r, struct part args, struct instruction *ins, struct err *err);

static const struct {
	const char *name;
	arguments_fn *take;
} instructions[INSTRUCTION_KINDS] = {
	[INSTRUCTION_ADD] = {"ADD", take_array_or_list},
	[INSTRUCTION_ARG] = {"ARG", take_names},
	[INSTRUCTION_CMD] = {"CMD", take_array_or_text},
	[INSTRUCTION_COPY] = {"COPY", take_array_or_list},
	[INSTRUCTION_ENTRYPOINT] = {"ENTRYPOINT", take_array_or_text},
	[INSTRUCTION_ENV] = {"ENV", take_pairs},
	[INSTRUCTION_EXPOSE] = {"EXPOSE", take_list},
	[INSTRUCTION_FROM] = {"FROM", take_list},
	[INSTRUCTION_HEALTHCHECK] = {"HEALTHCHECK", take_health},
	[INSTRUCTION_LABEL] = {"LABEL", take_pairs},
	[INSTRUCTION_MAINTAINER] = {"MAINTAINER", take_text},
	[INSTRUCTION_ONBUILD] = {"ONBUILD", take_trigger},
	[INSTRUCTION_RUN] = {"RUN", take_array_or_text},
	[INSTRUCTION_SHELL] = {"SHELL", take_array_or_text},
	[INSTRUCTION_STOPSIGNAL] = {"STOPSIGNAL", take_text},
	[INSTRUCTION_USER] = {"USER", take_text},
	[INSTRUCTION_VOLUME] = {"VOLUME", take_array_or_list},
	[INSTRUCTION_WORKDIR] = {"WORKDIR", take_text},
};

const char *instruction_name(enum instruction_kind kind)
{
	return instructions[kind].name;
}

const struct flag *instruction_flag(
	const struct instruction *ins, const char *name, const struct flag *after)
{
	size_t i = after ? (size_t)(after - ins->flags) + 1 : 0;

	for (; i < ins->flag_count; i++)
		if (str_is(ins->flags[i].name, name))
			return &ins->flags[i];
	return NULL;
}

static int find_kind(
	struct reader *r, struct part word, enum instruction_kind *ret, struct err *err)
{
	const char *names[INSTRUCTION_KINDS + 1] = {0};
	char hint[64];

	for (int i = 0; i < INSTRUCTION_KINDS; i++) {
		names[i] = instructions[i].name;
		if (str_eq_nocase(word.text, str_of(names[i]))) {
			*ret = (enum instruction_kind)i;
			return 0;
		}
	}
	return source_error(err, ERR_INPUT, r->source, part_span(word),
		"unknown instruction: %.*s%s", STR_ARG(word.text), suggest(hint, word.text, names));
}

static void add_word(struct reader *r, struct part p, struct instruction *ins)
{
	struct word *words = arena_array(r->arena, ins->word_count + 1, sizeof(*words));

	if (ins->word_count)
		memcpy(words, ins->words, ins->word_count * sizeof(*words));
	words[ins->word_count++] = part_word(p);
	ins->words = words;
}

static int take_text(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	(void)err;
	if (args.text.n)
		add_word(r, args, ins);
	return 0;
}

static int take_list(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	(void)err;
	split_list(r->arena, args, ins);
	return 0;
}

/* 1: it was an array, and ins has its words; 0: it was none. */
static int take_array(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	switch (split_array(r->arena, args, ins)) {
	case ARRAY_NONE:
		return 0;
	case ARRAY_OTHER:
		return source_error(err, ERR_INPUT, r->source, part_span(args),
			"a JSON array of %s must hold strings only", instruction_name(ins->kind));
	case ARRAY_STRINGS:
		break;
	}
	for (size_t i = 0; i < ins->word_count; i++)
		if (str_find(ins->words[i].text, '\0') < ins->words[i].text.n)
			return source_error(err, ERR_INPUT, r->source, ins->words[i].span,
				"\\u0000 cannot be part of an argument");
	return 1;
}

static int take_array_or_text(
	struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	int taken = take_array(r, args, ins, err);

	return taken ? (taken < 0 ? taken : 0) : take_text(r, args, ins, err);
}

static int take_array_or_list(
	struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	int taken = take_array(r, args, ins, err);

	return taken ? (taken < 0 ? taken : 0) : take_list(r, args, ins, err);
}

static struct pair pair_of(struct part p)
{
	size_t eq = str_find(p.text, '=');

	return (struct pair){
		.name = part_word(part_slice(p, 0, eq)),
		.value = part_word(part_slice(p, eq + 1, p.text.n)),
		.has_value = eq < p.text.n,
	};
}

static int check_name(
	struct reader *r, const struct instruction *ins, struct part p, struct err *err)
{
	if (p.text.n && p.text.p[0] != '=')
		return 0;
	return source_error(err, ERR_INPUT, r->source, part_span(p), "%s names cannot be blank",
		instruction_name(ins->kind));
}

/* ARG: each word a name or name=default. */
static int take_names(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	struct part *words;
	int failed;

	split_quoted(r->arena, args, r->escape, &words, &ins->pair_count);
	ins->pairs = arena_array(r->arena, ins->pair_count, sizeof(*ins->pairs));
	for (size_t i = 0; i < ins->pair_count; i++) {
		if ((failed = check_name(r, ins, words[i], err)))
			return failed;
		ins->pairs[i] = pair_of(words[i]);
	}
	return 0;
}

/* `ENV name the rest`: one pair, the value to the end of the line. */
static int take_old_pair(
	struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	struct part value = args, name = part_first(&value);

	if (!value.text.n)
		return source_error(err, ERR_INPUT, r->source, part_span(args),
			"%s needs a name and a value: %s %.*s=…", instruction_name(ins->kind),
			instruction_name(ins->kind), STR_ARG(name.text));
	ins->pairs = arena_array(r->arena, 1, sizeof(*ins->pairs));
	ins->pair_count = 1;
	ins->pairs[0] = (struct pair){
		.name = part_word(name),
		.value = part_word(value),
		.has_value = true,
		.old_form = true,
	};
	return 0;
}

static int take_pairs(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	struct part *words;
	size_t count;
	int failed;

	split_quoted(r->arena, args, r->escape, &words, &count);
	if (count && str_find(words[0].text, '=') == words[0].text.n)
		return take_old_pair(r, args, ins, err);
	ins->pairs = arena_array(r->arena, count, sizeof(*ins->pairs));
	ins->pair_count = count;
	for (size_t i = 0; i < count; i++) {
		if ((failed = check_name(r, ins, words[i], err)))
			return failed;
		ins->pairs[i] = pair_of(words[i]);
		if (!ins->pairs[i].has_value)
			return source_error(err, ERR_INPUT, r->source, part_span(words[i]),
				"no = in %.*s: %s wants name=value, with quotes around a value that "
				"has blanks",
				STR_ARG(words[i].text), instruction_name(ins->kind));
	}
	return 0;
}

static int take_health(struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	struct part type = part_first(&args);
	struct instruction rest = {.kind = ins->kind};

	if (!type.text.n)
		return 0;
	int failed = take_array_or_text(r, args, &rest, err);
	if (failed)
		return failed;
	ins->json = rest.json;
	ins->words = arena_array(r->arena, rest.word_count + 1, sizeof(*ins->words));
	ins->words[0] = part_word(type);
	if (rest.word_count)
		memcpy(ins->words + 1, rest.words, rest.word_count * sizeof(*ins->words));
	ins->word_count = rest.word_count + 1;
	return 0;
}

static int check_trigger(
	struct reader *r, enum instruction_kind kind, struct span span, struct err *err)
{
	if (kind != INSTRUCTION_ONBUILD && kind != INSTRUCTION_FROM &&
		kind != INSTRUCTION_MAINTAINER)
		return 0;
	return source_error(err, ERR_INPUT, r->source, span,
		"%s cannot be the trigger of an ONBUILD", instruction_name(kind));
}

static int parse_instruction(
	struct reader *r, struct part p, struct instruction *ins, struct err *err);

/* The kind is judged before the trigger is parsed, so that ONBUILDs do not nest. */
static int take_trigger(
	struct reader *r, struct part args, struct instruction *ins, struct err *err)
{
	struct part rest = args;
	int failed;

	if (!args.text.n)
		return 0;
	ins->trigger = arena_alloc(r->arena, sizeof(*ins->trigger));
	if ((failed = find_kind(r, part_first(&rest), &ins->trigger->kind, err)) ||
		(failed = check_trigger(r, ins->trigger->kind, part_span(args), err)) ||
		(failed = parse_instruction(r, args, ins->trigger, err)))
		return failed;
	add_word(r, args, ins);
	return 0;
}

/* p is trimmed. Heredocs are the caller's: their bodies follow the whole line. */
static int parse_instruction(
	struct reader *r, struct part p, struct instruction *ins, struct err *err)
{
	struct part args = p, word = part_first(&args);
	int failed = find_kind(r, word, &ins->kind, err);

	if (failed)
		return failed;
	ins->text = p.text;
	ins->span = part_span(p);
	if (ins->kind != INSTRUCTION_ONBUILD)
		split_flags(r->arena, &args, ins);
	return instructions[ins->kind].take(r, args, ins, err);
}

static bool can_have_heredocs(const struct instruction *ins)
{
	return !ins->json && (ins->kind == INSTRUCTION_RUN || ins->kind == INSTRUCTION_COPY ||
				     ins->kind == INSTRUCTION_ADD);
}

/* The text of a trigger is kept whole, with the bodies of its heredocs. */
static void keep_trigger_text(struct reader *r, struct instruction *ins)
{
	cleanup(buf_done) struct buf text = {0};

	if (!ins->trigger->heredoc_count)
		return;
	buf_add_str(&text, ins->words[0].text);
	for (size_t i = 0; i < ins->trigger->heredoc_count; i++) {
		const struct heredoc *h = &ins->trigger->heredocs[i];
		buf_add_char(&text, '\n');
		buf_add_str(&text, h->body);
		buf_add_str(&text, h->name);
	}
	ins->words[0].text = arena_str(r->arena, buf_str(&text));
}

static int parse_line(
	struct reader *r, const struct logical *line, struct instruction *ins, struct err *err)
{
	struct part whole = part_trim((struct part){.line = line, .text = line->text});

	if (!whole.text.n)
		return source_error(err, ERR_INPUT, r->source, logical_span(line, 0, 1),
			"there is no instruction in this line and its continuations");
	int failed = parse_instruction(r, whole, ins, err);
	if (failed)
		return failed;
	ins->blank_line = line->has_blank_line ? line->last_line : 0;
	struct instruction *inner = ins->trigger ? ins->trigger : ins;
	if (can_have_heredocs(inner) && (failed = heredocs_read(r, line, inner, err)))
		return failed;
	if (ins->trigger)
		keep_trigger_text(r, ins);
	if (inner->heredoc_count || line->last_line > ins->span.end_line) {
		ins->span.end_line = inner->heredoc_count ? r->line : line->last_line;
		ins->span.end_col = 0;
	}
	if (ins->trigger && (failed = instruction_check(r->source, ins->trigger, err)))
		return failed;
	return instruction_check(r->source, ins, err);
}

static int check_text(const struct source *source, struct err *err)
{
	struct span start = {.line = 1, .col = 1};
	size_t nul = str_find(source->text, '\0');

	if (source->text.n > DOCKERFILE_MAX_SIZE)
		return source_error(err, ERR_LIMIT, source, start,
			"the file has %zu bytes, at most %d are allowed", source->text.n,
			DOCKERFILE_MAX_SIZE);
	if (nul < source->text.n)
		return source_error(err, ERR_INPUT, source, source_span(source, nul, 1),
			"a NUL byte: this is not a text");
	return 0;
}

static int check_count(
	const struct dockerfile *file, const struct instruction *ins, struct err *err)
{
	if (file->instruction_count > DOCKERFILE_MAX_INSTRUCTIONS)
		return source_error(err, ERR_LIMIT, &file->source, ins->span,
			"more than %d instructions", DOCKERFILE_MAX_INSTRUCTIONS);
	if (file->stage_count > DOCKERFILE_MAX_STAGES)
		return source_error(err, ERR_LIMIT, &file->source, ins->span, "more than %d stages",
			DOCKERFILE_MAX_STAGES);
	if (!file->stage_count && ins->kind != INSTRUCTION_ARG)
		return source_error(err, ERR_INPUT, &file->source, ins->span,
			"%s before the first FROM: only ARG may stand there",
			instruction_name(ins->kind));
	return 0;
}

static int parse_all(struct reader *r, struct dockerfile *file, struct err *err)
{
	size_t cap = 0;
	struct logical line;
	int got, failed;

	while ((got = reader_next(r, &line, err)) > 0) {
		file->instructions = arena_grow(r->arena, file->instructions,
			file->instruction_count, &cap, sizeof(*file->instructions));
		struct instruction *ins = &file->instructions[file->instruction_count++];
		*ins = (struct instruction){0};
		if ((failed = parse_line(r, &line, ins, err)))
			return failed;
		file->stage_count += ins->kind == INSTRUCTION_FROM;
		if ((failed = check_count(file, ins, err)))
			return failed;
	}
	return got;
}

int dockerfile_parse(
	struct arena *a, const struct source *source, struct dockerfile *ret, struct err *err)
{
	struct dockerfile file = {.source = *source};
	struct reader r = reader_of(a, source);
	struct span start = {.line = 1, .col = 1};
	int failed = check_text(source, err);

	if (failed || (failed = parse_all(&r, &file, err)))
		return failed;
	if (!file.instruction_count)
		return source_error(err, ERR_INPUT, source, start, "there is no instruction in it");
	if (!file.stage_count)
		return source_error(err, ERR_INPUT, source, start,
			"there is no FROM in it, so there is nothing to build");
	file.escape = r.escape;
	file.syntax = r.syntax;
	file.check = r.check;
	file.check_span = r.check_span;
	file.directive_line = r.directive_line;
	*ret = file;
	return 0;
}

int dockerfile_parse_trigger(
	struct arena *a, const struct source *source, struct instruction *ret, struct err *err)
{
	struct reader r = reader_of(a, source);
	struct logical line, more;
	struct span start = {.line = 1, .col = 1};
	struct instruction ins = {0};
	int failed = check_text(source, err), got;

	if (failed)
		return failed;
	if ((got = reader_next(&r, &line, err)) < 0)
		return got;
	if (!got)
		return source_error(err, ERR_INPUT, source, start, "an empty trigger");
	if ((failed = parse_line(&r, &line, &ins, err)) ||
		(failed = check_trigger(&r, ins.kind, ins.span, err)))
		return failed;
	if ((got = reader_next(&r, &more, err)) < 0)
		return got;
	if (got)
		return source_error(err, ERR_INPUT, source, logical_span(&more, 0, more.text.n),
			"a trigger must be a single instruction");
	*ret = ins;
	return 0;
}
