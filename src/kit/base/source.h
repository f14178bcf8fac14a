/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SOURCE_H
#define BASE_SOURCE_H

/*
 * Places in texts that people write (Dockerfile, README.md, spaceport.yaml), and errors
 * that show them:
 *
 *	Dockerfile:3:1: unknown instruction: FORM (did you mean FROM?)
 *	  3 | FORM python:3.13-slim
 *	    | ^~~~
 *
 * The first line goes to err->text, the excerpt to err->hint.
 */
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct source {
	const char *name; /* as the user would write it */
	struct str text;
};

/* Lines and columns count from 1, columns in bytes; end_col is one past the last byte. */
struct span {
	unsigned line;
	unsigned col;
	unsigned end_line; /* 0: the same line */
	unsigned end_col;  /* 0: a single column */
};

/* The span of bytes [at, at + len) of the text. */
struct span source_span(const struct source *source, size_t at, size_t len);

/*
 * The lines of the span (at most max_lines of them) with line numbers, and a caret line:
 * under the whole of a span of one line, else where it begins. Long lines are cut around it; bytes
 * that are not printable UTF-8 are shown as '?'. Ends with a line feed.
 */
void source_excerpt(
	const struct source *source, struct span span, unsigned max_lines, struct buf *ret);

/* err_set() with the place in front and the excerpt as its hint. Returns -kind. */
int source_error(struct err *err, enum err_kind kind, const struct source *source, struct span span,
	const char *fmt, ...) printf_like(5, 6);

/*
 * The same for an error that is there: "name:line: fmt: " goes in front of its text, the excerpt in
 * front of its hint. Returns -kind.
 */
int source_wrap(struct err *err, const struct source *source, struct span span, const char *fmt,
	...) printf_like(4, 5);

#endif
