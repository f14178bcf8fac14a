/* SPDX-License-Identifier: Apache-2.0 */
/* What an app wrote last: causes are parts of it, shown lines are clean. */
#include <stdint.h>
#include <stdlib.h>

#include "run/diagnose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cause(struct str tail)
{
	struct cause cause = cause_find(tail);

	if (cause.subject.n == 0)
		return;
	if (cause.subject.p < tail.p || cause.subject.p + cause.subject.n > tail.p + tail.n ||
		memchr(cause.subject.p, '\n', cause.subject.n))
		abort();
}

static void check_lines(struct str tail)
{
	cleanup(buf_done) struct buf lines = {0};
	size_t count = 0;

	tail_lines(tail, 5, &lines);
	for (size_t i = 0; i < lines.len; i++) {
		unsigned char c = (unsigned char)lines.data[i];
		count += c == '\n';
		if ((c < 0x20 && c != '\n') || c == 0x7f)
			abort();
	}
	if (count > 5 || lines.len > 1050)
		abort();
}

static void check_mask(struct str tail)
{
	cleanup(buf_done) struct buf text = {0};
	struct str secret = str_slice(tail, 0, 5);

	buf_add_str(&text, tail);
	mask_secrets(&text, &secret, 1);
	if (secret.n == 5 && !memchr(secret.p, '*', 5) && memmem(text.data, text.len, secret.p, 5))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str tail = {(const char *)data, size};

	check_cause(tail);
	check_lines(tail);
	check_mask(tail);
	return 0;
}
