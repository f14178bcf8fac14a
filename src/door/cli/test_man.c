/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual pages against the tables: each option of each command stands in its page, written as
 * the table has it, in the section of its command, and no other option does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

#include "cli/internal.h"
#include "os/file.h"

static const char *man_dir;

/* Where the options of a command are told. */
static const struct {
	const char *command, *page, *section;
} places[] = {
	{"build", "spaceport-build.1.scd", "# OPTIONS"},
	{"df", "spaceport-df.1.scd", "# OPTIONS"},
	{"doctor", "spaceport-doctor.1.scd", "# OPTIONS"},
	{"gc", "spaceport-gc.1.scd", "# OPTIONS"},
	{"image export", "spaceport-image.1.scd", "# EXPORT OPTIONS"},
	{"image import", "spaceport-image.1.scd", "# IMPORT OPTIONS"},
	{"image save", "spaceport-image.1.scd", "# EXPORT OPTIONS"},
	{"image pull", "spaceport-image.1.scd", "# PULL OPTIONS"},
	{"image push", "spaceport-image.1.scd", "# PUSH OPTIONS"},
	{"image rm", "spaceport-image.1.scd", "# RM OPTIONS"},
	{"images", "spaceport-image.1.scd", "# IMAGES OPTIONS"},
	{"logs", "spaceport-ps.1.scd", "# LOGS OPTIONS"},
	{"ps", "spaceport-ps.1.scd", "# PS OPTIONS"},
	{"run", "spaceport-run.1.scd", "# OPTIONS"},
	{"stop", "spaceport-ps.1.scd", "# STOP OPTIONS"},
};

static void read_page(const char *name, struct buf *ret)
{
	char path[4096];
	struct err err = {0};

	snprintf(path, sizeof(path), "%s/%s", man_dir, name);
	if (file_read(AT_FDCWD, path, 1 << 20, ret, &err) < 0)
		fail_msg("%s", err.text);
}

/* The lines from a section's title to the next title. */
static struct str section_of(struct str page, const char *title)
{
	const char *start = NULL;

	while (page.p) {
		struct str line = str_cut(&page, '\n');
		if (start && str_starts(line, STR("# ")))
			return str_from(start, (size_t)(line.p - start));
		if (str_is(line, title))
			start = page.p;
	}
	if (!start)
		fail_msg("no section %s", title);
	return str_of(start);
}

/* "*-t*, *--tag* _NAME_": how scdoc has it. */
static void option_line(const struct option_spec *spec, struct buf *ret)
{
	if (spec->letter)
		buf_printf(ret, "*-%c*, ", spec->letter);
	buf_printf(ret, "*--%s*", spec->name);
	if (spec->argument)
		buf_printf(ret, " _%s_", spec->argument);
}

static size_t count_lines(struct str section, const char *wanted)
{
	size_t count = 0;

	while (section.p) {
		struct str line = str_cut(&section, '\n');
		count += wanted ? str_is(line, wanted) : str_starts(line, STR("*-"));
	}
	return count;
}

static void check_section(const struct option_spec *specs, size_t count, struct str section)
{
	for (size_t i = 0; i < count; i++) {
		cleanup(buf_done) struct buf line = {0};
		option_line(&specs[i], &line);
		if (count_lines(section, buf_text(&line)) != 1)
			fail_msg("missing, or twice: %s", buf_text(&line));
	}
}

static void check_command(const struct cli_command *command, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < OPTION_GROUPS; i++)
		if (command->groups[i].specs != common_option_specs)
			count += command->groups[i].count;
	for (size_t i = 0; i < array_size(places); i++) {
		cleanup(buf_done) struct buf page = {0};
		if (strcmp(places[i].command, name) != 0)
			continue;
		read_page(places[i].page, &page);
		struct str section = section_of(buf_str(&page), places[i].section);
		for (size_t g = 0; g < OPTION_GROUPS; g++)
			if (command->groups[g].specs != common_option_specs)
				check_section(command->groups[g].specs, command->groups[g].count,
					section);
		if (count_lines(section, NULL) != count)
			fail_msg("%s: %zu options in %s, %zu in the table", name,
				count_lines(section, NULL), places[i].page, count);
		return;
	}
	if (count > 0)
		fail_msg("%s has options and no page", name);
}

static void options_are_in_the_manual(void **state)
{
	(void)state;
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		check_command(*c, (*c)->name);
		for (const struct cli_command *const *k = (*c)->children; k && *k; k++) {
			char name[64];
			snprintf(name, sizeof(name), "%s %s", (*c)->name, (*k)->name);
			check_command(*k, name);
		}
	}
}

static void commands_are_in_the_manual(void **state)
{
	cleanup(buf_done) struct buf page = {0};

	(void)state;
	read_page("spaceport.1.scd", &page);
	struct str section = section_of(buf_str(&page), "# COMMANDS");
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		char line[64];
		snprintf(line, sizeof(line), "*%s*", (*c)->name);
		if (count_lines(section, line) != ((*c)->is_hidden ? 0 : 1))
			fail_msg("%s in spaceport(1)", (*c)->name);
	}
	section = section_of(buf_str(&page), "# OPTIONS");
	check_section(common_option_specs, COMMON_OPTIONS, section);
	assert_int_equal(count_lines(section, NULL), COMMON_OPTIONS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_in_the_manual),
		cmocka_unit_test(commands_are_in_the_manual),
	};

	if (argc < 2)
		return 2;
	man_dir = argv[1];
	return cmocka_run_group_tests_name("man", tests, NULL, NULL);
}
