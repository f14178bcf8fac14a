/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_CREDENTIALS_H
#define IMAGE_CREDENTIALS_H

/*
 * Who we are to a registry, from a docker-style configuration file:
 *
 *	{"auths": {"ghcr.io": {"auth": "base64 of user:password"}},
 *	 "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "secretservice"}
 *
 * A helper NAME is the program docker-credential-NAME; what it says wins over the file.
 */
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"

struct credentials {
	const char *user, *password;
	const char *identity_token; /* an OAuth2 refresh token instead of a password; or "" */
};

enum { CREDENTIALS_E_NONE = 1 };

/*
 * For `registry` ("docker.io", "ghcr.io", "127.0.0.1:5000") and there `repository`; podman
 * writes entries for parts of a registry, of which the longest match counts.
 * CREDENTIALS_E_NONE when there are none for it.
 */
must_use int credentials_find(struct arena *a, const char *path, const char *registry,
	const char *repository, struct credentials *ret, struct err *err);

/* "Basic …", the value of an Authorization header. */
const char *credentials_basic(struct arena *a, const struct credentials *c);

#endif
