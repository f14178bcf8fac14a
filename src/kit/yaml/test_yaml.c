/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "yaml/yaml.h"

/* {key=value,…} [item,…] plain 'not plain' */
static void dump(const struct yaml_node *node, struct buf *out)
{
	if (node->kind == YAML_SCALAR) {
		buf_printf(out, node->plain ? "%.*s" : "'%.*s'", STR_ARG(node->text));
		return;
	}
	buf_add_char(out, node->kind == YAML_MAPPING ? '{' : '[');
	for (size_t i = 0; i < node->count; i++) {
		if (i)
			buf_add_char(out, ',');
		if (node->kind == YAML_MAPPING) {
			dump(node->pairs[i].key, out);
			buf_add_char(out, '=');
		}
		dump(node->kind == YAML_MAPPING ? node->pairs[i].value : node->items[i], out);
	}
	buf_add_char(out, node->kind == YAML_MAPPING ? '}' : ']');
}

/* The tree, or "line:col: what is wrong". */
static void read_text(struct str text, struct buf *out)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source source = {"t.yaml", text};
	const struct yaml_node *root = NULL;
	struct yaml_problem problem = {0};

	buf_clear(out);
	if (yaml_parse(&arena, &source, text, &root, &problem) == 0)
		dump(root, out);
	else
		buf_printf(out, "%u:%u: %s", problem.span.line, problem.span.col, problem.text);
}

struct row {
	const char *text;
	const char *expected;
};

static void check_rows(const struct row *rows, size_t count)
{
	cleanup(buf_done) struct buf out = {0};

	for (size_t i = 0; i < count; i++) {
		read_text(str_of(rows[i].text), &out);
		if (strcmp(buf_text(&out), rows[i].expected) != 0)
			print_error("row %zu: %s\n", i, rows[i].text);
		assert_string_equal(buf_text(&out), rows[i].expected);
	}
}

static void documents_become_trees(void **state)
{
	static const struct row rows[] = {
		{"", "{}"},
		{"# nothing\n", "{}"},
		{"---\n", "{}"},
		{"~\n", "{}"},
		{"title: Demo\nsdk: docker\n", "{title=Demo,sdk=docker}"},
		{"title: \xc3\xa9t\xc3\xa9\r\nemoji: \xf0\x9f\xa4\x97\r\n",
			"{title=\xc3\xa9t\xc3\xa9,emoji=\xf0\x9f\xa4\x97}"},
		{"a: 'it''s'\nb: \"x\\ty\\u00e9\"\n", "{a='it's',b='x\ty\xc3\xa9'}"},
		{"a: 3.10\nb: yes\nc: ~\nd:\n", "{a=3.10,b=yes,c=~,d=}"},
		{"a: one\n  two\n  three\n", "{a=one two three}"},
		{"a: |\n  x\n  \ty\nb: >-\n  f\n  g\n", "{a='x\n\ty\n',b='f g'}"},
		{"a:\n- x\n- y: z\n  w: v\n", "{a=[x,{y=z,w=v}]}"},
		{"a: [x, 'y', {z: w}]\n", "{a=[x,'y',{z=w}]}"},
		{"a: {}\nb: []\n", "{a={},b=[]}"},
		{"a: b # comment\n", "{a=b}"},
		{"a: b#c\n", "{a=b#c}"},
		{"? a\n: b\n", "{a=b}"},
		{"'': b\n", "{''=b}"},
		{"<<: b\n", "{<<=b}"},
		{"a:b\n", "a:b"},
		{"- a\n-\tb\n", "[a,b]"},
		{"a: b\n...\n", "{a=b}"},
		{"\xef\xbb\xbf"
		 "a: b\n",
			"{a=b}"},
		{"a: http://x:80/\n", "{a=http://x:80/}"},
	};

	(void)state;
	check_rows(rows, array_size(rows));
}

