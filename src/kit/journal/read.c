/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/alloc.h"
#include "journal/internal.h"

enum { CHUNK = 2 * JOURNAL_RECORD_MAX };

/* The line of a stream that has begun and not ended. */
struct pending {
	struct buf text;
	int64_t time;
	bool continues, given; /* given: text was handed out, drop it at the next call */
};

struct journal_reader {
	int dirfd, fd, watch_fd;
	char *name, *old_name;
	uint64_t sequence; /* of the file that is read; 0 before the first */
	uint64_t offset, lost;
	struct buf data; /* bytes of the file from `offset` on */
	size_t at;	 /* where in `data` the next record begins */
	struct journal_record record;
	struct str left; /* what of `record` was not handed out yet, in `data` */
	struct pending pending[JOURNAL_STDERR + 1];
	uint64_t skip; /* lines not to be handed out */
	bool is_open;  /* what goes from now on is lost, what went before is history */
};

void journal_reader_free(struct journal_reader *reader)
{
	if (!reader)
		return;
	const int fds[] = {reader->dirfd, reader->fd, reader->watch_fd};
	for (size_t i = 0; i < array_size(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(reader->name);
	free(reader->old_name);
	buf_done(&reader->data);
	for (size_t i = 0; i < array_size(reader->pending); i++)
		buf_done(&reader->pending[i].text);
	free(reader);
}

/* ---- Files ---- */

/* A file that is missing or whose header is not complete gives -1 and is no error. */
static int open_file(struct journal_reader *r, const char *name, int *ret_fd,
	uint64_t *ret_sequence, struct err *err)
{
	cleanup_close int fd =
		openat(r->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*ret_fd = -1;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open %s", name);
	int result = file_sequence(fd, ret_sequence, err);
	if (result < 0)
		return err_wrap(err, "%s", name);
	if (result == JOURNAL_E_BAD)
		return err_set(err, ERR_INPUT, "%s is not a journal", name);
	if (result == 0)
		*ret_fd = take_fd(&fd);
	return 0;
}

/*
 * The oldest file that is newer than the one being read; ret_fd -1 when there is none. The
 * newer name is opened first: should the writer change files in between, what is open stays
 * readable, and the older name leads to a file that is not older than it.
 */
static int open_next(struct journal_reader *r, int *ret_fd, uint64_t *ret_sequence, struct err *err)
{
	const char *names[] = {r->name, r->old_name};
	cleanup_close int best = -1;

	for (size_t i = 0; i < array_size(names); i++) {
		uint64_t sequence;
		cleanup_close int fd = -1;
		int result = open_file(r, names[i], &fd, &sequence, err);
		if (result < 0)
			return result;
		if (fd < 0 || sequence <= r->sequence)
			continue;
		if (best >= 0 && sequence >= *ret_sequence)
			continue;
		if (best >= 0)
			close(best);
		best = take_fd(&fd);
		*ret_sequence = sequence;
	}
	*ret_fd = take_fd(&best);
	return 0;
}

static void use_file(struct journal_reader *r, int fd, uint64_t sequence)
{
	if (r->fd >= 0)
		close(r->fd);
	if (r->is_open && sequence - r->sequence > 1) {
		r->lost += sequence - r->sequence - 1;
		r->skip = 0; /* it was counted with what is gone now */
		for (size_t i = 0; i < array_size(r->pending); i++)
			buf_clear(&r->pending[i].text);
	}
	r->fd = fd;
	r->sequence = sequence;
	r->offset = FILE_HEADER;
	r->at = 0;
	buf_clear(&r->data);
}

/* ---- Records ---- */

/* More bytes of the current file: 0, or JOURNAL_E_END. */
static int read_more(struct journal_reader *r, struct err *err)
{
	ssize_t n;

	if (r->fd < 0)
		return JOURNAL_E_END;
	buf_cut_front(&r->data, r->at);
	r->offset += r->at;
	r->at = 0;
	char *to = buf_reserve(&r->data, CHUNK);
	do
		n = pread(r->fd, to, CHUNK, (off_t)(r->offset + r->data.len));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read journal %s", r->name);
	buf_commit(&r->data, (size_t)n);
	return n ? 0 : JOURNAL_E_END;
}

/*
 * The next record of the current file. What is there of an unfinished one is forgotten at the
 * end: its writer may have died, and another one puts other bytes in its place.
 */
static int read_record(struct journal_reader *r, struct err *err)
{
	size_t used;

	for (;;) {
		struct str rest = str_from_index(buf_str(&r->data), r->at);
		int result = journal_record_parse(rest, &r->record, &used);
		if (result == 0) {
			r->left = r->record.bytes;
			r->at += used;
			return 0;
		}
		result = result == JOURNAL_E_SHORT ? read_more(r, err) : JOURNAL_E_END;
		if (result == JOURNAL_E_END)
			buf_truncate(&r->data, r->at);
		if (result)
			return result;
	}
}

/* The next record of the journal, from one file to the next. */
static int next_record(struct journal_reader *r, struct err *err)
{
	int result = read_record(r, err);

	while (result == JOURNAL_E_END) {
		uint64_t sequence = 0;
		cleanup_close int fd = -1;
		result = open_next(r, &fd, &sequence, err);
		if (result < 0 || fd < 0)
			return result < 0 ? result : JOURNAL_E_END;
		/* The writer may have added to the old file before it began the new one. */
		result = read_record(r, err);
		if (result != JOURNAL_E_END)
			return result;
		use_file(r, take_fd(&fd), sequence);
		result = read_record(r, err);
	}
	return result;
}

/* ---- Lines ---- */

static void give(struct journal_reader *r, struct pending *p, struct str text, bool ends,
	struct journal_line *ret)
{
	*ret = (struct journal_line){
		.time = p->time,
		.stream = (enum journal_stream)(p - r->pending),
		.text = text,
		.continues = p->continues,
		.ends = ends,
	};
	p->continues = !ends;
	p->given = true;
}

static void forget_given(struct journal_reader *r)
{
	for (size_t i = 0; i < array_size(r->pending); i++) {
		struct pending *p = &r->pending[i];
		if (!p->given)
			continue;
		buf_clear(&p->text);
		p->given = false;
	}
}

/* Take bytes of the record into the line of its stream. True: a line or a piece is complete. */
static bool take_line(struct journal_reader *r, struct journal_line *ret)
{
	struct pending *p = &r->pending[r->record.stream];
	size_t room = JOURNAL_LINE_MAX - p->text.len;
	struct str part = str_slice(r->left, 0, str_find(r->left, '\n'));
	bool ends = part.n < r->left.n && part.n <= room;

	if (part.n > room)
		part.n = room;
	if (p->text.len == 0)
		p->time = r->record.time;
	r->left = str_from_index(r->left, part.n + ends);
	if (!ends && p->text.len + part.n < JOURNAL_LINE_MAX) {
		buf_add_str(&p->text, part);
		return false;
	}
	if (p->text.len) {
		buf_add_str(&p->text, part);
		part = buf_str(&p->text);
	}
	give(r, p, part, ends, ret);
	return true;
}

static int next_line(struct journal_reader *r, struct journal_line *ret, struct err *err)
{
	forget_given(r);
	for (;;) {
		if (r->left.n == 0) {
			int result = next_record(r, err);
			if (result)
				return result;
		}
		if (take_line(r, ret))
			return 0;
	}
}

/* Forget that something happened, before looking whether it did. */
static void drain_watch(struct journal_reader *r)
{
	char events[4096];

	while (r->watch_fd >= 0 && read(r->watch_fd, events, sizeof(events)) > 0)
		;
}

int journal_reader_next(struct journal_reader *reader, struct journal_line *ret, struct err *err)
{
	int result = next_line(reader, ret, err);

	if (result == JOURNAL_E_END && reader->watch_fd >= 0) {
		drain_watch(reader);
		result = next_line(reader, ret, err);
	}
	while (result == 0 && reader->skip) {
		reader->skip -= ret->ends;
		result = next_line(reader, ret, err);
	}
	return result;
}

bool journal_reader_rest(struct journal_reader *reader, struct journal_line *ret)
{
	forget_given(reader);
	if (reader->skip)
		return false;
	for (size_t i = 0; i < array_size(reader->pending); i++) {
		struct pending *p = &reader->pending[i];
		if (p->text.len == 0)
			continue;
		give(reader, p, buf_str(&p->text), false, ret);
		return true;
	}
	return false;
}

/* ---- Opening ---- */

/* NULL and an error when the descriptor cannot be copied. */
static struct journal_reader *reader_new(int dirfd, const char *name, struct err *err)
{
	cleanup(journal_reader_free) struct journal_reader *r = xcalloc(1, sizeof(*r));

	r->fd = r->watch_fd = -1;
	r->name = xstrdup(name);
	r->old_name = xprintf("%s.1", name);
	r->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	if (r->dirfd < 0) {
		(void)err_sys(err, "copy descriptor");
		return NULL;
	}
	return take_ptr(r);
}

static int count_lines(struct journal_reader *r, uint64_t *ret, struct err *err)
{
	struct journal_line line;
	int result;

	*ret = 0;
	while ((result = next_line(r, &line, err)) == 0)
		*ret += line.ends;
	/* A last line that has not ended yet counts: it is one of those to be seen. */
	*ret += journal_reader_rest(r, &line);
	return result < 0 ? result : 0;
}

/* Count with another reader, which begins at the same file. */
static int skip_to_tail(struct journal_reader *r, uint64_t tail, struct err *err)
{
	cleanup(journal_reader_free) struct journal_reader *counter =
		reader_new(r->dirfd, r->name, err);
	uint64_t lines;

	if (!counter)
		return -ERR_SYSTEM;
	int same = fcntl(r->fd, F_DUPFD_CLOEXEC, 3);
	if (same < 0)
		return err_sys(err, "copy descriptor");
	use_file(counter, same, r->sequence);
	int result = count_lines(counter, &lines, err);
	if (result == 0 && lines > tail)
		r->skip = lines - tail;
	return result;
}

int journal_reader_open(
	int dirfd, const char *name, long tail, struct journal_reader **ret, struct err *err)
{
	cleanup(journal_reader_free) struct journal_reader *r = reader_new(dirfd, name, err);
	uint64_t sequence = 0;
	cleanup_close int fd = -1;

	if (!r)
		return -ERR_SYSTEM;
	int result = open_next(r, &fd, &sequence, err);
	if (result == 0 && fd >= 0) {
		use_file(r, take_fd(&fd), sequence);
		if (tail >= 0)
			result = skip_to_tail(r, (uint64_t)tail, err);
	}
	if (result < 0)
		return result;
	r->is_open = true;
	*ret = take_ptr(r);
	return 0;
}

int journal_reader_watch(struct journal_reader *reader, int *ret_fd, struct err *err)
{
	if (reader->watch_fd < 0) {
		char path[64];
		cleanup_close int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "watch journal %s", reader->name);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", reader->dirfd);
		/*
		 * The directory, since the name stands for one file after the other. A writer
		 * who dies closes its files, which is an event too.
		 */
		if (inotify_add_watch(
			    fd, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
			return err_sys(err, "watch journal %s", reader->name);
		reader->watch_fd = take_fd(&fd);
	}
	*ret_fd = reader->watch_fd;
	return 0;
}

uint64_t journal_reader_lost(const struct journal_reader *reader)
{
	return reader->lost;
}
