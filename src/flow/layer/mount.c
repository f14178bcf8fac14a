/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlays of layers.
 *
 * In a user namespace overlayfs keeps its own attributes in user.overlay.* (userxattr), which
 * also switches redirects and metacopy off; index=off and metacopy=off are said as well, so
 * that whatever the kernel's defaults are, an upper directory describes itself completely
 * and may become a layer.
 *
 * mount(2) takes one page of options, so layers are named relative to layers/, which is the
 * working directory during the call: "KEY/fs" is 43 bytes. From Linux 6.8 on the layers of
 * longer chains are given one at a time through fsconfig(2).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/argv.h"
#include "layer/internal.h"

enum { UNMOUNT_TRIES = 50, UNMOUNT_PAUSE_MS = 20 };

/* Each without a value when the second is NULL. */
static const char *const fixed_options[][2] = {
	{"userxattr", NULL},
	{"index", "off"},
	{"metacopy", "off"},
	{"xino", "off"},
};

/* What is mounted, with paths as the kernel is to see them. */
struct overlay {
	struct argv lowers; /* topmost first, relative to layers/ */
	struct argv uppers; /* upper and work directory, or nothing */
	bool is_volatile;
};

static void overlay_done(struct overlay *o)
{
	argv_done(&o->lowers);
	argv_done(&o->uppers);
}
DEFINE_CLEANUP_VALUE(struct overlay, overlay_done);

/* ---- Which directories ---- */

static bool is_listed(const struct argv *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->items[i], name) == 0)
			return true;
	}
	return false;
}

/*
 * An archive may declare the root itself opaque; overlayfs looks for that mark in every
 * directory but this one.
 */
