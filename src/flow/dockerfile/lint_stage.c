/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/linter.h"

/*
 * Each stage is walked from its FROM down with the variables it has there, as planning does,
 * but all stages, without their base images, and past what is wrong: planning tells that.
 */

static const char DEFAULT_PATH[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct lint_stage {
	const struct instruction *body;
	size_t body_count;
	struct table env;	     /* ENV and ARG in effect */
	struct table args;	     /* declared ARGs, with a value or not */
	bool is_known;		     /* what its base sets is */
	bool has_shell, has_workdir; /* an own one, or one of a parent in this file */
	/* The last one so far of those of which only one counts. */
	const struct instruction *last[INSTRUCTION_KINDS];
};

struct walk {
	struct linter *linter;
	size_t arena_used; /* before */
	struct lint_stage *stages;
	size_t count;
	struct map *names; /* lower case name → place, from 1 */
	struct lint_stage *stage;
	const struct instruction *ins;
	struct lint_lookup look; /* of the instruction */
	bool is_quiet;		 /* a trigger is carried out, which was judged where it stands */
};

/* ---- Variables ---- */

static struct str expand(struct walk *w, struct str text)
{
	return lint_expand(&w->look, text);
}

static bool has_small_letter(struct str name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 'a' && name.p[i] <= 'z')
			return true;
	return false;
}

static bool is_scan_switch(struct str name)
{
	return str_is(name, "BUILDKIT_SBOM_SCAN_CONTEXT") ||
	       str_is(name, "BUILDKIT_SBOM_SCAN_STAGE");
}

static void judge_undefined(struct walk *w)
{
	const struct table *missing = &w->look.missing;

	for (size_t i = 0; i < missing->count && !w->is_quiet; i++) {
		struct str name = missing->items[i].name;
		if (table_find(&w->stage->args, name) || is_scan_switch(name))
			continue;
		const char *near = lint_suggest(w->linter, &w->stage->env, name);
		if (w->stage->is_known || *near || has_small_letter(name))
			lint_add(w->linter, LINT_UNDEFINED_VAR, w->ins,
				"Usage of undefined variable '$%.*s'%s", STR_ARG(name), near);
	}
}

/* ---- Instructions; each expands its words, and then changes the stage ---- */

static void say_secret(struct walk *w, struct str name)
{
	if (is_secret_name(name) && !w->is_quiet)
		lint_add(w->linter, LINT_SECRETS_USED_IN_ARG_OR_ENV, w->ins,
			"Do not use ARG or ENV instructions for sensitive data (%s %s)",
			instruction_name(w->ins->kind), lint_quoted(w->linter, name));
}

static void judge_pairs(struct walk *w)
{
	struct str word = lint_word(w->ins);

	if (w->ins->pair_count && w->ins->pairs[0].old_form && !w->is_quiet)
		lint_add(w->linter, LINT_LEGACY_KEY_VALUE_FORMAT, w->ins,
			"\"%.*s key=value\" should be used instead of legacy \"%.*s key value\" "
			"format",
			STR_ARG(word), STR_ARG(word));
}

static void take_label(struct walk *w)
{
	judge_pairs(w);
	for (size_t i = 0; i < w->ins->pair_count; i++) {
		(void)expand(w, w->ins->pairs[i].name.text);
		(void)expand(w, w->ins->pairs[i].value.text);
	}
	judge_undefined(w);
}

static void take_env(struct walk *w)
{
	struct arena *a = w->linter->arena;
	size_t count = w->ins->pair_count;
	struct str *names = arena_array(a, count + 1, sizeof(*names));
	const char **values = arena_array(a, count + 1, sizeof(*values));

	judge_pairs(w);
	for (size_t i = 0; i < count; i++) {
		names[i] = expand(w, w->ins->pairs[i].name.text);
		values[i] = arena_str(a, expand(w, w->ins->pairs[i].value.text)).p;
		say_secret(w, names[i]);
	}
	judge_undefined(w);
	for (size_t i = 0; i < count; i++)
		table_set(a, &w->stage->env, names[i], values[i]);
}

