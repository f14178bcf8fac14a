/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int exit_code;
} kinds[] = {
	[ERR_NONE] = {"none", 0},
	[ERR_INPUT] = {"input", 2},
	[ERR_MISSING] = {"missing", 1},
	[ERR_FAILED] = {"failed", 1},
	[ERR_DENIED] = {"denied", 1},
	[ERR_LIMIT] = {"limit", 1},
	[ERR_BUSY] = {"busy", 1},
	[ERR_NETWORK] = {"network", 1},
	[ERR_HOST] = {"host", 3},
	[ERR_SYSTEM] = {"system", 1},
	[ERR_CANCELLED] = {"cancelled", 130},
	[ERR_BUG] = {"bug", 4},
};

/* Foreign text ends up on terminals: no byte of it may act there. */
static void replace_controls(char *text, int keep_lines)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if ((*c < 0x20 && *c != '\t' && !(keep_lines && *c == '\n')) || *c == 0x7f)
			*c = '?';
}

printf_like(3, 0) static void format(char *text, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(text, size, fmt, ap);
	if (n >= (int)size && size > 4)
		memcpy(text + size - 4, "...", 4);
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -(int)kind;
	err->kind = kind;
	err->sys = 0;
	err->hint[0] = '\0';
	va_start(ap, fmt);
	format(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	replace_controls(err->text, 0);
	return -(int)kind;
}

static enum err_kind kind_of_errno(int sys)
{
	if (sys == ENOENT)
		return ERR_MISSING;
	if (sys == EACCES || sys == EPERM)
		return ERR_DENIED;
	return ERR_SYSTEM;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	int sys = errno;
	enum err_kind kind = kind_of_errno(sys);
	va_list ap;

	if (!err)
		return -(int)kind;
	err->kind = kind;
	err->sys = sys;
	err->hint[0] = '\0';
	va_start(ap, fmt);
	format(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	size_t used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(sys));
	replace_controls(err->text, 0);
	return -(int)kind;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char front[sizeof(err->text)];
	va_list ap;

	if (!err || err->kind == ERR_NONE)
		return err ? 0 : -(int)ERR_SYSTEM;
	va_start(ap, fmt);
	format(front, sizeof(front), fmt, ap);
	va_end(ap);
	replace_controls(front, 0);
	size_t used = strlen(front), room = sizeof(err->text) - 1;
	size_t keep = strlen(err->text);
	if (used + 2 > room)
		used = room - 2;
	if (used + 2 + keep > room)
		keep = room - used - 2;
	memmove(err->text + used + 2, err->text, keep);
	memcpy(err->text, front, used);
	memcpy(err->text + used, ": ", 2);
	err->text[used + 2 + keep] = '\0';
	return -(int)err->kind;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -(int)ERR_SYSTEM;
	va_start(ap, fmt);
	format(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	replace_controls(err->hint, 1);
	return -(int)err->kind;
}

int err_hint_add(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -(int)ERR_SYSTEM;
	size_t used = strlen(err->hint);
	if (used && used < sizeof(err->hint) - 1)
		err->hint[used++] = '\n';
	va_start(ap, fmt);
	format(err->hint + used, sizeof(err->hint) - used, fmt, ap);
	va_end(ap);
	replace_controls(err->hint, 1);
	return -(int)err->kind;
}

void err_clear(struct err *err)
{
	*err = (struct err){0};
}

int err_exit_code(const struct err *err)
{
	return kinds[err->kind].exit_code;
}

const char *err_kind_name(enum err_kind kind)
{
	return kinds[kind].name;
}
