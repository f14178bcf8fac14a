/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/map.h"
#include "tree/internal.h"

enum { ENTRIES_BETWEEN_CHECKS = 256 };

struct selecting {
	struct tree_selection *s;
	const struct tree_select_options *options;
	const struct tree_keep *keep; /* of the current source; NULL: it is taken whole */
};

void tree_selection_free(struct tree_selection *s)
{
	if (!s)
		return;
	if (s->root >= 0)
		close(s->root);
	free(s->nodes);
	arena_done(&s->arena);
	free(s);
}

size_t tree_selection_count(const struct tree_selection *s)
{
	return s->count;
}

uint64_t tree_selection_bytes(const struct tree_selection *s)
{
	return s->bytes;
}

int tree_selection_go_on(const struct tree_selection *s, struct err *err)
{
	return s->is_cancelled && s->is_cancelled(s->arg) ? err_set(err, ERR_CANCELLED, "cancelled")
							  : 0;
}

int tree_selection_add(struct tree_selection *s, const struct stat *st, const char *real,
	const char *path, struct err *err)
{
	bool is_socket = S_ISSOCK(st->st_mode);
	bool is_device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);

	if (s->count >= s->max_entries) {
		(void)err_set(err, ERR_LIMIT, "%s: more than %llu files", s->place,
			(unsigned long long)s->max_entries);
		return err_hint(err, "list what the image does not need in .dockerignore");
	}
	if (s->count % ENTRIES_BETWEEN_CHECKS == 0 && tree_selection_go_on(s, err) < 0)
		return -(int)ERR_CANCELLED;
	s->nodes = xgrow(s->nodes, &s->cap, s->count + 1, sizeof(*s->nodes));
	s->nodes[s->count++] = (struct node){
		.real = real,
		.path = path,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.rdev = is_device ? st->st_rdev : 0,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.mtime = stat_ns(&st->st_mtim),
		.changed = stat_ns(&st->st_ctim),
		.mode = is_socket ? S_IFREG | (st->st_mode & 07777) : st->st_mode,
		.uid = s->keep_owner ? st->st_uid : 0,
		.gid = s->keep_owner ? st->st_gid : 0,
		.link = S_ISREG(st->st_mode) && st->st_nlink > 1,
		.is_socket = is_socket,
	};
	return 0;
}

/* ---- Missing sources ---- */

/* Does .dockerignore leave the path out, all that is below it included? */
static bool is_ignored(const struct selecting *c, const char *path)
{
	return tree_filter_ask_whole(&c->options->ignore, path, NULL) == LEAVE;
}

/* A name in the same directory that differs in upper and lower case only; the caller frees. */
static char *similar_name(int root, const char *path)
{
	struct str whole = str_of(path);
	size_t base = tree_path_base(whole);
	cleanup_free char *parent = str_dup(str_slice(whole, 0, base));
	int fd = dir_open_in_root(root, *parent ? parent : ".", O_RDONLY | O_DIRECTORY, 0, NULL);
	cleanup_closedir DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir))) {
		if (str_eq_nocase(str_of(entry->d_name), str_from_index(whole, base)))
			return xprintf("%s%s", parent, entry->d_name);
	}
	return NULL;
}

static int not_found(const struct selecting *c, const char *path, bool ignored, struct err *err)
{
	cleanup_free char *similar = ignored ? NULL : similar_name(c->s->root, path);

	(void)err_set(err, ERR_MISSING, "\"%s\" not found in %s", path, c->s->place);
	if (ignored)
		(void)err_hint(err,
			".dockerignore leaves it out: take it off that list, or add "
			"the line !%s",
			path);
	else if (similar)
		(void)err_hint(err, "did you mean \"%s\"?", similar);
	return -(int)err->kind;
}

/* ---- One source ---- */

static int add_directory(const struct selecting *c, const char *real, struct err *err)
{
	cleanup_close int fd =
		dir_open_beneath(c->s->root, *real ? real : ".", O_RDONLY | O_DIRECTORY, 0, err);

	if (fd >= 0)
		return tree_walk(c->s, fd, c->options, c->keep, err);
	(void)err_wrap(err, "%s", c->s->place);
	if (err->kind == ERR_DENIED)
		(void)err_hint(err, "make it readable, or list it in .dockerignore");
	return -(int)err->kind;
}

