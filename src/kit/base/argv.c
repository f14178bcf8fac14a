/* SPDX-License-Identifier: Apache-2.0 */
#include "base/argv.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

static void append(struct argv *v, char *owned)
{
	v->items = xgrow(v->items, &v->cap, v->count + 2, sizeof(*v->items));
	v->items[v->count++] = owned;
	v->items[v->count] = NULL;
}

void argv_done(struct argv *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct argv){0};
}

void argv_add(struct argv *v, const char *s)
{
	append(v, xstrdup(s));
}

void argv_add_str(struct argv *v, struct str s)
{
	append(v, str_dup(s));
}

void argv_printf(struct argv *v, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	append(v, n < 0 ? xstrdup("") : text);
}

void argv_add_all(struct argv *v, ...)
{
	va_list ap;

	va_start(ap, v);
	for (const char *s = va_arg(ap, const char *); s; s = va_arg(ap, const char *))
		argv_add(v, s);
	va_end(ap);
}

void argv_copy(struct argv *to, const struct argv *from)
{
	for (size_t i = 0; i < from->count; i++)
		argv_add(to, from->items[i]);
}

static size_t env_index(const struct argv *v, struct str name)
{
	for (size_t i = 0; i < v->count; i++)
		if (str_starts(str_of(v->items[i]), name) && v->items[i][name.n] == '=')
			return i;
	return v->count;
}

const char *argv_env(const struct argv *v, const char *name)
{
	size_t i = env_index(v, str_of(name));

	return i < v->count ? v->items[i] + strlen(name) + 1 : NULL;
}

void argv_set_env(struct argv *v, struct str name, struct str value)
{
	char *pair = xprintf("%.*s=%.*s", STR_ARG(name), STR_ARG(value));
	size_t i = env_index(v, name);

	if (i == v->count) {
		append(v, pair);
		return;
	}
	free(v->items[i]);
	v->items[i] = pair;
}

void argv_unset_env(struct argv *v, struct str name)
{
	size_t i = env_index(v, name);

	if (i == v->count)
		return;
	free(v->items[i]);
	memmove(v->items + i, v->items + i + 1, (v->count - i) * sizeof(*v->items));
	v->count--;
}
