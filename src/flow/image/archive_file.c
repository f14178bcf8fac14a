/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive_file.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/dir.h"

enum { MAX_ENTRIES = 100000, MAX_NAME = 4096, MAX_LINKS = 10, READ_BYTES = 256 << 10 };

struct archive_entry_info {
	const char *name;
	const char *link; /* the entry that it stands for, or NULL */
	uint64_t size;
};

/* ---- libarchive ---- */

static int archive_error(struct archive *a, const struct archive_file *file, struct err *err)
{
	const char *why = archive_error_string(a);

	if (!archive_format(a))
		why = "is no tar archive";
	return err_set(err, ERR_INPUT, "%s: %s", file->path, why ? why : "cannot be read");
}

/*
 * Where one reading of the file is. Positions are our own, not the descriptor's: several
 * processes read through the same one.
 */
struct reader {
	const struct archive_file *file;
	struct archive *archive;
	off_t at, size;
	char *chunk;
};

static void reader_done(struct reader *r)
{
	archive_read_free(r->archive); /* NULL will do */
	free(r->chunk);
}
DEFINE_CLEANUP_VALUE(struct reader, reader_done);

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct reader *r = arg;
	ssize_t n;

	do
		n = pread(r->file->fd, r->chunk, READ_BYTES, r->at);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(a, errno, "%s", strerror(errno));
		return ARCHIVE_FATAL;
	}
	r->at += n;
	*ret = r->chunk;
	return n;
}

static la_int64_t on_skip(struct archive *a, void *arg, la_int64_t request)
{
	struct reader *r = arg;
	la_int64_t left = r->size - r->at;

	(void)a;
	if (request > left)
		request = left;
	r->at += request;
	return request;
}

/* r is not moved afterwards, and released by the caller in any case. */
static int start_reading(const struct archive_file *file, struct reader *r, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return err_sys(err, "%s", file->path);
	*r = (struct reader){.file = file,
		.archive = archive_read_new(),
		.size = st.st_size,
		.chunk = xmalloc(READ_BYTES)};
	if (!r->archive)
		return err_set(err, ERR_SYSTEM, "libarchive: out of memory");
	archive_read_support_format_tar(r->archive);
	archive_read_support_filter_gzip(r->archive);
	archive_read_support_filter_zstd(r->archive);
	if (archive_read_open2(r->archive, r, NULL, on_read, on_skip, NULL) != ARCHIVE_OK)
		return archive_error(r->archive, file, err);
	return 0;
}

static struct str plain_name(struct str name)
{
	for (;;) {
		if (str_starts(name, STR("./")))
			name = str_from_index(name, 2);
		else if (name.n && name.p[0] == '/')
			name = str_from_index(name, 1);
		else
			return name;
	}
}

/* The next header: 1, 0 at the end, < 0. */
static int next_entry(struct archive *a, const struct archive_file *file,
	struct archive_entry **ret, struct err *err)
{
	int r = archive_read_next_header(a, ret);

	if (r == ARCHIVE_EOF)
		return 0;
	/* A warning is about attributes that are of no interest here. */
	return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 1 : archive_error(a, file, err);
}

/* ---- Looking through ---- */

/* The target of a symbolic link, taken from the directory of the link: no way out to take. */
static const char *link_target(struct arena *a, struct str name, struct str target)
{
	struct str dir = str_slice(name, 0, str_rfind(name, '/'));
	bool has_dir = dir.n < name.n;

	if (target.n && target.p[0] == '/')
		has_dir = false;
	while (str_starts(target, STR("../"))) {
		target = str_from_index(target, 3);
		size_t slash = str_rfind(dir, '/');
		has_dir = has_dir && slash < dir.n;
		dir = str_slice(dir, 0, slash);
	}
	target = plain_name(target);
	return has_dir ? arena_printf(a, "%.*s/%.*s", STR_ARG(dir), STR_ARG(target))
		       : arena_str(a, target).p;
}

static void add_entry(struct arena *a, struct archive_file *file, struct archive_entry *entry)
{
	struct str name = plain_name(str_of(archive_entry_pathname(entry)));
	const char *symlink = archive_entry_symlink(entry);
	const char *hardlink = archive_entry_hardlink(entry);
	struct archive_entry_info info = {0};

	if (!name.n || name.n > MAX_NAME)
		return;
	if (hardlink)
		info.link = arena_str(a, plain_name(str_of(hardlink))).p;
	else if (symlink)
		info.link = link_target(a, name, str_of(symlink));
	else if (archive_entry_filetype(entry) != AE_IFREG)
		return;
	info.name = arena_str(a, name).p;
	info.size = (uint64_t)archive_entry_size(entry);
	file->entries =
		arena_grow(a, file->entries, file->count, &file->cap, sizeof(*file->entries));
	file->entries[file->count++] = info;
}

static int look_through(struct arena *a, struct archive_file *file, struct err *err)
{
	cleanup(reader_done) struct reader reader = {0};
	struct archive_entry *entry;

	int r = start_reading(file, &reader, err);
	if (r < 0)
		return r;
	for (size_t i = 0; (r = next_entry(reader.archive, file, &entry, err)) > 0; i++) {
		if (i == MAX_ENTRIES)
			return err_set(err, ERR_LIMIT, "%s: more than %d entries", file->path,
				MAX_ENTRIES);
		add_entry(a, file, entry);
	}
	return r;
}

