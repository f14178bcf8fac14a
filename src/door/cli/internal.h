/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_INTERNAL_H
#define CLI_INTERNAL_H

/*
 * Commands and their options as tables. Parsing, help, shell completion and the test that
 * holds the manual pages to the program all read the same tables.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/argv.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/terminal.h"
#include "settings/settings.h"

/* ---- Options ---- */

/* What an option's value is, and the type of the field that gets it. */
enum option_kind {
	OPTION_FLAG,	 /* bool: becomes true */
	OPTION_TEXT,	 /* const char *: the last one given */
	OPTION_LIST,	 /* struct option_list: every one given */
	OPTION_CHOICE,	 /* unsigned: index of the word in `choices` */
	OPTION_PORT,	 /* uint16_t: 1 to 65535 */
	OPTION_COUNT,	 /* long: 0 and up */
	OPTION_DURATION, /* int64_t, nanoseconds: "90s", "1h30m", or seconds without a unit */
};

/* What a shell offers in the place of a value or an operand. */
enum completion {
	COMPLETE_NOTHING,
	COMPLETE_FILE,
	COMPLETE_DIR,
	COMPLETE_DIR_OR_IMAGE,
	COMPLETE_IMAGE,
	COMPLETE_INSTANCE,
	COMPLETE_FLAVOR,
	COMPLETE_COMMAND,
	COMPLETE_SHELL,
};

struct option_list {
	const char **items;
	size_t count, cap;
};

struct option_spec {
	const char *name; /* the long form without its dashes */
	char letter;	  /* the short form, or 0 */
	enum option_kind kind;
	size_t field;		    /* offset of its value in the group's struct */
	const char *argument;	    /* the value's name in help, "NAME=VALUE"; NULL: a flag */
	const char *help;	    /* half a sentence */
	const char *const *choices; /* of OPTION_CHOICE, NULL-terminated */
	enum completion completes;
};

/* Options that belong together, and where their struct lies in the command's values. */
struct option_group {
	const char *title; /* "Build options" */
	const struct option_spec *specs;
	size_t count;
	size_t base;
};

enum { OPTION_GROUPS = 4 };

/* What every command takes. Their struct is the first member of a command's values. */
struct common_options {
	bool help;
	bool verbose;
	const char *data;
	struct option_list set;
};

enum { COMMON_OPTIONS = 4 };
extern const struct option_spec common_option_specs[COMMON_OPTIONS];

#define COMMON_GROUP \
	{ \
		"Common options", common_option_specs, COMMON_OPTIONS, 0 \
	}

/* ---- Commands ---- */

struct invocation;

struct cli_command {
	const char *name;
	const char *summary;  /* half a sentence for the list of commands */
	const char *operands; /* "[DIR]"; "" for none */
	const char *about;    /* what help says of it, in whole sentences */
	size_t min_operands, max_operands;
	enum completion completes; /* its operands */
	struct option_group groups[OPTION_GROUPS];
	size_t values_size;   /* of the struct that holds its options */
	const void *defaults; /* such a struct, for what is not given; NULL: zeroes */
	int (*run)(struct invocation *inv, struct err *err);
	const struct cli_command *const *children; /* "pull" of "image": they run, it does not */
	bool is_hidden;
};

/* All of them by name in alphabetical order, NULL-terminated, as `children` are. */
extern const struct cli_command *const cli_commands[];

/* One command being run. */
struct invocation {
	struct arena arena; /* lives until the command has returned */
	const struct cli_command *command;
	const char *name; /* "image pull" */
	void *values;	  /* the command's option struct, zeroed before parsing */
	char **operands;
	size_t operand_count;
	struct terminal out, err; /* stdout and stderr */
	bool wants_json_story;	  /* stderr is JSON lines: an error is one of them, too */
};

/* NULL when there is none of that name in the table. */
const struct cli_command *command_find_in(const struct cli_command *const *table, const char *name);
/* ERR_INPUT "unknown command: buid (did you mean build?)". */
int command_unknown(const struct cli_command *const *table, const char *name, struct err *err);

/*
 * Read the options of inv->command from argv (argv[0] is the command's name) into
 * inv->values, and what is left into inv->operands.
 */
must_use int options_parse(struct invocation *inv, int argc, char **argv, struct err *err);

/* Walks the options of a command in the order of help: *at starts at 0; NULL at the end. */
const struct option_spec *option_next(
	const struct cli_command *command, size_t *at, const struct option_group **ret_group);

/* "-t, --tag NAME" */
void option_print(const struct option_spec *spec, struct buf *ret);

/* ---- What comes out of the tables ---- */

/* The overview of commands, and the help of one. `name` is its full name ("image pull"). */
void help_overview(const struct terminal *t, struct buf *ret);
void help_command(const struct cli_command *command, const char *name, const struct terminal *t,
	struct buf *ret);

/* The completion script of a shell: "bash", "zsh" or "fish". */
must_use int completion_script(const char *shell, struct buf *ret, struct err *err);

/* ---- Shared by commands ---- */

/*
 * The operator's settings, with --data and --set of this command. They live in the arena of
 * the invocation.
 */
must_use int invocation_settings(struct invocation *inv, struct settings *ret, struct err *err);

/* Write a result to stdout; that nobody reads it any more (EPIPE) is no error. */
must_use int print_result(const struct buf *text, struct err *err);

#endif
