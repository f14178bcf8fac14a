/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/internal.h"

struct values {
	struct common_options common;
	bool flag;
	const char *text;
	struct option_list list;
	unsigned choice;
	uint16_t port;
	long count;
	int64_t time;
};

static const char *const words[] = {"auto", "plain", "json", NULL};

static const struct option_spec specs[] = {
	{"choice", 0, OPTION_CHOICE, offsetof(struct values, choice), "HOW", "how", words,
		COMPLETE_NOTHING},
	{"count", 'n', OPTION_COUNT, offsetof(struct values, count), "N", "lines", NULL,
		COMPLETE_NOTHING},
	{"flag", 'f', OPTION_FLAG, offsetof(struct values, flag), NULL, "a flag", NULL,
		COMPLETE_NOTHING},
	{"list", 'l', OPTION_LIST, offsetof(struct values, list), "ITEM", "more", NULL,
		COMPLETE_NOTHING},
	{"port", 'p', OPTION_PORT, offsetof(struct values, port), "PORT", "a port", NULL,
		COMPLETE_NOTHING},
	{"text", 't', OPTION_TEXT, offsetof(struct values, text), "TEXT", "a text", NULL,
		COMPLETE_FILE},
	{"time", 0, OPTION_DURATION, offsetof(struct values, time), "TIME", "a time", NULL,
		COMPLETE_NOTHING},
};

static const struct cli_command command = {
	.name = "try",
	.summary = "try options",
	.operands = "[DIR]",
	.about = "Tries options.",
	.max_operands = 1,
	.groups = {{"Options", specs, array_size(specs), 0}, COMMON_GROUP},
	.values_size = sizeof(struct values),
};

struct parsed {
	struct invocation inv;
	struct err err;
	int r;
};

static void parse(struct parsed *p, const char *line)
{
	static char text[256];
	static char *argv[16];
	int argc = 0;

	*p = (struct parsed){.inv = {.command = &command, .name = "try"}};
	snprintf(text, sizeof(text), "%s", line);
	for (char *c = text; c && argc < 15;) {
		argv[argc++] = c;
		c = strchr(c, ' ');
		if (c)
			*c++ = '\0';
	}
	argv[argc] = NULL;
	p->r = options_parse(&p->inv, argc, argv, &p->err);
}

static void every_kind_is_read(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "try -fn 3 here --list a -l b --choice json -p8080 --text=x --time 1m30s");
	assert_int_equal(p.r, 0);
	const struct values *v = p.inv.values;
	assert_true(v->flag);
	assert_int_equal(v->count, 3);
	assert_int_equal(v->list.count, 2);
	assert_string_equal(v->list.items[1], "b");
	assert_int_equal(v->choice, 2);
	assert_int_equal(v->port, 8080);
	assert_string_equal(v->text, "x");
	assert_true(v->time == 90 * INT64_C(1000000000));
	assert_int_equal(p.inv.operand_count, 1);
	assert_string_equal(p.inv.operands[0], "here");
	arena_done(&p.inv.arena);
}

static void seconds_need_no_unit(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "try --time 45 -- --flag");
	assert_int_equal(p.r, 0);
	const struct values *v = p.inv.values;
	assert_true(v->time == 45 * INT64_C(1000000000));
	assert_false(v->flag);
	assert_string_equal(p.inv.operands[0], "--flag");
	arena_done(&p.inv.arena);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{"try --tekst x", "unknown option: --tekst (did you mean --text?)"},
		{"try --nothing=1", "unknown option: --nothing"},
		{"try -x", "unknown option: -x"},
		{"try --flag=1", "--flag takes no value"},
		{"try --port", "--port needs a value: --port PORT"},
		{"try -p", "--port needs a value: --port PORT"},
		{"try -p 0", "--port 0: a port is a number from 1 to 65535"},
		{"try -p 65536", "--port 65536: a port is a number from 1 to 65535"},
		{"try -n -1", "--count -1: it is a number from 0 up"},
		{"try --time soon", "--time soon: a duration looks like 90s, 5m or 1h30m"},
		{"try --choice tty", "--choice tty: it is one of auto, plain, json"},
		{"try a b", "b: one argument too many"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct parsed p;
		parse(&p, rows[i].line);
		assert_int_equal(p.r, -ERR_INPUT);
		assert_string_equal(p.err.text, rows[i].text);
		assert_int_equal(err_exit_code(&p.err), 2);
		arena_done(&p.inv.arena);
	}
}

