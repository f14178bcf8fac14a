/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_EXPORT_FILE_H
#define IMAGE_EXPORT_FILE_H

/*
 * A tar archive on its way to a file or a pipe. In a file the place of a header can be kept
 * until its name and size are known, which saves reading a layer twice.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct export_file {
	int fd;
	bool is_file; /* it can be written at any place */
	uint64_t at;  /* where the next byte goes: in a file from its start */
};

/* A regular file is written from where its descriptor stands. */
must_use int export_file_open(int fd, struct export_file *ret, struct err *err);
/* Bytes of an entry's content. */
must_use int export_file_write(struct export_file *f, struct str bytes, struct err *err);
/* A header, and the zeros behind so many bytes of content. */
must_use int export_file_header(
	struct export_file *f, const char *name, uint64_t size, struct err *err);
must_use int export_file_pad(struct export_file *f, uint64_t size, struct err *err);
/* A whole small file, or a directory (its name ends in '/'). */
must_use int export_file_put(
	struct export_file *f, const char *name, struct str content, struct err *err);

/* Keep the place of a header (in a file only): its place. */
uint64_t export_file_keep(struct export_file *f);
/* Write it; the content that followed is padded. */
must_use int export_file_fill(
	struct export_file *f, uint64_t place, const char *name, uint64_t size, struct err *err);
/* Forget what was written since the place was kept. */
void export_file_forget(struct export_file *f, uint64_t place);

/* The end of the archive; what was forgotten behind it goes. */
must_use int export_file_end(struct export_file *f, struct err *err);

#endif