static void mistakes_have_a_place_and_a_name(void **state)
{
	static const struct row rows[] = {
		{"title: a: b\n", "1:9: a second ': ' in one line"},
		{"\ta: b\n", "1:1: a tab is used as indentation"},
		{"a:\n\tb: c\n", "2:1: a tab is used as indentation"},
		{"a:\n  - x\n\t- y\n", "3:1: a tab is used as indentation"},
		{"a: [x,\n\ty]\n", "2:1: a tab is used as indentation"},
		{"a: b\n\tc: d\n", "2:1: a tab is used as indentation"},
		{"a: 'x\n", "1:5: single-quoted scalar without closing quote"},
		{"a: 'x\nb: c\n", "1:4: wrongly indented single-quoted scalar"},
		{"a: 'x' y\n", "1:8: invalid trailing content after single-quoted scalar"},
		{"a: @x\n", "1:4: plain scalar cannot start with '@'"},
		{"a: \"\\q\"\n", "1:5: invalid escape 'q' in double-quoted string"},
		{"a: [1, 2\nb: c\n", "1:4: this bracket is not closed"},
		{"a: [1, {x: 2\n", "1:8: this bracket is not closed"},
		{"a: }\n", "1:4: flow mapping with invalid extra closing brace"},
		{"a: b\n  c: d\n", "1:4: a text over several lines is followed by ':'"},
		{"  a: b\n c: d\n", "2:2: a key that is not in line with the keys above it"},
		{"a: - b\n", "1:4: a list begins on the line of its key"},
		{"a: 1\nb: 2\na: 3\n", "3:1: the key \"a\" is there twice, first on line 1"},
		{"a: 1\n'a': 3\n", "2:1: the key \"a\" is there twice, first on line 1"},
		{"x: {a: 1, a: 2}\n", "1:11: the key \"a\" is there twice, first on line 1"},
		{"a: &x b\n", "1:5: anchors (&name) are not supported"},
		{"a: &x [b]\n", "1:5: anchors (&name) are not supported"},
		{"&x a: b\n", "1:2: anchors (&name) are not supported"},
		{"a: *x\n", "1:4: aliases (*name) are not supported"},
		{"a: *\n", "1:5: an alias (*name) where none can be"},
		{"a: &\n", "1:5: an anchor (&name) where none can be"},
		{"a: !!str b\n", "1:4: tags (!name) are not supported"},
		{"a: !x\n  b: c\n", "1:4: tags (!name) are not supported"},
		{"a: !\n", "1:4: tags (!name) are not supported"},
		{"%YAML 1.2\n---\na: b\n", "1:1: directives (%YAML, %TAG) are not supported"},
		{"%TAG ! tag:x,2000:\n---\na: b\n",
			"1:1: directives (%YAML, %TAG) are not supported"},
		{"a: b\n---\nc: d\n", "1:5: a second document begins after this line"},
		{"? [a]\n: b\n", "1:3: a list cannot be a key"},
		{"? {a: b}\n: b\n", "1:3: a mapping cannot be a key"},
		{": b\n", "1:1: a ':' without a key before it"},
		{"a: \"x\\0y\"\n", "1:4: an escape makes a control character or half a character"},
		{"a: \"\\e[2J\"\n", "1:4: an escape makes a control character or half a character"},
		{"a: b\x01\n", "1:5: the text holds a control character (0x01)"},
		{"a: b\xc2\x85\n", "1:5: the text holds a control character (0xc2)"},
		{"a: b\rc: d\n",
			"1:5: the text holds a carriage return without a line feed (0x0d)"},
		{"a: \xff\n", "1:4: the text holds bytes that are not UTF-8 (0xff)"},
		{"a: \xed\xa0\x80\n", "1:4: the text holds bytes that are not UTF-8 (0xed)"},
		{"a: x\xef\xbb\xbf\n", "1:5: the text holds a byte order mark (0xef)"},
		{"a: \xef\xbf\xbf\n",
			"1:4: the text holds a character that Unicode reserves (0xef)"},
		{"a: b\nc", "2:1: a line without ':'"},
	};
	cleanup(buf_done) struct buf out = {0};

	(void)state;
	check_rows(rows, array_size(rows));
	read_text(STR("a: b\0c\n"), &out);
	assert_string_equal(out.data, "1:5: the text holds a NUL byte (0x00)");
}

