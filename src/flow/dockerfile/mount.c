/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "dockerfile/planner.h"

/* A mount on its way: what was written, before defaults. */
struct draft_mount {
	struct plan_mount m;
	struct str from, source, target, id;
	struct str env;
	bool has_env, has_sharing, has_access;
};

struct field {
	struct str key, value; /* value.p is NULL without '=' */
};

/*
 * The next field of a comma-separated record (RFC 4180), its quotes undone. 1: *ret is filled;
 * 0: there is none; -1: a stray quote.
 */
static int next_field(struct arena *a, struct str *rest, struct str *ret)
{
	cleanup(buf_done) struct buf text = {0};

	if (!rest->p)
		return 0;
	if (!str_starts(*rest, STR("\""))) {
		*ret = str_cut(rest, ',');
		return str_find(*ret, '"') == ret->n ? 1 : -1;
	}
	for (*rest = str_from_index(*rest, 1);;) {
		size_t quote = str_find(*rest, '"');
		if (quote == rest->n)
			return -1;
		buf_add_str(&text, str_slice(*rest, 0, quote));
		*rest = str_from_index(*rest, quote + 1);
		if (!str_starts(*rest, STR("\"")))
			break;
		buf_add_char(&text, '"');
		*rest = str_from_index(*rest, 1);
	}
	*ret = arena_str(a, buf_str(&text));
	if (!rest->n)
		*rest = (struct str){0};
	else if (rest->p[0] != ',')
		return -1;
	else
		*rest = str_from_index(*rest, 1);
	return 1;
}

static struct field split_field(struct str text)
{
	struct field f = {.value = text};

	f.key = str_cut(&f.value, '=');
	return f;
}

struct word mount_from(struct arena *a, const struct flag *flag)
{
	struct word from = {.span = flag->span};
	struct str rest = flag->value, text;

	while (next_field(a, &rest, &text) > 0) {
		struct field f = split_field(text);
		if (f.value.p && str_eq_nocase(f.key, STR("from")))
			from.text = f.value;
	}
	return from;
}

/* ---- One function a key ---- */

struct mount_context {
	const struct command *c;
	struct span span;
	struct draft_mount *d;
	struct err *err;
};

static int bad_value(const struct mount_context *x, const char *key, struct str value,
	const char *const *allowed)
{
	static const char *const none[] = {NULL};
	char hint[64];

	return command_error(x->err, ERR_INPUT, x->c, x->span, "%s cannot be %.*s%s", key,
		STR_ARG(value), suggest(hint, value, allowed ? allowed : none));
}

static const char *const kinds[] = {
	[PLAN_MOUNT_BIND] = "bind",
	[PLAN_MOUNT_CACHE] = "cache",
	[PLAN_MOUNT_TMPFS] = "tmpfs",
	[PLAN_MOUNT_SECRET] = "secret",
	[PLAN_MOUNT_SSH] = "ssh",
	NULL,
};

static const char *const sharings[] = {
	[PLAN_SHARING_SHARED] = "shared",
	[PLAN_SHARING_PRIVATE] = "private",
	[PLAN_SHARING_LOCKED] = "locked",
	NULL,
};

static bool find_word(struct str value, const char *const *words, unsigned *ret)
{
	for (unsigned i = 0; words[i]; i++)
		if (str_eq_nocase(value, str_of(words[i]))) {
			*ret = i;
			return true;
		}
	return false;
}

static int set_type(const struct mount_context *x, struct str value)
{
	unsigned kind;

	if (!find_word(value, kinds, &kind))
		return bad_value(x, "type", value, kinds);
	x->d->m.kind = (enum plan_mount_kind)kind;
	return 0;
}

static int set_sharing(const struct mount_context *x, struct str value)
{
	unsigned sharing;

	if (!find_word(value, sharings, &sharing))
		return bad_value(x, "sharing", value, sharings);
	x->d->m.sharing = (enum plan_sharing)sharing;
	x->d->has_sharing = true;
	return 0;
}

