/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/number.h"
#include "cli/progress.h"

/*
 * The lower part of the terminal is a live area of a few lines that is taken away and drawn
 * again; what is finished is written above it and scrolls up. Drawing is limited to
 * REDRAW_EVERY, however fast events come.
 *
 * To take the area away the cursor goes up over the rows it has. A terminal made narrower
 * in between has wrapped the lines, so the rows are counted anew from their widths.
 */
#define REDRAW_EVERY INT64_C(50000000)

enum { LIVE_MAX = 48, TIMES_COLUMN = 100, SHOWN_LAYERS = 6, WIDE = 80 };

struct live_line {
	struct buf text; /* with colours */
	size_t width;
};

struct bars_view {
	struct view view;
	struct shown_steps steps;
	struct shown_pulls pulls;
	int64_t started;      /* when the build was planned */
	uint64_t total, over; /* steps */
	struct live_line live[LIVE_MAX];
	size_t live_count; /* lines being composed, then lines on the screen */
	bool is_drawn;
	int64_t drawn; /* when */
	bool is_waiting;
	struct buf waiting; /* what the app is waited for */
	int64_t waiting_since;
	struct output_lines starting[2]; /* the app's output while it is waited for */
	struct strip app[2];		 /* …and after */
	bool in_line;			 /* the app's last line is not finished */
};

static const struct terminal *terminal(const struct bars_view *view)
{
	return &view->view.terminal;
}

/* ---- The live area ---- */

static void erase(struct bars_view *view)
{
	size_t rows = 0, columns = terminal(view)->columns;

	if (!view->is_drawn)
		return;
	for (size_t i = 0; i < view->live_count; i++)
		rows += view->live[i].width > columns
				? (view->live[i].width + columns - 1) / columns
				: 1;
	buf_add_char(&view->view.out, '\r');
	if (rows > 0)
		buf_printf(&view->view.out, "\033[%zuA", rows);
	buf_add_text(&view->view.out, "\033[J");
	view->is_drawn = false;
	view->live_count = 0;
}

/* One more line of the area; NULL when there are enough. */
static struct buf *live_line(struct bars_view *view)
{
	if (view->live_count >= LIVE_MAX || view->live_count + 2 > terminal(view)->rows)
		return NULL;
	struct live_line *line = &view->live[view->live_count++];
	buf_clear(&line->text);
	line->width = 0;
	return &line->text;
}

/*
 * " => left               right" in the whole width, right always to be seen. Widths are
 * those of the plain text, which is coloured afterwards.
 */
struct row {
	struct str left, right;
	enum style style;
};

static size_t row_columns(const struct bars_view *view)
{
	/* The last column stays empty: some terminals wrap when it is written. */
	size_t columns = terminal(view)->columns - 1;
	return columns < TIMES_COLUMN ? columns : TIMES_COLUMN;
}

static void add_row(const struct bars_view *view, const struct row *row, struct buf *ret)
{
	cleanup(buf_done) struct buf left = {0}, right = {0};
	size_t columns = row_columns(view) > 6 ? row_columns(view) - 6 : 0;

	text_fit(&right, row->right, columns);
	columns -= text_width(buf_str(&right));
	text_fit(&left, row->left, columns);
	buf_add_text(ret, " => ");
	terminal_add(ret, terminal(view), row->style, buf_str(&left));
	if (right.len == 0)
		return;
	text_pad(ret, 2 + columns - text_width(buf_str(&left)));
	terminal_add(ret, terminal(view), STYLE_DIM, buf_str(&right));
}

static void live_row(struct bars_view *view, const struct row *row)
{
	struct buf *line = live_line(view);

	if (!line)
		return;
	add_row(view, row, line);
	view->live[view->live_count - 1].width = row_columns(view);
}

/* A dim line below a row. */
static void live_detail(struct bars_view *view, struct str text)
{
	cleanup(buf_done) struct buf fitted = {0};
	struct buf *line = live_line(view);

	if (!line)
		return;
	text_fit(&fitted, text, terminal(view)->columns > 6 ? terminal(view)->columns - 6 : 0);
	buf_add_text(line, "    ");
	terminal_add(line, terminal(view), STYLE_DIM, buf_str(&fitted));
	view->live[view->live_count - 1].width = 4 + text_width(buf_str(&fitted));
}

