/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"

/*
 * Keys. A step's key is a digest over everything its result may depend on, each field with
 * its length in front: the parent's key, the instruction after expansion, and the content
 * of its inputs. What is left out is left out on purpose, as in BuildKit: values of secrets
 * and what caches hold, times of files, the network. Anything doubtful goes in.
 */

static void add_text(struct buf *b, const char *s)
{
	buf_add_field(b, str_of(s ? s : ""));
}

static void add_list(struct buf *b, const struct oci_list *list)
{
	buf_add_u64(b, list->count);
	for (size_t i = 0; i < list->count; i++)
		add_text(b, list->items[i]);
}

static void add_digest(struct buf *b, const struct digest *d)
{
	buf_add(b, d->bytes, DIGEST_SIZE);
}

static void begin(struct buf *b, const char *what)
{
	add_text(b, BUILD_KEY_VERSION);
	add_text(b, what);
}

struct digest key_of_base(const struct build *b, const struct plan_stage *stage)
{
	cleanup(buf_done) struct buf text = {0};

	begin(&text, stage->base.kind == PLAN_IMAGE ? "image" : "scratch");
	if (stage->base.kind == PLAN_IMAGE)
		add_list(&text, &b->records[stage->base.index].layers);
	return digest_of(text.data, text.len);
}

/*
 * The id and sharing of a cache, and whether a secret or an agent is required, change nothing in a
 * result.
 */
static void add_mount(struct buf *b, const struct plan_mount *m)
{
	buf_add_u32(b, m->kind);
	add_text(b, m->target);
	add_text(b, m->kind == PLAN_MOUNT_BIND ? m->source : "");
	add_text(b, m->kind == PLAN_MOUNT_SECRET || m->kind == PLAN_MOUNT_SSH ? m->id : "");
	add_text(b, m->env);
	buf_add_u32(b, m->readonly);
	buf_add_u32(b, m->mode);
	buf_add_u32(b, m->uid);
	buf_add_u32(b, m->gid);
	buf_add_u64(b, m->size);
}

static void add_run(struct buf *b, const struct plan_run *run)
{
	add_list(b, &run->argv);
	buf_add_u32(b, run->network);
	buf_add_u64(b, run->mount_count);
	for (size_t i = 0; i < run->mount_count; i++)
		add_mount(b, &run->mounts[i]);
	add_text(b, run->script ? run->script->name : "");
	buf_add_field(b, run->script ? run->script->body : STR(""));
	add_text(b, run->hostname);
}

static void add_copy(struct buf *b, const struct plan_copy *copy)
{
	add_text(b, copy->dest);
	buf_add_u32(b, copy->dest_is_dir);
	add_text(b, copy->chown);
	add_text(b, copy->chmod);
	buf_add_u64(b, copy->source_count);
	buf_add_u64(b, copy->file_count);
	for (size_t i = 0; i < copy->file_count; i++) {
		add_text(b, copy->files[i].name);
		buf_add_field(b, copy->files[i].body);
	}
	add_list(b, &copy->excludes);
	if (copy->has_epoch) {
		add_text(b, "epoch");
		buf_add_u64(b, copy->epoch);
	}
}

struct digest key_of_step(const struct digest *parent, const struct build_step *step)
{
	const struct plan_op *op = step->op;
	cleanup(buf_done) struct buf text = {0};

	begin(&text, instruction_name(op->instruction));
	if (step_is_linked(step))
		add_text(&text, "linked");
	else
		add_digest(&text, parent);
	add_text(&text, op->kind == PLAN_RUN || op->kind == PLAN_WORKDIR ? op->user : "");
	add_text(&text, op->kind == PLAN_RUN || op->kind == PLAN_WORKDIR ? op->workdir : "");
	if (op->run) {
		add_list(&text, &op->run->env);
		add_run(&text, op->run);
	}
	/* Only without it, so that layers from before such caches existed are still good. */
	if (step->without_tool_cache)
		add_text(&text, "without tool cache");
	if (op->run && op->run->insecure)
		add_text(&text, "insecure");
	if (op->copy) {
		add_copy(&text, op->copy);
		buf_add_u32(&text, op->copy->unpack);
	}
	buf_add_u64(&text, step->input_count);
	for (size_t i = 0; i < step->input_count; i++)
		add_digest(&text, &step->inputs[i].digest);
	return digest_of(text.data, text.len);
}

struct digest key_of_chain(const struct digest *parent, const struct digest *step)
{
	cleanup(buf_done) struct buf text = {0};

	begin(&text, "chain");
	add_digest(&text, parent);
	add_digest(&text, step);
	return digest_of(text.data, text.len);
}

void key_of_input(const struct digest *source, const struct plan_op *op,
	const struct plan_mount *mount, struct buf *ret)
{
	begin(ret, mount ? "mounted" : "copied");
	add_digest(ret, source);
	if (mount) {
		add_text(ret, mount->source);
		return;
	}
	for (size_t i = 0; i < op->copy->source_count; i++) {
		add_text(ret, op->copy->sources[i].path);
		add_text(ret, op->copy->sources[i].keep);
	}
	add_list(ret, &op->copy->excludes);
}
