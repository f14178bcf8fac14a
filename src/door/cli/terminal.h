/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

/*
 * What a person looks at: whether a descriptor is a terminal, how wide it is, colours, and
 * text made to fit. Everything written is UTF-8; widths are those of wcwidth(3) in that
 * encoding, whatever the locale says.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct terminal {
	bool is_terminal; /* whatever it can: bytes written there act on it */
	bool is_live;	  /* lines may be drawn over */
	bool has_colour;  /* colours may be used */
	unsigned columns; /* 80 where it cannot be told */
	unsigned rows;
};

/*
 * Look at fd and the environment: NO_COLOR (set and not empty) takes the colours, CI and
 * TERM=dumb take colours and drawing, as a descriptor that is no terminal does.
 */
struct terminal terminal_of(int fd);
/* Ask for the size anew: after a resize, or before drawing. */
void terminal_measure(struct terminal *t, int fd);

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW, STYLE_BLUE };

/* Text in a style; just the text without has_colour. */
void terminal_add(struct buf *b, const struct terminal *t, enum style style, struct str text);

/* Columns that well-formed text takes; control characters and broken bytes take none. */
size_t text_width(struct str text);
/* Text cut to at most `columns`, the last of them "…" when something was cut off. */
void text_fit(struct buf *b, struct str text, size_t columns);
/* `n` times a space. */
void text_pad(struct buf *b, size_t n);

/* Write for people: where it cannot be written there is nobody to be told. */
void text_show(int fd, struct str text);

#endif
