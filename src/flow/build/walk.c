/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"
#include "os/clock.h"

/*
 * The plan from the bottom up. The same walk finds out what is cached (outside a box, in a
 * few milliseconds, touching nothing) and does what is not (inside).
 */

bool build_source_chain(struct build *b, const struct plan_source *from, struct layer_chain *ret,
	struct digest *ret_key)
{
	if (from->kind == PLAN_STAGE) {
		const struct build_stage *stage = &b->stages[from->index];
		*ret = (struct layer_chain){stage->chain, stage->chain_len};
		*ret_key = stage->key;
		return stage->has_key;
	}
	if (from->kind != PLAN_IMAGE || !b->records[from->index].config.n)
		return false;
	const struct oci_list *layers = &b->records[from->index].layers;
	struct layer_key *keys = arena_array(&b->arena, layers->count + 1, sizeof(*keys));
	struct plan_stage stage = {.base = *from};
	for (size_t i = 0; i < layers->count; i++)
		if (!layer_key_parse(str_of(layers->items[i]), &keys[i]))
			return false;
	*ret = (struct layer_chain){keys, layers->count};
	*ret_key = key_of_base(b, &stage);
	return true;
}

static bool start_stage(struct build *b, struct build_stage *stage)
{
	const struct plan_source *base = &stage->plan->base;
	struct layer_chain below = {0};

	stage->has_key = true;
	if (base->kind == PLAN_SCRATCH)
		stage->key = key_of_base(b, stage->plan);
	else
		stage->has_key = build_source_chain(b, base, &below, &stage->key);
	stage->chain =
		arena_array(&b->arena, below.count + stage->step_count + 1, sizeof(*stage->chain));
	if (below.count)
		memcpy(stage->chain, below.keys, below.count * sizeof(*below.keys));
	stage->chain_len = below.count;
	return stage->has_key;
}

/* ---- inputs from other stages and images ---- */

static const struct plan_mount *mount_of(const struct build_step *step, size_t input)
{
	const struct plan_run *run = step->op->run;

	for (size_t i = 0; run && i < run->mount_count; i++)
		if (run->mounts[i].kind == PLAN_MOUNT_BIND && input-- == 0)
			return &run->mounts[i];
	return NULL;
}

static int digest_mounted(struct build *b, const struct build_step *step, struct build_input *input,
	const struct plan_mount *mount, struct err *err)
{
	cleanup(tree_selection_free) struct tree_selection *selection = NULL;
	int root;

	int r = build_mount_source(b, input->from, &root, err);
	if (r == 0)
		r = build_select(b, step->op, mount, root, &selection, err);
	if (r == 0)
		r = tree_digest(selection, NULL, &input->digest, err);
	input->is_known = r == 0;
	return r < 0 ? build_place(b, step, err) : 0;
}

/*
 * What a selection of an immutable tree contains never changes, so its digest is remembered
 * under the tree's key; the files themselves are read once in their life.
 */
static int find_digest(struct build *b, const struct build_step *step, struct build_input *input,
	const struct plan_mount *mount, struct err *err)
{
	cleanup(buf_done) struct buf name = {0};
	cleanup(buf_done) struct buf memo = {0};
	struct layer_chain chain;
	struct digest source;

	if (!build_source_chain(b, input->from, &chain, &source))
		return 0;
	key_of_input(&source, step->op, mount, &name);
	int r = layer_memo_get(b->layers, buf_str(&name), &memo, err);
	if (r < 0)
		return r;
	if (r == 0 && memo.len == DIGEST_SIZE) {
		memcpy(input->digest.bytes, memo.data, DIGEST_SIZE);
		input->is_known = true;
		return 0;
	}
	if (!b->channel)
		return 0;
	r = digest_mounted(b, step, input, mount, err);
	if (r < 0)
		return r;
	return layer_memo_put(b->layers, buf_str(&name),
		str_from((const char *)input->digest.bytes, DIGEST_SIZE), err);
}

static int find_inputs(struct build *b, struct build_step *step, bool *ret_known, struct err *err)
{
	*ret_known = true;
	for (size_t i = 0; i < step->input_count; i++) {
		struct build_input *input = &step->inputs[i];
		if (!input->is_known) {
			int r = find_digest(b, step, input, mount_of(step, i), err);
			if (r < 0)
				return r;
		}
		*ret_known &= input->is_known;
	}
	return 0;
}

