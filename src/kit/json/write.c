/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct json_writer json_writer_to(struct buf *to)
{
	return (struct json_writer){.to = to};
}

static bool in_object(const struct json_writer *w)
{
	return w->depth > 0 && (w->is_object >> (w->depth - 1) & 1);
}

static void new_line(struct json_writer *w)
{
	if (!w->indent)
		return;
	buf_add_char(w->to, '\n');
	for (unsigned i = 0; i < w->indent * w->depth; i++)
		buf_add_char(w->to, ' ');
}

/* The comma and the line before an item of the innermost object or array. */
static void before_item(struct json_writer *w)
{
	if (w->has_item)
		buf_add_char(w->to, ',');
	if (w->depth > 0)
		new_line(w);
	w->has_item = true;
}

static void before_value(struct json_writer *w)
{
	if (in_object(w)) {
		assert(w->has_key);
		w->has_key = false;
		return;
	}
	assert(w->depth > 0 || !w->has_item);
	before_item(w);
}

static void begin(struct json_writer *w, char bracket)
{
	before_value(w);
	assert(w->depth < JSON_MAX_DEPTH);
	uint64_t bit = UINT64_C(1) << w->depth;
	w->is_object = bracket == '{' ? w->is_object | bit : w->is_object & ~bit;
	w->depth++;
	w->has_item = false;
	buf_add_char(w->to, bracket);
}

static void end(struct json_writer *w, char bracket)
{
	assert(w->depth > 0 && !w->has_key && in_object(w) == (bracket == '}'));
	w->depth--;
	if (w->has_item)
		new_line(w);
	w->has_item = true;
	buf_add_char(w->to, bracket);
}

void json_begin_object(struct json_writer *w)
{
	begin(w, '{');
}

void json_end_object(struct json_writer *w)
{
	end(w, '}');
}

void json_begin_array(struct json_writer *w)
{
	begin(w, '[');
}

void json_end_array(struct json_writer *w)
{
	end(w, ']');
}

static void add_control(struct buf *to, unsigned char c)
{
	static const char names[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

	if (names[c])
		buf_printf(to, "\\%c", names[c]);
	else
		buf_printf(to, "\\u%04x", c);
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

static void add_quoted(struct buf *to, struct str s)
{
	buf_add_char(to, '"');
	while (s.n) {
		size_t n = 0;
		while (n < s.n && is_plain(s.p[n]))
			n++;
		buf_add(to, s.p, n);
		s = str_from_index(s, n);
		if (!s.n)
			break;
		unsigned char c = (unsigned char)s.p[0];
		n = str_utf8_length(s);
		if (n == 0)
			buf_add_text(to, "\xef\xbf\xbd");
		else if (c == '"' || c == '\\')
			buf_printf(to, "\\%c", c);
		else if (c < 0x20)
			add_control(to, c);
		else
			buf_add(to, s.p, n);
		s = str_from_index(s, n ? n : 1);
	}
	buf_add_char(to, '"');
}

void json_key_str(struct json_writer *w, struct str key)
{
	assert(in_object(w) && !w->has_key);
	before_item(w);
	add_quoted(w->to, key);
	buf_add_text(w->to, w->indent ? ": " : ":");
	w->has_key = true;
}

void json_key(struct json_writer *w, const char *key)
{
	json_key_str(w, str_of(key));
}

void json_put_str(struct json_writer *w, struct str s)
{
	before_value(w);
	add_quoted(w->to, s);
}

void json_put_text(struct json_writer *w, const char *s)
{
	json_put_str(w, str_of(s));
}

void json_put_u64(struct json_writer *w, uint64_t v)
{
	before_value(w);
	buf_printf(w->to, "%" PRIu64, v);
}

void json_put_i64(struct json_writer *w, int64_t v)
{
	before_value(w);
	buf_printf(w->to, "%" PRId64, v);
}

void json_put_bool(struct json_writer *w, bool v)
{
	json_put_raw(w, v ? STR("true") : STR("false"));
}

void json_put_null(struct json_writer *w)
{
	json_put_raw(w, STR("null"));
}

void json_put_raw(struct json_writer *w, struct str json)
{
	before_value(w);
	buf_add_str(w->to, json);
}

void json_add_str(struct json_writer *w, const char *key, struct str s)
{
	json_key(w, key);
	json_put_str(w, s);
}

void json_add_text(struct json_writer *w, const char *key, const char *s)
{
	json_add_str(w, key, str_of(s));
}

void json_add_u64(struct json_writer *w, const char *key, uint64_t v)
{
	json_key(w, key);
	json_put_u64(w, v);
}

void json_add_i64(struct json_writer *w, const char *key, int64_t v)
{
	json_key(w, key);
	json_put_i64(w, v);
}

void json_add_bool(struct json_writer *w, const char *key, bool v)
{
	json_key(w, key);
	json_put_bool(w, v);
}

void json_line(struct json_writer *w)
{
	assert(w->depth == 0);
	buf_add_char(w->to, '\n');
	w->has_item = false;
}
