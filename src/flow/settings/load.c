/* SPDX-License-Identifier: Apache-2.0 */
#include "settings/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "os/file.h"

struct settings_caller settings_caller_self(void)
{
	return (struct settings_caller){.env = environ, .uid = geteuid(), .etc = "/etc"};
}

static int parse_file(struct loader *l, const char *path, struct str text, struct err *err)
{
	struct source source = {path, text};
	struct yaml_problem problem;
	const struct yaml_node *root;

	if (yaml_parse(l->arena, &source, text, &root, &problem))
		return yaml_problem_error(&problem, &source, err);
	l->file = &source;
	int r = settings_parse(l, root, err);
	l->file = NULL;
	l->settings->file = path;
	return r;
}

/* Missing is fine unless the caller named it. */
static int load_file(struct loader *l, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	bool named;
	const char *path = find_file(l->arena, l->caller, &named);

	if (!path || (!named && access(path, F_OK) < 0 && errno == ENOENT))
		return 0;
	int r = file_read(AT_FDCWD, path, YAML_MAX_BYTES, &text, err);
	if (r < 0) {
		/* Whatever keeps it from being read, the configuration is not what was meant. */
		if (err)
			err->kind = ERR_INPUT;
		return named ? err_wrap(err, "SPACEPORT_CONFIG") : err_wrap(err, "configuration");
	}
	return parse_file(l, path, buf_str(&text), err);
}

int settings_load(struct arena *a, const struct settings_caller *caller, struct settings *ret,
	struct err *err)
{
	struct settings settings = {0};
	struct loader l = {.arena = a, .caller = caller, .settings = &settings};

	set_defaults(&l);
	int r = load_file(&l, err);
	if (r == 0)
		r = settings_take_variables(&l, err);
	if (r == 0)
		r = fill_defaults(&l, err);
	if (r == 0)
		*ret = settings;
	return r;
}

/* ---- The state directory ---- */

static int check_owner(const char *path, const struct stat *st, struct err *err)
{
	if (st->st_uid != geteuid()) {
		(void)err_set(err, ERR_DENIED,
			"state directory %s belongs to user %u, not to user %u", path, st->st_uid,
			geteuid());
		return err_hint(err, "set SPACEPORT_DATA to a directory of your own");
	}
	if (st->st_mode & 0022) {
		(void)err_set(err, ERR_DENIED,
			"state directory %s can be written by other users (mode %04o)", path,
			st->st_mode & 07777);
		return err_hint(err, "chmod go-w %s", path);
	}
	return 0;
}

static int open_data(const struct settings *settings, struct err *err)
{
	mode_t mode = geteuid() == 0 ? 0711 : 0700;
	const char *path = settings->data;
	struct stat st;
	cleanup_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_sys(err, "open /");
	cleanup_close int made = dir_make_all(root, path, mode, NULL, err);
	if (made < 0) {
		int r = err_wrap(err, "state directory %s", path);
		return err && err->hint[0]
			       ? r
			       : err_hint(err,
					 "set SPACEPORT_DATA to a directory that you can write");
	}
	cleanup_close int fd = dir_reopen(made, O_RDONLY | O_DIRECTORY, err);
	if (fd < 0)
		return err_wrap(err, "state directory %s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, "state directory %s", path);
	int r = check_owner(path, &st, err);
	if (r < 0)
		return r;
	if ((st.st_mode & mode) != mode && fchmod(fd, st.st_mode | mode) < 0)
		return err_sys(err, "change mode of %s", path);
	return take_fd(&fd);
}

int settings_open_data(const struct settings *settings, struct err *err)
{
	int fd = open_data(settings, err);

	/* What may not be used is the wrong one to have been named. */
	if (fd == -ERR_DENIED && err)
		err->kind = ERR_INPUT;
	return fd == -ERR_DENIED ? -ERR_INPUT : fd;
}
