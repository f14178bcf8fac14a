/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"

const char *const progress_words[] = {
	[PROGRESS_AUTO] = "auto", [PROGRESS_PLAIN] = "plain", [PROGRESS_JSON] = "json", NULL};

struct progress {
	int fd;
	struct view *view;
};

struct progress *progress_new(enum progress_mode mode, int fd)
{
	struct progress *p = xcalloc(1, sizeof(*p));
	struct terminal terminal = terminal_of(fd);

	p->fd = fd;
	if (mode == PROGRESS_JSON)
		p->view = view_json_new();
	else if (mode == PROGRESS_AUTO && terminal.is_live)
		p->view = view_bars_new();
	else
		p->view = view_plain_new();
	p->view->terminal = terminal;
	return p;
}

void progress_set_verb(struct progress *p, const char *verb)
{
	p->view->verb = verb;
}

/* Before a view is called… */
static struct view *prepared(struct progress *p)
{
	p->view->now = clock_now();
	if (p->view->terminal.is_live)
		terminal_measure(&p->view->terminal, p->fd);
	return p->view;
}

/* …and after it. */
static void show(struct progress *p)
{
	text_show(p->fd, buf_str(&p->view->out));
	buf_clear(&p->view->out);
}

void progress_free(struct progress *p)
{
	progress_end(p);
	buf_done(&p->view->out);
	p->view->ops->free(p->view);
	free(p);
}

void progress_on_build(void *arg, const struct build_event *event)
{
	struct progress *p = arg;
	struct view *view = prepared(p);

	view->ops->build(view, event);
	show(p);
}

/* Told as the event that builds have for it. */
void progress_on_transfer(void *arg, const struct image_progress *transfer)
{
	char layer[DIGEST_TEXT_SIZE];
	struct build_event event = {
		.kind = BUILD_PULL,
		.layers = (uint32_t)transfer->count,
		.done = transfer->done,
		.total = transfer->total,
		.name = str_of(transfer->image),
		.phase = str_of(image_phase_name(transfer->phase)),
		.text = str_of(transfer->text),
	};

	if (transfer->phase != IMAGE_RESOLVE)
		event.text = str_of(digest_text(&transfer->layer, layer));
	progress_on_build(arg, &event);
}

void progress_on_run(struct progress *p, const struct run_event *event)
{
	struct view *view = prepared(p);

	view->ops->run(view, event);
	show(p);
}

void progress_tick(struct progress *p)
{
	struct view *view = prepared(p);

	view->ops->tick(view);
	show(p);
}

void progress_note(struct progress *p, const char *kind, struct str text)
{
	struct view *view = prepared(p);

	view->ops->note(view, kind, text);
	show(p);
}

void progress_end(struct progress *p)
{
	struct view *view = prepared(p);

	view->ops->end(view);
	show(p);
}
