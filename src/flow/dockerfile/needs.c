/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/* Stages that are needed but not looked at yet. */
struct queue {
	struct planner *planner;
	size_t *stages;
	size_t count;
};

static void need(struct queue *q, size_t stage)
{
	if (q->planner->plan->stages[stage].needed)
		return;
	q->planner->plan->stages[stage].needed = true;
	q->stages[q->count++] = stage;
}

int image_add(struct planner *p, const struct command *c, struct word name,
	const struct oci_platform *platform, size_t *ret, struct err *err)
{
	struct plan_image image = {
		.platform = *platform, .span = c->is_trigger ? c->span : name.span};
	struct err why = {0};

	if (oci_reference_parse(p->arena, name.text, &image.reference, &why))
		return command_error(err, why.kind, c, name.span, "%s", why.text);
	const char *key = arena_printf(p->arena, "%s %s/%s/%s", image.reference.text, platform->os,
		platform->architecture, platform->variant);
	uintptr_t known = (uintptr_t)map_find(p->images, str_of(key));
	if (known) {
		*ret = known - 1;
		return 0;
	}
	struct plan *plan = p->plan;
	image.name = arena_str(p->arena, name.text).p;
	plan->images =
		arena_grow(p->arena, plan->images, plan->image_count, &p->image_cap, sizeof(image));
	p->bases =
		arena_grow(p->arena, p->bases, plan->image_count, &p->base_cap, sizeof(*p->bases));
	*ret = plan->image_count;
	plan->images[plan->image_count] = image;
	p->bases[plan->image_count] = (struct base_image){0};
	(void)map_set(p->images, str_of(key), (void *)(uintptr_t)++plan->image_count);
	return 0;
}

static int resolve_image(struct planner *p, const struct command *c, size_t at, struct err *err)
{
	struct plan_image *image = &p->plan->images[at];
	struct oci_config config = {0};

	image->is_base = true;
	if (p->bases[at].resolved)
		return 0;
	int failed = p->options->resolve(p->options->arg, image, &config, err);
	if (failed) {
		if (!err || err->kind != ERR_CANCELLED)
			(void)source_wrap(err, c->source, c->span, "FROM %s", image->name);
		return failed;
	}
	oci_config_copy(p->arena, &config, &p->bases[at].config);
	p->bases[at].resolved = true;
	return 0;
}

static int need_reference(void *arg, const struct command *c, struct word text, struct err *err)
{
	struct queue *q = arg;
	enum reference_kind kind;
	size_t stage;
	int failed = reference_find(q->planner, c, text, &kind, &stage, err);

	if (!failed && kind == REFERENCE_STAGE)
		need(q, stage);
	return failed;
}

/*
 * The triggers of a base image are texts of its configuration: each is parsed as a source of
 * its own, with '\' as its escape.
 */
static int parse_triggers(struct queue *q, size_t stage, const struct plan_image *image,
	const struct oci_list *texts, struct err *err)
{
	struct planner *p = q->planner;
	struct draft *d = &p->drafts[stage];

	d->triggers = arena_array(p->arena, texts->count, sizeof(*d->triggers));
	d->trigger_count = texts->count;
	for (size_t i = 0; i < texts->count; i++) {
		struct source *source = arena_alloc(p->arena, sizeof(*source));
		struct instruction *ins = arena_alloc(p->arena, sizeof(*ins));
		source->name = arena_printf(p->arena, "ONBUILD of %s", image->name);
		source->text = str_of(texts->items[i]);
		d->triggers[i] = (struct command){source, ins, true, d->from->span};
		int failed = dockerfile_parse_trigger(p->arena, source, ins, err);
		if (failed) {
			(void)err_wrap(err, "%s:%u", p->file->source.name, d->from->span.line);
			return failed;
		}
	}
	return 0;
}

/* The ONBUILDs of a stage of this file have been parsed where they stand. */
static void take_triggers(struct planner *p, size_t stage, size_t base)
{
	const struct draft *from = &p->drafts[base];
	struct draft *d = &p->drafts[stage];
	size_t cap = 0;

	for (size_t i = 0; i < from->body_count; i++) {
		const struct instruction *ins = &from->body[i];
		if (ins->kind != INSTRUCTION_ONBUILD)
			continue;
		d->triggers = arena_grow(
			p->arena, d->triggers, d->trigger_count, &cap, sizeof(*d->triggers));
		d->triggers[d->trigger_count++] =
			(struct command){&p->file->source, ins->trigger, true, ins->span};
	}
}

static int take_base(struct queue *q, size_t stage, struct err *err)
{
	struct planner *p = q->planner;
	struct plan_stage *s = &p->plan->stages[stage];
	const struct instruction *from = p->drafts[stage].from;
	struct command c = {&p->file->source, from, false, from->span};
	struct word name = {str_of(s->base_name), from->words[0].span};
	int failed;

	if (s->base.kind == PLAN_STAGE) {
		need(q, s->base.index);
		take_triggers(p, stage, s->base.index);
	}
	if (s->base.kind != PLAN_IMAGE)
		return 0;
	if ((failed = image_add(p, &c, name, &s->platform, &s->base.index, err)) ||
		(failed = resolve_image(p, &c, s->base.index, err)))
		return failed;
	return parse_triggers(q, stage, &p->plan->images[s->base.index],
		&p->bases[s->base.index].config.onbuild, err);
}

static int take_references(struct queue *q, size_t stage, struct err *err)
{
	struct planner *p = q->planner;
	const struct draft *d = &p->drafts[stage];
	int failed;

	for (size_t i = 0; i < d->trigger_count; i++)
		if ((failed = references_each(p, &d->triggers[i], need_reference, q, err)))
			return failed;
	for (size_t i = 0; i < d->body_count; i++) {
		struct command c = {&p->file->source, &d->body[i], false, d->body[i].span};
		if ((failed = references_each(p, &c, need_reference, q, err)))
			return failed;
	}
	return 0;
}

int needs_mark(struct planner *p, struct err *err)
{
	struct queue q = {
		.planner = p,
		.stages = arena_array(p->arena, p->plan->stage_count, sizeof(*q.stages)),
	};
	int failed;

	need(&q, p->plan->target);
	for (size_t i = 0; i < q.count; i++)
		if ((failed = take_base(&q, q.stages[i], err)) ||
			(failed = take_references(&q, q.stages[i], err)))
			return failed;
	return 0;
}
