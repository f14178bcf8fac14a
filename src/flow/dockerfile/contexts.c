/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/*
 * Named contexts (--build-context). Names of stages and of images are compared in full, as
 * references, so that "alpine" is "docker.io/library/alpine:latest" on either side.
 */
static struct str full_name(struct planner *p, struct str name)
{
	struct oci_reference reference;
	struct err unused = {0};

	return oci_reference_parse(p->arena, name, &reference, &unused) ? name
									: str_of(reference.text);
}

void contexts_init(struct planner *p)
{
	const struct plan_options *o = p->options;

	p->context_used = arena_array(p->arena, o->context_count + 1, sizeof(bool));
	for (size_t i = 0; i < o->context_count; i++)
		(void)map_set(p->contexts, full_name(p, str_of(o->contexts[i].name)),
			(void *)(uintptr_t)(i + 1)); /* the last of a name wins */
}

size_t context_find(struct planner *p, struct str name)
{
	if (!p->options->context_count)
		return 0;
	size_t at = (size_t)(uintptr_t)map_find(p->contexts, full_name(p, name));
	if (at)
		p->context_used[at - 1] = true;
	return at;
}

void contexts_warn_unused(struct planner *p)
{
	const struct span nowhere = {0};

	for (size_t i = 0; i < p->options->context_count; i++)
		if (!p->context_used[i])
			plan_warn(p, nowhere,
				"build context %s is not used: no stage and no image has that name",
				p->options->contexts[i].name);
}

void context_add_step(struct planner *p, size_t at)
{
	struct plan_stage *stage = &p->plan->stages[at];
	struct plan_copy *copy = arena_alloc(p->arena, sizeof(*copy));
	const char *name = p->options->contexts[stage->base.index - 1].name;

	*copy = (struct plan_copy){.from = stage->base,
		.sources = arena_array(p->arena, 1, sizeof(*copy->sources)),
		.source_count = 1,
		.dest = "/",
		.dest_is_dir = true,
		.has_epoch = p->has_epoch,
		.epoch = p->epoch,
		.chown = "",
		.chmod = "",
		.checksum = ""};
	copy->sources[0] = (struct plan_path){.path = "/", .span = stage->span};
	/* No instruction of the file: it has no entry in the history. */
	struct plan_op op = {.kind = PLAN_COPY,
		.instruction = INSTRUCTION_COPY,
		.span = stage->span,
		.title = arena_printf(p->arena, "FROM build context %s", name),
		.user = "",
		.workdir = "/",
		.copy = copy};
	plan_number_step(p, stage, &op);
	stage->ops = arena_grow(
		p->arena, stage->ops, stage->op_count, &p->drafts[at].op_cap, sizeof(op));
	stage->ops[stage->op_count++] = op;
	stage->base = (struct plan_source){.kind = PLAN_SCRATCH};
}
