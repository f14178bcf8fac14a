/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "image/internal.h"
#include "os/lock.h"

enum { MIN_PREFIX = 4 };

int image_store_open(int dirfd, struct image_store **ret, struct err *err)
{
	int own = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);

	if (own < 0)
		return err_sys(err, "open image store");
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->dir = own;
	return 0;
}

void image_store_free(struct image_store *store)
{
	if (!store)
		return;
	close(store->dir);
	free(store);
}

static int make_dir(int parent, const char *name, struct err *err)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make directory %s of the image store", name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open directory %s of the image store", name) : fd;
}

int store_dir_make(const struct image_store *store, const char *name, struct err *err)
{
	cleanup_close int images = make_dir(store->dir, "images", err);

	return images < 0 ? images : make_dir(images, name, err);
}

int store_dir_find(const struct image_store *store, const char *name, int *ret_fd, struct err *err)
{
	char path[64];

	snprintf(path, sizeof(path), "images/%s", name);
	int fd = openat(store->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? IMAGE_E_ABSENT
				       : err_sys(err, "open directory %s of the image store", name);
	*ret_fd = fd;
	return 0;
}

int store_lock(const struct image_store *store, int *ret_lock, struct err *err)
{
	cleanup_close int images = make_dir(store->dir, "images", err);

	return images < 0 ? images : lock_take(images, "lock", LOCK_EXCLUSIVE, 1, ret_lock, err);
}

/* ---- Finding ---- */

struct prefix_search {
	struct str hex;
	struct digest found;
	size_t count;
};

static int match_prefix(void *arg, const struct digest *id, struct err *err)
{
	struct prefix_search *search = arg;
	char hex[DIGEST_HEX_SIZE];

	(void)err;
	if (str_starts(str_of(digest_hex(id, hex)), search->hex)) {
		search->found = *id;
		search->count++;
	}
	return 0;
}

static bool is_id_prefix(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	return s.n >= MIN_PREFIX && s.n < DIGEST_HEX_SIZE;
}

static int find_prefix(
	struct image_store *store, struct str hex, struct digest *ret, struct err *err)
{
	struct prefix_search search = {.hex = hex};
	int r = record_each(store, match_prefix, &search, err);

	if (r < 0)
		return r;
	if (search.count > 1)
		return err_set(err, ERR_INPUT, "image id %.*s is ambiguous: %zu images begin so",
			STR_ARG(hex), search.count);
	*ret = search.found;
	return search.count ? 0 : IMAGE_E_ABSENT;
}

struct found {
	struct digest id;
	const char *name; /* by which it was found, or NULL */
};

/* What a text means. The record need not be there. */
static int resolve(struct image_store *store, struct arena *a, struct str text, struct found *ret,
	struct err *err)
{
	struct oci_reference ref;
	struct err no_name = {0};

	ret->name = NULL;
	if (str_starts(text, STR("sha256:"))) {
		struct str hex = str_from_index(text, strlen("sha256:"));
		return is_id_prefix(hex) ? find_prefix(store, hex, &ret->id, err) : IMAGE_E_ABSENT;
	}
	if (oci_reference_parse(a, text, &ref, &no_name) == 0) {
		ret->name = name_of(a, &ref);
		int r = name_load(store, ret->name, &ret->id, err);
		if (r != IMAGE_E_ABSENT)
			return r;
		ret->name = NULL;
	}
	if (is_id_prefix(text))
		return find_prefix(store, text, &ret->id, err);
	if (no_name.kind == ERR_NONE)
		return IMAGE_E_ABSENT;
	*err = no_name;
	return -(int)err->kind;
}

int image_find(struct image_store *store, struct arena *a, struct str text,
	struct image_record *ret, struct err *err)
{
	struct found found;
	int r = resolve(store, a, text, &found, err);

	return r == 0 ? record_load(store, a, &found.id, ret, err) : r;
}

static void add_names(
	struct arena *a, const struct image_name *names, size_t count, struct image_record *record)
{
	for (size_t i = 0; i < count; i++) {
		if (!digest_eq(&names[i].id, &record->id))
			continue;
		oci_list_add(a,
			name_is_digest(names[i].name) ? &record->repo_digests : &record->names,
			str_of(names[i].name));
	}
}

int image_names(
	struct image_store *store, struct arena *a, struct image_record *record, struct err *err)
{
	struct image_name *names;
	size_t count;
	int r = name_list(store, a, &names, &count, err);

	record->names = record->repo_digests = (struct oci_list){0};
	if (r == 0)
		add_names(a, names, count, record);
	return r;
}

struct listing {
	struct image_store *store;
	struct arena *arena;
	struct image_record *records;
	size_t count, cap;
};

static int list_record(void *arg, const struct digest *id, struct err *err)
{
	struct listing *list = arg;

	list->records = arena_grow(
		list->arena, list->records, list->count, &list->cap, sizeof(*list->records));
	struct image_record *record = &list->records[list->count];
	*record = (struct image_record){0};
	int r = record_load(list->store, list->arena, id, record, err);
	if (r == 0)
		list->count++;
	return r < 0 ? r : 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct image_record *record_a = a, *record_b = b;
	int order = strcmp(record_b->added, record_a->added);

	return order ? order
		     : memcmp(record_a->id.bytes, record_b->id.bytes, sizeof(record_a->id.bytes));
}

int image_list(struct image_store *store, struct arena *a, struct image_record **ret,
	size_t *ret_count, struct err *err)
{
	struct listing list = {.store = store, .arena = a};
	struct image_name *names = NULL;
	size_t name_count = 0;
	int r = record_each(store, list_record, &list, err);

	if (r == 0)
		r = name_list(store, a, &names, &name_count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		add_names(a, names, name_count, &list.records[i]);
	if (list.count)
		qsort(list.records, list.count, sizeof(*list.records), newest_first);
	*ret = list.records;
	*ret_count = list.count;
	return 0;
}

/* ---- Changing ---- */

int image_save(struct image_store *store, struct image_record *record, struct err *err)
{
	cleanup_close int lock = -1;
	int r = store_lock(store, &lock, err);

	if (r < 0)
		return r;
	record->id = digest_of(record->config.p, record->config.n);
	r = record_write(store, record, err);
	for (size_t i = 0; r == 0 && i < record->repo_digests.count; i++)
		r = name_write(store, record->repo_digests.items[i], &record->id, err);
	return r < 0 ? err_wrap(err, "save image") : 0;
}

int image_tag(struct image_store *store, const struct oci_reference *name, const struct digest *id,
	struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int lock = -1;
	struct oci_reference tag = *name;
	struct image_record record;
	struct digest old;
	char text[DIGEST_TEXT_SIZE];

	if (!name->tag)
		return err_set(err, ERR_INPUT, "%s has no tag to give to an image", name->text);
	tag.has_digest = false;
	int r = name_load(store, name_of(&a, &tag), &old, err);
	if (r < 0 || (r == 0 && digest_eq(&old, id)))
		return r;
	r = store_lock(store, &lock, err);
	if (r == 0)
		r = record_load(store, &a, id, &record, err);
	if (r == IMAGE_E_ABSENT)
		return err_set(err, ERR_MISSING, "tag %s: there is no image %s", name->text,
			digest_text(id, text));
	return r == 0 ? name_write(store, name_of(&a, &tag), id, err) : r;
}

/* The names to remove: the one, or all when none with a tag would be left. */
static void choose_names(struct arena *a, const struct image_record *record, const char *only,
	struct image_removed *ret)
{
	size_t left = record->names.count;

	if (only && !name_is_digest(only))
		left--;
	if (only && left) {
		oci_list_add(a, &ret->names, str_of(only));
		return;
	}
	for (size_t i = 0; i < record->names.count; i++)
		oci_list_add(a, &ret->names, str_of(record->names.items[i]));
	for (size_t i = 0; i < record->repo_digests.count; i++)
		oci_list_add(a, &ret->names, str_of(record->repo_digests.items[i]));
	ret->record = true;
}

static int remove_chosen(
	struct image_store *store, const struct image_removed *chosen, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < chosen->names.count; i++)
		r = name_remove(store, chosen->names.items[i], err);
	if (r == 0 && chosen->record)
		r = record_remove(store, &chosen->id, err);
	return r;
}

int image_remove(struct image_store *store, struct arena *a, struct str text, bool force,
	struct image_removed *ret, struct err *err)
{
	cleanup_close int lock = -1;
	struct image_record record = {0};
	struct image_removed chosen = {0};
	struct found found;
	int r = store_lock(store, &lock, err);

	if (r == 0)
		r = resolve(store, a, text, &found, err);
	if (r != 0)
		return r;
	/* A name without its record can be removed all the same. */
	record.id = chosen.id = found.id;
	r = image_names(store, a, &record, err);
	if (r < 0)
		return r;
	if (!found.name && record.names.count > 1 && !force) {
		(void)err_set(err, ERR_BUSY, "image %.*s has %zu names, %s among them",
			STR_ARG(text), record.names.count, record.names.items[0]);
		return err_hint(err, "remove the names one by one, or use --force");
	}
	choose_names(a, &record, found.name, &chosen);
	r = remove_chosen(store, &chosen, err);
	if (r == 0)
		*ret = chosen;
	return r;
}
