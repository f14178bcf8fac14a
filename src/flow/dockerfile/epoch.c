/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/number.h"
#include "dockerfile/planner.h"

/*
 * The build argument SOURCE_DATE_EPOCH, as reproducible-builds.org defines it: whole seconds
 * since 1970. An empty one is none.
 */
int epoch_init(struct planner *p, struct err *err)
{
	const uint64_t last =
		INT64_MAX / 1000000000; /* of times in nanoseconds: in the year 2262 */
	const char *text = table_get(&p->build_args, STR("SOURCE_DATE_EPOCH"));
	char created[32];
	struct tm tm;

	p->created = "";
	if (!text || !*text)
		return 0;
	if (!parse_u64(str_of(text), last, &p->epoch)) {
		(void)err_set(err, ERR_INPUT, "SOURCE_DATE_EPOCH: %.100s is no time", text);
		return err_hint(err, "give whole seconds since 1970: date +%%s, or git log -1 "
				     "--format=%%ct");
	}
	time_t seconds = (time_t)p->epoch;
	(void)gmtime_r(&seconds, &tm); /* has no year it could not tell */
	(void)strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
	p->has_epoch = true;
	p->created = arena_strdup(p->arena, created);
	return 0;
}
