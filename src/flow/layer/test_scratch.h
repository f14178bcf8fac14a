/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LAYER_TEST_SCRATCH_H
#define LAYER_TEST_SCRATCH_H

/*
 * What the room's tests stand on: a user namespace in which the test process is root, and a
 * directory that belongs to that root, emptied for each test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "layer/layer.h"

/*
 * Called once, first in main(). Where no namespace can be made every test that calls
 * scratch_new() is skipped, with the reason; with SPACEPORT_MUST_RUN=1 it fails.
 */
void scratch_enter(void);
/* The end of main(). */
void scratch_leave(void);

/* Per test (cmocka's set-up and tear-down): *state is a `struct scratch`. */
int scratch_new(void **state);
int scratch_gone(void **state);

struct scratch {
	int dir; /* of the test */
	struct layer_store *store;
};

/* In main(), and first in the test itself. */
#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_new, scratch_gone)
#define SCRATCH(state) \
	struct scratch *s = *(state); \
	unused_arg struct err err = {0}; \
	if (s->dir < 0) \
	skip()

/* An assertion that tells the error. */
#define assert_ok(call, err) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s", #call, (err)->text); \
	} while (0)

/* Files below a directory. */
void write_file(int dir, const char *path, const char *text);
/* The content, in a static buffer; NULL when it cannot be read. */
const char *read_file(int dir, const char *path);
/* "-", "d", "l", "p", "w" (whiteout), "o" (opaque directory), "?" or "" when missing. */
const char *type_of(int dir, const char *path);
int count_entries(int dir, const char *path);

/* Run in a forked child and wait; returns its exit code, or 256 + the signal that ended it. */
int in_child(int (*fn)(void *arg), void *arg);

/* A key that is different for each number. */
struct layer_key key_number(unsigned n);
/* Publish a layer with one file "file" (its number) and maybe a parent. */
void make_layer(struct layer_store *store, unsigned number, const struct layer_key *parent);

#endif
