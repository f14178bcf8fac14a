/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"
#include "cli/progress.h"

/*
 * Steps of different stages talk at the same time. The lines of one stay together for this long,
 * while those of the others are held back.
 */
#define HOLD INT64_C(2000000000)

/* How often a pull that goes on says how far it is. */
#define PULL_EVERY INT64_C(5000000000)

struct plain_view {
	struct view view;
	struct shown_steps steps;
	uint32_t current; /* the step whose lines come now; 0: none */
	struct shown_pulls pulls;
	int64_t pull_told;
	struct buf asked;    /* the last line about a registry */
	struct strip app[2]; /* stdout and stderr of the app */
	bool at_line_start;
	struct buf waiting; /* what was said last of the waiting */
};

static void add_duration(struct view *v, int64_t ns)
{
	char text[32];

	buf_add_text(&v->out, print_duration(text, ns));
}

/* The rest of a line of ours; there may be foreign words in it. */
static void own_text(struct view *v, struct str text)
{
	output_one_line(&v->out, text);
	buf_add_char(&v->out, '\n');
}

/* ---- Steps: "#7 [2/9] RUN …", "#7 0.412 line", "#7 DONE 0.5s" ---- */

/* Lines of other steps may stand between: say again whose lines follow. */
static void turn_to(struct plain_view *view, struct shown_step *step)
{
	struct buf *out = &view->view.out;

	if (view->current != step->number) {
		if (view->current > 0)
			buf_add_char(out, '\n');
		buf_printf(out, "#%u %s\n", step->number, step->name);
		view->current = step->number;
	}
	buf_add_str(out, buf_str(&step->held));
	buf_clear(&step->held);
	step->is_held = false;
}

/* Where the step's lines go now. */
static struct buf *place_of(struct plain_view *view, struct shown_step *step)
{
	if (view->current == 0 || view->current == step->number) {
		turn_to(view, step);
		return &view->view.out;
	}
	if (!step->is_held)
		step->held_since = view->view.now;
	step->is_held = true;
	return &step->held;
}

/* Whoever has waited longest, and that long, has its turn. */
static bool let_others_speak(struct plain_view *view, int64_t wait)
{
	struct shown_step *first = NULL;

	for (size_t i = 0; i < view->steps.count; i++) {
		struct shown_step *step = &view->steps.items[i];
		if (step->is_held && (!first || step->held_since < first->held_since))
			first = step;
	}
	if (!first || view->view.now - first->held_since < wait)
		return false;
	turn_to(view, first);
	return true;
}

struct plain_target {
	struct plain_view *view;
	struct shown_step *step;
};

static void plain_line(void *arg, struct str line)
{
	const struct plain_target *target = arg;
	int64_t now = target->view->view.now;
	struct buf *out = place_of(target->view, target->step);

	buf_printf(out, "#%u %.3f ", target->step->number,
		(double)(now - target->step->started) / 1e9);
	buf_add_str(out, line);
	buf_add_char(out, '\n');
}

static struct shown_step *step_of(struct plain_view *view, const struct build_event *event)
{
	struct shown_step *step = shown_step_find(&view->steps, event->step);

	if (!step)
		step = shown_step_add(&view->steps, event->step, event->name, view->view.now);
	return step;
}

static void step_over(struct plain_view *view, const struct build_event *event)
{
	struct view *v = &view->view;
	struct shown_step *step = step_of(view, event);
	struct plain_target target = {view, step};

	output_lines_end(&step->output, plain_line, &target);
	turn_to(view, step);
	buf_printf(&v->out, "#%u ", step->number);
	if (event->kind == BUILD_STEP_CANCELLED) {
		buf_add_text(&v->out, "CANCELED");
	} else if (event->kind == BUILD_STEP_FAILED) {
		buf_add_text(&v->out, "ERROR: ");
		output_one_line(&v->out, event->text);
	} else if (event->cached) {
		buf_add_text(&v->out, "CACHED");
	} else {
		buf_add_text(&v->out, "DONE ");
		add_duration(v, event->duration);
	}
	buf_add_text(&v->out, "\n\n");
	shown_step_remove(&view->steps, event->step);
	view->current = 0;
	(void)let_others_speak(view, 0);
}

/* ---- Pulls: a line for each layer that has come, and now and then how far all are ---- */

static void pull_begin(struct view *v, const struct shown_pull *pull)
{
	buf_printf(&v->out, "%s %s: ", v->verb, pull->image);
}

static void pull_so_far(struct view *v, const struct shown_pull *pull)
{
	uint64_t done, total;
	char a[32], b[32], c[32];

	shown_pull_sum(pull, &done, &total);
	pull_begin(v, pull);
	buf_printf(&v->out, "%s / %s %s/s\n", print_size(a, done), print_size(b, total),
		print_size(c, pull->rate));
}

/* Which place is asked, once for all documents that it is asked for. */
static void pull_asks(
	struct plain_view *view, const struct shown_pull *pull, const struct build_event *event)
{
	cleanup(buf_done) struct buf line = {0};

	buf_printf(&line, "%s %s: %.*s ", view->view.verb, pull->image, STR_ARG(event->phase));
	output_one_line(&line, event->text);
	buf_add_char(&line, '\n');
	if (str_eq(buf_str(&line), buf_str(&view->asked)))
		return;
	buf_add_str(&view->view.out, buf_str(&line));
	buf_clear(&view->asked);
	buf_add_str(&view->asked, buf_str(&line));
}

