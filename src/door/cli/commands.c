/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
	&cmd_build,
	&cmd_completion,
	&cmd_df,
	&cmd_doctor,
	&cmd_gc,
	&cmd_help,
	&cmd_image,
	&cmd_images,
	&cmd_logs,
	&cmd_ps,
	&cmd_run,
	&cmd_stop,
	&cmd_version,
	NULL,
};
