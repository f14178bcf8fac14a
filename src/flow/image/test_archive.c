/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/image.h"
#include "image/test_registry.h"
#include "os/dir.h"
#include "os/file.h"

#define OCI "application/vnd.oci.image."

static struct fake fake; /* its content; nothing is served here */
static char path[64];
static char file[80];
static int dir = -1;
static struct image_store *store;
static struct arena arena;
static struct test_sink sink;

static int start(void **state)
{
	(void)state;
	fake_make(&fake);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fake_stop(&fake);
	return 0;
}

static int set_up(void **state)
{
	struct err err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_archive.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	snprintf(file, sizeof(file), "%s/archive", path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sink = (struct test_sink){.dir = dir};
	return image_store_open(dir, &store, &err);
}

static int tear_down(void **state)
{
	struct err err = {0};

	(void)state;
	image_store_free(store);
	arena_done(&arena);
	close(dir);
	return dir_remove_tree(AT_FDCWD, path, &err);
}

/* ---- Writing archives ---- */

struct item {
	const char *name;
	struct str data;
	const char *link;
};

static void write_item(struct archive *a, const struct item *item)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, item->name);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_filetype(entry, item->link ? AE_IFLNK : AE_IFREG);
	if (item->link)
		archive_entry_set_symlink(entry, item->link);
	else
		archive_entry_set_size(entry, (la_int64_t)item->data.n);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	if (item->data.n)
		assert_int_equal(archive_write_data(a, item->data.p, item->data.n),
			(la_ssize_t)item->data.n);
	archive_entry_free(entry);
}

