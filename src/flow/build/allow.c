/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"

/*
 * What a step may have only when the user, or the settings, allow it: BuildKit's entitlements,
 * under the same names.
 */

static int read_allowed(const struct build *b, unsigned *ret, struct err *err)
{
	const struct argv *names = &b->options->allow;

	*ret = b->settings->build.allow;
	for (size_t i = 0; i < names->count; i++) {
		unsigned one = settings_allowed(str_of(names->items[i]));
		if (!one)
			return err_set(err, ERR_INPUT,
				"--allow: %s is not one of network.host or security.insecure",
				names->items[i]);
		*ret |= one;
	}
	return 0;
}

static const char *missing(const struct plan_run *run, unsigned allowed)
{
	if (run->network == PLAN_NETWORK_HOST && !(allowed & SETTINGS_ALLOW_HOST_NETWORK))
		return "network.host";
	if (run->insecure && !(allowed & SETTINGS_ALLOW_INSECURE))
		return "security.insecure";
	return NULL;
}

static int check_step(
	struct build *b, const struct build_step *step, unsigned allowed, struct err *err)
{
	const char *name = step->op->run ? missing(step->op->run, allowed) : NULL;

	if (!name)
		return 0;
	(void)source_error(
		err, ERR_FAILED, &b->file.source, step->op->span, "%s is not allowed", name);
	return err_hint_add(
		err, "spaceport build --allow %s; or build.allow in spaceport.yaml", name);
}

int build_check_allowed(struct build *b, struct err *err)
{
	unsigned allowed;

	int r = read_allowed(b, &allowed, err);
	for (size_t i = 0; i < b->plan.stage_count && r == 0; i++)
		for (size_t k = 0; k < b->stages[i].step_count && r == 0; k++)
			r = check_step(b, &b->stages[i].steps[k], allowed, err);
	return r;
}
