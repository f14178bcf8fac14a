/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

static int check_source(
	const struct command *c, struct span span, enum plan_path_kind kind, struct err *err)
{
	if (kind == PLAN_PATH || c->ins->kind == INSTRUCTION_ADD)
		return 0;
	return command_error(err, ERR_INPUT, c, span, "COPY cannot have a %s as a source",
		kind == PLAN_GIT ? "git repository" : "URL");
}

/* At the first "/./" a path with --parents is cut: what stands behind it is kept. */
static void split_parents(struct planner *p, struct plan_path *path, struct str text)
{
	static const char pivot[] = "/./";
	size_t at = 0;

	while (at < text.n && !str_starts(str_from_index(text, at), STR("/./")))
		at++;
	bool has_pivot = at < text.n;
	struct str keep = has_pivot ? str_from_index(text, at + sizeof(pivot) - 1) : text;
	path->path = path_join(p->arena, STR("/"), has_pivot ? str_slice(text, 0, at) : STR("."));
	path->keep = path_join(p->arena, STR("/"), keep) + 1;
}

/* What the matcher of .dockerignore would not take. */
static int check_pattern(
	const struct command *c, struct span span, struct str pattern, struct err *err)
{
	cleanup(patterns_free) struct patterns *patterns = patterns_new();
	struct err why = {0};

	if (!patterns_add(patterns, pattern, &why))
		return 0;
	return command_error(err, why.kind, c, span, "%s", why.text);
}

static int add_path(struct planner *p, const struct command *c, struct plan_copy *copy,
	struct word word, struct str text, struct err *err)
{
	struct plan_path *path = &copy->sources[copy->source_count++];
	struct err why = {0};
	int failed;

	path->kind = is_git(text) ? PLAN_GIT : is_url(text) ? PLAN_URL : PLAN_PATH;
	path->span = c->is_trigger ? c->span : word.span;
	if ((failed = check_source(c, word.span, path->kind, err)))
		return failed;
	if (!text.n)
		plan_warn(p, path->span, "the source %.*s is empty, which means everything",
			STR_ARG(word.text));
	if (path->kind != PLAN_PATH)
		return remote_source(p, c, word.span, text, path, err);
	if (wildcard_check(text, &why))
		return command_error(err, why.kind, c, word.span, "%s", why.text);
	path->path = path_join(p->arena, STR("/"), text);
	if (!copy->parents)
		return 0;
	split_parents(p, path, text);
	return check_pattern(c, word.span, str_of(path->keep), err);
}

/* The body of a heredoc without quotes in its name is expanded; '\' is its escape. */
static int add_file(struct planner *p, struct draft *d, const struct command *c,
	struct plan_copy *copy, const struct heredoc *h, struct err *err)
{
	struct expansion how = {'\\', EXPAND_NO_QUOTES, table_get, &d->env};
	struct str body = h->strip_tabs ? heredoc_strip_tabs(p->arena, h->body) : h->body;
	struct err why = {0};
	int failed = check_file_name(c, h, err);

	if (failed)
		return failed;
	if (h->expand && expand_word(p->arena, &how, body, &body, &why))
		return command_error(err, why.kind, c, h->span, "%s", why.text);
	copy->files[copy->file_count++] = (struct plan_file){arena_str(p->arena, h->name).p, body};
	return 0;
}

static const struct heredoc *find_heredoc(
	struct planner *p, const struct instruction *ins, struct str word)
{
	struct heredoc named;

	if (ins->json || !ins->heredoc_count || !heredoc_parse_word(p->arena, word, &named))
		return NULL;
	/* Of two with the same name the last one counts, for both. */
	for (size_t i = ins->heredoc_count; i > 0; i--)
		if (str_eq(ins->heredocs[i - 1].name, named.name))
			return &ins->heredocs[i - 1];
	return NULL;
}

/*
 * A copy on its way, and what of its words goes into the history: expanded but not cleaned,
 * files behind sources.
 */
struct draft_copy {
	struct plan_copy *copy;
	struct buf sources, files;
};

static int take_source(struct planner *p, size_t stage, const struct command *c,
	struct draft_copy *draft, struct word word, struct err *err)
{
	struct draft *d = &p->drafts[stage];
	const struct heredoc *h = find_heredoc(p, c->ins, word.text);
	struct str text;
	int failed;

	if (h) {
		buf_printf(&draft->files, " <<%.*s", STR_ARG(h->name));
		return add_file(p, d, c, draft->copy, h, err);
	}
	if ((failed = command_expand(p, d, c, word, &text, err)))
		return failed;
	buf_printf(&draft->sources, " %.*s", STR_ARG(text));
	return add_path(p, c, draft->copy, word, text, err);
}

