/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an archive's entries mean for a layer (OCI image specification, layer.md): names are
 * cleaned, .wh. names become whiteouts and opaque directories, /dev, /proc and /sys stay empty,
 * everything else is put where it belongs.
 */
#include "layer/unpack.h"

#include "layer/internal.h"
#include "layer/recipe.h"

enum { REPORT_EVERY = 4 << 20 };

static const struct layer_limits default_limits = {
	.entries = 2000000,
	.bytes = UINT64_C(64) << 30,
	.xattr_bytes = 64 << 20,
	.path = 4096,
	.depth = 256,
	.cpu_seconds = 3600,
};

struct layer_limits unpack_limits(const struct layer_limits *given)
{
	const struct layer_limits *d = &default_limits;

	return (struct layer_limits){
		.entries = given->entries ? given->entries : d->entries,
		.bytes = given->bytes ? given->bytes : d->bytes,
		.xattr_bytes = given->xattr_bytes ? given->xattr_bytes : d->xattr_bytes,
		.path = given->path ? given->path : d->path,
		.depth = given->depth ? given->depth : d->depth,
		.cpu_seconds = given->cpu_seconds ? given->cpu_seconds : d->cpu_seconds,
	};
}

void unpack_note(struct unpack *u, const char *path, const char *what)
{
	char *to = u->stats->first_note;

	if (!to[0])
		snprintf(to, sizeof(u->stats->first_note), "%.180s: %s", path, what);
}

void unpack_report(struct unpack *u)
{
	if (!u->options->progress || u->stats->read < u->next_report)
		return;
	u->next_report = u->stats->read + REPORT_EVERY;
	u->options->progress(u->options->arg, u->stats);
}

/* ---- Names ---- */

/*
 * Appends the components of a name to ret, joined by single slashes, without "." and leading
 * slashes. ret may hold a prefix.
 */
static int clean(const struct unpack *u, const char *name, struct buf *ret, struct err *err)
{
	struct str rest = str_of(name);
	unsigned depth = 0;

	while (rest.p) {
		struct str part = str_cut(&rest, '/');
		if (part.n == 0 || str_is(part, "."))
			continue;
		if (str_is(part, ".."))
			return err_set(err, ERR_INPUT, "a name with \"..\"");
		if (!dir_is_name(part) || ++depth > u->limits.depth)
			return err_set(err, ERR_LIMIT,
				"a name of more than 255 bytes, or more than %u directories deep",
				u->limits.depth);
		buf_printf(ret, "%s%.*s", ret->len ? "/" : "", STR_ARG(part));
		if (ret->len > u->limits.path)
			return err_set(
				err, ERR_LIMIT, "a path of more than %u bytes", u->limits.path);
	}
	return 0;
}

/* An entry's place: the prefix, then its name. "" is the archive's root, whatever the prefix. */
static int clean_name(const struct unpack *u, const char *name, struct buf *ret, struct err *err)
{
	int r = 0;

	if (u->options->prefix)
		r = clean(u, u->options->prefix, ret, err);
	size_t before = ret->len;
	if (r == 0)
		r = clean(u, name, ret, err);
	if (r == 0 && ret->len == before)
		buf_clear(ret);
	return r;
}

/* dev, proc or sys, or something below one of them. */
static bool is_system(const char *path, bool *ret_below)
{
	static const char *const names[] = {"dev", "proc", "sys"};
	struct str rest = str_of(path);
	struct str first = str_cut(&rest, '/');

	*ret_below = rest.p != NULL;
	for (size_t i = 0; i < array_size(names); i++) {
		if (str_is(first, names[i]))
			return true;
	}
	return false;
}

/* ---- Entries ---- */

static int apply_hard_link(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	cleanup(buf_done) struct buf target = {0};
	int r = clean_name(u, e->target, &target, err);

	if (r < 0)
		return err_wrap(err, "hard link to %s", e->target);
	if (target.len == 0)
		return err_set(err, ERR_INPUT, "hard link to the root");
	return put_hard_link(u, at, target.data, err);
}

static int apply_symlink(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	size_t n = e->target ? strlen(e->target) : 0;

	if (n == 0 || n >= u->limits.path)
		return err_set(err, ERR_INPUT, "a link whose target is empty or %u bytes or longer",
			u->limits.path);
	return put_symlink(u, at, e, err);
}

static int apply_file(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	/* At full length, for the tree may be copied by somebody who does not know holes. */
	if (e->size > u->limits.bytes - u->content)
		return err_set(err, ERR_LIMIT, "more than %llu bytes of content in all",
			(unsigned long long)u->limits.bytes);
	u->content += e->size;
	return put_file(u, at, e, err);
}

static int skip_device(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	(void)e;
	(void)err;
	u->stats->devices++;
	unpack_note(u, at->path, "device node skipped");
	return 0;
}

static int skip_socket(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	(void)e;
	(void)err;
	u->stats->sockets++;
	unpack_note(u, at->path, "socket skipped");
	return 0;
}

static const struct {
	mode_t type;
	int (*apply)(struct unpack *u, const struct spot *at, const struct tar_entry *e,
		struct err *err);
} types[] = {
	{S_IFREG, apply_file},
	{S_IFDIR, put_dir},
	{S_IFLNK, apply_symlink},
	{S_IFIFO, put_fifo},
	{S_IFCHR, skip_device},
	{S_IFBLK, skip_device},
	{S_IFSOCK, skip_socket},
};

