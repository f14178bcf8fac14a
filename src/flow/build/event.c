/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fields.h"
#include "build/internal.h"

void event_print(const struct build_event *event, struct buf *ret)
{
	buf_add_u32(ret, event->kind);
	buf_add_u32(ret, event->step);
	buf_add_u32(ret, event->cached);
	buf_add_u32(ret, event->layers);
	buf_add_u64(ret, event->done);
	buf_add_u64(ret, event->total);
	buf_add_u64(ret, (uint64_t)event->duration);
	buf_add_field(ret, event->name);
	buf_add_field(ret, event->phase);
	buf_add_field(ret, event->text);
}

bool event_parse(struct str message, struct build_event *ret)
{
	struct fields f = {.rest = message};
	uint32_t kind = fields_u32(&f);

	ret->kind = (enum build_event_kind)kind;
	ret->step = fields_u32(&f);
	ret->cached = fields_u32(&f) != 0;
	ret->layers = fields_u32(&f);
	ret->done = fields_u64(&f);
	ret->total = fields_u64(&f);
	ret->duration = (int64_t)fields_u64(&f);
	ret->name = fields_str(&f);
	ret->phase = fields_str(&f);
	ret->text = fields_str(&f);
	return !f.bad && f.rest.n == 0 && kind <= BUILD_IMAGE;
}

void build_emit(struct build *b, const struct build_event *event)
{
	cleanup(buf_done) struct buf message = {0};

	if (!b->channel) {
		if (b->options->on_event)
			b->options->on_event(b->options->arg, event);
		return;
	}
	event_print(event, &message);
	sandbox_tell(b->channel, buf_str(&message));
}

void build_emit_text(struct build *b, enum build_event_kind kind, struct str text)
{
	const struct build_event event = {.kind = kind, .text = text};

	build_emit(b, &event);
}

void build_emit_progress(void *build, const struct image_progress *progress)
{
	char digest[DIGEST_TEXT_SIZE];
	const struct build_event event = {.kind = BUILD_PULL,
		.name = str_of(progress->image),
		.phase = str_of(image_phase_name(progress->phase)),
		.text = str_of(progress->phase == IMAGE_RESOLVE
				       ? progress->text
				       : digest_text(&progress->layer, digest)),
		.layers = (uint32_t)progress->count,
		.done = progress->done,
		.total = progress->total};

	build_emit(build, &event);
}
