/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

/*
 * The commands, one file each, and the options that building and running share.
 */
#include "cli/internal.h"

extern const struct cli_command cmd_completion;
extern const struct cli_command cmd_help;
extern const struct cli_command cmd_version;

#endif
