/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

/* Trim, make clean and relative to the context; the '!' stays in front. */
static void normalise(struct str line, struct buf *ret)
{
	bool exception = str_starts(line, STR("!"));
	struct str pattern = exception ? str_trim(str_from_index(line, 1)) : line;
	size_t start;

	if (exception)
		buf_add_char(ret, '!');
	start = ret->len;
	if (pattern.n)
		path_clean(ret, pattern);
	if (ret->len > start + 1 && ret->data[start] == '/') {
		memmove(ret->data + start, ret->data + start + 1, ret->len - start - 1);
		buf_truncate(ret, ret->len - 1);
	}
}

int ignore_parse(const struct source *source, struct patterns *p, struct err *err)
{
	cleanup(buf_done) struct buf pattern = {0};
	struct span span = {.col = 1};
	struct err why = {0};
	struct str rest = source->text;

	if (rest.n > IGNORE_MAX_SIZE)
		return err_set(err, ERR_LIMIT, "%s has %zu bytes, at most %d are allowed",
			source->name, rest.n, IGNORE_MAX_SIZE);
	if (str_starts(rest, STR("\xef\xbb\xbf")))
		rest = str_from_index(rest, 3);
	while (rest.p) {
		struct str line = str_cut(&rest, '\n');
		span.line++;
		/* Only a '#' in the first column makes a comment. */
		if (str_starts(line, STR("#")) || !str_trim(line).n)
			continue;
		buf_clear(&pattern);
		normalise(str_trim(line), &pattern);
		if (patterns_add(p, buf_str(&pattern), &why))
			return source_error(err, why.kind, source, span, "%s", why.text);
	}
	return 0;
}
