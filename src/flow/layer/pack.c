/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a layer becomes an archive: names in the order of their bytes (whiteouts by what
 * they hide), a directory before what it holds, so that the same tree gives the same bytes
 * each time.
 *
 * An upper directory holds more than changes: directories on the way to one, and files that
 * were copied up and not changed. What is as it was below is left out, except that the
 * directories on the way to a change go with it, as containerd and Docker write them: some
 * who unpack a layer by itself have no other place to learn their attributes from.
 */
#include "layer/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "layer/internal.h"

enum { DEPTH_LIMIT = 256 };

/* A directory that is being packed. */
struct level {
	struct level *above; /* NULL: the root */
	struct pack_entry self;
	int fd;		 /* what it holds */
	int below;	 /* the directory of that name below; < 0: there is none */
	bool is_opaque;	 /* nothing below shows through */
	bool is_written; /* it has its entry, or needs none */
	unsigned depth;
};

static int pack_dir(struct pack *p, struct level *level, struct err *err);

/* ---- Names ---- */

struct name {
	char *text;
	bool is_gone; /* it exists below only, and shall not show through */
};

struct names {
	struct arena arena;
	struct name *items;
	size_t count, cap;
};

static void names_done(struct names *n)
{
	arena_done(&n->arena);
}
DEFINE_CLEANUP_VALUE(struct names, names_done);

static int compare_names(const void *a, const void *b)
{
	const struct name *one = a, *two = b;

	return strcmp(one->text, two->text);
}

static int list_names(int dir, struct names *ret, bool is_gone, struct err *err)
{
	struct dirent *d;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open directory");
	cleanup_closedir DIR *list = fdopendir(fd);
	if (!list) {
		close(fd);
		return err_sys(err, "list directory");
	}
	while ((errno = 0, d = readdir(list))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		ret->items = arena_grow(
			&ret->arena, ret->items, ret->count, &ret->cap, sizeof(*ret->items));
		ret->items[ret->count++] =
			(struct name){arena_strdup(&ret->arena, d->d_name), is_gone};
	}
	return errno ? err_sys(err, "list directory") : 0;
}

static void sort_names(struct names *n)
{
	if (n->count)
		qsort(n->items, n->count, sizeof(*n->items), compare_names);
}

/* What an opaque directory hides, unless something of the same name is in it. */
static int add_hidden(const struct level *level, struct names *names, struct err *err)
{
	cleanup(names_done) struct names below = {0};
	size_t own = names->count;
	int r = list_names(level->below, &below, true, err);

	for (size_t i = 0; r == 0 && i < below.count; i++) {
		const struct name *found = own ? bsearch(&below.items[i], names->items, own,
							 sizeof(*names->items), compare_names)
					       : NULL;
		if (found)
			continue;
		names->items = arena_grow(&names->arena, names->items, names->count, &names->cap,
			sizeof(*names->items));
		names->items[names->count++] =
			(struct name){arena_strdup(&names->arena, below.items[i].text), true};
	}
	return r;
}

static int list_level(const struct level *level, struct names *ret, struct err *err)
{
	int r = list_names(level->fd, ret, false, err);

	sort_names(ret);
	if (r < 0 || !level->is_opaque || level->below < 0)
		return r;
	/* bsearch() needs the first part sorted and unmoved: what is added comes behind it. */
	r = add_hidden(level, ret, err);
	sort_names(ret);
	return r;
}

/* ---- Entries ---- */

static void set_path(struct pack *p, const struct level *level, const char *name)
{
	if (level->above)
		set_path(p, level->above, level->self.name);
	else
		buf_clear(&p->path);
	if (name && p->path.len)
		buf_add_char(&p->path, '/');
	if (name)
		buf_add_text(&p->path, name);
}

static int write_level(struct pack *p, struct level *level, struct err *err)
{
	level->is_written = true;
	set_path(p, level, NULL);
	int r = pack_write(p, &level->self, err);
	/* Without a list of what is below, the mark is all that can be said. */
	if (r == 0 && level->is_opaque && p->options->below < 0 &&
		!(level->above && level->above->is_opaque)) {
		set_path(p, level, "");
		r = pack_write_marker(p, WHITEOUT_OPAQUE, "", err);
	}
	return r;
}

