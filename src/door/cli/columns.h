/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

/*
 * Tables for people: columns as wide as their widest cell, two spaces apart, a head in bold.
 * Cells are texts of ours or foreign ones, which are made safe to show.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli/terminal.h"

struct columns {
	struct arena arena;
	size_t columns;
	struct str *cells; /* row by row */
	size_t count, cap;
};

/* `head` is a NULL-terminated list of the columns' titles. */
void columns_init(struct columns *t, const char *const *head);
void columns_done(struct columns *t);
DEFINE_CLEANUP_VALUE(struct columns, columns_done);

/* The next cell; rows follow each other without more ado. */
void columns_add(struct columns *t, struct str cell);
void columns_add_text(struct columns *t, const char *cell);

void columns_print(const struct columns *t, const struct terminal *terminal, struct buf *ret);

/*
 * How long ago a moment was ("2026-11-24T21:40:42.123Z"), as people say it: "3 minutes ago". The
 * moment itself when it is none. `now` is in seconds since 1970.
 */
void age_print(struct buf *ret, const char *iso, int64_t now);

#endif
