/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/internal.h"
#include "os/dir.h"
#include "os/file.h"

/*
 * RUN --mount. Whatever a mount shows is first bound to a name in scratch by descriptor
 * (/proc/self/fd/N), after it was opened beneath its own root: the runtime then gets a path of
 * ours, and no part of it can be exchanged by what a Dockerfile or an image names.
 */

enum { MAX_MOUNTS = 64 };

struct held {
	char *path; /* in scratch: a mount point, or a file of ours */
	bool is_mounted, is_secret;
	struct layer_cache *cache;
	struct layer_draft *copy; /* a throw-away copy of what was selected */
};

struct step_mounts {
	struct sandbox_mount items[MAX_MOUNTS];
	struct held held[MAX_MOUNTS];
	size_t count;	   /* of items */
	size_t next_input; /* of the step's: one for each bind mount */
	struct argv *env;  /* the step's: secrets may be variables */
	size_t held_count;
};

/* ---- things in scratch ---- */

static struct held *hold(struct build *b, struct step_mounts *m, const char *what)
{
	struct held *h = &m->held[m->held_count++];

	h->path = xprintf("%s/%s-%u", sandbox_scratch(), what, b->mount_number++);
	return h;
}

static int make_point(const char *path, bool is_dir, struct err *err)
{
	if (is_dir)
		return mkdir(path, 0700) < 0 ? err_sys(err, "make %s", path) : 0;
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, "make %s", path) : 0;
}

static int bind_fd(struct held *h, int fd, struct err *err)
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

static void add(
	struct step_mounts *m, const struct plan_mount *plan, const char *source, bool no_exec)
{
	m->items[m->count++] = (struct sandbox_mount){.kind = SANDBOX_BIND,
		.source = source,
		.target = plan->target,
		.read_only = plan->readonly,
		.no_exec = no_exec};
}

/* ---- secret ---- */

static int write_secret(struct held *h, const struct plan_mount *plan,
	const struct build_secret_value *secret, struct err *err)
{
	cleanup_close int fd = open(h->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	if (fd < 0)
		return err_sys(err, "make file for secret %s", plan->id);
	if (file_write_fd(fd, buf_str(&secret->value), err) < 0)
		return err_wrap(err, "secret %s", plan->id);
	if (fchown(fd, plan->uid, plan->gid) < 0 || fchmod(fd, plan->mode & 07777) < 0)
		return err_sys(err, "owner of secret %s", plan->id);
	return 0;
}

static int mount_secret(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err)
{
	const struct build_secret_value *secret = build_find_secret(b, plan->id);

	if (!secret && plan->required) {
		(void)err_set(err, ERR_INPUT, "secret %s is required and was not given", plan->id);
		return err_hint(err, "spaceport build --secret id=%s,env=%s (or src=FILE)",
			plan->id, plan->id);
	}
	if (*plan->env)
		argv_set_env(m->env, str_of(plan->env), secret ? buf_str(&secret->value) : STR(""));
	if (!secret || !*plan->target)
		return 0;
	struct held *h = hold(b, m, "secret");
	h->is_secret = true;
	int r = write_secret(h, plan, secret, err);
	if (r < 0)
		return r;
	add(m, plan, h->path, true);
	m->items[m->count - 1].read_only = true;
	return 0;
}

/* ---- cache ---- */

static int mount_cache(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err)
{
	static const enum layer_sharing sharing[] = {[PLAN_SHARING_SHARED] = LAYER_SHARED,
		[PLAN_SHARING_PRIVATE] = LAYER_PRIVATE,
		[PLAN_SHARING_LOCKED] = LAYER_LOCKED};
	const struct layer_cache_options options = {.sharing = sharing[plan->sharing],
		.wait = true,
		/* BuildKit: without the cache, a cache with an owner or a mode starts empty. */
		.is_fresh =
			b->options->no_cache && (plan->has_mode || plan->has_uid || plan->has_gid),
		.mode = plan->mode,
		.uid = plan->uid,
		.gid = plan->gid};

	if (plan->from.kind != PLAN_SCRATCH && plan->from.kind != PLAN_CONTEXT)
		return err_set(
			err, ERR_INPUT, "RUN --mount=type=cache with from= is not supported yet");
	struct held *h = hold(b, m, "cache");
	int r = layer_cache_open(b->layers, str_of(plan->id), &options, &h->cache, err);
	if (r == 0)
		r = bind_fd(h, layer_cache_dir(h->cache), err);
	if (r < 0)
		return r;
	add(m, plan, h->path, false);
	return 0;
}

/* ---- bind ---- */

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

static int open_source(struct build *b, const struct build_input *input,
	const struct plan_mount *plan, struct held *h, struct err *err)
{
	int root;

	if (input->from->kind == PLAN_CONTEXT) {
		int r = copy_context(b, input, h, err);
		return r < 0 ? r : open_copied(h, plan, b->contexts[input->from->index].dir, err);
	}
	if (!plan->readonly)
		return err_set(
			err, ERR_INPUT, "RUN --mount=type=bind,from=…,rw is not supported yet");
	int r = build_mount_source(b, input->from, &root, err);
	return r < 0 ? r : dir_open_in_root(root, plan->source, O_PATH, 0, err);
}

static int mount_bind(struct build *b, struct step_mounts *m, const struct plan_mount *plan,
	const struct build_input *input, struct err *err)
{
	struct held *h = hold(b, m, "bind");
	cleanup_close int source = open_source(b, input, plan, h, err);

	if (source < 0)
		return source;
	int r = bind_fd(h, source, err);
	if (r < 0)
		return r;
	add(m, plan, h->path, false);
	return 0;
}

/* ---- all ---- */

static int mount_script(
	struct build *b, struct step_mounts *m, const struct plan_file *script, struct err *err)
{
	struct held *h = hold(b, m, "script");
	char *target = arena_printf(&b->arena, "/dev/pipes/%s", script->name);

	int r = file_replace(AT_FDCWD, h->path, script->body, 0755, err);
	if (r < 0)
		return r;
	m->items[m->count++] = (struct sandbox_mount){
		.kind = SANDBOX_BIND, .source = h->path, .target = target, .read_only = true};
	return 0;
}

static int make_one(struct build *b, const struct build_step *step, struct step_mounts *m,
	const struct plan_mount *plan, struct err *err)
{
	switch (plan->kind) {
	case PLAN_MOUNT_BIND:
		return mount_bind(b, m, plan, &step->inputs[m->next_input++], err);
	case PLAN_MOUNT_CACHE:
		return mount_cache(b, m, plan, err);
	case PLAN_MOUNT_TMPFS:
		m->items[m->count++] = (struct sandbox_mount){.kind = SANDBOX_TMPFS,
			.target = plan->target,
			.size = plan->size,
			.mode = 01777};
		return 0;
	case PLAN_MOUNT_SECRET:
		return mount_secret(b, m, plan, err);
	case PLAN_MOUNT_SSH:
		break;
	}
	return err_set(err, ERR_INPUT, "RUN --mount=type=ssh is not supported yet");
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

static void release(struct held *h)
{
	if (h->is_mounted)
		(void)umount2(h->path, MNT_DETACH); /* gone with the box at the latest */
	/* A bind mount's point, or a file of ours; secrets must not outlive their step. */
	if (unlink(h->path) < 0 && errno == EISDIR)
		(void)rmdir(h->path);
	layer_cache_close(h->cache);
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
