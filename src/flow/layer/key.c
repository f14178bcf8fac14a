/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "layer/internal.h"

enum { KEY_DIGITS = 40 };

struct layer_key layer_key_of(const struct digest *recipe)
{
	char hex[DIGEST_HEX_SIZE];
	struct layer_key key = {0};

	memcpy(key.hex, digest_hex(recipe, hex), KEY_DIGITS);
	return key;
}

struct layer_key layer_key_of_diff_id(const struct digest *diff_id)
{
	cleanup(buf_done) struct buf recipe = {0};

	/* The number is to be raised when unpacking changes what a layer contains. */
	buf_add_field(&recipe, STR("layer from diff ID 1"));
	buf_add(&recipe, diff_id->bytes, sizeof(diff_id->bytes));
	struct digest d = digest_of(recipe.data, recipe.len);
	return layer_key_of(&d);
}

bool layer_key_parse(struct str hex, struct layer_key *ret)
{
	if (hex.n != KEY_DIGITS)
		return false;
	for (size_t i = 0; i < hex.n; i++) {
		if (!is_hex(hex.p[i]))
			return false;
	}
	memcpy(ret->hex, hex.p, KEY_DIGITS);
	ret->hex[KEY_DIGITS] = '\0';
	return true;
}

bool layer_key_eq(const struct layer_key *a, const struct layer_key *b)
{
	return memcmp(a->hex, b->hex, KEY_DIGITS) == 0;
}
