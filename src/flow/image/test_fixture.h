/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TEST_FIXTURE_H
#define IMAGE_TEST_FIXTURE_H

/*
 * What the tests of pulling share: a fake registry for all of them, and for each a directory
 * with an empty image store and a sink.
 */
#include "base/arena.h"
#include "image/image.h"
#include "image/test_registry.h"

extern struct fake fake;
extern char path[64];
extern int dir;
extern struct image_store *store;
extern struct arena arena;
extern struct test_sink sink;
extern struct image_source source;
extern int seen[5]; /* progress events by phase */
extern struct image_progress last_download;
extern bool cancel, cancel_at_download;

/* For cmocka: around the group, and around each test. */
int start(void **state);
int stop(void **state);
int set_up(void **state);
int tear_down(void **state);
#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Pull, and see that no process is left. */
int pull(const char *name, struct image_record *ret, struct err *err);
/* It works, and all layers are there, byte for byte. */
void good(const char *name);
void assert_layers(void);
bool has_layer(size_t i);
/* It fails in this way, with an error (a hint) that holds this text. */
void assert_fails(const char *name, enum err_kind kind, const char *text);
void assert_hint(const char *name, const char *text);

#endif
