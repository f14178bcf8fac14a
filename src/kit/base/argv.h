/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARGV_H
#define BASE_ARGV_H

/*
 * A NULL-terminated vector of owned strings: command lines and environments. `{0}` is an
 * empty one; `items` is NULL then, otherwise items[count] == NULL.
 */
#include <stddef.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/str.h"

struct argv {
	char **items;
	size_t count;
	size_t cap;
};

void argv_done(struct argv *v);
DEFINE_CLEANUP_VALUE(struct argv, argv_done);

void argv_add(struct argv *v, const char *s);
void argv_add_str(struct argv *v, struct str s);
void argv_printf(struct argv *v, const char *fmt, ...) printf_like(2, 3);
/* Add a NULL-terminated list of strings: argv_add_all(&v, "a", "b", NULL). */
void argv_add_all(struct argv *v, ...) __attribute__((__sentinel__));
void argv_copy(struct argv *to, const struct argv *from);

/* As an environment: the value of NAME, or NULL. */
const char *argv_env(const struct argv *v, const char *name);
/* Replace NAME=… where it stands, or append it. */
void argv_set_env(struct argv *v, struct str name, struct str value);
void argv_unset_env(struct argv *v, struct str name);

#endif
