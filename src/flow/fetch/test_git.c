/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fetch/internal.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"

static void refs_are_picked_as_git_does(void **state)
{
	static const struct {
		const char *listing, *ref, *commit; /* NULL: none */
	} rows[] = {
		{A "\tHEAD\n", "", A},
		{A "\trefs/heads/main\n", "", NULL},
		{A "\trefs/tags/x\n" B "\trefs/heads/x\n", "x", B},
		{A "\trefs/tags/x\n" B "\trefs/tags/x^{}\n", "x", B},
		{A "\trefs/tags/x\n" B "\trefs/tags/x^{}\n" C "\trefs/heads/x\n", "refs/tags/x", B},
		{A "\trefs/pull/1/head\n", "pull/1/head", A},
		{A "\trefs/heads/evil/refs/heads/x\n", "x", NULL},
		{"warning: something\n" A "\trefs/heads/x\n", "x", A},
		{"-" A "\trefs/heads/x\n", "x", NULL},
		{A " refs/heads/x\n", "x", NULL},
		{"zz\trefs/heads/x", "x", NULL},
		{"", "x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		char commit[FETCH_COMMIT_SIZE] = "";
		bool found = git_pick_ref(str_of(rows[i].listing), rows[i].ref, commit);
		if (found != (rows[i].commit != NULL) ||
			(found && strcmp(commit, rows[i].commit) != 0))
			fail_msg("row %zu: %s", i, commit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refs_are_picked_as_git_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
