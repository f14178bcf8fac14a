/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"

enum { XATTR_NAMES = 64 * 1024, XATTR_VALUE = 64 * 1024, CAPABILITY_MAX = 24 };

#define CAPABILITY "security.capability"

/* ---- Attributes ---- */

bool pack_capability(struct str value, char ret[static CAPABILITY_MAX], size_t *ret_length)
{
	uint32_t magic;

	if (value.n != XATTR_CAPS_SZ_2 && value.n != XATTR_CAPS_SZ_3)
		return false;
	/* Little-endian whatever the machine. */
	memcpy(ret, value.p, XATTR_CAPS_SZ_2);
	magic = (uint32_t)(unsigned char)ret[3] << 24;
	if (magic != VFS_CAP_REVISION_2 && magic != VFS_CAP_REVISION_3)
		return false;
	ret[3] = (char)(VFS_CAP_REVISION_2 >> 24);
	*ret_length = XATTR_CAPS_SZ_2;
	return true;
}

static bool is_packed(const char *name)
{
	/* A key of a pax record ends at its first '='. */
	return strcmp(name, CAPABILITY) == 0 ||
	       (strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0 &&
		       !strchr(name, '='));
}

static int add_attribute(
	int fd, const char *name, struct arena *a, struct pack_attributes *ret, struct err *err)
{
	cleanup_free char *value = xmalloc(XATTR_VALUE);
	char capability[CAPABILITY_MAX];
	ssize_t n = fgetxattr(fd, name, value, XATTR_VALUE);
	struct str text;

	if (n < 0)
		return err_sys(err, "read extended attribute %s", name);
	text = str_from(value, (size_t)n);
	if (strcmp(name, CAPABILITY) == 0) {
		if (!pack_capability(text, capability, &text.n))
			return 0;
		text.p = capability;
	}
	ret->items[ret->count++] =
		(struct tar_attribute){arena_strdup(a, name), arena_str(a, text)};
	return 0;
}

static int compare_attributes(const void *a, const void *b)
{
	const struct tar_attribute *one = a, *two = b;

	return strcmp(one->name, two->name);
}

static int read_values(
	int fd, struct str names, struct arena *a, struct pack_attributes *ret, struct err *err)
{
	size_t count = 0;
	int r = 0;

	for (size_t i = 0; i < names.n; i++)
		count += names.p[i] == '\0';
	ret->items = arena_array(a, count, sizeof(*ret->items));
	for (const char *name = names.p; r == 0 && name < names.p + names.n;
		name += strlen(name) + 1) {
		if (is_packed(name))
			r = add_attribute(fd, name, a, ret, err);
	}
	if (ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_attributes);
	return r;
}

int pack_attributes_read(int fd, struct arena *a, struct pack_attributes *ret, struct err *err)
{
	*ret = (struct pack_attributes){0};
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n == 0 || (n < 0 && errno == ENOTSUP))
		return 0;
	if (n > 0 && n <= XATTR_NAMES) {
		cleanup_free char *names = xmalloc((size_t)n);
		n = flistxattr(fd, names, (size_t)n);
		if (n >= 0)
			return read_values(fd, str_from(names, (size_t)n), a, ret, err);
	}
	return err_sys(err, "list extended attributes");
}

static bool same_attributes(const struct pack_attributes *a, const struct pack_attributes *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i].name, b->items[i].name) != 0 ||
			!str_eq(a->items[i].value, b->items[i].value))
			return false;
	}
	return true;
}

/* ---- Comparing with what is below ---- */

