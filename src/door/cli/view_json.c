/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "cli/progress.h"
#include "os/clock.h"
#include "json/json.h"

/* An object a line. Output is told by lines, as the other views show it. */
struct json_view {
	struct view view;
	struct shown_steps steps;
	struct output_lines app[2]; /* stdout and stderr of the app */
};

/* Begins an object with what all of them have; end it with json_line_end(). */
static struct json_writer begin(struct view *v, const char *event)
{
	char now[32];
	struct json_writer w = json_writer_to(&v->out);

	json_begin_object(&w);
	json_add_text(&w, "time", clock_iso(now));
	json_add_text(&w, "event", event);
	return w;
}

static void end(struct json_writer *w)
{
	json_end_object(w);
	json_line(w);
}

static void add_ms(struct json_writer *w, int64_t ns)
{
	json_add_i64(w, "ms", ns / 1000000);
}

/* ---- Builds ---- */

static const char *const build_names[] = {
	[BUILD_PLANNED] = "planned",
	[BUILD_STEP_START] = "step-start",
	[BUILD_STEP_LOG] = "step-log",
	[BUILD_STEP_DONE] = "step-done",
	[BUILD_STEP_FAILED] = "step-failed",
	[BUILD_STEP_WAITS] = "step-waiting",
	[BUILD_STEP_CANCELLED] = "step-cancelled",
	[BUILD_PULL] = "pull",
	[BUILD_TICK] = NULL,
	[BUILD_WARNING] = "warning",
	[BUILD_IMAGE] = "image",
};

struct line_target {
	struct view *view;
	const char *event;
	uint32_t step;
	const char *stream;
};

static void tell_line(void *arg, struct str line)
{
	const struct line_target *target = arg;
	struct json_writer w = begin(target->view, target->event);

	if (target->step > 0)
		json_add_u64(&w, "step", target->step);
	if (target->stream)
		json_add_text(&w, "stream", target->stream);
	json_add_str(&w, "text", line);
	end(&w);
}

static void add_pull(struct json_writer *w, const struct build_event *event)
{
	json_add_str(w, "image", event->name);
	json_add_str(w, "phase", event->phase);
	json_add_str(w, "layer", event->text);
	json_add_u64(w, "layers", event->layers);
	json_add_u64(w, "done", event->done);
	json_add_u64(w, "total", event->total);
}

static void add_step(struct json_writer *w, const struct build_event *event)
{
	json_add_u64(w, "step", event->step);
	if (event->name.n > 0)
		json_add_str(w, "name", event->name);
	if (event->kind == BUILD_STEP_DONE)
		json_add_bool(w, "cached", event->cached);
	if (event->kind == BUILD_STEP_DONE || event->kind == BUILD_STEP_FAILED)
		add_ms(w, event->duration);
	if (event->text.n > 0)
		json_add_str(w, "text", event->text);
}

static void tell_event(struct view *v, const struct build_event *event)
{
	struct json_writer w =
		begin(v, event->kind == BUILD_PULL ? v->verb : build_names[event->kind]);

	if (event->kind == BUILD_PULL)
		add_pull(&w, event);
	else if (event->step > 0)
		add_step(&w, event);
	else
		json_add_str(&w, event->kind == BUILD_IMAGE ? "image" : "text", event->text);
	if (event->kind == BUILD_PLANNED)
		json_add_u64(&w, "steps", event->total);
	end(&w);
}

static void json_build(struct view *v, const struct build_event *event)
{
	struct json_view *view = (struct json_view *)v;
	struct shown_step *step = shown_step_find(&view->steps, event->step);
	struct line_target target = {v, "step-log", event->step, NULL};

	if (!build_names[event->kind])
		return;
	if (event->kind == BUILD_STEP_START && !step)
		shown_step_add(&view->steps, event->step, event->name, v->now);
	if (event->kind == BUILD_STEP_LOG) {
		if (!step)
			step = shown_step_add(&view->steps, event->step, STR(""), v->now);
		output_lines_feed(&step->output, event->text, tell_line, &target);
		return;
	}
	bool is_over = event->kind == BUILD_STEP_DONE || event->kind == BUILD_STEP_FAILED ||
		       event->kind == BUILD_STEP_CANCELLED;
	if (is_over && step) {
		output_lines_end(&step->output, tell_line, &target);
		shown_step_remove(&view->steps, event->step);
	}
	tell_event(v, event);
}

/* ---- Runs ---- */

static const char *const run_names[] = {
	[RUN_STARTED] = "started",
	[RUN_WAITING] = "waiting",
	[RUN_READY] = "ready",
	[RUN_LOG] = "log",
	[RUN_WARNING] = "warning",
	[RUN_HEALTH] = "health",
	[RUN_EXITED] = "exited",
	[RUN_FAILED] = "failed",
};

static void tell_rest(struct json_view *view)
{
	for (int i = 0; i < 2; i++) {
		struct line_target target = {&view->view, "log", 0, i ? "stderr" : "stdout"};
		output_lines_end(&view->app[i], tell_line, &target);
	}
}

static void json_run(struct view *v, const struct run_event *event)
{
	struct json_view *view = (struct json_view *)v;

	if (event->kind == RUN_LOG) {
		int i = event->is_stderr;
		struct line_target target = {v, "log", 0, i ? "stderr" : "stdout"};
		output_lines_feed(&view->app[i], event->text, tell_line, &target);
		return;
	}
	bool is_over = event->kind == RUN_EXITED || event->kind == RUN_FAILED;
	if (is_over)
		tell_rest(view);
	struct json_writer w = begin(v, run_names[event->kind]);
	json_add_str(&w, event->kind == RUN_READY ? "url" : "text", event->text);
	if (event->kind == RUN_READY || event->kind == RUN_EXITED)
		json_add_i64(&w, "status", event->status);
	add_ms(&w, event->duration);
	end(&w);
}

static void json_tick(struct view *v)
{
	(void)v;
}

static void json_note(struct view *v, const char *kind, struct str text)
{
	struct json_writer w = begin(v, kind);

	json_add_str(&w, "text", text);
	end(&w);
}

static void json_end(struct view *v)
{
	tell_rest((struct json_view *)v);
}

static void json_free(struct view *v)
{
	struct json_view *view = (struct json_view *)v;

	shown_steps_done(&view->steps);
	output_lines_done(&view->app[0]);
	output_lines_done(&view->app[1]);
	free(view);
}

struct view *view_json_new(void)
{
	static const struct view_ops ops = {
		json_build, json_run, json_tick, json_note, json_end, json_free};
	struct json_view *view = xcalloc(1, sizeof(*view));

	view->view.ops = &ops;
	view->view.verb = "pull";
	return &view->view;
}
