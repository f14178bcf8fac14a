/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/* Where a script that came as a heredoc is mounted. */
static const char PIPES[] = "/dev/pipes/";

int check_file_name(const struct command *c, const struct heredoc *h, struct err *err)
{
	if (str_find(h->name, '/') == h->name.n && !str_is(h->name, ".") && !str_is(h->name, ".."))
		return 0;
	return command_error(err, ERR_INPUT, c, h->span,
		"%.*s cannot be the name of a file: a heredoc's name becomes one",
		STR_ARG(h->name));
}

/* "RUN <<EOF (pip install x...)": the first line, and a sign that there are more. */
static const char *summary(struct planner *p, const char *title, struct str body)
{
	struct str rest = str_trim(body), first = str_trim_right(str_cut(&rest, '\n'));

	return arena_printf(p->arena, "%s (%.*s%s)", title, STR_ARG(first), rest.p ? "..." : "");
}

/*
 * The three meanings of heredocs: alone and with a #! it is a program of its own; alone it is
 * the text for the shell; beside other words the shell gets it all and does the rest.
 */
static int heredoc_argv(struct planner *p, size_t stage, const struct command *c,
	struct plan_op *op, struct err *err)
{
	const struct instruction *ins = c->ins;
	struct heredoc *h = &ins->heredocs[0], alone;
	int failed;

	if (!heredoc_parse_word(p->arena, ins->words[0].text, &alone)) {
		cleanup(buf_done) struct buf text = {0};
		buf_add_str(&text, ins->words[0].text);
		for (size_t i = 0; i < ins->heredoc_count; i++) {
			buf_add_char(&text, '\n');
			buf_add_str(&text, ins->heredocs[i].body);
			buf_add_str(&text, ins->heredocs[i].name);
		}
		op->run->argv = shell_argv(p, stage, buf_str(&text));
		return 0;
	}
	op->title = summary(p, op->title, h->body);
	struct str body = h->strip_tabs ? heredoc_strip_tabs(p->arena, h->body) : h->body;
	if (!str_starts(body, STR("#!"))) {
		op->run->argv = shell_argv(p, stage, body);
		return 0;
	}
	if ((failed = check_file_name(c, h, err)))
		return failed;
	op->run->script = arena_alloc(p->arena, sizeof(*op->run->script));
	*op->run->script = (struct plan_file){arena_str(p->arena, h->name).p, body};
	const char *path = arena_printf(p->arena, "%s%s", PIPES, op->run->script->name);
	op->run->argv = shell_argv(p, stage, str_of(path));
	return 0;
}

/* "RUN |1 a=b /bin/sh -c x # buildkit" */
static const char *created_by(struct planner *p, const struct draft *d, const struct oci_list *argv)
{
	cleanup(buf_done) struct buf text = {0};

	buf_add_text(&text, "RUN");
	if (d->args.count)
		buf_printf(&text, " |%zu", d->args.count);
	for (size_t i = 0; i < d->args.count; i++) {
		const struct entry *arg = &d->args.items[i];
		const struct entry *in_force = table_find(&d->env, arg->name);
		const char *value = in_force ? in_force->value : arg->value;
		buf_printf(&text, " %s=%s", arg->name.p, value ? value : "");
	}
	for (size_t i = 0; i < argv->count; i++)
		buf_printf(&text, " %s", argv->items[i]);
	buf_add_text(&text, " # buildkit");
	return arena_strdup(p->arena, buf_text(&text));
}

static enum plan_network network_of(const struct instruction *ins)
{
	struct str value = instruction_value(ins, "network");

	return str_is(value, "none")   ? PLAN_NETWORK_NONE
	       : str_is(value, "host") ? PLAN_NETWORK_HOST
				       : PLAN_NETWORK_DEFAULT;
}

/* Steps between which nothing was declared share one list. */
static struct oci_list run_env(struct planner *p, struct draft *d)
{
	if (d->env_changed)
		d->run_env = table_list(p->arena, &d->env);
	d->env_changed = false;
	return d->run_env;
}

static bool is_hostname(const char *name)
{
	enum { LONGEST = 64 }; /* of sethostname(2) */
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

	return !name[n] && n <= LONGEST;
}

static int take_hostname(
	struct planner *p, const struct command *c, struct plan_run *run, struct err *err)
{
	const char *name = table_get(&p->build_args, STR("BUILDKIT_SANDBOX_HOSTNAME"));

	run->hostname = name ? name : "";
	if (is_hostname(run->hostname))
		return 0;
	return command_error(err, ERR_INPUT, c, c->ins->span,
		"BUILDKIT_SANDBOX_HOSTNAME=%s is not a host name", name);
}

int run_step(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct draft *d = &p->drafts[stage];
	struct plan_run *run = arena_alloc(p->arena, sizeof(*run));
	int failed;

	op->run = run;
	if (!c->ins->heredoc_count)
		run->argv = command_argv(p, stage, c);
	else if ((failed = heredoc_argv(p, stage, c, op, err)))
		return failed;
	run->env = run_env(p, d);
	run->network = network_of(c->ins);
	run->insecure = str_is(instruction_value(c->ins, "security"), "insecure");
	op->created_by = created_by(p, d, &run->argv);
	if ((failed = take_hostname(p, c, run, err)))
		return failed;
	return mounts_parse(p, stage, c, run, err);
}
