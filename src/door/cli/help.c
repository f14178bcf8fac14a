/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/internal.h"

/* Where the second column of help begins, and how wide all of it may get. */
enum { HELP_COLUMN = 28, HELP_WIDTH = 100 };

static size_t help_width(const struct terminal *t)
{
	return t->columns < HELP_WIDTH ? t->columns : HELP_WIDTH;
}

/* Whole sentences, broken between words; continued at `column`, where the first line is. */
static void add_wrapped(struct buf *ret, struct str text, size_t column, size_t width)
{
	size_t used = column;

	while (text.p && text.n > 0) {
		struct str word = str_cut(&text, ' ');
		size_t wide = text_width(word);
		if (used > column && used + 1 + wide > width) {
			buf_add_char(ret, '\n');
			text_pad(ret, column);
			used = column;
		} else if (used > column) {
			buf_add_char(ret, ' ');
			used++;
		}
		buf_add_str(ret, word);
		used += wide;
	}
	buf_add_char(ret, '\n');
}

static void add_row(struct buf *ret, struct str left, struct str right, size_t width)
{
	size_t wide = text_width(left);

	buf_add_text(ret, "  ");
	buf_add_str(ret, left);
	if (wide + 3 > HELP_COLUMN) {
		buf_add_char(ret, '\n');
		text_pad(ret, HELP_COLUMN);
	} else {
		text_pad(ret, HELP_COLUMN - 2 - wide);
	}
	add_wrapped(ret, right, HELP_COLUMN, width);
}

static void add_title(struct buf *ret, const struct terminal *t, const char *title)
{
	buf_add_char(ret, '\n');
	terminal_add(ret, t, STYLE_BOLD, str_of(title));
	buf_add_text(ret, ":\n");
}

static void add_commands(struct buf *ret, const struct cli_command *const *table, size_t width)
{
	for (; *table; table++)
		if (!(*table)->is_hidden)
			add_row(ret, str_of((*table)->name), str_of((*table)->summary), width);
}

void help_overview(const struct terminal *t, struct buf *ret)
{
	buf_add_text(ret, "Spaceport builds and runs Docker Spaces on any Linux machine.\n\n"
			  "Usage: spaceport COMMAND [OPTIONS] [ARGUMENTS]\n");
	add_title(ret, t, "Commands");
	add_commands(ret, cli_commands, help_width(t));
	buf_add_text(ret, "\n'spaceport help COMMAND' tells more of one of them; so does "
			  "'man spaceport'.\n");
}

static void add_option(struct buf *ret, const struct option_spec *spec, size_t width)
{
	cleanup(buf_done) struct buf left = {0}, right = {0};

	if (!spec->letter)
		buf_add_text(&left, "    ");
	option_print(spec, &left);
	buf_add_text(&right, spec->help);
	for (size_t i = 0; spec->choices && spec->choices[i]; i++)
		buf_printf(&right, "%s%s", i ? ", " : ": ", spec->choices[i]);
	add_row(ret, buf_str(&left), buf_str(&right), width);
}

static void add_options(
	struct buf *ret, const struct cli_command *command, const struct terminal *t)
{
	const struct option_spec *spec;
	const struct option_group *group = NULL;
	const char *title = "";
	size_t at = 0;

	while ((spec = option_next(command, &at, &group))) {
		if (strcmp(title, group->title) != 0)
			add_title(ret, t, group->title);
		title = group->title;
		add_option(ret, spec, help_width(t));
	}
}

void help_command(const struct cli_command *command, const char *name, const struct terminal *t,
	struct buf *ret)
{
	buf_printf(ret, "Usage: spaceport %s", name);
	if (command->children)
		buf_add_text(ret, " COMMAND");
	buf_printf(ret, " [OPTIONS]%s%s\n\n", *command->operands ? " " : "", command->operands);
	add_wrapped(ret, str_of(command->about), 0, help_width(t));
	if (command->children) {
		add_title(ret, t, "Commands");
		add_commands(ret, command->children, help_width(t));
	}
	add_options(ret, command, t);
}