/* ---- steps ---- */

/*
 * --no-cache makes a step again under a new name, since its old layer may be in use. The memo
 * says which of its lives counts from then on.
 */
static int find_life(struct build *b, struct digest *key, struct err *err)
{
	cleanup(buf_done) struct buf name = {0};
	cleanup(buf_done) struct buf life = {0};

	buf_add_text(&name, "life");
	buf_add(&name, key->bytes, DIGEST_SIZE);
	if (b->options->no_cache && b->channel) {
		buf_add_u64(&life, (uint64_t)clock_now());
		int r = layer_memo_put(b->layers, buf_str(&name), buf_str(&life), err);
		if (r < 0)
			return r;
	} else {
		int r = layer_memo_get(b->layers, buf_str(&name), &life, err);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	buf_add_str(&name, buf_str(&life));
	*key = digest_of(name.data, name.len);
	return 0;
}

static void emit_step(struct build *b, const struct build_stage *stage,
	const struct build_step *step, enum build_event_kind kind, int64_t duration)
{
	cleanup(buf_done) struct buf name = {0};

	plan_op_print(stage->plan, step->op, &name);
	const struct build_event event = {.kind = kind,
		.step = step->number,
		.cached = step->cached,
		.duration = duration,
		.name = buf_str(&name)};
	build_emit(b, &event);
}

static int do_step(
	struct build *b, struct build_stage *stage, struct build_step *step, struct err *err)
{
	int64_t start = clock_now();

	emit_step(b, stage, step, BUILD_STEP_START, 0);
	int r = build_do_step(b, stage, step, err);
	if (r < 0) {
		const struct build_event failed = {.kind = BUILD_STEP_FAILED,
			.step = step->number,
			.duration = clock_now() - start,
			.text = str_of(err->text)};
		build_emit(b, &failed);
		return r;
	}
	emit_step(b, stage, step, BUILD_STEP_DONE, clock_now() - start);
	return 0;
}

static void take_cached(struct build *b, struct build_stage *stage, struct build_step *step)
{
	step->cached = true;
	b->cached_count++;
	if (!b->channel)
		return;
	emit_step(b, stage, step, BUILD_STEP_START, 0);
	emit_step(b, stage, step, BUILD_STEP_DONE, 0);
}

/* Is the layer here, to stay while this build lasts? 1 or 0, < 0 on error. */
static int is_there(struct build *b, const struct layer_key *name, struct err *err)
{
	if (!b->lease)
		return layer_has(b->layers, name);
	int r = store_lease_layers(b->lease, b->layers, (struct layer_chain){name, 1}, err);
	return r < 0 ? r : r == 0;
}

static int walk_step(
	struct build *b, struct build_stage *stage, struct build_step *step, struct err *err)
{
	bool known;

	int r = find_inputs(b, step, &known, err);
	if (r < 0)
		return r;
	stage->has_key &= known;
	step->has_key = stage->has_key;
	if (!stage->has_key)
		return 0;
	step->key = key_of_step(&stage->key, step);
	r = find_life(b, &step->key, err);
	if (r < 0)
		return r;
	struct layer_key name = layer_key_of(&step->key);
	int there = is_there(b, &name, err);
	if (there < 0)
		return there;
	if (!b->options->no_cache && there)
		take_cached(b, stage, step);
	else if (b->channel)
		r = do_step(b, stage, step, err);
	stage->key = step_is_linked(step) ? key_of_chain(&stage->key, &step->key) : step->key;
	stage->chain[stage->chain_len++] = name;
	return r;
}

int build_walk(struct build *b, struct err *err)
{
	b->cached_count = 0;
	for (size_t i = 0; i < b->plan.stage_count; i++) {
		struct build_stage *stage = &b->stages[i];
		if (!stage->plan->needed)
			continue;
		(void)start_stage(b, stage); /* an unknown base leaves has_key false */
		for (size_t k = 0; k < stage->step_count; k++) {
			int r = walk_step(b, stage, &stage->steps[k], err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
