/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <getopt.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"
#include "base/suggest.h"
#include "cli/internal.h"

const struct option_spec common_option_specs[COMMON_OPTIONS] = {
	{"data", 0, OPTION_TEXT, offsetof(struct common_options, data), "DIR",
		"state directory, instead of the configured one", NULL, COMPLETE_DIR},
	{"help", 'h', OPTION_FLAG, offsetof(struct common_options, help), NULL,
		"show this help and end", NULL, COMPLETE_NOTHING},
	{"set", 0, OPTION_LIST, offsetof(struct common_options, set), "KEY=VALUE",
		"a setting of spaceport.yaml, for this command", NULL, COMPLETE_NOTHING},
	{"verbose", 'v', OPTION_FLAG, offsetof(struct common_options, verbose), NULL,
		"say more of what is done", NULL, COMPLETE_NOTHING},
};

const struct option_spec *option_next(
	const struct cli_command *command, size_t *at, const struct option_group **ret_group)
{
	size_t i = (*at)++;

	for (size_t g = 0; g < OPTION_GROUPS; g++) {
		const struct option_group *group = &command->groups[g];
		if (i < group->count) {
			if (ret_group)
				*ret_group = group;
			return &group->specs[i];
		}
		i -= group->count;
	}
	return NULL;
}

void option_print(const struct option_spec *spec, struct buf *ret)
{
	if (spec->letter)
		buf_printf(ret, "-%c, ", spec->letter);
	buf_printf(ret, "--%s", spec->name);
	if (spec->argument)
		buf_printf(ret, " %s", spec->argument);
}

/* ---- One value ---- */

struct setting {
	struct arena *arena;
	const struct option_spec *spec;
	const char *value;
	void *field;
};

static int bad_value(const struct setting *s, const char *wanted, struct err *err)
{
	return err_set(err, ERR_INPUT, "--%s %s: %s", s->spec->name, s->value, wanted);
}

static int set_flag(const struct setting *s, struct err *err)
{
	(void)err;
	*(bool *)s->field = true;
	return 0;
}

static int set_text(const struct setting *s, struct err *err)
{
	(void)err;
	*(const char **)s->field = s->value;
	return 0;
}

static int set_list(const struct setting *s, struct err *err)
{
	struct option_list *list = s->field;

	(void)err;
	list->items =
		arena_grow(s->arena, list->items, list->count, &list->cap, sizeof(*list->items));
	list->items[list->count++] = s->value;
	return 0;
}

static int set_choice(const struct setting *s, struct err *err)
{
	cleanup(buf_done) struct buf all = {0};

	for (unsigned i = 0; s->spec->choices[i]; i++) {
		if (strcmp(s->spec->choices[i], s->value) == 0) {
			*(unsigned *)s->field = i;
			return 0;
		}
		buf_printf(&all, "%s%s", i ? ", " : "it is one of ", s->spec->choices[i]);
	}
	return bad_value(s, buf_text(&all), err);
}

static int set_port(const struct setting *s, struct err *err)
{
	uint64_t port;

	if (!parse_u64(str_of(s->value), UINT16_MAX, &port) || port == 0)
		return bad_value(s, "a port is a number from 1 to 65535", err);
	*(uint16_t *)s->field = (uint16_t)port;
	return 0;
}

static int set_count(const struct setting *s, struct err *err)
{
	uint64_t count;

	if (!parse_u64(str_of(s->value), INT32_MAX, &count))
		return bad_value(s, "it is a number from 0 up", err);
	*(long *)s->field = (long)count;
	return 0;
}

static int set_duration(const struct setting *s, struct err *err)
{
	uint64_t seconds;
	int64_t ns;

	if (parse_u64(str_of(s->value), INT32_MAX, &seconds))
		ns = (int64_t)seconds * 1000000000;
	else if (!parse_duration(str_of(s->value), &ns))
		return bad_value(s, "a duration looks like 90s, 5m or 1h30m", err);
	*(int64_t *)s->field = ns;
	return 0;
}

static int (*const setters[])(const struct setting *, struct err *) = {
	[OPTION_FLAG] = set_flag,
	[OPTION_TEXT] = set_text,
	[OPTION_LIST] = set_list,
	[OPTION_CHOICE] = set_choice,
	[OPTION_PORT] = set_port,
	[OPTION_COUNT] = set_count,
	[OPTION_DURATION] = set_duration,
};

static int option_set(struct invocation *inv, const struct option_spec *spec,
	const struct option_group *group, const char *value, struct err *err)
{
	struct setting s = {
		&inv->arena, spec, value, (char *)inv->values + group->base + spec->field};

	return setters[spec->kind](&s, err);
}

/* ---- All of them, by getopt_long(3) ---- */

