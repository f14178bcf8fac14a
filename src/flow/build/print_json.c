/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "build/internal.h"

/*
 * The plan for programs. Its form is a contract, docs/plan.schema.json: fields are added, never
 * renamed, and a change of meaning raises the version.
 */
enum { VERSION = 1 };

static void put_list(struct json_writer *w, const char *key, const struct oci_list *list)
{
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < list->count; i++)
		json_put_text(w, list->items[i]);
	json_end_array(w);
}

static void add_platform(struct json_writer *w, const struct oci_platform *p)
{
	cleanup(buf_done) struct buf text = {0};

	buf_printf(&text, "%s/%s%s%s", p->os, p->architecture, *p->variant ? "/" : "", p->variant);
	json_add_str(w, "platform", buf_str(&text));
}

/* ---- Where files come from ---- */

static const char *const source_kinds[] = {
	[PLAN_CONTEXT] = "context",
	[PLAN_SCRATCH] = "scratch",
	[PLAN_STAGE] = "stage",
	[PLAN_IMAGE] = "image",
};

static void put_from(struct json_writer *w, const struct build *b, const struct plan_source *from)
{
	json_key(w, "from");
	json_begin_object(w);
	json_add_text(w, "kind", source_kinds[from->kind]);
	if (from->kind == PLAN_STAGE)
		json_add_u64(w, "stage", from->index);
	if (from->kind == PLAN_IMAGE)
		json_add_text(w, "name", b->plan.images[from->index].name);
	if (from->kind == PLAN_CONTEXT && from->index)
		json_add_text(w, "name", b->contexts[from->index].name);
	json_end_object(w);
}

static void put_file(struct json_writer *w, const struct plan_file *file)
{
	json_begin_object(w);
	json_add_text(w, "name", file->name);
	json_add_str(w, "content", file->body);
	json_end_object(w);
}

/* ---- RUN ---- */

static const char *const mount_kinds[] = {
	[PLAN_MOUNT_BIND] = "bind",
	[PLAN_MOUNT_CACHE] = "cache",
	[PLAN_MOUNT_TMPFS] = "tmpfs",
	[PLAN_MOUNT_SECRET] = "secret",
	[PLAN_MOUNT_SSH] = "ssh",
};

static const char *const sharings[] = {
	[PLAN_SHARING_SHARED] = "shared",
	[PLAN_SHARING_PRIVATE] = "private",
	[PLAN_SHARING_LOCKED] = "locked",
};

static const char *const networks[] = {
	[PLAN_NETWORK_DEFAULT] = "default",
	[PLAN_NETWORK_NONE] = "none",
	[PLAN_NETWORK_HOST] = "host",
};

static void add_some(struct json_writer *w, const char *key, const char *text)
{
	if (text && *text)
		json_add_text(w, key, text);
}

/* What only some kinds of mounts have. */
static void put_mount_details(
	struct json_writer *w, const struct build *b, const struct plan_mount *m)
{
	bool is_cache = m->kind == PLAN_MOUNT_CACHE;

	if (m->kind == PLAN_MOUNT_BIND || is_cache) {
		put_from(w, b, &m->from);
		add_some(w, "source", m->source);
	}
	if (is_cache)
		json_add_text(w, "sharing", sharings[m->sharing]);
	if (m->kind == PLAN_MOUNT_SECRET || m->kind == PLAN_MOUNT_SSH)
		json_add_bool(w, "required", m->required);
	if (m->kind == PLAN_MOUNT_TMPFS)
		json_add_u64(w, "size", m->size);
	if (m->kind == PLAN_MOUNT_BIND || m->kind == PLAN_MOUNT_TMPFS)
		return;
	char mode[16];
	snprintf(mode, sizeof(mode), "%04o", m->mode);
	json_add_text(w, "mode", mode);
	json_add_u64(w, "uid", m->uid);
	json_add_u64(w, "gid", m->gid);
}

static void put_mounts(struct json_writer *w, const struct build *b, const struct plan_run *run)
{
	json_key(w, "mounts");
	json_begin_array(w);
	for (size_t i = 0; i < run->mount_count; i++) {
		const struct plan_mount *m = &run->mounts[i];
		json_begin_object(w);
		json_add_text(w, "type", mount_kinds[m->kind]);
		add_some(w, "target", m->target);
		add_some(w, "id", m->id);
		add_some(w, "env", m->env);
		json_add_bool(w, "readonly", m->readonly);
		put_mount_details(w, b, m);
		json_end_object(w);
	}
	json_end_array(w);
}

static void put_run(struct json_writer *w, const struct build *b, const struct plan_run *run)
{
	put_list(w, "command", &run->argv);
	put_list(w, "env", &run->env);
	put_mounts(w, b, run);
	json_add_text(w, "network", networks[run->network]);
	json_add_text(w, "security", run->insecure ? "insecure" : "sandbox");
	add_some(w, "hostname", run->hostname);
	if (run->script) {
		json_key(w, "script");
		put_file(w, run->script);
	}
}

/* ---- COPY, ADD ---- */

