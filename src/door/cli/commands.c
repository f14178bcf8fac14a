/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
	&cmd_completion,
	&cmd_help,
	&cmd_version,
	NULL,
};
