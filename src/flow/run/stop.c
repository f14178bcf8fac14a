/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "base/number.h"
#include "run/internal.h"

enum { SIGNAL_MAX = 64 };

/* "MIN+3", "MAX-1", "MIN": glibc keeps the first two real-time signals to itself. */
static int real_time_signal(struct str rest)
{
	bool from_min = str_starts(rest, STR("MIN")), from_max = str_starts(rest, STR("MAX"));
	struct str offset = str_from_index(rest, 3);
	uint64_t n = 0;

	if (!from_min && !from_max)
		return 0;
	if (offset.n && (offset.p[0] != (from_min ? '+' : '-') ||
				!parse_u64(str_from_index(offset, 1), 30, &n)))
		return 0;
	return from_min ? SIGRTMIN + (int)n : SIGRTMAX - (int)n;
}

int stop_signal(struct str text)
{
	uint64_t number;

	if (text.n == 0)
		return SIGTERM;
	if (parse_u64(text, SIGNAL_MAX, &number))
		return (int)number;
	if (str_starts(text, STR("SIG")))
		text = str_from_index(text, 3);
	if (str_starts(text, STR("RT")))
		return real_time_signal(str_from_index(text, 2));
	for (int sig = 1; sig < SIGRTMIN; sig++) {
		const char *name = sigabbrev_np(sig);
		if (name && str_is(text, name))
			return sig;
	}
	return 0;
}

static bool parse_mask(struct str hex, uint64_t *ret)
{
	*ret = 0;
	if (hex.n == 0 || hex.n > 16)
		return false;
	for (size_t i = 0; i < hex.n; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = hex.p[i] ? strchr(digits, hex.p[i]) : NULL;
		if (!digit)
			return false;
		*ret = *ret << 4 | (uint64_t)(digit - digits);
	}
	return true;
}

bool handles_signal(struct str proc_status, int sig)
{
	uint64_t mask, all = 0;

	if (sig < 1 || sig > SIGNAL_MAX)
		return false;
	while (proc_status.p) {
		struct str line = str_cut(&proc_status, '\n'), name = str_cut(&line, ':');
		/* Blocked: a thread may be waiting for it with sigwait(3). */
		if ((str_is(name, "SigCgt") || str_is(name, "SigBlk")) &&
			parse_mask(str_trim(line), &mask))
			all |= mask;
	}
	return all >> (sig - 1) & 1;
}
