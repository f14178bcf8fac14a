/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "tree/fixture.h"

/* The selection as text: the paths, "<>" for a directory source, with `|` between them. */
static char *listed(const struct tree_selection *s)
{
	struct buf text = {0};

	buf_add_text(&text, "");
	for (size_t i = 0; i < s->count; i++) {
		const struct node *node = &s->nodes[i];
		buf_printf(&text, "%s%s", i ? "|" : "", *node->path ? node->path : "<>");
	}
	return buf_take(&text);
}

static void expect(int root, const struct tree_select_options *options, const char *a,
	const char *b, const char *text)
{
	const char *const sources[] = {a, b};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;
	struct err err = {0};

	if (tree_select(root, sources, b ? 2 : 1, options, &s, &err) < 0)
		fail_msg("%s: %s", a, err.text);
	cleanup_free char *found = listed(s);
	assert_string_equal(found, text);
}

static const struct tree_select_options plain = {.wildcard = rules_wildcard};

static void expect_error(int root, const struct tree_select_options *options, const char *source,
	enum err_kind kind, const char *text, const char *hint)
{
	const char *const sources[] = {source};
	struct tree_selection *s = NULL;
	struct err err = {0};

	assert_true(tree_select(root, sources, 1, options, &s, &err) < 0);
	assert_null(s);
	assert_int_equal(err.kind, kind);
	assert_non_null(strstr(err.text, text));
	if (!strstr(err.hint, hint))
		fail_msg("hint is \"%s\"", err.hint);
}

static void point_28_a_directory_is_its_contents(void **state)
{
	int root = *(int *)*state;

	put_file(root, "d/b", "", 0644);
	put_file(root, "d/a/x", "", 0644);
	put_file(root, "d/a-z", "", 0644);
	put_file(root, "d/a.b", "", 0644);
	put_dir(root, "d/empty", 0755);
	expect(root, &plain, "d", NULL, "<>|a|a/x|a-z|a.b|b|empty");
	expect(root, &plain, "d/", NULL, "<>|a|a/x|a-z|a.b|b|empty");
	expect(root, &plain, "d/.", "d/b", "<>|a|a/x|a-z|a.b|b|empty|b");
	expect(root, &plain, "d/empty", NULL, "<>");
}

static void sources_are_cleaned_against_the_root(void **state)
{
	int root = *(int *)*state;

	put_file(root, "f", "", 0644);
	put_file(root, "d/g", "", 0644);
	static const char *const same[] = {"f", "/f", "../f", "../../../f", "./d/../f", "//f"};
	for (size_t i = 0; i < array_size(same); i++)
		expect(root, &plain, same[i], NULL, "f");
	static const char *const all[] = {".", "/", "..", "", "d/..", "./"};
	for (size_t i = 0; i < array_size(all); i++)
		expect(root, &plain, all[i], NULL, "<>|d|d/g|f");
	expect(root, &plain, "d/g", NULL, "g");
}

static void wildcards_match_in_one_directory(void **state)
{
	int root = *(int *)*state;

	put_file(root, "a.py", "", 0644);
	put_file(root, "b.py", "", 0644);
	put_file(root, ".c.py", "", 0644);
	put_file(root, "sub1/x.py", "", 0644);
	put_file(root, "sub2/y.py", "", 0644);
	put_file(root, "sub2/deep/z.py", "", 0644);
	put_file(root, "arr[0].txt", "", 0644);
	expect(root, &plain, "*.py", NULL, ".c.py|a.py|b.py");
	expect(root, &plain, "sub?/*.py", NULL, "x.py|y.py");
	expect(root, &plain, "[ab].py", "sub1/x.py", "a.py|b.py|x.py");
	expect(root, &plain, "sub*", NULL, "<>|x.py|<>|deep|deep/z.py|y.py");
	expect(root, &plain, "*/deep/z.*", NULL, "z.py");
	expect(root, &plain, "arr[[]0].txt", NULL, "arr[0].txt");
	expect(root, &plain, "*.none", NULL, "");
	expect(root, &plain, "none/*", NULL, "");
	expect(root, &plain, "a.py/*", NULL, "");
	/* Without a matcher, and escaped, wildcards are letters. */
	struct tree_select_options literal = {0};
	expect(root, &literal, "arr[0].txt", NULL, "arr[0].txt");
	expect_error(root, &plain, "a\\*.py", ERR_MISSING, "a\\*.py", "");
}

