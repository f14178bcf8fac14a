/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "json/json.h"

static const struct json *parse(struct arena *a, const char *text)
{
	const struct json *value = NULL;
	struct err err = {0};

	if (json_parse(a, str_of(text), 1 << 20, &value, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return value;
}

static void parse_refuses(void **state)
{
	static const struct {
		struct str text;
		const char *error; /* its front */
	} rows[] = {
		{STR(""), "JSON line "},
		{STR("{\"a\":1,\"a\":2}"), "JSON line 1 column 10: duplicate object key"},
		{STR("{} {}"), "JSON line 1 column 4: end of file expected near '{'"},
		{STR("{\n\"a\":\"\\u0000\"}"), "JSON line 2 column "},
		{STR("\"\xff\""), "JSON line 1 column "},
		{STR("[1,]"), "JSON line 1 column "},
		{STR("[123456789012345678901234567890]"), "JSON line 1 column 31: too big integer"},
		{STR("\"a\0b\""), "JSON line 1 column "},
		{STR("[\"unterminated \\"), "JSON line 1 column "},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena arena = {0};
		struct err err = {0};
		const struct json *value;
		assert_int_equal(json_parse(&arena, rows[i].text, 1000, &value, &err), -ERR_INPUT);
		err.text[strlen(rows[i].error)] = '\0';
		assert_string_equal(err.text, rows[i].error);
	}
}

static void parse_limits(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};
	const struct json *value;

	(void)state;
	for (int i = 0; i < 64; i++)
		buf_add_char(&text, '[');
	for (int i = 0; i < 64; i++)
		buf_add_char(&text, ']');
	assert_int_equal(json_parse(&arena, buf_str(&text), 1000, &value, &err), 0);
	assert_int_equal(json_parse(&arena, buf_str(&text), 127, &value, &err), -ERR_LIMIT);
	assert_string_equal(err.text, "JSON of 128 bytes is larger than 127 bytes");
	buf_clear(&text);
	for (int i = 0; i < 200000; i++)
		buf_add_char(&text, '[');
	assert_int_equal(json_parse(&arena, buf_str(&text), SIZE_MAX, &value, &err), -ERR_LIMIT);
	assert_string_equal(err.text, "JSON is nested more than 64 levels deep");
	buf_clear(&text);
	buf_add_char(&text, '[');
	for (int i = 0; i < JSON_MAX_VALUES; i++)
		buf_add_text(&text, "0,");
	buf_add_text(&text, "0]");
	assert_int_equal(json_parse(&arena, buf_str(&text), SIZE_MAX, &value, &err), -ERR_LIMIT);
	/* Brackets in strings are text. */
	assert_int_equal(json_parse(&arena,
				 STR("\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
				     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\""),
				 1000, &value, &err),
		0);
}

static void getters_return_values(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	const struct json *root = parse(&arena,
		"{\"s\":\"h\\u00e9\",\"n\":7,\"neg\":-7,\"t\":true,\"nil\":null,\"o\":{\"k\":\"v\"},\"a\":[1]}");
	const struct json *value = NULL;
	struct err err = {0};
	struct str s = {0};
	const char *text = "default";
	uint64_t n = 0;
	int64_t i = 0;
	bool t = false;

	(void)state;
	assert_int_equal(json_get_str(root, "s", &s, &err), 0);
	assert_true(str_is(s, "h\xc3\xa9"));
	assert_int_equal(json_get_u64(root, "n", &n, &err), 0);
	assert_int_equal(n, 7);
	assert_int_equal(json_opt_i64(root, "neg", &i, &err), 0);
	assert_int_equal(i, -7);
	assert_int_equal(json_opt_bool(root, "t", &t, &err), 0);
	assert_true(t);
	assert_int_equal(json_opt_text(root, "nil", &text, &err), 0);
	assert_int_equal(json_opt_text(root, "nowhere", &text, &err), 0);
	assert_string_equal(text, "default");
	assert_int_equal(json_get_object(root, "o", &value, &err), 0);
	assert_string_equal(json_text(json_item(value, 0)), "v");
	assert_true(str_is(json_item_key(json_item(value, 0)), "k"));
	assert_int_equal(json_get_array(root, "a", &value, &err), 0);
	assert_int_equal(json_count(value), 1);
	assert_null(json_item(value, 1));
	assert_int_equal(json_kind_of(json_find(root, "nil")), JSON_KIND_NULL);
	assert_int_equal(json_kind_of(json_find(root, "nowhere")), JSON_KIND_ABSENT);
}

static void errors_name_the_path(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	const struct json *root = parse(&arena,
		"{\"layers\":[{},{\"digest\":7,\"size\":-1,\"deep\":{\"x\":[[true]]}}],\"f\":1.5}");
	const struct json *layer = json_item(json_find(root, "layers"), 1);
	const struct json *value;
	struct err err = {0};
	const char *text;
	uint64_t n = 42;

	(void)state;
	assert_int_equal(json_get_text(layer, "digest", &text, &err), -ERR_INPUT);
	assert_string_equal(err.text, "layers[1].digest: expected a string, found an integer");
	assert_int_equal(json_get_text(layer, "mediaType", &text, &err), -ERR_INPUT);
	assert_string_equal(err.text, "layers[1].mediaType is missing");
	assert_int_equal(json_get_u64(layer, "size", &n, &err), -ERR_INPUT);
	assert_string_equal(err.text, "layers[1].size: -1 is negative");
	assert_int_equal(n, 42);
	value = json_item(json_item(json_find(json_find(layer, "deep"), "x"), 0), 0);
	assert_int_equal(json_error(value, &err, "no %d", 1), -ERR_INPUT);
	assert_string_equal(err.text, "layers[1].deep.x[0][0]: no 1");
	assert_int_equal(json_get_object(root, "schema", &value, &err), -ERR_INPUT);
	assert_string_equal(err.text, "schema is missing");
	assert_int_equal(json_expect(root, JSON_KIND_ARRAY, &err), -ERR_INPUT);
	assert_string_equal(err.text, "the document: expected an array, found an object");
	assert_int_equal(json_opt_u64(root, "f", &n, &err), -ERR_INPUT);
	assert_string_equal(err.text, "f: expected an integer, found a number with a fraction");
	assert_int_equal(json_get_text(json_find(root, "layers"), "x", &text, &err), -ERR_INPUT);
	assert_string_equal(err.text, "layers: expected an object, found an array");
}

static void writer_escapes(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} rows[] = {
		{STR(""), "\"\""},
		{STR("plain"), "\"plain\""},
		{STR("q\"b\\"), "\"q\\\"b\\\\\""},
		{STR("\n\t\r\b\f\x01\x1f"), "\"\\n\\t\\r\\b\\f\\u0001\\u001f\""},
		{STR("\0"), "\"\\u0000\""},
		{STR("\x7f"), "\"\x7f\""},
		{STR("h\xc3\xa9\xf0\x9f\xa4\x97"), "\"h\xc3\xa9\xf0\x9f\xa4\x97\""},
		{STR("\xff"), "\"\xef\xbf\xbd\""},
		{STR("\xc3"), "\"\xef\xbf\xbd\""},
		{STR("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{STR("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{STR("\xe2\x82x"), "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf out = {0};
		struct json_writer w = json_writer_to(&out);
		json_put_str(&w, rows[i].in);
		assert_string_equal(buf_text(&out), rows[i].out);
	}
}

static void write_sample(struct json_writer *w)
{
	json_begin_object(w);
	json_add_text(w, "a", "b");
	json_key(w, "list");
	json_begin_array(w);
	json_put_u64(w, UINT64_MAX);
	json_put_i64(w, INT64_MIN);
	json_begin_object(w);
	json_end_object(w);
	json_put_null(w);
	json_put_raw(w, STR("[1]"));
	json_end_array(w);
	json_add_bool(w, "t", true);
	json_add_u64(w, "n", 0);
	json_end_object(w);
}

static void writer_nests(void **state)
{
	cleanup(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_to(&out);

	(void)state;
	write_sample(&w);
	json_line(&w);
	json_begin_array(&w);
	json_end_array(&w);
	json_line(&w);
	assert_string_equal(buf_text(&out),
		"{\"a\":\"b\",\"list\":[18446744073709551615,-9223372036854775808,{},null,[1]],"
		"\"t\":true,\"n\":0}\n[]\n");
}

static void writer_indents(void **state)
{
	cleanup(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_to(&out);

	(void)state;
	w.indent = 2;
	write_sample(&w);
	assert_string_equal(buf_text(&out),
		"{\n  \"a\": \"b\",\n  \"list\": [\n    18446744073709551615,\n"
		"    -9223372036854775808,\n    {},\n    null,\n    [1]\n  ],\n"
		"  \"t\": true,\n  \"n\": 0\n}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_refuses),
		cmocka_unit_test(parse_limits),
		cmocka_unit_test(getters_return_values),
		cmocka_unit_test(errors_name_the_path),
		cmocka_unit_test(writer_escapes),
		cmocka_unit_test(writer_nests),
		cmocka_unit_test(writer_indents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
