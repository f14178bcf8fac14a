/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "layer/test_archive.h"
#include "os/clock.h"

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
		int root = archive_root(s);
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
	int root = archive_root(s);

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

	archive_add(&tar, &item);
	whole = tar.len;
	archive_end(&tar);
	for (size_t n = 1; n < whole; n += 61) {
		int root = archive_root(s);
		struct result result = unpack_bytes(root, str_slice(buf_str(&tar), 0, n), NULL);
		/* At the edge of the extended header nothing is missing but the entry. */
		if (result.r == 0)
			fail_msg("%zu of %zu bytes: unpacked", n, whole);
		close(root);
	}
	int root = archive_root(s);
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
	int root = archive_root(s);

	archive_add(&tar, &item);
	archive_end(&tar);
	archive_add(&tar, &late);
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
		int root = archive_root(s);
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
	int root = archive_root(s);

	buf_add_text(&value, "comment=");
	for (int i = 0; i < 300000; i++)
		buf_add_text(&value, "12345678");
	archive_add_record(&records, value.data, value.len);
	archive_add_header(&tar, &x, records.len);
	buf_add_str(&tar, buf_str(&records));
	archive_pad(&tar);
	archive_add(&tar, &f);
	archive_end(&tar);
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
	int root = archive_root(s);

	for (size_t i = 0; i < array_size(texts); i++)
		archive_add_record(&records, texts[i], strlen(texts[i]));
	archive_add_header(&tar, &x, records.len);
	buf_add_str(&tar, buf_str(&records));
	archive_pad(&tar);
	snprintf(content, sizeof(content), "%s", map);
	content[512] = 'D';
	archive_add_header(&tar, &f, sizeof(content));
	buf_add(&tar, content, sizeof(content));
	archive_pad(&tar);
	archive_end(&tar);
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
	int root = archive_root(s);

	for (int i = 0; i < MANY; i++) {
		char name[32], first[32];
		int group = i / LINKS * LINKS;
		snprintf(name, sizeof(name), "d%d/f%d", i / 1000, i);
		snprintf(first, sizeof(first), "d%d/f%d", group / 1000, group);
		const struct item file = {.name = name, .mode = 0644, .data = "x"};
		const struct item link = {.name = name, .type = '1', .link = first};
		archive_add(&tar, i == group ? &file : &link);
	}
	archive_end(&tar);
	int64_t start = clock_now();
	struct result result = unpack_bytes(root, buf_str(&tar), NULL);
	print_message("%d entries in %.2f s\n", MANY, (double)(clock_now() - start) / 1e9);
	assert_unpacked(result);
	assert_int_equal(count_entries(root, "."), MANY / 1000);
	assert_int_equal(count_entries(root, "d99"), 1000);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(bad_archives_are_refused),
		WITH_SCRATCH(links_lead_nowhere_outside),
		WITH_SCRATCH(cut_archives_are_refused),
		WITH_SCRATCH(what_follows_the_end_is_read_and_ignored),
		WITH_SCRATCH(limits_hold),
		WITH_SCRATCH(a_huge_pax_header_is_refused),
		WITH_SCRATCH(sparse_files_keep_their_holes),
		WITH_SCRATCH(many_small_entries_take_seconds),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer hostile", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
