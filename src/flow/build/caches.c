/* SPDX-License-Identifier: Apache-2.0 */
#include "build/caches.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "build/spot.h"
#include "build/words.h"

struct step_cache {
	const struct plan_mount *mount; /* NULL: a tool's own */
	struct str id;
	const char *target;
	struct layer_cache *cache; /* NULL: it is that of an earlier mount of this step */
	size_t same_as;		   /* index of that one */
	struct spot spot;	   /* path NULL: not to be grafted */
	bool is_grafted, is_watched;
};

struct step_caches {
	struct build *b;
	const struct build_step *step;
	struct layer_draft *draft;
	struct tree_user user;
	struct step_cache items[CACHES_MAX];
	size_t count;
};

/* ---- which ---- */

static const char no_byte; /* NUL: no id of a Dockerfile has one */

/* What comes from elsewhere is part of what the cache is. */
static struct str id_of(struct build *b, const struct plan_mount *mount)
{
	cleanup(buf_done) struct buf id = {0};
	struct layer_chain chain;
	struct digest key;

	buf_add_text(&id, mount->id);
	if (mount->from.kind != PLAN_SCRATCH && build_source_chain(b, &mount->from, &chain, &key)) {
		buf_add(&id, &no_byte, 1);
		buf_add(&id, key.bytes, sizeof(key.bytes));
		buf_add_text(&id, mount->source);
	}
	return arena_str(&b->arena, buf_str(&id));
}

/* One for each user, since what one has made another may not be able to change. */
static struct str tool_id(struct step_caches *c, unsigned tool)
{
	struct oci_list *args = &c->b->build_args;
	const char *space = expand_get_list(args, STR("BUILDKIT_CACHE_MOUNT_NS"));
	cleanup(buf_done) struct buf id = {0};

	buf_printf(&id, "%s of user %u:%u", tool_cache_name(tool), c->user.uid, c->user.gid);
	buf_add(&id, &no_byte, 1);
	buf_add_text(&id, space ? space : "");
	return arena_str(&c->b->arena, buf_str(&id));
}

static int list_mounts(struct step_caches *c, struct err *err)
{
	const struct plan_run *run = c->step->op->run;

	for (size_t i = 0; i < run->mount_count; i++) {
		const struct plan_mount *m = &run->mounts[i];
		if (m->kind != PLAN_MOUNT_CACHE)
			continue;
		if (c->count == CACHES_MAX - 3) /* tools have theirs as well */
			return err_set(err, ERR_LIMIT, "more than %d caches", CACHES_MAX - 3);
		c->items[c->count++] =
			(struct step_cache){.mount = m, .id = id_of(c->b, m), .target = m->target};
	}
	return 0;
}

static bool is_within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool collide(const char *a, const char *b)
{
	return *a && *b && (is_within(a, b) || is_within(b, a));
}

/* What a Dockerfile mounts there, or around it, wins over a tool's own. */
static bool is_mounted_over(const struct plan_run *run, const char *dir)
{
	for (size_t i = 0; i < run->mount_count; i++)
		if (collide(dir, run->mounts[i].target))
			return true;
	return false;
}

static int list_tools(struct step_caches *c, int root, struct err *err)
{
	const struct plan_run *run = c->step->op->run;
	unsigned wanted = build_has_tool_cache(c->b) ? tool_caches_wanted(run) : 0;

	if (!wanted)
		return 0;
	int r = tree_user_resolve(root, str_of(c->step->op->user), &c->user, err);
	if (r < 0)
		return r;
	for (unsigned tool = TOOL_UV; tool <= TOOL_NPM; tool <<= 1) {
		cleanup_free char *dir =
			wanted & tool ? tool_cache_dir(run, tool, c->user.home) : NULL;
		if (dir && !is_mounted_over(run, dir))
			c->items[c->count++] = (struct step_cache){
				.id = tool_id(c, tool), .target = arena_strdup(&c->b->arena, dir)};
	}
	return 0;
}

