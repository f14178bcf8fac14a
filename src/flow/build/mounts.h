/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_MOUNTS_H
#define BUILD_MOUNTS_H

/*
 * RUN --mount. Whatever a mount shows is first bound to a name in scratch by descriptor
 * (/proc/self/fd/N), after it was opened beneath its own root: the runtime then gets a path of
 * ours, and no part of it can be exchanged by what a Dockerfile or an image names.
 */
#include "build/internal.h"

enum { MAX_MOUNTS = 64 };

/* A thing in scratch. */
struct held {
	char *path; /* a mount point, or a file of ours */
	bool is_mounted;
	int lifeline;		  /* while it is open an ssh-agent is served there; < 0: none is */
	struct layer_draft *copy; /* a throw-away copy, or the changes to what is shown */
	char *overlay;		  /* name in scratch of a tree mounted with these changes */
};

struct step_mounts {
	struct sandbox_mount items[MAX_MOUNTS];
	struct held held[MAX_MOUNTS];
	size_t count;	   /* of items */
	size_t next_input; /* of the step's: one for each mount that has one */
	struct argv *env;  /* the step's: secrets may be variables */
	size_t held_count;
};

struct held *mounts_hold(struct build *b, struct step_mounts *m, const char *what);
/* Bind what `fd` is to the held path. */
must_use int mounts_bind(struct held *h, int fd, struct err *err);
void mounts_add(
	struct step_mounts *m, const struct plan_mount *plan, const char *source, bool no_exec);

/* mount_bind.c */
must_use int mount_bind(struct build *b, struct step_mounts *m, const struct plan_mount *plan,
	const struct build_input *input, struct err *err);
/* mount_secret.c */
must_use int mount_secret(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err);
must_use int mount_script(
	struct build *b, struct step_mounts *m, const struct plan_file *script, struct err *err);
/* mount_ssh.c */
must_use int mount_ssh(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err);

#endif
