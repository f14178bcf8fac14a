/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

/* Blanks as the language knows them; a line feed cannot stand in a logical line. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

struct part part_slice(struct part p, size_t from, size_t to)
{
	struct part slice = {.line = p.line, .text = str_slice(p.text, from, to)};

	slice.at = p.at + (from < p.text.n ? from : p.text.n);
	return slice;
}

struct part part_trim(struct part p)
{
	size_t from = 0, to = p.text.n;

	while (from < to && is_blank(p.text.p[from]))
		from++;
	while (to > from && is_blank(p.text.p[to - 1]))
		to--;
	return part_slice(p, from, to);
}

struct span part_span(struct part p)
{
	return logical_span(p.line, p.at, p.text.n);
}

struct word part_word(struct part p)
{
	return (struct word){.text = p.text, .span = part_span(p)};
}

struct part part_first(struct part *p)
{
	size_t n = 0;

	while (n < p->text.n && !is_blank(p->text.p[n]))
		n++;
	struct part first = part_slice(*p, 0, n);
	*p = part_trim(part_slice(*p, n, p->text.n));
	return first;
}

/*
 * The length of the word at the front of the text, which ends at a blank outside of quotes.
 * A backslash protects the next byte, inside of either quote too. What the word says goes to
 * *ret, without quotes and backslashes.
 */
static size_t unquote_word(struct str text, struct buf *ret)
{
	char quote = 0;
	size_t i = 0;

	for (; i < text.n; i++) {
		char c = text.p[i];
		if (!quote && is_blank(c))
			break;
		if (c == '\\') {
			if (i + 1 < text.n)
				buf_add_char(ret, text.p[++i]);
			continue;
		}
		if (quote ? c == quote : c == '"' || c == '\'')
			quote = (char)(quote ? 0 : c);
		else
			buf_add_char(ret, c);
	}
	return i;
}

static void add_flag(struct arena *a, struct instruction *ins, size_t *cap, struct part p,
	const struct buf *value)
{
	struct str text = str_from_index(arena_str(a, buf_str(value)), 2);
	size_t eq = str_find(text, '=');
	struct flag *flag;

	ins->flags = arena_grow(a, ins->flags, ins->flag_count, cap, sizeof(*ins->flags));
	flag = &ins->flags[ins->flag_count++];
	flag->name = str_slice(text, 0, eq);
	flag->value = eq < text.n ? str_from_index(text, eq + 1) : (struct str){0};
	flag->span = part_span(p);
}

void split_flags(struct arena *a, struct part *p, struct instruction *ins)
{
	cleanup(buf_done) struct buf value = {0};
	size_t cap = 0;

	while (str_starts(p->text, STR("--"))) {
		buf_clear(&value);
		size_t n = unquote_word(p->text, &value);
		struct part flag = part_slice(*p, 0, n);
		*p = part_trim(part_slice(*p, n, p->text.n));
		if (str_is(buf_str(&value), "--"))
			return;
		add_flag(a, ins, &cap, flag, &value);
	}
}

void split_list(struct arena *a, struct part p, struct instruction *ins)
{
	size_t cap = 0;

	while (p.text.n) {
		ins->words = arena_grow(a, ins->words, ins->word_count, &cap, sizeof(*ins->words));
		ins->words[ins->word_count++] = part_word(part_first(&p));
	}
}

/* The end of the quoted word that begins at `from`. */
static size_t quoted_end(struct str text, size_t from, char escape)
{
	char quote = 0;
	size_t i = from;

	for (; i < text.n; i++) {
		char c = text.p[i];
		if (!quote && is_blank(c))
			break;
		if (c == escape && quote != '\'')
			i++;
		else if (quote ? c == quote : c == '"' || c == '\'')
			quote = (char)(quote ? 0 : c);
	}
	return i < text.n ? i : text.n;
}

/* Does the text end in an escape that has nothing to protect? */
static bool has_loose_escape(struct str text, size_t from, char escape)
{
	size_t n = 0;

	while (text.n - n > from && text.p[text.n - 1 - n] == escape)
		n++;
	return n % 2 == 1;
}

void split_quoted(struct arena *a, struct part p, char escape, struct part **ret, size_t *ret_count)
{
	size_t count = 0, cap = 0, i = 0;
	struct part *words = NULL;

	while (i < p.text.n) {
		if (is_blank(p.text.p[i])) {
			i++;
			continue;
		}
		size_t end = quoted_end(p.text, i, escape), to = end;
		if (end == p.text.n && has_loose_escape(p.text, i, escape))
			to--;
		if (to > i) {
			words = arena_grow(a, words, count, &cap, sizeof(*words));
			words[count++] = part_slice(p, i, to);
		}
		i = end;
	}
	*ret = words;
	*ret_count = count;
}
