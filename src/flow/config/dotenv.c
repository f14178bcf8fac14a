/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

/* The rules are those of docker's --env-file (package kvfile of docker/cli). */
enum { FILE_MAX = 1024 * 1024, VARIABLES_MAX = 4096 };

/* An env file holds secrets, so its lines are never shown: place and words only. */
static int refuse(struct err *err, const struct source *file, unsigned line, const char *text)
{
	return err_set(err, ERR_INPUT, "%s:%u: %s", file->name, line, text);
}

static bool has_blank(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == ' ' || (s.p[i] >= '\t' && s.p[i] <= '\r'))
			return true;
	return false;
}

static bool is_text(struct str line)
{
	while (line.n) {
		size_t length = str_utf8_length(line);
		if (length == 0)
			return false;
		line = str_from_index(line, length);
	}
	return true;
}

/* Why a line is no line of an env file, or NULL. */
static const char *line_problem(struct str line, struct str name)
{
	if (str_find(line, '\0') < line.n)
		return "a NUL byte";
	if (!is_text(line))
		return "bytes that are not UTF-8";
	if (name.n == 0)
		return "no name before '='; write NAME=value";
	if (has_blank(name))
		return "a blank in the name; write NAME=value without blanks around '='";
	return NULL;
}

struct lookup {
	const char *(*find)(void *arg, const char *name);
	void *arg;
};

static void take_line(
	struct str name, struct str line, const struct lookup *lookup, struct argv *env)
{
	if (name.n < line.n) {
		argv_set_env(env, name, str_from_index(line, name.n + 1));
		return;
	}
	cleanup_free char *text = str_dup(name);
	const char *value = lookup->find ? lookup->find(lookup->arg, text) : NULL;
	if (value)
		argv_set_env(env, name, str_of(value));
}

int dotenv_parse(const struct source *file, const char *(*lookup)(void *arg, const char *name),
	void *arg, struct argv *env, struct err *err)
{
	struct lookup from = {lookup, arg};
	struct str rest = file->text;
	size_t count = 0;

	if (rest.n > FILE_MAX)
		return err_set(err, ERR_INPUT, "%s: larger than 1 MiB", file->name);
	if (str_starts(rest, STR("\xef\xbb\xbf")))
		rest = str_from_index(rest, 3);
	for (unsigned number = 1; rest.p; number++) {
		struct str line = str_cut(&rest, '\n');
		if (str_ends(line, STR("\r")))
			line.n--;
		line = str_trim_left(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		struct str name = str_slice(line, 0, str_find(line, '='));
		const char *problem = line_problem(line, name);
		if (!problem && ++count > VARIABLES_MAX)
			problem = "more than 4096 variables";
		if (problem)
			return refuse(err, file, number, problem);
		take_line(name, line, &from, env);
	}
	return 0;
}
