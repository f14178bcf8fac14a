/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "build/internal.h"

/* The plan for people. */

static void print_base(const struct build *b, const struct plan_stage *stage, struct buf *ret)
{
	bool absent = stage->base.kind == PLAN_IMAGE && !b->records[stage->base.index].config.n;

	buf_printf(ret, "%s%sFROM %s%s\n", stage->label, *stage->label ? ": " : "",
		stage->base_name, absent ? "  (would be pulled)" : "");
}

static void print_stage(const struct build *b, const struct build_stage *stage, struct buf *ret)
{
	print_base(b, stage->plan, ret);
	for (size_t i = 0; i < stage->step_count; i++) {
		const struct build_step *step = &stage->steps[i];
		cleanup(buf_done) struct buf name = {0};
		plan_op_print(stage->plan, step->op, &name);
		buf_printf(ret, "  %-8s%s\n", step->cached ? "cached" : "run", buf_text(&name));
	}
}

void build_print_plan(const struct build *b, struct buf *ret)
{
	for (size_t i = 0; i < b->plan.stage_count; i++)
		if (b->plan.stages[i].needed)
			print_stage(b, &b->stages[i], ret);
}