/* Unlike in ENV, each name sees those before it. */
static void take_arg(struct walk *w)
{
	struct arena *a = w->linter->arena;

	for (size_t i = 0; i < w->ins->pair_count; i++) {
		const struct pair *pair = &w->ins->pairs[i];
		struct str name = pair->name.text;
		const struct entry *given = table_find(&w->linter->globals.build_args, name);
		const char *value = given ? given->value
				    : pair->has_value
					    ? arena_str(a, expand(w, pair->value.text)).p
					    : table_get(&w->linter->globals.globals, name);
		say_secret(w, name);
		if (value)
			table_set(a, &w->stage->env, name, value);
		table_set(a, &w->stage->args, name, NULL);
	}
	judge_undefined(w);
}

static void judge_once(struct walk *w)
{
	const struct instruction **last = &w->stage->last[w->ins->kind];
	struct str word = lint_word(w->ins);

	/* The place of the earlier one, which does not count. */
	if (*last && !w->is_quiet)
		lint_add(w->linter, LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED, *last,
			"Multiple %.*s instructions should not be used in the same stage because "
			"only the last one will be used",
			STR_ARG(word));
	*last = w->is_quiet ? NULL : w->ins;
}

static void take_command(struct walk *w)
{
	struct str word = lint_word(w->ins);

	judge_once(w);
	if (w->ins->json || !w->ins->word_count || w->stage->has_shell || w->is_quiet)
		return;
	lint_add(w->linter, LINT_JSON_ARGS_RECOMMENDED, w->ins,
		"JSON arguments recommended for %.*s to prevent unintended behavior related to OS "
		"signals",
		STR_ARG(word));
}

static void take_shell(struct walk *w)
{
	w->stage->has_shell = true;
}

static void take_workdir(struct walk *w)
{
	struct str path = expand(w, w->ins->words[0].text);

	judge_undefined(w);
	if (!w->stage->has_workdir && !str_starts(path, STR("/")) && !w->is_quiet)
		lint_add(w->linter, LINT_WORKDIR_RELATIVE_PATH, w->ins,
			"Relative workdir %s can have unexpected results if the base image changes",
			lint_quoted(w->linter, path));
	w->stage->has_workdir = true;
}

static void judge_port(struct walk *w, struct str port)
{
	size_t colon = str_rfind(port, ':');
	struct str inside = colon < port.n ? str_from_index(port, colon + 1) : port;
	size_t slash = str_find(inside, '/');
	bool has_upper = false;

	for (size_t i = slash; i < inside.n; i++)
		has_upper = has_upper || (inside.p[i] >= 'A' && inside.p[i] <= 'Z');
	if (has_upper)
		lint_add(w->linter, LINT_EXPOSE_PROTO_CASING, w->ins,
			"Defined protocol '%.*s' in EXPOSE instruction should be lowercase",
			STR_ARG(port));
	if (colon > 0 && colon < port.n)
		lint_add(w->linter, LINT_EXPOSE_INVALID_FORMAT, w->ins,
			"EXPOSE instruction should not define an IP address or host-port mapping, "
			"found '%.*s'",
			STR_ARG(port));
}

static void take_expose(struct walk *w)
{
	struct linter *l = w->linter;
	struct expansion how = {l->file->escape, 0, table_get, &w->stage->env};

	for (size_t i = 0; i < w->ins->word_count && !w->is_quiet; i++) {
		struct str *ports;
		size_t count;
		if (expand_words(l->arena, &how, w->ins->words[i].text, &ports, &count, NULL))
			continue;
		for (size_t k = 0; k < count; k++)
			judge_port(w, ports[k]);
	}
}

/* "*" and its kin: a name that nobody would write is ignored too. */
static bool ignores_all(const struct patterns *ignore)
{
	return patterns_match(ignore, STR("\001\001"));
}

static void judge_source(struct walk *w, struct str path)
{
	const struct patterns *ignore = w->linter->options->ignore;
	cleanup(buf_done) struct buf clean = {0};

	path_clean(&clean, path);
	struct str text = buf_str(&clean), name = text;
	if (str_starts(name, STR("/")))
		name = str_from_index(name, 1);
	bool is_root = !name.n || str_is(name, ".");
	if (is_root ? !ignores_all(ignore) : !patterns_match(ignore, name))
		return;
	lint_add(w->linter, LINT_COPY_IGNORED_FILE, w->ins,
		"Attempting to %s file %s that is excluded by .dockerignore",
		w->ins->kind == INSTRUCTION_ADD ? "Add" : "Copy", lint_quoted(w->linter, text));
}

