/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/internal.h"
#include "config/config.h"

/*
 * Scripts for three shells out of the tables. Names of images and instances are asked for
 * when a person presses the key, by `spaceport images --quiet` and `spaceport ps --quiet`.
 */

/* Calls fn for every command that runs, with its full name. */
typedef void command_fn(struct buf *ret, const struct cli_command *command, const char *name);

static void each_command(struct buf *ret, command_fn *fn)
{
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (!(*c)->children)
			fn(ret, *c, (*c)->name);
		for (const struct cli_command *const *k = (*c)->children; k && *k; k++) {
			cleanup(buf_done) struct buf name = {0};
			buf_printf(&name, "%s %s", (*c)->name, (*k)->name);
			fn(ret, *k, buf_text(&name));
		}
	}
}

static void add_names(struct buf *ret, const struct cli_command *const *table)
{
	const char *gap = "";

	for (; *table; table++) {
		if ((*table)->is_hidden)
			continue;
		buf_printf(ret, "%s%s", gap, (*table)->name);
		gap = " ";
	}
}

/* Words that stand still: choices, commands, flavors. Empty when the shell has to look. */
static void add_words(struct buf *ret, enum completion what, const char *const *choices)
{
	for (size_t i = 0; choices && choices[i]; i++)
		buf_printf(ret, "%s%s", i ? " " : "", choices[i]);
	if (what == COMPLETE_COMMAND)
		add_names(ret, cli_commands);
	if (what == COMPLETE_SHELL)
		buf_add_text(ret, "bash zsh fish");
	for (size_t i = 0; what == COMPLETE_FLAVOR && flavor_at(i); i++)
		buf_printf(ret, "%s%s", i ? " " : "", flavor_at(i)->name);
}

/* In single quotes, as all three shells read them. */
static void add_quoted(struct buf *ret, struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\'')
			buf_add_text(ret, "'\\''");
		else
			buf_add_char(ret, text.p[i]);
}

/* ---- bash ---- */

static const char *const bash_actions[] = {
	[COMPLETE_NOTHING] = "",
	[COMPLETE_FILE] = "-f",
	[COMPLETE_DIR] = "-d",
	[COMPLETE_DIR_OR_IMAGE] = "-d -W \"$(spaceport images --quiet 2>/dev/null)\"",
	[COMPLETE_IMAGE] = "-W \"$(spaceport images --quiet 2>/dev/null)\"",
	[COMPLETE_INSTANCE] = "-W \"$(spaceport ps --quiet 2>/dev/null)\"",
	[COMPLETE_FLAVOR] = "",
	[COMPLETE_COMMAND] = "",
	[COMPLETE_SHELL] = "",
};

static void bash_offer(struct buf *ret, enum completion what, const char *const *choices)
{
	cleanup(buf_done) struct buf words = {0};

	add_words(&words, what, choices);
	if (words.len > 0)
		buf_printf(ret, "offer=(-W '%s')", buf_text(&words));
	else
		buf_printf(ret, "offer=(%s)", bash_actions[what]);
}

static void bash_command(struct buf *ret, const struct cli_command *command, const char *name)
{
	const struct option_spec *spec;
	cleanup(buf_done) struct buf flags = {0};

	buf_printf(ret, "    '%s')\n        case $previous in\n", name);
	for (size_t at = 0; (spec = option_next(command, &at, NULL));) {
		buf_printf(&flags, " --%s", spec->name);
		if (spec->letter)
			buf_printf(&flags, " -%c", spec->letter);
		if (!spec->argument)
			continue;
		buf_printf(ret, "        --%s", spec->name);
		if (spec->letter)
			buf_printf(ret, "|-%c", spec->letter);
		buf_add_text(ret, ") ");
		bash_offer(ret, spec->completes, spec->choices);
		buf_add_text(ret, " ;;\n");
	}
	buf_add_text(ret, "        *) ");
	bash_offer(ret, command->completes, NULL);
	buf_printf(ret, "; flags='%s' ;;\n        esac ;;\n", buf_text(&flags) + 1);
}

static void bash_parents(struct buf *ret)
{
	buf_add_text(ret, "    '') offer=(-W '");
	add_names(ret, cli_commands);
	buf_add_text(ret, "'); flags='--help --version' ;;\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (!(*c)->children)
			continue;
		buf_printf(ret, "    '%s') offer=(-W '", (*c)->name);
		add_names(ret, (*c)->children);
		buf_add_text(ret, "'); flags='--help' ;;\n");
	}
}

