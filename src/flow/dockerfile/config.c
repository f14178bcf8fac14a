/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/number.h"
#include "dockerfile/planner.h"

static struct oci_config *config_of(struct planner *p, size_t stage)
{
	return &p->plan->stages[stage].config;
}

static void set_created_by(struct planner *p, struct plan_op *op, const struct buf *text)
{
	op->created_by = arena_strdup(p->arena, buf_text(text));
}

/* "SHELL [/bin/bash -c]" */
static void list_created_by(struct planner *p, struct plan_op *op, const char *name,
	const struct oci_list *list, bool quoted)
{
	cleanup(buf_done) struct buf text = {0};

	buf_printf(&text, "%s ", name);
	print_list(&text, list, quoted);
	set_created_by(p, op, &text);
}

static void add_argument(struct planner *p, struct plan_op *op, const char *text)
{
	oci_list_add(p->arena, &op->arguments, str_of(text));
}

static void add_pair(struct planner *p, struct plan_op *op, struct str name, const char *value)
{
	add_argument(p, op,
		arena_printf(
			p->arena, "%.*s%s%s", STR_ARG(name), value ? "=" : "", value ? value : ""));
}

static int check_variables(const struct draft *d, const struct command *c, struct err *err)
{
	if (d->env.count <= PLAN_MAX_VARIABLES && d->args.count <= PLAN_MAX_VARIABLES)
		return 0;
	return command_error(err, ERR_LIMIT, c, c->ins->span, "more than %d variables in a stage",
		PLAN_MAX_VARIABLES);
}

struct setting {
	struct str name, value;
};

static int expand_setting(struct planner *p, struct draft *d, const struct command *c,
	const struct pair *pair, struct setting *ret, struct err *err)
{
	int failed = command_expand(p, d, c, pair->name, &ret->name, err);

	if (failed || (failed = command_expand(p, d, c, pair->value, &ret->value, err)))
		return failed;
	if (ret->name.n && !str_starts(ret->name, STR("=")))
		return 0;
	return command_error(err, ERR_INPUT, c, pair->name.span, "%s names cannot be blank",
		instruction_name(c->ins->kind));
}

/* All names and values of one instruction see the values from before it. */
static int expand_pairs(struct planner *p, size_t stage, const struct command *c,
	struct setting **ret, struct err *err)
{
	*ret = arena_array(p->arena, c->ins->pair_count, sizeof(**ret));
	for (size_t i = 0; i < c->ins->pair_count; i++) {
		int failed =
			expand_setting(p, &p->drafts[stage], c, &c->ins->pairs[i], *ret + i, err);
		if (failed)
			return failed;
	}
	return 0;
}

int config_env(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct draft *d = &p->drafts[stage];
	struct setting *settings;
	int failed = expand_pairs(p, stage, c, &settings, err);

	if (failed)
		return failed;
	buf_add_text(&text, "ENV");
	for (size_t i = 0; i < c->ins->pair_count; i++) {
		struct str name = settings[i].name;
		table_set(p->arena, &d->env, name, settings[i].value.p);
		table_set(p->arena, &d->config_env, name, settings[i].value.p);
		add_pair(p, op, name, settings[i].value.p);
		buf_printf(&text, " %.*s=%s", STR_ARG(name), settings[i].value.p);
	}
	d->env_changed = true;
	set_created_by(p, op, &text);
	return check_variables(d, c, err);
}

int config_label(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct setting *settings;
	int failed = expand_pairs(p, stage, c, &settings, err);

	if (failed)
		return failed;
	buf_add_text(&text, "LABEL");
	for (size_t i = 0; i < c->ins->pair_count; i++) {
		const struct setting *s = &settings[i];
		table_set(p->arena, &p->drafts[stage].labels, s->name, s->value.p);
		add_pair(p, op, s->name, s->value.p);
		buf_printf(&text, " %.*s=%s", STR_ARG(s->name), s->value.p);
	}
	set_created_by(p, op, &text);
	return 0;
}

/*
 * The value of one ARG of a stage: the request's, which is never expanded; else its own
 * default; else that of the same name before the first FROM; else none, which is NULL.
 */
