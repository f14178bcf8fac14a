/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>

/* Nanoseconds of the monotonic clock: for durations and deadlines. */
int64_t clock_now(void);

/* The wall clock as "2026-11-24T21:40:42.123Z"; returns text. */
const char *clock_iso(char text[static 32]);

#endif
