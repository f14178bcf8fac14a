/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_INTERNAL_H
#define DOCKERFILE_INTERNAL_H

/*
 * What the files of this room share. Reading goes in this order: lines.c joins physical lines
 * to logical ones, parse.c looks up the instruction and has words.c, array.c and heredoc.c
 * take its arguments apart.
 */
#include "dockerfile/dockerfile.h"

/* ---- lines.c ---- */

/* Where a physical line's part of a logical line came from. */
struct segment {
	size_t at; /* in the logical line */
	unsigned line, col;
};

/* A line after continuations are joined and comments between them dropped. */
struct logical {
	struct str text;
	struct segment *segments; /* at least one */
	size_t segment_count;
	unsigned last_line;
	bool has_blank_line; /* between its first and its last */
};

struct span logical_span(const struct logical *l, size_t at, size_t len);

struct reader {
	struct arena *arena;
	const struct source *source;
	size_t at;     /* of the next physical line */
	unsigned line; /* number of the last one read */
	char escape;
	bool in_directives; /* no other line seen yet */
	struct str syntax, check;
	struct span syntax_span, check_span;
	unsigned directive_line;
	bool escape_seen;
	bool after_shebang; /* then escape means nothing, while syntax and check do */
};

struct reader reader_of(struct arena *a, const struct source *source);
/* 1: *ret is the next instruction's line; 0: the text has ended. */
must_use int reader_next(struct reader *r, struct logical *ret, struct err *err);
/* The next physical line, without its line feed; 0 at the end. */
must_use int reader_line(struct reader *r, struct str *ret, struct err *err);

/* ---- words.c, array.c, heredoc.c ---- */

/* A part of a logical line; what is cut from it keeps its place. */
struct part {
	const struct logical *line;
	size_t at; /* of text, in the line */
	struct str text;
};

struct part part_slice(struct part p, size_t from, size_t to);
struct part part_trim(struct part p);
struct word part_word(struct part p);
struct span part_span(struct part p);

/* Cut the first word (up to a blank) off p; *p becomes the rest, trimmed. */
struct part part_first(struct part *p);
/* Cut the flags off the front of *p. */
void split_flags(struct arena *a, struct part *p, struct instruction *ins);
/* Words between blanks, quotes mean nothing. */
void split_list(struct arena *a, struct part p, struct instruction *ins);
/* Words between blanks outside of quotes; quotes stay in them. */
void split_quoted(
	struct arena *a, struct part p, char escape, struct part **ret, size_t *ret_count);

enum array_result {
	ARRAY_NONE,    /* not JSON, or not an array */
	ARRAY_STRINGS, /* the words are in the instruction */
	ARRAY_OTHER,   /* an array that holds something else than strings */
};

enum array_result split_array(struct arena *a, struct part p, struct instruction *ins);

/* Is this word a heredoc's beginning? Fills all but body and span. */
bool heredoc_parse_word(struct arena *a, struct str word, struct heredoc *ret);
/* Find the heredocs of an instruction's line and read their bodies. */
must_use int heredocs_read(
	struct reader *r, const struct logical *l, struct instruction *ins, struct err *err);
/* A copy of the body without the leading tabs of its lines. */
struct str heredoc_strip_tabs(struct arena *a, struct str body);

/* ---- shape.c ---- */

/* Flags known and complete, words as many as there must be. */
must_use int instruction_check(
	const struct source *source, const struct instruction *ins, struct err *err);
/* Of a boolean flag that passed the check; false when it is not there. */
bool instruction_has(const struct instruction *ins, const char *name);
/* The value of a flag, or "" when it is not there. */
struct str instruction_value(const struct instruction *ins, const char *name);

/* ---- path.c ---- */

/*
 * Lexical: no "." or empty parts, ".." taken back where there is something to take back, none
 * above the root. An empty relative path becomes ".".
 */
void path_clean(struct buf *out, struct str path);
/* Clean; relative paths are meant below dir. */
char *path_join(struct arena *a, struct str dir, struct str path);
/* The last part; "/" of the root. */
struct str path_base(struct str path);

/* ---- suggest.c ---- */

/*
 * " (did you mean X?)" for the candidate nearest to the word, or "" when none is near. The
 * list ends with NULL. ASCII case does not count.
 */
const char *suggest(char text[static 64], struct str word, const char *const *candidates);

#endif
