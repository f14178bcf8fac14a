/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "image/internal.h"
#include "os/clock.h"
#include "os/file.h"
#include "json/json.h"

enum { NAME_MAX_BYTES = 4096 };

/* Names are hashed: they hold slashes, and may be longer than a file name. */
struct file_name {
	char text[DIGEST_HEX_SIZE + 5];
};

static struct file_name file_name_of(const char *name)
{
	struct digest hash = digest_of(name, strlen(name));
	struct file_name ret;
	char hex[DIGEST_HEX_SIZE];

	snprintf(ret.text, sizeof(ret.text), "%s.json", digest_hex(&hash, hex));
	return ret;
}

const char *name_of(struct arena *a, const struct oci_reference *ref)
{
	char digest[DIGEST_TEXT_SIZE];

	if (ref->has_digest)
		return arena_printf(a, "%s/%s@%s", ref->registry, ref->repository,
			digest_text(&ref->digest, digest));
	return arena_printf(a, "%s/%s:%s", ref->registry, ref->repository, ref->tag);
}

static int parse(struct arena *a, struct str text, struct image_name *ret, struct err *err)
{
	const struct json *root = NULL;
	struct str image = {0};
	int r = json_parse(a, text, NAME_MAX_BYTES, &root, err);

	if (r == 0)
		r = json_get_text(root, "name", &ret->name, err);
	if (r == 0)
		r = json_get_str(root, "image", &image, err);
	if (r == 0 && !digest_parse(image, &ret->id))
		r = err_set(err, ERR_INPUT, "image is no digest");
	return r;
}

/* IMAGE_E_ABSENT for a file that is not there or was torn. */
static int load_file(
	int dir, const char *file, struct arena *a, struct image_name *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct err unread = {0};
	int r = file_read(dir, file, NAME_MAX_BYTES, &text, &unread);

	if (r == -ERR_MISSING || r == -ERR_LIMIT)
		return IMAGE_E_ABSENT;
	if (r < 0) {
		*err = unread;
		return err_wrap(err, "image name");
	}
	return parse(a, buf_str(&text), ret, &unread) < 0 ? IMAGE_E_ABSENT : 0;
}

int name_load(
	const struct image_store *store, const char *name, struct digest *ret, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct file_name file = file_name_of(name);
	struct image_name found = {.name = ""};
	cleanup_close int dir = -1;
	int r = store_dir_find(store, "names", &dir, err);

	if (r == 0)
		r = load_file(dir, file.text, &a, &found, err);
	if (r == 0 && strcmp(found.name, name) != 0)
		return IMAGE_E_ABSENT;
	if (r == 0)
		*ret = found.id;
	return r;
}

int name_write(
	const struct image_store *store, const char *name, const struct digest *id, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct json_writer w = json_writer_to(&text);
	struct file_name file = file_name_of(name);
	struct digest old;
	char digest[DIGEST_TEXT_SIZE], now[32];

	int r = name_load(store, name, &old, err);
	if (r < 0 || (r == 0 && digest_eq(&old, id)))
		return r;
	cleanup_close int dir = store_dir_make(store, "names", err);
	if (dir < 0)
		return dir;
	json_begin_object(&w);
	json_add_text(&w, "name", name);
	json_add_text(&w, "image", digest_text(id, digest));
	json_add_text(&w, "since", clock_iso(now));
	json_end_object(&w);
	json_line(&w);
	r = file_replace(dir, file.text, buf_str(&text), 0600, err);
	return r < 0 ? err_wrap(err, "image name %s", name) : 0;
}

int name_remove(const struct image_store *store, const char *name, struct err *err)
{
	struct file_name file = file_name_of(name);
	cleanup_close int dir = -1;
	int r = store_dir_find(store, "names", &dir, err);

	if (r == 0 && unlinkat(dir, file.text, 0) < 0 && errno != ENOENT)
		r = err_sys(err, "remove image name %s", name);
	return r < 0 ? r : 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct image_name *name_a = a, *name_b = b;

	return strcmp(name_a->name, name_b->name);
}

struct names {
	struct image_name *items;
	size_t count, cap;
};

static int list_file(
	int dir, const char *file, struct arena *a, struct names *names, struct err *err)
{
	names->items =
		arena_grow(a, names->items, names->count, &names->cap, sizeof(*names->items));
	int r = load_file(dir, file, a, &names->items[names->count], err);
	if (r == 0)
		names->count++;
	return r < 0 ? r : 0;
}

int name_list(const struct image_store *store, struct arena *a, struct image_name **ret,
	size_t *ret_count, struct err *err)
{
	struct names names = {0};
	struct dirent *entry;
	int fd = -1, r = store_dir_find(store, "names", &fd, err);

	*ret = NULL;
	*ret_count = 0;
	if (r != 0)
		return r < 0 ? r : 0;
	cleanup_closedir DIR *dir = fdopendir(fd);
	if (!dir) {
		r = err_sys(err, "read image names");
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			r = list_file(fd, entry->d_name, a, &names, err);
	if (r == 0 && errno)
		r = err_sys(err, "read image names");
	if (r < 0)
		return r;
	if (names.count)
		qsort(names.items, names.count, sizeof(*names.items), compare_names);
	*ret = names.items;
	*ret_count = names.count;
	return 0;
}
