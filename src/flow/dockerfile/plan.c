/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "dockerfile/planner.h"

static const char DEFAULT_PATH[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const struct {
	enum plan_op_kind kind;
	handler_fn *handle;
} handlers[INSTRUCTION_KINDS] = {
	[INSTRUCTION_ADD] = {PLAN_ADD, copy_step},
	[INSTRUCTION_ARG] = {PLAN_META, config_arg},
	[INSTRUCTION_CMD] = {PLAN_META, config_cmd},
	[INSTRUCTION_COPY] = {PLAN_COPY, copy_step},
	[INSTRUCTION_ENTRYPOINT] = {PLAN_META, config_entrypoint},
	[INSTRUCTION_ENV] = {PLAN_META, config_env},
	[INSTRUCTION_EXPOSE] = {PLAN_META, config_expose},
	[INSTRUCTION_HEALTHCHECK] = {PLAN_META, config_healthcheck},
	[INSTRUCTION_LABEL] = {PLAN_META, config_label},
	[INSTRUCTION_MAINTAINER] = {PLAN_META, config_maintainer},
	[INSTRUCTION_ONBUILD] = {PLAN_META, config_onbuild},
	[INSTRUCTION_RUN] = {PLAN_RUN, run_step},
	[INSTRUCTION_SHELL] = {PLAN_META, config_shell},
	[INSTRUCTION_STOPSIGNAL] = {PLAN_META, config_stopsignal},
	[INSTRUCTION_USER] = {PLAN_META, config_user},
	[INSTRUCTION_VOLUME] = {PLAN_META, config_volume},
	[INSTRUCTION_WORKDIR] = {PLAN_WORKDIR, config_workdir},
};

int command_error(struct err *err, enum err_kind kind, const struct command *c, struct span span,
	const char *fmt, ...)
{
	char text[sizeof(err->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return source_error(err, kind, c->source, span, "%s", text);
}

void plan_warn(struct planner *p, struct span span, const char *fmt, ...)
{
	struct plan *plan = p->plan;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	plan->warnings = arena_grow(p->arena, plan->warnings, plan->warning_count, &p->warning_cap,
		sizeof(*plan->warnings));
	plan->warnings[plan->warning_count++] =
		(struct plan_warning){arena_strdup(p->arena, text), span};
}

int command_expand(struct planner *p, struct draft *d, const struct command *c, struct word word,
	struct str *ret, struct err *err)
{
	struct expansion how = {p->file->escape, 0, table_get, &d->env};
	struct err why = {0};

	if (!expand_word(p->arena, &how, word.text, ret, &why))
		return 0;
	return command_error(err, why.kind, c, word.span, "%s", why.text);
}

/* ---- A stage's beginning and end ---- */

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/*
 * The base's configuration is in the same arena and nothing in it is changed in place: lists
 * are replaced whole, and the history moves before it grows (see history_cap).
 */
static void begin_config(struct planner *p, struct plan_stage *stage)
{
	struct oci_config *config = &stage->config;

	if (stage->base.kind == PLAN_IMAGE)
		*config = p->bases[stage->base.index].config;
	else if (stage->base.kind == PLAN_STAGE)
		*config = p->plan->stages[stage->base.index].config;
	else
		config->working_dir = "/";
	if (stage->base.kind == PLAN_STAGE)
		stage->platform = p->plan->stages[stage->base.index].platform;
	if (stage->base.kind == PLAN_SCRATCH || stage->base.kind == PLAN_CONTEXT)
		stage->platform = p->target_platform;
	if (!config->platform.os || !*config->platform.os)
		config->platform = stage->platform;
	config->created = p->created;
	config->author = or_empty(config->author);
	config->user = or_empty(config->user);
	config->stop_signal = or_empty(config->stop_signal);
	config->working_dir = or_empty(config->working_dir);
	if (*config->working_dir)
		config->working_dir = path_join(p->arena, STR("/"), str_of(config->working_dir));
	/* What the base wants of its children has become this stage's triggers. */
	config->onbuild = (struct oci_list){0};
}

static void begin_stage(struct planner *p, size_t at)
{
	struct plan_stage *stage = &p->plan->stages[at];
	struct draft *d = &p->drafts[at];

	begin_config(p, stage);
	if (stage->base.kind == PLAN_STAGE) {
		table_copy(p->arena, &d->env, &p->drafts[stage->base.index].env);
		table_copy(p->arena, &d->args, &p->drafts[stage->base.index].args);
	}
	table_add_list(p->arena, &d->config_env, &stage->config.env);
	if (!table_find(&d->config_env, STR("PATH")))
		table_set(p->arena, &d->config_env, STR("PATH"), DEFAULT_PATH);
	table_copy(p->arena, &d->env, &d->config_env);
	table_add_labels(p->arena, &d->labels, &stage->config);
	table_add_names(p->arena, &d->ports, &stage->config.exposed_ports);
	table_add_names(p->arena, &d->volumes, &stage->config.volumes);
	d->history_cap = stage->config.history_count;
	d->env_changed = true;
	stage->step_count = stage->base.kind == PLAN_IMAGE;
}

static void end_stage(struct planner *p, size_t at)
{
	struct oci_config *config = &p->plan->stages[at].config;
	struct draft *d = &p->drafts[at];

	config->env = table_list(p->arena, &d->config_env);
	table_labels(p->arena, &d->labels, config);
	config->exposed_ports = table_names(p->arena, &d->ports);
	config->volumes = table_names(p->arena, &d->volumes);
	/* The entries stay for the stages that are made from this one. */
	table_done(&d->env);
	table_done(&d->args);
	table_done(&d->config_env);
	table_done(&d->labels);
	table_done(&d->ports);
	table_done(&d->volumes);
}

/* ---- One instruction ---- */

/* In place: what a join of lines leaves of their indentation becomes one blank. */
static char *squeeze_blanks(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++)
		if (*c != ' ' || to == text || to[-1] != ' ')
			*to++ = *c;
	*to = '\0';
	return text;
}

/* As BuildKit shows a step: variables replaced as far as they are set. */
static const char *title_of(struct planner *p, struct draft *d, const struct command *c)
{
	bool is_run = c->ins->kind == INSTRUCTION_RUN;
	struct expansion how = {.escape = p->file->escape, .get = table_get, .arg = &d->env};
	struct part rest = {.text = c->ins->text};
	struct str text = c->ins->text;

	how.mode = is_run ? EXPAND_RAW_QUOTES | EXPAND_KEEP_UNSET : 0;
	if (is_run || c->ins->kind == INSTRUCTION_COPY || c->ins->kind == INSTRUCTION_ADD ||
		c->ins->kind == INSTRUCTION_WORKDIR)
		if (expand_word(p->arena, &how, c->ins->text, &text, NULL))
			text = c->ins->text;
	size_t name = part_first(&rest).text.n;
	return squeeze_blanks(arena_printf(p->arena, "%s%.*s", instruction_name(c->ins->kind),
		STR_ARG(str_from_index(text, name))));
}

static void add_history(struct planner *p, size_t at, const struct plan_op *op)
{
	struct oci_config *config = &p->plan->stages[at].config;

	config->history = arena_grow(p->arena, config->history, config->history_count,
		&p->drafts[at].history_cap, sizeof(*config->history));
	config->history[config->history_count++] = (struct oci_history){
		.created_by = op->created_by,
		.comment = "buildkit.dockerfile.v0",
		.author = "",
		.created = p->created,
		.empty_layer = op->kind == PLAN_META,
	};
}

static int check_limits(struct planner *p, const struct command *c, struct err *err)
{
	if (p->step_count > PLAN_MAX_STEPS)
		return command_error(
			err, ERR_LIMIT, c, c->ins->span, "more than %d steps", PLAN_MAX_STEPS);
	if (p->arena->used - p->arena_used > PLAN_MAX_MEMORY)
		return command_error(err, ERR_LIMIT, c, c->ins->span,
			"the expanded Dockerfile takes more than %d MB", PLAN_MAX_MEMORY >> 20);
	return 0;
}

void plan_number_step(struct planner *p, struct plan_stage *stage, struct plan_op *op)
{
	if (op->kind == PLAN_META)
		return;
	op->number = ++stage->step_count;
	p->step_count++;
}

static int carry_out(struct planner *p, size_t at, const struct command *c, struct err *err)
{
	struct plan_stage *stage = &p->plan->stages[at];
	struct draft *d = &p->drafts[at];
	struct plan_op op = {
		.kind = handlers[c->ins->kind].kind,
		.instruction = c->ins->kind,
		.span = c->span,
		.title = title_of(p, d, c),
		.is_trigger = c->is_trigger,
		.user = stage->config.user,
		.workdir = *stage->config.working_dir ? stage->config.working_dir : "/",
	};
	int failed = handlers[c->ins->kind].handle(p, at, c, &op, err);

	if (failed)
		return failed;
	plan_number_step(p, stage, &op);
	if ((failed = support_check(c, &op, err)) || (failed = check_limits(p, c, err)))
		return failed;
	if (op.created_by)
		add_history(p, at, &op);
	stage->ops = arena_grow(p->arena, stage->ops, stage->op_count, &d->op_cap, sizeof(op));
	stage->ops[stage->op_count++] = op;
	return 0;
}

static int carry_out_trigger(struct planner *p, size_t at, const struct command *c, struct err *err)
{
	int failed = carry_out(p, at, c, err);

	/* A trigger of an image says where its FROM stands. */
	if (failed && c->source != &p->file->source)
		(void)err_wrap(err, "%s:%u", p->file->source.name, c->span.line);
	return failed;
}

static int carry_out_stage(struct planner *p, size_t at, struct err *err)
{
	struct draft *d = &p->drafts[at];
	int failed;

	begin_stage(p, at);
	if (p->plan->stages[at].base.kind == PLAN_CONTEXT)
		context_add_step(p, at);
	for (size_t i = 0; i < d->trigger_count; i++)
		if ((failed = carry_out_trigger(p, at, &d->triggers[i], err)))
			return failed;
	for (size_t i = 0; i < d->body_count; i++) {
		struct command c = {&p->file->source, &d->body[i], false, d->body[i].span};
		if ((failed = carry_out(p, at, &c, err)))
			return failed;
	}
	end_stage(p, at);
	return 0;
}

static int make(struct planner *p, struct err *err)
{
	int failed;

	contexts_init(p);
	if ((failed = args_init(p, err)) || (failed = stages_init(p, err)) ||
		(failed = stages_find_target(p, err)) ||
		(failed = references_check_cycles(p, err)) || (failed = needs_mark(p, err)))
		return failed;
	for (size_t i = 0; i < p->plan->stage_count; i++)
		if (p->plan->stages[i].needed && (failed = carry_out_stage(p, i, err)))
			return failed;
	args_warn_unused(p);
	contexts_warn_unused(p);
	return 0;
}

static void planner_done(struct planner *p)
{
	struct draft *drafts = p->drafts;

	/* Only a stage that failed still has its tables. */
	for (size_t i = 0; drafts && i < p->plan->stage_count; i++) {
		table_done(&drafts[i].env);
		table_done(&drafts[i].args);
		table_done(&drafts[i].config_env);
		table_done(&drafts[i].labels);
		table_done(&drafts[i].ports);
		table_done(&drafts[i].volumes);
	}
	table_done(&p->build_args);
	table_done(&p->globals);
	table_done(&p->declared);
	map_free(p->names);
	map_free(p->contexts);
	map_free(p->images);
}

static struct oci_platform full_platform(struct oci_platform platform)
{
	return (struct oci_platform){
		or_empty(platform.os), or_empty(platform.architecture), or_empty(platform.variant)};
}

int plan_make(struct arena *a, const struct dockerfile *file, const struct plan_options *options,
	struct plan *ret, struct err *err)
{
	struct plan_options full = *options;
	struct plan plan = {0};
	struct planner p = {
		.arena = a,
		.arena_used = a->used,
		.file = file,
		.options = &full,
		.plan = &plan,
		.names = map_new(),
		.contexts = map_new(),
		.images = map_new(),
	};

	full.build_platform = full_platform(options->build_platform);
	p.target_platform = full_platform(options->target_platform);
	if (!*p.target_platform.os)
		p.target_platform = full.build_platform;
	int failed = make(&p, err);
	planner_done(&p);
	if (failed)
		return failed;
	*ret = plan;
	return 0;
}

/* ---- For people ---- */

static void add_one_line(struct buf *ret, const char *text)
{
	for (const char *c = text; *c; c++)
		buf_add_char(ret, (char)((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c));
}

void plan_op_print(const struct plan_stage *stage, const struct plan_op *op, struct buf *ret)
{
	char total[16];
	int width = snprintf(total, sizeof(total), "%u", stage->step_count);

	if (op->number)
		buf_printf(ret, "[%s%s%*u/%s] ", stage->label, *stage->label ? " " : "", width,
			op->number, total);
	buf_add_text(ret, op->is_trigger ? "ONBUILD " : "");
	add_one_line(ret, op->title);
}
