/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/suggest.h"
#include "cli/internal.h"
#include "os/clock.h"
#include "os/file.h"
#include "json/json.h"

/* ---- Finding the command ---- */

const struct cli_command *command_find_in(const struct cli_command *const *table, const char *name)
{
	for (; *table; table++)
		if (strcmp((*table)->name, name) == 0)
			return *table;
	return NULL;
}

int command_unknown(const struct cli_command *const *table, const char *name, struct err *err)
{
	struct suggest near = {.written = str_of(name)};

	for (; *table; table++)
		if (!(*table)->is_hidden)
			suggest_offer(&near, (*table)->name);
	if (near.best)
		err_set(err, ERR_INPUT, "unknown command: %s (did you mean %s?)", name, near.best);
	else
		err_set(err, ERR_INPUT, "unknown command: %s", name);
	return err_hint(err, "see: spaceport help");
}

int print_result(const struct buf *text, struct err *err)
{
	int r = file_write_fd(STDOUT_FILENO, buf_str(text), err);

	if (r < 0 && err->sys == EPIPE) {
		err_clear(err);
		return 0;
	}
	return r < 0 ? err_wrap(err, "stdout") : 0;
}

int invocation_settings(struct invocation *inv, struct settings *ret, struct err *err)
{
	const struct common_options *common = inv->values;
	const struct settings_caller caller = settings_caller_self();

	int r = settings_load(&inv->arena, &caller, ret, err);
	if (r == 0 && common->data)
		r = settings_set(&inv->arena, ret, "data", common->data, err);
	for (size_t i = 0; r == 0 && i < common->set.count; i++) {
		const char *text = common->set.items[i], *equals = strchr(text, '=');
		if (!equals)
			return err_set(err, ERR_INPUT, "--set %s: it looks like KEY=VALUE", text);
		char *key = arena_printf(&inv->arena, "%.*s", (int)(equals - text), text);
		r = settings_set(&inv->arena, ret, key, equals + 1, err);
		if (r < 0)
			return err_wrap(err, "--set");
	}
	return r;
}

/* ---- Saying what went wrong ---- */

static void print_error_json(const struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char now[32];
	struct json_writer w = json_writer_to(&text);

	json_begin_object(&w);
	json_add_text(&w, "time", clock_iso(now));
	json_add_text(&w, "event", "error");
	json_add_text(&w, "kind", err_kind_name(err->kind));
	json_add_text(&w, "text", err->text);
	json_add_text(&w, "hint", err->hint);
	json_add_u64(&w, "exit", (uint64_t)err_exit_code(err));
	json_end_object(&w);
	json_line(&w);
	text_show(STDERR_FILENO, buf_str(&text));
}

/* "spaceport build: TEXT", then the hint as it is: an excerpt with its caret, or a remedy. */
static void print_error(const struct invocation *inv, const struct err *err)
{
	cleanup(buf_done) struct buf text = {0}, front = {0};

	buf_printf(&front, "spaceport%s%s:", *inv->name ? " " : "", inv->name);
	terminal_add(&text, &inv->err, STYLE_RED, buf_str(&front));
	buf_printf(&text, " %s\n", err->text);
	if (*err->hint)
		buf_printf(&text, "%s%s", err->hint,
			str_ends(str_of(err->hint), STR("\n")) ? "" : "\n");
	text_show(STDERR_FILENO, buf_str(&text));
}

static int print_help(struct invocation *inv, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	help_command(inv->command, inv->name, &inv->out, &text);
	return print_result(&text, err);
}

/* What helps against causes that any room can meet; those that know better have said so. */
static void add_remedy(struct err *err)
{
	bool is_full = err->sys == ENOSPC || err->sys == EDQUOT;

	if (is_full && !strstr(err->hint, "free space"))
		(void)err_hint_add(err,
			"the disk is full: free space where the state directory is "
			"(`spaceport gc` removes what nothing needs, `spaceport df` "
			"tells what is used by what)");
}

/* ---- Running it ---- */

/* "image pull": goes down one level, argc and argv with it. */
static int enter_child(struct invocation *inv, int *argc, char ***argv, struct err *err)
{
	const struct cli_command *parent = inv->command;

	if (*argc > 1 && (*argv)[1][0] != '-') {
		const struct cli_command *child = command_find_in(parent->children, (*argv)[1]);
		if (!child)
			return command_unknown(parent->children, (*argv)[1], err);
		inv->command = child;
		inv->name = arena_printf(&inv->arena, "%s %s", parent->name, child->name);
		(*argc)--;
		(*argv)++;
	}
	return 0;
}

static int run_command(struct invocation *inv, int argc, char **argv, struct err *err)
{
	int r = 0;

	if (inv->command->children)
		r = enter_child(inv, &argc, &argv, err);
	if (r == 0)
		r = options_parse(inv, argc, argv, err);
	if (r < 0)
		return r;
	const struct common_options *common = inv->values;
	assert(common);
	if (common->verbose)
		log_set_level(LOG_DEBUG);
	if (common->help)
		return print_help(inv, err);
	if (inv->command->children) {
		err_set(err, ERR_INPUT, "COMMAND is missing");
		return err_hint(err, "see: spaceport help %s", inv->name);
	}
	return inv->command->run(inv, err);
}

/* What may stand in the place of a command's name: "spaceport --help". */
static const char *name_of_flag(const char *word)
{
	static const struct {
		const char *flag, *name;
	} flags[] = {
		{"--help", "help"},
		{"-h", "help"},
		{"--version", "version"},
		{"-V", "version"},
	};

	for (size_t i = 0; i < array_size(flags); i++)
		if (strcmp(flags[i].flag, word) == 0)
			return flags[i].name;
	return word;
}

static int dispatch(struct invocation *inv, int argc, char **argv, struct err *err)
{
	const char *name = argc > 1 ? name_of_flag(argv[1]) : "help";

	inv->command = command_find_in(cli_commands, name);
	if (!inv->command)
		return command_unknown(cli_commands, name, err);
	inv->name = inv->command->name;
	return run_command(inv, argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv, err);
}

static void do_nothing(int sig)
{
	(void)sig;
}

/*
 * A reader that went away shall be an error of write(), not the end of a build. A handler does
 * that without being inherited: programs that are executed get the default back.
 */
static void outlive_broken_pipes(void)
{
	struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};

	sigaction(SIGPIPE, &action, NULL);
}

int cli_main(int argc, char **argv)
{
	struct err err = {0};
	struct invocation inv = {
		.name = "",
		.out = terminal_of(STDOUT_FILENO),
		.err = terminal_of(STDERR_FILENO),
	};

	outlive_broken_pipes();
	int r = dispatch(&inv, argc, argv, &err);
	if (r < 0)
		add_remedy(&err);
	if (r < 0 && inv.wants_json_story)
		print_error_json(&err);
	else if (r < 0)
		print_error(&inv, &err);
	arena_done(&inv.arena);
	return r < 0 ? err_exit_code(&err) : 0;
}