static int arg_value(struct planner *p, struct draft *d, const struct command *c,
	const struct pair *pair, const char **ret, struct err *err)
{
	const struct entry *given = table_find(&p->build_args, pair->name.text);
	struct str value;
	int failed;

	if (given) {
		*ret = given->value;
		return 0;
	}
	if (!pair->has_value) {
		*ret = table_get(&p->globals, pair->name.text);
		return 0;
	}
	if ((failed = command_expand(p, d, c, pair->value, &value, err)))
		return failed;
	*ret = value.p;
	return 0;
}

/* Unlike in ENV, each name sees those before it. */
int config_arg(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct draft *d = &p->drafts[stage];
	const char *value;
	int failed;

	buf_add_text(&text, "ARG");
	for (size_t i = 0; i < c->ins->pair_count; i++) {
		const struct pair *pair = &c->ins->pairs[i];
		if ((failed = arg_value(p, d, c, pair, &value, err)))
			return failed;
		if (value)
			table_set(p->arena, &d->env, pair->name.text, value);
		table_set(p->arena, &d->args, pair->name.text, value);
		table_set(p->arena, &p->declared, pair->name.text, NULL);
		add_pair(p, op, pair->name.text, value);
		buf_printf(&text, " %.*s%s%s", STR_ARG(pair->name.text), value ? "=" : "",
			value ? value : "");
	}
	d->env_changed = true;
	set_created_by(p, op, &text);
	return check_variables(d, c, err);
}

struct oci_list shell_argv(struct planner *p, size_t stage, struct str text)
{
	const struct oci_list *shell = &config_of(p, stage)->shell;
	struct oci_list argv = {0};

	for (size_t i = 0; i < shell->count; i++)
		oci_list_add(p->arena, &argv, str_of(shell->items[i]));
	if (!shell->count) {
		oci_list_add(p->arena, &argv, STR("/bin/sh"));
		oci_list_add(p->arena, &argv, STR("-c"));
	}
	oci_list_add(p->arena, &argv, text);
	return argv;
}

static struct oci_list words_list(struct planner *p, const struct instruction *ins)
{
	/* Not NULL even when empty: CMD [] is more than no CMD. */
	struct oci_list list = {.items = arena_array(p->arena, 8, sizeof(*list.items))};

	for (size_t i = 0; i < ins->word_count; i++)
		oci_list_add(p->arena, &list, ins->words[i].text);
	return list;
}

struct oci_list command_argv(struct planner *p, size_t stage, const struct command *c)
{
	if (c->ins->json)
		return words_list(p, c->ins);
	return shell_argv(p, stage, c->ins->word_count ? c->ins->words[0].text : STR(""));
}

int config_cmd(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	(void)err;
	config_of(p, stage)->cmd = op->arguments = command_argv(p, stage, c);
	config_of(p, stage)->args_escaped = true;
	p->drafts[stage].has_cmd = true;
	list_created_by(p, op, "CMD", &config_of(p, stage)->cmd, true);
	return 0;
}

/* It clears the CMD that came with the base, but not one of this stage. */
int config_entrypoint(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct oci_config *config = config_of(p, stage);
	struct oci_list argv = command_argv(p, stage, c);

	(void)err;
	op->arguments = argv;
	config->entrypoint = argv.count ? argv : (struct oci_list){0};
	if (!p->drafts[stage].has_cmd)
		config->cmd = (struct oci_list){0};
	list_created_by(p, op, "ENTRYPOINT", &argv, true);
	return 0;
}

int config_shell(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	(void)err;
	config_of(p, stage)->shell = op->arguments = words_list(p, c->ins);
	list_created_by(p, op, "SHELL", &config_of(p, stage)->shell, false);
	return 0;
}

int config_user(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct str user;
	int failed = command_expand(p, &p->drafts[stage], c, c->ins->words[0], &user, err);

	if (failed)
		return failed;
	config_of(p, stage)->user = user.p;
	add_argument(p, op, user.p);
	op->created_by = arena_printf(p->arena, "USER %s", user.p);
	return 0;
}