static void plain_pull(struct plain_view *view, const struct build_event *event)
{
	struct view *v = &view->view;
	struct shown_layer *layer;
	struct shown_pull *pull = shown_pull_note(&view->pulls, event, v->now, &layer);
	char text[32];

	if (!*layer->id) {
		pull_asks(view, pull, event);
	} else if (layer->is_over) {
		pull_begin(v, pull);
		buf_printf(&v->out, "%s %s", layer->id, layer->phase);
		if (layer->total > 0)
			buf_printf(&v->out, " %s", print_size(text, layer->total));
		buf_add_char(&v->out, '\n');
	} else if (v->now - view->pull_told >= PULL_EVERY && v->now - pull->started >= PULL_EVERY) {
		pull_so_far(v, pull);
		view->pull_told = v->now;
	}
	if (shown_pull_is_over(pull))
		shown_pulls_remove(&view->pulls, pull);
}

static void plain_step(struct plain_view *view, const struct build_event *event)
{
	struct plain_target target = {view, step_of(view, event)};

	switch (event->kind) {
	case BUILD_STEP_LOG:
		output_lines_feed(&target.step->output, event->text, plain_line, &target);
		break;
	case BUILD_STEP_WAITS:
		plain_line(&target, event->text);
		break;
	case BUILD_STEP_DONE:
	case BUILD_STEP_FAILED:
	case BUILD_STEP_CANCELLED:
		step_over(view, event);
		break;
	case BUILD_STEP_START:
		(void)place_of(view, target.step);
		break;
	case BUILD_PLANNED:
	case BUILD_PULL:
	case BUILD_TICK:
	case BUILD_WARNING:
	case BUILD_IMAGE:
		break; /* of no step */
	}
}

static void plain_build(struct view *v, const struct build_event *event)
{
	struct plain_view *view = (struct plain_view *)v;

	if (event->step > 0)
		plain_step(view, event);
	else if (event->kind == BUILD_PULL)
		plain_pull(view, event);
	else if (event->kind == BUILD_PLANNED || event->kind == BUILD_WARNING) {
		if (event->kind == BUILD_WARNING)
			buf_add_text(&v->out, "warning: ");
		own_text(v, event->text);
		if (event->kind == BUILD_PLANNED)
			buf_add_char(&v->out, '\n');
	}
	(void)let_others_speak(view, HOLD);
}

/* ---- Runs: what the app writes, and between it what there is to say ---- */

/* Our own lines begin on a line of their own. */
static void own_line(struct plain_view *view)
{
	if (!view->at_line_start)
		buf_add_char(&view->view.out, '\n');
	view->at_line_start = true;
}

static void app_bytes(struct plain_view *view, const struct run_event *event)
{
	struct view *v = &view->view;
	size_t before = v->out.len;

	/* A file gets what the app wrote; a terminal what may be shown of it. */
	if (v->terminal.is_terminal)
		strip_feed(&view->app[event->is_stderr], event->text, &v->out);
	else
		buf_add_str(&v->out, event->text);
	if (v->out.len > before)
		view->at_line_start = v->out.data[v->out.len - 1] == '\n';
}

static void plain_waiting(struct plain_view *view, const struct run_event *event)
{
	if (str_eq(event->text, buf_str(&view->waiting)))
		return;
	buf_clear(&view->waiting);
	buf_add_str(&view->waiting, event->text);
	own_line(view);
	buf_add_text(&view->view.out, "waiting: ");
	own_text(&view->view, event->text);
}

static void plain_run(struct view *v, const struct run_event *event)
{
	struct plain_view *view = (struct plain_view *)v;

	switch (event->kind) {
	case RUN_STARTED:
	case RUN_WAITING:
		plain_waiting(view, event);
		break;
	case RUN_LOG:
		app_bytes(view, event);
		break;
	case RUN_WARNING:
		own_line(view);
		buf_add_text(&v->out, "warning: ");
		own_text(v, event->text);
		break;
	case RUN_HEALTH:
		own_line(view);
		buf_add_text(&v->out, event->status ? "warning: " : "");
		own_text(v, event->text);
		break;
	case RUN_READY:
	case RUN_EXITED:
	case RUN_FAILED:
		break;
	}
}

static void plain_tick(struct view *v)
{
	(void)v;
}

static void plain_note(struct view *v, const char *kind, struct str text)
{
	own_line((struct plain_view *)v);
	if (strcmp(kind, "warning") == 0)
		buf_add_text(&v->out, "warning: ");
	buf_add_str(&v->out, text);
	buf_add_char(&v->out, '\n');
}

static void plain_end(struct view *v)
{
	while (let_others_speak((struct plain_view *)v, 0))
		;
	own_line((struct plain_view *)v);
}

static void plain_free(struct view *v)
{
	struct plain_view *view = (struct plain_view *)v;

	shown_steps_done(&view->steps);
	shown_pulls_done(&view->pulls);
	buf_done(&view->asked);
	buf_done(&view->waiting);
	free(view);
}

struct view *view_plain_new(void)
{
	static const struct view_ops ops = {
		plain_build, plain_run, plain_tick, plain_note, plain_end, plain_free};
	struct plain_view *view = xcalloc(1, sizeof(*view));

	view->view.ops = &ops;
	view->view.verb = "pull";
	view->at_line_start = true;
	return &view->view;
}
