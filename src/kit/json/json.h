/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

/*
 * JSON (RFC 8259), read whole into an arena and written as a stream.
 *
 * Reading: json_parse() turns a text into values that live in the arena and know where they
 * stand, so that an error names the place: "layers[2].digest: expected a string, found a
 * number". The text itself need not outlive the call. Documents are foreign: size, depth
 * and the number of values are limited, a key that stands twice in an object, U+0000 and
 * anything that is not UTF-8 are refused.
 *
 * Writing: a writer appends to a buffer. Bytes that are not UTF-8 become U+FFFD, so that
 * the result is always JSON. Wrong use (a value without its key, an end without a begin) is
 * an assertion.
 *
 *	struct json_writer w = json_writer_to(&buf);
 *	json_begin_object(&w);
 *	json_add_text(&w, "id", id);
 *	json_key(&w, "tags");
 *	json_begin_array(&w);
 *	json_put_text(&w, "latest");
 *	json_end_array(&w);
 *	json_end_object(&w);
 *	json_line(&w);
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* ---- Reading ---- */

#define JSON_MAX_DEPTH	64
#define JSON_MAX_VALUES 500000

/* A value; opaque. Lives as long as the arena it was parsed into. */
struct json;

enum json_kind {
	JSON_KIND_ABSENT, /* of a NULL value */
	JSON_KIND_NULL,
	JSON_KIND_BOOL,
	JSON_KIND_INTEGER, /* fits int64_t; larger integers are refused */
	JSON_KIND_REAL,
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT,
};

/* A document of at most max_bytes. ERR_INPUT with line and column, or ERR_LIMIT. */
must_use int json_parse(struct arena *a, struct str text, size_t max_bytes, const struct json **ret,
	struct err *err);

enum json_kind json_kind_of(const struct json *value);

/* The field of an object, JSON null included; NULL when absent or when this is no object. */
const struct json *json_find(const struct json *object, const char *key);

/* Items of an array or object, in the document's order; 0 for everything else. */
size_t json_count(const struct json *value);
const struct json *json_item(const struct json *value, size_t i);
/* The key under which an item of an object stands; empty for all others. Terminated. */
struct str json_item_key(const struct json *item);

/* The terminated text of a string, NULL for everything else. */
const char *json_text(const struct json *value);

/* Required fields: a missing one and one of another kind are ERR_INPUT. Text is terminated. */
must_use int json_get_str(
	const struct json *object, const char *key, struct str *ret, struct err *err);
must_use int json_get_text(
	const struct json *object, const char *key, const char **ret, struct err *err);
must_use int json_get_u64(
	const struct json *object, const char *key, uint64_t *ret, struct err *err);
must_use int json_get_object(
	const struct json *object, const char *key, const struct json **ret, struct err *err);
must_use int json_get_array(
	const struct json *object, const char *key, const struct json **ret, struct err *err);

/* Optional fields: an absent one and null leave *ret as it is, so set the default before. */
must_use int json_opt_str(
	const struct json *object, const char *key, struct str *ret, struct err *err);
must_use int json_opt_text(
	const struct json *object, const char *key, const char **ret, struct err *err);
must_use int json_opt_u64(
	const struct json *object, const char *key, uint64_t *ret, struct err *err);
must_use int json_opt_i64(
	const struct json *object, const char *key, int64_t *ret, struct err *err);
must_use int json_opt_bool(const struct json *object, const char *key, bool *ret, struct err *err);
must_use int json_opt_object(
	const struct json *object, const char *key, const struct json **ret, struct err *err);
must_use int json_opt_array(
	const struct json *object, const char *key, const struct json **ret, struct err *err);

/* Is the value itself of this kind? ERR_INPUT "the/path: expected …, found …". */
must_use int json_expect(const struct json *value, enum json_kind kind, struct err *err);

/* ERR_INPUT with the value's path in front. */
int json_error(const struct json *value, struct err *err, const char *fmt, ...) printf_like(3, 4);

/* ---- Writing ---- */

struct json_writer {
	struct buf *to;
	unsigned indent;    /* spaces per level; 0: all in one line */
	unsigned depth;	    /* open objects and arrays */
	uint64_t is_object; /* a bit per level */
	bool has_item;	    /* the innermost one is not empty */
	bool has_key;	    /* a key was written whose value is to come */
};

struct json_writer json_writer_to(struct buf *to);

void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
void json_key_str(struct json_writer *w, struct str key);

void json_put_str(struct json_writer *w, struct str s);
void json_put_text(struct json_writer *w, const char *s);
void json_put_u64(struct json_writer *w, uint64_t v);
void json_put_i64(struct json_writer *w, int64_t v);
void json_put_bool(struct json_writer *w, bool v);
void json_put_null(struct json_writer *w);
/* A value that is JSON already, verbatim. */
void json_put_raw(struct json_writer *w, struct str json);

/* Key and value at once. */
void json_add_str(struct json_writer *w, const char *key, struct str s);
void json_add_text(struct json_writer *w, const char *key, const char *s);
void json_add_u64(struct json_writer *w, const char *key, uint64_t v);
void json_add_i64(struct json_writer *w, const char *key, int64_t v);
void json_add_bool(struct json_writer *w, const char *key, bool v);

/* End of a whole document: a line feed, after which the next one can begin. */
void json_line(struct json_writer *w);

#endif
