/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "build/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = xstrndup((const char *)data, size);
	char sh[] = "/bin/sh", option[] = "-c", *items[] = {sh, option, text};
	const struct oci_list argv = {items, array_size(items)};
	struct words words = words_of(&argv);

	/* A word that nobody knows makes any text one that may do anything. */
	cleanup_free char *more = xprintf("unknown-program; %s", text);
	items[2] = more;
	struct words worse = words_of(&argv);
	if (worse.is_plain || (worse.tools & ~words.tools))
		abort();
	return 0;
}
