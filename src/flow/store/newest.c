/* SPDX-License-Identifier: Apache-2.0 */
/*
 * newest/HASH: what the newest build of a build context used, as its lease named it, with the
 * context's path in the first line. It is not collected as long as that directory is there:
 * whoever returns to a project after a month has its layers.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "os/dir.h"
#include "os/file.h"
#include "store/survey.h"

#define NEWEST	"newest"
#define CONTEXT "context "

enum { NEWEST_MAX = 16 << 20 };

/* ---- Writing ---- */

static int write_newest(
	const struct store *store, int dir, const char *file, struct str text, struct err *err)
{
	cleanup(buf_done) struct buf before = {0};

	/* The same again, as of every build without a change. */
	if (file_read(dir, file, NEWEST_MAX, &before, NULL) == 0 && str_eq(buf_str(&before), text))
		return 0;
	int r = file_replace(dir, file, text, 0600, err);
	if (r == 0 && store->ids.is_root &&
		fchownat(dir, file, store->ids.root_uid, store->ids.root_gid, AT_SYMLINK_NOFOLLOW) <
			0)
		r = err_sys(err, "give %s to the boxes' root", file);
	return r;
}

int store_lease_keep(
	struct store *store, struct store_lease *lease, const char *context, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct digest d = digest_of(context, strlen(context));
	char hex[DIGEST_HEX_SIZE];
	cleanup_close int dir =
		part_open(store->dir, NEWEST, 0700, store->ids.is_root ? &store->ids : NULL, err);

	if (dir < 0)
		return dir;
	/* A line feed in a path would be a line of its own. */
	buf_printf(&text, CONTEXT "%s\n", strchr(context, '\n') ? "" : context);
	int r = lease_print(lease, &text, err);
	return r < 0 ? r : write_newest(store, dir, digest_hex(&d, hex), buf_str(&text), err);
}

/* ---- Reading ---- */

static DIR *open_list(int store_dir, struct err *err)
{
	int fd = dir_open_beneath(store_dir, NEWEST, O_RDONLY | O_DIRECTORY, 0, err);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !list) {
		(void)err_sys(err, "list " NEWEST);
		close(fd);
	}
	return list;
}

int newest_take(int store_dir, struct leased *ret, struct err *err)
{
	struct err local = {0};
	cleanup_closedir DIR *list = open_list(store_dir, &local);
	struct dirent *entry;

	*ret = (struct leased){.layers = map_new(), .images = map_new()};
	if (!list) {
		if (local.kind == ERR_MISSING)
			return 0;
		*err = local;
		return -(int)err->kind;
	}
	while ((entry = readdir(list))) {
		cleanup(buf_done) struct buf text = {0};
		if (entry->d_name[0] != '.' &&
			file_read(dirfd(list), entry->d_name, NEWEST_MAX, &text, NULL) == 0)
			lease_parse(buf_str(&text), ret);
	}
	return 0;
}

/* ---- Forgetting ---- */

static bool is_gone(int dir, const char *file)
{
	cleanup(buf_done) struct buf text = {0};
	struct stat st;

	if (file_read(dir, file, NEWEST_MAX, &text, NULL) < 0)
		return false;
	struct str rest = buf_str(&text), line = str_cut(&rest, '\n');
	if (!str_starts(line, STR(CONTEXT)))
		return true;
	cleanup_free char *path = str_dup(str_from_index(line, strlen(CONTEXT)));
	/* One that cannot be looked at, behind a mount that is away, is not gone. */
	return stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR);
}

void newest_forget_gone(const struct store *store)
{
	cleanup_closedir DIR *list = open_list(store->dir, NULL);
	struct dirent *entry;

	while (list && (entry = readdir(list)))
		if (entry->d_name[0] != '.' && is_gone(dirfd(list), entry->d_name))
			(void)unlinkat(dirfd(list), entry->d_name, 0); /* or the next time */
}

int newest_forget_all(int store_dir, struct err *err)
{
	return dir_remove_tree(store_dir, NEWEST, err);
}