static void missing_sources_are_explained(void **state)
{
	int root = *(int *)*state;
	struct rules rules = {{"secret", "hidden/*"}};
	struct tree_select_options options = {
		.wildcard = rules_wildcard, .ignore = rules_filter(&rules)};

	put_file(root, "Requirements.txt", "", 0644);
	put_file(root, "secret", "", 0644);
	put_file(root, "hidden/a", "", 0644);
	expect_error(root, &options, "app.py", ERR_MISSING,
		"\"app.py\" not found in the build context", "");
	expect_error(root, &options, "/requirements.txt", ERR_MISSING, "\"requirements.txt\"",
		"did you mean \"Requirements.txt\"?");
	expect_error(root, &options, "secret", ERR_MISSING, "\"secret\" not found",
		".dockerignore leaves it out");
	expect_error(root, &options, "hidden/a", ERR_MISSING, "hidden/a", ".dockerignore");
	expect_error(root, &options, "secret/x", ERR_MISSING, "secret/x", ".dockerignore");
	options.place = "stage build";
	expect_error(root, &options, "none/at/all", ERR_MISSING,
		"\"none/at/all\" not found in stage build", "");
	expect_error(root, &options, "Requirements.txt/x", ERR_MISSING, "not found", "");
}

static void point_33_links_named_are_followed_in_the_root(void **state)
{
	int root = *(int *)*state;
	int context = (put_dir(root, "context", 0755), sub(root, "context"));

	put_file(root, "outside", "", 0644);
	put_file(root, "outside-dir/f", "", 0644);
	put_file(context, "d/real", "", 0644);
	put_file(context, "outside", "", 0644);
	put_link(context, "to-file", "d/real");
	put_link(context, "to-dir", "/d");
	put_link(context, "up", "../../../outside");
	put_link(context, "out", "/outside-dir");
	put_link(context, "dangling", "nowhere");
	put_link(context, "loop", "loop");
	put_link(context, "d/inner", "../outside");
	expect(context, &plain, "to-file", NULL, "to-file");
	expect(context, &plain, "to-dir", NULL, "<>|inner|real");
	expect(context, &plain, "to-dir/real", NULL, "real");
	expect(context, &plain, "to-dir/*l", NULL, "real");
	expect(context, &plain, "to-f*", NULL, "to-file");
	expect(context, &plain, "up", NULL, "up");
	expect_error(context, &plain, "out", ERR_MISSING, "\"out\" not found", "");
	expect_error(context, &plain, "dangling", ERR_MISSING, "\"dangling\"", "");
	expect_error(context, &plain, "dang*", ERR_MISSING, "\"dangling\"", "");
	expect_error(context, &plain, "loop", ERR_SYSTEM, "oop", "");
	cleanup(tree_selection_free) struct tree_selection *s = selected(context, "d", NULL);
	assert_true(S_ISLNK(s->nodes[1].mode));
	assert_string_equal(s->nodes[1].target, "../outside");
	tree_selection_free(s);
	/* The same file as the link's name says: the one in the context. */
	s = selected(context, "up", NULL);
	assert_string_equal(s->nodes[0].real, "outside");
	close(context);
}

