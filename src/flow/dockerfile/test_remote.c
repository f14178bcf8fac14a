/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/planner.h"

#define SHA "0123456789abcdef0123456789abcdef01234567"

static void names_of_urls(void **state)
{
	static const struct {
		const char *url, *name;
	} rows[] = {
		{"https://h/a/file.tar.gz", "file.tar.gz"},
		{"https://h/a/file?x=/y#z", "file"},
		{"https://h/a/b%20c%2fd", "d"},
		{"https://h/dir/", "dir"},
		{"https://h/", "__unnamed__"},
		{"https://h", "__unnamed__"},
		{"https://h?x", "__unnamed__"},
		{"https://h/.", "__unnamed__"},
		{"https://h/a/..", NULL},
		{"https://h/%2e%2e", NULL},
		{"https://h/a%00b", NULL},
		{"https://h/a%zz", NULL},
	};
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		const char *name = url_file_name(&a, str_of(rows[i].url));
		if (!name != !rows[i].name || (name && strcmp(name, rows[i].name) != 0))
			fail_msg("%s: %s", rows[i].url, name ? name : "(none)");
	}
}

static void what_is_git(void **state)
{
	static const struct {
		const char *text;
		bool is;
	} rows[] = {
		{"https://h/r.git", true},
		{"https://h/r.git#main:x", true},
		{"https://h/r.git?ref=x", true},
		{"git@h:o/r", true},
		{"git://h/r", true},
		{"ssh://h/r", true},
		{"https://h/r", false},
		{"https://h/r.gitx", false},
		{"a@b/c:d", false},
		{"dir/file", false},
		{"file.git", false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		if (is_git(str_of(rows[i].text)) != rows[i].is)
			fail_msg("%s", rows[i].text);
}

static void references(void **state)
{
	static const struct {
		const char *text, *url, *ref, *subdir, *checksum;
		bool is_commit;
	} rows[] = {
		{"https://h/r.git", "https://h/r.git", "", "/", ""},
		{"https://h/r.git#main", "https://h/r.git", "main", "/", ""},
		{"https://h/r.git#main:a/./b/", "https://h/r.git", "main", "/a/b", ""},
		{"https://h/r.git#:a", "https://h/r.git", "", "/a", ""},
		{"https://h/r.git#" SHA, "https://h/r.git", SHA, "/", "", true},
		{"https://h/r.git?tag=v1", "https://h/r.git", "refs/tags/v1", "/", ""},
		{"https://h/r.git?branch=x/y&subdir=%2Fa%20b", "https://h/r.git", "refs/heads/x/y",
			"/a b", ""},
		{"https://h/r.git?ref=pull/1/head", "https://h/r.git", "pull/1/head", "/", ""},
		{"https://h/r.git?commit=0123456", "https://h/r.git", "", "/", "0123456"},
		{"https://h/r.git?checksum=" SHA, "https://h/r.git", SHA, "/", SHA, true},
		{"https://h/r.git?subdir=a#main", "https://h/r.git", "main", "/a", ""},
		{"git@h:o/r.git#v1", "git@h:o/r.git", "v1", "/", ""},
		{"ssh://git@h:22/r.git", "ssh://git@h:22/r.git", "", "/", ""},
		{"git://h/r", "git://h/r", "", "/", ""},
	};
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct plan_git git;
		struct err err = {0};
		if (git_reference_parse(&a, str_of(rows[i].text), &git, &err) < 0)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_string_equal(git.url, rows[i].url);
		assert_string_equal(git.ref, rows[i].ref);
		assert_string_equal(git.subdir, rows[i].subdir);
		assert_string_equal(git.checksum, rows[i].checksum);
		assert_int_equal(git.is_commit, rows[i].is_commit);
	}
}

static void switches(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct plan_git git;
	struct err err = {0};

	(void)state;
	assert_int_equal(git_reference_parse(&a,
				 STR("https://h/r.git?submodules=false&keep-git-dir"), &git, &err),
		0);
	assert_int_equal(git.submodules, PLAN_OFF);
	assert_int_equal(git.keep_git_dir, PLAN_ON);
	assert_int_equal(git_reference_parse(&a, STR("https://h/r.git?"), &git, &err), 0);
	assert_int_equal(git.submodules, PLAN_UNSET);
}

static void what_is_refused(void **state)
{
	static const char *const rows[] = {
		"https://h/r.git#-x",
		"https://h/r.git#--upload-pack=x",
		"https://h/r.git?ref=--exec",
		"https://h/r.git?ref=-x",
		"https://h/r.git?ref=a%20b",
		"https://h/r.git?ref=a%00b",
		"https://h/r.git?ref=a..b",
		"https://h/r.git?ref=a%0ab",
		"https://h/r.git?branch=",
		"https://h/r.git?tag=%2e%2e/x",
		"https://h/r.git?ref=HEAD~1",
		"https://h/r.git?ref=a.lock",
		"https://h/r.git?ref=%3aa",
		"https://h/r.git?unknown=1",
		"https://h/r.git?ref=a&ref=b",
		"https://h/r.git?ref=a&tag=b",
		"https://h/r.git?ref=a#b",
		"https://h/r.git?subdir=a#:b",
		"https://h/r.git?submodules=maybe",
		"https://h/r.git?checksum=xyz",
		"https://h/r.git?checksum=0123",
		"https://h/r.git?checksum=-123456789",
		"https://h/r.git#main:..",
		"https://h/r.git#main:../x",
		"https://h/r.git#main:a/../../x",
		"https://h/r.git#main:.git",
		"https://h/r.git#main:a/.GIT/hooks",
		"https://h/r.git?subdir=%2e%2e/x",
		"https://-oProxyCommand=x/r.git",
		"https:///r.git",
		"https://h",
		"ssh://-oProxyCommand=x/r.git",
		"ssh://-x@h/r.git",
		"ssh://h/-r.git",
		"git@-oProxyCommand=x:r.git",
		"-u@h:r.git",
		"git@h:-r.git",
		"git@h:",
		"ext::sh -c x",
		"u@ext::x",
		"fd::17@h:x",
		"file:///etc",
		"/local/path",
		"https://h/a b.git",
		"https://h/a\nb.git",
	};
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct plan_git git;
		struct err err = {0};
		if (git_reference_parse(&a, str_of(rows[i]), &git, &err) != -ERR_INPUT)
			fail_msg("%s was taken", rows[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_urls),
		cmocka_unit_test(what_is_git),
		cmocka_unit_test(references),
		cmocka_unit_test(switches),
		cmocka_unit_test(what_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
