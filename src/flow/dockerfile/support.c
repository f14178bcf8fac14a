/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/*
 * The one place that says which constructs are understood but refused. Each row looks for its
 * construct in an op and gives the place of it, or a place in line 0.
 */
typedef struct span find_fn(const struct command *c, const struct plan_op *op);

static struct span flag_span(const struct command *c, const char *name)
{
	const struct flag *flag = instruction_flag(c->ins, name, NULL);

	return flag ? flag->span : c->ins->span;
}

static const struct span nowhere;

static struct span find_device(const struct command *c, const struct plan_op *op)
{
	(void)op;
	return instruction_flag(c->ins, "device", NULL) ? flag_span(c, "device") : nowhere;
}

static const struct {
	const char *name;
	find_fn *find;
	const char *remedy;
} unsupported[] = {
	{"RUN --device", find_device,
		"it belongs to the syntax docker/dockerfile:labs, and builds have no devices"},
};

int support_check(const struct command *c, const struct plan_op *op, struct err *err)
{
	for (size_t i = 0; i < array_size(unsupported); i++) {
		struct span span = unsupported[i].find(c, op);
		if (span.line)
			return command_error(err, ERR_INPUT, c, span, "%s is not supported: %s",
				unsupported[i].name, unsupported[i].remedy);
	}
	return 0;
}
