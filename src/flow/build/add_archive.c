/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"

/*
 * ADD of archives. What a file is follows from its content, as far as its first header; that
 * is found out before anything is written.
 */

static bool is_archive(void *arg, int fd)
{
	struct add_archive *a = arg;
	bool is;

	a->trouble = (struct err){0};
	/* What went wrong is told by unpack(), which can. */
	return layer_archive_probe(fd, &is, &a->trouble) < 0 || is;
}

static void tell_skipped(const struct add_archive *a, const struct layer_unpack_stats *stats)
{
	cleanup(buf_done) struct buf text = {0};
	uint64_t count = stats->devices + stats->sockets + stats->xattrs;

	if (!count)
		return;
	buf_printf(&text, "%llu thing%s in the archive cannot be had here: %s%s\n",
		(unsigned long long)count, count == 1 ? "" : "s", stats->first_note,
		count == 1 ? "" : ", …");
	const struct build_event event = {
		.kind = BUILD_STEP_LOG, .step = a->step->number, .text = buf_str(&text)};
	build_emit(a->b, &event);
}

static int unpack(void *arg, int fd, int dest, struct err *err)
{
	struct add_archive *a = arg;
	const struct layer_unpack_options options = {.is_plain = true, .owner = a->owner};
	struct layer_unpack_stats stats = {0};

	if (a->trouble.kind != ERR_NONE) {
		*err = a->trouble;
		return -(int)err->kind;
	}
	int r = layer_unpack_archive(dest, fd, &options, &stats, err);
	if (r == 0)
		tell_skipped(a, &stats);
	return r;
}

const struct tree_unpacker *add_unpacker(struct build *b, const struct build_step *step,
	const struct dir_owner *owner, struct add_archive *archive, struct tree_unpacker *ret)
{
	*archive = (struct add_archive){.b = b, .step = step, .owner = owner};
	*ret = (struct tree_unpacker){.arg = archive, .is_archive = is_archive, .unpack = unpack};
	return ret;
}
