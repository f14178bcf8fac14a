/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer/internal.h"
#include "layer/test_scratch.h"

/* ---- Layers to mount ---- */

typedef void fill_fn(int fs);

static void publish(struct layer_store *store, unsigned number, fill_fn *fill)
{
	const struct layer_info info = {.kind = LAYER_BASE};
	struct layer_key key = key_number(number);
	struct layer_draft *draft = NULL;
	struct err err = {0};

	assert_ok(layer_begin(store, NULL, &draft, &err), &err);
	fill(layer_draft_fs(draft));
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	layer_discard(draft);
}

static void make_opaque(int fs, const char *path)
{
	int fd = openat(fs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(fsetxattr(fd, XATTR_OPAQUE, "y", 1, 0), 0);
	close(fd);
}

static void fill_base(int fs)
{
	assert_int_equal(mkdirat(fs, "dir", 0750), 0);
	assert_int_equal(mkdirat(fs, "hidden", 0755), 0);
	write_file(fs, "dir/low", "low");
	write_file(fs, "hidden/low", "low");
	write_file(fs, "gone", "gone");
	write_file(fs, "file", "base");
}

static void fill_upper(int fs)
{
	assert_int_equal(mkdirat(fs, "dir", 0700), 0);
	assert_int_equal(mkdirat(fs, "hidden", 0755), 0);
	make_opaque(fs, "hidden");
	assert_int_equal(mknodat(fs, "gone", S_IFCHR, makedev(0, 0)), 0);
	write_file(fs, "dir/high", "high");
	write_file(fs, "hidden/high", "high");
}

static void fill_nothing(int fs)
{
	(void)fs;
}

static void fill_file(int fs)
{
	write_file(fs, "file", "again");
}

/* A draft mounted on its "merged" directory, over layers with the given numbers. */
struct mounted {
	struct layer_draft *draft;
	struct layer_key keys[8];
	int root;
};

static void mount_draft(struct scratch *s, struct mounted *m, size_t count, const unsigned *numbers)
{
	struct err err = {0};

	for (size_t i = 0; i < count; i++)
		m->keys[i] = key_number(numbers[i]);
	if (!m->draft)
		assert_ok(layer_begin(s->store, NULL, &m->draft, &err), &err);
	struct layer_upper upper = layer_draft_upper(m->draft);
	assert_ok(layer_mount(s->store, (struct layer_chain){m->keys, count}, &upper,
			  layer_draft_dir(m->draft), LAYER_MERGED, &err),
		&err);
	m->root =
		openat(layer_draft_dir(m->draft), LAYER_MERGED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(m->root >= 0);
}

static void unmount_draft(struct mounted *m)
{
	struct err err = {0};

	close(m->root);
	assert_ok(layer_unmount(layer_draft_dir(m->draft), LAYER_MERGED, &err), &err);
}

/* ---- Tests ---- */

static void this_machine_can_mount(void **state)
{
	SCRATCH(state);

	assert_ok(layer_probe(s->store, &err), &err);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
	assert_int_equal(count_entries(s->dir, "store/trash"), 0);
}

static void layers_merge(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};
	struct stat st;

	publish(s->store, 1, fill_base);
	publish(s->store, 2, fill_upper);
	mount_draft(s, &m, 2, (const unsigned[]){1, 2});
	assert_string_equal(read_file(m.root, "dir/low"), "low");
	assert_string_equal(read_file(m.root, "dir/high"), "high");
	assert_string_equal(read_file(m.root, "hidden/high"), "high");
	assert_string_equal(type_of(m.root, "hidden/low"), "");
	assert_string_equal(type_of(m.root, "gone"), "");
	assert_int_equal(count_entries(m.root, "."), 3);
	assert_int_equal(fstatat(m.root, "dir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	/* The upper directory describes the change by itself. */
	assert_int_equal(unlinkat(m.root, "file", 0), 0);
	assert_int_equal(unlinkat(m.root, "dir/low", 0), 0);
	assert_int_equal(renameat(m.root, "dir", m.root, "moved"), -1);
	assert_int_equal(errno, EXDEV);
	write_file(m.root, "new", "new");
	unmount_draft(&m);
	int fs = layer_draft_fs(m.draft);
	assert_string_equal(type_of(fs, "file"), "w");
	assert_string_equal(type_of(fs, "dir/low"), "w");
	assert_string_equal(read_file(fs, "new"), "new");
	assert_int_equal(count_entries(fs, "."), 3);
	layer_discard(m.draft);
}

static void a_step_becomes_a_layer(void **state)
{
	SCRATCH(state);
	const struct layer_info info = {.kind = LAYER_STEP};
	struct layer_key key = key_number(3);
	struct mounted m = {0};

	publish(s->store, 1, fill_base);
	mount_draft(s, &m, 1, (const unsigned[]){1});
	assert_int_equal(unlinkat(m.root, "hidden/low", 0), 0);
	assert_int_equal(unlinkat(m.root, "hidden", AT_REMOVEDIR), 0);
	assert_int_equal(mkdirat(m.root, "hidden", 0755), 0);
	unmount_draft(&m);
	assert_ok(layer_publish(m.draft, &key, &info, &err), &err);
	layer_discard(m.draft);
	m = (struct mounted){0};
	mount_draft(s, &m, 2, (const unsigned[]){1, 3});
	assert_int_equal(count_entries(m.root, "hidden"), 0);
	assert_string_equal(read_file(m.root, "dir/low"), "low");
	unmount_draft(&m);
	layer_discard(m.draft);
}

static void mount_read_only(struct scratch *s, size_t count, const unsigned *numbers, int entries)
{
	struct layer_key keys[8];
	struct err err = {0};
	struct statvfs fs;

	for (size_t i = 0; i < count; i++)
		keys[i] = key_number(numbers[i]);
	assert_ok(
		layer_mount(s->store, (struct layer_chain){keys, count}, NULL, s->dir, "mnt", &err),
		&err);
	assert_int_equal(count_entries(s->dir, "mnt"), entries);
	assert_int_equal(openat(s->dir, "mnt/x", O_CREAT | O_WRONLY | O_CLOEXEC, 0644), -1);
	assert_int_equal(errno, EROFS);
	int fd = openat(s->dir, "mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fstatvfs(fd, &fs), 0);
	assert_true(fs.f_flag & ST_NODEV);
	close(fd);
	assert_ok(layer_unmount(s->dir, "mnt", &err), &err);
}

static void chains_of_any_length_mount(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};
	const struct layer_chain unknown = {&(struct layer_key){"nothing"}, 1};

	publish(s->store, 1, fill_base);
	publish(s->store, 2, fill_upper);
	publish(s->store, 3, fill_nothing);
	assert_int_equal(mkdirat(s->dir, "mnt", 0755), 0);
	mount_read_only(s, 0, NULL, 0);
	mount_read_only(s, 1, (const unsigned[]){1}, 4);
	mount_read_only(s, 2, (const unsigned[]){1, 2}, 3);
	mount_draft(s, &m, 0, NULL);
	write_file(m.root, "x", "x");
	assert_int_equal(count_entries(m.root, "."), 1);
	unmount_draft(&m);
	layer_discard(m.draft);
	assert_int_equal(layer_mount(s->store, unknown, NULL, s->dir, "mnt", &err), -ERR_MISSING);
}

static void a_key_may_occur_again(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};

	publish(s->store, 1, fill_base);
	publish(s->store, 2, fill_upper);
	publish(s->store, 3, fill_file);
	mount_draft(s, &m, 5, (const unsigned[]){3, 1, 3, 2, 1});
	/* 1 is topmost: what 2 hid is there again, and 3 is hidden. */
	assert_string_equal(read_file(m.root, "gone"), "gone");
	assert_string_equal(read_file(m.root, "file"), "base");
	assert_string_equal(read_file(m.root, "hidden/low"), "low");
	assert_string_equal(read_file(m.root, "hidden/high"), "high");
	unmount_draft(&m);
	layer_discard(m.draft);
}

static void fill_opaque_root(int fs)
{
	write_file(fs, "only", "only");
	make_opaque(fs, ".");
}

static void an_opaque_root_hides_everything(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};

	publish(s->store, 1, fill_base);
	publish(s->store, 2, fill_opaque_root);
	publish(s->store, 3, fill_file);
	mount_draft(s, &m, 3, (const unsigned[]){1, 2, 3});
	assert_int_equal(count_entries(m.root, "."), 2);
	assert_string_equal(read_file(m.root, "only"), "only");
	assert_string_equal(read_file(m.root, "file"), "again");
	unmount_draft(&m);
	layer_discard(m.draft);
}

enum { MANY = 200 };

static void mount_long(struct scratch *s, struct layer_draft *draft, struct layer_chain chain)
{
	struct layer_upper upper = layer_draft_upper(draft);
	int dir = layer_draft_dir(draft);
	struct err err = {0};
	char top[16];

	assert_ok(layer_upper_reset(&upper, &err), &err);
	assert_ok(layer_mount(s->store, chain, &upper, dir, LAYER_MERGED, &err), &err);
	snprintf(top, sizeof(top), "%zu", chain.count - 1);
	assert_string_equal(read_file(dir, LAYER_MERGED "/file"), top);
	write_file(dir, LAYER_MERGED "/new", "new");
	assert_ok(layer_unmount(dir, LAYER_MERGED, &err), &err);
	assert_string_equal(read_file(layer_draft_fs(draft), "new"), "new");
}

static void long_chains_need_no_page(void **state)
{
	SCRATCH(state);
	static const size_t counts[] = {84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, MANY};
	struct layer_key keys[MANY];
	struct layer_draft *draft = NULL;

	for (unsigned i = 0; i < MANY; i++) {
		make_layer(s->store, i, NULL);
		keys[i] = key_number(i);
	}
	assert_ok(layer_begin(s->store, NULL, &draft, &err), &err);
	for (size_t i = 0; i < array_size(counts); i++)
		mount_long(s, draft, (struct layer_chain){keys, counts[i]});
	layer_discard(draft);
}

static void volatile_uppers_mount_again_after_a_reset(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};

	publish(s->store, 1, fill_base);
	mount_draft(s, &m, 1, (const unsigned[]){1});
	write_file(m.root, "one", "1");
	unmount_draft(&m);
	struct layer_upper upper = layer_draft_upper(m.draft);
	assert_int_equal(layer_mount(s->store, (struct layer_chain){m.keys, 1}, &upper,
				 layer_draft_dir(m.draft), LAYER_MERGED, &err),
		-ERR_BUG);
	assert_ok(layer_upper_reset(&upper, &err), &err);
	mount_draft(s, &m, 1, (const unsigned[]){1});
	assert_string_equal(read_file(m.root, "one"), "1");
	unmount_draft(&m);
	layer_discard(m.draft);
}