static int write_parents(struct pack *p, struct level *level, struct err *err)
{
	if (!level || level->is_written)
		return 0;
	int r = write_parents(p, level->above, err);
	return r == 0 ? write_level(p, level, err) : r;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static bool is_opaque(int fd)
{
	char value = 0;

	return fgetxattr(fd, XATTR_OPAQUE, &value, 1) == 1 && value == 'y';
}

/* The same name below, whatever it is: false when there is none. */
static bool find_below(const struct level *level, const char *name, struct pack_entry *ret)
{
	*ret = (struct pack_entry){.dirfd = level->below, .name = name};
	return level->below >= 0 &&
	       fstatat(level->below, name, &ret->st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       !is_whiteout(&ret->st);
}

static int put_marker(struct pack *p, struct level *level, const char *name, struct err *err)
{
	int r = write_parents(p, level, err);

	if (r < 0)
		return r;
	set_path(p, level, name);
	return pack_write_marker(p, WHITEOUT, name, err);
}

/* Layers have no way to say that a file is called so: who unpacks one would remove another. */
static int refuse_name(struct err *err)
{
	(void)err_set(err, ERR_FAILED, "names that begin with " WHITEOUT " cannot be in an image");
	return err_hint(err, "in image layers such a name says that another file was removed; "
			     "rename it in the step that makes it");
}

static int descend(struct pack *p, struct level *above, const struct pack_entry *e,
	const struct pack_entry *below, struct err *err)
{
	cleanup_close int fd =
		openat(e->dirfd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int below_fd = -1;

	if (fd < 0)
		return err_sys(err, "open");
	if (above->depth == DEPTH_LIMIT)
		return err_set(err, ERR_LIMIT, "more than %d directories deep", DEPTH_LIMIT);
	bool is_dir_below = below && S_ISDIR(below->st.st_mode);
	if (is_dir_below)
		below_fd = openat(
			below->dirfd, below->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (is_dir_below && below_fd < 0)
		return err_sys(err, "open the same below");
	struct level level = {
		.above = above,
		.self = *e,
		.fd = fd,
		.below = below_fd,
		.is_opaque = above->is_opaque || is_opaque(fd),
		.depth = above->depth + 1,
	};
	int same = is_dir_below ? pack_is_same(p, e, below, err) : 0;
	if (same < 0)
		return same;
	int r = same ? 0 : write_parents(p, &level, err);
	return r == 0 ? pack_dir(p, &level, err) : r;
}

static int pack_thing(
	struct pack *p, struct level *level, const struct pack_entry *e, struct err *err)
{
	struct pack_entry below;
	bool has_below = find_below(level, e->name, &below);

	if (is_whiteout(&e->st))
		return has_below || p->options->below < 0 ? put_marker(p, level, e->name, err) : 0;
	if (strncmp(e->name, WHITEOUT, sizeof(WHITEOUT) - 1) == 0)
		return refuse_name(err);
	if (S_ISDIR(e->st.st_mode))
		return descend(p, level, e, has_below ? &below : NULL, err);
	int same = has_below ? pack_is_same(p, e, &below, err) : 0;
	if (same != 0)
		return same < 0 ? same : 0;
	int r = write_parents(p, level, err);
	if (r < 0)
		return r;
	set_path(p, level, e->name);
	return pack_write(p, e, err);
}

static int pack_name(struct pack *p, struct level *level, const struct name *name, struct err *err)
{
	struct pack_entry e = {.dirfd = level->fd, .name = name->text};
	int r;

	if (name->is_gone)
		r = put_marker(p, level, name->text, err);
	else if (fstatat(level->fd, name->text, &e.st, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_sys(err, "stat");
	else
		r = pack_thing(p, level, &e, err);
	return r;
}

static int pack_dir(struct pack *p, struct level *level, struct err *err)
{
	cleanup(names_done) struct names names = {0};
	int r = list_level(level, &names, err);

	for (size_t i = 0; r == 0 && i < names.count; i++) {
		r = pack_name(p, level, &names.items[i], err);
		/* The deepest one knows the name; those above it put theirs in front. */
		if (r < 0)
			(void)err_wrap(err, "%.200s", names.items[i].text);
	}
	return r;
}

/* ---- The whole ---- */

/* The root has an entry when its attributes are not those that any new tree's root has. */
static int pack_root(struct pack *p, int root, struct err *err)
{
	struct level level = {
		.self = {.dirfd = root, .name = "."},
		.fd = root,
		.below = p->options->below,
		.is_opaque = is_opaque(root),
	};
	struct pack_entry below = {.dirfd = p->options->below, .name = "."};
	int same = 0;

	if (fstat(root, &level.self.st) < 0)
		return err_sys(err, "stat");
	if (below.dirfd >= 0) {
		if (fstat(below.dirfd, &below.st) < 0)
			return err_sys(err, "stat");
		same = pack_is_same(p, &level.self, &below, err);
	}
	if (same < 0)
		return same;
	int r = same ? 0 : write_level(p, &level, err);
	level.is_written = true;
	return r == 0 ? pack_dir(p, &level, err) : r;
}

static int write_end(struct pack *p, struct err *err)
{
	static const char zeros[2 * TAR_BLOCK];

	int r = pack_add(p, str_from(zeros, sizeof(zeros)), err);
	return r == 0 ? pack_flush(p, err) : r;
}

int layer_pack(int root, const struct layer_pack_options *options,
	struct layer_pack_stats *ret_stats, struct err *err)
{
	cleanup(map_free) struct map *links = map_new();
	cleanup_free char *buffer = xmalloc(PACK_BUFFER);
	cleanup_free char *compared = xmalloc((size_t)2 * PACK_COMPARED);
	struct pack p = {.options = options,
		.links = links,
		.buffer = buffer,
		.compared = {compared, compared + PACK_COMPARED}};
	cleanup_close int fd = dir_reopen(root, O_RDONLY | O_DIRECTORY, err);
	int r = fd < 0 ? fd : pack_root(&p, fd, err);

	if (r == 0)
		r = write_end(&p, err);
	if (ret_stats)
		*ret_stats = p.stats;
	buf_done(&p.path);
	buf_done(&p.header);
	arena_done(&p.arena);
	return r < 0 ? err_wrap(err, "pack layer") : r;
}
