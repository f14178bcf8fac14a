/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "build/internal.h"
#include "os/dir.h"

/*
 * A COPY of many files to a place where nothing is yet. Through a mounted overlay each new
 * file costs nearly twice what it costs in the directory below, so the files go right into
 * the layer, after what copying them through the overlay would have put there first: the
 * directories on the way, as they are in the tree. Wherever that tree is not simply
 * directories and then nothing, the overlay does it.
 */
enum {
	FEW_FILES = 256, /* for these it is not worth it */
	MAX_WAY = 32,
};

/* The directories on the way to the destination that are there, the root first. */
struct way {
	int dirs[MAX_WAY];
	const char *names[MAX_WAY];
	size_t count;
};

#define WAY_NONE \
	{ \
		.count = 0 \
	}

static void way_done(struct way *way)
{
	while (way->count)
		close(way->dirs[--way->count]);
}

DEFINE_CLEANUP_VALUE(struct way, way_done);

bool step_may_be_direct(const struct build *b, const struct build_step *step)
{
	const struct plan_op *op = step->op;

	return op->kind == PLAN_COPY && op->copy->from.kind == PLAN_CONTEXT &&
	       op->copy->file_count == 0 && step->input_count == 1 &&
	       tree_selection_count(b->selections[step->inputs[0].selection]) > FEW_FILES;
}

static bool is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
	size_t names = 0;

	if (!listing && fd >= 0)
		close(fd);
	while (listing && names <= 2 && readdir(listing))
		names++;
	return names == 2; /* itself and the one above */
}

/* Takes the descriptor. What an overlay copies and this does not is left to the overlay. */
static bool add_directory(struct way *way, int dir, const char *name)
{
	way->dirs[way->count] = dir;
	way->names[way->count++] = name;
	return way->count < MAX_WAY && flistxattr(dir, NULL, 0) <= 0;
}

/* false: there is more than directories on the way, or something at its end. */
static bool find_way(struct build *b, int root, const char *dest, struct way *ret)
{
	struct str rest = str_of(dest + 1); /* absolute and clean */
	int dir = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || !add_directory(ret, dir, ""))
		return false;
	while (rest.n) {
		const char *name = arena_str(&b->arena, str_cut(&rest, '/')).p;
		dir = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			return errno == ENOENT;
		if (!add_directory(ret, dir, name))
			return false;
	}
	return is_empty(dir);
}

static int copy_attributes(int from, int to)
{
	struct stat st;

	return fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
			       fchmod(to, st.st_mode & 07777) < 0
		       ? -1
		       : 0;
}

static int copy_time(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return -1;
	return futimens(to, (const struct timespec[]){st.st_atim, st.st_mtim});
}

/* The same directories in the layer; of the root, which is there, the draft has taken care. */
static int make_way(const struct way *lower, int layer, struct way *ret, struct err *err)
{
	(void)add_directory(ret, fcntl(layer, F_DUPFD_CLOEXEC, 0), "");
	for (size_t i = 1; i < lower->count; i++) {
		int above = ret->dirs[i - 1];
		const char *name = lower->names[i];
		if (mkdirat(above, name, 0700) < 0)
			return err_sys(err, "make directory %s", name);
		int dir = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			return err_sys(err, "open directory %s", name);
		(void)add_directory(ret, dir, name);
		if (copy_attributes(lower->dirs[i], dir) < 0)
			return err_sys(err, "copy attributes of directory %s", name);
	}
	return 0;
}

/* All but the last are as they were: nothing in them has changed. */
static int keep_times(const struct way *lower, const struct way *made, struct err *err)
{
	for (size_t i = 1; i + 1 < lower->count; i++)
		if (copy_time(lower->dirs[i], made->dirs[i]) < 0)
			return err_sys(err, "time of directory %s", lower->names[i]);
	return 0;
}

int step_copy_direct(
	struct build *b, const struct build_step *step, int root, int layer, struct err *err)
{
	cleanup(way_done) struct way lower = WAY_NONE, made = WAY_NONE;

	if (!find_way(b, root, step->op->copy->dest, &lower))
		return BUILD_E_INDIRECT;
	int r = make_way(&lower, layer, &made, err);
	if (r == 0)
		r = step_copy(b, step, root, layer, err);
	return r < 0 ? r : keep_times(&lower, &made, err);
}
