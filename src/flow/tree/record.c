/* SPDX-License-Identifier: Apache-2.0 */
#include "tree/internal.h"

/*
 * An entry on a socket, numbers in little endian:
 *
 *	u32 mode, uid, gid, link; u64 rdev, size, mtime
 *	u8 flags; u32 path length, target length, number of attributes
 *	path; target; for each attribute: u32 name length, u32 value length, name, value
 */
enum {
	FLAG_FD = 1,
	FLAG_SOURCE = 2,
	FLAG_TARGET = 4,
	FLAGS = 7,
	MAX_XATTR_COUNT = TREE_MAX_XATTRS / 8,
};

void tree_record_print(const struct tree_entry *entry, bool has_fd, struct buf *ret)
{
	struct str target = str_of(entry->target);
	struct str path = str_of(entry->path);
	int flags = (has_fd ? FLAG_FD : 0) | (entry->is_source ? FLAG_SOURCE : 0) |
		    (entry->target ? FLAG_TARGET : 0);

	buf_add_u32(ret, entry->mode);
	buf_add_u32(ret, entry->uid);
	buf_add_u32(ret, entry->gid);
	buf_add_u32(ret, entry->link);
	buf_add_u64(ret, entry->rdev);
	buf_add_u64(ret, entry->size);
	buf_add_u64(ret, (uint64_t)entry->mtime);
	buf_add_char(ret, (char)flags);
	buf_add_u32(ret, (uint32_t)path.n);
	buf_add_u32(ret, (uint32_t)target.n);
	buf_add_u32(ret, (uint32_t)entry->xattr_count);
	buf_add_str(ret, path);
	buf_add_str(ret, target);
	for (size_t i = 0; i < entry->xattr_count; i++) {
		struct str name = str_of(entry->xattrs[i].name);
		buf_add_u32(ret, (uint32_t)name.n);
		buf_add_u32(ret, (uint32_t)entry->xattrs[i].value.n);
		buf_add_str(ret, name);
		buf_add_str(ret, entry->xattrs[i].value);
	}
}

/* What is left of a record; `bad` once something was missing. */
struct reader {
	struct str rest;
	bool bad;
};

static struct str read_bytes(struct reader *r, size_t n)
{
	if (n > r->rest.n) {
		r->bad = true;
		return (struct str){0};
	}
	struct str bytes = str_slice(r->rest, 0, n);
	r->rest = str_from_index(r->rest, n);
	return bytes;
}

static uint64_t read_number(struct reader *r, size_t size)
{
	struct str bytes = read_bytes(r, size);
	uint64_t v = 0;

	for (size_t i = bytes.n; i > 0; i--)
		v = v << 8 | (unsigned char)bytes.p[i - 1];
	return v;
}

/* Text without NUL; NULL when it is none. */
static const char *read_text(struct reader *r, struct arena *a, size_t n, size_t max)
{
	struct str bytes = n <= max ? read_bytes(r, n) : (struct str){0};

	if (bytes.n != n || (n && memchr(bytes.p, '\0', n)))
		r->bad = true;
	return r->bad ? NULL : arena_str(a, bytes).p;
}

static void read_xattrs(struct reader *r, struct arena *a, size_t count, struct tree_entry *ret)
{
	size_t size = 0;

	if (count > MAX_XATTR_COUNT || count > r->rest.n / 8)
		r->bad = true;
	if (r->bad || count == 0)
		return;
	struct tree_xattr *xattrs = arena_array(a, count, sizeof(*xattrs));
	for (size_t i = 0; i < count && !r->bad; i++) {
		size_t name_len = read_number(r, 4);
		size_t value_len = read_number(r, 4);
		xattrs[i].name = read_text(r, a, name_len, 255);
		xattrs[i].value = arena_str(a, read_bytes(r, value_len));
		size += name_len + value_len + 8;
		if (r->bad || size > TREE_MAX_XATTRS || !tree_xattr_is_carried(xattrs[i].name))
			r->bad = true;
	}
	ret->xattrs = xattrs;
	ret->xattr_count = count;
}

static bool is_consistent(const struct tree_entry *e, bool has_fd)
{
	mode_t type = e->mode & S_IFMT;
	bool is_device = type == S_IFCHR || type == S_IFBLK;
	bool is_dir = type == S_IFDIR;

	if (e->mode & ~(mode_t)(S_IFMT | 07777))
		return false;
	if (type != S_IFREG && !is_dir && type != S_IFLNK && type != S_IFIFO && !is_device)
		return false;
	if (*e->path ? !tree_path_is_clean(str_of(e->path)) : !(is_dir && e->is_source))
		return false;
	/* A source that is a file has a name and no directory; one that is a directory has none. */
	if (e->is_source && (is_dir ? *e->path : strchr(e->path, '/') != NULL))
		return false;
	if ((type == S_IFLNK) != (e->target && *e->target) || (e->target && type != S_IFLNK))
		return false;
	return (type == S_IFREG || (!has_fd && !e->size && !e->link)) && (has_fd || !e->size) &&
	       (is_device || !e->rdev) && (type == S_IFREG || is_dir || !e->xattr_count);
}

int tree_record_parse(struct arena *a, struct str *rest, struct tree_entry *ret, bool *ret_has_fd,
	struct err *err)
{
	struct reader r = {*rest, false};
	struct tree_entry e = {0};

	e.mode = (mode_t)read_number(&r, 4);
	e.uid = (uid_t)read_number(&r, 4);
	e.gid = (gid_t)read_number(&r, 4);
	e.link = (uint32_t)read_number(&r, 4);
	e.rdev = read_number(&r, 8);
	e.size = read_number(&r, 8);
	e.mtime = (int64_t)read_number(&r, 8);
	unsigned flags = (unsigned)read_number(&r, 1);
	size_t path_len = read_number(&r, 4);
	size_t target_len = read_number(&r, 4);
	size_t xattr_count = read_number(&r, 4);
	e.path = read_text(&r, a, path_len, TREE_MAX_PATH);
	const char *target = read_text(&r, a, target_len, TREE_MAX_PATH);
	if (flags & FLAG_TARGET)
		e.target = target;
	else if (target_len)
		r.bad = true;
	e.is_source = flags & FLAG_SOURCE;
	read_xattrs(&r, a, xattr_count, &e);
	if (r.bad || flags & ~(unsigned)FLAGS || !is_consistent(&e, flags & FLAG_FD))
		return err_set(err, ERR_BUG, "malformed record of a file");
	*ret_has_fd = flags & FLAG_FD;
	*ret = e;
	*rest = r.rest;
	return 0;
}
