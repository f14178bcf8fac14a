/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"

/* ---- help ---- */

static int help_main(struct invocation *inv, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	if (inv->operand_count == 0) {
		help_overview(&inv->out, &text);
		return print_result(&text, err);
	}
	const struct cli_command *command = command_find_in(cli_commands, inv->operands[0]);
	const char *name = inv->operands[0];
	if (!command)
		return command_unknown(cli_commands, name, err);
	if (inv->operand_count > 1) {
		const struct cli_command *const none[] = {NULL};
		const struct cli_command *const *table =
			command->children ? command->children : none;
		command = command_find_in(table, inv->operands[1]);
		if (!command)
			return command_unknown(table, inv->operands[1], err);
		name = arena_printf(&inv->arena, "%s %s", name, command->name);
	}
	help_command(command, name, &inv->out, &text);
	return print_result(&text, err);
}

const struct cli_command cmd_help = {
	.name = "help",
	.summary = "tell what commands there are, and more of one",
	.operands = "[COMMAND]",
	.about = "Without a command, lists the commands; with one, tells how to use it.",
	.max_operands = 2,
	.completes = COMPLETE_COMMAND,
	.groups = {COMMON_GROUP},
	.values_size = sizeof(struct common_options),
	.run = help_main,
};

/* ---- version ---- */

static int version_main(struct invocation *inv, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	(void)inv;
	buf_add_text(&text, "spaceport " SPACEPORT_VERSION "\n");
	return print_result(&text, err);
}

const struct cli_command cmd_version = {
	.name = "version",
	.summary = "print the version",
	.operands = "",
	.about = "Prints the version of this program, as --version does.",
	.groups = {COMMON_GROUP},
	.values_size = sizeof(struct common_options),
	.run = version_main,
};

/* ---- completion ---- */

static int completion_main(struct invocation *inv, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	int r = completion_script(inv->operands[0], &text, err);
	return r < 0 ? r : print_result(&text, err);
}

const struct cli_command cmd_completion = {
	.name = "completion",
	.summary = "print the completion script of a shell",
	.operands = "SHELL",
	.about = "Prints a script for bash, zsh or fish that completes Spaceport's commands and "
		 "options. 'make install' puts all three where the shells look for them.",
	.min_operands = 1,
	.max_operands = 1,
	.completes = COMPLETE_SHELL,
	.groups = {COMMON_GROUP},
	.values_size = sizeof(struct common_options),
	.run = completion_main,
	.is_hidden = true,
};
