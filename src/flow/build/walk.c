/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"
#include "os/clock.h"

/*
 * The plan from the bottom up. The same walk finds out what is cached (outside a box, in a
 * few milliseconds, touching nothing) and does what is not (inside, schedule.c says when and
 * in which process).
 */

bool build_source_chain(struct build *b, const struct plan_source *from, struct layer_chain *ret,
	struct digest *ret_key)
{
	if (from->kind == PLAN_STAGE) {
		const struct build_stage *stage = &b->stages[from->index];
		*ret = (struct layer_chain){stage->chain, stage->chain_len};
		*ret_key = stage->key;
		return stage->is_over;
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

/* False while what it begins with is not known. */
static bool start_stage(struct build *b, struct build_stage *stage)
{
	const struct plan_source *base = &stage->plan->base;
	struct layer_chain below = {0};

	if (base->kind == PLAN_SCRATCH)
		stage->key = key_of_base(b, stage->plan);
	else if (!build_source_chain(b, base, &below, &stage->key))
		return false;
	stage->chain =
		arena_array(&b->arena, below.count + stage->step_count + 1, sizeof(*stage->chain));
	if (below.count)
		memcpy(stage->chain, below.keys, below.count * sizeof(*below.keys));
	stage->chain_len = below.count;
	stage->is_started = true;
	return true;
}

/* ---- what a stage waits for ---- */

static bool is_there(const struct build_stage *stages, const struct plan_source *from)
{
	return from->kind != PLAN_STAGE || stages[from->index].is_over;
}

static bool has_sources(const struct build_stage *stages, const struct plan_op *op)
{
	bool has = !op->copy || is_there(stages, &op->copy->from);

	for (size_t i = 0; op->run && i < op->run->mount_count; i++)
		has &= is_there(stages, &op->run->mounts[i].from);
	return has;
}

bool stage_can_go_on(const struct build_stage *stages, const struct build_stage *stage)
{
	if (stage->is_over || !stage->plan->needed)
		return false;
	if (!stage->is_started && !is_there(stages, &stage->plan->base))
		return false;
	return stage->next == stage->step_count ||
	       has_sources(stages, stage->steps[stage->next].op);
}

/* ---- inputs from other stages and images ---- */

static const struct plan_mount *mount_of(const struct build_step *step, size_t input)
{
	const struct plan_run *run = step->op->run;

	for (size_t i = 0; run && i < run->mount_count; i++)
		if (mount_has_input(&run->mounts[i]) && input-- == 0)
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
	const struct plan_mount *mount, bool may_read, struct err *err)
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
	if (!may_read)
		return 0;
	r = digest_mounted(b, step, input, mount, err);
	if (r < 0)
		return r;
	return layer_memo_put(b->layers, buf_str(&name),
		str_from((const char *)input->digest.bytes, DIGEST_SIZE), err);
}

static int find_inputs(
	struct build *b, struct build_step *step, bool may_read, bool *ret_known, struct err *err)
{
	*ret_known = true;
	for (size_t i = 0; i < step->input_count; i++) {
		struct build_input *input = &step->inputs[i];
		if (!input->is_known) {
			int r = find_digest(b, step, input, mount_of(step, i), may_read, err);
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

	schedule_tell_start(b, step);
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

void stage_step_over(struct build_stage *stage, const struct digest *key)
{
	struct build_step *step = &stage->steps[stage->next++];

	step->has_key = true;
	step->key = *key;
	stage->key = step_is_linked(step) ? key_of_chain(&stage->key, key) : *key;
	stage->chain[stage->chain_len++] = layer_key_of(key);
}

/* Is the layer here, to stay while this build lasts? 1 or 0, < 0 on error. */
static int has_layer(struct build *b, const struct layer_key *name, struct err *err)
{
	if (!b->lease)
		return layer_has(b->layers, name);
	int r = store_lease_layers(b->lease, b->layers, (struct layer_chain){name, 1}, err);
	return r < 0 ? r : r == 0;
}

/* The step's layer is there, made if need be; or WALK_STOPS. */
static int find_or_make(struct build *b, struct build_stage *stage, struct build_step *step,
	enum walk walk, struct err *err)
{
	struct layer_key name = layer_key_of(&step->key);

	int there = has_layer(b, &name, err);
	if (there < 0)
		return there;
	if (!b->options->no_cache && there) {
		take_cached(b, stage, step);
		return 0;
	}
	if (walk == WALK_LOOK)
		return WALK_STOPS;
	return walk == WALK_MAKE ? do_step(b, stage, step, err) : 0;
}

static int walk_step(struct build *b, struct build_stage *stage, struct build_step *step,
	enum walk walk, struct err *err)
{
	bool known;

	/* Without the cache, to look at a step is to begin a new life of it. */
	if (walk == WALK_LOOK && b->options->no_cache)
		return WALK_STOPS;
	int r = find_inputs(b, step, walk == WALK_MAKE, &known, err);
	if (r < 0)
		return r;
	if (!known)
		return WALK_STOPS;
	step->key = key_of_step(&stage->key, step);
	r = find_life(b, &step->key, err);
	if (r == 0)
		r = find_or_make(b, stage, step, walk, err);
	if (r != 0)
		return r;
	stage_step_over(stage, &step->key);
	schedule_tell_over(b, step);
	return 0;
}

int stage_walk(struct build *b, struct build_stage *stage, enum walk walk, struct err *err)
{
	while (stage_can_go_on(b->stages, stage)) {
		if (!stage->is_started && !start_stage(b, stage))
			return WALK_STOPS;
		if (stage->next == stage->step_count) {
			stage->is_over = true;
			return 0;
		}
		int r = walk_step(b, stage, &stage->steps[stage->next], walk, err);
		if (r != 0)
			return r;
	}
	return stage->is_over || !stage->plan->needed ? 0 : WALK_STOPS;
}

int build_walk(struct build *b, enum walk walk, struct err *err)
{
	for (size_t i = 0; i < b->plan.stage_count; i++) {
		int r = stage_walk(b, &b->stages[i], walk, err);
		if (r < 0)
			return r;
	}
	return 0;
}
