/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "layer/internal.h"
#include "layer/test_scratch.h"
#include "os/clock.h"

/* ---- Archives ---- */

/* A ustar entry; `pax` are extended records in front of it. */
struct item {
	const char *name;
	char type; /* '0' when unset */
	unsigned mode;
	unsigned uid, gid;
	const char *link;
	const char *data;
	const char *size;   /* the field's own text when it is to lie */
	const char *pax[4]; /* "key=value" */
	size_t pax_size;    /* of pax[0], when it holds NULs */
};

static void field(char *to, size_t size, unsigned long value)
{
	snprintf(to, size, "%0*lo", (int)size - 1, value);
}

static void pad(struct buf *tar)
{
	static const char zeros[512];

	if (tar->len % 512)
		buf_add(tar, zeros, 512 - tar->len % 512);
}

static void add_header(struct buf *tar, const struct item *i, size_t size)
{
	static const char magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'};
	char h[512] = {0};
	unsigned long sum = 0;

	memcpy(h, i->name, strnlen(i->name, 100));
	field(h + 100, 8, i->mode);
	field(h + 108, 8, i->uid);
	field(h + 116, 8, i->gid);
	field(h + 124, 12, size);
	if (i->size)
		memcpy(h + 124, i->size, strlen(i->size));
	field(h + 136, 12, 1000000000);
	memset(h + 148, ' ', 8);
	h[156] = (char)(i->type ? i->type : '0');
	if (i->link)
		memcpy(h + 157, i->link, strnlen(i->link, 100));
	memcpy(h + 257, magic, sizeof(magic));
	for (size_t k = 0; k < sizeof(h); k++)
		sum += (unsigned char)h[k];
	field(h + 148, 7, sum);
	buf_add(tar, h, sizeof(h));
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void add_record(struct buf *to, const char *p, size_t n)
{
	size_t length = n + 3, digits;

	do {
		digits = length;
		length = n + 2 + (size_t)snprintf(NULL, 0, "%zu", digits);
	} while (length != digits);
	buf_printf(to, "%zu ", length);
	buf_add(to, p, n);
	buf_add_char(to, '\n');
}

static void add(struct buf *tar, const struct item *i)
{
	cleanup(buf_done) struct buf records = {0};
	size_t size = i->data ? strlen(i->data) : 0;

	for (size_t k = 0; k < array_size(i->pax) && i->pax[k]; k++)
		add_record(&records, i->pax[k],
			k == 0 && i->pax_size ? i->pax_size : strlen(i->pax[k]));
	if (records.len) {
		const struct item x = {.name = "PaxHeader", .type = 'x', .mode = 0644};
		add_header(tar, &x, records.len);
		buf_add_str(tar, buf_str(&records));
		pad(tar);
	}
	add_header(tar, i, size);
	buf_add(tar, i->data ? i->data : "", size);
	pad(tar);
}

static void end(struct buf *tar)
{
	static const char zeros[1024];

	buf_add(tar, zeros, sizeof(zeros));
}

static int as_file(struct str bytes)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* ---- Unpacking them ---- */

struct result {
	int r;
	struct err err;
	struct layer_unpack_stats stats;
};

static struct result unpack_bytes(
	int root, struct str bytes, const struct layer_unpack_options *options)
{
	static const struct layer_unpack_options defaults;
	struct result result = {0};
	int fd = as_file(bytes);

	result.r =
		layer_unpack(root, fd, options ? options : &defaults, &result.stats, &result.err);
	close(fd);
	return result;
}

static int new_root(struct scratch *s)
{
	struct err err = {0};

	if (dir_remove_tree(s->dir, "root", &err) < 0 || mkdirat(s->dir, "root", 0755) < 0)
		fail_msg("new root: %s", err.text);
	return openat(s->dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct result unpack_items(int root, size_t count, const struct item *items,
	const struct layer_unpack_options *options)
{
	cleanup(buf_done) struct buf tar = {0};

	for (size_t i = 0; i < count; i++)
		add(&tar, &items[i]);
	end(&tar);
	return unpack_bytes(root, buf_str(&tar), options);
}

#define UNPACK(root, items) unpack_items(root, array_size(items), items, NULL)

#define assert_unpacked(result) \
	do { \
		if ((result).r != 0) \
			fail_msg("unpack: %s", (result).err.text); \
	} while (0)

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
	int root = new_root(s);
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
	int root = new_root(s);
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
	int root = new_root(s);
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
	int root = new_root(s);
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
	int root = new_root(s);
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
	root = new_root(s);
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
	int root = new_root(s);
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
	int root = new_root(s);
	struct result result = UNPACK(root, items);

	assert_unpacked(result);
	assert_int_equal(result.stats.devices, 3);
	assert_string_equal(result.stats.first_note, "lib/udev/null: device node skipped");
	assert_int_equal(count_entries(root, "lib"), 1);
	assert_string_equal(read_file(root, "file"), "file");
	close(root);
}

static const char caps[] =
	"SCHILY.xattr.security.capability=\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0";

static void only_harmless_xattrs_are_kept(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"ping", '0', 0755, 9, 9, .data = "ping", .pax = {caps}, .pax_size = sizeof(caps)},
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
	int root = new_root(s);
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

/* ---- Bad archives ---- */

struct bad {
	const char *what;
	struct item items[3];
	const char *error;
};

#define LONG_NAME \
	"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct bad bads[] = {
	{"parent", {{"../x", .data = "x"}}, "entry ../x: a name with \"..\""},
	{"parent within", {{"a/../../x", .data = "x"}}, "a name with \"..\""},
	{"parent only", {{"..", '5'}}, "a name with \"..\""},
	{"parent by pax", {{"x", .pax = {"path=a/../../x"}}}, "a name with \"..\""},
	{"hard link out", {{"h", '1', .link = "../../etc/passwd"}},
		"hard link to ../../etc/passwd: a name with \"..\""},
	{"hard link to a host's file", {{"h", '1', .link = "/etc/passwd"}}, "does not hold before"},
	{"hard link through a link", {{"l", '2', .link = "/"}, {"h", '1', .link = "l/etc/passwd"}},
		"does not hold before"},
	{"hard link to a directory", {{"d/", '5', 0755}, {"h", '1', .link = "d"}}, "a directory"},
	{"hard link to the root", {{"h", '1', .link = "/"}}, "hard link to the root"},
	{"hard link to a later file", {{"h", '1', .link = "f"}, {"f", .data = "f"}},
		"entry h: hard link to f, which this archive does not hold before it"},
	{"hard link to a whiteout", {{".wh.f"}, {"h", '1', .link = "f"}}, "does not hold before"},
	{"hard link without a target", {{"h", '1'}}, "hard link"},
	{"link without a target", {{"l", '2'}}, "target is empty"},
	{"file below a file", {{"f", .data = "f"}, {"f/x", .data = "x"}}, "Not a directory"},
	{"link loop", {{"a", '2', .link = "b"}, {"b", '2', .link = "a"}, {"a/x", .data = "x"}},
		"Too many levels"},
	{"root as file", {{"./", '0', .data = "x"}, {"x"}}, NULL},
	{"root as link", {{".", '2', .link = "/etc"}}, "the root is no directory"},
	{"root as hard link", {{"/", '1', .link = "x"}}, "the root is no directory"},
	{"whiteout of nothing", {{".wh."}}, "a whiteout of \"\""},
	{"whiteout of itself", {{"d/.wh.."}}, "a whiteout of \".\""},
	{"whiteout of the parent", {{"d/.wh..."}}, "a whiteout of \"..\""},
	{"user too large", {{"f", '0', 0644, 65536}},
		"entry f: owner 65536:0 is outside of the range"},
	{"group too large", {{"d/", '5', 0755, 0, 70000}}, "owner 0:70000 is outside"},
	{"user negative", {{"f", .pax = {"uid=-1"}}}, "owner"},
	{"user huge", {{"f", .pax = {"uid=4294967296"}}}, "owner 4294967296:0 is no user"},
	{"size negative by pax", {{"f", .data = "x", .pax = {"size=-5"}}}, "negative"},
	{"size too long by pax", {{"f", .data = "x", .pax = {"size=99999"}}}, "runcated"},
	{"size beyond every limit", {{"f", .data = "x", .pax = {"size=9223372036854775807"}}},
		"archive: "},
	{"size beyond our limit", {{"f", .data = "x", .pax = {"size=1099511627776"}}},
		"more than 68719476736 bytes"},
	{"size negative in base 256",
		{{"f", .data = "x", .size = "\377\377\377\377\377\377\377\377\377\377\377\377"}},
		"archive: "},
	{"broken pax header", {{"f", .pax = {"path"}}, {"g"}}, NULL},
	{"pax length that lies", {{"PaxHeader", 'x', .data = "999999 path=x\n"}, {"f"}},
		"archive: "},
	{"name too long", {{"f", .pax = {"path=" LONG_NAME LONG_NAME LONG_NAME LONG_NAME}}},
		"a name of more than 255 bytes"},
};

static void bad_archives_are_refused(void **state)
{
	SCRATCH(state);

	assert_int_equal(mkdirat(s->dir, "outside", 0755), 0);
	for (size_t i = 0; i < array_size(bads); i++) {
		const struct bad *b = &bads[i];
		size_t count = 0;
		while (count < array_size(b->items) && b->items[count].name)
			count++;
		int root = new_root(s);
		struct result result = unpack_items(root, count, b->items, NULL);
		close(root);
		if (!b->error)
			continue; /* either is right, as long as nothing breaks */
		if (result.r >= 0)
			fail_msg("%s: unpacked", b->what);
		if (!strstr(result.err.text, b->error))
			fail_msg("%s: %s", b->what, result.err.text);
	}
	/* store, outside, root: nothing else has appeared. */
	assert_int_equal(count_entries(s->dir, "."), 3);
}

static void links_lead_nowhere_outside(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {
		{"abs", '2', .link = "/outside"},
		{"abs/one", .data = "1"},
		{"rel", '2', .link = "../../../../outside"},
		{"rel/two", .data = "2"},
		{"dangling", '2', .link = "/made/on/demand"},
		{"dangling/three", .data = "3"},
		{"leaf", '2', .link = "/outside/victim"},
		{"leaf", .data = "replaced"},
		{"dir", '2', .link = "/outside"},
		{"dir/", '5', 0700},
	};
	int root = new_root(s);

	assert_int_equal(mkdirat(s->dir, "outside", 0755), 0);
	write_file(s->dir, "outside/victim", "victim");
	struct result result = UNPACK(root, items);
	assert_unpacked(result);
	assert_int_equal(count_entries(s->dir, "outside"), 1);
	assert_string_equal(read_file(s->dir, "outside/victim"), "victim");
	assert_string_equal(read_file(root, "outside/one"), "1");
	assert_string_equal(read_file(root, "outside/two"), "2");
	assert_string_equal(read_file(root, "made/on/demand/three"), "3");
	assert_string_equal(read_file(root, "leaf"), "replaced");
	assert_string_equal(type_of(root, "dir"), "d");
	close(root);
}

static void cut_archives_are_refused(void **state)
{
	SCRATCH(state);
	static const struct item item = {
		"f", '0', 0644, .pax = {"mtime=1.5"}, .data = "0123456789"};
	cleanup(buf_done) struct buf tar = {0};
	size_t whole;

	add(&tar, &item);
	whole = tar.len;
	end(&tar);
	for (size_t n = 1; n < whole; n += 61) {
		int root = new_root(s);
		struct result result = unpack_bytes(root, str_slice(buf_str(&tar), 0, n), NULL);
		/* At the edge of the extended header nothing is missing but the entry. */
		if (result.r == 0)
			fail_msg("%zu of %zu bytes: unpacked", n, whole);
		close(root);
	}
	int root = new_root(s);
	assert_unpacked(unpack_bytes(root, str_slice(buf_str(&tar), 0, whole), NULL));
	assert_unpacked(unpack_bytes(root, STR(""), NULL));
	assert_true(unpack_bytes(root, STR("this is no archive"), NULL).r < 0);
	close(root);
}

static void what_follows_the_end_is_read_and_ignored(void **state)
{
	SCRATCH(state);
	static const struct item item = {"f", .data = "f"};
	static const struct item late = {"late", .data = "late"};
	cleanup(buf_done) struct buf tar = {0};
	int root = new_root(s);

	add(&tar, &item);
	end(&tar);
	add(&tar, &late);
	for (int i = 0; i < 100000; i++)
		buf_add_text(&tar, "trailing");
	struct result result = unpack_bytes(root, buf_str(&tar), NULL);
	assert_unpacked(result);
	assert_int_equal(result.stats.read, tar.len);
	assert_int_equal(count_entries(root, "."), 1);
	close(root);
}

/* ---- Limits ---- */

static void limits_hold(void **state)
{
	SCRATCH(state);
	static const struct {
		struct layer_limits limits;
		struct item items[3];
		const char *error; /* NULL: just fits */
	} table[] = {
		{{.entries = 2}, {{"a"}, {"b"}}, NULL},
		{{.entries = 2}, {{"a"}, {"b"}, {"c"}}, "more than 2 entries"},
		{{.entries = 10}, {{"a/b/c/d/e/f/g/h/i/j/k"}, {"x"}}, "more than 10 entries"},
		{{.bytes = 8}, {{"a", .data = "1234"}, {"b", .data = "1234"}}, NULL},
		{{.bytes = 8}, {{"a", .data = "1234"}, {"b", .data = "12345"}},
			"more than 8 bytes"},
		{{.depth = 3}, {{"a/b/c"}}, NULL},
		{{.depth = 3}, {{"a/b/c/d"}}, "more than 3 directories"},
		{{.path = 10}, {{"abcd/efghi"}}, NULL},
		{{.path = 10}, {{"abcd/efghij"}}, "more than 10 bytes"},
		{{.path = 10}, {{"l", '2', .link = "0123456789"}}, "10 bytes or longer"},
		{{.xattr_bytes = 20}, {{"a", .pax = {"SCHILY.xattr.user.a=0123456789"}}}, NULL},
		{{.xattr_bytes = 20},
			{{"a", .pax = {"SCHILY.xattr.user.a=0123456789",
				       "SCHILY.xattr.user.b=0123456789"}}},
			"more than 20 bytes"},
	};

	for (size_t i = 0; i < array_size(table); i++) {
		const struct layer_unpack_options options = {.limits = table[i].limits};
		size_t count = 0;
		while (count < array_size(table[i].items) && table[i].items[count].name)
			count++;
		int root = new_root(s);
		struct result result = unpack_items(root, count, table[i].items, &options);
		close(root);
		if ((result.r < 0) != (table[i].error != NULL))
			fail_msg("row %zu: %d %s", i, result.r, result.err.text);
		if (table[i].error && !strstr(result.err.text, table[i].error))
			fail_msg("row %zu: %s", i, result.err.text);
	}
}

/* A special header is read as a whole: its size is limited before. */
static void a_huge_pax_header_is_refused(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, records = {0}, value = {0};
	const struct item x = {.name = "PaxHeader", .type = 'x'};
	static const struct item f = {"f"};
	int root = new_root(s);

	buf_add_text(&value, "comment=");
	for (int i = 0; i < 300000; i++)
		buf_add_text(&value, "12345678");
	add_record(&records, value.data, value.len);
	add_header(&tar, &x, records.len);
	buf_add_str(&tar, buf_str(&records));
	pad(&tar);
	add(&tar, &f);
	end(&tar);
	struct result result = unpack_bytes(root, buf_str(&tar), NULL);
	assert_true(result.r < 0);
	close(root);
}

static void sparse_files_keep_their_holes(void **state)
{
	SCRATCH(state);
	/* GNU sparse 1.0: the map (one block at 1 MiB, and the end) is in front of the data. */
	static const char map[] = "2\n1048576\n4\n2097152\n0\n";
	cleanup(buf_done) struct buf tar = {0}, records = {0};
	const struct item x = {.name = "PaxHeader", .type = 'x'};
	const struct item f = {.name = "GNUSparseFile.0/f", .mode = 0644};
	static const char *const texts[] = {"GNU.sparse.major=1", "GNU.sparse.minor=0",
		"GNU.sparse.name=sparse", "GNU.sparse.realsize=2097152"};
	char content[516] = "";
	struct stat st;
	int root = new_root(s);

	for (size_t i = 0; i < array_size(texts); i++)
		add_record(&records, texts[i], strlen(texts[i]));
	add_header(&tar, &x, records.len);
	buf_add_str(&tar, buf_str(&records));
	pad(&tar);
	snprintf(content, sizeof(content), "%s", map);
	content[512] = 'D';
	add_header(&tar, &f, sizeof(content));
	buf_add(&tar, content, sizeof(content));
	pad(&tar);
	end(&tar);
	struct result result = unpack_bytes(root, buf_str(&tar), NULL);
	assert_unpacked(result);
	assert_int_equal(fstatat(root, "sparse", &st, 0), 0);
	assert_int_equal(st.st_size, 2097152);
	assert_true(st.st_blocks * 512 < 1048576);
	int fd = openat(root, "sparse", O_RDONLY | O_CLOEXEC);
	char data[4];
	assert_int_equal(pread(fd, data, 4, 1048576), 4);
	assert_memory_equal(data, "D\0\0\0", 4);
	close(fd);
	const struct layer_unpack_options options = {.limits = {.bytes = 2000000}};
	result = unpack_bytes(root, buf_str(&tar), &options);
	assert_int_equal(result.r, -ERR_LIMIT);
	close(root);
}

enum { MANY = 100000, LINKS = 50 };

/* One file, then links to it: names cost a disk less than files do. */
static void many_small_entries_take_seconds(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0};
	int root = new_root(s);

	for (int i = 0; i < MANY; i++) {
		char name[32], first[32];
		int group = i / LINKS * LINKS;
		snprintf(name, sizeof(name), "d%d/f%d", i / 1000, i);
		snprintf(first, sizeof(first), "d%d/f%d", group / 1000, group);
		const struct item file = {.name = name, .mode = 0644, .data = "x"};
		const struct item link = {.name = name, .type = '1', .link = first};
		add(&tar, i == group ? &file : &link);
	}
	end(&tar);
	int64_t start = clock_now();
	struct result result = unpack_bytes(root, buf_str(&tar), NULL);
	print_message("%d entries in %.2f s\n", MANY, (double)(clock_now() - start) / 1e9);
	assert_unpacked(result);
	assert_int_equal(count_entries(root, "."), MANY / 1000);
	assert_int_equal(count_entries(root, "d99"), 1000);
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
	int root = new_root(s);

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

/* ---- Confined ---- */

static int count_reports;

static void on_progress(void *arg, const struct layer_unpack_stats *stats)
{
	uint64_t *last = arg;

	assert_true(stats->read >= *last);
	*last = stats->read;
	count_reports++;
}

static int start_confined(struct buf *tar, int root, struct layer_unpacker **ret,
	const struct layer_unpack_options *o)
{
	struct err err = {0};
	int fd = as_file(buf_str(tar));
	int r = layer_unpacker_start(root, fd, o, ret, &err);

	if (r < 0)
		print_message("%s\n", err.text);
	close(fd);
	return r;
}

static void confined_unpacking_reports(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, big = {0};
	uint64_t last = 0;
	const struct layer_unpack_options options = {.progress = on_progress, .arg = &last};
	struct layer_unpack_stats stats;
	int root = new_root(s);

	for (int i = 0; i < 1 << 20; i++)
		buf_add_text(&big, "sixteen bytes...");
	const struct item items[] = {{"F\305\221", .data = big.data},
		{"x", .pax = {"path=caf\303\251"}},
		{"d/hard", '1', .link = "x", .pax = {"linkpath=caf\303\251"}}, {".wh.gone"},
		{"fifo", '6', 0600}, {"null", '3', 0666},
		{"ping", '0', 0755, 9, 9, .pax = {caps}, .pax_size = sizeof(caps)}};
	for (size_t i = 0; i < array_size(items); i++)
		add(&tar, &items[i]);
	end(&tar);
	struct layer_unpacker *u = NULL;
	count_reports = 0;
	assert_int_equal(start_confined(&tar, root, &u, &options), 0);
	assert_true(layer_unpacker_fd(u) >= 0);
	assert_ok(layer_unpacker_finish(u, &stats, &err), &err);
	layer_unpacker_free(u);
	assert_true(count_reports >= 1);
	assert_int_equal(stats.bytes, big.len);
	assert_int_equal(stats.devices, 1);
	assert_int_equal(stats.xattrs, 0);
	assert_string_equal(type_of(root, "gone"), "w");
	assert_string_equal(type_of(root, "fifo"), "p");
	assert_string_equal(type_of(root, "d/hard"), "-");
	close(root);
}

static void confined_errors_come_back(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {{"ok", .data = "ok"}, {"../x"}};
	const struct layer_unpack_options options = {0};
	struct layer_unpack_stats stats;
	int root = new_root(s), pipes[2];
	cleanup(buf_done) struct buf tar = {0};

	for (size_t i = 0; i < array_size(items); i++)
		add(&tar, &items[i]);
	end(&tar);
	struct layer_unpacker *u = NULL;
	assert_int_equal(start_confined(&tar, root, &u, &options), 0);
	assert_int_equal(layer_unpacker_finish(u, &stats, &err), -ERR_INPUT);
	assert_string_equal(err.text, "entry ../x: a name with \"..\"");
	assert_int_equal(stats.entries, 2);
	layer_unpacker_free(u);
	/* Nobody feeds it: it waits, and goes with its handle. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	close(pipes[0]);
	layer_unpacker_free(u);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	close(pipes[1]);
	close(root);
}

/* A line of the only child's /proc/PID/status, or of where its namespace link leads. */
static const char *child_says(const char *what)
{
	static char text[256];
	char path[64], children[64];
	const char *pid = read_file(AT_FDCWD, "/proc/thread-self/children");

	assert_non_null(pid);
	snprintf(children, sizeof(children), "%.*s", (int)strspn(pid, "0123456789"), pid);
	snprintf(path, sizeof(path), "/proc/%s/status", children);
	const char *status = read_file(AT_FDCWD, path);
	const char *line = status ? strstr(status, what) : NULL;
	snprintf(text, sizeof(text), "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
	return text;
}

static void read_child_link(const char *name, char *to, size_t size)
{
	char path[64];
	const char *pid = read_file(AT_FDCWD, "/proc/thread-self/children");

	assert_non_null(pid);
	snprintf(path, sizeof(path), "/proc/%.*s/%s", (int)strspn(pid, "0123456789"), pid, name);
	ssize_t n = readlink(path, to, size - 1);
	assert_true(n > 0);
	to[n] = '\0';
}

/* What the child has given up, by what the kernel says of it. */
static void the_child_is_confined(void **state)
{
	SCRATCH(state);
	const struct layer_unpack_options options = {0};
	const struct timespec nap = {.tv_nsec = 5000000};
	struct layer_unpacker *u = NULL;
	char ours[64] = "", theirs[64] = "";
	int root = new_root(s), pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	/* Capabilities go last but one; five seconds are plenty. */
	static const char mask[] = "CapEff:\t000000008800001b";
	for (int i = 0; i < 1000 && strcmp(child_says("CapEff:"), mask) != 0; i++)
		nanosleep(&nap, NULL);
	assert_string_equal(child_says("CapEff:"), mask);
	assert_string_equal(child_says("CapPrm:"), "CapPrm:\t000000008800001b");
	assert_string_equal(child_says("NoNewPrivs:"), "NoNewPrivs:\t1");
	assert_true(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1) > 0);
	read_child_link("ns/net", theirs, sizeof(theirs));
	assert_string_not_equal(ours, theirs);
	layer_unpacker_free(u);
	close(pipes[0]);
	close(pipes[1]);
	close(root);
}

static int feed_slowly_and_die(void *arg)
{
	struct scratch *s = arg;
	const struct layer_unpack_options options = {0};
	struct layer_draft *draft = NULL;
	struct layer_unpacker *u = NULL;
	struct err err = {0};
	int pipes[2];
	static const struct item item = {"f", .data = "f"};
	cleanup(buf_done) struct buf tar = {0};

	add(&tar, &item);
	if (layer_begin(s->store, NULL, &draft, &err) < 0 || pipe2(pipes, O_CLOEXEC) < 0 ||
		layer_unpacker_start(layer_draft_fs(draft), pipes[0], &options, &u, &err) < 0)
		return 1;
	if (write(pipes[1], tar.data, tar.len) != (ssize_t)tar.len)
		return 2;
	while (!*type_of(layer_draft_fs(draft), "f")) {
		struct pollfd report = {.fd = layer_unpacker_fd(u), .events = POLLIN};
		if (poll(&report, 1, 1) == 1 && layer_unpacker_step(u, &err) != LAYER_E_BUSY)
			return 3; /* it gave up */
	}
	raise(SIGKILL);
	return 4;
}

static void a_kill_in_the_midst_leaves_only_trash(void **state)
{
	SCRATCH(state);
	struct layer_store *again = NULL;

	assert_int_equal(in_child(feed_slowly_and_die, s), 256 + SIGKILL);
	int fd = openat(s->dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(layer_store_open(fd, LAYER_WRITE, &again, &err), &err);
	close(fd);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
	assert_int_equal(count_entries(s->dir, "store/layers"), 0);
	assert_ok(layer_tidy(again, &err), &err);
	layer_store_close(again);
}

static void processor_time_is_limited(void **state)
{
	SCRATCH(state);
	const struct layer_unpack_options options = {.limits = {.cpu_seconds = 1}};
	int root = new_root(s), pipes[2];
	cleanup(buf_done) struct buf tar = {0};
	struct layer_unpacker *u = NULL;

	/* Something that never ends and costs no disk: what follows the archive. */
	for (int i = 0; i < 256; i++)
		end(&tar);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	close(pipes[0]);
	pid_t feeder = fork();
	if (feeder == 0) {
		while (write(pipes[1], tar.data, tar.len) > 0)
			;
		_exit(0);
	}
	close(pipes[1]);
	int r = layer_unpacker_finish(u, NULL, &err);
	layer_unpacker_free(u);
	kill(feeder, SIGKILL);
	waitpid(feeder, NULL, 0);
	assert_int_equal(r, -ERR_LIMIT);
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
		WITH_SCRATCH(bad_archives_are_refused),
		WITH_SCRATCH(links_lead_nowhere_outside),
		WITH_SCRATCH(cut_archives_are_refused),
		WITH_SCRATCH(what_follows_the_end_is_read_and_ignored),
		WITH_SCRATCH(limits_hold),
		WITH_SCRATCH(a_huge_pax_header_is_refused),
		WITH_SCRATCH(sparse_files_keep_their_holes),
		WITH_SCRATCH(many_small_entries_take_seconds),
		WITH_SCRATCH(plain_archives_are_only_files),
		WITH_SCRATCH(confined_unpacking_reports),
		WITH_SCRATCH(confined_errors_come_back),
		WITH_SCRATCH(the_child_is_confined),
		WITH_SCRATCH(a_kill_in_the_midst_leaves_only_trash),
		WITH_SCRATCH(processor_time_is_limited),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer unpack", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