static void compose_step(struct bars_view *view, const struct shown_step *step)
{
	char time[32];
	unsigned first = step->line_count > SHOWN_LINES ? step->line_count - SHOWN_LINES : 0;

	print_duration(time, view->view.now - step->started);
	live_row(view, &(struct row){str_of(step->name), str_of(time), STYLE_BOLD});
	if (step->output.line.len > 0 && step->line_count >= SHOWN_LINES)
		first++;
	for (unsigned i = first; i < step->line_count; i++)
		live_detail(view, buf_str(&step->last[i % SHOWN_LINES]));
	if (step->output.line.len > 0)
		live_detail(view, buf_str(&step->output.line));
}

/* "[=======>      ] 12.3 MB / 45.0 MB"; without the bar where there is little room. */
static void add_bar(const struct bars_view *view, struct buf *ret, uint64_t done, uint64_t total)
{
	enum { BAR = 20 };
	char a[32], b[32];
	double part = done < total ? (double)done / (double)total : 1;
	unsigned full = (unsigned)(part * BAR);

	if (terminal(view)->columns >= WIDE) {
		buf_add_char(ret, '[');
		for (unsigned i = 0; i < BAR; i++)
			buf_add_text(ret, i < full ? "=" : i == full ? ">" : " ");
		buf_add_text(ret, "] ");
	}
	buf_printf(ret, "%s / %s", print_size(a, done), print_size(b, total));
}

static void compose_pull(struct bars_view *view, const struct shown_pull *pull)
{
	cleanup(buf_done) struct buf left = {0}, right = {0};
	uint64_t done, total;
	char text[32];
	size_t shown = 0;

	shown_pull_sum(pull, &done, &total);
	buf_printf(&left, "%s %s", view->view.verb, pull->image);
	if (total > 0)
		add_bar(view, &right, done, total);
	if (pull->rate > 0 && terminal(view)->columns >= WIDE)
		buf_printf(&right, " %s/s", print_size(text, pull->rate));
	buf_printf(&right, " %s", print_duration(text, view->view.now - pull->started));
	live_row(view, &(struct row){buf_str(&left), buf_str(&right), STYLE_BOLD});
	for (size_t i = 0; i < pull->layer_count && shown < SHOWN_LAYERS; i++) {
		const struct shown_layer *layer = &pull->layers[i];
		cleanup(buf_done) struct buf detail = {0};
		if (layer->is_over || !*layer->id)
			continue;
		buf_printf(&detail, "%s %-9s", layer->id, layer->phase);
		if (layer->total > 0)
			add_bar(view, &detail, layer->done, layer->total);
		live_detail(view, buf_str(&detail));
		shown++;
	}
}

static void compose_waiting(struct bars_view *view)
{
	char time[32];

	print_duration(time, view->view.now - view->waiting_since);
	live_row(view, &(struct row){buf_str(&view->waiting), str_of(time), STYLE_BOLD});
	for (int i = 0; i < 2; i++)
		if (view->starting[i].line.len > 0)
			live_detail(view, buf_str(&view->starting[i].line));
}

/* "building, 5 of 12 steps" */
static void compose_total(struct bars_view *view)
{
	char left[64], time[32];

	if (view->total == 0)
		return;
	snprintf(left, sizeof(left), "building, %llu of %llu steps", (unsigned long long)view->over,
		(unsigned long long)view->total);
	print_duration(time, view->view.now - view->started);
	live_row(view, &(struct row){str_of(left), str_of(time), STYLE_BLUE});
}

static void compose(struct bars_view *view)
{
	size_t pulls = 0;

	for (size_t i = 0; i < view->pulls.count; i++)
		pulls += !shown_pull_is_idle(&view->pulls.items[i]);
	view->live_count = 0;
	if (view->steps.count + pulls > 0)
		compose_total(view);
	for (size_t i = 0; i < view->steps.count; i++)
		compose_step(view, &view->steps.items[i]);
	for (size_t i = 0; i < view->pulls.count; i++)
		if (!shown_pull_is_idle(&view->pulls.items[i]))
			compose_pull(view, &view->pulls.items[i]);
	if (view->is_waiting)
		compose_waiting(view);
}

