/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/net/tcp and tcp6 with any content, and the sentence made of them. */
#include <stdint.h>
#include <stdlib.h>

#include "run/diagnose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	struct listener all[LISTENERS_MAX];
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};

	size_t n = listeners_parse(text, false, 0, all);
	n = listeners_parse(text, true, n, all);
	if (n > LISTENERS_MAX)
		abort();
	uint16_t port = n ? all[n - 1].port : 7860;
	enum listening result = listeners_judge(all, n, port, text, &words, &hint);
	if ((n == 0) != (result == LISTENS_NOWHERE) || words.len == 0 || words.len > 600)
		abort();
	return 0;
}