/* As Go's strconv.ParseBool; a key without a value means true. */
static int parse_bool(const struct mount_context *x, const char *key, struct str value, bool *ret)
{
	static const char *const words[] = {
		"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"};

	*ret = true;
	if (!value.p)
		return 0;
	for (size_t i = 0; i < array_size(words); i++)
		if (str_is(value, words[i])) {
			*ret = i < array_size(words) / 2;
			return 0;
		}
	return bad_value(x, key, value, NULL);
}

static int set_readonly(const struct mount_context *x, struct str value)
{
	x->d->has_access = true;
	return parse_bool(x, "readonly", value, &x->d->m.readonly);
}

static int set_readwrite(const struct mount_context *x, struct str value)
{
	bool writable;
	int failed = parse_bool(x, "readwrite", value, &writable);

	x->d->has_access = true;
	x->d->m.readonly = !failed && !writable;
	return failed;
}

static int wrong_kind(const struct mount_context *x, const char *key)
{
	return command_error(x->err, ERR_INPUT, x->c, x->span,
		"%s means nothing for a mount of type %s", key, kinds[x->d->m.kind]);
}

static bool is_secret_or_ssh(const struct mount_context *x)
{
	return x->d->m.kind == PLAN_MOUNT_SECRET || x->d->m.kind == PLAN_MOUNT_SSH;
}

/* As in BuildKit the type has to stand before required and size. */
static int set_required(const struct mount_context *x, struct str value)
{
	return is_secret_or_ssh(x) ? parse_bool(x, "required", value, &x->d->m.required)
				   : wrong_kind(x, "required");
}

static int set_size(const struct mount_context *x, struct str value)
{
	if (x->d->m.kind != PLAN_MOUNT_TMPFS)
		return wrong_kind(x, "size");
	return parse_size(value, &x->d->m.size) ? 0 : bad_value(x, "size", value, NULL);
}

static int set_number(
	const struct mount_context *x, const char *key, struct str value, bool *has, uint32_t *ret)
{
	bool is_mode = strcmp(key, "mode") == 0;
	uint64_t n;

	if (is_mode ? !parse_octal(value, 07777, &n) : !parse_u64(value, UINT32_MAX, &n))
		return bad_value(x, key, value, NULL);
	*has = true;
	*ret = (uint32_t)n;
	return 0;
}

static int set_mode(const struct mount_context *x, struct str value)
{
	return set_number(x, "mode", value, &x->d->m.has_mode, &x->d->m.mode);
}

static int set_uid(const struct mount_context *x, struct str value)
{
	return set_number(x, "uid", value, &x->d->m.has_uid, &x->d->m.uid);
}

static int set_gid(const struct mount_context *x, struct str value)
{
	return set_number(x, "gid", value, &x->d->m.has_gid, &x->d->m.gid);
}

static int set_from(const struct mount_context *x, struct str value)
{
	x->d->from = value;
	return 0;
}

static int set_source(const struct mount_context *x, struct str value)
{
	x->d->source = value;
	return 0;
}

static int set_target(const struct mount_context *x, struct str value)
{
	x->d->target = value;
	return 0;
}

static int set_id(const struct mount_context *x, struct str value)
{
	x->d->id = value;
	return 0;
}

static int set_env(const struct mount_context *x, struct str value)
{
	if (x->d->m.kind != PLAN_MOUNT_SECRET)
		return wrong_kind(x, "env");
	if (!value.n || str_find(value, '=') < value.n)
		return bad_value(x, "env", value, NULL);
	x->d->env = value;
	x->d->has_env = true;
	return 0;
}

