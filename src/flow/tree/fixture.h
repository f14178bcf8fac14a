/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TREE_FIXTURE_H
#define TREE_FIXTURE_H

/* What the tests of this room share: a directory for each test, trees in it, their listing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tree/internal.h"

/* Setup and teardown of a test: *state is an int pointer to an empty directory's descriptor. */
int fixture_new(void **state);
int fixture_gone(void **state);

#define fixture_test(fn) cmocka_unit_test_setup_teardown(fn, fixture_new, fixture_gone)

/*
 * root with several user IDs, in a user namespace if need be. false: there is no way, and the
 * reason has been printed; where SPACEPORT_MUST_RUN is 1 the program ends with a failure
 * instead.
 */
bool fixture_become_root(void);
/* As above, but for the rest of a test that calls it: skips it. */
void need_root(void);

/* Missing directories are made (0755). Modes do not pass through the umask. */
void put_file(int root, const char *path, const char *content, mode_t mode);
void put_dir(int root, const char *path, mode_t mode);
void put_link(int root, const char *path, const char *target);
void put_owner(int root, const char *path, uid_t uid, gid_t gid);
/* A directory of that name, opened. */
int sub(int root, const char *path);

/*
 * Everything below the directory, sorted, a line each: "dir 0755 pkg", "file 0644 a =text",
 * "link l ->target"; with owners: "dir 0755 0:0 pkg". Caller frees.
 */
char *show(int dir, bool with_owners);
/* One entry's line by the same rules, without its path; "missing" when there is none. */
const char *show_one(int dir, const char *path);
/* show() with owners is this text. */
void expect_tree(int dir, const char *text);
int64_t mtime_of(int dir, const char *path);

/* Patterns as in .dockerignore, of fnmatch(3)'s kind. */
struct rules {
	const char *patterns[8];
};

struct tree_filter rules_filter(const struct rules *rules);
bool rules_wildcard(struct str pattern, struct str name);

/* tree_select() of one or two sources that must succeed. */
struct tree_selection *selected(int root, const char *a, const char *b);

/* What is copied, and the image: two directories in that of the test. */
struct trees {
	int context, image;
};

struct trees make_trees(int top);
void close_trees(struct trees t);

/* The options of a COPY to dest, which is a directory when it ends with a slash. */
struct tree_copy_options copy_to(const char *dest);
/* COPY a [b]: what it returns. */
int copy_with(struct trees t, const char *a, const char *b, const struct tree_copy_options *options,
	struct err *err);
/* COPY a [b] dest, which must succeed. */
void copy(struct trees t, const char *a, const char *b, const char *dest);
/* The same, which must fail with an error that holds the text. */
void copy_fails(struct trees t, const char *a, const char *b, const char *dest, const char *text);

#endif