static void bash_script(struct buf *ret)
{
	buf_add_text(ret,
		"# bash completion for spaceport\n"
		"_spaceport()\n"
		"{\n"
		"    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
		"    local name='' flags='' word i offer=()\n"
		"    for ((i = 1; i < COMP_CWORD; i++)); do\n"
		"        word=${COMP_WORDS[i]}\n"
		"        case \"$name|$word\" in\n"
		"        *'|-'*) break ;;\n"
		"        '|'*) name=$word ;;\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if ((*c)->children)
			buf_printf(ret, "        '%s|'*) name=\"$name $word\" ;;\n", (*c)->name);
	buf_add_text(ret, "        esac\n"
			  "    done\n"
			  "    case $name in\n");
	bash_parents(ret);
	each_command(ret, bash_command);
	buf_add_text(ret, "    esac\n"
			  "    [[ $current != -* ]] || offer=(-W \"$flags\")\n"
			  "    COMPREPLY=()\n"
			  "    ((${#offer[@]} == 0)) || mapfile -t COMPREPLY < "
			  "<(compgen \"${offer[@]}\" -- \"$current\")\n"
			  "    ! declare -F __ltrim_colon_completions >/dev/null || "
			  "__ltrim_colon_completions \"$current\"\n"
			  "}\n"
			  "complete -o filenames -F _spaceport spaceport\n");
}

/* ---- zsh ---- */

static const char *const zsh_actions[] = {
	[COMPLETE_NOTHING] = "",
	[COMPLETE_FILE] = "_files",
	[COMPLETE_DIR] = "_files -/",
	[COMPLETE_DIR_OR_IMAGE] = "_spaceport_dirs_or_images",
	[COMPLETE_IMAGE] = "_spaceport_images",
	[COMPLETE_INSTANCE] = "_spaceport_instances",
	[COMPLETE_FLAVOR] = "",
	[COMPLETE_COMMAND] = "",
	[COMPLETE_SHELL] = "",
};

/* Text inside of an _arguments specification: brackets, colons and quotes mean something. */
static void zsh_text(struct buf *ret, const char *text)
{
	cleanup(buf_done) struct buf escaped = {0};

	for (; *text; text++) {
		if (strchr("[]:\\", *text))
			buf_add_char(&escaped, '\\');
		buf_add_char(&escaped, *text);
	}
	add_quoted(ret, buf_str(&escaped));
}

static void zsh_action(struct buf *ret, enum completion what, const char *const *choices)
{
	cleanup(buf_done) struct buf words = {0};

	add_words(&words, what, choices);
	if (words.len > 0)
		buf_printf(ret, "(%s)", buf_text(&words));
	else
		buf_add_text(ret, *zsh_actions[what] ? zsh_actions[what] : " ");
}

static void zsh_option(struct buf *ret, const struct option_spec *spec)
{
	const char *many = spec->kind == OPTION_LIST ? "*" : "";

	if (spec->letter)
		buf_printf(
			ret, "            '%s%s'{-%c,--%s}'[", many, "", spec->letter, spec->name);
	else
		buf_printf(ret, "            '%s--%s[", many, spec->name);
	zsh_text(ret, spec->help);
	buf_add_char(ret, ']');
	if (spec->argument) {
		buf_add_char(ret, ':');
		zsh_text(ret, spec->argument);
		buf_add_char(ret, ':');
		zsh_action(ret, spec->completes, spec->choices);
	}
	buf_add_text(ret, "' \\\n");
}

static void zsh_command(struct buf *ret, const struct cli_command *command, const char *name)
{
	const struct option_spec *spec;

	buf_printf(ret, "    '%s')\n        _arguments -s -S \\\n", name);
	for (size_t at = 0; (spec = option_next(command, &at, NULL));)
		zsh_option(ret, spec);
	if (command->max_operands > 0) {
		buf_printf(ret, "            '%s:", command->max_operands > 1 ? "*" : "1");
		zsh_text(ret, command->operands);
		buf_add_char(ret, ':');
		zsh_action(ret, command->completes, NULL);
		buf_add_text(ret, "' \\\n");
	}
	buf_add_text(ret, "            && return ;;\n");
}

static void zsh_describe(struct buf *ret, const char *name, const struct cli_command *const *table)
{
	buf_printf(ret, "    '%s')\n        local -a commands=(\n", name);
	for (; *table; table++) {
		if ((*table)->is_hidden)
			continue;
		buf_printf(ret, "            '%s:", (*table)->name);
		add_quoted(ret, str_of((*table)->summary));
		buf_add_text(ret, "'\n");
	}
	buf_add_text(ret, "        )\n        _describe command commands ;;\n");
}

static void zsh_script(struct buf *ret)
{
	buf_add_text(ret,
		"#compdef spaceport\n"
		"_spaceport_images() { compadd -- ${(f)\"$(spaceport images --quiet 2>/dev/null)\"} }\n"
		"_spaceport_instances() { compadd -- ${(f)\"$(spaceport ps --quiet 2>/dev/null)\"} }\n"
		"_spaceport_dirs_or_images() { _files -/; _spaceport_images }\n"
		"_spaceport() {\n"
		"    local name=''\n"
		"    if (( CURRENT > 2 )); then\n"
		"        name=${words[2]}\n"
		"        shift words; (( CURRENT-- ))\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if ((*c)->children)
			buf_printf(ret,
				"        if [[ $name == %s ]] && (( CURRENT > 2 )); then\n"
				"            name=\"$name ${words[2]}\"; shift words; (( CURRENT-- ))\n"
				"        fi\n",
				(*c)->name);
	buf_add_text(ret, "    fi\n    case $name in\n");
	zsh_describe(ret, "", cli_commands);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if ((*c)->children)
			zsh_describe(ret, (*c)->name, (*c)->children);
	each_command(ret, zsh_command);
	buf_add_text(ret, "    esac\n}\n"
			  "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
			  "    _spaceport \"$@\"\nelse\n    compdef _spaceport spaceport\nfi\n");
}

/* ---- fish ---- */

static const char *const fish_actions[] = {
	[COMPLETE_NOTHING] = "-x",
	[COMPLETE_FILE] = "-r -F",
	[COMPLETE_DIR] = "-x -a '(__fish_complete_directories)'",
	[COMPLETE_DIR_OR_IMAGE] =
		"-x -a '(__fish_complete_directories) (spaceport images --quiet 2>/dev/null)'",
	[COMPLETE_IMAGE] = "-x -a '(spaceport images --quiet 2>/dev/null)'",
	[COMPLETE_INSTANCE] = "-x -a '(spaceport ps --quiet 2>/dev/null)'",
	[COMPLETE_FLAVOR] = "",
	[COMPLETE_COMMAND] = "",
	[COMPLETE_SHELL] = "",
};

static void fish_offer(struct buf *ret, enum completion what, const char *const *choices)
{
	cleanup(buf_done) struct buf words = {0};

	add_words(&words, what, choices);
	if (words.len > 0)
		buf_printf(ret, " -x -a '%s'", buf_text(&words));
	else
		buf_printf(ret, " %s", fish_actions[what]);
}

/* "complete … when these words were given" */
static void fish_when(struct buf *ret, const char *name)
{
	struct str rest = str_of(name);
	const char *gap = "";

	buf_add_text(ret, "complete -c spaceport -n '");
	while (rest.p) {
		struct str word = str_cut(&rest, ' ');
		buf_printf(ret, "%s__fish_seen_subcommand_from %.*s", gap, STR_ARG(word));
		gap = "; and ";
	}
	buf_add_char(ret, '\'');
}

static void fish_command(struct buf *ret, const struct cli_command *command, const char *name)
{
	const struct option_spec *spec;

	for (size_t at = 0; (spec = option_next(command, &at, NULL));) {
		fish_when(ret, name);
		if (spec->letter)
			buf_printf(ret, " -s %c", spec->letter);
		buf_printf(ret, " -l %s -d '", spec->name);
		add_quoted(ret, str_of(spec->help));
		buf_add_char(ret, '\'');
		if (spec->argument)
			fish_offer(ret, spec->completes, spec->choices);
		buf_add_char(ret, '\n');
	}
	if (command->max_operands > 0 && command->completes != COMPLETE_NOTHING) {
		fish_when(ret, name);
		fish_offer(ret, command->completes, NULL);
		buf_add_char(ret, '\n');
	}
}

static void fish_names(struct buf *ret, const char *when, const struct cli_command *const *table)
{
	for (; *table; table++) {
		if ((*table)->is_hidden)
			continue;
		buf_printf(ret, "complete -c spaceport -n '%s' -a %s -d '", when, (*table)->name);
		add_quoted(ret, str_of((*table)->summary));
		buf_add_text(ret, "'\n");
	}
}

static void fish_script(struct buf *ret)
{
	buf_add_text(ret, "# fish completion for spaceport\ncomplete -c spaceport -f\n");
	fish_names(ret, "__fish_use_subcommand", cli_commands);
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (!(*c)->children)
			continue;
		cleanup(buf_done) struct buf when = {0};
		buf_printf(&when,
			"__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from ",
			(*c)->name);
		add_names(&when, (*c)->children);
		fish_names(ret, buf_text(&when), (*c)->children);
	}
	each_command(ret, fish_command);
}

int completion_script(const char *shell, struct buf *ret, struct err *err)
{
	static const struct {
		const char *shell;
		void (*script)(struct buf *ret);
	} shells[] = {
		{"bash", bash_script},
		{"fish", fish_script},
		{"zsh", zsh_script},
	};

	for (size_t i = 0; i < array_size(shells); i++)
		if (strcmp(shells[i].shell, shell) == 0) {
			shells[i].script(ret);
			return 0;
		}
	return err_set(err, ERR_INPUT,
		"%s: no completion for this shell; there is bash, fish and zsh", shell);
}
