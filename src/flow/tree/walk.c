/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "base/alloc.h"
#include "tree/internal.h"

/*
 * Depth first, names sorted, one open descriptor for each directory on the way down and no
 * path ever looked up twice: a name is examined and entered relative to its directory's
 * descriptor and without following links.
 */
struct walker {
	struct tree_selection *s;
	const struct tree_select_options *options;
	const struct tree_keep *keep;
	struct buf path;   /* of the current entry, below the selection's root */
	size_t source_len; /* bytes of it that are not part of a path in the source */
	int depth;
};

static void walker_done(struct walker *w)
{
	buf_done(&w->path);
}

DEFINE_CLEANUP_VALUE(struct walker, walker_done);

/* What the filters know of a directory: flags of .dockerignore, of --exclude, of --parents. */
struct level {
	int fd;
	const bool *ignore, *exclude, *keep; /* NULL above a source's root */
};

struct name {
	const char *text;
	unsigned char type; /* DT_… */
};

struct listing {
	struct name *names;
	size_t count, cap;
	struct arena texts;
};

static void listing_done(struct listing *l)
{
	free(l->names);
	arena_done(&l->texts);
}

DEFINE_CLEANUP_VALUE(struct listing, listing_done);

static int by_bytes(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return strcmp(x->text, y->text);
}

static int list_sorted(int fd, struct listing *ret)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	if (copy < 0)
		return -1;
	cleanup_closedir DIR *dir = fdopendir(copy);
	if (!dir) {
		close(copy);
		return -1;
	}
	while ((errno = 0, entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		ret->names = xgrow(ret->names, &ret->cap, ret->count + 1, sizeof(*ret->names));
		ret->names[ret->count++] =
			(struct name){arena_strdup(&ret->texts, entry->d_name), entry->d_type};
	}
	if (errno)
		return -1;
	if (ret->count)
		qsort(ret->names, ret->count, sizeof(*ret->names), by_bytes);
	return 0;
}

static int cannot_read(const struct walker *w, const char *what, struct err *err)
{
	int sys = errno;

	(void)err_sys(err, "%s: %s %s", w->s->place, what, buf_text(&w->path));
	if (sys == EACCES || sys == EPERM)
		(void)err_hint(err, "make it readable, or list it in .dockerignore");
	return -(int)err->kind;
}

static int walk_dir(struct walker *w, const struct level *parent, struct err *err);

