/* SPDX-License-Identifier: Apache-2.0 */
#include "tree/internal.h"

char *tree_path_clean(struct arena *a, const char *path)
{
	struct str rest = str_of(path);
	char *clean = arena_alloc(a, rest.n + 1);
	size_t n = 0;

	while (rest.p) {
		struct str part = str_cut(&rest, '/');
		if (part.n == 0 || str_is(part, "."))
			continue;
		if (str_is(part, "..")) {
			size_t slash = str_rfind(str_from(clean, n), '/');
			n = slash < n ? slash : 0;
			continue;
		}
		if (n)
			clean[n++] = '/';
		memcpy(clean + n, part.p, part.n);
		n += part.n;
	}
	clean[n] = '\0';
	return clean;
}

bool tree_path_is_clean(struct str path)
{
	if (path.n > TREE_MAX_PATH)
		return false;
	while (path.p) {
		if (!dir_is_name(str_cut(&path, '/')))
			return false;
	}
	return true;
}

int tree_path_order(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	size_t i = 0;

	while (i < n && a.p[i] == b.p[i])
		i++;
	if (i == n)
		return (a.n > b.n) - (a.n < b.n);
	/* 0 is in no path, so '/' can take its rank. */
	unsigned char x = a.p[i] == '/' ? 0 : (unsigned char)a.p[i];
	unsigned char y = b.p[i] == '/' ? 0 : (unsigned char)b.p[i];
	return x < y ? -1 : 1;
}

size_t tree_path_base(struct str path)
{
	size_t slash = str_rfind(path, '/');

	return slash < path.n ? slash + 1 : 0;
}