static void mount_elsewhere(struct scratch *s, int entries)
{
	const struct layer_upper upper = {.dir = s->dir, .fs = "mine", .work = "mine-work"};
	struct layer_key key = key_number(1);
	struct err err = {0};

	assert_ok(layer_mount(s->store, (struct layer_chain){&key, 1}, &upper, s->dir, "mnt", &err),
		&err);
	assert_int_equal(count_entries(s->dir, "mnt"), entries);
	write_file(s->dir, "mnt/kept", "kept");
	assert_ok(layer_unmount(s->dir, "mnt", &err), &err);
}

static void uppers_may_lie_elsewhere(void **state)
{
	SCRATCH(state);

	publish(s->store, 1, fill_base);
	assert_int_equal(mkdirat(s->dir, "mnt", 0755), 0);
	assert_int_equal(mkdirat(s->dir, "mine", 0755), 0);
	/* Not volatile: it mounts again as it is. */
	mount_elsewhere(s, 4);
	mount_elsewhere(s, 5);
	assert_string_equal(read_file(s->dir, "mine/kept"), "kept");
}

static void busy_mounts_stay(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};

	mount_draft(s, &m, 0, NULL);
	int open_file = openat(m.root, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	close(m.root);
	assert_int_equal(layer_unmount(layer_draft_dir(m.draft), LAYER_MERGED, &err), -ERR_BUSY);
	close(open_file);
	assert_ok(layer_unmount(layer_draft_dir(m.draft), LAYER_MERGED, &err), &err);
	layer_discard(m.draft);
}

