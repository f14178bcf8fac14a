/* SPDX-License-Identifier: Apache-2.0 */
#include "run/health.h"

#include "base/attr.h"

#define SECOND INT64_C(1000000000)

enum { RETRIES = 3 };

const char *health_status_name(enum health_status status)
{
	static const char *const names[] = {[HEALTH_NONE] = "",
		[HEALTH_STARTING] = "starting",
		[HEALTH_HEALTHY] = "healthy",
		[HEALTH_UNHEALTHY] = "unhealthy"};

	return names[status];
}

static bool has_command(const struct oci_healthcheck *check)
{
	return check->test_count > 1 &&
	       (strcmp(check->test[0], "CMD") == 0 || strcmp(check->test[0], "CMD-SHELL") == 0);
}

void health_begin(struct health *h, const struct oci_healthcheck *check)
{
	*h = (struct health){
		.interval = check->interval ? check->interval : 30 * SECOND,
		.timeout = check->timeout ? check->timeout : 30 * SECOND,
		.start_period = check->start_period,
		.start_interval = check->start_interval ? check->start_interval : 5 * SECOND,
		.retries = check->retries ? check->retries : RETRIES,
		.status = has_command(check) ? HEALTH_STARTING : HEALTH_NONE,
	};
}

static bool is_in_start_period(const struct health *h, int64_t age)
{
	return h->status == HEALTH_STARTING && age < h->start_period;
}

bool health_take(struct health *h, int64_t age, bool has_passed)
{
	enum health_status before = h->status;

	if (has_passed) {
		h->failures = 0;
		h->status = HEALTH_HEALTHY;
	} else if (!is_in_start_period(h, age) && ++h->failures >= h->retries) {
		h->status = HEALTH_UNHEALTHY;
	}
	return h->status != before;
}

int64_t health_pause(const struct health *h, int64_t age)
{
	return is_in_start_period(h, age) ? h->start_interval : h->interval;
}

void health_command(const struct oci_config *config, struct argv *ret)
{
	const struct oci_healthcheck *check = &config->healthcheck;

	if (strcmp(check->test[0], "CMD-SHELL") == 0) {
		for (size_t i = 0; i < config->shell.count; i++)
			argv_add(ret, config->shell.items[i]);
		if (config->shell.count == 0)
			argv_add_all(ret, "/bin/sh", "-c", NULL);
	}
	for (size_t i = 1; i < check->test_count; i++)
		argv_add(ret, check->test[i]);
}
