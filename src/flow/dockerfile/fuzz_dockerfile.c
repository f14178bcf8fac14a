/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each image has triggers of its own, so that they are planned too. */
static int resolve(
	void *arg, const struct plan_image *image, struct oci_config *ret, struct err *err)
{
	struct arena *a = arg;

	(void)err;
	*ret = (struct oci_config){.working_dir = "/base", .user = "1000"};
	oci_list_add(a, &ret->env, STR("PATH=/bin"));
	oci_list_add(a, &ret->onbuild, STR("ARG x=$PATH"));
	oci_list_add(a, &ret->onbuild, str_of(image->name));
	return 0;
}

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_source(const struct plan *plan, size_t stage, struct plan_source source)
{
	if (source.kind == PLAN_STAGE)
		require(source.index < stage && plan->stages[source.index].needed);
	if (source.kind == PLAN_IMAGE)
		require(source.index < plan->image_count);
}

static void check_op(const struct plan *plan, size_t stage, const struct plan_op *op)
{
	require(op->workdir[0] == '/' && op->title && op->span.line);
	require((op->kind == PLAN_META) == (op->number == 0));
	if (op->copy) {
		check_source(plan, stage, op->copy->from);
		require(op->copy->dest[0] == '/');
	}
	for (size_t i = 0; op->run && i < op->run->mount_count; i++) {
		check_source(plan, stage, op->run->mounts[i].from);
		require(op->run->mounts[i].target[0] == '/' || *op->run->mounts[i].env);
	}
	if (op->run)
		require(op->run->argv.count && op->run->env.count);
}

static void check_plan(const struct plan *plan)
{
	require(plan->target < plan->stage_count && plan->stages[plan->target].needed);
	for (size_t i = 0; i < plan->stage_count; i++) {
		const struct plan_stage *stage = &plan->stages[i];
		if (!stage->needed)
			continue;
		check_source(plan, i, stage->base);
		for (size_t k = 0; k < stage->op_count; k++) {
			cleanup(buf_done) struct buf line = {0};
			check_op(plan, i, &stage->ops[k]);
			plan_op_print(stage, &stage->ops[k], &line);
			require(!memchr(line.data, '\n', line.len));
		}
	}
}

static bool know_base(void *arg, const char *name, struct oci_config *ret)
{
	struct plan_image image = {.name = name};

	return !resolve(arg, &image, ret, NULL) && name[0] != 'u';
}

/* All rules, with and without what the request and the context say. */
static void check_lint(struct arena *a, const struct dockerfile *file, const struct oci_list *args,
	const struct patterns *ignore)
{
	struct lint_options options = {
		.check = ignore ? STR("experimental=all") : (struct str){0},
		.build_args = args,
		.build_platform = {"linux", "amd64", ""},
		.ignore = ignore,
		.base = ignore ? know_base : NULL,
		.arg = a,
	};
	struct lint found = {0};
	struct err err = {0};

	if (lint(a, file, &options, &found, &err)) {
		require(err.kind == ERR_INPUT && err.text[0]);
		return;
	}
	for (size_t i = 0; i < found.count; i++) {
		const struct lint_finding *f = &found.findings[i];
		require(f->rule[0] && f->text[0] && f->span.line);
		require(!i || f->span.line >= found.findings[i - 1].span.line);
	}
}

static void check_lints(struct arena *a, const struct dockerfile *file, const struct oci_list *args)
{
	cleanup(patterns_free) struct patterns *ignore = patterns_new();

	require(!patterns_add(ignore, STR("a"), NULL) && !patterns_add(ignore, STR("**/b*"), NULL));
	check_lint(a, file, args, NULL);
	check_lint(a, file, NULL, ignore);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena a = {0};
	struct source source = {"Dockerfile", str_from((const char *)data, size)};
	struct plan_options options = {
		.build_platform = {"linux", "amd64", ""},
		.resolve = resolve,
		.arg = &a,
	};
	struct oci_list args = {0};
	struct dockerfile file;
	struct plan plan;
	struct err err = {0};

	oci_list_add(&a, &args, STR("v=$v\""));
	options.build_args = &args;
	int failed = dockerfile_check_syntax(&a, &source, (struct str){0}, &err);
	if (!failed)
		failed = dockerfile_parse(&a, &source, &file, &err);
	if (!failed) {
		check_lints(&a, &file, &args);
		failed = plan_make(&a, &file, &options, &plan, &err);
	}
	require(!failed || (err.kind != ERR_NONE && err.kind != ERR_BUG && err.text[0]));
	if (!failed)
		check_plan(&plan);
	return 0;
}