static void draw(struct bars_view *view)
{
	erase(view);
	compose(view);
	for (size_t i = 0; i < view->live_count; i++) {
		buf_add_str(&view->view.out, buf_str(&view->live[i].text));
		buf_add_char(&view->view.out, '\n');
	}
	view->is_drawn = view->live_count > 0;
	view->drawn = view->view.now;
}

/* When nothing was finished: as often as makes sense. */
static void draw_now_and_then(struct bars_view *view)
{
	if (view->view.now - view->drawn >= REDRAW_EVERY)
		draw(view);
}

/* ---- What scrolls up ---- */

static void scroll_row(struct bars_view *view, const struct row *row)
{
	erase(view);
	add_row(view, row, &view->view.out);
	buf_add_char(&view->view.out, '\n');
}

static void scroll_text(
	struct bars_view *view, const char *front, enum style style, struct str text)
{
	erase(view);
	terminal_add(&view->view.out, terminal(view), style, str_of(front));
	output_one_line(&view->view.out, text);
	buf_add_char(&view->view.out, '\n');
}

static void step_over(struct bars_view *view, const struct build_event *event)
{
	struct shown_step *step = shown_step_find(&view->steps, event->step);
	cleanup(buf_done) struct buf left = {0};
	char time[32] = "";
	enum style style = STYLE_PLAIN;

	if (event->kind == BUILD_STEP_FAILED) {
		buf_add_text(&left, "ERROR ");
		style = STYLE_RED;
	} else if (event->kind == BUILD_STEP_CANCELLED) {
		buf_add_text(&left, "CANCELED ");
		style = STYLE_DIM;
	} else if (event->cached) {
		buf_add_text(&left, "CACHED ");
		style = STYLE_DIM;
	}
	if (step)
		buf_add_text(&left, step->name);
	else
		output_one_line(&left, event->name);
	if (!event->cached && event->duration > 0)
		print_duration(time, event->duration);
	shown_step_remove(&view->steps, event->step);
	view->over++;
	scroll_row(view, &(struct row){buf_str(&left), str_of(time), style});
	draw(view);
}

static void keep_line(void *arg, struct str line)
{
	shown_step_line(arg, line);
}

static void step_output(struct bars_view *view, const struct build_event *event)
{
	struct shown_step *step = shown_step_find(&view->steps, event->step);

	if (!step)
		step = shown_step_add(&view->steps, event->step, event->name, view->view.now);
	if (event->kind == BUILD_STEP_WAITS)
		shown_step_line(step, event->text);
	else
		output_lines_feed(&step->output, event->text, keep_line, step);
	draw_now_and_then(view);
}

static void pull_event(struct bars_view *view, const struct build_event *event)
{
	struct shown_layer *layer;
	struct shown_pull *pull = shown_pull_note(&view->pulls, event, view->view.now, &layer);
	uint64_t done, total;
	char size[32], time[32];

	if (!shown_pull_is_over(pull)) {
		if (layer->is_over)
			draw(view);
		else
			draw_now_and_then(view);
		return;
	}
	cleanup(buf_done) struct buf left = {0}, right = {0};
	shown_pull_sum(pull, &done, &total);
	buf_printf(&left, "%s %s", view->view.verb, pull->image);
	buf_printf(&right, "%s %s", print_size(size, total),
		print_duration(time, view->view.now - pull->started));
	shown_pulls_remove(&view->pulls, pull);
	/* Nothing was fetched: nothing to tell. */
	if (total > 0)
		scroll_row(view, &(struct row){buf_str(&left), buf_str(&right), STYLE_PLAIN});
	draw(view);
}

static void bars_build(struct view *v, const struct build_event *event)
{
	struct bars_view *view = (struct bars_view *)v;

	switch (event->kind) {
	case BUILD_PLANNED:
		view->total = event->total;
		view->started = v->now;
		break;
	case BUILD_STEP_START:
		if (!shown_step_find(&view->steps, event->step))
			shown_step_add(&view->steps, event->step, event->name, v->now);
		draw_now_and_then(view);
		break;
	case BUILD_STEP_LOG:
	case BUILD_STEP_WAITS:
		step_output(view, event);
		break;
	case BUILD_STEP_DONE:
	case BUILD_STEP_FAILED:
	case BUILD_STEP_CANCELLED:
		step_over(view, event);
		break;
	case BUILD_PULL:
		pull_event(view, event);
		break;
	case BUILD_TICK:
		draw_now_and_then(view);
		break;
	case BUILD_WARNING:
		scroll_text(view, "warning: ", STYLE_YELLOW, event->text);
		draw(view);
		break;
	case BUILD_IMAGE:
		break;
	}
}