static int apply_type(
	struct unpack *u, const struct spot *at, const struct tar_entry *e, struct err *err)
{
	if (e->is_hard_link)
		return apply_hard_link(u, at, e, err);
	for (size_t i = 0; i < array_size(types); i++) {
		if ((e->mode & S_IFMT) == types[i].type)
			return types[i].apply(u, at, e, err);
	}
	return err_set(err, ERR_INPUT, "an entry of no known type (a hard link without a target?)");
}

/* The root's attributes are a layer's; of an ordinary archive they are nobody's business. */
static int apply_root(struct unpack *u, const struct tar_entry *e, struct err *err)
{
	if (e->is_hard_link || !S_ISDIR(e->mode))
		return err_set(err, ERR_INPUT, "the root is no directory");
	return u->options->is_plain ? 0 : put_root(u, e, err);
}

/* Returns 1 when the name is none of .wh. */
static int apply_whiteout(struct unpack *u, const char *path, struct spot *at, struct err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	bool is_below;

	if (strncmp(name, WHITEOUT, sizeof(WHITEOUT) - 1) != 0)
		return 1;
	if (strcmp(name, WHITEOUT_OPAQUE) == 0) {
		int r = put_find(u, path, at, err);
		return r < 0 ? r : put_opaque(u, at, err);
	}
	if (strncmp(name, WHITEOUT_META, sizeof(WHITEOUT_META) - 1) == 0)
		return 0;
	struct str hidden = str_of(name + sizeof(WHITEOUT) - 1);
	if (!dir_is_name(hidden))
		return err_set(err, ERR_INPUT, "a whiteout of \"%s\"", hidden.p);
	cleanup(buf_done) struct buf target = {0};
	buf_add(&target, path, (size_t)(name - path));
	buf_add_str(&target, hidden);
	if (is_system(target.data, &is_below))
		return 0;
	int r = put_find(u, target.data, at, err);
	return r < 0 ? r : put_whiteout(u, at, err);
}

static int apply_system(struct unpack *u, const char *path, const struct tar_entry *e,
	bool is_below, struct err *err)
{
	char top[sizeof("proc")];
	struct spot at;

	snprintf(top, sizeof(top), "%.*s", (int)strcspn(path, "/"), path);
	int r = put_find(u, top, &at, err);
	if (r < 0)
		return r;
	if (!is_below && !e->is_hard_link && S_ISDIR(e->mode))
		return put_dir(u, &at, e, err);
	u->stats->system_entries++;
	return put_system_dir(u, &at, err);
}

static int apply(struct unpack *u, const char *path, const struct tar_entry *e, struct err *err)
{
	struct spot at;
	bool is_below;

	if (!*path)
		return apply_root(u, e, err);
	if (!u->options->is_plain) {
		int r = apply_whiteout(u, path, &at, err);
		if (r != 1)
			return r;
		if (is_system(path, &is_below))
			return apply_system(u, path, e, is_below, err);
	}
	int r = put_find(u, path, &at, err);
	return r < 0 ? r : apply_type(u, &at, e, err);
}

static int take_entry(struct unpack *u, const struct tar_entry *e, struct err *err)
{
	cleanup(buf_done) struct buf path = {0};

	if (++u->stats->entries > u->limits.entries)
		return err_set(err, ERR_LIMIT, "more than %llu entries",
			(unsigned long long)u->limits.entries);
	int r = clean_name(u, e->name, &path, err);
	if (r == 0)
		r = apply(u, buf_text(&path), e, err);
	if (r < 0)
		return err_wrap(err, "entry %.300s", e->name);
	unpack_report(u);
	return 0;
}

static int take_all(struct unpack *u, struct err *err)
{
	struct tar_entry entry;
	int r;

	while ((r = tar_next(u->tar, &entry, err)) == 0) {
		r = take_entry(u, &entry, err);
		if (r < 0)
			return r;
	}
	if (r == TAR_E_END)
		r = tar_drain(u->tar, err);
	return r < 0 ? r : put_finish(u, err);
}

static void unpack_done(struct unpack *u)
{
	if (u->parent_fd >= 0)
		close(u->parent_fd);
	buf_done(&u->parent_path);
	arena_done(&u->arena);
	tar_close(u->tar);
	recipe_free(u->recipe);
}
DEFINE_CLEANUP_VALUE(struct unpack, unpack_done);

static int run(struct unpack *u, int tar_fd, struct err *err)
{
	u->limits = unpack_limits(&u->options->limits);
	int r = tar_open(tar_fd, u->limits.bytes + ARCHIVE_OVERHEAD, &u->stats->read, u->recipe,
		&u->tar, err);
	if (r == 0)
		r = take_all(u, err);
	if (r == 0 && u->recipe)
		u->stats->has_recipe = recipe_finish(u->recipe);
	if (r == 0 && u->options->progress)
		u->options->progress(u->options->arg, u->stats);
	return r;
}

static int unpack(int root, int tar_fd, const struct layer_unpack_options *options,
	bool is_best_effort, struct layer_unpack_stats *ret_stats, struct err *err)
{
	struct layer_unpack_stats stats = {0};
	struct err local = {0};
	cleanup(unpack_done) struct unpack u = {
		.options = options,
		.stats = &stats,
		.root = root,
		.parent_fd = -1,
		.is_best_effort = is_best_effort,
		.recipe = options->recipe_fd > 0 ? recipe_new(options->recipe_fd) : NULL,
	};
	int r = run(&u, tar_fd, &local);

	if (ret_stats)
		*ret_stats = stats;
	if (r < 0 && err)
		*err = local;
	return r;
}

int layer_unpack(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err)
{
	return unpack(root, tar_fd, options, false, ret_stats, err);
}

int unpack_best_effort(int root, int tar_fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err)
{
	return unpack(root, tar_fd, options, true, ret_stats, err);
}
