/* SPDX-License-Identifier: Apache-2.0 */
#include "os/clock.h"

#include <stdio.h>
#include <time.h>

int64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

const char *clock_iso(char text[static 32])
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t n = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + n, 32 - n, ".%03ldZ", now.tv_nsec / 1000000);
	return text;
}
