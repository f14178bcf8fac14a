/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "build/caches.h"

static int digest_context_input(struct build *b, struct build_step *step, struct build_input *input,
	const struct plan_mount *mount, struct err *err)
{
	const struct build_context *context = &b->contexts[input->from->index];
	struct tree_selection *selection;

	int r = build_select(b, step->op, mount, context->dir, &selection, err);
	if (r < 0)
		return build_place(b, step, err);
	if (b->selection_count == b->selection_cap)
		b->selections = xgrow(b->selections, &b->selection_cap, b->selection_count + 1,
			sizeof(struct tree_selection *));
	input->selection = b->selection_count;
	b->selections[b->selection_count++] = selection;
	r = tree_digest(selection, context->cache, &input->digest, err);
	input->is_known = r == 0;
	return r < 0 ? build_place(b, step, err) : 0;
}

static int add_input(struct build *b, struct build_step *step, const struct plan_source *from,
	const struct plan_mount *mount, struct err *err)
{
	struct build_input *input = &step->inputs[step->input_count++];

	*input = (struct build_input){.from = from};
	if (from->kind != PLAN_CONTEXT)
		return 0;
	return digest_context_input(b, step, input, mount, err);
}

/* All paths together are one input, each URL and each repository is one of its own. */
static int add_sources(
	struct build *b, struct build_step *step, const struct plan_copy *copy, struct err *err)
{
	int r = plan_copy_paths(copy) ? add_input(b, step, &copy->from, NULL, err) : 0;

	for (size_t i = 0; i < copy->source_count && r == 0; i++) {
		if (copy->sources[i].kind == PLAN_PATH)
			continue;
		struct build_input *input = &step->inputs[step->input_count++];
		*input = (struct build_input){
			.from = &copy->from, .remote = &copy->sources[i], .fd = -1};
		remote_foresee(input, copy);
	}
	return r;
}

static int add_inputs(struct build *b, struct build_step *step, struct err *err)
{
	const struct plan_op *op = step->op;
	size_t most = op->run ? op->run->mount_count : op->copy ? op->copy->source_count : 0;
	int r = 0;

	step->inputs = arena_array(&b->arena, most + 1, sizeof(*step->inputs));
	if (op->copy)
		r = add_sources(b, step, op->copy, err);
	for (size_t i = 0; op->run && i < op->run->mount_count && r == 0; i++)
		if (mount_has_input(&op->run->mounts[i]))
			r = add_input(b, step, &op->run->mounts[i].from, &op->run->mounts[i], err);
	return r;
}

static int add_steps(struct build *b, struct build_stage *stage, struct err *err)
{
	const struct plan_stage *plan = stage->plan;
	int r = 0;

	stage->steps = arena_array(&b->arena, plan->op_count + 1, sizeof(*stage->steps));
	for (size_t i = 0; i < plan->op_count && r == 0; i++) {
		if (plan->ops[i].kind == PLAN_META)
			continue;
		struct build_step *step = &stage->steps[stage->step_count++];
		step->op = &plan->ops[i];
		step->number = ++b->step_count;
		step->without_tool_cache = !build_has_tool_cache(b) && step->op->run &&
					   tool_caches_wanted(step->op->run);
		r = add_inputs(b, step, err);
	}
	return r;
}

int build_find_inputs(struct build *b, struct err *err)
{
	int r = 0;

	build_load_caches(b);
	b->stages = arena_array(&b->arena, b->plan.stage_count + 1, sizeof(*b->stages));
	for (size_t i = 0; i < b->plan.stage_count && r == 0; i++) {
		b->stages[i].plan = &b->plan.stages[i];
		if (b->plan.stages[i].needed)
			r = add_steps(b, &b->stages[i], err);
	}
	if (r == 0)
		build_save_caches(b);
	return r;
}