/* ---- where ---- */

/* Other mounts, those of the runtime among them, are made inside the tree it would be in. */
static bool is_clear(const struct step_caches *c, const struct step_cache *item, const char *target)
{
	static const char *const systems[] = {"/dev", "/etc", "/proc", "/run", "/sys", "/var/run"};
	const struct plan_run *run = c->step->op->run;

	for (size_t i = 0; i < array_size(systems); i++)
		if (collide(target, systems[i]))
			return false;
	for (size_t i = 0; i < run->mount_count; i++)
		if (&run->mounts[i] != item->mount && collide(target, run->mounts[i].target))
			return false;
	for (size_t i = 0; i < c->count; i++)
		if (&c->items[i] != item && collide(target, c->items[i].target))
			return false;
	return true;
}

static bool is_alone(const struct step_caches *c, const struct step_cache *item)
{
	for (size_t i = 0; i < c->count; i++)
		if (&c->items[i] != item && str_eq(c->items[i].id, item->id))
			return false;
	return true;
}

static bool may_graft(const struct step_caches *c, const struct step_cache *item)
{
	const struct plan_mount *m = item->mount;

	if (m && (m->readonly || strcmp(m->source, "/") != 0 || !is_alone(c, item)))
		return false;
	return is_clear(c, item, item->target);
}

static void find_spot(struct step_caches *c, struct step_cache *item, int root)
{
	const struct dir_owner user = {c->user.uid, c->user.gid};
	const struct spot_wish wish = {
		.owner = item->mount ? NULL : &user, .only_empty = !item->mount};

	bool is_usable = spot_make(root, item->target, &wish, &item->spot);
	cleanup_free char *real = xprintf("/%s", is_usable ? item->spot.path : "");
	if (!is_usable || (strcmp(real, item->target) != 0 && !is_clear(c, item, real)))
		spot_undo(&item->spot, root);
}

/* ---- opening ---- */

struct filling {
	struct step_caches *caches;
	const struct plan_mount *mount;
};

static int fill(void *arg, int dirfd, struct err *err)
{
	const struct filling *f = arg;
	const struct tree_copy_options options = {.dest = "/", .dest_is_dir = true};
	cleanup(tree_selection_free) struct tree_selection *selection = NULL;
	struct build *b = f->caches->b;
	int root;

	int r = build_mount_source(b, &f->mount->from, &root, err);
	if (r == 0)
		r = build_select(b, f->caches->step->op, f->mount, root, &selection, err);
	if (r < 0)
		return r;
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(selection);
	return tree_copy(feed, dirfd, &options, err);
}

/*
 * Of shared ones: to itself when nobody has it, with others when nobody grafted it, and else
 * the first free copy. Nobody waits.
 */
static int open_shared(struct step_cache *item, struct layer_store *store, int root,
	struct layer_cache_options *o, struct err *err)
{
	static const enum layer_sharing ways[] = {LAYER_LOCKED, LAYER_SHARED, LAYER_PRIVATE};
	bool is_bound = !item->spot.path;
	int r = LAYER_E_BUSY;

	for (size_t i = is_bound; i < array_size(ways) && r == LAYER_E_BUSY; i++) {
		o->sharing = ways[i];
		o->wait = ways[i] == LAYER_PRIVATE;
		r = layer_cache_open(store, item->id, o, &item->cache, err);
		if (ways[i] == LAYER_SHARED && r == 0)
			spot_undo(&item->spot, root);
	}
	return r;
}

