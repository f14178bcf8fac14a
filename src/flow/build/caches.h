/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_CACHES_H
#define BUILD_CACHES_H

/*
 * The caches of one RUN: those it mounts, and those that its tools have by themselves. Where
 * that cannot harm they are grafted into the step's upper directory, so that files can be
 * linked from them; else they are bound by mounts.c.
 *
 *	mount, step_caches_make(), unmount, step_caches_in(), mount, run, unmount,
 *	step_caches_out(), publish
 */
#include "build/internal.h"

enum { CACHES_MAX = 64 };

/* On the mounted tree `root`. *ret is NULL for a step without any. */
must_use int step_caches_make(struct build *b, const struct build_step *step,
	struct layer_draft *draft, int root, struct step_caches **ret, struct err *err);
/* Is one to be grafted: does the tree have to be unmounted first? */
bool step_caches_have_graft(const struct step_caches *c);
must_use int step_caches_in(struct step_caches *c, struct err *err);
/*
 * After the run. When layers of `below` had files of a cache that the step wrote into, they
 * have been dropped and the step fails: ERR_FAILED.
 */
must_use int step_caches_out(struct step_caches *c, struct layer_chain below, struct err *err);
void step_caches_free(struct step_caches *c);
DEFINE_CLEANUP(struct step_caches *, step_caches_free);

/* The cache of a mount; NULL when it is grafted and there is nothing to bind. */
struct layer_cache *step_caches_find(const struct step_caches *c, const struct plan_mount *mount);
/* What a step with grafted caches is told. */
void step_caches_env(const struct step_caches *c, struct argv *env);

/* ---- tool_cache.c ---- */

/* Neither the command line nor the settings switched them off. */
bool build_has_tool_cache(const struct build *b);
/* Of enum tool: those whose caches this RUN gets, as far as its words and variables tell. */
unsigned tool_caches_wanted(const struct plan_run *run);
/* The directory of one of them, NULL when it has no usable one. The caller's to free. */
char *tool_cache_dir(const struct plan_run *run, unsigned tool, const char *home);
const char *tool_cache_name(unsigned tool);

#endif
