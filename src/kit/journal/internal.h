/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOURNAL_INTERNAL_H
#define JOURNAL_INTERNAL_H

/*
 * A file:	"SPJRNL1\n", u64 sequence number from 1, records
 * A record:	0xA7 'R', u8 stream, 0, u32 length, i64 time, bytes
 *
 * All numbers little-endian.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "journal/journal.h"

enum { FILE_HEADER = 16, RECORD_HEADER = 16 };

/* Sequence numbers count from 1 and end before this. */
#define SEQUENCE_END (UINT64_MAX / 2)

void record_print(struct buf *to, const struct journal_record *record);
void file_header_print(struct buf *to, uint64_t sequence);
/* 0, JOURNAL_E_SHORT or JOURNAL_E_BAD. */
must_use int file_header_parse(struct str bytes, uint64_t *ret_sequence);

/*
 * The sequence number of an open file. JOURNAL_E_SHORT: a crash cut off even the header.
 * JOURNAL_E_BAD: not a journal.
 */
must_use int file_sequence(int fd, uint64_t *ret, struct err *err);

#endif