/* URLs and git repositories do not come from the context. */
static bool is_remote(struct str source)
{
	size_t colon = str_find(source, ':');

	return str_starts(source, STR("git@")) ||
	       str_starts(str_from_index(source, colon), STR("://"));
}

static void take_copy(struct walk *w)
{
	const struct instruction *ins = w->ins;
	const struct patterns *ignore = w->linter->options->ignore;
	/* With exceptions it cannot be told from the patterns alone. */
	bool judged = !w->is_quiet && ignore && patterns_count(ignore) &&
		      !patterns_have_exception(ignore) && !instruction_flag(ins, "from", NULL);
	struct heredoc unused;

	for (size_t i = 0; i < ins->word_count; i++) {
		struct str text = ins->words[i].text;
		if (!ins->json && heredoc_parse_word(w->linter->arena, text, &unused))
			continue;
		text = expand(w, text);
		if (judged && i + 1 < ins->word_count && !is_remote(text))
			judge_source(w, text);
	}
	for (size_t i = 0; i < ins->flag_count; i++)
		if (!str_is(ins->flags[i].name, "from") && !str_is(ins->flags[i].name, "exclude"))
			(void)expand(w, ins->flags[i].value);
	struct expansion how = {'\\', EXPAND_NO_QUOTES, lint_look_up, &w->look};
	for (size_t i = 0; i < ins->heredoc_count; i++) {
		struct str body;
		if (ins->heredocs[i].expand)
			ignored(expand_word(
				w->linter->arena, &how, ins->heredocs[i].body, &body, NULL));
	}
	judge_undefined(w);
}

static void take_run(struct walk *w)
{
	for (const struct flag *f = NULL; (f = instruction_flag(w->ins, "mount", f));)
		(void)expand(w, f->value);
	judge_undefined(w);
}

static void take_words(struct walk *w)
{
	for (size_t i = 0; i < w->ins->word_count; i++)
		(void)expand(w, w->ins->words[i].text);
	judge_undefined(w);
}

typedef void take_fn(struct walk *w);

static take_fn *const takes[INSTRUCTION_KINDS] = {
	[INSTRUCTION_ADD] = take_copy,
	[INSTRUCTION_ARG] = take_arg,
	[INSTRUCTION_CMD] = take_command,
	[INSTRUCTION_COPY] = take_copy,
	[INSTRUCTION_ENTRYPOINT] = take_command,
	[INSTRUCTION_ENV] = take_env,
	[INSTRUCTION_EXPOSE] = take_expose,
	[INSTRUCTION_HEALTHCHECK] = judge_once,
	[INSTRUCTION_LABEL] = take_label,
	[INSTRUCTION_RUN] = take_run,
	[INSTRUCTION_SHELL] = take_shell,
	[INSTRUCTION_STOPSIGNAL] = take_words,
	[INSTRUCTION_USER] = take_words,
	[INSTRUCTION_VOLUME] = take_words,
	[INSTRUCTION_WORKDIR] = take_workdir,
};

static void take(struct walk *w, const struct instruction *ins, bool is_quiet)
{
	/* Where planning gives up, there is nothing to say of what it would have done. */
	if (!takes[ins->kind] || w->linter->arena->used - w->arena_used > PLAN_MAX_MEMORY)
		return;
	w->ins = ins;
	w->is_quiet = is_quiet;
	w->look = (struct lint_lookup){.linter = w->linter, .env = &w->stage->env};
	takes[ins->kind](w);
	lint_lookup_done(&w->look);
}

/* ---- Stages ---- */

static void judge_base_platform(
	struct walk *w, const struct instruction *from, const char *name, struct oci_platform base)
{
	const struct flag *flag = instruction_flag(from, "platform", NULL);
	struct linter *l = w->linter;
	struct oci_platform want = l->globals.target_platform;
	struct expansion how = {l->file->escape, 0, table_get, &l->globals.globals};
	struct str text;

