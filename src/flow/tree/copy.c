/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/map.h"
#include "tree/copy.h"

/*
 * The feed lists a tree depth first, so the directories on the way to the current entry are a
 * stack of open descriptors, and each step is one name relative to the one on top. A
 * directory gets its owner, mode and times when it is left: they may forbid writing in it, and
 * writing changes its times.
 */
static void free_links(struct map *links)
{
	size_t at = 0;
	char *path;

	while ((path = map_next(links, &at, NULL)))
		free(path);
	map_free(links);
}

static void copier_done(struct copier *c)
{
	while (c->depth)
		close(c->levels[--c->depth].fd);
	buf_done(&c->path);
	buf_done(&c->text);
	arena_done(&c->arena);
	arena_done(&c->texts);
	free_links(c->links);
	free(c->levels);
	free(c->block);
}

DEFINE_CLEANUP_VALUE(struct copier, copier_done);

const char *tree_copier_where(struct copier *c, const struct tree_entry *e)
{
	buf_clear(&c->text);
	buf_add_text(&c->text, c->dest);
	if (!c->is_dest && *e->path)
		buf_printf(&c->text, "%s%s", c->dest[1] ? "/" : "", e->path);
	return c->text.data;
}

int tree_copier_failed(
	struct copier *c, const struct tree_entry *e, const char *what, struct err *err)
{
	int sys = errno;

	(void)err_sys(err, "%s %s", what, tree_copier_where(c, e));
	if (sys == ENOSPC || sys == EDQUOT)
		return err_hint(err, "free space where the layers are stored, then build again");
	return -(int)err->kind;
}

static int not_a_directory(struct copier *c, const struct tree_entry *e, struct err *err)
{
	(void)err_set(err, ERR_FAILED, "cannot copy to non-directory: %s", tree_copier_where(c, e));
	return err_hint(err, "the source is a directory and this is a file or a link in the image");
}

/* ---- Directories ---- */

static int leave(struct copier *c, struct err *err)
{
	struct level *level = &c->levels[--c->depth];
	cleanup_close int fd = level->fd;

	buf_truncate(&c->path, c->depth ? c->levels[c->depth - 1].path_len : 0);
	if (level->is_dest) {
		/* What was there keeps its owner and mode; what was made has those of a parent. */
		tree_write_times(c, fd, &level->entry);
		return 0;
	}
	return tree_write_metadata(c, fd, &level->entry, err);
}

static int leave_all(struct copier *c, struct err *err)
{
	while (c->depth) {
		if (leave(c, err) < 0)
			return -(int)err->kind;
	}
	return 0;
}

/* The entry's texts end with the feed's next one. */
static void keep_entry(struct copier *c, const struct tree_entry *e, struct tree_entry *ret)
{
	struct tree_xattr *xattrs = arena_array(&c->arena, e->xattr_count, sizeof(*xattrs));

	*ret = *e;
	ret->path = arena_strdup(&c->arena, e->path);
	for (size_t i = 0; i < e->xattr_count; i++) {
		xattrs[i].name = arena_strdup(&c->arena, e->xattrs[i].name);
		xattrs[i].value = arena_str(&c->arena, e->xattrs[i].value);
	}
	ret->xattrs = xattrs;
}

static int enter(struct copier *c, int fd, const struct tree_entry *e, struct err *err)
{
	if (c->depth >= TREE_MAX_DEPTH + 1) {
		close(fd);
		return err_set(err, ERR_LIMIT, "more than %d directories below each other: %s",
			TREE_MAX_DEPTH, tree_copier_where(c, e));
	}
	if (c->depth == 0)
		arena_done(&c->arena);
	struct level *level = &c->levels[c->depth++];
	keep_entry(c, e, &level->entry);
	level->fd = fd;
	level->is_dest = e->is_source;
	buf_clear(&c->path);
	buf_add_text(&c->path, e->path);
	level->path_len = c->path.len;
	return 0;
}

static int make_directory(
	struct copier *c, int parent, const char *name, const struct tree_entry *e, struct err *err)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return tree_copier_failed(c, e, "make directory", err);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return enter(c, fd, e, err);
	if (errno == ENOTDIR || errno == ELOOP)
		return not_a_directory(c, e, err);
	return tree_copier_failed(c, e, "open directory", err);
}

/* ---- The destination ---- */

/* dest as a directory, made if it is missing. Returns a descriptor. */
static int make_dest(struct copier *c, const struct tree_entry *e, struct err *err)
{
	const struct dir_make *make = &c->make;
	cleanup_close int fd = dir_make_all(c->root, c->dest, make->mode, make->owner, err);

	if (fd >= 0)
		return dir_reopen(fd, O_RDONLY, err);
	if (err->sys != ENOTDIR)
		return -(int)err->kind;
	c->is_dest = true;
	return not_a_directory(c, e, err);
}