/* What is at the real path; path: what was asked for. */
static int add_found(const struct selecting *c, const char *real, const char *path, struct err *err)
{
	struct tree_selection *s = c->s;
	struct stat st;
	const char *base = path + tree_path_base(str_of(path));
	int flags = O_PATH | O_NOFOLLOW;
	cleanup_close int fd = dir_open_beneath(s->root, *real ? real : ".", flags, 0, err);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", real);
	/* It was no link when its path was resolved. */
	if (S_ISLNK(st.st_mode))
		return tree_changed(s, real, err);
	bool is_dir = S_ISDIR(st.st_mode);
	if (!is_dir && c->keep && c->keep->filter.matches)
		return 0; /* nothing is below a file */
	if (!is_dir && tree_filter_ask(&c->options->exclude, base, NULL,
			       arena_array(&s->arena, c->options->exclude.states + 1,
				       sizeof(bool))) != TAKE)
		return 0;
	if (tree_selection_add(s, &st, real, is_dir ? "" : base, err) < 0)
		return -(int)err->kind;
	s->nodes[s->count - 1].is_source = true;
	return is_dir ? add_directory(c, real, err) : 0;
}

/*
 * must_exist: it was named, not found by a wildcard; what .dockerignore leaves out is then an
 * error.
 */
static int add_path(const struct selecting *c, const char *path, bool must_exist, struct err *err)
{
	struct tree_selection *s = c->s;
	cleanup(buf_done) struct buf real = {0};
	size_t before = s->count;

	if (is_ignored(c, path))
		return must_exist ? not_found(c, path, true, err) : 0;
	int r = dir_resolve(s->root, path, &real, err);
	if (r < 0)
		return err->sys == ENOENT || err->sys == ENOTDIR ? not_found(c, path, false, err)
								 : err_wrap(err, "%s", s->place);
	const char *text = arena_str(&s->arena, buf_str(&real)).p;
	enum verdict verdict = tree_filter_ask_whole(&c->options->ignore, text, NULL);
	if (verdict == LEAVE)
		return must_exist ? not_found(c, path, true, err) : 0;
	if (add_found(c, text, path, err) < 0)
		return -(int)err->kind;
	if (c->keep && c->keep->must_find && s->count <= before + 1)
		return not_found(c, c->keep->must_find, false, err);
	if (verdict == TAKE || s->count > before + 1)
		return 0;
	/* A left-out directory with nothing in it that an exception brings back. */
	s->count = before;
	return must_exist ? not_found(c, path, true, err) : 0;
}

/* ---- Wildcards ---- */

static bool has_wildcard(struct str part)
{
	for (size_t i = 0; i < part.n; i++) {
		if (part.p[i] == '\\')
			i++;
		else if (strchr("*?[", part.p[i]))
			return true;
	}
	return false;
}

struct match_list {
	char **paths;
	size_t count, cap;
};

static int by_path(const void *a, const void *b)
{
	char *const *x = a, *const *y = b;

	return tree_path_order(str_of(*x), str_of(*y));
}

/* Adds dir/NAME to the list for every name in the real directory that fits the pattern. */
static int match_in(const struct selecting *c, const char *dir, struct str pattern,
	struct match_list *list, struct err *err)
{
	struct arena *a = &c->s->arena;
	int flags = O_RDONLY | O_DIRECTORY;
	int fd = dir_open_beneath(c->s->root, *dir ? dir : ".", flags, 0, err);
	struct dirent *entry;