static bool is_opaque(int layers, const char *name)
{
	char value = 0;
	cleanup_close int fd =
		openat(layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && fgetxattr(fd, XATTR_OPAQUE, &value, 1) == 1 && value == 'y';
}

/*
 * A layer that occurs again further down adds nothing there: each of its entries is already
 * above. overlayfs wants one lower directory, and two when there is no upper.
 */
static int list_lowers(const struct layer_store *store, struct layer_chain chain, struct overlay *o,
	struct err *err)
{
	static const char *const empty[] = {"../empty/0", "../empty/1"};
	size_t needed = o->uppers.count ? 1 : 2;
	struct layer_key absent;

	if (!layer_has_chain(store, chain, &absent))
		return err_set(err, ERR_MISSING, "layer %s is not in the store", absent.hex);
	for (size_t i = chain.count; i-- > 0;) {
		char name[sizeof(absent.hex) + sizeof("/" LAYER_FS)];
		snprintf(name, sizeof(name), "%s/" LAYER_FS, chain.keys[i].hex);
		if (is_listed(&o->lowers, name))
			continue;
		argv_add(&o->lowers, name);
		if (is_opaque(store->places[PLACE_LAYERS], name))
			break;
	}
	for (size_t i = 0; i < array_size(empty) && o->lowers.count < needed; i++)
		argv_add(&o->lowers, empty[i]);
	return 0;
}

static int list_uppers(const struct layer_upper *upper, struct overlay *o, struct err *err)
{
	cleanup_free char *mark = xprintf("%s/work/incompat/volatile", upper->work);

	/* The kernel would say "invalid argument", as it does of a hundred other things. */
	if (faccessat(upper->dir, mark, F_OK, 0) == 0)
		return err_set(
			err, ERR_BUG, "%s was mounted volatile and not reset since", upper->fs);
	if (mkdirat(upper->dir, upper->work, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", upper->work);
	argv_printf(&o->uppers, "/proc/self/fd/%d/%s", upper->dir, upper->fs);
	argv_printf(&o->uppers, "/proc/self/fd/%d/%s", upper->dir, upper->work);
	o->is_volatile = upper->is_volatile;
	return 0;
}

/* ---- mount(2) ---- */

static void print_options(const struct overlay *o, struct buf *ret)
{
	for (size_t i = 0; i < array_size(fixed_options); i++) {
		const char *const *option = fixed_options[i];
		buf_printf(ret, "%s%s%s,", option[0], option[1] ? "=" : "",
			option[1] ? option[1] : "");
	}
	if (o->uppers.count)
		buf_printf(ret, "%supperdir=%s,workdir=%s,", o->is_volatile ? "volatile," : "",
			o->uppers.items[0], o->uppers.items[1]);
	buf_add_text(ret, "lowerdir=");
	for (size_t i = 0; i < o->lowers.count; i++)
		buf_printf(ret, "%s%s", i ? ":" : "", o->lowers.items[i]);
}

static int mount_page(const struct overlay *o, const char *options, const char *target)
{
	unsigned long flags = MS_NODEV | (o->uppers.count ? 0 : MS_RDONLY);

	return mount("overlay", target, "overlay", flags, options);
}

/* ---- fsconfig(2) ---- */

/* What the kernel wrote into the context: "e text", one message a read. */
static void add_messages(int fs, struct err *err)
{
	char line[256];
	ssize_t n;

	while (err && (n = read(fs, line, sizeof(line) - 1)) > 0) {
		struct str text = str_trim(str_from(line, (size_t)n));
		if (str_starts(text, STR("e ")))
			text = str_from_index(text, 2);
		size_t used = strlen(err->text);
		snprintf(err->text + used, sizeof(err->text) - used, " (%.*s)", STR_ARG(text));
	}
}

static int set_option(int fs, const char *name, const char *value)
{
	return fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, name, value, 0);
}

/* All but the topmost layer. */
static int set_options(int fs, const struct overlay *o)
{
	static const char *const upper_names[] = {"upperdir", "workdir"};

	for (size_t i = 0; i < array_size(fixed_options); i++) {
		if (set_option(fs, fixed_options[i][0], fixed_options[i][1]) < 0)
			return -1;
	}
	if (o->is_volatile && set_option(fs, "volatile", NULL) < 0)
		return -1;
	for (size_t i = 0; i < o->uppers.count; i++) {
		if (set_option(fs, upper_names[i], o->uppers.items[i]) < 0)
			return -1;
	}
	for (size_t i = 1; i < o->lowers.count; i++) {
		if (set_option(fs, "lowerdir+", o->lowers.items[i]) < 0)
			return -1;
	}
	return fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

static int mount_context(const struct overlay *o, const char *target, struct err *err)
{
	unsigned attributes = MOUNT_ATTR_NODEV | (o->uppers.count ? 0 : MOUNT_ATTR_RDONLY);
	cleanup_close int fs = fsopen("overlay", FSOPEN_CLOEXEC);

	assert(o->lowers.items);

	if (fs < 0)
		return err_sys(err, "open an overlay context");
	if (set_option(fs, "lowerdir+", o->lowers.items[0]) < 0)
		return err_set(err, ERR_LIMIT,
			"%zu layers: this kernel mounts only as many as fit into one page of "
			"options (about 90); Linux 6.8 mounts up to 500",
			o->lowers.count);
	if (set_options(fs, o) < 0) {
		(void)err_sys(err, "mount an overlay of %zu layers", o->lowers.count);
		add_messages(fs, err);
		return err_wrap(err, "overlayfs");
	}
	cleanup_close int made = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	/* The target is a link of /proc/self/fd. */
	unsigned how = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;
	if (made < 0 || move_mount(made, "", AT_FDCWD, target, how) < 0)
		return err_sys(err, "place the mount of %zu layers", o->lowers.count);
	return 0;
}

/* ---- Both ---- */

static int explain(struct err *err, const struct overlay *o)
{
	bool is_refused = errno == EINVAL;
	int r = err_sys(err, "mount an overlay of %zu layers", o->lowers.count);

	if (!is_refused)
		return r;
	return err_hint(err,
		"The kernel refuses the store's file system as the upper side of an overlay: it "
		"must support user.* attributes and not be an overlay or NFS itself. Set "
		"SPACEPORT_DATA to a directory on ext4, XFS or btrfs (Linux 5.11 or newer).");
}

static int mount_overlay(const struct overlay *o, const char *target, struct err *err)
{
	cleanup(buf_done) struct buf options = {0};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	print_options(o, &options);
	if (options.len + 1 > page)
		return mount_context(o, target, err);
	return mount_page(o, options.data, target) == 0 ? 0 : explain(err, o);
}

/* The kernel resolves the lower directories from the working directory. */
static int mount_from(int layers, const struct overlay *o, const char *target, struct err *err)
{
	cleanup_close int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (before < 0 || fchdir(layers) < 0)
		return err_sys(err, "enter the layer store");
	int r = mount_overlay(o, target, err);
	if (fchdir(before) < 0 && r == 0)
		return err_sys(err, "return to the working directory");
	return r;
}

int layer_mount(struct layer_store *store, struct layer_chain chain,
	const struct layer_upper *upper, int dirfd, const char *name, struct err *err)
{
	cleanup(overlay_done) struct overlay o = {0};
	cleanup_close int target =
		openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char path[64];

	if (target < 0)
		return err_sys(err, "mount point %s", name);
	int r = upper ? list_uppers(upper, &o, err) : 0;
	if (r == 0)
		r = list_lowers(store, chain, &o, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	return mount_from(store->places[PLACE_LAYERS], &o, path, err);
}

int layer_unmount(int dirfd, const char *name, struct err *err)
{
	const struct timespec pause = {.tv_nsec = UNMOUNT_PAUSE_MS * 1000000L};
	cleanup_free char *path = xprintf("/proc/self/fd/%d/%s", dirfd, name);

	/*
	 * The files of a process that was killed are closed a little after it is seen to be
	 * dead. Never lazily: what is still open could write into a published layer.
	 */
	for (int tries = 0; umount2(path, UMOUNT_NOFOLLOW) < 0; tries++) {
		if (errno != EBUSY)
			return err_sys(err, "unmount %s", name);
		if (tries == UNMOUNT_TRIES)
			return err_set(
				err, ERR_BUSY, "unmount %s: files in it are still open", name);
		(void)nanosleep(&pause, NULL); /* woken early, it tries earlier */
	}
	return 0;
}

struct layer_upper layer_draft_upper(const struct layer_draft *draft)
{
	return (struct layer_upper){
		.dir = draft->dir,
		.fs = DRAFT_LAYER "/" LAYER_FS,
		.work = DRAFT_WORK,
		.is_volatile = true,
	};
}

int layer_upper_reset(const struct layer_upper *upper, struct err *err)
{
	int r = dir_remove_tree(upper->dir, upper->work, err);

	if (r < 0)
		return r;
	if (mkdirat(upper->dir, upper->work, 0700) < 0)
		return err_sys(err, "make %s", upper->work);
	return 0;
}

int layer_probe(struct layer_store *store, struct err *err)
{
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	const struct layer_chain nothing = {0};

	int r = layer_begin(store, NULL, &draft, err);
	if (r < 0)
		return r;
	struct layer_upper upper = layer_draft_upper(draft);
	r = layer_mount(store, nothing, &upper, draft->dir, LAYER_MERGED, err);
	if (r == 0)
		r = layer_unmount(draft->dir, LAYER_MERGED, err);
	return r;
}