int archive_file_open(
	struct arena *a, const char *path, int fd, struct archive_file *ret, struct err *err)
{
	struct stat st;

	*ret = (struct archive_file){.path = path, .fd = -1};
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	ret->fd = fd > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3)
			 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return err_sys(err, "%s", path);
	ret->is_dir = S_ISDIR(st.st_mode);
	if (ret->is_dir || S_ISREG(st.st_mode))
		return ret->is_dir ? 0 : look_through(a, ret, err);
	(void)err_set(err, ERR_INPUT, "%s: is neither a file nor a directory", path);
	return err_hint(err, "an archive is read more than once; write it to a file first");
}

void archive_file_done(struct archive_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/* ---- Reading ---- */

static const struct archive_entry_info *find_entry(
	const struct archive_file *file, const char *name)
{
	for (int links = 0; name && links < MAX_LINKS; links++) {
		const struct archive_entry_info *found = NULL;
		for (size_t i = 0; i < file->count && !found; i++)
			if (strcmp(file->entries[i].name, name) == 0)
				found = &file->entries[i];
		if (!found || !found->link)
			return found;
		name = found->link;
	}
	return NULL;
}

static int open_in_dir(const struct archive_file *file, const char *name, struct err *err)
{
	struct stat st;
	cleanup_close int fd = dir_open_beneath(
		file->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, err);

	if (fd < 0)
		return err_wrap(err, "%s", file->path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_INPUT, "%s/%s: is not a regular file", file->path, name);
	return take_fd(&fd);
}

bool archive_file_has(const struct archive_file *file, const char *name, uint64_t *ret_size)
{
	struct err why = {0};
	struct stat st;
	uint64_t size;

	if (file->is_dir) {
		cleanup_close int fd = open_in_dir(file, name, &why);
		if (fd < 0 || fstat(fd, &st) < 0)
			return false;
		size = (uint64_t)st.st_size;
	} else {
		const struct archive_entry_info *found = find_entry(file, name);
		if (!found)
			return false;
		size = found->size;
	}
	if (ret_size)
		*ret_size = size;
	return true;
}

struct consumer {
	int (*consume)(void *arg, struct str piece, struct err *err);
	void *arg;
};

static int stream_fd(int fd, const struct consumer *to, struct err *err)
{
	cleanup_free char *chunk = xmalloc(READ_BYTES);

	for (;;) {
		ssize_t n = read(fd, chunk, READ_BYTES);
		if (n < 0 && errno != EINTR)
			return err_sys(err, "read image layout");
		if (n == 0)
			return 0;
		int r = n < 0 ? 0 : to->consume(to->arg, str_from(chunk, (size_t)n), err);
		if (r < 0)
			return r;
	}
}

static int stream_entry(struct archive *reader, const struct archive_file *file,
	const struct consumer *to, struct err *err)
{
	const void *data;
	size_t n;
	la_int64_t offset, at = 0;

	for (;;) {
		int r = archive_read_data_block(reader, &data, &n, &offset);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return archive_error(reader, file, err);
		if (offset != at)
			return err_set(err, ERR_INPUT, "%s: holds a sparse file", file->path);
		at += (la_int64_t)n;
		r = to->consume(to->arg, str_from(data, n), err);
		if (r < 0)
			return r;
	}
}

static int stream_from_tar(const struct archive_file *file, const char *name,
	const struct consumer *to, struct err *err)
{
	cleanup(reader_done) struct reader reader = {0};
	const struct archive_entry_info *wanted = find_entry(file, name);
	struct archive_entry *entry;

	if (!wanted)
		return err_set(err, ERR_INPUT, "%s: %s is missing in it", file->path, name);
	int r = start_reading(file, &reader, err);
	if (r < 0)
		return r;
	while ((r = next_entry(reader.archive, file, &entry, err)) > 0)
		if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry) &&
			str_is(plain_name(str_of(archive_entry_pathname(entry))), wanted->name))
			return stream_entry(reader.archive, file, to, err);
	return r < 0 ? r : err_set(err, ERR_INPUT, "%s: changed while it was read", file->path);
}

int archive_file_stream(const struct archive_file *file, const char *name,
	int (*consume)(void *arg, struct str piece, struct err *err), void *arg, struct err *err)
{
	const struct consumer to = {consume, arg};

	if (!file->is_dir)
		return stream_from_tar(file, name, &to, err);
	cleanup_close int fd = open_in_dir(file, name, err);
	return fd < 0 ? fd : stream_fd(fd, &to, err);
}

struct small {
	struct buf *to;
	size_t max;
};

static int collect(void *arg, struct str piece, struct err *err)
{
	struct small *small = arg;

	if (small->to->len + piece.n > small->max)
		return err_set(err, ERR_LIMIT, "is larger than %zu bytes", small->max);
	buf_add_str(small->to, piece);
	return 0;
}

int archive_file_read(const struct archive_file *file, const char *name, size_t max,
	struct buf *ret, struct err *err)
{
	struct small small = {ret, max};
	int r = archive_file_stream(file, name, collect, &small, err);

	return r == -ERR_LIMIT ? err_wrap(err, "%s: %s", file->path, name) : r;
}
