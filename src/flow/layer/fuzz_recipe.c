/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes, both ways. Writing: bytes as an archive in pieces of any size, with names given to
 * files as they come, must end without a complaint of the sanitizers. Reading: records out of any
 * bytes stay inside of them and get on.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layer/recipe.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void read_records(struct str bytes)
{
	struct recipe_record record;
	struct err err;
	size_t before;
	int r;

	do {
		before = bytes.n;
		r = recipe_next(&bytes, &record, &err);
		if (r == 0 && bytes.n >= before)
			abort();
	} while (r == 0);
}

static void write_recipe(struct str bytes)
{
	int fd = memfd_create("recipe", MFD_CLOEXEC);
	struct recipe *r = recipe_new(fd);
	size_t step = bytes.n ? (unsigned char)bytes.p[0] + 1 : 1;

	while (bytes.n) {
		recipe_feed(r, str_slice(bytes, 0, step));
		bytes = str_from_index(bytes, step);
		if (step % 3 == 0)
			recipe_name(r, "path", step);
	}
	(void)recipe_finish(r);
	recipe_free(r);
	close(fd);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct str bytes = str_from((const char *)data, size);

	read_records(bytes);
	write_recipe(bytes);
	return 0;
}
