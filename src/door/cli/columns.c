/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#include <stdint.h>
#include <time.h>

#include "base/attr.h"
#include "cli/output.h"

void columns_init(struct columns *t, const char *const *head)
{
	*t = (struct columns){0};
	while (head[t->columns])
		t->columns++;
	for (size_t i = 0; i < t->columns; i++)
		columns_add_text(t, head[i]);
}

void columns_done(struct columns *t)
{
	arena_done(&t->arena);
}

void columns_add(struct columns *t, struct str cell)
{
	cleanup(buf_done) struct buf line = {0};

	output_one_line(&line, cell);
	t->cells = arena_grow(&t->arena, t->cells, t->count, &t->cap, sizeof(*t->cells));
	t->cells[t->count++] = arena_str(&t->arena, buf_str(&line));
}

void columns_add_text(struct columns *t, const char *cell)
{
	columns_add(t, str_of(cell));
}

static size_t column_width(const struct columns *t, size_t column)
{
	size_t widest = 0;

	for (size_t i = column; i < t->count; i += t->columns) {
		size_t width = text_width(t->cells[i]);
		if (width > widest)
			widest = width;
	}
	return widest;
}

void columns_print(const struct columns *t, const struct terminal *terminal, struct buf *ret)
{
	for (size_t i = 0; i < t->count; i++) {
		size_t column = i % t->columns;
		struct str cell = t->cells[i];
		terminal_add(ret, terminal, i < t->columns ? STYLE_BOLD : STYLE_PLAIN, cell);
		if (column + 1 == t->columns)
			buf_add_char(ret, '\n');
		else
			text_pad(ret, column_width(t, column) + 2 - text_width(cell));
	}
}

void age_print(struct buf *ret, const char *iso, int64_t now)
{
	static const struct {
		int64_t seconds;
		const char *unit;
	} units[] = {
		{86400, "day"},
		{3600, "hour"},
		{60, "minute"},
		{1, "second"},
	};
	struct tm tm = {0};

	if (!strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm)) {
		buf_add_text(ret, iso);
		return;
	}
	int64_t age = now - (int64_t)timegm(&tm);
	for (size_t i = 0; i < array_size(units); i++) {
		int64_t n = age / units[i].seconds;
		if (n < 1)
			continue;
		buf_printf(ret, "%lld %s%s ago", (long long)n, units[i].unit, n == 1 ? "" : "s");
		return;
	}
	buf_add_text(ret, "now");
}