/*
 * Where a source goes: *ret_dir is dest as an open directory, or -1 when dest is, or is to
 * become, the file at *place.
 */
static int find_dest(struct copier *c, const struct tree_entry *e, struct dir_place *place,
	int *ret_dir, struct err *err)
{
	struct stat st;
	bool is_dir = S_ISDIR(e->mode);
	bool exists = false;

	*ret_dir = -1;
	if (!c->dest_is_dir) {
		if (dir_find_target(c->root, c->dest, &c->make, place, err) < 0)
			return -(int)err->kind;
		exists = fstatat(place->fd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (!is_dir && (!exists || !S_ISDIR(st.st_mode)))
			return 0;
		if (is_dir && exists && !S_ISDIR(st.st_mode))
			return not_a_directory(c, e, err);
	}
	*ret_dir = make_dest(c, e, err);
	return *ret_dir < 0 ? *ret_dir : 0;
}

static int copy_directory(struct copier *c, const struct tree_entry *e, struct err *err)
{
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
	int dir;

	if (find_dest(c, e, &place, &dir, err) < 0)
		return -(int)err->kind;
	return enter(c, dir, e, err);
}

static int unpack(struct copier *c, const struct tree_entry *e, int fd, struct err *err)
{
	cleanup_close int dest = make_dest(c, e, err);

	if (dest < 0)
		return dest;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return tree_copier_failed(c, e, "rewind archive for", err);
	return c->options->unpacker->unpack(c->options->unpacker->arg, fd, dest, err);
}

static int copy_file(struct copier *c, const struct tree_entry *e, int fd, struct err *err)
{
	const struct tree_unpacker *u = c->options->unpacker;
	cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
	struct target target = {.entry = e, .content = fd};
	cleanup_close int dir = -1;

	if (u && fd >= 0 && u->is_archive(u->arg, fd))
		return unpack(c, e, fd, err);
	if (find_dest(c, e, &place, &dir, err) < 0)
		return -(int)err->kind;
	c->is_dest = dir < 0;
	target.dir = dir < 0 ? place.fd : dir;
	target.name = dir < 0 ? place.name : e->path;
	if (c->is_dest && c->options->became_dest)
		++*c->options->became_dest;
	return tree_write_entry(c, &target, err);
}

/* ---- All entries ---- */

static int copy_source(struct copier *c, const struct tree_entry *e, int fd, struct err *err)
{
	c->is_dest = false;
	if (leave_all(c, err) < 0)
		return -(int)err->kind;
	return S_ISDIR(e->mode) ? copy_directory(c, e, err) : copy_file(c, e, fd, err);
}

static int copy_below(struct copier *c, const struct tree_entry *e, int fd, struct err *err)
{
	size_t base = tree_path_base(str_from(e->path, strlen(e->path)));
	struct str parent = str_from(e->path, base ? base - 1 : 0);

	while (c->depth && !str_eq(parent, buf_str(&c->path))) {
		if (leave(c, err) < 0)
			return -(int)err->kind;
	}
	if (!c->depth)
		return err_set(err, ERR_BUG, "%s comes without its directory", e->path);
	struct target target = {
		.dir = c->levels[c->depth - 1].fd,
		.name = e->path + base,
		.entry = e,
		.content = fd,
	};
	return S_ISDIR(e->mode) ? make_directory(c, target.dir, target.name, e, err)
				: tree_write_entry(c, &target, err);
}

static int copy_all(struct copier *c, struct err *err)
{
	const struct tree_entry *e;
	int fd, r;

	while ((r = tree_feed_next(c->feed, &e, &fd, err)) == 0) {
		r = e->is_source ? copy_source(c, e, fd, err) : copy_below(c, e, fd, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : leave_all(c, err);
}

int tree_copy(
	struct tree_feed *feed, int root, const struct tree_copy_options *options, struct err *err)
{
	static const struct dir_owner root_owner = {0, 0};
	struct err local = {0};
	cleanup(copier_done) struct copier c = {
		.feed = feed,
		.root = root,
		.options = options,
		.links = map_new(),
		.block = xmalloc(COPIER_BLOCK),
		.levels = xcalloc(TREE_MAX_DEPTH + 1, sizeof(struct level)),
	};

	struct str dest = str_of(options->dest);
	c.dest_is_dir =
		options->dest_is_dir || str_ends(dest, STR("/")) || str_ends(dest, STR("/."));
	c.dest = arena_printf(&c.texts, "/%s", tree_path_clean(&c.texts, options->dest));
	c.make.mode = options->mode ? tree_mode_apply(options->mode, S_IFDIR | 0755) : 0755;
	c.make.owner = options->owner ? options->owner : &root_owner;
	return copy_all(&c, err ? err : &local);
}
