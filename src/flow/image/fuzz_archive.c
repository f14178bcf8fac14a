/* SPDX-License-Identifier: Apache-2.0 */
/* Any file may be taken for an archive of images. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/archive_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"manifest.json", "index.json", "blobs/sha256/a", "a/b"};
	cleanup(arena_done) struct arena arena = {0};
	struct archive_file file;
	struct err err = {0};
	int fd = memfd_create("archive", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (archive_file_open(&arena, "archive", fd, &file, &err) == 0) {
		for (size_t i = 0; i < array_size(names); i++) {
			cleanup(buf_done) struct buf text = {0};
			if (archive_file_has(&file, names[i], NULL) &&
				archive_file_read(&file, names[i], 1 << 16, &text, &err) == 0 &&
				text.len > 1 << 16)
				abort();
		}
	}
	archive_file_done(&file);
	close(fd);
	return 0;
}
