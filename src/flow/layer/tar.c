/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive reads the archive's structure and nothing else: no filters, no other formats, no
 * extraction.
 *
 * Names are bytes. libarchive wants to convert pax names from UTF-8 to the locale, and falls
 * back to the bytes as they are, with a warning, where that fails; in a UTF-8 locale both
 * give the bytes of the archive. All other warnings are about damage and are errors here.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>

#include "base/alloc.h"
#include "layer/recipe.h"
#include "layer/unpack.h"

/* Made once: a confined process cannot read the file that describes it. */
static locale_t utf8;

enum { BUFFER = 256 * 1024, PIPE_SIZE = 1 << 20 };

struct tar {
	struct archive *archive;
	struct archive_entry *entry;
	int fd;
	uint64_t limit, *read_count;
	bool is_over; /* the limit was passed */
	char *buffer;
	struct recipe *recipe; /* not owned; NULL: none */
};

static ssize_t fill(struct tar *tar)
{
	ssize_t n;

	do
		n = read(tar->fd, tar->buffer, BUFFER);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	*tar->read_count += (uint64_t)n;
	tar->is_over = *tar->read_count > tar->limit;
	if (tar->recipe)
		recipe_feed(tar->recipe, str_from(tar->buffer, (size_t)n));
	return tar->is_over ? -1 : n;
}

static la_ssize_t give_bytes(struct archive *archive, void *arg, const void **ret)
{
	struct tar *tar = arg;
	ssize_t n = fill(tar);

	if (n < 0)
		archive_set_error(archive, tar->is_over ? EFBIG : errno, "read failed");
	*ret = tar->buffer;
	return n;
}

static int reading_failed(const struct tar *tar, struct err *err)
{
	if (tar->is_over)
		return err_set(err, ERR_LIMIT, "archive: longer than %llu bytes",
			(unsigned long long)tar->limit);
	const char *text = archive_error_string(tar->archive);
	return err_set(err, ERR_INPUT, "archive: %s", text ? text : "not a tar archive");
}

/* Both formats that an image layer may have: tar, and nothing at all. */
static int start_reading(struct tar *tar, struct err *err)
{
	tar->archive = archive_read_new();
	if (!tar->archive || archive_read_support_format_tar(tar->archive) != ARCHIVE_OK ||
		archive_read_support_format_empty(tar->archive) != ARCHIVE_OK)
		return err_set(err, ERR_SYSTEM, "set up libarchive");
	if (archive_read_open(tar->archive, tar, NULL, give_bytes, NULL) != ARCHIVE_OK)
		return reading_failed(tar, err);
	return 0;
}

int tar_prepare(struct err *err)
{
	wchar_t wide;

	if (utf8)
		return 0;
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (!utf8)
		return err_set(err, ERR_HOST, "the C library has no C.UTF-8 locale");
	/* The first conversion loads what all others need. */
	locale_t before = uselocale(utf8);
	int n = mbtowc(&wide, "\303\251", 2);
	uselocale(before);
	return n == 2 ? 0 : err_set(err, ERR_HOST, "the C library cannot read UTF-8");
}

int tar_open(int fd, uint64_t limit, uint64_t *read_count, struct recipe *recipe, struct tar **ret,
	struct err *err)
{
	cleanup(tar_close) struct tar *tar = xcalloc(1, sizeof(*tar));

	tar->fd = fd;
	tar->limit = limit;
	tar->read_count = read_count;
	tar->recipe = recipe;
	tar->buffer = xmalloc(BUFFER);
	(void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE); /* fewer switches; no pipe, no matter */
	int r = tar_prepare(err);
	if (r < 0)
		return r;
	locale_t before = uselocale(utf8);
	r = start_reading(tar, err);
	uselocale(before);
	if (r < 0)
		return r;
	*ret = take_ptr(tar);
	return 0;
}

void tar_close(struct tar *tar)
{
	if (!tar)
		return;
	if (tar->archive)
		archive_read_free(tar->archive);
	free(tar->buffer);
	free(tar);
}

/* ARCHIVE_ERRNO_FILE_FORMAT, by its value: libarchive keeps the name to itself. */
static bool is_about_characters(const struct tar *tar)
{
	return archive_errno(tar->archive) == EILSEQ;
}

static int read_header(struct tar *tar)
{
	locale_t before = uselocale(utf8);
	int r = archive_read_next_header(tar->archive, &tar->entry);

	uselocale(before);
	return r;
}

static void describe(struct archive_entry *from, struct tar_entry *ret)
{
	const char *hard = archive_entry_hardlink(from);

	*ret = (struct tar_entry){
		.name = archive_entry_pathname(from),
		.target = hard ? hard : archive_entry_symlink(from),
		.is_hard_link = hard != NULL,
		.mode = archive_entry_mode(from),
		.uid = archive_entry_uid(from),
		.gid = archive_entry_gid(from),
		.size = (uint64_t)archive_entry_size(from),
		.mtime = {archive_entry_mtime(from), archive_entry_mtime_nsec(from)},
	};
	/* Old archives tell directories from files by the slash. */
	size_t n = ret->name ? strlen(ret->name) : 0;
	if (S_ISREG(ret->mode) && n && ret->name[n - 1] == '/')
		ret->mode = S_IFDIR | (ret->mode & 07777);
	if (ret->mtime.tv_nsec < 0 || ret->mtime.tv_nsec >= 1000000000)
		ret->mtime.tv_nsec = 0;
}

int tar_next(struct tar *tar, struct tar_entry *ret, struct err *err)
{
	locale_t before;
	int r = read_header(tar);

	if (r == ARCHIVE_EOF)
		return TAR_E_END;
	if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && is_about_characters(tar)))
		return reading_failed(tar, err);
	before = uselocale(utf8);
	describe(tar->entry, ret);
	archive_entry_xattr_reset(tar->entry);
	uselocale(before);
	if (!ret->name)
		return err_set(err, ERR_INPUT, "archive: an entry without a name");
	if (archive_entry_size(tar->entry) < 0)
		return err_set(err, ERR_INPUT, "archive: %s: negative size", ret->name);
	return 0;
}

int tar_data(struct tar *tar, struct str *ret_data, uint64_t *ret_offset, struct err *err)
{
	const void *p;
	size_t n;
	la_int64_t offset;
	int r = archive_read_data_block(tar->archive, &p, &n, &offset);

	if (r == ARCHIVE_EOF)
		return TAR_E_END;
	if (r != ARCHIVE_OK || offset < 0)
		return reading_failed(tar, err);
	*ret_data = str_from(p, n);
	*ret_offset = (uint64_t)offset;
	return 0;
}

bool tar_xattr(struct tar *tar, const char **ret_name, struct str *ret_value)
{
	const void *value;
	size_t size;

	if (archive_entry_xattr_next(tar->entry, ret_name, &value, &size) != ARCHIVE_OK)
		return false;
	*ret_value = str_from(value, size);
	return true;
}

int tar_drain(struct tar *tar, struct err *err)
{
	ssize_t n;

	while ((n = fill(tar)) > 0)
		;
	if (n == 0)
		return 0;
	return tar->is_over ? reading_failed(tar, err) : err_sys(err, "archive: read");
}
