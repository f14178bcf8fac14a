/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/*
 * The one place that says which constructs are understood but refused, as BuildKit refuses them
 * to whoever was not granted them: steps get nothing of the host. Each row looks for its construct
 * in an op and gives the place of it, or a place in line 0.
 */
typedef struct span find_fn(const struct command *c, const struct plan_op *op);

static struct span flag_span(const struct command *c, const char *name)
{
	const struct flag *flag = instruction_flag(c->ins, name, NULL);

	return flag ? flag->span : c->ins->span;
}

static const struct span nowhere;

static struct span find_insecure(const struct command *c, const struct plan_op *op)
{
	return op->run && op->run->insecure ? flag_span(c, "security") : nowhere;
}

static struct span find_host_network(const struct command *c, const struct plan_op *op)
{
	return op->run && op->run->network == PLAN_NETWORK_HOST ? flag_span(c, "network") : nowhere;
}

static struct span find_device(const struct command *c, const struct plan_op *op)
{
	(void)op;
	return instruction_flag(c->ins, "device", NULL) ? flag_span(c, "device") : nowhere;
}

/* One that is not required is left out where there is no agent. */
static struct span find_ssh(const struct command *c, const struct plan_op *op)
{
	for (size_t i = 0; op->run && i < op->run->mount_count; i++) {
		const struct plan_mount *m = &op->run->mounts[i];
		if (m->kind == PLAN_MOUNT_SSH && m->required)
			return c->is_trigger ? c->ins->span : m->span;
	}
	return nowhere;
}

static const struct {
	const char *name;
	find_fn *find;
	const char *remedy;
} unsupported[] = {
	{"RUN --device", find_device, "builds have no devices"},
	{"a required RUN --mount=type=ssh", find_ssh,
		"builds are given no SSH agent; use --mount=type=secret"},
	{"RUN --network=host", find_host_network,
		"builds reach the network without it, but never the host"},
	{"RUN --security=insecure", find_insecure, "builds run without privileges"},
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