static void point_43_exceptions_below_ignored_directories(void **state)
{
	int root = *(int *)*state;
	static const struct rules both[] = {
		{{"docs/*", "!docs/README.md"}},
		{{"docs", "!docs/README.md"}},
	};

	put_file(root, "app", "", 0644);
	put_file(root, "docs/README.md", "", 0644);
	put_file(root, "docs/other", "", 0644);
	put_file(root, "docs/sub/x", "", 0644);
	for (size_t i = 0; i < array_size(both); i++) {
		struct tree_select_options options = {.ignore = rules_filter(&both[i])};
		expect(root, &options, ".", NULL, "<>|app|docs|docs/README.md");
		expect(root, &options, "docs", NULL, "<>|README.md");
		expect(root, &options, "docs/README.md", NULL, "README.md");
		expect_error(
			root, &options, "docs/other", ERR_MISSING, "docs/other", ".dockerignore");
		expect_error(root, &options, "docs/sub", ERR_MISSING, "docs/sub", ".dockerignore");
	}
	struct rules nothing = {{"docs", "!docs/none", "!docs/sub/none"}};
	struct tree_select_options options = {
		.ignore = rules_filter(&nothing), .wildcard = rules_wildcard};
	expect(root, &options, ".", NULL, "<>|app");
	expect(root, &options, "*", NULL, "app");
	expect_error(root, &options, "docs", ERR_MISSING, "docs", ".dockerignore");
}

static void what_links_lead_to_can_be_ignored(void **state)
{
	int root = *(int *)*state;
	struct rules rules = {{"private", "hidden-link"}};
	struct tree_select_options options = {.ignore = rules_filter(&rules)};

	put_file(root, "private/key", "", 0600);
	put_file(root, "open/file", "", 0644);
	put_link(root, "way-in", "private/key");
	put_link(root, "hidden-link", "open");
	expect_error(root, &options, "way-in", ERR_MISSING, "way-in", ".dockerignore");
	expect_error(root, &options, "hidden-link/file", ERR_MISSING, "hidden-link", "ignore");
	/* In a tree a link is only a name. */
	expect(root, &options, ".", NULL, "<>|open|open/file|way-in");
}

static void excludes_are_relative_to_the_source(void **state)
{
	int root = *(int *)*state;
	struct rules rules = {{"*.txt", "sub/*.md", "gone", "!gone/kept"}};
	struct tree_select_options options = {
		.exclude = rules_filter(&rules), .wildcard = rules_wildcard};

	put_file(root, "d/a.txt", "", 0644);
	put_file(root, "d/b", "", 0644);
	put_file(root, "d/sub/c.md", "", 0644);
	put_file(root, "d/sub/e.txt", "", 0644);
	put_file(root, "d/gone/kept", "", 0644);
	put_file(root, "d/gone/lost", "", 0644);
	expect(root, &options, "d", NULL, "<>|b|gone|gone/kept|sub|sub/e.txt");
	expect(root, &options, "d/sub", NULL, "<>|c.md");
	expect(root, &options, "d/*", NULL, "b|<>|kept|lost|<>|c.md");
	expect(root, &options, "d/a.txt", "d/b", "b");
}

static bool may_match(const void *arg, struct str dir)
{
	(void)arg;
	return !str_eq(dir, STR("never"));
}

static void point_41_what_matches_is_kept_with_its_way(void **state)
{
	int root = *(int *)*state;
	struct rules rules = {{"b/c", "never/x", "*.txt"}};
	struct tree_keep keep = {.filter = rules_filter(&rules)};
	struct tree_select_options options = {.wildcard = rules_wildcard, .keep = &keep};

	keep.filter.may_except_below = may_match;
	put_file(root, "a/b/c/d/file", "", 0644);
	put_file(root, "a/b/other", "", 0644);
	put_file(root, "a/e/f/g", "", 0644);
	put_file(root, "a/never/x", "", 0644);
	put_file(root, "a/top.txt", "", 0644);
	put_dir(root, "a/b/c/empty", 0755);
	expect(root, &options, "a", NULL, "<>|b|b/c|b/c/d|b/c/d/file|b/c/empty|top.txt");
	expect(root, &options, "a/*", NULL, "<>|<>|<>");
	/* Nothing is below a file, and nothing need be found. */
	expect(root, &options, "a/top.txt", NULL, "");
	keep.must_find = "as/asked";
	expect_error(root, &options, "a/e", ERR_MISSING, "\"as/asked\" not found", "");
	struct rules excluded = {{"c/d"}};
	options.exclude = rules_filter(&excluded);
	keep.filter = (struct tree_filter){0};
	expect(root, &options, "a/b", NULL, "<>|c|c/empty|other");
}

