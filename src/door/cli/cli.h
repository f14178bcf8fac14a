/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/*
 * The command line, where people come in. stdout is the result (an id, a URL, a table,
 * JSON), stderr is the story (progress, logs, errors). Exit codes are those of base/err.h:
 * 0 done, 1 the work failed, 2 wrong usage or configuration, 3 the host lacks something,
 * 4 internal error, 130 interrupted.
 */

/* Run the command that argv names; returns the exit code of the process. */
int cli_main(int argc, char **argv);

#endif
