/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

/* Drop the last part of what has been written since `floor`. */
static void go_up(struct buf *out, size_t floor)
{
	size_t n = out->len;

	while (n > floor && out->data[n - 1] != '/')
		n--;
	buf_truncate(out, n > floor ? n - 1 : floor);
}

void path_clean(struct buf *out, struct str path)
{
	bool rooted = path.n && path.p[0] == '/';
	size_t start, floor;

	if (rooted)
		buf_add_char(out, '/');
	start = floor = out->len;
	for (struct str rest = path; rest.p;) {
		struct str part = str_cut(&rest, '/');
		if (!part.n || str_is(part, "."))
			continue;
		bool up = str_is(part, "..");
		if (up && out->len > floor) {
			go_up(out, floor);
			continue;
		}
		if (up && rooted)
			continue;
		if (out->len > start)
			buf_add_char(out, '/');
		buf_add_str(out, part);
		/* Leading ".." of a relative path are not taken back. */
		if (up)
			floor = out->len;
	}
	if (!rooted && out->len == start)
		buf_add_char(out, '.');
}

char *path_join(struct arena *a, struct str dir, struct str path)
{
	cleanup(buf_done) struct buf whole = {0}, out = {0};

	if (!path.n || path.p[0] != '/') {
		buf_add_str(&whole, dir);
		buf_add_char(&whole, '/');
	}
	buf_add_str(&whole, path);
	path_clean(&out, buf_str(&whole));
	return arena_strdup(a, buf_text(&out));
}

struct str path_base(struct str path)
{
	while (path.n > 1 && path.p[path.n - 1] == '/')
		path.n--;
	size_t slash = str_rfind(path, '/');

	return slash < path.n && path.n > 1 ? str_from_index(path, slash + 1) : path;
}