static int open_mounted(struct step_caches *c, struct step_cache *item, int root, struct err *err)
{
	const struct plan_mount *m = item->mount;
	struct filling filling = {c, m};
	struct layer_cache_options options = {
		.sharing = m->sharing == PLAN_SHARING_PRIVATE ? LAYER_PRIVATE : LAYER_LOCKED,
		.wait = true,
		/* BuildKit: without the cache, a cache with an owner or a mode starts empty. */
		.is_fresh = c->b->options->no_cache && (m->has_mode || m->has_uid || m->has_gid),
		.mode = m->mode,
		.uid = m->uid,
		.gid = m->gid,
		.fill = m->from.kind == PLAN_SCRATCH ? NULL : fill,
		.arg = &filling};

	if (m->from.kind == PLAN_CONTEXT)
		return err_set(err, ERR_INPUT,
			"a cache's first content comes from a stage or an image, not from a directory");
	if (m->sharing == PLAN_SHARING_SHARED && !options.is_fresh)
		return open_shared(item, c->b->layers, root, &options, err);
	return layer_cache_open(c->b->layers, item->id, &options, &item->cache, err);
}

static int open_tool(struct step_caches *c, struct step_cache *item, struct err *err)
{
	const struct layer_cache_options options = {.sharing = LAYER_PRIVATE,
		.wait = true,
		.mode = 0755,
		.uid = c->user.uid,
		.gid = c->user.gid};

	/* Bound, `rm -rf` of it would fail: grafted or not at all. */
	if (!item->spot.path)
		return 0;
	return layer_cache_open(c->b->layers, item->id, &options, &item->cache, err);
}

/* The first one of an id is the one that is opened. */
static size_t first_of(const struct step_caches *c, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (str_eq(c->items[i].id, c->items[index].id))
			return i;
	return index;
}

static int open_one(struct step_caches *c, size_t index, int root, struct err *err)
{
	struct step_cache *item = &c->items[index];

	item->same_as = first_of(c, index);
	if (item->same_as != index)
		return 0;
	int r = item->mount ? open_mounted(c, item, root, err) : open_tool(c, item, err);
	bool is_bound = item->mount && !item->mount->readonly && !item->spot.path;
	if (r == 0 && is_bound) {
		item->is_watched = true;
		r = layer_cache_watch(item->cache, err);
	}
	return r < 0 ? err_wrap(err, "cache for %s", item->target) : r;
}

/*
 * Steps at the same time wait for each other's caches while they hold their own: all take them
 * in the order of their ids, so that no two wait for each other.
 */
