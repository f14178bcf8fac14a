/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/progress.h"

/* ---- Steps ---- */

struct shown_step *shown_step_add(
	struct shown_steps *steps, uint32_t number, struct str name, int64_t now)
{
	cleanup(buf_done) struct buf line = {0};

	output_one_line(&line, name);
	steps->items = xgrow(steps->items, &steps->cap, steps->count + 1, sizeof(*steps->items));
	struct shown_step *step = &steps->items[steps->count++];
	*step = (struct shown_step){
		.number = number, .name = xstrdup(buf_text(&line)), .started = now};
	return step;
}

struct shown_step *shown_step_find(const struct shown_steps *steps, uint32_t number)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->items[i].number == number)
			return &steps->items[i];
	return NULL;
}

static void shown_step_release(struct shown_step *step)
{
	for (size_t i = 0; i < SHOWN_LINES; i++)
		buf_done(&step->last[i]);
	output_lines_done(&step->output);
	buf_done(&step->held);
	free(step->name);
}

void shown_step_remove(struct shown_steps *steps, uint32_t number)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (steps->items[i].number != number)
			continue;
		shown_step_release(&steps->items[i]);
		memmove(steps->items + i, steps->items + i + 1,
			(steps->count - i - 1) * sizeof(*steps->items));
		steps->count--;
		return;
	}
}

void shown_step_line(struct shown_step *step, struct str line)
{
	struct buf *place = &step->last[step->line_count++ % SHOWN_LINES];

	buf_clear(place);
	buf_add_str(place, line);
}

void shown_steps_done(struct shown_steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		shown_step_release(&steps->items[i]);
	free(steps->items);
	*steps = (struct shown_steps){0};
}

/* ---- Pulls ---- */

static struct shown_pull *pull_of(struct shown_pulls *pulls, struct str image, int64_t now)
{
	for (size_t i = 0; i < pulls->count; i++)
		if (str_is(image, pulls->items[i].image))
			return &pulls->items[i];
	pulls->items = xgrow(pulls->items, &pulls->cap, pulls->count + 1, sizeof(*pulls->items));
	struct shown_pull *pull = &pulls->items[pulls->count++];
	*pull = (struct shown_pull){.image = str_dup(image), .started = now, .sampled = now};
	return pull;
}

/* "sha256:0123456789ab…" → "0123456789ab"; an event about no layer has no digest. */
static struct shown_layer *layer_of(struct shown_pull *pull, struct str digest, int64_t now)
{
	struct str hex = STR("");

	if (str_starts(digest, STR("sha256:")))
		hex = str_slice(digest, 7, 7 + 12);
	for (size_t i = 0; i < pull->layer_count; i++)
		if (str_is(hex, pull->layers[i].id))
			return &pull->layers[i];
	pull->layers =
		xgrow(pull->layers, &pull->layer_cap, pull->layer_count + 1, sizeof(*pull->layers));
	struct shown_layer *layer = &pull->layers[pull->layer_count++];
	*layer = (struct shown_layer){.started = now};
	memcpy(layer->id, hex.p, hex.n);
	return layer;
}

/* The rate is measured over a second or more, so that it can be read. */
static void measure_rate(struct shown_pull *pull, int64_t now)
{
	uint64_t done, total;

	if (now - pull->sampled < 1000000000)
		return;
	shown_pull_sum(pull, &done, &total);
	double seconds = (double)(now - pull->sampled) / 1e9;
	pull->rate = done > pull->sample ? (uint64_t)((double)(done - pull->sample) / seconds) : 0;
	pull->sample = done;
	pull->sampled = now;
}

struct shown_pull *shown_pull_note(struct shown_pulls *pulls, const struct build_event *event,
	int64_t now, struct shown_layer **ret_layer)
{
	struct shown_pull *pull = pull_of(pulls, event->name, now);
	struct shown_layer *layer = layer_of(pull, event->text, now);
	struct str phase = str_slice(event->phase, 0, sizeof(layer->phase) - 1);

	memset(layer->phase, 0, sizeof(layer->phase));
	if (phase.n > 0)
		memcpy(layer->phase, phase.p, phase.n);
	/* Without bytes of its own, the end of a phase leaves those of the phase before. */
	if (event->total > 0) {
		layer->done = event->done;
		layer->total = event->total;
	}
	layer->is_over =
		str_is(phase, "done") || str_is(phase, "exists") || str_is(phase, "mounted");
	if (layer->is_over)
		layer->done = layer->total;
	if (event->layers > 0)
		pull->expected = event->layers;
	measure_rate(pull, now);
	*ret_layer = layer;
	return pull;
}

void shown_pull_sum(const struct shown_pull *pull, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = *ret_total = 0;
	for (size_t i = 0; i < pull->layer_count; i++) {
		*ret_done += pull->layers[i].done;
		*ret_total += pull->layers[i].total;
	}
}

static size_t layers_there(const struct shown_pull *pull)
{
	size_t there = 0;

	for (size_t i = 0; i < pull->layer_count; i++)
		there += *pull->layers[i].id && pull->layers[i].is_over;
	return there;
}

static size_t layers_known(const struct shown_pull *pull)
{
	size_t known = 0;

	for (size_t i = 0; i < pull->layer_count; i++)
		known += *pull->layers[i].id != '\0';
	return known;
}

bool shown_pull_is_idle(const struct shown_pull *pull)
{
	size_t known = layers_known(pull);

	return known > 0 && layers_there(pull) == known;
}

bool shown_pull_is_over(const struct shown_pull *pull)
{
	return pull->expected > 0 && layers_there(pull) >= pull->expected;
}

static void shown_pull_release(struct shown_pull *pull)
{
	free(pull->image);
	free(pull->layers);
}

void shown_pulls_remove(struct shown_pulls *pulls, struct shown_pull *pull)
{
	size_t i = (size_t)(pull - pulls->items);

	shown_pull_release(pull);
	memmove(pull, pull + 1, (pulls->count - i - 1) * sizeof(*pull));
	pulls->count--;
}

void shown_pulls_done(struct shown_pulls *pulls)
{
	for (size_t i = 0; i < pulls->count; i++)
		shown_pull_release(&pulls->items[i]);
	free(pulls->items);
	*pulls = (struct shown_pulls){0};
}
