/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_CGROUP_H
#define OS_CGROUP_H

/*
 * One control group with limits, on whichever of the kernel's hierarchies this host has:
 * version 2 (as root, or in a subtree that was delegated to the user), version 1
 * controllers (as root), or a mixture of both. The group is made by the process that keeps
 * the rights on it; members join through descriptors, which also works from inside a user
 * namespace that has no right on the files.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/err.h"

struct cgroup_limits {
	uint64_t memory;     /* bytes, swap included; 0: none */
	uint64_t pids;	     /* processes and threads; 0: none */
	uint32_t milli_cpus; /* 2000: two cores; 0: none */
};

struct cgroup;

/*
 * Make the group "spaceport-PID-name" (`name` is one component) below this process's own group and
 * set the limits. Returns 0 even when some limit cannot be had: ret_missing then says which
 * and why ("memory: …"), for the user to be told; it is empty when all hold. A host
 * without any usable hierarchy gives a group that limits nothing.
 */
must_use int cgroup_new(const char *name, const struct cgroup_limits *limits, struct cgroup **ret,
	char ret_missing[static 256], struct err *err);

/* Kills what is left in it, removes it. */
void cgroup_free(struct cgroup *group);
DEFINE_CLEANUP(struct cgroup *, cgroup_free);

/*
 * Descriptors of cgroup.procs, one a hierarchy; the group owns them. A process joins by
 * cgroup_join() after fork, in whatever namespace it is by then. Where no group limits processes,
 * it also takes on the limit as one of its user's (RLIMIT_NPROC): a fork bomb has an end
 * everywhere.
 */
int cgroup_join(const struct cgroup *group); /* 0 or errno */

struct cgroup_usage {
	uint64_t memory_peak; /* bytes; 0 when not known */
	uint64_t memory_limit;
	uint64_t oom_kills;
	uint64_t pids_denied; /* forks that hit the pids limit */
};

void cgroup_usage(const struct cgroup *group, struct cgroup_usage *ret);

/* Send a signal to every member (SIGKILL repeats until none is left, for a second at most). */
void cgroup_kill(const struct cgroup *group, int sig);

/* Remove the groups that killed processes left behind, by the process id in their name. */
void cgroup_sweep(void);

#endif
