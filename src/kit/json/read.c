/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

/*
 * jansson reads the text; its tree is copied into the arena at once. That gives the values
 * one lifetime with everything else that is parsed, and a parent each, which is what makes
 * a path for errors.
 */
struct json {
	enum json_kind kind;
	const struct json *parent;
	struct str key; /* in an object */
	union {
		struct str text;
		int64_t integer;
		bool truth;
		struct {
			struct json *items;
			size_t count;
		} list;
	};
};

static const char *const kind_names[] = {
	[JSON_KIND_ABSENT] = "nothing",
	[JSON_KIND_NULL] = "null",
	[JSON_KIND_BOOL] = "true or false",
	[JSON_KIND_INTEGER] = "an integer",
	[JSON_KIND_REAL] = "a number with a fraction",
	[JSON_KIND_STRING] = "a string",
	[JSON_KIND_ARRAY] = "an array",
	[JSON_KIND_OBJECT] = "an object",
};

static size_t skip_string(struct str text, size_t i)
{
	for (i++; i < text.n && text.p[i] != '"'; i++)
		if (text.p[i] == '\\')
			i++;
	return i;
}

/*
 * Depth and number of values are known from the brackets and separators alone. They are
 * limited before jansson, which recurses and allocates, sees the text.
 */
static int check_limits(struct str text, struct err *err)
{
	unsigned depth = 0;
	size_t values = 1;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '"') {
			i = skip_string(text, i);
			continue;
		}
		if (c == '[' || c == '{')
			depth++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
		if (c == '[' || c == '{' || c == ',')
			values++;
		if (depth > JSON_MAX_DEPTH)
			return err_set(err, ERR_LIMIT, "JSON is nested more than %d levels deep",
				JSON_MAX_DEPTH);
		if (values > JSON_MAX_VALUES)
			return err_set(
				err, ERR_LIMIT, "JSON holds more than %d values", JSON_MAX_VALUES);
	}
	return 0;
}

static void copy_value(struct arena *a, json_t *from, struct json *to);

static void copy_array(struct arena *a, json_t *from, struct json *to)
{
	to->kind = JSON_KIND_ARRAY;
	to->list.count = json_array_size(from);
	to->list.items = arena_array(a, to->list.count, sizeof(struct json));
	for (size_t i = 0; i < to->list.count; i++) {
		to->list.items[i].parent = to;
		copy_value(a, json_array_get(from, i), &to->list.items[i]);
	}
}

static void copy_object(struct arena *a, json_t *from, struct json *to)
{
	size_t i = 0;

	to->kind = JSON_KIND_OBJECT;
	to->list.count = json_object_size(from);
	to->list.items = arena_array(a, to->list.count, sizeof(struct json));
	for (void *at = json_object_iter(from); at; at = json_object_iter_next(from, at), i++) {
		struct json *item = &to->list.items[i];
		item->parent = to;
		item->key = arena_str(a, str_of(json_object_iter_key(at)));
		copy_value(a, json_object_iter_value(at), item);
	}
}

static void copy_value(struct arena *a, json_t *from, struct json *to)
{
	switch (json_typeof(from)) {
	case JSON_OBJECT:
		copy_object(a, from, to);
		break;
	case JSON_ARRAY:
		copy_array(a, from, to);
		break;
	case JSON_STRING:
		to->kind = JSON_KIND_STRING;
		to->text =
			arena_str(a, str_from(json_string_value(from), json_string_length(from)));
		break;
	case JSON_INTEGER:
		to->kind = JSON_KIND_INTEGER;
		to->integer = json_integer_value(from);
		break;
	case JSON_REAL:
		to->kind = JSON_KIND_REAL;
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		to->kind = JSON_KIND_BOOL;
		to->truth = json_is_true(from);
		break;
	case JSON_NULL:
		to->kind = JSON_KIND_NULL;
		break;
	}
}

int json_parse(struct arena *a, struct str text, size_t max_bytes, const struct json **ret,
	struct err *err)
{
	json_error_t problem;