static void write_tar(const struct item *items, bool gzip)
{
	struct archive *a = archive_write_new();

	archive_write_set_format_pax_restricted(a);
	if (gzip)
		archive_write_add_filter_gzip(a);
	assert_int_equal(archive_write_open_filename(a, file), ARCHIVE_OK);
	for (size_t i = 0; items[i].name; i++)
		write_item(a, &items[i]);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

static void write_directory(const struct item *items)
{
	struct err err = {0};

	for (size_t i = 0; items[i].name; i++) {
		cleanup(dir_place_done) struct dir_place place = DIR_PLACE_NONE;
		const char *name = arena_printf(&arena, "archive/%s", items[i].name);
		const struct dir_make make = {.mode = 0755};
		assert_int_equal(dir_find_target(dir, name, &make, &place, &err), 0);
		assert_int_equal(file_replace(place.fd, place.name, items[i].data, 0644, &err), 0);
	}
}

static struct item blob(const struct fake_blob *b)
{
	return (struct item){
		arena_printf(&arena, "blobs/sha256/%s", b->digest + 7), buf_str(&b->data), NULL};
}

/* An OCI layout whose index.json says `type`, `digest` and the annotations of the one image. */
static struct item *oci_items(
	const struct fake_blob *top, const char *type, const char *annotations)
{
	struct item *items = arena_array(&arena, 10, sizeof(*items));
	const char *index = arena_printf(&arena,
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI "%s\",\"size\":%zu,"
		"\"digest\":\"%s\"%s}]}",
		type, top->data.len, top->digest, annotations);

	items[0] = (struct item){"oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), NULL};
	items[1] = (struct item){"./index.json", str_of(index), NULL};
	items[2] = blob(&fake.index);
	items[3] = blob(&fake.manifest);
	items[4] = blob(&fake.config);
	for (size_t i = 0; i < 3; i++)
		items[5 + i] = blob(&fake.layers[i]);
	return items;
}

/* As old dockers wrote it: the second use of a layer is a link. */
static struct item *docker_items(const char *tags)
{
	struct item *items = arena_array(&arena, 10, sizeof(*items));
	const char *manifest = arena_printf(&arena,
		"[{\"Config\":\"config.json\",\"RepoTags\":%s,\"Layers\":[\"l0/layer.tar\","
		"\"l1/layer.tar\",\"l2/layer.tar\",\"l3/layer.tar\"]}]",
		tags);

	for (size_t i = 0; i < 3; i++)
		items[i] = (struct item){
			arena_printf(&arena, "l%zu/layer.tar", i), buf_str(&fake.tars[i]), NULL};
	/* Compressed, which docker never does and nothing forbids. */
	items[1].data = buf_str(&fake.layers[1].data);
	items[3] = (struct item){"l3/layer.tar", {0}, "../l0/layer.tar"};
	items[4] = (struct item){"config.json", buf_str(&fake.config.data), NULL};
	items[5] = (struct item){"manifest.json", str_of(manifest), NULL};
	return items;
}

/* ---- Importing ---- */

static int import(const char *name, struct image_imported *ret, struct err *err)
{
	struct oci_reference ref;
	struct image_source source = {0};
	struct image_layer_sink to = test_sink_of(&sink);
	const struct image_transfer transfer = {.source = &source, .sink = &to};
	struct image_archive archive = {.path = file};

	*err = (struct err){0};
	if (name && oci_reference_parse(&arena, str_of(name), &ref, err) < 0)
		fail_msg("%s", err->text);
	archive.name = name ? &ref : NULL;
	return image_import(store, &arena, &archive, &transfer, ret, err);
}

static struct image_record good(const char *name)
{
	struct image_imported imported = {0};
	struct err err;
	struct digest id = digest_of(fake.config.data.data, fake.config.data.len);

	if (import(name, &imported, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(imported.count, 1);
	for (size_t i = 0; i < FAKE_LAYERS; i++) {
		cleanup(buf_done) struct buf got = {0};
		char hex[DIGEST_HEX_SIZE];
		if (file_read(dir, digest_hex(&fake.diff_ids[i], hex), 1 << 24, &got, &err) < 0)
			fail_msg("layer %zu: %s", i, err.text);
		assert_true(str_eq(buf_str(&got), buf_str(&fake.tars[i])));
	}
	/* So that the next import has something to do. */
	for (size_t i = 0; i < FAKE_LAYERS; i++) {
		char hex[DIGEST_HEX_SIZE];
		unlinkat(dir, digest_hex(&fake.diff_ids[i], hex), 0);
	}
	assert_true(digest_eq(&imported.records[0].id, &id));
	assert_int_equal(imported.records[0].origin, IMAGE_IMPORTED);
	assert_int_equal(imported.records[0].layers.count, FAKE_LAYERS);
	return imported.records[0];
}

static void assert_fails(enum err_kind kind, const char *text)
{
	struct image_imported imported;
	struct err err;
	int r = import(NULL, &imported, &err);

	if (r != -(int)kind || !strstr(err.text, text) || !strstr(err.text, file))
		fail_msg("%d %s\nwanted: %s", r, err.text, text);
}

static void oci_layouts(void **state)
{
	(void)state;
	write_tar(oci_items(&fake.index, "index.v1+json", ""), false);
	assert_int_equal(good("mine:v1").names.count, 1);
	write_tar(oci_items(&fake.manifest, "manifest.v1+json",
			  ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"v7\","
			  "\"io.containerd.image.name\":\"ghcr.io/team/app:v2\"}"),
		true);
	struct image_record record = good(NULL);
	assert_int_equal(record.names.count, 2);
	assert_string_equal(record.names.items[1], "ghcr.io/team/app:v2");
}

static void directory_layout(void **state)
{
	(void)state;
	write_directory(oci_items(&fake.index, "index.v1+json", ""));
	good("mine:v1");
}

static void docker_archives(void **state)
{
	(void)state;
	write_tar(docker_items("[\"app:v1\",\"team/app:latest\"]"), false);
	struct image_record record = good(NULL);
	assert_int_equal(record.names.count, 2);
	assert_string_equal(record.names.items[0], "docker.io/library/app:v1");
	write_tar(docker_items("null"), true);
	good("other:x");
}

static void already_open(void **state)
{
	struct image_source source = {0};
	struct image_layer_sink to = test_sink_of(&sink);
	const struct image_transfer transfer = {.source = &source, .sink = &to};
	struct image_archive archive = {.path = "what the user wrote"};
	struct image_imported imported;
	struct err err;

	(void)state;
	write_tar(docker_items("[]"), false);
	archive.fd = open(file, O_RDONLY | O_CLOEXEC);
	if (image_import(store, &arena, &archive, &transfer, &imported, &err) < 0)
		fail_msg("%s", err.text);
	close(archive.fd);
}

static void damaged_oci_layouts(void **state)
{
	struct item *items = oci_items(&fake.index, "index.v1+json", "");
	char *twisted = arena_alloc(&arena, fake.layers[1].data.len);

	(void)state;
	/* A layer of the right size with another byte in it. */
	memcpy(twisted, fake.layers[1].data.data, fake.layers[1].data.len);
	twisted[fake.layers[1].data.len / 2] ^= 1;
	items[6].data.p = twisted;
	write_tar(items, false);
	assert_fails(ERR_FAILED, "wrong digest or size: expected sha256:");
	items[6] = items[7];
	items[7].name = NULL;
	write_tar(items, false);
	assert_fails(ERR_INPUT, " is missing in it");
	items = oci_items(&fake.index, "index.v1+json", "");
	items[3].data = STR("{}");
	write_tar(items, false);
	assert_fails(ERR_FAILED, "wrong digest or size: expected sha256:");
	write_tar(oci_items(&fake.manifest, "index.v1+json", ""), false);
	assert_fails(ERR_INPUT, "but the document calls itself");
	write_tar(oci_items(&fake.manifest, "manifest.v1+json",
			  ",\"platform\":{\"os\":\"linux\",\"architecture\":\"z80\"}"),
		false);
	assert_fails(ERR_MISSING, "no image for platform linux/");
	write_tar(oci_items(&fake.manifest, "other.v1+json", ""), false);
	assert_fails(ERR_MISSING, "no image for platform linux/");
}

static void damaged_docker_archives(void **state)
{
	struct item *items = docker_items("[]");

	(void)state;
	items[2].data = STR("not the layer");
	write_tar(items, false);
	assert_fails(ERR_FAILED, "the configuration says diff ID sha256:");
	items = docker_items("[]");
	items[3].link = "../../../etc/passwd";
	write_tar(items, false);
	assert_fails(ERR_INPUT, "[0].Layers[3]: l3/layer.tar is not in the archive");
	items[3].link = "layer.tar"; /* itself */
	write_tar(items, false);
	assert_fails(ERR_INPUT, "[0].Layers[3]: l3/layer.tar is not in the archive");
	items[5].data = STR("{}");
	write_tar(items, false);
	assert_fails(ERR_INPUT, "manifest.json: the document: expected an array, found an object");
	items = docker_items("[\"Not A Name\"]");
	write_tar(items, false);
	assert_fails(ERR_INPUT, "image name \"Not A Name\"");
	items = docker_items("[]");
	items[4].data = buf_str(&fake.fewer_config.data);
	write_tar(items, false);
	assert_fails(ERR_INPUT, "its manifest lists 4 layers, its configuration 3");
}

static void other_files(void **state)
{
	struct err err = {0};
	struct image_imported imported;
	struct item *items = docker_items("[]");

	(void)state;
	assert_fails(ERR_MISSING, "No such file");
	assert_int_equal(file_replace(dir, "archive", STR("hello"), 0600, &err), 0);
	assert_fails(ERR_INPUT, "is no tar archive");
	assert_int_equal(file_replace(dir, "archive", STR(""), 0600, &err), 0);
	assert_fails(ERR_INPUT, "is no tar archive");
	items[5].name = NULL;
	write_tar(items, false);
	assert_fails(ERR_INPUT, "is no image archive");
	write_tar(docker_items("[]"), false);
	assert_int_equal(truncate(file, 1000000), 0);
	assert_fails(ERR_INPUT, "Truncated");
	unlink(file);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_fails(ERR_INPUT, "is neither a file nor a directory");
	/* Two images, one name. */
	items = docker_items("[]");
	const char *both = arena_printf(&arena, "[%.*s,%.*s]", (int)items[5].data.n - 2,
		items[5].data.p + 1, (int)items[5].data.n - 2, items[5].data.p + 1);
	items[5].data = str_of(both);
	unlink(file);
	write_tar(items, false);
	assert_int_equal(import("x:y", &imported, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, "2 images are in it"));
	assert_int_equal(import(NULL, &imported, &err), 0);
	assert_int_equal(imported.count, 2);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(oci_layouts),
		test(directory_layout),
		test(docker_archives),
		test(already_open),
		test(damaged_oci_layouts),
		test(damaged_docker_archives),
		test(other_files),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