	/* A file, or a link, has nothing below it. */
	if (fd < 0)
		return err->sys == ENOTDIR || err->sys == ELOOP || err->sys == ENOENT
			       ? 0
			       : err_wrap(err, "%s", c->s->place);
	cleanup_closedir DIR *listing = fdopendir(fd);
	if (!listing) {
		close(fd);
		return err_sys(err, "%s: list directory %s", c->s->place, dir);
	}
	while ((errno = 0, entry = readdir(listing))) {
		struct str name = str_of(entry->d_name);
		if (str_is(name, ".") || str_is(name, "..") || !c->options->wildcard(pattern, name))
			continue;
		char *path = arena_printf(a, "%s%s%s", dir, *dir ? "/" : "", entry->d_name);
		if (is_ignored(c, path))
			continue;
		list->paths = arena_grow(a, list->paths, list->count, &list->cap, sizeof(char *));
		list->paths[list->count++] = path;
	}
	return errno ? err_sys(err, "%s: list directory %s", c->s->place, dir) : 0;
}

/* `dir` is a path without links, `rest` begins with a part that has a wildcard. */
static int add_matches(const struct selecting *c, const char *dir, struct str rest, struct err *err)
{
	struct match_list found = {0};

	if (dir) {
		found.paths = arena_grow(&c->s->arena, NULL, 0, &found.cap, sizeof(char *));
		found.paths[found.count++] = arena_strdup(&c->s->arena, dir);
	}
	while (rest.p) {
		struct match_list below = {0};
		struct str part = str_cut(&rest, '/');
		for (size_t i = 0; i < found.count; i++) {
			if (match_in(c, found.paths[i], part, &below, err) < 0)
				return -(int)err->kind;
		}
		found = below;
	}
	if (found.count)
		qsort(found.paths, found.count, sizeof(char *), by_path);
	for (size_t i = 0; i < found.count; i++) {
		if (add_path(c, found.paths[i], false, err) < 0)
			return -(int)err->kind;
	}
	return 0;
}

static int add_source(const struct selecting *c, const char *source, struct err *err)
{
	const char *path = tree_path_clean(&c->s->arena, source);
	struct str whole = str_of(path), rest = whole;

	while (rest.p && c->options->wildcard) {
		struct str from_here = rest;
		if (!has_wildcard(str_cut(&rest, '/')))
			continue;
		/* What stands before the first wildcard may be a link; what is found is not. */
		cleanup(buf_done) struct buf real = {0};
		size_t at = (size_t)(from_here.p - whole.p);
		cleanup_free char *before = str_dup(str_slice(whole, 0, at));
		if (dir_resolve(c->s->root, before, &real, err) < 0)
			return err->sys == ENOENT || err->sys == ENOTDIR
				       ? 0
				       : err_wrap(err, "%s", c->s->place);
		return add_matches(c, buf_text(&real), from_here, err);
	}
	return add_path(c, path, true, err);
}

/* Nodes that are one file get the number of the first; the bytes are summed up. */
static void number_links(struct tree_selection *s)
{
	cleanup(map_free) struct map *seen = map_new();

	for (size_t i = 0; i < s->count; i++) {
		struct node *node = &s->nodes[i];
		s->bytes += node->size;
		if (!node->link)
			continue;
		uint64_t id[2] = {node->dev, node->ino};
		struct str key = str_from((const char *)id, sizeof(id));
		struct node *first = map_find(seen, key);
		if (!first)
			(void)map_set(seen, key, node); /* replaces nothing */
		node->link = first ? first->link : (uint32_t)(i + 1);
	}
}

int tree_select(int root, const char *const *sources, size_t count,
	const struct tree_select_options *options, struct tree_selection **ret, struct err *err)
{
	struct err local = {0};
	cleanup(tree_selection_free) struct tree_selection *s = xcalloc(1, sizeof(*s));
	struct selecting c = {.s = s, .options = options};

	err = err ? err : &local;
	s->root = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0)
		return err_sys(err, "open directory");
	s->keep_owner = options->keep_owner;
	s->is_cancelled = options->is_cancelled;
	s->arg = options->arg;
	s->place = arena_strdup(&s->arena, options->place ? options->place : "the build context");
	s->max_entries = options->max_entries ? options->max_entries : TREE_MAX_ENTRIES;
	for (size_t i = 0; i < count; i++) {
		c.keep = options->keep ? &options->keep[i] : NULL;
		if (add_source(&c, sources[i], err) < 0)
			return -(int)err->kind;
	}
	number_links(s);
	*ret = take_ptr(s);
	return 0;
}