	if (text.n > max_bytes)
		return err_set(err, ERR_LIMIT, "JSON of %zu bytes is larger than %zu bytes", text.n,
			max_bytes);
	int r = check_limits(text, err);
	if (r < 0)
		return r;
	json_t *tree = json_loadb(
		text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
	if (!tree)
		return err_set(err, ERR_INPUT, "JSON line %d column %d: %s", problem.line,
			problem.column, problem.text);
	struct json *root = arena_alloc(a, sizeof(*root));
	copy_value(a, tree, root);
	json_decref(tree);
	*ret = root;
	return 0;
}

enum json_kind json_kind_of(const struct json *value)
{
	return value ? value->kind : JSON_KIND_ABSENT;
}

const struct json *json_find(const struct json *object, const char *key)
{
	if (json_kind_of(object) != JSON_KIND_OBJECT)
		return NULL;
	for (size_t i = 0; i < object->list.count; i++)
		if (str_is(object->list.items[i].key, key))
			return &object->list.items[i];
	return NULL;
}

size_t json_count(const struct json *value)
{
	enum json_kind kind = json_kind_of(value);

	return kind == JSON_KIND_ARRAY || kind == JSON_KIND_OBJECT ? value->list.count : 0;
}

const struct json *json_item(const struct json *value, size_t i)
{
	return i < json_count(value) ? &value->list.items[i] : NULL;
}

struct str json_item_key(const struct json *item)
{
	return item->key;
}

const char *json_text(const struct json *value)
{
	return json_kind_of(value) == JSON_KIND_STRING ? value->text.p : NULL;
}

/* Outermost first: the depth is limited, so recursion is. */
static void add_path(const struct json *value, struct buf *to)
{
	const struct json *parent = value->parent;

	if (!parent)
		return;
	add_path(parent, to);
	if (parent->kind == JSON_KIND_ARRAY)
		buf_printf(to, "[%zu]", (size_t)(value - parent->list.items));
	else
		buf_printf(to, "%s%.*s", to->len ? "." : "", STR_ARG(value->key));
}

static void path_of(const struct json *value, const char *key, struct buf *to)
{
	if (value)
		add_path(value, to);
	if (key)
		buf_printf(to, "%s%s", to->len ? "." : "", key);
	if (!to->len)
		buf_add_text(to, "the document");
}

int json_error(const struct json *value, struct err *err, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	cleanup(buf_done) struct buf path = {0};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	path_of(value, NULL, &path);
	return err_set(err, ERR_INPUT, "%s: %s", buf_text(&path), text);
}

int json_expect(const struct json *value, enum json_kind kind, struct err *err)
{
	if (json_kind_of(value) == kind)
		return 0;
	return json_error(value, err, "expected %s, found %s", kind_names[kind],
		kind_names[json_kind_of(value)]);
}

enum need { OPTIONAL, REQUIRED };

/* The field in *ret, or NULL there when it may be absent and is. */
static int find_field(const struct json *object, const char *key, enum need need,
	enum json_kind kind, const struct json **ret, struct err *err)
{
	int r = json_expect(object, JSON_KIND_OBJECT, err);

	if (r < 0)
		return r;
	const struct json *field = json_find(object, key);
	*ret = NULL;
	if (need == OPTIONAL && (!field || field->kind == JSON_KIND_NULL))
		return 0;
	if (!field) {
		cleanup(buf_done) struct buf path = {0};
		path_of(object, key, &path);
		return err_set(err, ERR_INPUT, "%s is missing", buf_text(&path));
	}
	r = json_expect(field, kind, err);
	if (r < 0)
		return r;
	*ret = field;
	return 0;
}

static int read_str(const struct json *object, const char *key, enum need need, struct str *ret,
	struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, need, JSON_KIND_STRING, &field, err);

	if (r == 0 && field)
		*ret = field->text;
	return r;
}

static int read_text(const struct json *object, const char *key, enum need need, const char **ret,
	struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, need, JSON_KIND_STRING, &field, err);

	if (r == 0 && field)
		*ret = field->text.p;
	return r;
}

static int read_u64(
	const struct json *object, const char *key, enum need need, uint64_t *ret, struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, need, JSON_KIND_INTEGER, &field, err);

	if (r < 0 || !field)
		return r;
	if (field->integer < 0)
		return json_error(field, err, "%" PRId64 " is negative", field->integer);
	*ret = (uint64_t)field->integer;
	return 0;
}

static int read_list(const struct json *object, const char *key, enum need need,
	enum json_kind kind, const struct json **ret, struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, need, kind, &field, err);

	if (r == 0 && field)
		*ret = field;
	return r;
}

int json_get_str(const struct json *object, const char *key, struct str *ret, struct err *err)
{
	return read_str(object, key, REQUIRED, ret, err);
}

int json_get_text(const struct json *object, const char *key, const char **ret, struct err *err)
{
	return read_text(object, key, REQUIRED, ret, err);
}

int json_get_u64(const struct json *object, const char *key, uint64_t *ret, struct err *err)
{
	return read_u64(object, key, REQUIRED, ret, err);
}

int json_get_object(
	const struct json *object, const char *key, const struct json **ret, struct err *err)
{
	return read_list(object, key, REQUIRED, JSON_KIND_OBJECT, ret, err);
}

int json_get_array(
	const struct json *object, const char *key, const struct json **ret, struct err *err)
{
	return read_list(object, key, REQUIRED, JSON_KIND_ARRAY, ret, err);
}

int json_opt_str(const struct json *object, const char *key, struct str *ret, struct err *err)
{
	return read_str(object, key, OPTIONAL, ret, err);
}

int json_opt_text(const struct json *object, const char *key, const char **ret, struct err *err)
{
	return read_text(object, key, OPTIONAL, ret, err);
}

int json_opt_u64(const struct json *object, const char *key, uint64_t *ret, struct err *err)
{
	return read_u64(object, key, OPTIONAL, ret, err);
}

int json_opt_i64(const struct json *object, const char *key, int64_t *ret, struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, OPTIONAL, JSON_KIND_INTEGER, &field, err);

	if (r == 0 && field)
		*ret = field->integer;
	return r;
}

int json_opt_bool(const struct json *object, const char *key, bool *ret, struct err *err)
{
	const struct json *field;
	int r = find_field(object, key, OPTIONAL, JSON_KIND_BOOL, &field, err);

	if (r == 0 && field)
		*ret = field->truth;
	return r;
}

int json_opt_object(
	const struct json *object, const char *key, const struct json **ret, struct err *err)
{
	return read_list(object, key, OPTIONAL, JSON_KIND_OBJECT, ret, err);
}

int json_opt_array(
	const struct json *object, const char *key, const struct json **ret, struct err *err)
{
	return read_list(object, key, OPTIONAL, JSON_KIND_ARRAY, ret, err);
}
