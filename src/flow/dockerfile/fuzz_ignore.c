/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

/*
 * Is the path one that a walker could come by: relative, without empty parts, no deeper than
 * the room tree goes?
 */
static bool is_clean(struct str path)
{
	enum { MAX_DEPTH = 200 };
	size_t parts = 0;

	if (!path.n)
		return false;
	for (struct str rest = path; rest.p; parts++)
		if (!str_cut(&rest, '/').n)
			return false;
	return parts <= MAX_DEPTH;
}

/*
 * A walker that does not descend where no exception can match must find the same files as one
 * that looks at everything.
 */
static void check_walk(const struct patterns *p, struct str path)
{
	bool ignored = patterns_match(p, path);

	for (size_t i = 0; i < path.n; i++) {
		struct str dir = str_slice(path, 0, i);
		if (path.p[i] == '/' && !ignored && patterns_match(p, dir))
			require(patterns_may_except_below(p, dir));
	}
}

/* The file, a NUL, and a path that is matched. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(patterns_free) struct patterns *p = patterns_new();
	struct str text = str_from((const char *)data, size);
	size_t nul = str_find(text, '\0');
	struct source source = {".dockerignore", str_slice(text, 0, nul)};
	struct str path = str_from_index(text, nul + 1);
	struct err err = {0};

	if (str_find(path, '\0') < path.n)
		return 0;
	(void)wildcard_match(source.text, path);
	if (wildcard_check(source.text, &err))
		require(err.kind == ERR_INPUT);
	if (ignore_parse(&source, p, &err)) {
		require(err.text[0] != '\0');
		return 0;
	}
	if (is_clean(path))
		check_walk(p, path);
	return 0;
}
