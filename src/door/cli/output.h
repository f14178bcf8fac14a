/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

/*
 * What foreign programs write, made safe to show: a build step or an app must not be able to
 * move the cursor, change the window's title, answer for the keyboard or turn text around.
 * Pure: bytes in, text out; pieces may be cut anywhere.
 *
 * Removed are control characters but line feed, carriage return and tab, escape sequences and
 * control strings of ECMA-48 in their 7-bit and 8-bit forms, and the bidirectional controls of
 * Unicode. A byte that is not UTF-8 becomes '?'.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* A stream on its way. {0} is its beginning. */
struct strip {
	unsigned char state;
	unsigned char held[4]; /* the beginning of a character */
	unsigned char held_count;
	uint32_t skipped; /* bytes of the control string so far */
};

/* Append what may be shown of `bytes`. */
void strip_feed(struct strip *s, struct str bytes, struct buf *ret);

/* A whole text made one line that may be shown: what would end or move it is a space. */
void output_one_line(struct buf *ret, struct str text);

/* Lines longer than this are broken. */
#define OUTPUT_LINE_MAX 8192

/*
 * The same stream as lines: tabs become spaces, and a carriage return starts the line anew as it
 * does on a terminal, so that of a progress bar its last state stays.
 */
struct output_lines {
	struct strip strip;
	struct buf line; /* the unfinished line */
	bool returned;	 /* a carriage return was the last byte of it */
};

void output_lines_done(struct output_lines *lines);

typedef void output_line_fn(void *arg, struct str line);
/* Calls fn for each line that `bytes` ends; the text lives until fn returns. */
void output_lines_feed(struct output_lines *lines, struct str bytes, output_line_fn *fn, void *arg);
/* The end of the stream: an unfinished line is one. */
void output_lines_end(struct output_lines *lines, output_line_fn *fn, void *arg);

#endif
