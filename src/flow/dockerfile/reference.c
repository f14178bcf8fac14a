/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "dockerfile/planner.h"

int reference_find(struct planner *p, const struct command *c, struct word text,
	enum reference_kind *ret, size_t *ret_index, struct err *err)
{
	struct str lower = str_of(lower_case(p->arena, text.text));
	size_t context = context_find(p, text.text);
	uint64_t at;

	*ret = REFERENCE_CONTEXT;
	*ret_index = context ? context : context_find(p, lower);
	if (*ret_index)
		return 0;
	*ret = REFERENCE_STAGE;
	uintptr_t named = (uintptr_t)map_find(p->names, lower);
	if (named) {
		*ret_index = named - 1;
		return 0;
	}
	if (parse_u64(text.text, SIZE_MAX, &at)) {
		*ret_index = at;
		if (at < p->plan->stage_count)
			return 0;
		return command_error(err, ERR_INPUT, c, text.span,
			"there is no stage number %.*s: the last one is %zu", STR_ARG(text.text),
			p->plan->stage_count - 1);
	}
	*ret = str_is(text.text, "scratch") ? REFERENCE_SCRATCH : REFERENCE_IMAGE;
	return 0;
}

/* Names may not hold variables; the way round them is a stage. */
static int check_constant(const struct command *c, struct word text, struct err *err)
{
	size_t dollar = str_find(text.text, '$');

	if (dollar + 1 >= text.text.n)
		return 0;
	return command_error(err, ERR_INPUT, c, text.span,
		"variables are not replaced in from: write FROM %.*s AS name, with ARG before the "
		"first FROM, and use that name here",
		STR_ARG(text.text));
}

int references_each(
	struct planner *p, const struct command *c, reference_fn *fn, void *arg, struct err *err)
{
	const struct flag *flag = NULL;
	bool is_copy = c->ins->kind == INSTRUCTION_COPY;
	int failed;

	if (!is_copy && c->ins->kind != INSTRUCTION_RUN)
		return 0;
	while ((flag = instruction_flag(c->ins, is_copy ? "from" : "mount", flag))) {
		struct word text = is_copy ? (struct word){flag->value, flag->span}
					   : mount_from(p->arena, flag);
		if (!text.text.n)
			continue;
		if ((failed = check_constant(c, text, err)) || (failed = fn(arg, c, text, err)))
			return failed;
	}
	return 0;
}

int reference_source(struct planner *p, size_t stage, const struct command *c, struct word text,
	struct plan_source *ret, struct err *err)
{
	enum reference_kind kind;
	size_t other;
	int failed = reference_find(p, c, text, &kind, &other, err);

	if (failed)
		return failed;
	if (kind == REFERENCE_STAGE && other >= stage)
		return command_error(err, ERR_INPUT, c, text.span,
			"%.*s is %s stage that begins in line %u: it must come before this one",
			STR_ARG(text.text), other == stage ? "this" : "the",
			p->plan->stages[other].span.line);
	const char *image = NULL;
	if (kind == REFERENCE_CONTEXT)
		image = p->options->contexts[other - 1].image;
	if (image)
		text.text = str_of(image);
	if (kind == REFERENCE_IMAGE || image) {
		ret->kind = PLAN_IMAGE;
		return image_add(p, c, text, &p->target_platform, &ret->index, err);
	}
	if (kind == REFERENCE_CONTEXT) {
		*ret = (struct plan_source){PLAN_CONTEXT, other};
		return 0;
	}
	ret->kind = kind == REFERENCE_SCRATCH ? PLAN_SCRATCH : PLAN_STAGE;
	ret->index = kind == REFERENCE_SCRATCH ? 0 : other;
	return 0;
}

/* ---- Cycles ---- */

/* An edge leads from a stage to one that it needs. */
struct edge {
	size_t to, next; /* next edge of the same stage, from 1 */
	struct span span;
};

struct graph {
	struct planner *planner;
	size_t *first; /* of each stage, from 1 */
	struct edge *edges;
	size_t count, cap;
	size_t from; /* the stage being read */
};

static void add_edge(struct graph *g, size_t to, struct span span)
{
	g->edges = arena_grow(g->planner->arena, g->edges, g->count, &g->cap, sizeof(*g->edges));
	g->edges[g->count] = (struct edge){to, g->first[g->from], span};
	g->first[g->from] = ++g->count;
}

static int add_reference(void *arg, const struct command *c, struct word text, struct err *err)
{
	struct graph *g = arg;
	enum reference_kind kind;
	size_t other;
	int failed = reference_find(g->planner, c, text, &kind, &other, err);

	if (!failed && kind == REFERENCE_STAGE)
		add_edge(g, other, text.span);
	return failed;
}

static int read_edges(struct graph *g, struct err *err)
{
	struct planner *p = g->planner;

	for (g->from = 0; g->from < p->plan->stage_count; g->from++) {
		const struct plan_stage *stage = &p->plan->stages[g->from];
		const struct draft *d = &p->drafts[g->from];
		if (stage->base.kind == PLAN_STAGE)
			add_edge(g, stage->base.index, stage->span);
		for (size_t i = 0; i < d->body_count; i++) {
			struct command c = {&p->file->source, &d->body[i], false, d->body[i].span};
			int failed = references_each(p, &c, add_reference, g, err);
			if (failed)
				return failed;
		}
	}
	return 0;
}

enum { UNSEEN, ON_PATH, DONE };

/*
 * Follow the edges from one stage; path is a stack of stages, at[] the next edge of each. An
 * edge to a stage on the path closes a cycle.
 */
static const struct edge *find_cycle(
	const struct graph *g, size_t start, unsigned char *state, size_t *at, size_t *path)
{
	size_t depth = 0;

	path[depth++] = start;
	state[start] = ON_PATH;
	while (depth) {
		size_t stage = path[depth - 1];
		const struct edge *e = at[stage] ? &g->edges[at[stage] - 1] : NULL;
		if (!e) {
			state[stage] = DONE;
			depth--;
			continue;
		}
		at[stage] = e->next;
		if (state[e->to] == ON_PATH)
			return e;
		if (state[e->to] == UNSEEN) {
			state[e->to] = ON_PATH;
			path[depth++] = e->to;
		}
	}
	return NULL;
}

int references_check_cycles(struct planner *p, struct err *err)
{
	size_t n = p->plan->stage_count;
	struct graph g = {.planner = p, .first = arena_array(p->arena, n, sizeof(*g.first))};
	unsigned char *state = arena_array(p->arena, n, sizeof(*state));
	size_t *path = arena_array(p->arena, n, sizeof(*path));
	int failed = read_edges(&g, err);

	if (failed)
		return failed;
	for (size_t i = 0; i < n; i++) {
		if (state[i] != UNSEEN)
			continue;
		const struct edge *e = find_cycle(&g, i, state, g.first, path);
		if (e)
			return source_error(err, ERR_INPUT, &p->file->source, e->span,
				"a circular dependency: the stage of line %u needs itself through "
				"this",
				p->plan->stages[e->to].span.line);
	}
	return 0;
}
