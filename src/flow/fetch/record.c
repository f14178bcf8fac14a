/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/fields.h"
#include "base/number.h"
#include "fetch/internal.h"

#define RECORD_MAGIC "spaceport url 1"

enum { HEADER_MAX = 4096 };

void url_record_done(struct url_record *r)
{
	buf_done(&r->etag);
	buf_done(&r->last_modified);
}

void url_record_print(const struct url_record *r, struct buf *ret)
{
	buf_add_field(ret, STR(RECORD_MAGIC));
	buf_add(ret, r->digest.bytes, DIGEST_SIZE);
	buf_add_field(ret, buf_str(&r->etag));
	buf_add_field(ret, buf_str(&r->last_modified));
}

static bool is_value(struct str text)
{
	return text.n <= HEADER_MAX && str_find(text, '\n') == text.n &&
	       str_find(text, '\r') == text.n && str_find(text, '\0') == text.n;
}

bool url_record_parse(struct str bytes, struct url_record *ret)
{
	struct fields f = {.rest = bytes};
	struct str magic = fields_str(&f);

	if (f.bad || !str_is(magic, RECORD_MAGIC) || f.rest.n < DIGEST_SIZE)
		return false;
	memcpy(ret->digest.bytes, f.rest.p, DIGEST_SIZE);
	f.rest = str_from_index(f.rest, DIGEST_SIZE);
	struct str etag = fields_str(&f), modified = fields_str(&f);
	if (f.bad || f.rest.n || !is_value(etag) || !is_value(modified))
		return false;
	buf_add_str(&ret->etag, etag);
	buf_add_str(&ret->last_modified, modified);
	return true;
}

/* ---- dates ---- */

static bool parse_month(struct str text, int *ret)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (str_eq(text, str_from(names + 3 * (size_t)i, 3))) {
			*ret = i;
			return true;
		}
	return false;
}

static bool parse_part(struct str text, size_t at, size_t n, uint64_t max, int *ret)
{
	uint64_t value;

	if (!parse_u64(str_slice(text, at, at + n), max, &value))
		return false;
	*ret = (int)value;
	return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
bool http_date_parse(struct str text, int64_t *ret)
{
	struct tm tm = {0};
	int year;

	if (text.n != 29 || !str_ends(text, STR(" GMT")) || text.p[3] != ',' ||
		!parse_month(str_slice(text, 8, 11), &tm.tm_mon) ||
		!parse_part(text, 5, 2, 31, &tm.tm_mday) || !parse_part(text, 12, 4, 9999, &year) ||
		!parse_part(text, 17, 2, 23, &tm.tm_hour) ||
		!parse_part(text, 20, 2, 59, &tm.tm_min) ||
		!parse_part(text, 23, 2, 60, &tm.tm_sec) || year < 1970)
		return false;
	tm.tm_year = year - 1900;
	*ret = timegm(&tm);
	return true;
}
