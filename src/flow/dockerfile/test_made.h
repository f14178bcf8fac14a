/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_TEST_MADE_H
#define DOCKERFILE_TEST_MADE_H

/*
 * A plan made from a text, for tests: a registry of a few images answers for bases, and parts
 * of the plan are printed as lines to compare.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"

struct made {
	struct arena arena;
	struct dockerfile file;
	struct plan plan;
	struct err err;
	const struct plan_context *contexts; /* set before the plan is made */
	size_t context_count;
	struct buf asked; /* names of the images whose configuration was asked for */
	struct buf out;
};

static inline void made_done(struct made *m)
{
	arena_done(&m->arena);
	buf_done(&m->asked);
	buf_done(&m->out);
}

DEFINE_CLEANUP_VALUE(struct made, made_done);

/* python: an ordinary image; onbuild: one with triggers; bare: no PATH and nothing else. */
static inline int made_resolve(
	void *arg, const struct plan_image *image, struct oci_config *ret, struct err *err)
{
	struct made *m = arg;
	struct arena *a = &m->arena;

	buf_printf(&m->asked, "%s ", image->name);
	*ret = (struct oci_config){
		.platform = {"linux", "amd64", ""}, .working_dir = "", .user = ""};
	if (strncmp(image->name, "missing", 7) == 0)
		return err_set(err, ERR_MISSING, "no such image");
	if (strncmp(image->name, "bare", 4) == 0)
		return 0;
	oci_list_add(a, &ret->env, STR("PATH=/usr/local/bin:/usr/bin:/bin"));
	oci_list_add(a, &ret->env, STR("LANG=C.UTF-8"));
	oci_list_add(a, &ret->cmd, STR("python3"));
	oci_list_add(a, &ret->exposed_ports, STR("80/tcp"));
	ret->labels = arena_array(a, 1, sizeof(*ret->labels));
	ret->labels[0] = (struct oci_pair){"base", "yes"};
	ret->label_count = 1;
	ret->history = arena_array(a, 1, sizeof(*ret->history));
	ret->history[0] = (struct oci_history){.created_by = "base layer"};
	ret->history_count = 1;
	oci_list_add(a, &ret->diff_ids, STR("sha256:00"));
	if (strncmp(image->name, "onbuild", 7) == 0) {
		oci_list_add(a, &ret->onbuild, STR("COPY . /src"));
		oci_list_add(a, &ret->onbuild, STR("RUN make $LANG"));
	}
	if (strncmp(image->name, "badbuild", 8) == 0)
		oci_list_add(a, &ret->onbuild, STR("COPPY . /src"));
	if (strncmp(image->name, "modebuild", 9) == 0)
		oci_list_add(a, &ret->onbuild, STR("COPY --chmod=8 . /src"));
	return 0;
}

/* args: "NAME=value NAME=value", or NULL. Returns what plan_make() returned. */
static inline int made_with(struct made *m, const char *text, const char *target, const char *args)
{
	struct source source = {"Dockerfile", str_of(text)};
	struct oci_list list = {0};

	for (struct str rest = str_of(args); rest.p;)
		oci_list_add(&m->arena, &list, str_cut(&rest, ' '));
	struct plan_options options = {
		.target = str_of(target),
		.build_args = &list,
		.contexts = m->contexts,
		.context_count = m->context_count,
		.build_platform = {"linux", "amd64", ""},
		.resolve = made_resolve,
		.arg = m,
	};
	int failed = dockerfile_parse(&m->arena, &source, &m->file, &m->err);
	return failed ? failed : plan_make(&m->arena, &m->file, &options, &m->plan, &m->err);
}

static inline void made_from(struct made *m, const char *text)
{
	if (made_with(m, text, NULL, NULL))
		fail_msg("%s\n%s", m->err.text, m->err.hint);
}

static inline const struct plan_stage *made_target(const struct made *m)
{
	return &m->plan.stages[m->plan.target];
}

/* The steps of all needed stages, as the log shows them. */
static inline const char *made_steps(struct made *m)
{
	buf_clear(&m->out);
	for (size_t i = 0; i < m->plan.stage_count; i++) {
		const struct plan_stage *stage = &m->plan.stages[i];
		for (size_t k = 0; k < stage->op_count; k++) {
			if (!stage->ops[k].number)
				continue;
			plan_op_print(stage, &stage->ops[k], &m->out);
			buf_add_char(&m->out, '\n');
		}
	}
	return buf_text(&m->out);
}

/* The history of the target behind that of its base; "-" in front of empty layers. */
static inline const char *made_history(struct made *m)
{
	const struct oci_config *config = &made_target(m)->config;

	buf_clear(&m->out);
	for (size_t i = 0; i < config->history_count; i++)
		buf_printf(&m->out, "%s%s\n", config->history[i].empty_layer ? "-" : "",
			config->history[i].created_by);
	return buf_text(&m->out);
}

static inline const char *made_list(struct made *m, const struct oci_list *list)
{
	buf_clear(&m->out);
	for (size_t i = 0; i < list->count; i++)
		buf_printf(&m->out, "%s%s", i ? "|" : "", list->items[i]);
	return buf_text(&m->out);
}

/* The nth op of that kind in the target stage. */
static inline const struct plan_op *made_op(
	const struct made *m, enum plan_op_kind kind, size_t nth)
{
	const struct plan_stage *stage = made_target(m);

	for (size_t i = 0; i < stage->op_count; i++)
		if (stage->ops[i].kind == kind && nth-- == 0)
			return &stage->ops[i];
	fail_msg("no such op");
	return NULL;
}

/* The environment of the nth RUN. */
static inline const char *made_env(struct made *m, size_t nth)
{
	return made_list(m, &made_op(m, PLAN_RUN, nth)->run->env);
}

static inline void check_error(const char *text, const char *expected)
{
	cleanup(made_done) struct made m = {0};

	assert_int_not_equal(made_with(&m, text, NULL, NULL), 0);
	assert_string_equal(m.err.text, expected);
}

/* Where the rest of the message is another room's. */
static inline void check_error_place(const char *text, const char *place)
{
	cleanup(made_done) struct made m = {0};

	assert_int_not_equal(made_with(&m, text, NULL, NULL), 0);
	assert_memory_equal(m.err.text, place, strlen(place));
}

#endif
