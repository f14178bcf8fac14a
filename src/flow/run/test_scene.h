/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_TEST_SCENE_H
#define RUN_TEST_SCENE_H

/*
 * Instances for real, for tests: boxes, layers, crun, pasta. Needs what the program needs:
 * without it need_boxes() skips the test, and it was said why, unless SPACEPORT_MUST_RUN is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "run/parent.h"
#include "run/run.h"

#define SECOND	     INT64_C(1000000000)
#define SCENE_SECRET "s3cr3t-of-the-test"

enum { SCENE_PATIENCE_MS = 60000 };

/* A state directory of its own, with the layer that all images of the tests have. */
extern struct settings scene_settings;
int scene_set_up(void **state); /* of the group */
int scene_tear_down(void **state);
void need_boxes(void);

/* An image of that layer with this command; its id is in the arena. */
const char *scene_image(struct arena *a, const char *const *command);

struct scene {
	struct arena arena;
	struct run_options options;
	struct run *run;
	struct buf log, waiting, warnings;
	enum run_event_kind last; /* RUN_READY, RUN_EXITED or RUN_FAILED */
	int status;
	enum err_kind error;
	struct buf text; /* of that */
};

void scene_done(struct scene *s);
DEFINE_CLEANUP_VALUE(struct scene, scene_done);

/* What the image's program is asked to do: see test_app.c. */
#define COMMAND(...) \
	(const char *const[]) \
	{ \
		"/app", __VA_ARGS__, NULL \
	}

void scene_start(struct scene *s, const char *const *command);
/* Take events until one of this kind; false: it is over. */
bool scene_wait_for(struct scene *s, enum run_event_kind kind);
/* Until it is ready or has ended; s->last says which. */
void scene_wait(struct scene *s);

/* Fail when the part is not in the text; the log comes by a way of its own and is waited for. */
void expect(const char *text, const char *part);
void expect_log(struct scene *s, const char *part);
void expect_last(const struct scene *s, enum run_event_kind kind);

/* A connection to the Space, through its port on the host. */
int scene_connect(const struct scene *s);
uint16_t scene_port(const struct scene *s);
/* The body of what the app answers. */
void scene_get(const struct scene *s, const char *path, struct buf *ret);

#endif
