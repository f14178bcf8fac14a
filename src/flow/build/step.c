/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/caches.h"

/*
 * One step: the layers below it and a new upper directory are mounted, the instruction works
 * on the merged tree, and the upper directory becomes the step's layer.
 */
#define STEP_ROOT "step-root"

static int open_scratch(struct err *err)
{
	int fd = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 ? fd : err_sys(err, "open %s", sandbox_scratch());
}

static int make_dir(int scratch, const char *name, struct err *err)
{
	if (mkdirat(scratch, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", name);
	return 0;
}

static int work_on_tree(
	struct build *b, const struct build_step *step, int scratch, struct err *err)
{
	cleanup_free char *path = xprintf("%s/" STEP_ROOT, sandbox_scratch());
	cleanup_close int root =
		openat(scratch, STEP_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (root < 0)
		return err_sys(err, "open %s", path);
	if (step->op->kind == PLAN_RUN)
		return step_run(b, step, path, root, err);
	if (step->op->kind == PLAN_WORKDIR)
		return step_workdir(step, root, err);
	return step_copy(b, step, root, root, err);
}

/* Both errors count, the first one more. */
static int unmount_after(int r, int scratch, const char *name, struct err *err)
{
	struct err second = {0};

	if (layer_unmount(scratch, name, r < 0 ? &second : err) < 0 && r == 0)
		return -(int)err->kind;
	return r;
}

static int find_caches(struct build *b, struct build_step *step, struct layer_draft *draft,
	int scratch, struct err *err)
{
	cleanup_close int root =
		openat(scratch, STEP_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (root < 0)
		return err_sys(err, "open " STEP_ROOT);
	return step_caches_make(b, step, draft, root, &step->caches, err);
}

/* Caches go into the upper directory while it is not mounted. */
static int graft_caches(struct build *b, const struct build_step *step, struct layer_chain below,
	const struct layer_upper *upper, int scratch, struct err *err)
{
	int r = layer_unmount(scratch, STEP_ROOT, err);

	if (r == 0)
		r = step_caches_in(step->caches, err);
	if (r == 0)
		r = layer_upper_reset(upper, err);
	return r < 0 ? r : layer_mount(b->layers, below, upper, scratch, STEP_ROOT, err);
}

static int make_on_stage(struct build *b, const struct build_stage *stage, struct build_step *step,
	struct layer_draft *draft, struct err *err)
{
	const struct layer_chain below = {stage->chain, stage->chain_len};
	const struct layer_upper upper = layer_draft_upper(draft);
	cleanup_close int scratch = open_scratch(err);

	int r = scratch < 0 ? scratch : make_dir(scratch, STEP_ROOT, err);
	if (r == 0)
		r = layer_mount(b->layers, below, &upper, scratch, STEP_ROOT, err);
	if (r < 0)
		return r;
	r = step->op->kind == PLAN_RUN ? find_caches(b, step, draft, scratch, err) : 0;
	if (r == 0 && step->caches && step_caches_have_graft(step->caches)) {
		r = graft_caches(b, step, below, &upper, scratch, err);
		if (r < 0)
			return r; /* nothing is mounted any more */
	}
	if (r == 0)
		r = work_on_tree(b, step, scratch, err);
	r = unmount_after(r, scratch, STEP_ROOT, err);
	return r == 0 && step->caches ? step_caches_out(step->caches, below, err) : r;
}

/* With the tree below the layer to look at, and the layer itself to write to. */
static int make_directly(struct build *b, const struct build_stage *stage,
	const struct build_step *step, int layer, struct err *err)
{
	const struct layer_chain below = {stage->chain, stage->chain_len};
	cleanup_close int scratch = open_scratch(err);
	cleanup_close int root = -1;

	int r = scratch < 0 ? scratch : make_dir(scratch, STEP_ROOT, err);
	if (r == 0)
		r = layer_mount(b->layers, below, NULL, scratch, STEP_ROOT, err);
	if (r < 0)
		return r;
	root = openat(scratch, STEP_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = root < 0 ? err_sys(err, "open " STEP_ROOT)
		     : step_copy_direct(b, step, root, layer, err);
	close(take_fd(&root));
	return unmount_after(r, scratch, STEP_ROOT, err);
}

/* What COPY --link takes is the layer: no tree below it is there to be looked at. */
static int make_layer(struct build *b, const struct build_stage *stage, struct build_step *step,
	struct layer_draft *draft, struct err *err)
{
	const struct layer_key name = layer_key_of(&step->key);
	const struct layer_info info = {.kind = LAYER_STEP};

	int layer = layer_draft_fs(draft);

	int r = BUILD_E_INDIRECT;
	if (step_is_linked(step))
		r = step_copy(b, step, layer, layer, err);
	else if (step_may_be_direct(b, step))
		r = make_directly(b, stage, step, layer, err);
	if (r == BUILD_E_INDIRECT)
		r = make_on_stage(b, stage, step, draft, err);
	step_caches_free(take_ptr(step->caches));
	if (r == 0)
		r = layer_publish(draft, &name, &info, err);
	return r < 0 ? r : 0;
}

static int make_unless_there(struct build *b, const struct build_stage *stage,
	struct build_step *step, const struct layer_key *name, struct err *err)
{
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	const struct layer_key *parent = stage->chain_len && !step_is_linked(step)
						 ? &stage->chain[stage->chain_len - 1]
						 : NULL;

	/* Another build may have made it while we waited for the lock. */
	step->cached = !b->options->no_cache && layer_has(b->layers, name);
	if (step->cached)
		return 0;
	int r = layer_begin(b->layers, parent, &draft, err);
	return r < 0 ? r : make_layer(b, stage, step, draft, err);
}

/* One build makes a step, others wait for it: whoever gets the lock next looks again. */
static int lock_step(struct build *b, const struct build_step *step, const struct layer_key *name,
	int *ret_lock, struct err *err)
{
	const struct build_event waits = {.kind = BUILD_STEP_WAITS,
		.step = step->number,
		.text = STR("another build or stage is making this step")};

	int r = layer_lock_key(b->layers, name, false, ret_lock, err);
	if (r != LAYER_E_BUSY)
		return r;
	build_emit(b, &waits);
	return layer_lock_key(b->layers, name, true, ret_lock, err);
}

int build_do_step(
	struct build *b, struct build_stage *stage, struct build_step *step, struct err *err)
{
	struct layer_key name = layer_key_of(&step->key);
	int lock;

	int r = lock_step(b, step, &name, &lock, err);
	if (r < 0)
		return build_place(b, step, err);
	r = make_unless_there(b, stage, step, &name, err);
	layer_unlock_key(b->layers, &name, lock);
	return r < 0 ? build_place(b, step, err) : 0;
}

/* ---- trees that steps read from ---- */

int build_mount_source(
	struct build *b, const struct plan_source *from, int *ret_root, struct err *err)
{
	struct layer_chain chain;
	struct digest key;
	char hex[DIGEST_HEX_SIZE];
	struct stat st;
	cleanup_close int scratch = open_scratch(err);

	if (scratch < 0)
		return scratch;
	if (!build_source_chain(b, from, &chain, &key))
		return err_set(err, ERR_BUG, "a stage is copied from before it is made");
	const char *name = arena_printf(&b->arena, "from-%.16s", digest_hex(&key, hex));
	bool is_new = fstatat(scratch, name, &st, 0) < 0;
	int r = make_dir(scratch, name, err);
	if (r == 0 && is_new)
		r = layer_mount(b->layers, chain, NULL, scratch, name, err);
	if (r < 0)
		return r;
	int root = openat(scratch, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(err, "open %s", name);
	*ret_root = root; /* stays open: the box's end closes it */
	return 0;
}
