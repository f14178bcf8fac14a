/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_CHALLENGE_H
#define IMAGE_CHALLENGE_H

/*
 * What a registry says when it wants to know who asks: WWW-Authenticate (RFC 9110, RFC 6750 and
 * distribution's token specification). Pure.
 */
#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
	enum challenge_scheme scheme;
	const char *realm, *service; /* "" when absent; of CHALLENGE_BEARER */
	const char *error;	     /* "insufficient_scope", …; "" when absent */
};

/*
 * Read one header, which may hold several challenges; of those understood Bearer is taken
 * before Basic, and *ret is left alone unless it becomes better. Never fails: what cannot be
 * read is passed over.
 */
void challenge_parse(struct arena *a, struct str header, struct challenge *ret);

#endif
