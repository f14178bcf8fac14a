/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "tree/internal.h"

enum { MAX_LIST = 64 * 1024, MAX_VALUE = 64 * 1024 }; /* the kernel's own limits */

/*
 * What a file's meaning in an image depends on. user.overlay.* would change how a layer is
 * mounted instead, and all other names belong to the host (labels, access lists).
 */
bool tree_xattr_is_carried(const char *name)
{
	struct str s = str_of(name);

	return (str_starts(s, STR("user.")) && !str_starts(s, STR("user.overlay."))) ||
	       str_is(s, "security.capability");
}

static int by_name(const void *a, const void *b)
{
	const struct tree_xattr *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Adds the attribute, if it is there: it may have gone since it was listed. */
static int read_one(struct arena *a, int fd, const char *name, struct tree_xattr *ret, size_t *size,
	struct err *err)
{
	cleanup_free char *value = xmalloc(MAX_VALUE);
	ssize_t n = fgetxattr(fd, name, value, MAX_VALUE);

	if (n < 0)
		return 0;
	/* The 8 bytes are those of the record's lengths. */
	*size += strlen(name) + (size_t)n + 8;
	if (*size > TREE_MAX_XATTRS)
		return err_set(err, ERR_LIMIT, "more than %d bytes of extended attributes",
			TREE_MAX_XATTRS);
	ret->name = arena_strdup(a, name);
	ret->value = arena_str(a, str_from(value, (size_t)n));
	return 1;
}

static int read_listed(struct arena *a, int fd, struct str list, const struct tree_xattr **ret,
	size_t *ret_count, struct err *err)
{
	struct tree_xattr *xattrs = NULL;
	size_t count = 0, cap = 0, size = 0;

	for (; list.n; list = str_from_index(list, strlen(list.p) + 1)) {
		if (!tree_xattr_is_carried(list.p))
			continue;
		xattrs = arena_grow(a, xattrs, count, &cap, sizeof(*xattrs));
		int r = read_one(a, fd, list.p, &xattrs[count], &size, err);
		if (r < 0)
			return r;
		count += (size_t)r;
	}
	if (count)
		qsort(xattrs, count, sizeof(*xattrs), by_name);
	*ret = xattrs;
	*ret_count = count;
	return 0;
}

int tree_xattrs_read(
	struct arena *a, int fd, const struct tree_xattr **ret, size_t *ret_count, struct err *err)
{
	char few[512];
	ssize_t n = flistxattr(fd, few, sizeof(few));

	*ret = NULL;
	*ret_count = 0;
	if (n >= 0)
		return n ? read_listed(a, fd, str_from(few, (size_t)n), ret, ret_count, err) : 0;
	if (errno != ERANGE)
		return 0;
	cleanup_free char *list = xmalloc(MAX_LIST);
	n = flistxattr(fd, list, MAX_LIST);
	return n > 0 ? read_listed(a, fd, str_from(list, (size_t)n), ret, ret_count, err) : 0;
}

void tree_xattrs_write(int fd, const struct tree_entry *entry)
{
	for (size_t i = 0; i < entry->xattr_count; i++) {
		const struct tree_xattr *x = &entry->xattrs[i];
		(void)fsetxattr(fd, x->name, x->value.p, x->value.n, 0); /* best effort */
	}
}

void tree_xattrs_print(const struct tree_xattr *xattrs, size_t count, struct buf *ret)
{
	for (size_t i = 0; i < count; i++) {
		buf_add_field(ret, str_of(xattrs[i].name));
		buf_add_field(ret, xattrs[i].value);
	}
}
