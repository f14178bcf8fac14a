/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "journal/internal.h"
#include "os/file.h"

struct journal {
	int dirfd, fd;
	char *name, *old_name, *new_name;
	uint64_t sequence, size, limit;
	struct buf record;
};

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->dirfd >= 0)
		close(journal->dirfd);
	free(journal->name);
	free(journal->old_name);
	free(journal->new_name);
	buf_done(&journal->record);
	free(journal);
}

/* No writer counts that far; a foreign file may say that one did, and then it begins anew. */
static uint64_t after(uint64_t sequence)
{
	return sequence + 1 < SEQUENCE_END ? sequence + 1 : 1;
}

/* The file appears under its name with its header in it, or not at all. */
static int start_file(struct journal *j, uint64_t sequence, struct err *err)
{
	cleanup(buf_done) struct buf header = {0};
	cleanup_close int fd = openat(j->dirfd, j->new_name,
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, "create %s", j->new_name);
	file_header_print(&header, sequence);
	if (file_write_fd(fd, buf_str(&header), err) < 0)
		return err_wrap(err, "%s", j->new_name);
	if (renameat(j->dirfd, j->new_name, j->dirfd, j->name) < 0)
		return err_sys(err, "rename to %s", j->name);
	if (j->fd >= 0)
		close(j->fd);
	j->fd = take_fd(&fd);
	j->sequence = sequence;
	j->size = FILE_HEADER;
	return 0;
}

/* The end of the last whole record. */
static int whole_size(int fd, uint64_t *ret, struct err *err)
{
	enum { CHUNK = 4 * JOURNAL_RECORD_MAX };
	cleanup(buf_done) struct buf chunk = {0};
	struct journal_record record;
	size_t used;

	*ret = FILE_HEADER;
	for (;;) {
		buf_clear(&chunk);
		char *to = buf_reserve(&chunk, CHUNK);
		ssize_t n = pread(fd, to, CHUNK, (off_t)*ret);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read journal");
		struct str rest = str_from(to, (size_t)n);
		while (journal_record_parse(rest, &record, &used) == 0)
			rest = str_from_index(rest, used);
		if (rest.n == (size_t)n)
			return 0;
		*ret += (size_t)n - rest.n;
	}
}

/* Go on in a file that is there. JOURNAL_E_BAD: it holds nothing that could be continued. */
static int resume_file(struct journal *j, struct err *err)
{
	cleanup_close int fd =
		openat(j->dirfd, j->name, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return JOURNAL_E_BAD;
	if (fd < 0)
		return err_sys(err, "open %s", j->name);
	int r = file_sequence(fd, &j->sequence, err);
	if (r)
		return r < 0 ? r : JOURNAL_E_BAD;
	r = whole_size(fd, &j->size, err);
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)j->size) < 0)
		return err_sys(err, "truncate %s", j->name);
	j->fd = take_fd(&fd);
	return 0;
}

static uint64_t old_sequence(const struct journal *j)
{
	uint64_t sequence;
	cleanup_close int fd =
		openat(j->dirfd, j->old_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 && file_sequence(fd, &sequence, NULL) == 0 ? sequence : 0;
}

int journal_open(
	int dirfd, const char *name, uint64_t file_limit, struct journal **ret, struct err *err)
{
	cleanup(journal_free) struct journal *j = xcalloc(1, sizeof(*j));

	j->fd = -1;
	j->limit = file_limit < (64u << 10) ? 64u << 10 : file_limit;
	j->name = xstrdup(name);
	j->old_name = xprintf("%s.1", name);
	j->new_name = xprintf("%s.new", name);
	j->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	if (j->dirfd < 0)
		return err_sys(err, "copy descriptor");
	int r = resume_file(j, err);
	if (r == JOURNAL_E_BAD)
		r = start_file(j, after(old_sequence(j)), err);
	if (r < 0)
		return r;
	*ret = take_ptr(j);
	return 0;
}

static int rotate(struct journal *j, struct err *err)
{
	if (renameat(j->dirfd, j->name, j->dirfd, j->old_name) < 0 && errno != ENOENT)
		return err_sys(err, "rename %s", j->name);
	return start_file(j, after(j->sequence), err);
}

static int add_record(struct journal *j, const struct journal_record *record, struct err *err)
{
	buf_clear(&j->record);
	record_print(&j->record, record);
	int r = j->size + j->record.len > j->limit ? rotate(j, err) : 0;
	if (r < 0)
		return r;
	if (file_write_fd(j->fd, buf_str(&j->record), err) < 0) {
		/* What cannot be cut off ends this file: the next record starts another. */
		if (ftruncate(j->fd, (off_t)j->size) < 0)
			j->size = j->limit;
		return err_wrap(err, "journal %s", j->name);
	}
	j->size += j->record.len;
	return 0;
}

int journal_add(
	struct journal *journal, enum journal_stream stream, struct str bytes, struct err *err)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	while (bytes.n) {
		struct journal_record record = {
			.time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
			.stream = stream,
			.bytes = str_slice(bytes, 0, JOURNAL_RECORD_MAX),
		};
		int r = add_record(journal, &record, err);
		if (r < 0)
			return r;
		bytes = str_from_index(bytes, record.bytes.n);
	}
	return 0;
}
