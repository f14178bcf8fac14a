/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_OUTPUT_H
#define STORE_OUTPUT_H

/*
 * A file of the user's that is there when it is whole: written without a name, or where the
 * file system has no such files under another one, and then renamed. Pipes and devices are
 * written as they are.
 */
#include "base/cleanup.h"
#include "base/err.h"

struct output {
	int fd;
	int dir;    /* < 0: nothing is to be renamed */
	char *name; /* in dir */
	char *temp; /* what it is called meanwhile; NULL: it has no name yet */
};

/* `path` as the user wrote it. */
must_use int output_open(const char *path, struct output *ret, struct err *err);
/* It is whole. */
must_use int output_keep(struct output *o, struct err *err);
/* Close it; what was not kept leaves nothing behind. */
void output_done(struct output *o);
DEFINE_CLEANUP_VALUE(struct output, output_done);

#endif
