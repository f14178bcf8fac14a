/* SPDX-License-Identifier: Apache-2.0 */
#include "tree/fixture.h"

static const struct {
	const char *text;
	mode_t before, after; /* before: with the type */
} modes[] = {
	{"644", S_IFREG | 0777, 0644},
	{"0755", S_IFREG, 0755},
	{"0", S_IFREG | 07777, 0},
	{"7777", S_IFDIR, 07777},
	{"u=rwX,go=rX", S_IFREG | 0600, 0644},
	{"u=rwX,go=rX", S_IFREG | 0700, 0755},
	{"u=rwX,go=rX", S_IFDIR | 0, 0755},
	{"+x", S_IFREG | 0644, 0755},
	{"a+x", S_IFREG | 0600, 0711},
	{"a-w", S_IFREG | 0666, 0444},
	{"ug+rw,o-rwx", S_IFREG | 0707, 0760},
	{"g=u", S_IFREG | 0640, 0660},
	{"o=g-w", S_IFREG | 0660, 0664},
	{"u+s", S_IFREG | 0755, 04755},
	{"g+s", S_IFDIR | 0755, 02755},
	{"o+s", S_IFREG | 0755, 0755},
	{"+t", S_IFDIR | 0777, 01777},
	{"u=rwx", S_IFREG | 04644, 0744},
	{"=", S_IFREG | 07777, 0},
	{"go=", S_IFREG | 0755, 0700},
	{"u=r+w-r", S_IFREG | 0700, 0200},
	{"a-x,u+X", S_IFREG | 0755, 0744}, /* X asks for what was there before */
	{"a-x,a+X", S_IFREG | 0644, 0644},
	{"ugo=rwx", S_IFREG | 0, 0777},
	{"g+u,o+g", S_IFREG | 0400, 0444},
};

static void modes_are_applied_as_by_chmod(void **state)
{
	(void)state;
	struct tree_mode m;
	struct err err = {0};

	for (size_t i = 0; i < array_size(modes); i++) {
		if (tree_mode_parse(str_of(modes[i].text), &m, &err) < 0)
			fail_msg("%s", err.text);
		mode_t after = tree_mode_apply(&m, modes[i].before);
		if (after != modes[i].after)
			fail_msg("%s on %o: %o", modes[i].text, modes[i].before, after);
	}
}

static void other_texts_are_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "8", "10000", "0x1ff", "u", "u=rwz", "rwx", "u=r,",
		",u=r", "u=r,,g=r", "u r", "-", "u+-x ", "u=ux", "755 ", " 755", "u=r,755", "+u+",
		"77777777777777777777", "a"};
	struct tree_mode m = {.octal = 1};
	struct err err = {0};

	for (size_t i = 0; i < array_size(texts); i++) {
		/* Empty actions are chmod's way of saying nothing. */
		bool is_empty = strcmp(texts[i], "-") == 0 || strcmp(texts[i], "+u+") == 0;
		int r = tree_mode_parse(str_of(texts[i]), &m, &err);
		if (is_empty ? r != 0 : r >= 0)
			fail_msg("\"%s\": %d", texts[i], r);
	}
	struct tree_mode untouched = {.octal = 1};
	assert_true(tree_mode_parse(STR("9"), &untouched, &err) < 0);
	assert_int_equal(untouched.octal, 1);
	assert_int_equal(err.kind, ERR_INPUT);
	assert_string_equal(err.text, "\"9\" is not a file mode");
	assert_non_null(strstr(err.hint, "u=rwX,go=rX"));
	cleanup(buf_done) struct buf many = {0};
	for (int i = 0; i < TREE_MODE_MAX_CLAUSES; i++)
		buf_add_text(&many, "+x");
	assert_int_equal(tree_mode_parse(buf_str(&many), &m, &err), 0);
	buf_add_text(&many, "+x");
	assert_true(tree_mode_parse(buf_str(&many), &m, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_are_applied_as_by_chmod),
		cmocka_unit_test(other_texts_are_refused),
	};

	return cmocka_run_group_tests_name("mode", tests, NULL, NULL);
}
