/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fields.h"
#include "store/internal.h"

/*
 * What boxes of this room tell the outside: progress of transfers, and what a removal
 * removed. The outside takes it as foreign.
 */

void progress_print(const struct image_progress *progress, struct buf *ret)
{
	buf_add_u32(ret, progress->phase);
	buf_add(ret, progress->layer.bytes, DIGEST_SIZE);
	buf_add_u64(ret, progress->index);
	buf_add_u64(ret, progress->count);
	buf_add_u64(ret, progress->done);
	buf_add_u64(ret, progress->total);
	buf_add_field(ret, str_of(progress->image));
	buf_add_field(ret, str_of(progress->text));
}

bool progress_parse(struct arena *a, struct str message, struct image_progress *ret)
{
	struct fields f = {.rest = message};
	uint32_t phase = fields_u32(&f);

	*ret = (struct image_progress){.phase = (enum image_phase)phase};
	if (f.rest.n < DIGEST_SIZE || phase > IMAGE_PACK)
		return false;
	memcpy(ret->layer.bytes, f.rest.p, DIGEST_SIZE);
	f.rest = str_from_index(f.rest, DIGEST_SIZE);
	ret->index = fields_u64(&f);
	ret->count = fields_u64(&f);
	ret->done = fields_u64(&f);
	ret->total = fields_u64(&f);
	ret->image = arena_str(a, fields_str(&f)).p;
	ret->text = arena_str(a, fields_str(&f)).p;
	return !f.bad && f.rest.n == 0;
}

void removal_tell(const struct removal *job, struct sandbox_channel *channel)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add(&message, job->removed.id.bytes, DIGEST_SIZE);
	buf_add_u32(&message, job->removed.record);
	buf_add_u64(&message, job->layers);
	for (size_t i = 0; i < job->removed.names.count; i++)
		buf_add_field(&message, str_of(job->removed.names.items[i]));
	sandbox_tell(channel, buf_str(&message));
}

void removal_hear(void *arg, struct str message)
{
	struct removal *job = arg;
	struct fields f = {.rest = str_from_index(message, DIGEST_SIZE)};

	if (message.n < DIGEST_SIZE)
		return;
	job->removed = (struct image_removed){0};
	memcpy(job->removed.id.bytes, message.p, DIGEST_SIZE);
	job->removed.record = fields_u32(&f) != 0;
	job->layers = fields_u64(&f);
	while (f.rest.n && !f.bad) {
		struct str name = fields_str(&f);
		if (!f.bad)
			oci_list_add(job->arena, &job->removed.names, name);
	}
}
