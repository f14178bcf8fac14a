/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "build/internal.h"
#include "os/file.h"

#define CONTEXTS_DIR "contexts"

/* ---- directories and images ---- */

static int open_directory(struct build_context *c, struct err *err)
{
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir >= 0)
		return 0;
	if (errno == ENOTDIR)
		return err_set(err, ERR_INPUT, "%s %s is not a directory", c->place, c->path);
	(void)err_sys(err, "%s %s", c->place, c->path);
	err->kind = ERR_INPUT;
	return -ERR_INPUT;
}

static int take_image(struct build *b, struct build_context *c, struct str text,
	struct plan_context *plan, struct err *err)
{
	struct oci_reference reference;

	(void)c;
	if (oci_reference_parse(&b->arena, text, &reference, err) < 0)
		return -(int)err->kind;
	plan->image = arena_str(&b->arena, text).p;
	return 0;
}

/* What docker takes and this does not, by its beginning. */
static const struct {
	struct str start;
	const char *what, *remedy;
} refused[] = {
	{{"oci-layout://", 13}, "an OCI layout", "spaceport image import it, and name the image"},
	{{"target:", 7}, "a target of docker bake", "name a stage in the Dockerfile"},
	{{"git://", 6}, "a git repository", "clone it and name the directory"},
	{{"ssh://", 6}, "a git repository", "clone it and name the directory"},
	{{"git@", 4}, "a git repository", "clone it and name the directory"},
	{{"http://", 7}, "a URL", "fetch it and name the directory"},
	{{"https://", 8}, "a URL", "fetch it and name the directory"},
	{{"input:", 6}, "an input of docker", "name a directory or an image"},
};

static int check_where(struct str where, struct err *err)
{
	for (size_t i = 0; i < array_size(refused); i++) {
		if (!str_starts(where, refused[i].start))
			continue;
		(void)err_set(err, ERR_INPUT, "%s cannot be a build context yet", refused[i].what);
		return err_hint(err, "%s", refused[i].remedy);
	}
	return where.n ? 0 : err_set(err, ERR_INPUT, "no directory and no image is named");
}

static int take_named(struct build *b, struct build_context *c, struct str where,
	struct plan_context *plan, struct err *err)
{
	static const struct str image = {"docker-image://", 15};

	if (check_where(where, err) < 0)
		return -(int)err->kind;
	if (str_starts(where, image))
		return take_image(b, c, str_from_index(where, image.n), plan, err);
	c->path = arena_str(&b->arena, where).p;
	return open_directory(c, err);
}

static int check_name(struct str name, struct err *err)
{
	static const char *const reserved[] = {"context", "scratch"};

	for (size_t i = 0; i < array_size(reserved); i++)
		if (str_eq_nocase(name, str_of(reserved[i])))
			return err_set(err, ERR_INPUT, "the name %s is reserved", reserved[i]);
	return name.n ? 0 : err_set(err, ERR_INPUT, "it looks like NAME=DIR");
}

static int add_named(struct build *b, const char *text, struct err *err)
{
	struct str where = str_of(text), name = str_cut(&where, '=');
	struct build_context *c = &b->contexts[b->context_count];
	struct plan_context *plan = &b->plan_contexts[b->context_count - 1];

	b->context_count++;
	*c = (struct build_context){.dir = -1, .name = arena_str(&b->arena, name).p};
	c->place = arena_printf(&b->arena, "the build context %s", c->name);
	plan->name = c->name;
	int r = check_name(where.p ? name : STR(""), err);
	if (r == 0)
		r = take_named(b, c, where, plan, err);
	return r < 0 ? err_wrap(err, "--build-context %s", text) : 0;
}

