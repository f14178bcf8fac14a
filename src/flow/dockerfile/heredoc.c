/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "dockerfile/internal.h"

static size_t count_quotes(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\'' || s.p[i] == '"';
	return n;
}

/*
 * The name is read once with and once without its quotes: where that makes a difference, a
 * part of it was quoted and the body is left alone. Always with '\' as the escape, whatever
 * the directive says.
 */
static bool parse_name(struct arena *a, struct str text, struct heredoc *ret)
{
	struct expansion how = {.escape = '\\', .mode = EXPAND_KEEP_UNSET};
	struct str *plain, *raw;
	size_t plain_count, raw_count;

	if (expand_words(a, &how, text, &plain, &plain_count, NULL) || plain_count != 1)
		return false;
	how.mode |= EXPAND_RAW_QUOTES;
	if (expand_words(a, &how, text, &raw, &raw_count, NULL) || raw_count != 1)
		return false;
	ret->name = plain[0];
	ret->expand = count_quotes(plain[0]) == count_quotes(raw[0]);
	return true;
}

bool heredoc_parse_word(struct arena *a, struct str word, struct heredoc *ret)
{
	struct heredoc found = {0};
	uint64_t fd = 0;
	size_t n = 0;

	while (n < word.n && word.p[n] >= '0' && word.p[n] <= '9')
		n++;
	if (n && !parse_u64(str_slice(word, 0, n), 1 << 20, &fd))
		return false;
	struct str rest = str_from_index(word, n);
	if (!str_starts(rest, STR("<<")))
		return false;
	rest = str_from_index(rest, 2);
	found.strip_tabs = str_starts(rest, STR("-"));
	rest = str_trim_left(str_from_index(rest, found.strip_tabs));
	if (!rest.n || str_find(rest, '<') < rest.n || !parse_name(a, rest, &found))
		return false;
	found.fd = (unsigned)fd;
	*ret = found;
	return true;
}

struct str heredoc_strip_tabs(struct arena *a, struct str body)
{
	cleanup(buf_done) struct buf out = {0};

	while (body.n) {
		size_t len = str_find(body, '\n');
		struct str line = str_slice(body, 0, len + 1);
		while (line.n && line.p[0] == '\t')
			line = str_from_index(line, 1);
		buf_add_str(&out, line);
		body = str_from_index(body, len + 1);
	}
	return arena_str(a, buf_str(&out));
}

static bool is_terminator(struct str line, const struct heredoc *h)
{
	while (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	while (h->strip_tabs && line.n && line.p[0] == '\t')
		line = str_from_index(line, 1);
	return str_eq(line, h->name);
}

static int read_body(struct reader *r, struct heredoc *h, struct err *err)
{
	size_t from = r->at, to = r->at;
	struct str line;
	int got;

	while ((got = reader_line(r, &line, err)) > 0) {
		if (is_terminator(line, h)) {
			h->body = str_slice(r->source->text, from, to);
			return 0;
		}
		to = r->at;
	}
	if (got < 0)
		return got;
	return source_error(err, ERR_INPUT, r->source, h->span,
		"this heredoc has no end: no line says %.*s alone", STR_ARG(h->name));
}

/* Where the word stands in the line, at or after *at. */
static struct span place_of(const struct logical *l, struct str word, size_t *at)
{
	struct str rest = str_from_index(l->text, *at);
	const char *hit = memmem(rest.p, rest.n, word.p, word.n);

	if (!hit)
		return logical_span(l, 0, l->text.n);
	size_t from = (size_t)(hit - l->text.p);
	*at = from + word.n;
	return logical_span(l, from, word.n);
}

int heredocs_read(
	struct reader *r, const struct logical *l, struct instruction *ins, struct err *err)
{
	struct expansion how = {
		.escape = '\\',
		.mode = EXPAND_RAW_QUOTES | EXPAND_RAW_ESCAPES | EXPAND_KEEP_UNSET,
	};
	size_t count, cap = 0, at = 0;
	struct heredoc h;
	struct str *words;

	/* A line that is no proper shell text (an odd quote, say) just has no heredocs. */
	if (!memmem(l->text.p, l->text.n, "<<", 2) ||
		expand_words(r->arena, &how, l->text, &words, &count, NULL))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!heredoc_parse_word(r->arena, words[i], &h))
			continue;
		h.span = place_of(l, words[i], &at);
		if (ins->heredoc_count == DOCKERFILE_MAX_HEREDOCS)
			return source_error(err, ERR_LIMIT, r->source, h.span,
				"more than %d heredocs in one instruction",
				DOCKERFILE_MAX_HEREDOCS);
		int failed = read_body(r, &h, err);
		if (failed)
			return failed;
		ins->heredocs =
			arena_grow(r->arena, ins->heredocs, ins->heredoc_count, &cap, sizeof(h));
		ins->heredocs[ins->heredoc_count++] = h;
	}
	return 0;
}