static const struct {
	const char *key;
	int (*set)(const struct mount_context *x, struct str value);
	bool alone; /* may stand without a value */
} keys[] = {
	{"destination", set_target, false},
	{"dst", set_target, false},
	{"env", set_env, false},
	{"from", set_from, false},
	{"gid", set_gid, false},
	{"id", set_id, false},
	{"mode", set_mode, false},
	{"readonly", set_readonly, true},
	{"readwrite", set_readwrite, true},
	{"required", set_required, true},
	{"ro", set_readonly, true},
	{"rw", set_readwrite, true},
	{"sharing", set_sharing, false},
	{"size", set_size, false},
	{"source", set_source, false},
	{"src", set_source, false},
	{"target", set_target, false},
	{"type", set_type, false},
	{"uid", set_uid, false},
};

static int unknown_key(const struct mount_context *x, struct str key)
{
	const char *known[array_size(keys) + 1] = {0};
	char hint[64];

	for (size_t i = 0; i < array_size(keys); i++)
		known[i] = keys[i].key;
	return command_error(x->err, ERR_INPUT, x->c, x->span, "--mount has no key %.*s%s",
		STR_ARG(key), suggest(hint, key, known));
}

static int apply_field(
	struct planner *p, struct draft *stage, const struct mount_context *x, struct str text)
{
	struct field f = split_field(text);
	size_t i = 0;
	int failed;

	while (i < array_size(keys) && !str_eq_nocase(f.key, str_of(keys[i].key)))
		i++;
	if (i == array_size(keys))
		return unknown_key(x, f.key);
	if (!f.value.p && !keys[i].alone)
		return command_error(x->err, ERR_INPUT, x->c, x->span, "%s needs a value: %s=…",
			keys[i].key, keys[i].key);
	struct word word = {f.value, x->span};
	if (f.value.p && keys[i].set != set_from &&
		(failed = command_expand(p, stage, x->c, word, &f.value, x->err)))
		return failed;
	return keys[i].set(x, f.value);
}

/* ---- The mount as a whole ---- */

static int check_secret(const struct mount_context *x)
{
	const struct draft_mount *d = x->d;
	const char *wrong = NULL;

	if (d->from.n)
		wrong = "a secret comes from the caller, so from= means nothing";
	else if (!d->source.n && !d->target.n && !d->id.n)
		wrong = "a secret needs an id=";
	else if (d->source.n && d->id.n)
		wrong = "source= is another word for id=: give one of them";
	return wrong ? command_error(x->err, ERR_INPUT, x->c, x->span, "%s", wrong) : 0;
}

static int check_mount(const struct mount_context *x)
{
	const struct plan_mount *m = &x->d->m;

	if (m->kind == PLAN_MOUNT_BIND || m->kind == PLAN_MOUNT_TMPFS) {
		if (m->has_mode)
			return wrong_kind(x, "mode");
		if (m->has_uid || m->has_gid)
			return wrong_kind(x, m->has_uid ? "uid" : "gid");
	}
	if (x->d->has_sharing && m->kind != PLAN_MOUNT_CACHE)
		return wrong_kind(x, "sharing");
	return m->kind == PLAN_MOUNT_SECRET ? check_secret(x) : 0;
}

static const char *clean_text(struct arena *a, struct str path)
{
	cleanup(buf_done) struct buf out = {0};

	path_clean(&out, path);
	return arena_strdup(a, buf_text(&out));
}

/* The target as written names a cache that has no id of its own. */
static void finish_cache(struct planner *p, struct draft_mount *d)
{
	const struct entry *space = table_find(&p->build_args, STR("BUILDKIT_CACHE_MOUNT_NS"));
	const char *id = d->id.n ? arena_str(p->arena, d->id).p : clean_text(p->arena, d->target);

	d->m.id = space && *space->value ? arena_printf(p->arena, "%s/%s", space->value, id) : id;
	if (!d->m.has_mode)
		d->m.mode = 0755;
}

