/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "tree/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is the name that is looked for, the rest the file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str file = str_from((const char *)data, size);
	struct str name = str_cut(&file, '\n');
	struct passwd_entry entry, again;
	uint32_t gid;

	if (tree_passwd_find_name(file, name, &entry)) {
		/* Some entry has this number, though an earlier one may have it too. */
		if (!str_eq(entry.name, name) || entry.uid == UINT32_MAX ||
			!tree_passwd_find_uid(file, entry.uid, &again) || again.uid != entry.uid)
			abort();
	}
	if (tree_group_find(file, name, &gid) && gid == UINT32_MAX)
		abort();
	while (tree_group_next_of(&file, name, &gid)) {
		if (gid == UINT32_MAX)
			abort();
	}
	return 0;
}