	if (flag && (expand_word(l->arena, &how, flag->value, &text, NULL) ||
			    oci_platform_parse(l->arena, text, &want, NULL)))
		return;
	if (!base.os || !*base.os || !want.os || !*want.os ||
		(strcmp(base.os, want.os) == 0 &&
			strcmp(base.architecture, want.architecture) == 0))
		return;
	lint_add(l, LINT_INVALID_BASE_IMAGE_PLATFORM, from,
		"Base image %s was pulled with platform \"%s/%s\", expected \"%s/%s\" for current "
		"build",
		name, base.os, base.architecture, want.os, want.architecture);
}

/* What an image from outside sets, as far as it is known. */
static void begin_from_image(struct walk *w, const struct instruction *from, struct str name)
{
	const struct lint_options *options = w->linter->options;
	struct lint_stage *stage = w->stage;
	struct oci_config config = {0};

	if (str_is(name, "scratch")) {
		stage->is_known = true;
		return;
	}
	if (!options->base ||
		!options->base(options->arg, arena_str(w->linter->arena, name).p, &config))
		return;
	/* Its triggers may set more. */
	stage->is_known = !config.onbuild.count;
	stage->has_shell = config.shell.count > 0;
	table_add_list(w->linter->arena, &stage->env, &config.env);
	judge_base_platform(w, from, arena_str(w->linter->arena, name).p, config.platform);
}

static void begin_from_stage(struct walk *w, const struct lint_stage *base)
{
	struct lint_stage *stage = w->stage;

	stage->is_known = base->is_known;
	stage->has_shell = base->has_shell;
	stage->has_workdir = base->has_workdir;
	table_copy(w->linter->arena, &stage->env, &base->env);
	table_copy(w->linter->arena, &stage->args, &base->args);
	for (size_t i = 0; i < base->body_count; i++)
		if (base->body[i].trigger)
			take(w, base->body[i].trigger, true);
}

static void judge_stage(struct walk *w, const struct instruction *from)
{
	size_t at = w->count++;
	struct expansion how = {w->linter->file->escape, 0, table_get, &w->linter->globals.globals};
	const struct plan *plan = w->linter->options->plan;
	struct str name;

	w->stage = &w->stages[at];
	lint_from(w->linter, from);
	if (expand_word(w->linter->arena, &how, from->words[0].text, &name, NULL))
		name = from->words[0].text;
	uintptr_t base = (uintptr_t)map_find(w->names, name);
	if (base)
		begin_from_stage(w, &w->stages[base - 1]);
	else
		begin_from_image(w, from, name);
	if (!table_find(&w->stage->env, STR("PATH")))
		table_set(w->linter->arena, &w->stage->env, STR("PATH"), DEFAULT_PATH);
	if (from->word_count == 3)
		(void)map_set(w->names, str_of(lower_case(w->linter->arena, from->words[2].text)),
			(void *)(uintptr_t)(at + 1));
	bool is_needed = !plan || at >= plan->stage_count || plan->stages[at].needed;
	for (size_t i = 0; i < w->stage->body_count && is_needed; i++)
		take(w, &w->stage->body[i], false);
	table_done(&w->stage->env);
	table_done(&w->stage->args);
}

static void find_bodies(struct walk *w)
{
	const struct dockerfile *file = w->linter->file;
	size_t count = 0;

	for (size_t i = 0; i < file->instruction_count; i++) {
		if (file->instructions[i].kind == INSTRUCTION_FROM)
			w->stages[count++].body = &file->instructions[i + 1];
		else if (count)
			w->stages[count - 1].body_count++;
	}
}

void lint_stages(struct linter *l)
{
	cleanup(map_free) struct map *names = map_new();
	struct walk w = {
		.linter = l,
		.arena_used = l->arena->used,
		.stages = arena_array(l->arena, l->file->stage_count + 1, sizeof(*w.stages)),
		.names = names,
	};

	find_bodies(&w);
	for (size_t i = 0; i < l->file->stage_count; i++)
		judge_stage(&w, w.stages[i].body - 1);
}