/* The directory of the node added last; its contents, its attributes. */
static int descend(struct walker *w, const struct level *parent, const char *name,
	const bool *states, struct err *err)
{
	const bool *exclude = states + w->options->ignore.states;
	struct level level = {
		.ignore = states, .exclude = exclude, .keep = exclude + w->options->exclude.states};
	cleanup_close int fd =
		openat(parent->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return cannot_read(w, "open directory", err);
	if (w->depth >= TREE_MAX_DEPTH)
		return err_set(err, ERR_LIMIT, "%s: more than %d directories below each other: %s",
			w->s->place, TREE_MAX_DEPTH, buf_text(&w->path));
	struct node *node = &w->s->nodes[w->s->count - 1];
	if (tree_xattrs_read(&w->s->arena, fd, &node->xattrs, &node->xattr_count, err) < 0)
		return err_wrap(err, "%s: %s", w->s->place, buf_text(&w->path));
	level.fd = fd;
	w->depth++;
	int r = walk_dir(w, &level, err);
	w->depth--;
	return r;
}

/* Adds the entry that w->path names; *ret_is_dir whether to go on below it. */
static int add_entry(struct walker *w, const struct level *level, const char *name,
	bool *ret_is_dir, struct err *err)
{
	struct tree_selection *s = w->s;
	char target[PATH_MAX];
	struct stat st;
	ssize_t n = 0;

	*ret_is_dir = false;
	if (fstatat(level->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : cannot_read(w, "stat", err);
	if (S_ISLNK(st.st_mode) && (n = readlinkat(level->fd, name, target, sizeof(target))) < 0)
		return errno == ENOENT ? 0 : cannot_read(w, "read link", err);
	if (w->path.len > TREE_MAX_PATH || n == sizeof(target))
		return err_set(err, ERR_LIMIT, "%s: path longer than %d bytes: %.100s...", s->place,
			TREE_MAX_PATH, buf_text(&w->path));
	const char *real = arena_str(&s->arena, buf_str(&w->path)).p;
	if (tree_selection_add(s, &st, real, real + w->source_len, err) < 0)
		return -(int)err->kind;
	if (S_ISLNK(st.st_mode))
		s->nodes[s->count - 1].target = arena_str(&s->arena, str_from(target, (size_t)n)).p;
	*ret_is_dir = S_ISDIR(st.st_mode);
	return 0;
}

static enum verdict ask(struct walker *w, const struct level *level, bool *states)
{
	const struct tree_select_options *o = w->options;
	const char *path = buf_text(&w->path), *below = path + w->source_len;
	bool *exclude_states = states + o->ignore.states;
	enum verdict ignore = tree_filter_ask(&o->ignore, path, level->ignore, states);
	enum verdict exclude = tree_filter_ask(&o->exclude, below, level->exclude, exclude_states);
	enum verdict keep =
		tree_keep_ask(w->keep, below, level->keep, exclude_states + o->exclude.states);

	if (ignore == LEAVE || exclude == LEAVE || keep == LEAVE)
		return LEAVE;
	return ignore == TAKE && exclude == TAKE && keep == TAKE ? TAKE : LOOK_BELOW;
}

static int walk_name(struct walker *w, const struct level *level, const struct name *name,
	bool *states, struct err *err)
{
	enum verdict verdict = ask(w, level, states);
	size_t before = w->s->count;
	bool is_dir;

	if (verdict == LEAVE ||
		(verdict == LOOK_BELOW && name->type != DT_DIR && name->type != DT_UNKNOWN))
		return 0;
	if (add_entry(w, level, name->text, &is_dir, err) < 0)
		return -(int)err->kind;
	if (is_dir && descend(w, level, name->text, states, err) < 0)
		return -(int)err->kind;
	/* A left-out directory is there only to hold what was not left out. */
	if (verdict == LOOK_BELOW && w->s->count <= before + 1)
		w->s->count = before;
	return 0;
}

static int walk_dir(struct walker *w, const struct level *level, struct err *err)
{
	cleanup(listing_done) struct listing listing = {0};
	size_t len = w->path.len;
	size_t states = w->options->ignore.states + w->options->exclude.states +
			(w->keep ? w->keep->filter.states : 0);
	cleanup_free bool *state = xcalloc(states + 1, sizeof(bool));

	if (list_sorted(level->fd, &listing) < 0)
		return cannot_read(w, "list directory", err);
	for (size_t i = 0; i < listing.count; i++) {
		if (len)
			buf_add_char(&w->path, '/');
		buf_add_text(&w->path, listing.names[i].text);
		int r = walk_name(w, level, &listing.names[i], state, err);
		if (r < 0)
			return r;
		buf_truncate(&w->path, len);
	}
	return 0;
}

int tree_walk(struct tree_selection *s, int fd, const struct tree_select_options *options,
	const struct tree_keep *keep, struct err *err)
{
	struct node *top = &s->nodes[s->count - 1];
	cleanup(walker_done) struct walker w = {.s = s, .options = options, .keep = keep};
	cleanup_free bool *state = xcalloc(options->ignore.states + 1, sizeof(bool));
	struct level level = {.fd = fd};

	buf_add_text(&w.path, top->real);
	w.source_len = w.path.len ? w.path.len + 1 : 0;
	if (tree_xattrs_read(&s->arena, fd, &top->xattrs, &top->xattr_count, err) < 0)
		return err_wrap(err, "%s: %s", s->place, top->real);
	if (w.path.len) {
		(void)tree_filter_ask_whole(&options->ignore, top->real, state); /* asked already */
		level.ignore = state;
	}
	return walk_dir(&w, &level, err);
}