int build_open_contexts(struct build *b, struct err *err)
{
	const struct argv *named = &b->options->contexts;

	b->contexts = arena_array(&b->arena, named->count + 1, sizeof(*b->contexts));
	b->plan_contexts = arena_array(&b->arena, named->count + 1, sizeof(*b->plan_contexts));
	b->contexts[0] = (struct build_context){.name = "",
		.dir = -1,
		.path = b->options->dir ? b->options->dir : ".",
		.place = "build context"};
	b->context_count = 1;
	int r = open_directory(&b->contexts[0], err);
	b->contexts[0].place = "the build context";
	for (size_t i = 0; i < named->count && r == 0; i++)
		r = add_named(b, named->items[i], err);
	return r;
}

void build_close_contexts(struct build *b)
{
	for (size_t i = 0; i < b->context_count; i++) {
		struct build_context *c = &b->contexts[i];
		if (c->dir >= 0)
			close(c->dir);
		patterns_free(c->ignore);
		tree_cache_free(c->cache);
	}
}

const struct build_context *build_context_of(const struct build *b, int dir)
{
	for (size_t i = 0; i < b->context_count; i++)
		if (b->contexts[i].dir == dir && dir >= 0)
			return &b->contexts[i];
	return NULL;
}

/* ---- .dockerignore ---- */

int build_read_text(const char *path, size_t limit, struct buf *ret, struct err *err)
{
	int r = file_read(AT_FDCWD, path, limit, ret, err);

	if (r == -ERR_LIMIT)
		return err_set(err, ERR_FAILED, "%s is larger than %zu bytes", path, limit);
	return r;
}

/* 1: the file is there. */
static int read_ignore(struct build_context *c, const char *path, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	int r = build_read_text(path, IGNORE_MAX_SIZE, &text, err);

	if (r == -ERR_MISSING) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	const struct source source = {path, buf_str(&text)};
	r = ignore_parse(&source, c->ignore, err);
	return r < 0 ? r : 1;
}

int build_read_ignores(struct build *b, const char *dockerfile, struct err *err)
{
	char *own = arena_printf(&b->arena, "%s.dockerignore", dockerfile);

	for (size_t i = 0; i < b->context_count; i++) {
		struct build_context *c = &b->contexts[i];
		if (c->dir < 0)
			continue;
		c->ignore = patterns_new();
		/* That of the Dockerfile is for the build context only, and wins there. */
		int r = i == 0 ? read_ignore(c, own, err) : 0;
		if (r == 0)
			r = read_ignore(
				c, arena_printf(&b->arena, "%s/.dockerignore", c->path), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what is remembered of their files ---- */

/* Named after the directory's real path, so that every directory has a file of its own. */
static const char *cache_name(struct build *b, const struct build_context *c)
{
	char path[PATH_MAX], hex[DIGEST_HEX_SIZE];

	if (c->dir < 0 || !realpath(c->path, path))
		return NULL;
	struct digest d = digest_of(path, strlen(path));
	return arena_strdup(&b->arena, digest_hex(&d, hex));
}

static int open_caches(const struct build *b)
{
	int data = store_data(b->store);

	(void)mkdirat(data, CONTEXTS_DIR, 0700); /* a failure shows in the next line */
	return openat(data, CONTEXTS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

void build_load_caches(struct build *b)
{
	cleanup_close int dir = open_caches(b);

	for (size_t i = 0; i < b->context_count && dir >= 0; i++) {
		const char *name = cache_name(b, &b->contexts[i]);
		if (name)
			b->contexts[i].cache = tree_cache_load(dir, name);
	}
}

void build_save_caches(struct build *b)
{
	cleanup_close int dir = open_caches(b);

	for (size_t i = 0; i < b->context_count && dir >= 0; i++) {
		struct build_context *c = &b->contexts[i];
		const char *name = c->cache ? cache_name(b, c) : NULL;
		if (name)
			/* Without it the next build is slower, and no less right. */
			ignored(tree_cache_save(c->cache, dir, name, NULL));
		tree_cache_free(c->cache);
		c->cache = NULL;
	}
}