static void add_switch(struct json_writer *w, const char *key, enum plan_switch value)
{
	if (value != PLAN_UNSET)
		json_add_bool(w, key, value == PLAN_ON);
}

static void put_flags(struct json_writer *w, const struct plan_copy *copy)
{
	json_key(w, "flags");
	json_begin_object(w);
	add_some(w, "chown", copy->chown);
	add_some(w, "chmod", copy->chmod);
	add_some(w, "checksum", copy->checksum);
	if (copy->link)
		json_add_bool(w, "link", true);
	if (copy->parents)
		json_add_bool(w, "parents", true);
	add_switch(w, "unpack", copy->unpack);
	add_switch(w, "keep_git_dir", copy->keep_git_dir);
	if (copy->excludes.count)
		put_list(w, "exclude", &copy->excludes);
	json_end_object(w);
}

static void put_sources(struct json_writer *w, const struct plan_copy *copy)
{
	json_key(w, "sources");
	json_begin_array(w);
	for (size_t i = 0; i < copy->source_count; i++)
		json_put_text(w, copy->sources[i].path);
	json_end_array(w);
	json_key(w, "heredocs");
	json_begin_array(w);
	for (size_t i = 0; i < copy->file_count; i++)
		put_file(w, &copy->files[i]);
	json_end_array(w);
}

static void put_copy(struct json_writer *w, const struct build *b, const struct plan_copy *copy)
{
	put_from(w, b, &copy->from);
	put_sources(w, copy);
	json_add_text(w, "destination", copy->dest);
	json_add_bool(w, "into_directory", copy->dest_is_dir);
	put_flags(w, copy);
}

/* ---- All of it ---- */

/* step: of an instruction that makes a layer, else NULL. */
static void put_state(struct json_writer *w, const struct build_step *step)
{
	char hex[DIGEST_HEX_SIZE];

	json_key(w, "key");
	if (step && step->has_key)
		json_put_text(w, digest_hex(&step->key, hex));
	else
		json_put_null(w);
	json_key(w, "cached");
	if (step)
		json_put_bool(w, step->cached);
	else
		json_put_null(w);
}

static void put_instruction(struct json_writer *w, const struct build *b, const struct plan_op *op,
	const struct build_step *step)
{
	unsigned end = op->span.end_line > op->span.line ? op->span.end_line : op->span.line;

	json_begin_object(w);
	json_add_u64(w, "line", op->span.line);
	json_add_u64(w, "end_line", end);
	json_add_text(w, "instruction", instruction_name(op->instruction));
	json_add_bool(w, "onbuild", op->is_trigger);
	json_add_text(w, "text", op->title);
	json_key(w, "history");
	if (op->created_by)
		json_put_text(w, op->created_by);
	else
		json_put_null(w);
	json_add_text(w, "user", op->user);
	json_add_text(w, "workdir", op->workdir);
	json_key(w, "step");
	if (step)
		json_put_u64(w, op->number);
	else
		json_put_null(w);
	if (op->run)
		put_run(w, b, op->run);
	else if (op->copy)
		put_copy(w, b, op->copy);
	else
		put_list(w, "arguments", &op->arguments);
	put_state(w, step);
	json_end_object(w);
}

static void put_stage(struct json_writer *w, const struct build *b, size_t at)
{
	const struct build_stage *stage = &b->stages[at];
	const struct plan_stage *plan = stage->plan;
	size_t step = 0;

	json_begin_object(w);
	json_add_u64(w, "stage", at);
	json_add_text(w, "name", plan->name);
	json_add_u64(w, "line", plan->span.line);
	json_add_text(w, "base", plan->base_name);
	put_from(w, b, &plan->base);
	add_platform(w, &plan->platform);
	json_key(w, "instructions");
	json_begin_array(w);
	for (size_t i = 0; i < plan->op_count; i++) {
		bool has_step = step < stage->step_count && stage->steps[step].op == &plan->ops[i];
		put_instruction(w, b, &plan->ops[i], has_step ? &stage->steps[step] : NULL);
		step += has_step;
	}
	json_end_array(w);
	json_end_object(w);
}

static void put_images(struct json_writer *w, const struct build *b)
{
	json_key(w, "images");
	json_begin_array(w);
	for (size_t i = 0; i < b->plan.image_count; i++) {
		const struct plan_image *image = &b->plan.images[i];
		json_begin_object(w);
		json_add_text(w, "name", image->name);
		json_add_text(w, "reference", image->reference.text);
		add_platform(w, &image->platform);
		json_add_bool(w, "base", image->is_base);
		json_add_bool(w, "present", b->records[i].config.n > 0);
		json_end_object(w);
	}
	json_end_array(w);
}

void build_print_json(const struct build *b, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	json_add_u64(&w, "version", VERSION);
	json_add_text(&w, "dockerfile", b->file.source.name);
	json_add_u64(&w, "target", b->plan.target);
	put_images(&w, b);
	json_key(&w, "stages");
	json_begin_array(&w);
	for (size_t i = 0; i < b->plan.stage_count; i++)
		if (b->plan.stages[i].needed)
			put_stage(&w, b, i);
	json_end_array(&w);
	json_end_object(&w);
	json_line(&w);
}
