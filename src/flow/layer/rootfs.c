/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "layer/internal.h"

static int make_real(int root, const char *name, bool *ret_made, struct err *err)
{
	struct stat st;

	*ret_made = false;
	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		if (unlinkat(root, name, 0) < 0)
			return err_sys(err, "remove /%s, which is no directory", name);
	} else if (errno != ENOENT) {
		return err_sys(err, "stat /%s", name);
	}
	if (mkdirat(root, name, 0755) < 0 || fchmodat(root, name, 0755, 0) < 0)
		return err_sys(err, "make /%s", name);
	*ret_made = true;
	return 0;
}

int layer_rootfs_prepare(int root, unsigned *ret_made, struct err *err)
{
	static const struct {
		const char *name;
		unsigned bit;
	} dirs[] = {{"dev", LAYER_MADE_DEV}, {"proc", LAYER_MADE_PROC}, {"sys", LAYER_MADE_SYS}};
	unsigned all = 0;

	for (size_t i = 0; i < array_size(dirs); i++) {
		bool made;
		int r = make_real(root, dirs[i].name, &made, err);
		if (r < 0)
			return r;
		all |= made ? dirs[i].bit : 0;
	}
	if (ret_made)
		*ret_made = all;
	return 0;
}
