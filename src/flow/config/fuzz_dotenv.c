/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *from_outside(unused_arg void *arg, const char *name)
{
	return name[0] == 'H' ? "value" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source file = {".env", str_from((const char *)data, size)};
	cleanup(argv_done) struct argv env = {0};
	struct err err = {0};

	if (dotenv_parse(&file, from_outside, NULL, &env, &err)) {
		if (!err.text[0] || err.hint[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < env.count; i++)
		if (env.items[i][0] == '=' || !strchr(env.items[i], '='))
			abort();
	return 0;
}