static void fill_hostile_root(int fs)
{
	assert_int_equal(symlinkat("/etc", fs, "dev"), 0);
	write_file(fs, "proc", "a file");
	assert_int_equal(mkdirat(fs, "sys", 0700), 0);
}

static void system_directories_become_real(void **state)
{
	SCRATCH(state);
	struct mounted m = {0};
	unsigned made = 0;

	publish(s->store, 1, fill_hostile_root);
	mount_draft(s, &m, 1, (const unsigned[]){1});
	assert_ok(layer_rootfs_prepare(m.root, &made, &err), &err);
	assert_int_equal(made, LAYER_MADE_DEV | LAYER_MADE_PROC);
	assert_string_equal(type_of(m.root, "dev"), "d");
	assert_string_equal(type_of(m.root, "proc"), "d");
	assert_ok(layer_rootfs_prepare(m.root, &made, &err), &err);
	assert_int_equal(made, 0);
	unmount_draft(&m);
	layer_discard(m.draft);
}

static void names_that_are_no_directories_are_no_targets(void **state)
{
	SCRATCH(state);
	const struct layer_chain nothing = {0};

	assert_int_equal(symlinkat("store", s->dir, "link"), 0);
	assert_true(layer_mount(s->store, nothing, NULL, s->dir, "link", &err) < 0);
	assert_true(layer_mount(s->store, nothing, NULL, s->dir, "none", &err) < 0);
	assert_true(layer_unmount(s->dir, "store", &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(this_machine_can_mount),
		WITH_SCRATCH(layers_merge),
		WITH_SCRATCH(a_step_becomes_a_layer),
		WITH_SCRATCH(chains_of_any_length_mount),
		WITH_SCRATCH(a_key_may_occur_again),
		WITH_SCRATCH(an_opaque_root_hides_everything),
		WITH_SCRATCH(long_chains_need_no_page),
		WITH_SCRATCH(volatile_uppers_mount_again_after_a_reset),
		WITH_SCRATCH(uppers_may_lie_elsewhere),
		WITH_SCRATCH(busy_mounts_stay),
		WITH_SCRATCH(system_directories_become_real),
		WITH_SCRATCH(names_that_are_no_directories_are_no_targets),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer mounts", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
