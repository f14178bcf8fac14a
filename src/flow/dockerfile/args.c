/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

static const char *const proxies[] = {
	"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"};

/* Read by BuildKit itself; an image builder that ignores them need not say so. */
static const char *const switches[] = {"BUILDKIT_", "SOURCE_DATE_EPOCH"};

static char *upper_case(struct arena *a, const char *text)
{
	char *p = arena_strdup(a, text);

	for (char *c = p; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	return p;
}

static bool is_proxy(struct str name)
{
	for (size_t i = 0; i < array_size(proxies); i++)
		if (str_eq_nocase(name, str_of(proxies[i])))
			return true;
	return false;
}

static void set_proxies(struct planner *p)
{
	struct oci_list *list = &p->plan->proxy_args;

	for (size_t i = 0; i < array_size(proxies); i++) {
		const char *value = NULL;
		for (size_t k = 0; k < p->build_args.count; k++)
			if (str_eq_nocase(p->build_args.items[k].name, str_of(proxies[i])))
				value = p->build_args.items[k].value;
		if (!value)
			continue;
		oci_list_set_env(p->arena, list, str_of(proxies[i]), str_of(value));
		oci_list_set_env(
			p->arena, list, str_of(upper_case(p->arena, proxies[i])), str_of(value));
	}
}

/* "linux/arm64/v7"; the variant v8 of arm64 goes without saying. */
static const char *platform_text(struct arena *a, const struct oci_platform *platform)
{
	return arena_printf(a, "%s/%s%s%s", platform->os, platform->architecture,
		*platform->variant ? "/" : "", platform->variant);
}

static struct oci_platform normal_platform(struct oci_platform platform)
{
	struct oci_platform p = platform;

	if (strcmp(p.architecture, "arm64") == 0 && strcmp(p.variant, "v8") == 0)
		p.variant = "";
	return p;
}

static void set_default(struct planner *p, const char *name, const char *value)
{
	const struct entry *given = table_find(&p->build_args, str_of(name));

	table_set(p->arena, &p->globals, str_of(name), given ? given->value : value);
}

static void set_platform(struct planner *p, const char *side, struct oci_platform platform)
{
	struct oci_platform normal = normal_platform(platform);
	const char *const values[][2] = {
		{"PLATFORM", platform_text(p->arena, &normal)},
		{"OS", normal.os},
		{"OSVERSION", ""},
		{"ARCH", normal.architecture},
		{"VARIANT", normal.variant},
	};

	for (size_t i = 0; i < array_size(values); i++)
		set_default(p, arena_printf(p->arena, "%s%s", side, values[i][0]), values[i][1]);
}

static const char *last_stage_name(const struct planner *p)
{
	const struct instruction *from = NULL;

	for (size_t i = 0; i < p->file->instruction_count; i++)
		if (p->file->instructions[i].kind == INSTRUCTION_FROM)
			from = &p->file->instructions[i];
	if (!from || from->word_count != 3)
		return "default";
	return lower_case(p->arena, from->words[2].text);
}

/* ARG before the first FROM: a default may refer to what stands before it. */
static int set_global(struct planner *p, const struct pair *pair, struct err *err)
{
	struct expansion how = {p->file->escape, 0, table_get, &p->globals};
	const struct entry *given = table_find(&p->build_args, pair->name.text);
	struct err why = {0};
	struct str value;

	if (given) {
		table_set(p->arena, &p->globals, pair->name.text, given->value);
		return 0;
	}
	if (!pair->has_value)
		return 0;
	if (expand_word(p->arena, &how, pair->value.text, &value, &why))
		return source_error(
			err, why.kind, &p->file->source, pair->value.span, "%s", why.text);
	table_set(p->arena, &p->globals, pair->name.text, value.p);
	return 0;
}

static void note_declared(struct planner *p)
{
	for (size_t i = 0; i < p->file->instruction_count; i++) {
		const struct instruction *ins = &p->file->instructions[i];
		for (size_t k = 0; ins->kind == INSTRUCTION_ARG && k < ins->pair_count; k++)
			table_set(p->arena, &p->declared, ins->pairs[k].name.text, NULL);
	}
}

int args_init(struct planner *p, struct err *err)
{
	struct str target = p->options->target;
	const char *stage = target.n ? arena_str(p->arena, target).p : last_stage_name(p);
	int failed;

	if (p->options->build_args)
		table_add_list(p->arena, &p->build_args, p->options->build_args);
	if ((failed = epoch_init(p, err)))
		return failed;
	set_proxies(p);
	set_platform(p, "BUILD", p->options->build_platform);
	set_platform(p, "TARGET", p->target_platform);
	set_default(p, "TARGETSTAGE", stage);
	note_declared(p);
	for (size_t i = 0; p->file->instructions[i].kind == INSTRUCTION_ARG; i++) {
		const struct instruction *ins = &p->file->instructions[i];
		for (size_t k = 0; k < ins->pair_count; k++)
			if ((failed = set_global(p, &ins->pairs[k], err)))
				return failed;
	}
	return 0;
}

static bool is_switch(struct str name)
{
	for (size_t i = 0; i < array_size(switches); i++)
		if (str_starts(name, str_of(switches[i])))
			return true;
	return false;
}

void args_warn_unused(struct planner *p)
{
	struct span nowhere = {0};

	for (size_t i = 0; i < p->build_args.count; i++) {
		struct str name = p->build_args.items[i].name;
		if (!is_proxy(name) && !is_switch(name) && !table_find(&p->declared, name) &&
			!table_find(&p->globals, name))
			plan_warn(p, nowhere, "build argument %.*s is not used: no ARG declares it",
				STR_ARG(name));
	}
}

bool is_secret_name(struct str name)
{
	static const char *const words[] = {"apikey", "auth", "credential", "credentials", "key",
		"passwd", "password", "pword", "secret", "token"};
	/* MAX_TOKEN_FILE names a file, PUBLIC_KEY is for all to see. */
	static const char *const harmless[] = {"file", "public", "version"};
	bool is_secret = false;

	for (struct str rest = name; rest.p;) {
		struct str part = str_cut(&rest, '_');
		for (size_t i = 0; i < array_size(harmless); i++)
			if (str_eq_nocase(part, str_of(harmless[i])))
				return false;
		for (size_t i = 0; i < array_size(words); i++)
			is_secret = is_secret || str_eq_nocase(part, str_of(words[i]));
	}
	return is_secret;
}
