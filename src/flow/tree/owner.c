/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/file.h"
#include "tree/internal.h"

enum { MAX_FILE_SIZE = 10 << 20, MAX_GROUPS = NGROUPS_MAX };

/*
 * A file of the image: links are followed inside it, and a FIFO or device in its place neither
 * blocks nor answers. A missing one reads as empty.
 */
static int read_image_file(int root, const char *path, struct buf *ret, struct err *err)
{
	struct stat st;
	cleanup_close int fd =
		dir_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);

	if (fd < 0)
		return err->sys == ENOENT || err->sys == ENOTDIR ? 0 : err_wrap(err, "the image");
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s of the image", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INPUT, "%s of the image is not a regular file", path);
	if (file_read_fd(fd, MAX_FILE_SIZE, ret, err) < 0)
		return err_wrap(err, "%s of the image", path);
	return 0;
}

static int unknown(
	const char *what, struct str name, const char *file, const char *remedy, struct err *err)
{
	(void)err_set(err, ERR_MISSING, "there is no %s \"%.*s\" in %s of the image", what,
		STR_ARG(name), file);
	return err_hint(err, "make it in an earlier step (RUN %s %.*s), or give its number", remedy,
		STR_ARG(name));
}

/* "user", "user:group"; 1000 in digits is a number and never a name, as for docker. */
struct owner_text {
	struct str user, group;
	bool has_group;
};

static int split(struct str text, struct owner_text *ret, struct err *err)
{
	struct str rest = text;

	ret->user = str_cut(&rest, ':');
	ret->has_group = rest.p;
	ret->group = rest;
	if (ret->user.n && !(rest.p && memchr(rest.p, ':', rest.n)))
		return 0;
	(void)err_set(err, ERR_INPUT, "\"%.*s\" does not name a user", STR_ARG(text));
	return err_hint(err, "write user, user:group, or numbers: 1000:1000");
}

/* Is it a number (too large ones are an error)? */
static int parse_id(struct str text, bool *ret_is_number, uint32_t *ret, struct err *err)
{
	uint64_t id;

	*ret_is_number = false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return 0;
	}
	if (!text.n)
		return 0;
	if (!parse_u64(text, UINT32_MAX - 1, &id))
		return err_set(
			err, ERR_INPUT, "%.*s is too large for a user or group", STR_ARG(text));
	*ret_is_number = true;
	*ret = (uint32_t)id;
	return 0;
}

static int find_group(int root, struct str name, gid_t *ret, struct err *err)
{
	cleanup(buf_done) struct buf file = {0};
	bool is_number;
	uint32_t gid = 0;

	if (parse_id(name, &is_number, &gid, err) < 0)
		return -(int)err->kind;
	if (!is_number && name.n && !str_is(name, "root")) {
		if (read_image_file(root, "/etc/group", &file, err) < 0)
			return -(int)err->kind;
		if (!tree_group_find(buf_str(&file), name, &gid))
			return unknown("group", name, "/etc/group", "groupadd", err);
	}
	*ret = gid;
	return 0;
}

int tree_owner_resolve(int root, struct str text, struct dir_owner *ret, struct err *err)
{
	struct err local = {0};
	cleanup(buf_done) struct buf file = {0};
	struct owner_text owner;
	struct passwd_entry user = {0};
	bool is_number;

	err = err ? err : &local;
	if (split(text, &owner, err) < 0 || parse_id(owner.user, &is_number, &user.uid, err) < 0)
		return -(int)err->kind;
	if (is_number) {
		user.gid = user.uid;
	} else if (!str_is(owner.user, "root")) {
		if (read_image_file(root, "/etc/passwd", &file, err) < 0)
			return -(int)err->kind;
		if (!tree_passwd_find_name(buf_str(&file), owner.user, &user))
			return unknown("user", owner.user, "/etc/passwd", "useradd -m", err);
	}
	struct dir_owner found = {user.uid, user.gid};
	if (owner.has_group && find_group(root, owner.group, &found.gid, err) < 0)
		return -(int)err->kind;
	*ret = found;
	return 0;
}

/* ---- USER ---- */

void tree_user_done(struct tree_user *user)
{
	free(user->groups);
	free(user->home);
	*user = (struct tree_user){0};
}

static void add_group(struct tree_user *user, size_t *cap, gid_t gid)
{
	for (size_t i = 0; i < user->group_count; i++) {
		if (user->groups[i] == gid)
			return;
	}
	user->groups = xgrow(user->groups, cap, user->group_count + 1, sizeof(gid_t));
	user->groups[user->group_count++] = gid;
}

static int add_groups(int root, struct str name, struct tree_user *user, struct err *err)
{
	cleanup(buf_done) struct buf file = {0};
	size_t cap = 0;
	uint32_t gid;

	if (read_image_file(root, "/etc/group", &file, err) < 0)
		return -(int)err->kind;
	struct str rest = buf_str(&file);
	while (tree_group_next_of(&rest, name, &gid)) {
		if (user->group_count == MAX_GROUPS)
			return err_set(err, ERR_LIMIT, "user %.*s is in more than %d groups",
				STR_ARG(name), MAX_GROUPS);
		if (gid != user->gid)
			add_group(user, &cap, gid);
	}
	return 0;
}

/* The entry of a user by name or number; *ret_found false: a number that has none. */
static int find_user(int root, struct str name, struct buf *file, struct passwd_entry *ret,
	bool *ret_found, struct err *err)
{
	bool is_number;
	uint32_t uid = 0;

	if (parse_id(name, &is_number, &uid, err) < 0 ||
		read_image_file(root, "/etc/passwd", file, err) < 0)
		return -(int)err->kind;
	*ret = (struct passwd_entry){.uid = uid};
	*ret_found = is_number ? tree_passwd_find_uid(buf_str(file), uid, ret)
			       : tree_passwd_find_name(buf_str(file), name, ret);
	if (!is_number && !*ret_found && !str_is(name, "root"))
		return unknown("user", name, "/etc/passwd", "useradd -m", err);
	return 0;
}

int tree_user_resolve(int root, struct str text, struct tree_user *ret, struct err *err)
{
	struct err local = {0};
	cleanup(buf_done) struct buf file = {0};
	cleanup(tree_user_done) struct tree_user user = {0};
	struct owner_text owner;
	struct passwd_entry entry = {0};
	bool found = false;

	err = err ? err : &local;
	if (split(text.n ? text : STR("0"), &owner, err) < 0 ||
		find_user(root, owner.user, &file, &entry, &found, err) < 0)
		return -(int)err->kind;
	user.uid = entry.uid;
	user.gid = entry.gid;
	user.home = found && entry.home.n ? str_dup(entry.home) : xstrdup("/");
	if (owner.has_group) {
		if (find_group(root, owner.group, &user.gid, err) < 0)
			return -(int)err->kind;
	} else if (found && add_groups(root, entry.name, &user, err) < 0) {
		return -(int)err->kind;
	}
	*ret = user;
	user = (struct tree_user){0};
	return 0;
}
