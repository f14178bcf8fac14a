/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a program writes, what is shown of it is well-formed UTF-8 without a byte that acts
 * on a terminal, and the same however the bytes were cut.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/output.h"
#include "cli/terminal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		assert(c >= 0x20 || c == '\n' || c == '\r' || c == '\t');
		assert(c != 0x7f);
		if (c == 0xc2 && i + 1 < text.n)
			assert((unsigned char)text.p[i + 1] >= 0xa0);
	}
}

static void check_line(void *arg, struct str line)
{
	struct buf *fitted = arg;

	assert(line.n < OUTPUT_LINE_MAX + 16);
	assert(!memchr(line.p ? line.p : "", '\n', line.n));
	assert(line.n == 0 || str_is_utf8(line));
	buf_clear(fitted);
	text_fit(fitted, line, 20);
	assert(text_width(buf_str(fitted)) <= 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str bytes = {(const char *)data, size};
	struct strip whole = {0}, pieces = {0};
	struct output_lines lines = {0};
	cleanup(buf_done) struct buf a = {0}, b = {0}, fitted = {0};
	size_t step = size > 0 ? 1 + data[0] % 7 : 1;

	strip_feed(&whole, bytes, &a);
	for (size_t at = 0; at < size; at += step) {
		strip_feed(&pieces, str_slice(bytes, at, at + step), &b);
		output_lines_feed(&lines, str_slice(bytes, at, at + step), check_line, &fitted);
	}
	output_lines_end(&lines, check_line, &fitted);
	output_lines_done(&lines);
	assert(str_eq(buf_str(&a), buf_str(&b)));
	check_shown(buf_str(&a));
	return 0;
}