int config_workdir(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct oci_config *config = config_of(p, stage);
	struct str path;
	int failed = command_expand(p, &p->drafts[stage], c, c->ins->words[0], &path, err);

	if (failed)
		return failed;
	config->working_dir = path_join(p->arena, str_of(config->working_dir), path);
	op->workdir = config->working_dir;
	add_argument(p, op, op->workdir);
	op->created_by = arena_printf(p->arena, "WORKDIR %s", config->working_dir);
	/* The root is always there: nothing to make, and no layer. */
	if (strcmp(config->working_dir, "/") == 0)
		op->kind = PLAN_META;
	return 0;
}

int config_maintainer(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	(void)err;
	config_of(p, stage)->author = arena_str(p->arena, c->ins->words[0].text).p;
	add_argument(p, op, config_of(p, stage)->author);
	op->created_by = arena_printf(p->arena, "MAINTAINER %s", config_of(p, stage)->author);
	return 0;
}

int config_onbuild(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	(void)err;
	oci_list_add(p->arena, &config_of(p, stage)->onbuild, c->ins->words[0].text);
	oci_list_add(p->arena, &op->arguments, c->ins->words[0].text);
	return 0;
}

int config_volume(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct oci_list volumes = {0};
	struct str path;
	int failed;

	for (size_t i = 0; i < c->ins->word_count; i++) {
		struct word word = c->ins->words[i];
		if ((failed = command_expand(p, &p->drafts[stage], c, word, &path, err)))
			return failed;
		path = str_trim(path);
		if (!path.n)
			return command_error(err, ERR_INPUT, c, word.span,
				"the volume %.*s is empty once its variables are replaced",
				STR_ARG(word.text));
		oci_list_add(p->arena, &volumes, path);
	}
	table_add_names(p->arena, &p->drafts[stage].volumes, &volumes);
	op->arguments = volumes;
	list_created_by(p, op, "VOLUME", &volumes, false);
	return 0;
}

static int64_t duration_flag(const struct instruction *ins, const char *name)
{
	int64_t ns = 0;

	/* Judged when the file was parsed. */
	return parse_duration(instruction_value(ins, name), &ns) ? ns : 0;
}

static void health_created_by(
	struct planner *p, struct plan_op *op, const struct oci_healthcheck *h)
{
	cleanup(buf_done) struct buf text = {0};
	struct oci_list test = {h->test, h->test_count};
	const struct {
		const char *name;
		int64_t ns;
	} durations[] = {
		{"Interval", h->interval},
		{"Timeout", h->timeout},
		{"StartPeriod", h->start_period},
		{"StartInterval", h->start_interval},
	};

	buf_add_text(&text, "HEALTHCHECK {Test:");
	print_list(&text, &test, false);
	for (size_t i = 0; i < array_size(durations); i++) {
		buf_printf(&text, " %s:", durations[i].name);
		print_duration_go(&text, durations[i].ns);
	}
	buf_printf(&text, " Retries:%" PRIu64 "}", h->retries);
	set_created_by(p, op, &text);
}

int config_healthcheck(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	const struct instruction *ins = c->ins;
	bool none = str_eq_nocase(ins->words[0].text, STR("NONE"));
	struct oci_healthcheck *h = &config_of(p, stage)->healthcheck;
	struct oci_list test = {0};

	(void)err;
	oci_list_add(p->arena, &test,
		none	    ? STR("NONE")
		: ins->json ? STR("CMD")
			    : STR("CMD-SHELL"));
	for (size_t i = 1; i < ins->word_count; i++)
		oci_list_add(p->arena, &test, ins->words[i].text);
	*h = (struct oci_healthcheck){.test = test.items, .test_count = test.count};
	if (!none) {
		h->interval = duration_flag(ins, "interval");
		h->timeout = duration_flag(ins, "timeout");
		h->start_period = duration_flag(ins, "start-period");
		h->start_interval = duration_flag(ins, "start-interval");
		if (!parse_u64(instruction_value(ins, "retries"), INT32_MAX, &h->retries))
			h->retries = 0;
	}
	op->arguments = test;
	health_created_by(p, op, h);
	return 0;
}