static int open_all(struct step_caches *c, int root, struct err *err)
{
	size_t order[CACHES_MAX] = {0};
	int r = 0;

	for (size_t i = 0; i < c->count; i++) {
		size_t at = i;
		for (; at > 0 && str_cmp(c->items[order[at - 1]].id, c->items[i].id) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (size_t i = 0; i < c->count && r == 0; i++)
		r = open_one(c, order[i], root, err);
	return r;
}

int step_caches_make(struct build *b, const struct build_step *step, struct layer_draft *draft,
	int root, struct step_caches **ret, struct err *err)
{
	cleanup(step_caches_free) struct step_caches *c = xcalloc(1, sizeof(*c));
	bool is_plain = words_of(&step->op->run->argv).is_plain && !step->op->run->script &&
			!step->op->run->insecure;

	*c = (struct step_caches){.b = b, .step = step, .draft = draft};
	int r = list_mounts(c, err);
	if (r == 0)
		r = list_tools(c, root, err);
	for (size_t i = 0; i < c->count && r == 0; i++)
		if ((is_plain || !c->items[i].mount) && may_graft(c, &c->items[i]))
			find_spot(c, &c->items[i], root);
	if (r == 0)
		r = open_all(c, root, err);
	if (r == 0 && c->count)
		*ret = take_ptr(c);
	return r;
}

/* ---- in and out ---- */

bool step_caches_have_graft(const struct step_caches *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->items[i].spot.path)
			return true;
	return false;
}

int step_caches_in(struct step_caches *c, struct err *err)
{
	int fs = layer_draft_fs(c->draft);

	for (size_t i = 0; i < c->count; i++) {
		struct step_cache *item = &c->items[i];
		if (!item->spot.path)
			continue;
		int r = layer_cache_graft(item->cache, c->draft, item->spot.path, err);
		if (r < 0)
			return err_wrap(err, "cache for %s", item->target);
		item->is_grafted = r == 0;
		if (item->is_grafted)
			spot_grafted(&item->spot, fs);
		else
			spot_undo(&item->spot, fs); /* edited in place once: bound since then */
	}
	return 0;
}

static int take_out(struct step_caches *c, struct step_cache *item, struct err *err)
{
	int fs = layer_draft_fs(c->draft);

	spot_has_run(&item->spot, fs);
	item->is_grafted = false;
	int r = layer_cache_ungraft(item->cache, err);
	if (r == 0)
		spot_tidy(&item->spot, fs);
	return r;
}

static void warn_of_edits(
	struct step_caches *c, const struct step_cache *item, const struct layer_cache_edits *edits)
{
	const char *text = arena_printf(&c->b->arena,
		"%s wrote into files of the cache on %s that %zu finished layer%s had as well "
		"(%s): they were dropped and are made again when they are needed",
		c->step->op->title, item->target, edits->layers, edits->layers == 1 ? "" : "s",
		edits->first);

	build_emit_text(c->b, BUILD_WARNING, str_of(text));
}

static int verify(
	struct step_caches *c, struct step_cache *item, bool *ret_dropped, struct err *err)
{
	struct layer_cache_edits edits;
	int r = layer_cache_verify(item->cache, &edits, err);

	item->is_watched = false;
	if (r == 0 && edits.layers) {
		*ret_dropped = true;
		warn_of_edits(c, item, &edits);
	}
	return r;
}

int step_caches_out(struct step_caches *c, struct layer_chain below, struct err *err)
{
	bool dropped = false;
	int r = 0;

	for (size_t i = c->count; i-- > 0 && r == 0;) {
		if (c->items[i].is_grafted)
			r = take_out(c, &c->items[i], err);
		else if (c->items[i].is_watched)
			r = verify(c, &c->items[i], &dropped, err);
	}
	if (r < 0 || !dropped || layer_has_chain(c->b->layers, below, NULL))
		return r;
	(void)err_set(err, ERR_FAILED,
		"the step wrote into files that earlier steps had linked "
		"from its cache");
	return err_hint(err, "build again: the steps are made anew, and their files are copied "
			     "from this cache from now on");
}

void step_caches_free(struct step_caches *c)
{
	struct layer_cache_edits edits;

	if (!c)
		return;
	for (size_t i = c->count; i-- > 0;) {
		struct step_cache *item = &c->items[i];
		/* A step that failed may have written as well. */
		if (item->is_watched)
			ignored(layer_cache_verify(item->cache, &edits, NULL));
		layer_cache_close(item->cache);
		spot_done(&item->spot);
	}
	tree_user_done(&c->user);
	free(c);
}

/* ---- for the step ---- */

struct layer_cache *step_caches_find(const struct step_caches *c, const struct plan_mount *mount)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->items[i].mount == mount && !c->items[i].is_grafted)
			return c->items[c->items[i].same_as].cache;
	return NULL;
}

/* Can this file system share blocks between files? */
static bool can_clone(int dir)
{
	cleanup_close int from = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	cleanup_close int to = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return from >= 0 && to >= 0 && ioctl(to, FICLONE, from) == 0;
}

/*
 * UV_LINK_MODE=copy is in a Dockerfile because other builders' caches are on another file
 * system. Where a copy shares its blocks it costs nothing; else links do the same.
 */
void step_caches_env(const struct step_caches *c, struct argv *env)
{
	const char *mode = argv_env(env, "UV_LINK_MODE");
	bool any = false;

	for (size_t i = 0; c && i < c->count; i++)
		any |= c->items[i].is_grafted;
	if (any && mode && strcmp(mode, "copy") == 0 && !can_clone(layer_draft_dir(c->draft)))
		argv_set_env(env, STR("UV_LINK_MODE"), STR("hardlink"));
}
