/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/caches.h"
#include "build/mounts.h"
#include "os/dir.h"
#include "os/file.h"

/* ---- things in scratch ---- */

struct held *mounts_hold(struct build *b, struct step_mounts *m, const char *what)
{
	struct held *h = &m->held[m->held_count++];

	h->path = xprintf("%s/%s-%u", sandbox_scratch(), what, b->mount_number++);
	h->lifeline = -1;
	return h;
}

static int make_point(const char *path, bool is_dir, struct err *err)
{
	if (is_dir)
		return mkdir(path, 0700) < 0 ? err_sys(err, "make %s", path) : 0;
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, "make %s", path) : 0;
}

int mounts_bind(struct held *h, int fd, struct err *err)
{
	struct stat st;
	char source[64];

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat mount source");
	int r = make_point(h->path, S_ISDIR(st.st_mode), err);
	if (r < 0)
		return r;
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (mount(source, h->path, NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "bind mount source");
	h->is_mounted = true;
	return 0;
}

void mounts_add(
	struct step_mounts *m, const struct plan_mount *plan, const char *source, bool no_exec)
{
	m->items[m->count++] = (struct sandbox_mount){.kind = SANDBOX_BIND,
		.source = source,
		.target = plan->target,
		.read_only = plan->readonly,
		.no_exec = no_exec};
}

/* ---- cache ---- */

/* CVE-2024-23651: the part of a cache is opened beneath it, and only then mounted. */
static int open_part(struct layer_cache *cache, const struct plan_mount *plan, struct err *err)
{
	bool is_whole = plan->from.kind != PLAN_SCRATCH || strcmp(plan->source, "/") == 0;

	return dir_open_in_root(
		layer_cache_dir(cache), is_whole ? "/" : plan->source, O_PATH, 0, err);
}

static int mount_cache(struct build *b, const struct build_step *step, struct step_mounts *m,
	const struct plan_mount *plan, struct err *err)
{
	struct layer_cache *cache = step_caches_find(step->caches, plan);

	if (!cache)
		return 0; /* it is in the tree itself */
	struct held *h = mounts_hold(b, m, "cache");
	cleanup_close int part = open_part(cache, plan, err);
	if (part < 0)
		return err_wrap(err, "source=%s in the cache", plan->source);
	int r = mounts_bind(h, part, err);
	if (r < 0)
		return r;
	mounts_add(m, plan, h->path, false);
	return 0;
}

/* ---- all ---- */

static int make_one(struct build *b, const struct build_step *step, struct step_mounts *m,
	const struct plan_mount *plan, struct err *err)
{
	switch (plan->kind) {
	case PLAN_MOUNT_BIND:
		return mount_bind(b, m, plan, &step->inputs[m->next_input++], err);
	case PLAN_MOUNT_CACHE:
		m->next_input += mount_has_input(plan);
		return mount_cache(b, step, m, plan, err);
	case PLAN_MOUNT_TMPFS:
		m->items[m->count++] = (struct sandbox_mount){.kind = SANDBOX_TMPFS,
			.target = plan->target,
			.size = plan->size,
			.mode = 01777};
		return 0;
	case PLAN_MOUNT_SECRET:
		return mount_secret(b, m, plan, err);
	case PLAN_MOUNT_SSH:
		return mount_ssh(b, m, plan, err);
	}
	return err_set(err, ERR_BUG, "a mount of kind %d", (int)plan->kind);
}

int step_mounts_make(struct build *b, const struct build_step *step, struct step_mounts **ret,
	struct argv *env, struct err *err)
{
	const struct plan_run *run = step->op->run;
	cleanup(step_mounts_free) struct step_mounts *m = xcalloc(1, sizeof(*m));
	int r = 0;

	if (run->mount_count + 2 > MAX_MOUNTS)
		return err_set(err, ERR_LIMIT, "more than %d mounts", MAX_MOUNTS - 2);
	m->env = env;
	for (size_t i = 0; i < run->mount_count && r == 0; i++)
		r = make_one(b, step, m, &run->mounts[i], err);
	if (r == 0 && run->script)
		r = mount_script(b, m, run->script, err);
	if (r < 0)
		return r;
	*ret = take_ptr(m);
	return 0;
}

void step_mounts_list(
	const struct step_mounts *m, const struct sandbox_mount **ret, size_t *ret_count)
{
	*ret = m->items;
	*ret_count = m->count;
}

/* What could not be unmounted goes with the box, and its changes with the next recovery. */
static void unmount_overlay(struct held *h)
{
	cleanup_close int scratch = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (scratch >= 0 && layer_unmount(scratch, h->overlay, NULL) == 0)
		(void)unlinkat(scratch, h->overlay, AT_REMOVEDIR);
	free(take_ptr(h->overlay));
}

static void release(struct held *h)
{
	if (h->lifeline >= 0)
		close(h->lifeline);
	if (h->is_mounted)
		(void)umount2(h->path, MNT_DETACH); /* gone with the box at the latest */
	/* A bind mount's point, or a file of ours; secrets must not outlive their step. */
	if (unlink(h->path) < 0 && errno == EISDIR)
		(void)rmdir(h->path);
	if (h->overlay)
		unmount_overlay(h);
	layer_discard(h->copy);
	free(h->path);
}

void step_mounts_free(struct step_mounts *m)
{
	if (!m)
		return;
	while (m->held_count)
		release(&m->held[--m->held_count]);
	free(m);
}
