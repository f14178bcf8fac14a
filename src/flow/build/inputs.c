/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/internal.h"

#define CONTEXTS_DIR "contexts"

static int digest_context_input(struct build *b, struct build_step *step, struct build_input *input,
	const struct plan_mount *mount, struct tree_cache *cache, struct err *err)
{
	struct tree_selection *selection;

	int r = build_select(b, step->op, mount, b->context, &selection, err);
	if (r < 0)
		return build_place(b, step, err);
	if (b->selection_count == b->selection_cap)
		b->selections = xgrow(b->selections, &b->selection_cap, b->selection_count + 1,
			sizeof(struct tree_selection *));
	input->selection = b->selection_count;
	b->selections[b->selection_count++] = selection;
	r = tree_digest(selection, cache, &input->digest, err);
	input->is_known = r == 0;
	return r < 0 ? build_place(b, step, err) : 0;
}

static int add_input(struct build *b, struct build_step *step, const struct plan_source *from,
	const struct plan_mount *mount, struct tree_cache *cache, struct err *err)
{
	struct build_input *input = &step->inputs[step->input_count++];

	*input = (struct build_input){.from = from};
	if (from->kind != PLAN_CONTEXT)
		return 0;
	return digest_context_input(b, step, input, mount, cache, err);
}

static int add_inputs(
	struct build *b, struct build_step *step, struct tree_cache *cache, struct err *err)
{
	const struct plan_op *op = step->op;
	size_t most = op->run ? op->run->mount_count : 1;
	int r = 0;

	step->inputs = arena_array(&b->arena, most + 1, sizeof(*step->inputs));
	if (op->copy && op->copy->source_count)
		r = add_input(b, step, &op->copy->from, NULL, cache, err);
	for (size_t i = 0; op->run && i < op->run->mount_count && r == 0; i++)
		if (op->run->mounts[i].kind == PLAN_MOUNT_BIND)
			r = add_input(
				b, step, &op->run->mounts[i].from, &op->run->mounts[i], cache, err);
	return r;
}

static int add_steps(
	struct build *b, struct build_stage *stage, struct tree_cache *cache, struct err *err)
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
		r = add_inputs(b, step, cache, err);
	}
	return r;
}

/* ---- what is remembered of a context's files ---- */

/* Named after the directory's real path, so that every project has a file of its own. */
static char *cache_name(struct build *b)
{
	char path[PATH_MAX], hex[DIGEST_HEX_SIZE];

	if (!realpath(b->options->dir, path))
		return NULL;
	struct digest d = digest_of(path, strlen(path));
	return arena_strdup(&b->arena, digest_hex(&d, hex));
}

static int open_contexts(const struct build *b)
{
	int data = store_data(b->store);

	(void)mkdirat(data, CONTEXTS_DIR, 0700); /* a failure shows in the next line */
	return openat(data, CONTEXTS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int build_find_inputs(struct build *b, struct err *err)
{
	cleanup_close int contexts = open_contexts(b);
	char *name = cache_name(b);
	cleanup(tree_cache_free) struct tree_cache *cache =
		contexts >= 0 && name ? tree_cache_load(contexts, name) : NULL;
	int r = 0;

	b->stages = arena_array(&b->arena, b->plan.stage_count + 1, sizeof(*b->stages));
	for (size_t i = 0; i < b->plan.stage_count && r == 0; i++) {
		b->stages[i].plan = &b->plan.stages[i];
		if (b->plan.stages[i].needed)
			r = add_steps(b, &b->stages[i], cache, err);
	}
	if (r == 0 && cache)
		/* Without it the next build is slower, and no less right. */
		ignored(tree_cache_save(cache, contexts, name, NULL));
	return r;
}