static void help_asks_for_no_operand(void **state)
{
	static const struct cli_command strict = {
		.operands = "IMAGE",
		.min_operands = 1,
		.max_operands = 1,
		.groups = {COMMON_GROUP},
		.values_size = sizeof(struct common_options),
	};
	char *with[] = {(char[]){"try"}, (char[]){"--help"}, NULL};
	char *without[] = {(char[]){"try"}, NULL};
	struct invocation inv = {.command = &strict, .name = "try"};
	struct err err = {0};

	(void)state;
	assert_int_equal(options_parse(&inv, 2, with, &err), 0);
	assert_int_equal(options_parse(&inv, 1, without, &err), -ERR_INPUT);
	assert_string_equal(err.text, "IMAGE is missing");
	assert_string_equal(err.hint, "see: spaceport help try");
	arena_done(&inv.arena);
}

static void help_is_the_table(void **state)
{
	struct terminal t = {.columns = 50};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	help_command(&command, "try", &t, &text);
	assert_non_null(strstr(text.data, "Usage: spaceport try [OPTIONS] [DIR]\n"));
	assert_non_null(strstr(text.data, "  -n, --count N             lines\n"));
	assert_non_null(strstr(text.data, "      --choice HOW          how: auto, plain, json\n"));
	assert_non_null(strstr(text.data, "\nCommon options:\n"));
	/* Fifty columns hold no line that is longer. */
	struct str rest = buf_str(&text);
	while (rest.p)
		assert_true(text_width(str_cut(&rest, '\n')) <= 50);
}

static void commands_are_in_order(void **state)
{
	(void)state;
	for (const struct cli_command *const *c = cli_commands; c[0]; c++) {
		if (c[1])
			assert_true(strcmp(c[0]->name, c[1]->name) < 0);
		assert_ptr_equal(command_find_in(cli_commands, c[0]->name), c[0]);
		for (const struct cli_command *const *k = c[0]->children; k && k[0] && k[1]; k++)
			assert_true(strcmp(k[0]->name, k[1]->name) < 0);
	}
	struct err err = {0};
	assert_int_equal(command_unknown(cli_commands, "hepl", &err), -ERR_INPUT);
	assert_string_equal(err.text, "unknown command: hepl (did you mean help?)");
}

/* Every option of every command: letters and names unique, lists of choices where needed. */
static void check_options(const struct cli_command *c)
{
	const struct option_spec *a, *b;
	const struct option_group *group;

	assert_true(c->values_size >= sizeof(struct common_options));
	for (size_t i = 0; (a = option_next(c, &i, &group));) {
		assert_true(a->kind == OPTION_FLAG ? !a->argument : a->argument != NULL);
		assert_true((a->kind == OPTION_CHOICE) == (a->choices != NULL));
		assert_true(group->base + a->field < c->values_size);
		for (size_t j = i; (b = option_next(c, &j, NULL));) {
			assert_string_not_equal(a->name, b->name);
			assert_false(a->letter && a->letter == b->letter);
		}
	}
}

static void tables_are_sound(void **state)
{
	(void)state;
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		check_options(*c);
		assert_true(!(*c)->run == !!(*c)->children);
		for (const struct cli_command *const *k = (*c)->children; k && *k; k++)
			check_options(*k);
	}
}

static void shells_are_known(void **state)
{
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(completion_script("tcsh", &text, &err), -ERR_INPUT);
	static const char *const shells[] = {"bash", "fish", "zsh"};
	for (size_t i = 0; i < array_size(shells); i++) {
		buf_clear(&text);
		assert_int_equal(completion_script(shells[i], &text, &err), 0);
		assert_null(strstr(text.data, "(null)"));
		assert_non_null(strstr(text.data, "cpu-basic"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_is_read),
		cmocka_unit_test(seconds_need_no_unit),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(help_asks_for_no_operand),
		cmocka_unit_test(help_is_the_table),
		cmocka_unit_test(commands_are_in_order),
		cmocka_unit_test(tables_are_sound),
		cmocka_unit_test(shells_are_known),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