static void names_are_bytes(void **state)
{
	int root = *(int *)*state;

	put_file(root, "d/\xff\xfe", "", 0644);
	put_file(root, "d/new\nline", "", 0644);
	put_file(root, "d/ \"'", "", 0644);
	expect(root, &plain, "d", NULL, "<>| \"'|new\nline|\xff\xfe");
	expect(root, &plain, "d/\xff*", NULL, "\xff\xfe");
	expect_error(root, &plain, "\xfe", ERR_MISSING, "not found", "");
}

static void point_35_sockets_are_empty_files(void **state)
{
	int root = *(int *)*state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/sock", root);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(mkfifoat(root, "pipe", 0600), 0);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, ".", "pipe");
	assert_int_equal(s->count, 4);
	assert_true(S_ISFIFO(s->nodes[1].mode));
	assert_true(S_ISREG(s->nodes[2].mode) && s->nodes[2].is_socket);
	assert_int_equal(s->nodes[2].size, 0);
	assert_true(S_ISFIFO(s->nodes[3].mode));
	assert_string_equal(s->nodes[3].path, "pipe");
}

static void owners_are_kept_when_asked(void **state)
{
	need_root();
	int root = *(int *)*state;
	const char *const sources[] = {"."};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;
	struct tree_select_options options = {.keep_owner = true};

	put_file(root, "f", "", 0644);
	put_owner(root, "f", 1000, 1001);
	assert_int_equal(tree_select(root, sources, 1, &options, &s, NULL), 0);
	assert_int_equal(s->nodes[1].uid, 1000);
	assert_int_equal(s->nodes[1].gid, 1001);
	tree_selection_free(take_ptr(s));
	options.keep_owner = false;
	assert_int_equal(tree_select(root, sources, 1, &options, &s, NULL), 0);
	assert_int_equal(s->nodes[1].uid, 0);
	assert_int_equal(s->nodes[1].gid, 0);
}

static bool no_more(const void *arg)
{
	int *left = *(int *const *)arg;

	return --*left < 0;
}

static void cancelling_ends_it(void **state)
{
	int root = *(int *)*state, left = 0, *counter = &left;
	struct tree_select_options options = {.is_cancelled = no_more, .arg = &counter};
	const char *sources[] = {"d"};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;
	struct digest digest;
	struct err err = {0};

	put_file(root, "d/a", "a", 0644);
	expect_error(root, &options, "d", ERR_CANCELLED, "cancelled", "");
	left = 1;
	assert_int_equal(tree_select(root, sources, 1, &options, &s, &err), 0);
	assert_int_equal(tree_digest(s, NULL, &digest, &err), -ERR_CANCELLED);
	left = 1;
	assert_int_equal(tree_digest(s, NULL, &digest, &err), 0);
}

static void depth_and_count_have_limits(void **state)
{
	int root = *(int *)*state;
	struct tree_select_options options = {.max_entries = 4};
	int dir = openat(root, ".", O_RDONLY | O_DIRECTORY);

	for (int i = 0; i < 4; i++)
		put_file(root, (char[]){'d', '/', (char)('a' + i), 0}, "", 0644);
	expect_error(root, &options, "d", ERR_LIMIT, "more than 4 files", ".dockerignore");
	for (int i = 0; i < TREE_MAX_DEPTH + 2; i++) {
		assert_int_equal(mkdirat(dir, "x", 0755), 0);
		int below = openat(dir, "x", O_RDONLY | O_DIRECTORY);
		close(dir);
		dir = below;
	}
	close(dir);
	expect_error(root, &plain, "x", ERR_LIMIT, "directories below each other: x/x/x", "");
}

