/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FETCH_INTERNAL_H
#define FETCH_INTERNAL_H

#include "fetch/fetch.h"

#define FETCH_FILES "files"
#define FETCH_URLS  "urls"
#define FETCH_TREES "trees"

/* ---- kept.c ---- */

/* A new name that begins with "tmp-". */
void kept_temporary(char name[static 40]);

/* ---- record.c: what is known of a URL ---- */

struct url_record {
	struct digest digest;
	struct buf etag, last_modified; /* "" when there was none */
};

void url_record_done(struct url_record *r);
DEFINE_CLEANUP_VALUE(struct url_record, url_record_done);
void url_record_print(const struct url_record *r, struct buf *ret);
/* False when the bytes are no record. Pure. */
bool url_record_parse(struct str bytes, struct url_record *ret);
/* Seconds since 1970 of an HTTP date (RFC 9110, IMF-fixdate); false when it is none. Pure. */
bool http_date_parse(struct str text, int64_t *ret);

/* ---- git.c ---- */

/* The commit of a ref in the output of git ls-remote; false when it is not there. Pure. */
bool git_pick_ref(struct str listing, const char *ref, char commit[static FETCH_COMMIT_SIZE]);

#endif
