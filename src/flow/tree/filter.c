/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "tree/internal.h"

enum verdict tree_filter_ask(
	const struct tree_filter *f, const char *path, const bool *parent, bool *state)
{
	if (!f->matches || !f->matches(f->arg, str_of(path), parent, state))
		return TAKE;
	if (f->may_except_below && f->may_except_below(f->arg, str_of(path)))
		return LOOK_BELOW;
	return LEAVE;
}

enum verdict tree_keep_ask(
	const struct tree_keep *keep, const char *path, const bool *parent, bool *state)
{
	const struct tree_filter *f = keep ? &keep->filter : NULL;

	if (!f || !f->matches || f->matches(f->arg, str_of(path), parent, state))
		return TAKE;
	if (f->may_except_below && f->may_except_below(f->arg, str_of(path)))
		return LOOK_BELOW;
	return LEAVE;
}

enum verdict tree_filter_ask_whole(const struct tree_filter *f, const char *path, bool *state)
{
	size_t size = f->states + 1;
	cleanup_free char *prefix = xstrdup(path);
	cleanup_free bool *parent = xcalloc(size, sizeof(bool));
	cleanup_free bool *own = xcalloc(size, sizeof(bool));
	const bool *above = NULL;

	if (!f->matches || !*path)
		return TAKE;
	for (char *slash = strchr(prefix, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)f->matches(f->arg, str_of(prefix), above, own); /* for the state only */
		memcpy(parent, own, size * sizeof(bool));
		above = parent;
		*slash = '/';
	}
	enum verdict verdict = tree_filter_ask(f, path, above, own);
	if (state)
		memcpy(state, own, f->states * sizeof(bool));
	return verdict;
}
