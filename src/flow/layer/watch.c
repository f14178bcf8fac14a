/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a cache and published layers share.
 *
 * Nothing keeps a program from writing into a cached file that a layer has by a hard link, so
 * it is found out afterwards. The note is an array of struct entry, of this machine and kernel
 * only. A change time tells nothing, since every link and unlink changes it as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "layer/cache.h"
#include "os/file.h"
#include "os/walk.h"

enum { WATCH_LIMIT = 1 << 30 };

enum seen { SEEN_NOT, SEEN_SAME, SEEN_CHANGED };

struct entry {
	uint64_t inode, size;
	int64_t seconds, nanoseconds; /* of the last modification */
	uint32_t mode, uid, gid;
	uint32_t seen; /* enum seen */
};

struct watch {
	struct entry *entries;
	size_t count, cap;
};

void watch_free(struct watch *w)
{
	if (!w)
		return;
	free(w->entries);
	free(w);
}
DEFINE_CLEANUP(struct watch *, watch_free);

static int compare_inodes(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static struct entry *find(const struct watch *w, ino_t inode)
{
	const struct entry key = {.inode = inode};

	return w->count ? bsearch(&key, w->entries, w->count, sizeof(key), compare_inodes) : NULL;
}

static bool same_content(const struct entry *e, const struct stat *st)
{
	return e->size == (uint64_t)st->st_size && e->seconds == st->st_mtim.tv_sec &&
	       e->nanoseconds == st->st_mtim.tv_nsec;
}

static bool same_rights(const struct entry *e, const struct stat *st)
{
	return e->mode == st->st_mode && e->uid == st->st_uid && e->gid == st->st_gid;
}

/* ---- Before ---- */

static bool is_shared(const struct walk_entry *e)
{
	return e->step == WALK_ENTRY && S_ISREG(e->st.st_mode) && e->st.st_nlink > 1;
}

static int note(void *arg, const struct walk_entry *e, struct err *err)
{
	struct watch *w = arg;

	(void)err;
	if (!is_shared(e))
		return 0;
	w->entries = xgrow(w->entries, &w->cap, w->count + 1, sizeof(*w->entries));
	w->entries[w->count++] = (struct entry){.inode = e->st.st_ino,
		.size = (uint64_t)e->st.st_size,
		.seconds = e->st.st_mtim.tv_sec,
		.nanoseconds = e->st.st_mtim.tv_nsec,
		.mode = e->st.st_mode,
		.uid = e->st.st_uid,
		.gid = e->st.st_gid};
	return 0;
}

/* Another user of the cache may have left its note, which is older and therefore better. */
static int save(const struct layer_cache *c, const struct watch *w, struct err *err)
{
	cleanup_close int fd = openat(
		c->home, CACHE_WATCHED, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? 0 : err_sys(err, "note the files of the cache");
	const char *bytes = (const char *)w->entries;
	return file_write_fd(fd, str_from(bytes, w->count * sizeof(*w->entries)), err);
}

int layer_cache_watch(struct layer_cache *c, struct err *err)
{
	cleanup(watch_free) struct watch *w = xcalloc(1, sizeof(*w));

	if (!cache_is(c, CACHE_LINKED))
		return 0;
	int r = walk_tree(c->fs, note, w, err);
	if (r < 0 || w->count == 0)
		return r;
	qsort(w->entries, w->count, sizeof(*w->entries), compare_inodes);
	r = save(c, w, err);
	if (r == 0)
		c->watch = take_ptr(w);
	return r;
}

/* ---- After ---- */

static int look(void *arg, const struct walk_entry *e, struct err *err)
{
	struct entry *known = e->step == WALK_ENTRY ? find(arg, e->st.st_ino) : NULL;

	(void)err;
	if (known)
		known->seen = same_content(known, &e->st) && same_rights(known, &e->st)
				      ? SEEN_SAME
				      : SEEN_CHANGED;
	return 0;
}

/* Changed ones, and those that went from the cache: they may have been changed before. */
static bool has_suspects(const struct watch *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->entries[i].seen != SEEN_SAME)
			return true;
	return false;
}

struct search {
	const struct watch *watch;
	struct layer_cache_edits *edits;
	bool is_damaged; /* the layer that is walked */
};

static int compare(void *arg, const struct walk_entry *e, struct err *err)
{
	struct search *s = arg;
	bool is_file = e->step == WALK_ENTRY && S_ISREG(e->st.st_mode);
	const struct entry *known = is_file ? find(s->watch, e->st.st_ino) : NULL;

	if (!known || known->seen == SEEN_SAME)
		return 0;
	if (!same_content(known, &e->st)) {
		s->is_damaged = true;
		if (!s->edits->first[0])
			snprintf(s->edits->first, sizeof(s->edits->first), "%s", e->name);
		return 0;
	}
	if (same_rights(known, &e->st))
		return 0;
	/* The owner first: a change of it takes the set-user-id bit away. */
	if (fchownat(e->dirfd, e->name, known->uid, known->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(e->dirfd, e->name, known->mode & 07777, 0) < 0)
		return err_sys(err, "put owner and mode of %s back", e->name);
	s->edits->restored++;
	return 0;
}

static int search_layer(const struct layer_store *store, const char *name, struct search *s,
	struct map *seeds, struct err *err)
{
	cleanup_free char *tree = xprintf("%s/" LAYER_FS, name);
	cleanup_close int fs = openat(
		store->places[PLACE_LAYERS], tree, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fs < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open layer %s", name);
	s->is_damaged = false;
	int r = walk_tree(fs, compare, s, err);
	if (s->is_damaged) {
		(void)map_set(seeds, str_of(name), seeds);
		s->edits->layers++;
	}
	return r < 0 ? err_wrap(err, "layer %s", name) : 0;
}

static int search_layers(struct layer_cache *c, struct search *s, struct err *err)
{
	cleanup(map_free) struct map *seeds = map_new();
	cleanup_closedir DIR *list = list_open(c->store->places[PLACE_LAYERS], err);
	const char *name;
	int r = 0;

	if (!list)
		return err_wrap(err, "layers");
	while (r == 0 && (name = list_next(list)))
		r = search_layer(c->store, name, s, seeds, err);
	if (r < 0 || s->edits->layers == 0)
		return r;
	r = cache_note(c, CACHE_EDITED, err);
	return r < 0 ? r : drop_with_children(c->store, seeds, err);
}

static int verify(
	struct layer_cache *c, struct watch *w, struct layer_cache_edits *ret, struct err *err)
{
	struct search s = {.watch = w, .edits = ret};
	int r = walk_tree(c->fs, look, w, err);

	return r < 0 || !has_suspects(w) ? r : search_layers(c, &s, err);
}

int layer_cache_verify(struct layer_cache *c, struct layer_cache_edits *ret, struct err *err)
{
	*ret = (struct layer_cache_edits){0};
	if (!c->watch)
		return 0;
	int r = verify(c, c->watch, ret, err);
	if (r < 0)
		return err_wrap(err, "verify cache");
	watch_free(take_ptr(c->watch));
	/* Others that use it now rely on the note, should this machine's user kill them. */
	if (flock(c->lock, LOCK_EX | LOCK_NB) == 0 && unlinkat(c->home, CACHE_WATCHED, 0) < 0 &&
		errno != ENOENT)
		return err_sys(err, "remove the note of the cache");
	return 0;
}

int watch_recover(struct layer_cache *c, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct layer_cache_edits edits = {0};
	struct watch w = {0};

	if (!cache_is(c, CACHE_WATCHED))
		return 0;
	int r = file_read(c->home, CACHE_WATCHED, WATCH_LIMIT, &text, err);
	if (r < 0)
		return err_wrap(err, "the note of the cache");
	/* A half-written note is from before the step began. */
	if (text.len % sizeof(*w.entries) == 0 && text.len) {
		w.count = text.len / sizeof(*w.entries);
		w.entries = xcalloc(w.count, sizeof(*w.entries));
		memcpy(w.entries, text.data, text.len);
		r = verify(c, &w, &edits, err);
		free(w.entries);
	}
	if (r == 0 && unlinkat(c->home, CACHE_WATCHED, 0) < 0 && errno != ENOENT)
		r = err_sys(err, "remove the note of the cache");
	return r;
}
