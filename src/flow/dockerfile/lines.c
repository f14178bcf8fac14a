/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

static const char BOM[] = "\xef\xbb\xbf";

struct span logical_span(const struct logical *l, size_t at, size_t len)
{
	size_t low = 0, high = l->segment_count;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (l->segments[mid].at <= at)
			low = mid;
		else
			high = mid;
	}
	const struct segment *s = &l->segments[low];
	unsigned col = s->col + (unsigned)(at - s->at);
	struct span span = {s->line, col, s->line, col + (unsigned)len};
	if (low + 1 < l->segment_count && at + len > s[1].at && at < s[1].at) {
		struct span last = logical_span(l, at + len - 1, 1);
		span.end_line = last.line;
		span.end_col = last.end_col;
	}
	return span;
}

struct reader reader_of(struct arena *a, const struct source *source)
{
	return (struct reader){.arena = a, .source = source, .escape = '\\', .in_directives = true};
}

int reader_line(struct reader *r, struct str *ret, struct err *err)
{
	struct str rest = str_from_index(r->source->text, r->at);

	if (!rest.n)
		return 0;
	size_t len = str_find(rest, '\n');
	r->line++;
	if (len > DOCKERFILE_MAX_LINE) {
		struct span span = {.line = r->line, .col = 1};
		return source_error(err, ERR_LIMIT, r->source, span,
			"a line of %zu bytes, at most %d are allowed", len, DOCKERFILE_MAX_LINE);
	}
	*ret = str_slice(rest, 0, len);
	r->at += len < rest.n ? len + 1 : len;
	return 1;
}

static struct str without_cr(struct str line)
{
	while (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool is_comment(struct str line)
{
	line = str_trim_left(line);
	return line.n && line.p[0] == '#';
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* "# key = value"; false when it has not this form. */
static bool split_directive(struct str line, struct str *ret_key, struct str *ret_value)
{
	struct str rest = str_trim(str_from_index(line, 1));
	size_t n = 0;

	while (n < rest.n && is_alnum(rest.p[n]))
		n++;
	*ret_key = str_slice(rest, 0, n);
	rest = str_trim_left(str_from_index(rest, n));
	if (!n || !rest.n || rest.p[0] != '=')
		return false;
	*ret_value = str_trim(str_from_index(rest, 1));
	return ret_value->n > 0;
}

static struct span span_in_line(const struct reader *r, struct str part)
{
	/* part lies in the line that ends just before r->at. */
	size_t at = (size_t)(part.p - r->source->text.p);
	size_t start = str_rfind(str_slice(r->source->text, 0, at), '\n');

	start = start == at ? 0 : start + 1;
	unsigned col = (unsigned)(at - start) + 1;
	return (struct span){r->line, col, r->line, col + (unsigned)part.n};
}

static int set_escape(struct reader *r, struct str value, struct err *err)
{
	if (!str_is(value, "\\") && !str_is(value, "`"))
		return source_error(err, ERR_INPUT, r->source, span_in_line(r, value),
			"escape must be \\ or `, not %.*s", STR_ARG(value));
	r->escape = value.p[0];
	r->escape_seen = true;
	return 0;
}

/*
 * Directives come first: any other line, an empty one too, ends their zone. Keys are read
 * without regard to case; a key twice is an error.
 */
static int read_directive(struct reader *r, struct str line, struct err *err)
{
	struct str key = {0}, value = {0};

	if (r->line == 1 && str_starts(line, STR("#!"))) {
		r->after_shebang = true;
		return 0;
	}
	if (!line.n || line.p[0] != '#' || !split_directive(line, &key, &value)) {
		r->in_directives = false;
		return 0;
	}
	bool is_escape = str_eq_nocase(key, STR("escape"));
	bool is_syntax = str_eq_nocase(key, STR("syntax"));
	bool is_check = str_eq_nocase(key, STR("check"));
	if (!is_escape && !is_syntax && !is_check) {
		r->in_directives = false;
		return 0;
	}
	if ((is_escape && r->escape_seen) || (is_syntax && r->syntax.n) || (is_check && r->check.n))
		return source_error(err, ERR_INPUT, r->source, span_in_line(r, key),
			"the %.*s directive is given twice", STR_ARG(key));
	r->directive_line = r->line;
	if (is_escape && r->after_shebang)
		return 0;
	if (is_escape)
		return set_escape(r, value, err);
	if (is_check) {
		r->check = value;
		r->check_span = span_in_line(r, value);
		return 0;
	}
	r->syntax = value;
	r->syntax_span = span_in_line(r, value);
	return 0;
}

/* Cut a continuation off the end of the line: the escape, alone or after another byte. */
static bool cut_continuation(struct str *line, char escape)
{
	size_t n = line->n;

	while (n && (line->p[n - 1] == ' ' || line->p[n - 1] == '\t'))
		n--;
	if (!n || line->p[n - 1] != escape || (n > 1 && line->p[n - 2] == escape))
		return false;
	line->n = n - 1;
	return true;
}

struct join {
	struct buf *text;
	struct segment *segments;
	size_t count, cap;
};

static void join_add(struct reader *r, struct join *j, struct str part)
{
	j->segments = arena_grow(r->arena, j->segments, j->count, &j->cap, sizeof(*j->segments));
	struct span span = span_in_line(r, part);
	j->segments[j->count++] = (struct segment){j->text->len, span.line, span.col};
	buf_add_str(j->text, part);
}

/* The lines after one that ended in a continuation. */
static int join_rest(struct reader *r, struct join *j, struct logical *ret, struct err *err)
{
	bool more = true;
	struct str line = {0};
	int got;

	while (more && (got = reader_line(r, &line, err)) != 0) {
		if (got < 0)
			return got;
		if (is_comment(line))
			continue;
		line = without_cr(line);
		if (!str_trim(line).n) {
			ret->has_blank_line = true;
			continue;
		}
		ret->last_line = r->line;
		more = cut_continuation(&line, r->escape);
		join_add(r, j, line);
	}
	return 0;
}

/* The next physical line that is more than a comment; directives are taken on the way. */
static int first_line(struct reader *r, struct str *ret, struct err *err)
{
	struct str line = {0};
	int got, failed;

	while ((got = reader_line(r, &line, err)) > 0) {
		if (r->line == 1 && str_starts(line, str_of(BOM)))
			line = str_from_index(line, sizeof(BOM) - 1);
		line = str_trim_left(without_cr(line));
		if (r->in_directives && (failed = read_directive(r, line, err)))
			return failed;
		if (line.n && line.p[0] != '#') {
			*ret = line;
			return 1;
		}
	}
	return got;
}

int reader_next(struct reader *r, struct logical *ret, struct err *err)
{
	struct str line = {0};
	int got = first_line(r, &line, err);

	if (got <= 0)
		return got;
	ret->last_line = r->line;
	ret->has_blank_line = false;
	if (!cut_continuation(&line, r->escape)) {
		struct segment *only = arena_alloc(r->arena, sizeof(*only));
		struct span span = span_in_line(r, line);
		*only = (struct segment){0, span.line, span.col};
		ret->text = line;
		ret->segments = only;
		ret->segment_count = 1;
		return 1;
	}
	cleanup(buf_done) struct buf text = {0};
	struct join j = {.text = &text};
	join_add(r, &j, line);
	int failed = join_rest(r, &j, ret, err);
	if (failed)
		return failed;
	ret->text = arena_str(r->arena, buf_str(&text));
	ret->segments = j.segments;
	ret->segment_count = j.count;
	return 1;
}
