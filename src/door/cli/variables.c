/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/source.h"
#include "cli/commands.h"
#include "config/config.h"
#include "os/file.h"

enum { ENV_FILE_MAX = 1024 * 1024 };

void variables_done(struct variables *v)
{
	argv_done(&v->env);
	argv_done(&v->secrets);
	argv_done(&v->secret_names);
	argv_done(&v->unset);
}

static const char *from_environment(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

static int read_file(const char *path, struct argv *env, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	if (file_read(AT_FDCWD, path, ENV_FILE_MAX, &text, err) < 0) {
		err->kind = ERR_INPUT;
		return err_wrap(err, "--env-file");
	}
	const struct source file = {.name = path, .text = buf_str(&text)};
	return dotenv_parse(&file, from_environment, NULL, env, err);
}

static int check_name(const char *option, struct str name, struct err *err)
{
	if (space_variable_check(name, err) < 0)
		return err_wrap(err, "%s", option);
	return 0;
}

static int read_variable(const char *text, struct variables *ret, struct err *err)
{
	struct str value = str_of(text), name = str_cut(&value, '=');

	int r = check_name("--env", name, err);
	if (r < 0)
		return r;
	if (!value.p) {
		const char *own = getenv(text);
		if (!own) {
			argv_add(&ret->unset, text);
			return 0;
		}
		value = str_of(own);
	}
	argv_set_env(&ret->env, name, value);
	return 0;
}

static int read_secret(const char *text, struct variables *ret, struct err *err)
{
	struct str value = str_of(text), name = str_cut(&value, '=');

	int r = check_name("--secret", name, err);
	if (r < 0)
		return r;
	if (!value.p) {
		const char *own = getenv(text);
		if (!own) {
			err_set(err, ERR_INPUT, "--secret %s: the environment has no variable %s",
				text, text);
			return err_hint(err,
				"give its value: --secret %s=VALUE, or set it: %s=VALUE "
				"spaceport run …",
				text, text);
		}
		value = str_of(own);
	}
	argv_set_env(&ret->secrets, name, value);
	argv_add_str(&ret->secret_names, name);
	return 0;
}

int variables_read(const struct variable_flags *flags, struct variables *ret, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < flags->env_files.count; i++)
		r = read_file(flags->env_files.items[i], &ret->env, err);
	for (size_t i = 0; r == 0 && i < flags->env.count; i++)
		r = read_variable(flags->env.items[i], ret, err);
	for (size_t i = 0; r == 0 && i < flags->secrets.count; i++)
		r = read_secret(flags->secrets.items[i], ret, err);
	return r;
}
