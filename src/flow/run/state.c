/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/attr.h"
#include "base/number.h"
#include "run/internal.h"

bool instance_is_id(struct str text)
{
	if (text.n != 12)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!text.p[i] || !strchr("0123456789abcdef", text.p[i]))
			return false;
	return true;
}

static const struct {
	const char *name;
	size_t offset;
} texts[] = {
	{"space", offsetof(struct run_instance, space)},
	{"image", offsetof(struct run_instance, image_id)},
	{"url", offsetof(struct run_instance, url)},
	{"stage", offsetof(struct run_instance, stage)},
	{"health", offsetof(struct run_instance, health)},
	{"reason", offsetof(struct run_instance, reason)},
	{"started", offsetof(struct run_instance, started)},
	{"ended", offsetof(struct run_instance, ended)},
};

static const char **text_at(struct run_instance *instance, size_t i)
{
	return (const char **)(void *)((char *)instance + texts[i].offset);
}

static void print_line(const char *key, const char *value, struct buf *ret)
{
	buf_printf(ret, "%s ", key);
	for (; value && *value; value++)
		buf_add_char(ret, (char)(*value == '\n' ? ' ' : *value));
	buf_add_char(ret, '\n');
}

void state_print(const struct state *state, struct buf *ret)
{
	struct run_instance shown = state->shown;

	print_line("id", shown.id, ret);
	for (size_t i = 0; i < array_size(texts); i++)
		print_line(texts[i].name, *text_at(&shown, i), ret);
	buf_printf(ret, "pid %lld\n", (long long)shown.pid);
	buf_printf(ret, "pid_start %llu\n", (unsigned long long)state->pid_start);
}

static void take_value(struct arena *a, struct str key, struct str value, struct state *ret)
{
	uint64_t number;

	if (str_is(key, "id") && instance_is_id(value)) {
		memcpy(ret->shown.id, value.p, value.n);
		ret->shown.id[value.n] = '\0';
	} else if (str_is(key, "pid") && parse_u64(value, INT32_MAX, &number)) {
		ret->shown.pid = (pid_t)number;
	} else if (str_is(key, "pid_start") && parse_u64(value, UINT64_MAX, &number)) {
		ret->pid_start = number;
	}
	for (size_t i = 0; i < array_size(texts); i++)
		if (str_is(key, texts[i].name))
			*text_at(&ret->shown, i) = arena_str(a, value).p;
}

bool state_parse(struct arena *a, struct str text, struct state *ret)
{
	*ret = (struct state){0};
	for (size_t i = 0; i < array_size(texts); i++)
		*text_at(&ret->shown, i) = "";
	while (text.p) {
		struct str line = str_cut(&text, '\n'), key = str_cut(&line, ' ');
		if (line.p && !memchr(line.p, '\0', line.n))
			take_value(a, key, line, ret);
	}
	return ret->shown.id[0] != '\0';
}

/* "pid (name) state ppid …": the name may hold blanks and parentheses. */
uint64_t stat_start_time(struct str stat)
{
	enum { FIELDS_AFTER_NAME = 20 }; /* state is field 3, starttime is field 22 */
	struct str rest = str_from_index(stat, str_rfind(stat, ')') + 2);
	uint64_t ticks;

	for (int i = 1; i < FIELDS_AFTER_NAME && rest.p; i++)
		(void)str_cut(&rest, ' ');
	struct str field = rest.p ? str_cut(&rest, ' ') : (struct str){0};
	return parse_u64(field, UINT64_MAX, &ticks) ? ticks : 0;
}