static void finish_secret(struct planner *p, struct draft_mount *d)
{
	struct str id = d->source.n ? d->source : d->id.n ? d->id : path_base(d->target);

	d->m.id = arena_str(p->arena, id).p;
	d->m.env = arena_str(p->arena, d->env).p;
	if (!d->target.n && !d->has_env)
		d->target =
			str_of(arena_printf(p->arena, "/run/secrets/%.*s", STR_ARG(path_base(id))));
	if (!d->m.has_mode)
		d->m.mode = 0400;
}

static void finish_ssh(struct planner *p, struct draft_mount *d, size_t number)
{
	d->m.id = d->id.n ? arena_str(p->arena, d->id).p : "default";
	if (!d->target.n)
		d->target = str_of(arena_printf(p->arena, "/run/buildkit/ssh_agent.%zu", number));
	if (!d->m.has_mode)
		d->m.mode = 0600;
}

static int finish_source(struct planner *p, size_t stage, const struct mount_context *x)
{
	struct draft_mount *d = x->d;
	struct word from = {d->from, x->span};

	if (d->m.kind != PLAN_MOUNT_BIND && d->m.kind != PLAN_MOUNT_CACHE)
		return 0;
	d->m.source = path_join(p->arena, STR("/"), d->source);
	d->m.from.kind = d->m.kind == PLAN_MOUNT_CACHE ? PLAN_SCRATCH : PLAN_CONTEXT;
	return d->from.n ? reference_source(p, stage, x->c, from, &d->m.from, x->err) : 0;
}

static int finish_mount(
	struct planner *p, size_t stage, const struct mount_context *x, size_t agents)
{
	struct draft_mount *d = x->d;
	const char *workdir = p->plan->stages[stage].config.working_dir;

	d->m.id = d->m.env = d->m.source = d->m.target = "";
	d->m.span = x->c->is_trigger ? x->c->span : x->span;
	if (!d->has_access)
		d->m.readonly = d->m.kind != PLAN_MOUNT_CACHE && d->m.kind != PLAN_MOUNT_TMPFS;
	if (d->m.kind == PLAN_MOUNT_CACHE)
		finish_cache(p, d);
	else if (d->m.kind == PLAN_MOUNT_SECRET)
		finish_secret(p, d);
	else if (d->m.kind == PLAN_MOUNT_SSH)
		finish_ssh(p, d, agents);
	if (d->target.n || !d->has_env)
		d->m.target = path_join(p->arena, str_of(workdir), d->target);
	if (strcmp(d->m.target, "/") == 0)
		return command_error(x->err, ERR_INPUT, x->c, x->span,
			"a mount cannot hide the whole file system: give it a target=");
	return finish_source(p, stage, x);
}

static int parse_mount(struct planner *p, size_t stage, const struct mount_context *x,
	struct str text, size_t agents)
{
	struct str field;
	int got, failed;

	while ((got = next_field(p->arena, &text, &field)) > 0)
		if ((failed = apply_field(p, &p->drafts[stage], x, field)))
			return failed;
	if (got < 0)
		return command_error(x->err, ERR_INPUT, x->c, x->span,
			"a stray quote: a field of --mount is quoted whole, \"key=value\"");
	if ((failed = check_mount(x)))
		return failed;
	return finish_mount(p, stage, x, agents);
}

int mounts_parse(struct planner *p, size_t stage, const struct command *c, struct plan_run *run,
	struct err *err)
{
	const struct flag *flag = NULL;
	size_t cap = 0, agents = 0;

	while ((flag = instruction_flag(c->ins, "mount", flag))) {
		struct draft_mount d = {0};
		struct mount_context x = {c, flag->span, &d, err};
		int failed = parse_mount(p, stage, &x, flag->value, agents);
		if (failed)
			return failed;
		agents += d.m.kind == PLAN_MOUNT_SSH;
		run->mounts = arena_grow(
			p->arena, run->mounts, run->mount_count, &cap, sizeof(*run->mounts));
		run->mounts[run->mount_count++] = d.m;
	}
	return 0;
}
