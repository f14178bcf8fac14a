/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal file with any content: reading it ends, gives only bytes it holds, and a writer
 * goes on in it so that its record is the last one.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "journal/journal.h"
#include "os/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

static int dir = -1;
static char dir_path[] = "/tmp/spaceport-fuzz-journal-XXXXXX";

static void remove_dir(void)
{
	(void)unlinkat(dir, "log", 0); /* may be gone already */
	(void)unlinkat(dir, "log.1", 0);
	close(dir);
	rmdir(dir_path);
}

static void put(const char *name, struct str content)
{
	struct err err = {0};
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && file_write_fd(fd, content, &err) == 0);
}

/* The last line that ends, or nothing. */
static void read_all(long tail, size_t size, struct buf *ret_last)
{
	cleanup(journal_reader_free) struct journal_reader *reader = NULL;
	struct journal_line line;
	struct err err = {0};
	size_t total = 0;
	int result;

	if (journal_reader_open(dir, "log", tail, &reader, &err) < 0)
		return;
	while ((result = journal_reader_next(reader, &line, &err)) == 0 ||
		(result == JOURNAL_E_END && journal_reader_rest(reader, &line))) {
		MUST(line.text.n <= JOURNAL_LINE_MAX);
		total += line.text.n;
		MUST(total <= size);
		if (!line.ends)
			continue;
		buf_clear(ret_last);
		buf_add_str(ret_last, line.text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	struct journal *journal = NULL;
	struct err err = {0};
	cleanup(buf_done) struct buf last = {0};

	if (dir < 0) {
		MUST(mkdtemp(dir_path));
		dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		atexit(remove_dir);
	}
	/* The first byte says where the older file ends. */
	size_t cut = size ? (size_t)data[0] * size / 255 : 0;
	put("log.1", str_slice(text, 0, cut));
	put("log", str_from_index(text, cut));
	read_all(-1, size, &last);
	read_all(3, size, &last);
	if (journal_open(dir, "log", JOURNAL_FILE_LIMIT, &journal, &err) < 0)
		return 0;
	MUST(journal_add(journal, JOURNAL_STDERR, STR("\nlast\n"), &err) == 0);
	journal_free(journal);
	(void)unlinkat(dir, "log.1", 0);
	read_all(-1, size + 16, &last);
	MUST(str_is(buf_str(&last), "last"));
	return 0;
}
