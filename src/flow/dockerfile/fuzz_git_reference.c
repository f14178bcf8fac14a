/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* git takes NAME::ADDRESS for a call of the program git-remote-NAME. */
static bool names_helper(const char *url)
{
	static const char scheme[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789+-.";

	return strncmp(url + strspn(url, scheme), "::", 2) == 0;
}

/* Whatever comes through must not be an option, nor lead out of the repository. */
static void check(const struct plan_git *git)
{
	struct str rest = str_of(git->subdir + 1);

	if (git->url[0] == '-' || git->ref[0] == '-' || git->subdir[0] != '/' ||
		strstr(git->ref, "..") || names_helper(git->url))
		abort();
	while (rest.p) {
		struct str part = str_cut(&rest, '/');
		if (str_is(part, "..") || str_is(part, ".git"))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena a = {0};
	struct plan_git git;
	struct err err = {0};

	if (git_reference_parse(&a, str_from((const char *)data, size), &git, &err) == 0)
		check(&git);
	return 0;
}
