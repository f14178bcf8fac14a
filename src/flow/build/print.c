/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "build/internal.h"

/*
 * The plan for people and for programs. The JSON form is a contract: fields are added, never
 * renamed.
 */

/* ---- for people ---- */

static void print_base(const struct build *b, const struct plan_stage *stage, struct buf *ret)
{
	bool absent = stage->base.kind == PLAN_IMAGE && !b->records[stage->base.index].config.n;

	buf_printf(ret, "%s%sFROM %s%s\n", stage->label, *stage->label ? ": " : "",
		stage->base_name, absent ? "  (would be pulled)" : "");
}

static void print_stage(const struct build *b, const struct build_stage *stage, struct buf *ret)
{
	print_base(b, stage->plan, ret);
	for (size_t i = 0; i < stage->step_count; i++) {
		const struct build_step *step = &stage->steps[i];
		cleanup(buf_done) struct buf name = {0};
		plan_op_print(stage->plan, step->op, &name);
		buf_printf(ret, "  %-8s%s\n", step->cached ? "cached" : "run", buf_text(&name));
	}
}

/* ---- for programs ---- */

static void put_list(struct json_writer *w, const char *key, const struct oci_list *list)
{
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < list->count; i++)
		json_put_text(w, list->items[i]);
	json_end_array(w);
}

static void put_mounts(struct json_writer *w, const struct plan_run *run)
{
	static const char *const kinds[] = {[PLAN_MOUNT_BIND] = "bind",
		[PLAN_MOUNT_CACHE] = "cache",
		[PLAN_MOUNT_TMPFS] = "tmpfs",
		[PLAN_MOUNT_SECRET] = "secret",
		[PLAN_MOUNT_SSH] = "ssh"};

	json_key(w, "mounts");
	json_begin_array(w);
	for (size_t i = 0; i < run->mount_count; i++) {
		json_begin_object(w);
		json_add_text(w, "type", kinds[run->mounts[i].kind]);
		json_add_text(w, "target", run->mounts[i].target);
		if (run->mounts[i].id && *run->mounts[i].id)
			json_add_text(w, "id", run->mounts[i].id);
		json_add_bool(w, "readonly", run->mounts[i].readonly);
		json_end_object(w);
	}
	json_end_array(w);
}

static void put_copy(struct json_writer *w, const struct plan_copy *copy)
{
	json_key(w, "sources");
	json_begin_array(w);
	for (size_t i = 0; i < copy->source_count; i++)
		json_put_text(w, copy->sources[i].path);
	for (size_t i = 0; i < copy->file_count; i++)
		json_put_text(w, copy->files[i].name);
	json_end_array(w);
	json_add_text(w, "destination", copy->dest);
}

static void put_step(struct json_writer *w, const struct build_step *step)
{
	const struct plan_op *op = step->op;
	char hex[DIGEST_HEX_SIZE];

	json_begin_object(w);
	json_add_u64(w, "line", op->span.line);
	json_add_text(w, "instruction", instruction_name(op->instruction));
	json_add_text(w, "text", op->title);
	json_add_text(w, "user", op->user);
	json_add_text(w, "workdir", op->workdir);
	if (op->run) {
		put_list(w, "command", &op->run->argv);
		put_list(w, "env", &op->run->env);
		put_mounts(w, op->run);
	}
	if (op->copy)
		put_copy(w, op->copy);
	json_key(w, "key");
	if (step->has_key)
		json_put_text(w, digest_hex(&step->key, hex));
	else
		json_put_null(w);
	json_add_bool(w, "cached", step->cached);
	json_end_object(w);
}

static void put_stage(struct json_writer *w, const struct build_stage *stage)
{
	json_begin_object(w);
	json_add_text(w, "name", stage->plan->name);
	json_add_text(w, "base", stage->plan->base_name);
	json_key(w, "steps");
	json_begin_array(w);
	for (size_t i = 0; i < stage->step_count; i++)
		put_step(w, &stage->steps[i]);
	json_end_array(w);
	json_end_object(w);
}

void build_print_plan(const struct build *b, bool json, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	for (size_t i = 0; i < b->plan.stage_count && !json; i++)
		if (b->plan.stages[i].needed)
			print_stage(b, &b->stages[i], ret);
	if (!json)
		return;
	json_begin_object(&w);
	json_key(&w, "stages");
	json_begin_array(&w);
	for (size_t i = 0; i < b->plan.stage_count; i++)
		if (b->plan.stages[i].needed)
			put_stage(&w, &b->stages[i]);
	json_end_array(&w);
	json_end_object(&w);
	json_line(&w);
}