static void set_dest(struct planner *p, size_t stage, struct plan_copy *copy, struct str dest)
{
	const char *workdir = p->plan->stages[stage].config.working_dir;

	copy->dest = path_join(p->arena, str_of(workdir), dest);
	copy->dest_is_dir = !dest.n || str_is(dest, ".") || str_ends(dest, STR("/")) ||
			    str_ends(dest, STR("/."));
}

static enum plan_switch switch_of(const struct instruction *ins, const char *name)
{
	if (!instruction_flag(ins, name, NULL))
		return PLAN_UNSET;
	return instruction_has(ins, name) ? PLAN_ON : PLAN_OFF;
}

static int take_flag(struct planner *p, size_t stage, const struct command *c, const char *name,
	const char **ret, struct err *err)
{
	const struct flag *flag = instruction_flag(c->ins, name, NULL);
	struct str text;

	*ret = "";
	if (!flag)
		return 0;
	struct word word = {flag->value, flag->span};
	int failed = command_expand(p, &p->drafts[stage], c, word, &text, err);
	if (!failed)
		*ret = text.p;
	return failed;
}

static int check_chmod(const struct command *c, const char *chmod, struct err *err)
{
	uint32_t mode;

	if (!*chmod || mode_apply(str_of(chmod), 0, false, &mode))
		return 0;
	return command_error(err, ERR_INPUT, c, instruction_flag(c->ins, "chmod", NULL)->span,
		"%s is not a mode: 644 or u=rwX,go=rX", chmod);
}

static int take_flags(struct planner *p, size_t stage, const struct command *c,
	struct plan_copy *copy, struct err *err)
{
	const struct flag *flag = instruction_flag(c->ins, "from", NULL);
	int failed;

	copy->link = instruction_has(c->ins, "link");
	copy->parents = instruction_has(c->ins, "parents");
	copy->has_epoch = p->has_epoch;
	copy->epoch = p->epoch;
	copy->unpack = switch_of(c->ins, "unpack");
	copy->keep_git_dir = switch_of(c->ins, "keep-git-dir");
	if ((failed = take_flag(p, stage, c, "chown", &copy->chown, err)) ||
		(failed = take_flag(p, stage, c, "chmod", &copy->chmod, err)) ||
		(failed = take_flag(p, stage, c, "checksum", &copy->checksum, err)) ||
		(failed = check_chmod(c, copy->chmod, err)))
		return failed;
	if (flag && flag->value.n) {
		struct word word = {flag->value, flag->span};
		failed = reference_source(p, stage, c, word, &copy->from, err);
	}
	for (flag = NULL; !failed && (flag = instruction_flag(c->ins, "exclude", flag));) {
		oci_list_add(p->arena, &copy->excludes, flag->value);
		failed = check_pattern(c, flag->span, flag->value, err);
	}
	return failed;
}

static void set_created_by(
	struct planner *p, struct plan_op *op, const struct draft_copy *draft, struct str dest)
{
	const struct plan_copy *copy = draft->copy;

	op->created_by = arena_printf(p->arena, "%s%s%s%s%s%s%s%s %.*s # buildkit",
		instruction_name(op->instruction), copy->parents ? " --parents" : "",
		*copy->chown ? " --chown=" : "", copy->chown, *copy->chmod ? " --chmod=" : "",
		copy->chmod, draft->sources.len ? draft->sources.data : "",
		draft->files.len ? draft->files.data : "", STR_ARG(dest));
}

static void draft_copy_done(struct draft_copy *draft)
{
	buf_done(&draft->sources);
	buf_done(&draft->files);
}

DEFINE_CLEANUP_VALUE(struct draft_copy, draft_copy_done);

int copy_step(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct plan_copy *copy = arena_alloc(p->arena, sizeof(*copy));
	cleanup(draft_copy_done) struct draft_copy draft = {.copy = copy};
	size_t count = c->ins->word_count - 1;
	struct str dest;
	int failed;

	op->copy = copy;
	copy->sources = arena_array(p->arena, count, sizeof(*copy->sources));
	copy->files = arena_array(p->arena, count, sizeof(*copy->files));
	if ((failed = take_flags(p, stage, c, copy, err)))
		return failed;
	for (size_t i = 0; i < count; i++)
		if ((failed = take_source(p, stage, c, &draft, c->ins->words[i], err)))
			return failed;
	if ((failed = command_expand(p, &p->drafts[stage], c, c->ins->words[count], &dest, err)))
		return failed;
	set_dest(p, stage, copy, dest);
	set_created_by(p, op, &draft, dest);
	return remote_flags(c, copy, err);
}
