/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *get(void *arg, struct str name)
{
	(void)arg;
	if (str_is(name, "a"))
		return "x/y.tar.gz\xc3\xa4\xff";
	if (str_is(name, "b"))
		return "";
	return str_is(name, "c") ? "*a?\\" : NULL;
}

/* The first byte chooses the escape and the mode. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(arena_done) struct arena a = {0};
	struct expansion how = {.get = get};
	struct str text, word, *words;
	struct err err = {0};
	size_t count;

	if (!size || memchr(data, 0, size))
		return 0;
	how.escape = data[0] & 16 ? '`' : '\\';
	how.mode = data[0] & 15;
	text = str_from((const char *)data + 1, size - 1);
	int failed = expand_word(&a, &how, text, &word, &err);
	int also = expand_words(&a, &how, text, &words, &count, &err);
	if (failed != also)
		abort();
	for (size_t i = 0; !failed && i < count; i++)
		if (!words[i].n || words[i].n > word.n)
			abort();
	return 0;
}
