/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/test_archive.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- Archives ---- */

static void field(char *to, size_t size, unsigned long value)
{
	snprintf(to, size, "%0*lo", (int)size - 1, value);
}

void archive_pad(struct buf *tar)
{
	static const char zeros[512];

	if (tar->len % 512)
		buf_add(tar, zeros, 512 - tar->len % 512);
}

void archive_add_header(struct buf *tar, const struct item *i, size_t size)
{
	static const char magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
	char h[512] = {0};
	unsigned long sum = 0;

	memcpy(h, i->name, strnlen(i->name, 100));
	field(h + 100, 8, i->mode);
	field(h + 108, 8, i->uid);
	field(h + 116, 8, i->gid);
	field(h + 124, 12, size);
	if (i->size)
		memcpy(h + 124, i->size, strlen(i->size));
	field(h + 136, 12, 1000000000);
	memset(h + 148, ' ', 8);
	h[156] = (char)(i->type ? i->type : '0');
	if (i->link)
		memcpy(h + 157, i->link, strnlen(i->link, 100));
	memcpy(h + 257, magic, sizeof(magic));
	for (size_t k = 0; k < sizeof(h); k++)
		sum += (unsigned char)h[k];
	field(h + 148, 7, sum);
	buf_add(tar, h, sizeof(h));
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
void archive_add_record(struct buf *to, const char *p, size_t n)
{
	size_t length = n + 3, digits;

	do {
		digits = length;
		length = n + 2 + (size_t)snprintf(NULL, 0, "%zu", digits);
	} while (length != digits);
	buf_printf(to, "%zu ", length);
	buf_add(to, p, n);
	buf_add_char(to, '\n');
}

void archive_add(struct buf *tar, const struct item *i)
{
	cleanup(buf_done) struct buf records = {0};
	size_t size = i->data ? strlen(i->data) : 0;

	for (size_t k = 0; k < array_size(i->pax) && i->pax[k]; k++)
		archive_add_record(&records, i->pax[k],
			k == 0 && i->pax_size ? i->pax_size : strlen(i->pax[k]));
	if (records.len) {
		const struct item x = {.name = "PaxHeader", .type = 'x', .mode = 0644};
		archive_add_header(tar, &x, records.len);
		buf_add_str(tar, buf_str(&records));
		archive_pad(tar);
	}
	archive_add_header(tar, i, size);
	buf_add(tar, i->data ? i->data : "", size);
	archive_pad(tar);
}

void archive_end(struct buf *tar)
{
	static const char zeros[1024];

	buf_add(tar, zeros, sizeof(zeros));
}

int archive_file(struct str bytes)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* ---- Unpacking them ---- */

struct result unpack_bytes(int root, struct str bytes, const struct layer_unpack_options *options)
{
	static const struct layer_unpack_options defaults;
	struct result result = {0};
	int fd = archive_file(bytes);

	result.r =
		layer_unpack(root, fd, options ? options : &defaults, &result.stats, &result.err);
	close(fd);
	return result;
}

int archive_root(struct scratch *s)
{
	struct err err = {0};

	if (dir_remove_tree(s->dir, "root", &err) < 0 || mkdirat(s->dir, "root", 0755) < 0)
		fail_msg("new root: %s", err.text);
	return openat(s->dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

struct result unpack_items(int root, size_t count, const struct item *items,
	const struct layer_unpack_options *options)
{
	cleanup(buf_done) struct buf tar = {0};

	for (size_t i = 0; i < count; i++)
		archive_add(&tar, &items[i]);
	archive_end(&tar);
	return unpack_bytes(root, buf_str(&tar), options);
}
