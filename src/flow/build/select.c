/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>

#include "build/internal.h"

/*
 * What a step takes from a tree: the words of the Dockerfile as filters of `tree`, by the
 * patterns of `dockerfile`.
 */

static bool matches(const void *arg, struct str path, const bool *parent, bool *state)
{
	return patterns_match_in(arg, path, parent, state);
}

static bool may_except(const void *arg, struct str dir)
{
	return patterns_may_except_below(arg, dir);
}

static bool may_match(const void *arg, struct str dir)
{
	return patterns_may_match_below(arg, dir);
}

static struct tree_filter filter_of(const struct patterns *p)
{
	if (!p || patterns_count(p) == 0)
		return (struct tree_filter){0};
	return (struct tree_filter){.arg = p,
		.states = patterns_count(p),
		.matches = matches,
		.may_except_below = may_except};
}

static bool is_cancelled(const void *arg)
{
	const struct build *b = arg;
	struct pollfd poll_fd = {.fd = b->options->cancel_fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) > 0; /* a negative descriptor is never ready */
}

struct selecting {
	struct build *b;
	const char **sources;
	size_t count;
	struct tree_select_options options;
	struct patterns *exclude;
	struct tree_keep *keep; /* one for each source, */
	struct patterns **kept; /* with its pattern */
};

static void selecting_done(struct selecting *s)
{
	for (size_t i = 0; s->kept && i < s->count; i++)
		patterns_free(s->kept[i]);
	patterns_free(s->exclude);
}

DEFINE_CLEANUP_VALUE(struct selecting, selecting_done);

static int add_excludes(struct selecting *s, const struct plan_copy *copy, struct err *err)
{
	s->exclude = patterns_new();
	for (size_t i = 0; i < copy->excludes.count; i++) {
		int r = patterns_add(s->exclude, str_of(copy->excludes.items[i]), err);
		if (r < 0)
			return r;
	}
	s->options.exclude = filter_of(s->exclude);
	return 0;
}

/* A pattern with wildcards may match nothing, a path has to be there. */
static const char *must_find(struct arena *a, const struct plan_path *path)
{
	bool at_root = strcmp(path->path, "/") == 0;

	if (has_wildcard(str_of(path->path)) || has_wildcard(str_of(path->keep)))
		return NULL;
	return arena_printf(
		a, "%s%s%s", at_root ? "" : path->path + 1, at_root ? "" : "/", path->keep);
}

static int add_keep(struct selecting *s, const struct plan_copy *copy, struct err *err)
{
	s->keep = arena_array(&s->b->arena, s->count + 1, sizeof(*s->keep));
	s->kept = arena_array(&s->b->arena, s->count + 1, sizeof(struct patterns *));
	for (size_t i = 0; i < s->count; i++) {
		const struct plan_path *path = &copy->sources[i];
		if (!*path->keep)
			continue;
		s->kept[i] = patterns_new();
		int r = patterns_add(s->kept[i], str_of(path->keep), err);
		if (r < 0)
			return r;
		s->keep[i].filter = filter_of(s->kept[i]);
		s->keep[i].filter.may_except_below = may_match;
		s->keep[i].must_find = must_find(&s->b->arena, path);
	}
	s->options.keep = s->keep;
	return 0;
}

size_t plan_copy_paths(const struct plan_copy *copy)
{
	size_t n = 0;

	for (size_t i = 0; i < copy->source_count; i++)
		n += copy->sources[i].kind == PLAN_PATH;
	return n;
}

static int add_copy(struct selecting *s, const struct plan_copy *copy, struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < copy->source_count; i++)
		if (copy->sources[i].kind == PLAN_PATH)
			s->sources[n++] = copy->sources[i].path;
	s->options.wildcard = wildcard_match;
	int r = add_excludes(s, copy, err);
	return r < 0 || !copy->parents ? r : add_keep(s, copy, err);
}

int build_select(struct build *b, const struct plan_op *op, const struct plan_mount *mount,
	int root, struct tree_selection **ret, struct err *err)
{
	const struct build_context *context = build_context_of(b, root);
	cleanup(selecting_done) struct selecting s = {
		.b = b,
		.count = mount ? 1 : plan_copy_paths(op->copy),
		.options = {.ignore = filter_of(context ? context->ignore : NULL),
			.keep_owner = !context,
			.place = context ? context->place : "the stage or image it is copied from",
			.is_cancelled = is_cancelled,
			.arg = b},
	};
	int r = 0;

	s.sources = arena_array(&b->arena, s.count + 1, sizeof(*s.sources));
	if (mount)
		s.sources[0] = mount->source;
	else
		r = add_copy(&s, op->copy, err);
	return r < 0 ? r : tree_select(root, s.sources, s.count, &s.options, ret, err);
}
