/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease is a file leases/ID which its holders keep locked, with a line for each thing that it
 * names: "layer KEY" or "image ID". A lease that nobody locks is one whose holders have died.
 *
 * The directory leases/ itself is the guard between those who name things and those who remove
 * what nobody names: locked shared while something is named and looked for, exclusively from
 * the reading of all leases to the last renaming. What was found to be there after it was
 * named therefore stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/dir.h"
#include "os/file.h"
#include "os/lock.h"
#include "store/internal.h"

#define LEASES "leases"

enum { LEASE_MAX = 16 << 20 };

struct store_lease {
	pid_t owner; /* a box has a copy: the file is not its to remove */
	int dir, fd; /* leases/, and the file in it */
	char name[FILE_NEW_NAME_SIZE];
	struct map *named; /* the lines that this process knows to be in it */
};

static int guard_dir(int dir, enum lock_mode mode, int *ret_guard, struct err *err)
{
	/* Opened anew: a descriptor that a box inherited would share its lock with the parent. */
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, err);

	if (fd < 0)
		return fd;
	while (flock(fd, mode == LOCK_SHARED ? LOCK_SH : LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, "lock the leases");
	*ret_guard = take_fd(&fd);
	return 0;
}

/* ---- Holding ---- */

static int make_file(const struct store *store, struct store_lease *l, struct err *err)
{
	cleanup_close int guard = -1;

	/* A file without a lock is a dead one's: nobody may look between the two. */
	int r = guard_dir(l->dir, LOCK_SHARED, &guard, err);
	if (r < 0)
		return r;
	file_new_name(l->name);
	l->fd = openat(l->dir, l->name,
		O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return err_sys(err, "make a lease");
	if (store->ids.is_root && fchown(l->fd, store->ids.root_uid, store->ids.root_gid) < 0)
		return err_sys(err, "give a lease to the boxes' root");
	return flock(l->fd, LOCK_EX | LOCK_NB) < 0 ? err_sys(err, "lock a lease") : 0;
}

int store_lease_new(struct store *store, struct store_lease **ret, struct err *err)
{
	cleanup(store_lease_free) struct store_lease *l = xcalloc(1, sizeof(*l));

	*l = (struct store_lease){.owner = getpid(), .fd = -1, .named = map_new()};
	l->dir = part_open(store->dir, LEASES, 0700, store->ids.is_root ? &store->ids : NULL, err);
	int r = l->dir < 0 ? l->dir : make_file(store, l, err);
	if (r < 0)
		return err_wrap(err, "store");
	*ret = take_ptr(l);
	return 0;
}

void store_lease_free(struct store_lease *lease)
{
	if (!lease)
		return;
	if (lease->fd >= 0 && lease->owner == getpid())
		(void)unlinkat(lease->dir, lease->name, 0); /* else a collection does it */
	if (lease->fd >= 0)
		close(lease->fd);
	if (lease->dir >= 0)
		close(lease->dir);
	map_free(lease->named);
	free(lease);
}

/* ---- Naming ---- */

static void add_line(struct store_lease *l, const char *line, struct buf *fresh)
{
	if (map_find(l->named, str_of(line)))
		return;
	(void)map_set(l->named, str_of(line), l);
	buf_printf(fresh, "%s\n", line);
}

static int name_lines(struct store_lease *l, const struct buf *lines, struct err *err)
{
	if (lines->len == 0)
		return 0;
	/* At once, and appended: workers of one pull name their layers side by side. */
	if (write(l->fd, lines->data, lines->len) == (ssize_t)lines->len)
		return 0;
	return err_sys(err, "write a lease");
}

int store_lease_layers(struct store_lease *lease, struct layer_store *layers,
	struct layer_chain chain, struct err *err)
{
	cleanup(buf_done) struct buf fresh = {0};
	cleanup_close int guard = -1;
	char line[64];

	for (size_t i = 0; i < chain.count; i++) {
		snprintf(line, sizeof(line), LEASE_LAYER "%s", chain.keys[i].hex);
		add_line(lease, line, &fresh);
	}
	int r = fresh.len ? guard_dir(lease->dir, LOCK_SHARED, &guard, err) : 0;
	if (r == 0)
		r = name_lines(lease, &fresh, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < chain.count; i++)
		layer_touch(layers, &chain.keys[i]);
	return layer_has_chain(layers, chain, NULL) ? 0 : STORE_E_ABSENT;
}

int store_lease_image(struct store_lease *lease, const struct digest *id, struct err *err)
{
	cleanup(buf_done) struct buf fresh = {0};
	cleanup_close int guard = -1;
	char text[DIGEST_TEXT_SIZE], line[DIGEST_TEXT_SIZE + sizeof(LEASE_IMAGE)];

	snprintf(line, sizeof(line), LEASE_IMAGE "%s", digest_text(id, text));
	add_line(lease, line, &fresh);
	int r = fresh.len ? guard_dir(lease->dir, LOCK_SHARED, &guard, err) : 0;
	return r < 0 ? r : name_lines(lease, &fresh, err);
}

int store_lease_record(struct store_lease *lease, struct layer_store *layers,
	const struct image_record *record, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct layer_key *keys = arena_array(&a, record->layers.count + 1, sizeof(*keys));

	for (size_t i = 0; i < record->layers.count; i++)
		if (!layer_key_parse(str_of(record->layers.items[i]), &keys[i]))
			return STORE_E_ABSENT;
	int r = store_lease_image(lease, &record->id, err);
	if (r < 0)
		return r;
	return store_lease_layers(
		lease, layers, (struct layer_chain){keys, record->layers.count}, err);
}

int lease_print(const struct store_lease *lease, struct buf *ret, struct err *err)
{
	if (lseek(lease->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "read a lease");
	return file_read_fd(lease->fd, LEASE_MAX, ret, err);
}

/* ---- Reading, by those who remove ---- */

void lease_parse(struct str text, struct leased *ret)
{
	while (text.p && text.n) {
		struct str line = str_cut(&text, '\n');
		if (str_starts(line, STR(LEASE_LAYER)))
			(void)map_set(ret->layers, str_from_index(line, strlen(LEASE_LAYER)), ret);
		else if (str_starts(line, STR(LEASE_IMAGE)))
			(void)map_set(ret->images, str_from_index(line, strlen(LEASE_IMAGE)), ret);
	}
}

/* A live lease is read, a dead one removed. */
static int take_lease(int dir, const char *name, struct leased *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, "open lease %s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		(void)unlinkat(dir, name, 0); /* what stays is tried again by the next */
		return 0;
	}
	int r = file_read_fd(fd, LEASE_MAX, &text, err);
	if (r < 0)
		return err_wrap(err, "lease %s", name);
	lease_parse(buf_str(&text), ret);
	ret->count++;
	return 0;
}

static int take_leases(int dir, struct leased *ret, struct err *err)
{
	struct dirent *entry;
	cleanup_close int fd = dir_reopen(dir, O_RDONLY | O_DIRECTORY, err);
	cleanup_closedir DIR *list = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (!list)
		return fd < 0 ? fd : err_sys(err, "list the leases");
	(void)take_fd(&fd);
	while (r == 0 && (entry = readdir(list)))
		if (entry->d_name[0] != '.')
			r = take_lease(dir, entry->d_name, ret, err);
	return r;
}

int leased_take(int store_dir, struct leased *ret, int *ret_guard, struct err *err)
{
	cleanup_close int guard = -1;
	cleanup_close int dir = part_open(store_dir, LEASES, 0700, NULL, err);

	*ret = (struct leased){.layers = map_new(), .images = map_new()};
	int r = dir < 0 ? dir : guard_dir(dir, LOCK_EXCLUSIVE, &guard, err);
	if (r == 0)
		r = take_leases(dir, ret, err);
	if (r == 0)
		*ret_guard = take_fd(&guard);
	return r;
}

void leased_done(struct leased *leased)
{
	map_free(leased->layers);
	map_free(leased->images);
}
