/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORE_TEST_SCENE_H
#define STORE_TEST_SCENE_H

/* What the room's tests stand on: a store in a directory of its own, without any box. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/internal.h"

struct scene {
	struct store store;
	struct layer_store *layers; /* for writing */
	struct image_store *images;
};

/* Per test (cmocka's set-up and tear-down): *state is a `struct scene`. */
int scene_new(void **state);
int scene_gone(void **state);

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_new, scene_gone)

/* An assertion that tells the error. */
#define assert_ok(call, err) \
	do { \
		if ((call) != 0) \
			fail_msg("%s: %s", #call, (err)->text); \
	} while (0)

/* A key that is different for each number. */
struct layer_key key_number(unsigned n);
/*
 * Publish a layer with a file of so many KiB, made on `parent` (0: on none) and last used so
 * many seconds ago.
 */
void make_layer(struct scene *s, unsigned number, unsigned parent, unsigned kib, int age);
bool has_layer(const struct scene *s, unsigned number);

#endif
