/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SANDBOX_MOUNTPOINT_H
#define SANDBOX_MOUNTPOINT_H

/*
 * Mounts need something to be mounted on. What is made for that in a container's tree must
 * not become part of a layer, so it is remembered and removed afterwards, if it is still the
 * same and still empty (BuildKit's CVE-2024-23652 was a removal that looked at names only).
 */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"

struct sandbox_mountpoints;

struct sandbox_mountpoints *mountpoints_new(void);
void mountpoints_free(struct sandbox_mountpoints *all);
DEFINE_CLEANUP(struct sandbox_mountpoints *, mountpoints_free);

/* Make `path`, resolved in root, as a directory or an empty file unless it exists. */
must_use int mountpoint_make(
	struct sandbox_mountpoints *all, int root, const char *path, bool is_dir, struct err *err);

/* Remove, newest first. */
void mountpoints_remove(struct sandbox_mountpoints *all);

#endif
