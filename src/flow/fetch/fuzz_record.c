/* SPDX-License-Identifier: Apache-2.0 */
/* A record that was read is written as the same bytes; a date is one of the years there are. */
#include <stdlib.h>

#include "fetch/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(url_record_done) struct url_record record = {0};
	cleanup(buf_done) struct buf again = {0};
	struct str text = str_from((const char *)data, size);
	int64_t seconds;

	if (url_record_parse(text, &record)) {
		url_record_print(&record, &again);
		if (!str_eq(buf_str(&again), text))
			abort();
	}
	if (http_date_parse(text, &seconds) && (seconds < 0 || seconds > INT64_C(253402300800)))
		abort();
	return 0;
}
