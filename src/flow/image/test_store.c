/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "image/image.h"
#include "os/dir.h"
#include "os/file.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char path[64];
static int dir = -1;
static struct image_store *store;
static struct arena arena;

static int set_up(void **state)
{
	struct err err = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_store.XXXXXX");
	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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

static struct oci_reference reference(const char *text)
{
	struct oci_reference ref = {0};
	struct err err = {0};

	if (oci_reference_parse(&arena, str_of(text), &ref, &err) < 0)
		fail_msg("%s", err.text);
	return ref;
}

/* An image whose id depends on the user's name only. */
static struct digest save(const char *user, const char *added)
{
	struct image_record record = {.origin = IMAGE_BUILT, .added = added, .size = 7};
	struct err err = {0};

	record.config = str_of(
		arena_printf(&arena, "{\"config\":{\"User\":\"%s\"},\n\t\"x\":\"\\u00e9\"}", user));
	oci_list_add(&arena, &record.layers, STR("key1"));
	oci_list_add(&arena, &record.layers, STR("key2"));
	if (image_save(store, &record, &err) < 0)
		fail_msg("%s", err.text);
	return record.id;
}

static void tag(const char *name, const struct digest *id)
{
	struct oci_reference ref = reference(name);
	struct err err = {0};

	if (image_tag(store, &ref, id, &err) < 0)
		fail_msg("%s", err.text);
}

static int find(const char *text, struct digest *ret)
{
	struct image_record record = {0};
	struct err err = {0};
	int r = image_find(store, &arena, str_of(text), &record, &err);

	*ret = record.id;
	return r;
}

static void assert_found(const char *text, const struct digest *id)
{
	struct digest found;

	if (find(text, &found) != 0 || !digest_eq(&found, id))
		fail_msg("%s does not lead to its image", text);
}

static void assert_absent(const char *text)
{
	struct digest found;

	assert_int_equal(find(text, &found), IMAGE_E_ABSENT);
}

static void empty_store_is_empty(void **state)
{
	struct image_record *records;
	struct image_removed removed;
	struct err err = {0};
	size_t count = 7;

	(void)state;
	assert_absent("python:3.13");
	assert_absent("abcd");
	assert_absent("sha256:" HEX);
	assert_int_equal(image_list(store, &arena, &records, &count, &err), 0);
	assert_int_equal(count, 0);
	/* Reading has made nothing. */
	assert_int_equal(faccessat(dir, "images", F_OK, 0), -1);
	assert_int_equal(
		image_remove(store, &arena, STR("python"), false, &removed, &err), IMAGE_E_ABSENT);
}

static void saved_image_is_found(void **state)
{
	struct digest id = save("me", NULL);
	struct image_record record = {0};
	struct err err = {0};
	char text[DIGEST_TEXT_SIZE], hex[DIGEST_HEX_SIZE];

	(void)state;
	tag("app:v1", &id);
	assert_found("app:v1", &id);
	assert_found("docker.io/library/app:v1", &id);
	assert_absent("app");
	assert_found(digest_text(&id, text), &id);
	assert_found(digest_hex(&id, hex), &id);
	hex[12] = '\0';
	assert_found(hex, &id);
	text[15] = '\0';
	assert_found(text, &id);
	hex[3] = '\0';
	assert_absent(hex);
	assert_int_equal(image_find(store, &arena, STR("app:v1"), &record, &err), 0);
	assert_int_equal(record.origin, IMAGE_BUILT);
	assert_string_equal(image_origin_name(record.origin), "built");
	assert_int_equal(record.layers.count, 2);
	assert_string_equal(record.layers.items[1], "key2");
	assert_string_equal(
		record.config.p, "{\"config\":{\"User\":\"me\"},\n\t\"x\":\"\\u00e9\"}");
	assert_int_equal(record.size, 7);
	assert_int_equal(strlen(record.added), strlen("2026-11-24T21:40:42.123Z"));
}

static void refused_texts(void **state)
{
	struct digest found;
	struct oci_reference by_digest = reference("app@sha256:" HEX);
	struct oci_reference ref = reference("app:v1");
	struct err err = {0};
	struct digest id = digest_of("nobody", 6);

	(void)state;
	assert_int_equal(find("Not A Name", &found), -ERR_INPUT);
	assert_int_equal(image_tag(store, &by_digest, &id, &err), -ERR_INPUT);
	assert_int_equal(image_tag(store, &ref, &id, &err), -ERR_MISSING);
	assert_absent("app:v1");
}

static void ambiguous_prefix(void **state)
{
	struct digest found = {{0}};
	char hex[5] = "";

	/* 65,537 images would surely do; a few hundred share four digits well before. */
	(void)state;
	struct digest ids[600];
	for (unsigned i = 0; i < array_size(ids); i++) {
		char user[20];
		snprintf(user, sizeof(user), "u%u", i);
		ids[i] = save(user, NULL);
	}
	for (size_t i = 0; i < array_size(ids) && !hex[0]; i++)
		for (size_t k = 0; k < i; k++)
			if (memcmp(ids[i].bytes, ids[k].bytes, 2) == 0)
				snprintf(hex, sizeof(hex), "%02x%02x", ids[i].bytes[0],
					ids[i].bytes[1]);
	assert_int_equal(strlen(hex), 4);
	assert_int_equal(find(hex, &found), -ERR_INPUT);
}

static void list_is_newest_first(void **state)
{
	struct digest old = save("old", "2026-01-01T00:00:00.000Z");
	struct digest new = save("new", "2026-02-01T00:00:00.000Z");
	struct image_record *records;
	struct err err = {0};
	size_t count;

	(void)state;
	tag("a:1", &old);
	tag("b:1", &old);
	assert_int_equal(image_list(store, &arena, &records, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_true(digest_eq(&records[0].id, &new));
	assert_int_equal(records[0].names.count, 0);
	assert_int_equal(records[1].names.count, 2);
	assert_string_equal(records[1].names.items[0], "docker.io/library/a:1");
}

static void tag_moves(void **state)
{
	struct digest one = save("one", NULL), two = save("two", NULL);

	(void)state;
	tag("app", &one);
	tag("app", &two);
	assert_found("app", &two);
}

static void repo_digests_are_names(void **state)
{
	struct image_record record = {.config = STR("{}")};
	struct err err = {0};

	(void)state;
	oci_list_add(&arena, &record.repo_digests, STR("docker.io/library/app@sha256:" HEX));
	assert_int_equal(image_save(store, &record, &err), 0);
	tag("app:v1", &record.id);
	assert_found("app@sha256:" HEX, &record.id);
	/* The digest decides, whatever the tag says. */
	assert_found("app:v2@sha256:" HEX, &record.id);
	assert_absent("other@sha256:" HEX);
	assert_int_equal(image_names(store, &arena, &record, &err), 0);
	assert_int_equal(record.names.count, 1);
	assert_int_equal(record.repo_digests.count, 1);
}

static void remove_by_name_and_id(void **state)
{
	struct digest id = save("me", NULL);
	struct image_removed removed = {0};
	struct err err = {0};
	char text[DIGEST_TEXT_SIZE];

	(void)state;
	tag("a:1", &id);
	tag("a:2", &id);
	(void)digest_text(&id, text);
	assert_int_equal(
		image_remove(store, &arena, str_of(text), false, &removed, &err), -ERR_BUSY);
	assert_int_equal(image_remove(store, &arena, STR("a:1"), false, &removed, &err), 0);
	assert_false(removed.record);
	assert_int_equal(removed.names.count, 1);
	assert_absent("a:1");
	assert_found("a:2", &id);
	assert_int_equal(image_remove(store, &arena, STR("a:2"), false, &removed, &err), 0);
	assert_true(removed.record);
	assert_absent(text);

	id = save("me", NULL);
	tag("a:1", &id);
	tag("a:2", &id);
	assert_int_equal(image_remove(store, &arena, str_of(text), true, &removed, &err), 0);
	assert_int_equal(removed.names.count, 2);
	assert_absent("a:1");
	assert_absent(text);
}

static void torn_files_are_absent_and_repaired(void **state)
{
	struct digest id = save("me", NULL), again;
	struct err err = {0};
	char hex[DIGEST_HEX_SIZE], file[200];

	(void)state;
	tag("app:v1", &id);
	snprintf(file, sizeof(file), "%s/images/records/%s.json", path, digest_hex(&id, hex));
	assert_int_equal(truncate(file, 50), 0);
	assert_absent("app:v1");
	again = save("me", NULL);
	assert_true(digest_eq(&again, &id));
	assert_found("app:v1", &id);
	/* A record that says something else than its name. */
	assert_int_equal(file_replace(AT_FDCWD, file,
				 STR("{\"origin\":\"built\",\"added\":\"\",\"size\":0,"
				     "\"layers\":[],\"config\":\"{}\"}"),
				 0600, &err),
		0);
	assert_absent("app:v1");
	assert_absent(hex);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(empty_store_is_empty),
		test(saved_image_is_found),
		test(refused_texts),
		test(ambiguous_prefix),
		test(list_is_newest_first),
		test(tag_moves),
		test(repo_digests_are_names),
		test(remove_by_name_and_id),
		test(torn_files_are_absent_and_repaired),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