/* Reads exactly n bytes. */
static int read_exactly(int fd, char *to, size_t n, struct err *err)
{
	while (n) {
		ssize_t got = read(fd, to, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, "read");
		if (got == 0)
			return err_set(err, ERR_BUSY, "became shorter while it was read");
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

static int same_content(struct pack *p, int fd, int below, uint64_t size, struct err *err)
{
	while (size) {
		size_t n = size < PACK_COMPARED ? (size_t)size : PACK_COMPARED;
		if (read_exactly(fd, p->compared[0], n, err) < 0 ||
			read_exactly(below, p->compared[1], n, err) < 0)
			return -(int)err->kind;
		if (memcmp(p->compared[0], p->compared[1], n) != 0)
			return 0;
		size -= n;
	}
	return 1;
}

/* Files and directories: what can be opened. */
static int same_opened(
	struct pack *p, const struct pack_entry *e, const struct pack_entry *below, struct err *err)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	cleanup_close int fd = openat(e->dirfd, e->name, flags);
	cleanup_close int below_fd = openat(below->dirfd, below->name, flags);
	cleanup(arena_done) struct arena a = {0};
	struct pack_attributes mine, theirs;

	if (fd < 0 || below_fd < 0)
		return err_sys(err, "open");
	if (pack_attributes_read(fd, &a, &mine, err) < 0 ||
		pack_attributes_read(below_fd, &a, &theirs, err) < 0)
		return -(int)err->kind;
	if (!same_attributes(&mine, &theirs))
		return 0;
	if (S_ISDIR(e->st.st_mode))
		return 1;
	return same_content(p, fd, below_fd, (uint64_t)e->st.st_size, err);
}

static int same_target(
	struct pack *p, const struct pack_entry *e, const struct pack_entry *below, struct err *err)
{
	ssize_t n = readlinkat(e->dirfd, e->name, p->compared[0], PATH_MAX);
	ssize_t m = readlinkat(below->dirfd, below->name, p->compared[1], PATH_MAX);

	if (n < 0 || m < 0)
		return err_sys(err, "read link");
	return n == m && memcmp(p->compared[0], p->compared[1], (size_t)n) == 0;
}

int pack_is_same(
	struct pack *p, const struct pack_entry *e, const struct pack_entry *below, struct err *err)
{
	const struct stat *a = &e->st, *b = &below->st;

	if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
		a->st_rdev != b->st_rdev)
		return 0;
	if (S_ISDIR(a->st_mode))
		return same_opened(p, e, below, err);
	/* With a second name it belongs to a change, wherever that name is. */
	if (a->st_nlink > 1 || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
		a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
		return 0;
	if (S_ISREG(a->st_mode))
		return same_opened(p, e, below, err);
	return S_ISLNK(a->st_mode) ? same_target(p, e, below, err) : 1;
}

/* ---- Writing ---- */

int pack_flush(struct pack *p, struct err *err)
{
	struct str bytes = str_from(p->buffer, p->filled);

	p->stats.size += bytes.n;
	p->filled = 0;
	return bytes.n ? p->options->write(p->options->arg, bytes, err) : 0;
}

int pack_add(struct pack *p, struct str bytes, struct err *err)
{
	int r = 0;

	while (bytes.n && r == 0) {
		size_t room = PACK_BUFFER - p->filled, n = bytes.n < room ? bytes.n : room;
		memcpy(p->buffer + p->filled, bytes.p, n);
		p->filled += n;
		bytes = str_from_index(bytes, n);
		if (p->filled == PACK_BUFFER)
			r = pack_flush(p, err);
	}
	return r;
}

static int64_t time_of(const struct pack *p, const struct stat *st)
{
	int64_t seconds = st->st_mtim.tv_sec;

	return p->options->has_epoch && seconds > p->options->epoch ? p->options->epoch : seconds;
}

static struct tar_header header_of(const struct pack *p, const struct stat *st, enum tar_type type)
{
	return (struct tar_header){
		.type = type,
		.name = buf_str(&p->path),
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime = time_of(p, st),
	};
}

static int write_header(struct pack *p, const struct tar_header *header, struct err *err)
{
	p->stats.entries++;
	buf_clear(&p->header);
	tar_print(header, &p->header);
	return pack_add(p, buf_str(&p->header), err);
}

int pack_add_content(struct pack *p, int fd, uint64_t size, struct err *err)
{
	int r = 0;

	while (size && r == 0) {
		size_t room = PACK_BUFFER - p->filled;
		size_t n = size < room ? (size_t)size : room;
		r = read_exactly(fd, p->buffer + p->filled, n, err);
		p->filled += n;
		size -= n;
		if (r == 0 && p->filled == PACK_BUFFER)
			r = pack_flush(p, err);
	}
	return r;
}

/* Read through its holes: an archive with sparse files in it is none that all can read. */
static int write_content(struct pack *p, int fd, uint64_t size, struct err *err)
{
	static const char zeros[TAR_BLOCK];
	int r = pack_add_content(p, fd, size, err);

	return r == 0 ? pack_add(p, str_from(zeros, tar_padding(size)), err) : r;
}

/* Its first name, if it has been written under one already; else this becomes it. */
static const char *first_name(struct pack *p, const struct stat *st)
{
	const uint64_t inode[2] = {st->st_dev, st->st_ino};
	struct str key = str_from((const char *)inode, sizeof(inode));

	if (st->st_nlink < 2)
		return NULL;
	const char *name = map_find(p->links, key);
	if (!name)
		(void)map_set(p->links, key, arena_strdup(&p->arena, buf_text(&p->path)));
	return name;
}

static int write_link(
	struct pack *p, const struct pack_entry *e, const char *target, struct err *err)
{
	struct tar_header header = header_of(p, &e->st, TAR_LINK);

	header.target = str_of(target);
	return write_header(p, &header, err);
}

static int write_file(struct pack *p, const struct pack_entry *e, struct err *err)
{
	cleanup_close int fd = -1;
	cleanup(arena_done) struct arena a = {0};
	struct pack_attributes attributes;
	const char *first = first_name(p, &e->st);

	if (first)
		return write_link(p, e, first, err);
	fd = openat(e->dirfd, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "open");
	int r = pack_attributes_read(fd, &a, &attributes, err);
	if (r < 0)
		return r;
	struct tar_header header = header_of(p, &e->st, TAR_FILE);
	header.size = (uint64_t)e->st.st_size;
	header.attributes = attributes.items;
	header.attribute_count = attributes.count;
	r = write_header(p, &header, err);
	return r == 0 ? write_content(p, fd, header.size, err) : r;
}

static int write_dir(struct pack *p, const struct pack_entry *e, struct err *err)
{
	cleanup_close int fd =
		openat(e->dirfd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup(arena_done) struct arena a = {0};
	struct pack_attributes attributes;
	size_t length = p->path.len;

	if (fd < 0)
		return err_sys(err, "open");
	int r = pack_attributes_read(fd, &a, &attributes, err);
	if (r < 0)
		return r;
	buf_add_text(&p->path, length ? "/" : "./");
	struct tar_header header = header_of(p, &e->st, TAR_DIR);
	header.attributes = attributes.items;
	header.attribute_count = attributes.count;
	r = write_header(p, &header, err);
	buf_truncate(&p->path, length);
	return r;
}

static int write_symlink(struct pack *p, const struct pack_entry *e, struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(e->dirfd, e->name, target, sizeof(target));
	const char *first = first_name(p, &e->st);

	if (n < 0)
		return err_sys(err, "read link");
	if (first)
		return write_link(p, e, first, err);
	struct tar_header header = header_of(p, &e->st, TAR_SYMLINK);
	header.mode = 0777;
	header.target = str_from(target, (size_t)n);
	return write_header(p, &header, err);
}

static int write_plain(
	struct pack *p, const struct pack_entry *e, enum tar_type type, struct err *err)
{
	const char *first = first_name(p, &e->st);

	if (first)
		return write_link(p, e, first, err);
	struct tar_header header = header_of(p, &e->st, type);
	header.major = major(e->st.st_rdev);
	header.minor = minor(e->st.st_rdev);
	return write_header(p, &header, err);
}

int pack_write(struct pack *p, const struct pack_entry *e, struct err *err)
{
	switch (e->st.st_mode & S_IFMT) {
	case S_IFREG:
		return write_file(p, e, err);
	case S_IFDIR:
		return write_dir(p, e, err);
	case S_IFLNK:
		return write_symlink(p, e, err);
	case S_IFIFO:
		return write_plain(p, e, TAR_FIFO, err);
	case S_IFCHR:
		return write_plain(p, e, TAR_CHAR, err);
	case S_IFBLK:
		return write_plain(p, e, TAR_BLOCK_DEVICE, err);
	default:
		p->stats.sockets++; /* nothing that an archive could hold */
		return 0;
	}
}

int pack_write_marker(struct pack *p, const char *prefix, const char *name, struct err *err)
{
	struct str path = buf_str(&p->path);
	size_t slash = str_rfind(path, '/');
	cleanup(buf_done) struct buf marker = {0};
	struct tar_header header = {.type = TAR_FILE, .mode = 0600};

	if (slash < path.n)
		buf_add_str(&marker, str_slice(path, 0, slash + 1));
	buf_add_text(&marker, prefix);
	buf_add_text(&marker, name);
	header.name = buf_str(&marker);
	return write_header(p, &header, err);
}
