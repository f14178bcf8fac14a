/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "dockerfile/planner.h"

const char *lower_case(struct arena *a, struct str text)
{
	struct str copy = arena_str(a, text);
	char *p = arena_strdup(a, copy.p);

	for (char *c = p; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return p;
}

static int expand_global(
	struct planner *p, struct str text, struct span span, struct str *ret, struct err *err)
{
	struct expansion how = {p->file->escape, 0, table_get, &p->globals};
	struct err why = {0};

	if (!expand_word(p->arena, &how, text, ret, &why))
		return 0;
	return source_error(err, why.kind, &p->file->source, span, "%s", why.text);
}

static int set_platform(struct planner *p, struct plan_stage *stage, const struct instruction *from,
	struct err *err)
{
	const struct flag *flag = instruction_flag(from, "platform", NULL);
	struct err why = {0};
	struct str text;
	int failed;

	stage->platform = p->target_platform;
	if (!flag)
		return 0;
	if ((failed = expand_global(p, flag->value, flag->span, &text, err)))
		return failed;
	if (!text.n)
		return source_error(err, ERR_INPUT, &p->file->source, flag->span,
			"--platform=%.*s is empty once its variables are replaced",
			STR_ARG(flag->value));
	if (oci_platform_parse(p->arena, text, &stage->platform, &why))
		return source_error(err, why.kind, &p->file->source, flag->span, "%s", why.text);
	return 0;
}

/* Does a named context stand for the name? It is the stage's base then. */
static bool take_context(struct planner *p, struct plan_stage *stage, struct str name)
{
	size_t at = context_find(p, name);

	if (!at)
		return false;
	const char *image = p->options->contexts[at - 1].image;
	stage->base = (struct plan_source){image ? PLAN_IMAGE : PLAN_CONTEXT, image ? 0 : at};
	if (image)
		stage->base_name = image;
	return true;
}

/*
 * The base is an earlier stage when its text, as typed, is the lower case name of one; so
 * `FROM Base` is an image even where there is a stage "base".
 */
static int set_base(struct planner *p, struct plan_stage *stage, const struct instruction *from,
	struct err *err)
{
	struct str name;
	int failed = expand_global(p, from->words[0].text, from->words[0].span, &name, err);

	if (failed)
		return failed;
	if (!name.n)
		return source_error(err, ERR_INPUT, &p->file->source, from->words[0].span,
			"the base image %.*s is empty once its variables are replaced: give the "
			"ARG a default",
			STR_ARG(from->words[0].text));
	stage->base_name = name.p;
	if (take_context(p, stage, name))
		return 0;
	uintptr_t earlier = (uintptr_t)map_find(p->names, name);
	if (earlier)
		stage->base = (struct plan_source){PLAN_STAGE, earlier - 1};
	else if (str_is(name, "scratch"))
		stage->base.kind = PLAN_SCRATCH;
	else
		stage->base.kind = PLAN_IMAGE; /* its index when it turns out to be needed */
	return 0;
}

static int add_stage(struct planner *p, const struct instruction *from, struct err *err)
{
	size_t at = p->plan->stage_count++;
	struct plan_stage *stage = &p->plan->stages[at];
	int failed;

	p->drafts[at].from = from;
	p->drafts[at].body = from + 1;
	stage->span = from->span;
	stage->name = from->word_count == 3 ? lower_case(p->arena, from->words[2].text) : "";
	stage->label = *stage->name ? stage->name : arena_printf(p->arena, "stage-%zu", at);
	if ((failed = set_base(p, stage, from, err)) ||
		(failed = set_platform(p, stage, from, err)))
		return failed;
	p->drafts[at].is_replaced = *stage->name && take_context(p, stage, str_of(stage->name));
	if (*stage->name)
		(void)map_set(p->names, str_of(stage->name), (void *)(uintptr_t)(at + 1));
	return 0;
}

/* A single stage that draws on nothing else needs no label. */
static void drop_single_label(struct planner *p)
{
	if (p->plan->stage_count > 1)
		return;
	for (size_t i = 0; i < p->file->instruction_count; i++) {
		const struct instruction *ins = &p->file->instructions[i];
		if ((ins->kind == INSTRUCTION_COPY && instruction_flag(ins, "from", NULL)) ||
			(ins->kind == INSTRUCTION_RUN && instruction_flag(ins, "mount", NULL)))
			return;
	}
	p->plan->stages[0].label = "";
}

int stages_init(struct planner *p, struct err *err)
{
	const struct dockerfile *file = p->file;
	int failed;

	p->plan->stages = arena_array(p->arena, file->stage_count, sizeof(*p->plan->stages));
	p->drafts = arena_array(p->arena, file->stage_count, sizeof(*p->drafts));
	for (size_t i = 0; i < file->instruction_count; i++) {
		if (file->instructions[i].kind != INSTRUCTION_FROM) {
			size_t at = p->plan->stage_count;
			if (at && !p->drafts[at - 1].is_replaced)
				p->drafts[at - 1].body_count++;
			continue;
		}
		if ((failed = add_stage(p, &file->instructions[i], err)))
			return failed;
	}
	drop_single_label(p);
	return 0;
}

static int no_such_target(struct planner *p, struct str target, struct err *err)
{
	const char **names = arena_array(p->arena, p->plan->stage_count + 1, sizeof(*names));
	cleanup(buf_done) struct buf list = {0};
	char hint[64];

	for (size_t i = 0, n = 0; i < p->plan->stage_count; i++) {
		if (!*p->plan->stages[i].name)
			continue;
		names[n++] = p->plan->stages[i].name;
		buf_printf(&list, "%s%s", n > 1 ? ", " : "", p->plan->stages[i].name);
	}
	(void)err_set(err, ERR_INPUT, "%s has no stage %.*s%s", p->file->source.name,
		STR_ARG(target), suggest(hint, target, names));
	if (!list.len)
		return err_hint(
			err, "its stages have no names: 0 to %zu", p->plan->stage_count - 1);
	return err_hint(err, "its stages: %s", list.data);
}

int stages_find_target(struct planner *p, struct err *err)
{
	struct str target = p->options->target;
	uint64_t at;

	p->plan->target = p->plan->stage_count - 1;
	if (!target.n)
		return 0;
	uintptr_t named = (uintptr_t)map_find(p->names, str_of(lower_case(p->arena, target)));
	if (named) {
		p->plan->target = named - 1;
		return 0;
	}
	if (parse_u64(target, p->plan->stage_count - 1, &at)) {
		p->plan->target = at;
		return 0;
	}
	return no_such_target(p, target, err);
}
