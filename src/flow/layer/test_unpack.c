/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#include "layer/test_archive.h"

/* ---- Ordinary layers ---- */

static void entries_arrive_as_they_are(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"./", '5', 0751, 1, 2},
		{"usr/", '5', 02755, 0, 50},
		{"usr/bin/", '5', 0755},
		{"usr/bin/su", '0', 04755, 3, 4, .data = "su",
			.pax = {"mtime=1234567890.987654321"}},
		{"usr/bin/sudo", '1', .link = "usr/bin/su"},
		{"bin", '2', 0777, 7, 8, .link = "usr/bin"},
		{"bin/sh", '0', 0755, .data = "sh"},
		{"/abs//./file", '0', 0600, 1000, 1000, .data = "abs"},
		{"fifo", '6', 0620, 5, 6},
		{"empty", '0', 0},
	};
	struct stat st;
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_int_equal(fstat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_int_equal(fstatat(root, "usr", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 02755);
	assert_int_equal(st.st_gid, 50);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_int_equal(fstatat(root, "usr/bin/su", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_uid, 3);
	assert_int_equal(st.st_gid, 4);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	assert_string_equal(read_file(root, "usr/bin/sudo"), "su");
	assert_string_equal(read_file(root, "usr/bin/sh"), "sh");
	assert_string_equal(type_of(root, "bin"), "l");
	assert_int_equal(fstatat(root, "bin", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_uid, 7);
	assert_int_equal(fstatat(root, "abs", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fstatat(root, "abs/file", &st, 0), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_string_equal(type_of(root, "fifo"), "p");
	assert_int_equal(fstatat(root, "fifo", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0620);
	assert_int_equal(fstatat(root, "empty", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0);
	assert_int_equal(result.stats.bytes, 7);
	assert_string_equal(result.stats.first_note, "");
	close(root);
}

static void the_last_of_a_name_wins(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"a", '0', 0644, .data = "one"},
		{"a", '0', 0600, .data = "two"},
		{"d/", '5', 0700},
		{"d/x", '0', 0644, .data = "x"},
		{"d/", '5', 0711},
		{"f/", '5', 0755},
		{"f/below", '0', 0644, .data = "y"},
		{"f", '0', 0644, .data = "file"},
		{"l", '2', .link = "d"},
		{"l/", '5', 0755},
		{"l/z", '0', 0644, .data = "z"},
		{"m/", '5', 0755},
		{"m/one", '0', 0644, .data = "1"},
		{"m", '2', .link = "d"},
		{"m/two", '0', 0644, .data = "2"},
		{"h", '1', .link = "a"},
		{"h", '1', .link = "a"},
		{"a", '1', .link = "h"},
		{"self", '0', 0644, .data = "self"},
		{"self", '1', .link = "self"},
	};
	struct stat st;
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_string_equal(read_file(root, "a"), "two");
	assert_int_equal(fstatat(root, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(fstatat(root, "d", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_string_equal(read_file(root, "d/x"), "x");
	assert_string_equal(read_file(root, "f"), "file");
	assert_string_equal(type_of(root, "l"), "d");
	assert_string_equal(read_file(root, "l/z"), "z");
	assert_string_equal(type_of(root, "d/z"), "");
	assert_string_equal(type_of(root, "m"), "l");
	assert_string_equal(read_file(root, "d/two"), "2");
	assert_string_equal(read_file(root, "self"), "self");
	close(root);
}

static void names_are_bytes(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"x", .pax = {"path=F\305\221tan\303\272s\303\255tv\303\241ny.crt"},
			.data = "utf8"},
		{"x", .pax = {"path=lat\351n"}, .data = "latin"},
		{"raw\351", .data = "raw"},
		{"sym", '2', .pax = {"linkpath=caf\303\251"}, .link = "caf"},
		{"sym2", '2', .link = "caf", .pax = {"linkpath=caf\351"}},
		{"hard", '1', .pax = {"linkpath=F\305\221tan\303\272s\303\255tv\303\241ny.crt"}},
	};
	char target[64] = "";
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_string_equal(
		read_file(root, "F\305\221tan\303\272s\303\255tv\303\241ny.crt"), "utf8");
	assert_string_equal(read_file(root, "hard"), "utf8");
	assert_string_equal(read_file(root, "lat\351n"), "latin");
	assert_string_equal(read_file(root, "raw\351"), "raw");
	assert_int_equal(readlinkat(root, "sym", target, sizeof(target)), 5);
	assert_string_equal(target, "caf\303\251");
	assert_int_equal(readlinkat(root, "sym2", target, sizeof(target)), 4);
	close(root);
}

/* ---- Whiteouts ---- */

static void whiteouts_speak_of_lower_layers(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{".wh.gone"},
		{"etc/.wh.conf"},
		{"before/", '5', 0755},
		{"before/x", .data = "x"},
		{".wh.before"},
		{".wh.after"},
		{"after/y", .data = "y"},
		{".wh.dir"},
		{"dir/", '5', 0711},
		{".wh.file"},
		{"file", .data = "new"},
		{"kept", .data = "kept"},
		{".wh.kept"},
		{".wh.deep"},
		{"deep/er/still", .data = "z"},
		{".wh..wh.plnk/1.2", .data = "aufs"},
		{".wh..wh.aufs", .data = "aufs"},
	};
	struct stat st;
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_string_equal(type_of(root, "gone"), "w");
	assert_string_equal(type_of(root, "etc/conf"), "w");
	assert_string_equal(type_of(root, "before"), "o");
	assert_string_equal(read_file(root, "before/x"), "x");
	assert_string_equal(type_of(root, "after"), "o");
	assert_string_equal(read_file(root, "after/y"), "y");
	assert_string_equal(type_of(root, "dir"), "o");
	assert_int_equal(fstatat(root, "dir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_string_equal(read_file(root, "file"), "new");
	assert_string_equal(read_file(root, "kept"), "kept");
	assert_string_equal(type_of(root, "deep"), "o");
	assert_string_equal(read_file(root, "deep/er/still"), "z");
	assert_string_equal(type_of(root, ".wh..wh.aufs"), "");
	close(root);
}

static void opaque_directories_keep_their_own(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"a/", '5', 0755},
		{"a/own", .data = "own"},
		{"a/.wh.ghost"},
		{"a/sub/.wh.ghost"},
		{"a/.wh..wh..opq"},
		{"a/late", .data = "late"},
		{"b/.wh..wh..opq"},
		{"b/", '5', 0700},
		{"c/.wh.stays"},
		{"real/", '5', 0755},
		{"link", '2', .link = "real"},
		{"link/.wh..wh..opq"},
		{"d/.wh.e"},
		{"d/e/f/.wh.ghost"},
	};
	struct stat st;
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_string_equal(type_of(root, "a"), "o");
	assert_string_equal(read_file(root, "a/own"), "own");
	assert_string_equal(read_file(root, "a/late"), "late");
	assert_string_equal(type_of(root, "a/ghost"), "");
	assert_string_equal(type_of(root, "a/sub/ghost"), "");
	assert_string_equal(type_of(root, "b"), "o");
	assert_int_equal(fstatat(root, "b", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_string_equal(type_of(root, "c/stays"), "w");
	assert_string_equal(type_of(root, "real"), "o");
	assert_string_equal(type_of(root, "d/e"), "o");
	assert_string_equal(type_of(root, "d/e/f/ghost"), "");
	close(root);
	root = archive_root(s);
	static const struct item all[] = {{".wh..wh..opq"}, {".wh.x"}, {"y/.wh.z"}};
	result = UNPACK(root, all);
	assert_unpacked(result);
	assert_string_equal(type_of(root, "."), "o");
	assert_string_equal(type_of(root, "x"), "");
	assert_string_equal(type_of(root, "y/z"), "");
	close(root);
}

/* ---- What is left out ---- */

static void system_directories_stay_empty(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"dev", '2', .link = "/etc"},
		{"dev/passwd", .data = "oops"},
		{"dev/null", '3', 0666},
		{"proc", .data = "a file"},
		{"sys/", '5', 0555},
		{"sys/kernel/x", .data = "x"},
		{".wh.dev"},
		{"etc/", '5', 0755},
		{"etc/dev/x", .data = "elsewhere"},
		{"devil", .data = "no system directory"},
	};
	struct stat st;
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	static const char *const names[] = {"dev", "proc", "sys"};
	for (size_t i = 0; i < array_size(names); i++) {
		assert_string_equal(type_of(root, names[i]), "d");
		assert_int_equal(count_entries(root, names[i]), 0);
	}
	assert_int_equal(fstatat(root, "sys", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0555);
	assert_string_equal(read_file(root, "etc/dev/x"), "elsewhere");
	assert_string_equal(read_file(root, "devil"), "no system directory");
	assert_string_equal(type_of(root, "etc/passwd"), "");
	assert_int_equal(result.stats.system_entries, 5);
	close(root);
}

static void devices_are_skipped_and_counted(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"lib/udev/null", '3', 0666},
		{"lib/sda", '4', 0660},
		{"file", .data = "file"},
		{"file", '3', 0666},
	};
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_int_equal(result.stats.devices, 3);
	assert_string_equal(result.stats.first_note, "lib/udev/null: device node skipped");
	assert_int_equal(count_entries(root, "lib"), 1);
	assert_string_equal(read_file(root, "file"), "file");
	close(root);
}

static void only_harmless_xattrs_are_kept(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"ping", '0', 0755, 9, 9, .data = "ping", .pax = {CAPS_RECORD},
			.pax_size = sizeof(CAPS_RECORD)},
		{"f", .pax = {"SCHILY.xattr.user.mine=1", "SCHILY.xattr.user.overlay.opaque=y",
			      "SCHILY.xattr.trusted.overlay.opaque=y",
			      "SCHILY.xattr.security.selinux=x"}},
		{"d/", '5', 0755,
			.pax = {"SCHILY.xattr.user.overlay.opaque=y",
				"SCHILY.xattr.user.overlay.redirect=/etc",
				"SCHILY.xattr.user.overlay.metacopy=", "SCHILY.xattr.user.mine=2"}},
		{"l", '2', .link = "f", .pax = {"SCHILY.xattr.user.mine=3"}},
	};
	char list[256], value[64] = "";
	int root = archive_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	int f = openat(root, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flistxattr(f, list, sizeof(list)), sizeof("user.mine"));
	assert_int_equal(fgetxattr(f, "user.mine", value, sizeof(value)), 1);
	assert_int_equal(value[0], '1');
	close(f);
	int d = openat(root, "d", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flistxattr(d, list, sizeof(list)), sizeof("user.mine"));
	close(d);
	assert_string_equal(type_of(root, "d"), "d");
	int ping = openat(root, "ping", O_RDONLY | O_CLOEXEC);
	/* As the namespace sees it: version 2, the namespace's root understood. */
	assert_int_equal(fgetxattr(ping, "security.capability", value, sizeof(value)), 20);
	assert_int_equal(value[5], 4);
	close(ping);
	assert_int_equal(result.stats.xattrs, 6);
	close(root);
}

/* ---- Plain archives ---- */

static void plain_archives_are_only_files(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"./", '5', 0700, 9, 9},
		{".wh.x", .data = "a file like others"},
		{"dev/x", .data = "dev"},
		{"sub/", '5', 0711, 9, 9},
		{"a", '0', 0600, 9, 9, .data = "a"},
		{"b", '1', .link = "a"},
	};
	const struct dir_owner owner = {1000, 1001};
	const struct layer_unpack_options options = {
		.is_plain = true, .prefix = "/opt/./app/", .owner = &owner};
	struct stat st;
	int root = archive_root(s);

	/* A destination that is a link is followed inside the root. */
	assert_int_equal(symlinkat("/srv", root, "opt"), 0);
	assert_int_equal(mkdirat(root, "srv", 0755), 0);
	struct result result = unpack_items(root, array_size(items), items, &options);
	assert_unpacked(result);
	assert_string_equal(read_file(root, "srv/app/.wh.x"), "a file like others");
	assert_string_equal(read_file(root, "srv/app/dev/x"), "dev");
	assert_string_equal(read_file(root, "srv/app/b"), "a");
	assert_int_equal(fstatat(root, "srv/app/sub", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(fstatat(root, "srv/app", &st, 0), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_mode & 07777, 0755);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(entries_arrive_as_they_are),
		WITH_SCRATCH(the_last_of_a_name_wins),
		WITH_SCRATCH(names_are_bytes),
		WITH_SCRATCH(whiteouts_speak_of_lower_layers),
		WITH_SCRATCH(opaque_directories_keep_their_own),
		WITH_SCRATCH(system_directories_stay_empty),
		WITH_SCRATCH(devices_are_skipped_and_counted),
		WITH_SCRATCH(only_harmless_xattrs_are_kept),
		WITH_SCRATCH(plain_archives_are_only_files),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer unpack", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