/* ---- Runs ---- */

static void scroll_line(void *arg, struct str line)
{
	struct bars_view *view = arg;

	erase(view);
	buf_add_str(&view->view.out, line);
	buf_add_char(&view->view.out, '\n');
}

/* While the app is waited for its lines go above the live area; then they are the story. */
static void app_output(struct bars_view *view, const struct run_event *event)
{
	int i = event->is_stderr;
	struct buf *out = &view->view.out;

	if (view->is_waiting) {
		output_lines_feed(&view->starting[i], event->text, scroll_line, view);
		if (view->is_drawn)
			draw_now_and_then(view);
		else
			draw(view);
		return;
	}
	size_t before = out->len;
	strip_feed(&view->app[i], event->text, out);
	if (out->len > before)
		view->in_line = out->data[out->len - 1] != '\n';
}

static void waiting_over(struct bars_view *view)
{
	erase(view);
	view->is_waiting = false;
	for (int i = 0; i < 2; i++)
		output_lines_end(&view->starting[i], scroll_line, view);
	if (view->in_line)
		buf_add_char(&view->view.out, '\n');
	view->in_line = false;
}

static void waiting_for(struct bars_view *view, const struct run_event *event)
{
	if (!view->is_waiting)
		view->waiting_since = view->view.now;
	view->is_waiting = true;
	buf_clear(&view->waiting);
	buf_add_text(&view->waiting, "waiting: ");
	output_one_line(&view->waiting, event->text);
	draw(view);
}

static void between_lines(struct bars_view *view, const char *front, struct str text)
{
	if (view->in_line)
		buf_add_char(&view->view.out, '\n');
	view->in_line = false;
	scroll_text(view, front, STYLE_YELLOW, text);
	draw(view);
}

static void bars_run(struct view *v, const struct run_event *event)
{
	struct bars_view *view = (struct bars_view *)v;

	switch (event->kind) {
	case RUN_STARTED:
	case RUN_WAITING:
		waiting_for(view, event);
		break;
	case RUN_LOG:
		app_output(view, event);
		break;
	case RUN_WARNING:
		between_lines(view, "warning: ", event->text);
		break;
	case RUN_HEALTH:
		between_lines(view, event->status ? "warning: " : "", event->text);
		break;
	case RUN_READY:
	case RUN_EXITED:
	case RUN_FAILED:
		waiting_over(view);
		break;
	}
}

static void bars_tick(struct view *v)
{
	draw_now_and_then((struct bars_view *)v);
}

static void bars_note(struct view *v, const char *kind, struct str text)
{
	struct bars_view *view = (struct bars_view *)v;
	bool is_warning = strcmp(kind, "warning") == 0;

	if (view->in_line)
		buf_add_char(&v->out, '\n');
	view->in_line = false;
	scroll_text(
		view, is_warning ? "warning: " : "", is_warning ? STYLE_YELLOW : STYLE_PLAIN, text);
	draw(view);
}

static void bars_end(struct view *v)
{
	struct bars_view *view = (struct bars_view *)v;

	waiting_over(view);
	shown_steps_done(&view->steps);
	shown_pulls_done(&view->pulls);
}

static void bars_free(struct view *v)
{
	struct bars_view *view = (struct bars_view *)v;

	for (size_t i = 0; i < LIVE_MAX; i++)
		buf_done(&view->live[i].text);
	buf_done(&view->waiting);
	output_lines_done(&view->starting[0]);
	output_lines_done(&view->starting[1]);
	shown_steps_done(&view->steps);
	shown_pulls_done(&view->pulls);
	free(view);
}

struct view *view_bars_new(void)
{
	static const struct view_ops ops = {
		bars_build, bars_run, bars_tick, bars_note, bars_end, bars_free};
	struct bars_view *view = xcalloc(1, sizeof(*view));

	view->view.ops = &ops;
	view->view.verb = "pull";
	return &view->view;
}
