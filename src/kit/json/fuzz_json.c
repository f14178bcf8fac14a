/* SPDX-License-Identifier: Apache-2.0 */
/* What is parsed can be written, and what was written parses again. */
#include <stdint.h>
#include <stdlib.h>

#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct json *value, struct json_writer *w)
{
	size_t count = json_count(value);

	if (json_kind_of(value) == JSON_KIND_OBJECT) {
		json_begin_object(w);
		for (size_t i = 0; i < count; i++) {
			json_key_str(w, json_item_key(json_item(value, i)));
			walk(json_item(value, i), w);
		}
		json_end_object(w);
	} else if (json_kind_of(value) == JSON_KIND_ARRAY) {
		json_begin_array(w);
		for (size_t i = 0; i < count; i++)
			walk(json_item(value, i), w);
		json_end_array(w);
	} else if (json_text(value)) {
		json_put_text(w, json_text(value));
	} else {
		json_put_null(w);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};
	const struct json *value;
	struct json_writer w = json_writer_to(&text);

	if (json_parse(&arena, str_from((const char *)data, size), 1 << 20, &value, &err) == 0) {
		walk(value, &w);
	} else {
		/* Any bytes can be put as a string. */
		json_put_str(&w, str_from((const char *)data, size));
	}
	if (json_parse(&arena, buf_str(&text), SIZE_MAX, &value, &err) < 0 &&
		err.kind != ERR_LIMIT && !memchr(data, 0, size))
		abort();
	return 0;
}
