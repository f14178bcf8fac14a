/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/mounts.h"
#include "os/dir.h"

/* What was selected of the context, copied: the box cannot open the user's files themselves. */
static int copy_context(
	struct build *b, const struct build_input *input, struct held *h, struct err *err)
{
	const struct tree_copy_options options = {.dest = "/", .dest_is_dir = true};
	int r = layer_begin(b->layers, NULL, &h->copy, err);

	if (r < 0)
		return r;
	struct tree_feed *feed = tree_feed_receive(b->context_socket, (uint32_t)input->selection);
	r = tree_copy(feed, layer_draft_fs(h->copy), &options, err);
	tree_feed_free(feed);
	return r;
}

/* In the copy a directory's contents are at the top, a file is there by its name. */
static int open_copied(
	const struct held *h, const struct plan_mount *plan, int context, struct err *err)
{
	struct stat st;
	cleanup_close int source = dir_open_in_root(context, plan->source, O_PATH, 0, NULL);
	bool is_dir = source >= 0 && fstat(source, &st) == 0 && S_ISDIR(st.st_mode);
	const char *slash = strrchr(plan->source, '/');

	return dir_open_beneath(layer_draft_fs(h->copy),
		is_dir	? "."
		: slash ? slash + 1
			: plan->source,
		O_PATH, 0, err);
}

/* The whole tree with changes of its own, which are thrown away with the mount. */
static int open_changing(struct build *b, const struct build_input *input,
	const struct plan_mount *plan, struct held *h, struct err *err)
{
	cleanup_close int scratch = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct layer_chain chain;
	struct digest key;

	if (scratch < 0)
		return err_sys(err, "open %s", sandbox_scratch());
	if (!build_source_chain(b, input->from, &chain, &key))
		return err_set(err, ERR_BUG, "a stage is mounted before it is made");
	int r = layer_begin(
		b->layers, chain.count ? &chain.keys[chain.count - 1] : NULL, &h->copy, err);
	if (r < 0)
		return r;
	const struct layer_upper upper = layer_draft_upper(h->copy);
	cleanup_free char *name = xprintf("changing-%u", b->mount_number++);
	if (mkdirat(scratch, name, 0700) < 0)
		return err_sys(err, "make %s", name);
	r = layer_mount(b->layers, chain, &upper, scratch, name, err);
	if (r < 0)
		return r;
	h->overlay = take_ptr(name);
	cleanup_close int root = openat(scratch, h->overlay, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? err_sys(err, "open %s", h->overlay)
			: dir_open_in_root(root, plan->source, O_PATH, 0, err);
}

static int open_source(struct build *b, const struct build_input *input,
	const struct plan_mount *plan, struct held *h, struct err *err)
{
	int root;

	if (input->from->kind == PLAN_CONTEXT) {
		int r = copy_context(b, input, h, err);
		return r < 0 ? r : open_copied(h, plan, b->contexts[input->from->index].dir, err);
	}
	if (!plan->readonly)
		return open_changing(b, input, plan, h, err);
	int r = build_mount_source(b, input->from, &root, err);
	return r < 0 ? r : dir_open_in_root(root, plan->source, O_PATH, 0, err);
}

int mount_bind(struct build *b, struct step_mounts *m, const struct plan_mount *plan,
	const struct build_input *input, struct err *err)
{
	struct held *h = mounts_hold(b, m, "bind");
	cleanup_close int source = open_source(b, input, plan, h, err);

	if (source < 0)
		return source;
	int r = mounts_bind(h, source, err);
	if (r < 0)
		return r;
	mounts_add(m, plan, h->path, false);
	return 0;
}
