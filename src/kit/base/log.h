/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * What the program says of itself, on stderr: one line an event. Rooms of kit and flow
 * never log above debug, they return errors; doors and main log. The output of builds and
 * apps is not logging.
 */
#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Everything up to `level` is printed; LOG_WARN at first. */
void log_set_level(enum log_level level);
void log_at(enum log_level level, const char *fmt, ...) printf_like(2, 3);

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
