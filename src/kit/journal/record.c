/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <unistd.h>

#include "journal/internal.h"

static const char file_magic[8] = {'S', 'P', 'J', 'R', 'N', 'L', '1', '\n'};
static const unsigned char record_magic[2] = {0xa7, 'R'};

static uint32_t load_u32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t load_u64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

void file_header_print(struct buf *to, uint64_t sequence)
{
	buf_add(to, file_magic, sizeof(file_magic));
	buf_add_u64(to, sequence);
}

int file_header_parse(struct str bytes, uint64_t *ret_sequence)
{
	size_t known = bytes.n < sizeof(file_magic) ? bytes.n : sizeof(file_magic);

	if (known && memcmp(bytes.p, file_magic, known) != 0)
		return JOURNAL_E_BAD;
	if (bytes.n < FILE_HEADER)
		return JOURNAL_E_SHORT;
	uint64_t sequence = load_u64(bytes.p + sizeof(file_magic));
	if (sequence == 0 || sequence >= SEQUENCE_END)
		return JOURNAL_E_BAD;
	*ret_sequence = sequence;
	return 0;
}

int file_sequence(int fd, uint64_t *ret, struct err *err)
{
	char bytes[FILE_HEADER];
	ssize_t n;

	do
		n = pread(fd, bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, "read journal");
	return file_header_parse(str_from(bytes, (size_t)n), ret);
}

void record_print(struct buf *to, const struct journal_record *record)
{
	buf_add(to, record_magic, sizeof(record_magic));
	buf_add_char(to, (char)record->stream);
	buf_add_char(to, 0);
	buf_add_u32(to, (uint32_t)record->bytes.n);
	buf_add_u64(to, (uint64_t)record->time);
	buf_add_str(to, record->bytes);
}

int journal_record_parse(struct str bytes, struct journal_record *ret, size_t *ret_size)
{
	if (bytes.n < RECORD_HEADER)
		return JOURNAL_E_SHORT;
	if (memcmp(bytes.p, record_magic, sizeof(record_magic)) != 0 || bytes.p[3] != 0)
		return JOURNAL_E_BAD;
	uint32_t length = load_u32(bytes.p + 4);
	if ((bytes.p[2] != JOURNAL_STDOUT && bytes.p[2] != JOURNAL_STDERR) || length == 0 ||
		length > JOURNAL_RECORD_MAX)
		return JOURNAL_E_BAD;
	if (bytes.n - RECORD_HEADER < length)
		return JOURNAL_E_SHORT;
	ret->stream = (enum journal_stream)bytes.p[2];
	ret->time = (int64_t)load_u64(bytes.p + 8);
	ret->bytes = str_from(bytes.p + RECORD_HEADER, length);
	*ret_size = RECORD_HEADER + (size_t)length;
	return 0;
}
