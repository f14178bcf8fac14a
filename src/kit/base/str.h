/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STR_H
#define BASE_STR_H

/*
 * A look at text that somebody else owns: pointer and length, not terminated, any bytes.
 * Parsers take and return these; they live as long as what they look into.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline struct str str_of(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline struct str str_from(const char *p, size_t n)
{
	return (struct str){p, n};
}

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII letters only */
bool str_is(struct str a, const char *b);
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* Without leading and trailing blanks (space, tab, CR, LF, VT, FF). */
struct str str_trim(struct str s);
struct str str_trim_left(struct str s);
struct str str_trim_right(struct str s);

/* Index of the first (last) c, or s.n. */
size_t str_find(struct str s, char c);
size_t str_rfind(struct str s, char c);

/* From index `from` (to index `to`); indexes past the end are clamped. */
struct str str_from_index(struct str s, size_t from);
struct str str_slice(struct str s, size_t from, size_t to);

/*
 * Cut the part before the first sep off *rest and return it; *rest becomes what follows
 * the separator. Without a separator the whole is returned and rest->p becomes NULL, so
 * that a loop `while (rest.p)` sees each part once, an empty last part included.
 */
struct str str_cut(struct str *rest, char sep);

/* Is every byte printable UTF-8 without control characters? */
bool str_is_utf8(struct str s);

/* The first max bytes, less a character that would be cut in half: for messages. */
struct str str_head(struct str s, size_t max);

/* Length of the well-formed UTF-8 sequence that s begins with; 0: there is none. */
size_t str_utf8_length(struct str s);

/* A terminated copy on the heap. */
char *str_dup(struct str s);

/* For printf: "%.*s", STR_ARG(s). s is evaluated more than once. */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

#endif