/* Values of getopt's for options: their place in the walk, out of the letters' way. */
enum { FIRST_OPTION = 256, MAX_OPTIONS = 64 };

struct getopt_table {
	struct option longs[MAX_OPTIONS + 1];
	const struct option_spec *specs[MAX_OPTIONS];
	const struct option_group *groups[MAX_OPTIONS];
	size_t count;
	char letters[2 * MAX_OPTIONS + 3];
};

static void getopt_table_make(const struct cli_command *command, struct getopt_table *t)
{
	size_t at = 0, used = 0;
	const struct option_group *group = NULL;
	const struct option_spec *spec;

	/* ':' in front tells a missing value from an unknown option. */
	t->letters[used++] = ':';
	while ((spec = option_next(command, &at, &group)) && t->count < MAX_OPTIONS) {
		t->longs[t->count] = (struct option){
			.name = spec->name,
			.has_arg = spec->argument ? required_argument : no_argument,
			.val = FIRST_OPTION + (int)t->count,
		};
		t->specs[t->count] = spec;
		t->groups[t->count++] = group;
		if (spec->letter)
			t->letters[used++] = spec->letter;
		if (spec->letter && spec->argument)
			t->letters[used++] = ':';
	}
}

/* The index of the option that getopt means by `val`; count when there is none. */
static size_t getopt_table_find(const struct getopt_table *t, int val)
{
	if (val >= FIRST_OPTION)
		return (size_t)(val - FIRST_OPTION);
	size_t i = 0;
	while (i < t->count && (!t->specs[i]->letter || t->specs[i]->letter != val))
		i++;
	return i;
}

static int see_help(const struct invocation *inv, struct err *err)
{
	return err_hint(err, "see: spaceport help %s", inv->name);
}

static int unknown_option(const struct invocation *inv, const struct getopt_table *t,
	const char *written, struct err *err)
{
	struct suggest near = {0};

	if (optopt > 0) {
		size_t i = getopt_table_find(t, optopt);
		if (i < t->count)
			err_set(err, ERR_INPUT, "--%s takes no value", t->specs[i]->name);
		else
			err_set(err, ERR_INPUT, "unknown option: -%c", optopt);
		return see_help(inv, err);
	}
	struct str name = str_of(written + 2);
	near.written = str_cut(&name, '=');
	for (size_t i = 0; i < t->count; i++)
		suggest_offer(&near, t->specs[i]->name);
	if (near.best)
		err_set(err, ERR_INPUT, "unknown option: --%.*s (did you mean --%s?)",
			STR_ARG(near.written), near.best);
	else
		err_set(err, ERR_INPUT, "unknown option: --%.*s", STR_ARG(near.written));
	return see_help(inv, err);
}

static int missing_value(
	const struct invocation *inv, const struct getopt_table *t, struct err *err)
{
	size_t i = getopt_table_find(t, optopt);
	const struct option_spec *spec = t->specs[i];

	assert(spec);
	err_set(err, ERR_INPUT, "--%s needs a value: --%s %s", spec->name, spec->name,
		spec->argument);
	return see_help(inv, err);
}

static bool wants_help(const struct invocation *inv)
{
	return ((const struct common_options *)inv->values)->help;
}

static int check_operands(const struct invocation *inv, struct err *err)
{
	const struct cli_command *command = inv->command;

	if (wants_help(inv))
		return 0;
	if (inv->operand_count < command->min_operands)
		err_set(err, ERR_INPUT, "%s is missing", command->operands);
	else if (inv->operand_count > command->max_operands)
		err_set(err, ERR_INPUT, "%s: one argument too many",
			inv->operands[command->max_operands]);
	else
		return 0;
	return see_help(inv, err);
}

int options_parse(struct invocation *inv, int argc, char **argv, struct err *err)
{
	struct getopt_table t = {0};
	int val;

	inv->values = arena_alloc(&inv->arena, inv->command->values_size);
	if (inv->command->defaults)
		memcpy(inv->values, inv->command->defaults, inv->command->values_size);
	getopt_table_make(inv->command, &t);
	optind = 0; /* glibc: begin anew */
	opterr = 0;
	while ((val = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		if (val == '?')
			return unknown_option(inv, &t, argv[optind - 1], err);
		if (val == ':')
			return missing_value(inv, &t, err);
		size_t i = getopt_table_find(&t, val);
		assert(i < t.count && t.specs[i] && t.groups[i]);
		int r = option_set(inv, t.specs[i], t.groups[i], optarg, err);
		if (r < 0)
			return r;
	}
	inv->operands = argv + optind;
	inv->operand_count = (size_t)(argc - optind);
	return check_operands(inv, err);
}