static void limits_hold(void **state)
{
	cleanup(buf_done) struct buf out = {0}, text = {0};

	(void)state;
	for (int i = 0; i < 200000; i++)
		buf_add_char(&text, '[');
	read_text(buf_str(&text), &out);
	assert_string_equal(out.data, "1:1: 200000 bytes of YAML; at most 65536 are read");
	read_text(str_slice(buf_str(&text), 0, YAML_MAX_BYTES), &out);
	assert_string_equal(
		out.data, "1:257: more than 256 brackets are open here; 32 levels are allowed");
	read_text(str_slice(buf_str(&text), 0, 200), &out);
	assert_string_equal(out.data, "1:33: nested more than 32 levels deep");
	buf_clear(&text);
	for (int i = 0; i < 30000; i++)
		buf_add_text(&text, "- ");
	read_text(buf_str(&text), &out);
	assert_string_equal(out.data, "1:65: nested more than 32 levels deep");
	buf_clear(&text);
	for (int i = 0; i < 8000; i++)
		buf_printf(&text, "k%d: v\n", i % 4000);
	read_text(str_slice(buf_str(&text), 0, YAML_MAX_BYTES), &out);
	assert_string_equal(out.data, "4001:1: the key \"k0\" is there twice, first on line 1");
}

static void spans_count_from_the_whole_source(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source source = {"README.md",
		STR("---\r\ntitle: \"\xc3\xa9\" # x\r\ntags:\r\n  - a\r\n  - bcd\r\nm: {k: [v]}\r\n"
		    "t: |\r\n  one\r\n  two\r\n\r\ne:\r\n---\r\n")};
	struct str part = str_slice(source.text, 5, source.text.n - 5);
	const struct yaml_node *root = NULL;
	struct yaml_problem problem = {0};
	static const struct {
		const char *key;
		struct span span;
	} rows[] = {
		{"title", {2, 8, 2, 12}},
		{"tags", {4, 3, 4, 6}},
		{"m", {6, 4, 6, 12}},
		{"t", {8, 1, 9, 6}},
		{"e", {11, 2, 11, 2}},
	};

	(void)state;
	assert_int_equal(yaml_parse(&arena, &source, part, &root, &problem), 0);
	for (size_t i = 0; i < array_size(rows); i++) {
		struct span span = yaml_find(root, rows[i].key)->span;
		assert_int_equal(span.line, rows[i].span.line);
		assert_int_equal(span.col, rows[i].span.col);
		assert_int_equal(span.end_line, rows[i].span.end_line);
		assert_int_equal(span.end_col, rows[i].span.end_col);
	}
	const struct yaml_node *item = yaml_find(root, "tags")->items[1];
	assert_int_equal(item->span.line, 5);
	assert_int_equal(item->span.col, 5);
	assert_int_equal(item->span.end_col, 8);
	assert_null(yaml_find(root, "none"));
	assert_null(yaml_find(item, "none"));
	assert_null(yaml_find(NULL, "none"));
}

static void problems_show_the_line(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source source = {"README.md", STR("---\ntitle: a: b\n---\n")};
	const struct yaml_node *root = NULL;
	struct yaml_problem problem = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(
		yaml_parse(&arena, &source, str_slice(source.text, 4, 16), &root, &problem),
		-ERR_INPUT);
	assert_int_equal(yaml_problem_error(&problem, &source, &err), -ERR_INPUT);
	assert_string_equal(err.text, "README.md:2:9: a second ': ' in one line");
	assert_string_equal(err.hint, "  2 | title: a: b\n    |         ^\n"
				      "put the value in quotes: title: \"one: two\"");
}

static void plain_words_have_types(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source source = {
		"t", STR("- true\n- False\n- yes\n- 'true'\n- ~\n- 'null'\n- []\n")};
	const struct yaml_node *root = NULL;
	struct yaml_problem problem = {0};
	bool truth = false;

	(void)state;
	assert_int_equal(yaml_parse(&arena, &source, source.text, &root, &problem), 0);
	assert_true(yaml_bool(root->items[0], &truth));
	assert_true(truth);
	assert_true(yaml_bool(root->items[1], &truth));
	assert_false(truth);
	for (size_t i = 2; i < root->count; i++)
		assert_false(yaml_bool(root->items[i], &truth));
	for (size_t i = 0; i < root->count; i++)
		assert_int_equal(yaml_is_null(root->items[i]), i == 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_trees),
		cmocka_unit_test(mistakes_have_a_place_and_a_name),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(spans_count_from_the_whole_source),
		cmocka_unit_test(problems_show_the_line),
		cmocka_unit_test(plain_words_have_types),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
