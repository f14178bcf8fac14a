/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/internal.h"

#include <stdio.h>

/*
 * The scanner recurses and reads ahead before it counts levels, so absurd nesting is turned
 * away by counting brackets. Quotes and comments are not looked at: no text that people
 * write has this many brackets open.
 */
enum { MAX_OPEN_BRACKETS = 256 };

void lines_init(struct arena *a, struct lines *lines, struct str text)
{
	size_t count = 1;

	for (size_t i = 0; i < text.n; i++)
		count += text.p[i] == '\n';
	lines->text = text;
	lines->starts = arena_array(a, count, sizeof(*lines->starts));
	lines->count = 1;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\n')
			lines->starts[lines->count++] = i + 1;
}

static size_t line_at(const struct lines *lines, size_t at)
{
	size_t low = 0, high = lines->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (lines->starts[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

struct span lines_span(const struct lines *lines, size_t from, size_t to)
{
	if (to < from)
		to = from;
	size_t first = line_at(lines, from), last = line_at(lines, to > from ? to - 1 : from);

	return (struct span){
		.line = (unsigned)first + 1,
		.col = (unsigned)(from - lines->starts[first]) + 1,
		.end_line = (unsigned)last + 1,
		.end_col = (unsigned)(to - lines->starts[last]) + 1,
	};
}

int problem_set(
	struct yaml_problem *problem, struct span span, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	problem->span = span;
	va_start(ap, fmt);
	vsnprintf(problem->text, sizeof(problem->text), fmt, ap);
	va_end(ap);
	snprintf(problem->remedy, sizeof(problem->remedy), "%s", remedy);
	return -ERR_INPUT;
}

/* What is wrong with the character that s begins with; NULL: nothing. */
static const char *bad_character(struct str s, size_t length)
{
	const unsigned char *p = (const unsigned char *)s.p;

	if (length == 0)
		return "bytes that are not UTF-8";
	if (p[0] == '\0')
		return "a NUL byte";
	if (p[0] == '\r')
		return s.n > 1 && p[1] == '\n' ? NULL : "a carriage return without a line feed";
	if ((p[0] < 0x20 && p[0] != '\t' && p[0] != '\n') || p[0] == 0x7f)
		return "a control character";
	if (length == 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return "a control character";
	if (length == 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		return "a byte order mark";
	if (length == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe)
		return "a character that Unicode reserves";
	return NULL;
}

static int check_characters(
	const struct lines *lines, struct str part, size_t at, struct yaml_problem *problem)
{
	for (struct str rest = part; rest.n;) {
		size_t length = str_utf8_length(rest);
		const char *bad = bad_character(rest, length);
		size_t here = at + (part.n - rest.n);
		if (bad)
			return problem_set(problem, lines_span(lines, here, here + 1),
				"remove it, or save the file as plain UTF-8 text",
				"the text holds %s (0x%02x)", bad, (unsigned char)rest.p[0]);
		rest = str_from_index(rest, length);
	}
	return 0;
}

static int check_nesting(
	const struct lines *lines, struct str part, size_t at, struct yaml_problem *problem)
{
	size_t open = 0;

	for (size_t i = 0; i < part.n; i++) {
		char c = part.p[i];
		if (c == '[' || c == '{')
			open++;
		else if ((c == ']' || c == '}') && open)
			open--;
		if (open > MAX_OPEN_BRACKETS)
			return problem_set(problem, lines_span(lines, at + i, at + i + 1), "",
				"more than %d brackets are open here; %d levels are allowed",
				MAX_OPEN_BRACKETS, YAML_MAX_DEPTH);
	}
	return 0;
}

int check_bytes(const struct lines *lines, struct str part, size_t at, struct yaml_problem *problem)
{
	if (part.n > YAML_MAX_BYTES)
		return problem_set(problem, lines_span(lines, at, at), "",
			"%zu bytes of YAML; at most %d are read", part.n, YAML_MAX_BYTES);
	int r = check_nesting(lines, part, at, problem);
	return r ? r : check_characters(lines, part, at, problem);
}
