/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/*
 * What happens, told while it happens, on stderr. Three views of the same events:
 *
 *	bars	for a person at a terminal: running steps with the last lines of their output
 *		and pulls with bars are drawn over, finished steps scroll up
 *	plain	lines for files and CI logs, in the manner of BuildKit's plain progress
 *	json	an object a line, for programs; spaceport-build(1) documents the fields
 *
 * A view is pure: it gets an event, the time and the size of the terminal, and appends what is
 * to be written to a buffer.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "build/build.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "image/image.h"
#include "run/run.h"

/* Values of --progress, in the order of progress_words. */
enum progress_mode { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_JSON };
extern const char *const progress_words[];

struct progress;

/* auto becomes bars where lines can be drawn over, and plain elsewhere. */
struct progress *progress_new(enum progress_mode mode, int fd);
/* What transfers are called: "pull" at first, "push", …; static. */
void progress_set_verb(struct progress *p, const char *verb);
/* Nothing that is drawn over stays. */
void progress_free(struct progress *p);
DEFINE_CLEANUP(struct progress *, progress_free);

/* A build_event_fn; arg is the struct progress. */
void progress_on_build(void *arg, const struct build_event *event);
/* An image_progress_fn, for pulls and imports outside of builds. */
void progress_on_transfer(void *arg, const struct image_progress *transfer);
void progress_on_run(struct progress *p, const struct run_event *event);
/* Time has passed. */
void progress_tick(struct progress *p);
/*
 * Something to know that is no event of a room: "build 1.9s · …". `kind` names it for
 * programs ("summary", "stopping"); "warning" is shown as one.
 */
void progress_note(struct progress *p, const char *kind, struct str text);
/* Take away what is drawn over, before something else is written to the terminal. */
void progress_end(struct progress *p);

/* ---- Views ---- */

struct view;

struct view_ops {
	void (*build)(struct view *v, const struct build_event *event);
	void (*run)(struct view *v, const struct run_event *event);
	void (*tick)(struct view *v);
	void (*note)(struct view *v, const char *kind, struct str text);
	void (*end)(struct view *v);
	void (*free)(struct view *v);
};

/* First member of each view's own struct. */
struct view {
	const struct view_ops *ops;
	struct terminal terminal;
	const char *verb; /* of transfers */
	int64_t now;	  /* ns, of the monotonic clock */
	struct buf out;
};

struct view *view_bars_new(void);
struct view *view_plain_new(void);
struct view *view_json_new(void);

/* ---- Steps that run, as views remember them ---- */

/* Lines of output that are shown below a running step. */
enum { SHOWN_LINES = 4 };

struct shown_step {
	uint32_t number;
	char *name;
	int64_t started;
	struct output_lines output;
	struct buf last[SHOWN_LINES]; /* a ring */
	unsigned line_count;	      /* lines so far */
	/* Plain: what it has to say while lines of another step come, and since when. */
	struct buf held;
	bool is_held;
	int64_t held_since;
};

struct shown_steps {
	struct shown_step *items;
	size_t count, cap;
};

/* What this and shown_step_find() return is valid until the next step is added or removed. */
struct shown_step *shown_step_add(
	struct shown_steps *steps, uint32_t number, struct str name, int64_t now);
/* NULL when it is not there. */
struct shown_step *shown_step_find(const struct shown_steps *steps, uint32_t number);
void shown_step_remove(struct shown_steps *steps, uint32_t number);
/* Keep a line as one of the last. */
void shown_step_line(struct shown_step *step, struct str line);
void shown_steps_done(struct shown_steps *steps);

/* ---- Pulls ---- */

struct shown_layer {
	char id[13];	/* the first digits of its digest; "" for the image itself */
	char phase[16]; /* as the image room calls it */
	uint64_t done, total;
	int64_t started;
	bool is_over;
};

struct shown_pull {
	char *image;
	int64_t started;
	struct shown_layer *layers;
	size_t layer_count, layer_cap;
	size_t expected; /* layers of the image; 0 while not known */
	/* Two samples of the bytes so far, a second apart, for the rate. */
	int64_t sampled;
	uint64_t sample, rate; /* bytes; bytes a second */
};

struct shown_pulls {
	struct shown_pull *items;
	size_t count, cap;
};

/* Note what the event says; returns its pull, and in ret_layer the layer it is about. */
struct shown_pull *shown_pull_note(struct shown_pulls *pulls, const struct build_event *event,
	int64_t now, struct shown_layer **ret_layer);
/* Bytes of all layers together. */
void shown_pull_sum(const struct shown_pull *pull, uint64_t *ret_done, uint64_t *ret_total);
/* Are all layers there that are known of? */
bool shown_pull_is_idle(const struct shown_pull *pull);
/* …and is it known that there are no more? */
bool shown_pull_is_over(const struct shown_pull *pull);
void shown_pulls_remove(struct shown_pulls *pulls, struct shown_pull *pull);
void shown_pulls_done(struct shown_pulls *pulls);

#endif
