/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

/*
 * What a program wrote, kept so that many readers can replay and follow it. One process
 * appends, any number of others read, nobody waits for anybody.
 *
 * A journal is two files in a directory: `name` and, older, `name.1`. When `name` would
 * grow above its limit it takes the place of `name.1`, whose content is gone; so a journal
 * holds the last one to two times the limit. Each file starts with a sequence number, by
 * which readers notice a change of files and what they have missed.
 *
 * A file is a header and records: time, stream, bytes. A record that a crash has cut off
 * is invisible to readers, and the next writer removes it. Records are what write(2) gave;
 * readers put lines together, for each stream by itself.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

enum journal_stream { JOURNAL_STDOUT = 1, JOURNAL_STDERR = 2 };

/* ---- Writing ---- */

#define JOURNAL_FILE_LIMIT (8u << 20)

struct journal;

/*
 * Open `name` below dirfd for appending (created with mode 0600), each of the two files at
 * most `file_limit` bytes (at least 64 KiB). dirfd is copied. There may be one writer only:
 * that is the caller's care.
 */
must_use int journal_open(
	int dirfd, const char *name, uint64_t file_limit, struct journal **ret, struct err *err);
void journal_free(struct journal *journal);
DEFINE_CLEANUP(struct journal *, journal_free);

/*
 * Append, with the time of now. Any length; long texts become several records. After an
 * error (a full disk) the journal is as it was before the record that failed, and later
 * calls may succeed.
 */
must_use int journal_add(
	struct journal *journal, enum journal_stream stream, struct str bytes, struct err *err);

/* ---- Reading ---- */

/* Longer lines come in pieces of at most this many bytes. */
#define JOURNAL_LINE_MAX (16u << 10)

struct journal_line {
	int64_t time; /* ns since the epoch, of the line's first byte */
	enum journal_stream stream;
	struct str text; /* without its line feed; valid until the next call */
	bool continues;	 /* the beginning was an earlier piece */
	bool ends;	 /* a line feed follows; else more of this line may come */
};

struct journal_reader;

enum { JOURNAL_E_END = 1 };

/*
 * Open for reading from the oldest record, or from the last `tail` lines (< 0: all). A
 * journal that does not exist yet is an empty one. dirfd is copied.
 */
must_use int journal_reader_open(
	int dirfd, const char *name, long tail, struct journal_reader **ret, struct err *err);
void journal_reader_free(struct journal_reader *reader);
DEFINE_CLEANUP(struct journal_reader *, journal_reader_free);

/* The next line, or JOURNAL_E_END when there is no whole one for now. */
must_use int journal_reader_next(
	struct journal_reader *reader, struct journal_line *ret, struct err *err);

/*
 * After JOURNAL_E_END: a line that has begun and not ended (a prompt, the last words of a
 * program). False when there is none. What is added to it later comes as a piece which
 * `continues`.
 */
bool journal_reader_rest(struct journal_reader *reader, struct journal_line *ret);

/*
 * A descriptor of the reader that is readable when something may have been added since
 * JOURNAL_E_END, or when any other file of the directory was written. The first call begins
 * to watch: read to the end once more after it.
 */
must_use int journal_reader_watch(struct journal_reader *reader, int *ret_fd, struct err *err);

/* Files that were gone before they were read: 0 for a reader who keeps up. */
uint64_t journal_reader_lost(const struct journal_reader *reader);

/* ---- The format ---- */

struct journal_record {
	int64_t time;
	enum journal_stream stream;
	struct str bytes;
};

#define JOURNAL_RECORD_MAX (32u << 10)

enum { JOURNAL_E_SHORT = 1, JOURNAL_E_BAD = 2 };

/*
 * The record at the start of `bytes`; ret_size is what it takes with its header.
 * JOURNAL_E_SHORT: cut off. JOURNAL_E_BAD: no record.
 */
must_use int journal_record_parse(struct str bytes, struct journal_record *ret, size_t *ret_size);

#endif
