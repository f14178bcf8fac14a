/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

static enum log_level highest = LOG_WARN;

static const char *const names[] = {"error", "warning", "info", "debug"};

void log_set_level(enum log_level level)
{
	highest = level;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	if (level > highest)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cleanup(buf_done) struct buf line = {0};
	if (level == LOG_DEBUG) {
		struct timespec now;
		clock_gettime(CLOCK_MONOTONIC, &now);
		buf_printf(&line, "[%5lld.%03ld %d] ", (long long)now.tv_sec % 100000,
			now.tv_nsec / 1000000, (int)getpid());
	}
	buf_printf(&line, "spaceport: %s: %s\n", names[level], text);
	/* One write, so that lines of several processes do not mix; nobody to tell of a failure. */
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		return;
}
