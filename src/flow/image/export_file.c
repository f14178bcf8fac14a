/* SPDX-License-Identifier: Apache-2.0 */
#include "image/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/tar.h"

int export_file_open(int fd, struct export_file *ret, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat the output");
	*ret = (struct export_file){.fd = fd};
	int flags = fcntl(fd, F_GETFL);
	if (!S_ISREG(st.st_mode) || flags < 0 || (flags & O_APPEND))
		return 0;
	off_t at = lseek(fd, 0, SEEK_CUR);
	if (at < 0)
		return err_sys(err, "find the place in the output");
	ret->is_file = true;
	ret->at = (uint64_t)at;
	return 0;
}

static int failed(struct err *err)
{
	int error = errno;

	(void)err_sys(err, "write the archive");
	if (error == ENOSPC || error == EDQUOT)
		return err_hint(err, "free some space, or write it elsewhere with --output");
	return -(int)err->kind;
}

/* Of a pipe, `at` is not used. */
static int write_at(const struct export_file *f, uint64_t at, struct str bytes, struct err *err)
{
	while (bytes.n) {
		ssize_t n = f->is_file ? pwrite(f->fd, bytes.p, bytes.n, (off_t)at)
				       : write(f->fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(err);
		bytes = str_from_index(bytes, (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

int export_file_write(struct export_file *f, struct str bytes, struct err *err)
{
	int r = write_at(f, f->at, bytes, err);

	f->at += bytes.n;
	return r;
}

/* The same bytes at any time, for the same image: owned by root, from 1970. */
static void print_header(const char *name, uint64_t size, struct buf *ret)
{
	struct tar_header header = {
		.type = TAR_FILE, .name = str_of(name), .mode = 0644, .size = size};

	if (str_ends(header.name, STR("/"))) {
		header.type = TAR_DIR;
		header.mode = 0755;
	}
	tar_print_block(&header, ret);
}

int export_file_header(struct export_file *f, const char *name, uint64_t size, struct err *err)
{
	cleanup(buf_done) struct buf header = {0};

	print_header(name, size, &header);
	return export_file_write(f, buf_str(&header), err);
}

int export_file_pad(struct export_file *f, uint64_t size, struct err *err)
{
	static const char zeros[TAR_BLOCK];

	return export_file_write(f, str_from(zeros, tar_padding(size)), err);
}

int export_file_put(struct export_file *f, const char *name, struct str content, struct err *err)
{
	int r = export_file_header(f, name, content.n, err);

	if (r == 0)
		r = export_file_write(f, content, err);
	return r == 0 ? export_file_pad(f, content.n, err) : r;
}

uint64_t export_file_keep(struct export_file *f)
{
	uint64_t place = f->at;

	f->at += TAR_BLOCK;
	return place;
}

int export_file_fill(
	struct export_file *f, uint64_t place, const char *name, uint64_t size, struct err *err)
{
	cleanup(buf_done) struct buf header = {0};
	int r = export_file_pad(f, size, err);

	print_header(name, size, &header);
	return r == 0 ? write_at(f, place, buf_str(&header), err) : r;
}

void export_file_forget(struct export_file *f, uint64_t place)
{
	f->at = place;
}

int export_file_end(struct export_file *f, struct err *err)
{
	static const char zeros[2 * TAR_BLOCK];
	int r = export_file_write(f, str_from(zeros, sizeof(zeros)), err);

	if (r == 0 && f->is_file && ftruncate(f->fd, (off_t)f->at) < 0)
		r = failed(err);
	return r;
}