static void unreadable_directories_are_named(void **state)
{
	int root = *(int *)*state;
	uid_t self = geteuid();

	put_file(root, "d/closed/x", "", 0644);
	assert_int_equal(fchmodat(root, "d/closed", 0, 0), 0);
	assert_int_equal(fchmod(root, 0755), 0);
	if (self == 0)
		assert_int_equal(seteuid(65534), 0);
	expect_error(root, &plain, "d", ERR_DENIED, "the build context: open directory d/closed",
		"list it in .dockerignore");
	expect_error(root, &plain, "d/closed", ERR_DENIED, "d/closed", ".dockerignore");
	struct rules rules = {{"*/closed"}};
	struct tree_select_options options = {.ignore = rules_filter(&rules)};
	expect(root, &options, "d", NULL, "<>");
	assert_int_equal(seteuid(self), 0);
}

static void hard_links_are_numbered(void **state)
{
	int root = *(int *)*state;

	put_file(root, "d/a", "12", 0644);
	put_file(root, "d/c", "345", 0644);
	assert_int_equal(linkat(root, "d/a", root, "d/b", 0), 0);
	assert_int_equal(linkat(root, "d/c", root, "elsewhere", 0), 0);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", "d/b");
	assert_int_equal(tree_selection_count(s), 5);
	assert_int_equal(tree_selection_bytes(s), 9);
	static const uint32_t links[] = {0, 2, 2, 4, 2};
	for (size_t i = 0; i < array_size(links); i++)
		assert_int_equal(s->nodes[i].link, links[i]);
}

static void paths_are_cleaned_and_ordered(void **state)
{
	(void)state;
	static const char *const clean[][2] = {
		{"", ""},
		{"/", ""},
		{".", ""},
		{"..", ""},
		{"a", "a"},
		{"/a//b/", "a/b"},
		{"a/./b/../c", "a/c"},
		{"a/../../b", "b"},
		{"...", "..."},
		{"a/..", ""},
		{"ab/cd/..", "ab"},
		{"/../..a", "..a"},
	};
	cleanup(arena_done) struct arena a = {0};
	for (size_t i = 0; i < array_size(clean); i++)
		assert_string_equal(tree_path_clean(&a, clean[i][0]), clean[i][1]);
	static const char *const ordered[] = {"", "a", "a/b", "a/b/c", "a\001", "a-", "a0", "b"};
	for (size_t i = 0; i < array_size(ordered); i++) {
		for (size_t k = 0; k < array_size(ordered); k++) {
			int order = tree_path_order(str_of(ordered[i]), str_of(ordered[k]));
			assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
		}
	}
	static const char *const unclean[] = {"", "/a", "a/", "a//b", ".", "a/../b", "./a"};
	for (size_t i = 0; i < array_size(unclean); i++)
		assert_false(tree_path_is_clean(str_of(unclean[i])));
	assert_true(tree_path_is_clean(str_of("a/..b/\xff")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(point_28_a_directory_is_its_contents),
		fixture_test(sources_are_cleaned_against_the_root),
		fixture_test(wildcards_match_in_one_directory),
		fixture_test(missing_sources_are_explained),
		fixture_test(point_33_links_named_are_followed_in_the_root),
		fixture_test(point_43_exceptions_below_ignored_directories),
		fixture_test(what_links_lead_to_can_be_ignored),
		fixture_test(excludes_are_relative_to_the_source),
		fixture_test(point_41_what_matches_is_kept_with_its_way),
		fixture_test(names_are_bytes),
		fixture_test(point_35_sockets_are_empty_files),
		fixture_test(cancelling_ends_it),
		fixture_test(depth_and_count_have_limits),
		fixture_test(unreadable_directories_are_named),
		fixture_test(hard_links_are_numbered),
		fixture_test(owners_are_kept_when_asked),
		cmocka_unit_test(paths_are_cleaned_and_ordered),
	};

	return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
