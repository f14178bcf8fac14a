/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/dir.h"
#include "os/file.h"
#include "store/internal.h"

int part_open(
	int data, const char *name, mode_t mode, const struct sandbox_ids *owner, struct err *err)
{
	struct stat st;

	if (mkdirat(data, name, mode) < 0 && errno != EEXIST)
		return err_sys(err, "make %s in the state directory", name);
	cleanup_close int fd = dir_open_beneath(data, name, O_RDONLY | O_DIRECTORY, 0, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", name);
	if (owner && st.st_uid != owner->root_uid &&
		fchown(fd, owner->root_uid, owner->root_gid) < 0)
		return err_sys(err, "give %s to the boxes' root", name);
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return err_sys(err, "change mode of %s", name);
	return take_fd(&fd);
}

static int open_ids(const struct settings *settings, struct sandbox_ids *ret, struct err *err)
{
	cleanup_free char *range = settings->subid_count ? xprintf("%u:%u", settings->subid_base,
								   settings->subid_count)
							 : NULL;

	return sandbox_ids_find(range, ret, err);
}

static int open_parts(struct store *store, struct err *err)
{
	const struct sandbox_ids *owner = store->ids.is_root ? &store->ids : NULL;

	store->data = settings_open_data(store->settings, err);
	if (store->data < 0)
		return store->data;
	store->dir = part_open(store->data, "store", 0700, owner, err);
	if (store->dir < 0)
		return store->dir;
	cleanup_close int scratch = part_open(store->data, "scratch", 0755, NULL, err);
	if (scratch < 0)
		return scratch;
	store->scratch = xprintf("%s/scratch", store->settings->data);
	return 0;
}

int store_open(const struct settings *settings, struct store **ret, struct err *err)
{
	cleanup(store_free) struct store *store = xcalloc(1, sizeof(*store));

	store->data = store->dir = -1;
	store->settings = settings;
	int r = open_ids(settings, &store->ids, err);
	if (r == 0)
		r = open_parts(store, err);
	if (r == 0)
		r = layer_store_open(store->dir, LAYER_READ, &store->layers, err);
	if (r == 0)
		r = image_store_open(store->dir, &store->images, err);
	if (r < 0)
		return r;
	*ret = take_ptr(store);
	return 0;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	layer_store_close(store->layers);
	image_store_free(store->images);
	if (store->data >= 0)
		close(store->data);
	if (store->dir >= 0)
		close(store->dir);
	buf_done(&store->credentials);
	buf_done(&store->ca_bundle);
	free(store->credentials_path);
	free(store->ca_bundle_path);
	free(store->scratch);
	free(store);
}

const struct settings *store_settings(const struct store *store)
{
	return store->settings;
}

const struct sandbox_ids *store_ids(const struct store *store)
{
	return &store->ids;
}

int store_data(const struct store *store)
{
	return store->data;
}

int store_dir(const struct store *store)
{
	return store->dir;
}

const char *store_scratch(const struct store *store)
{
	return store->scratch;
}

struct layer_store *store_layers(struct store *store)
{
	return store->layers;
}

struct image_store *store_images(struct store *store)
{
	return store->images;
}

uint64_t store_image_size(struct store *store, const struct image_record *image)
{
	uint64_t size = 0;

	for (size_t i = 0; i < image->layers.count; i++) {
		struct layer_key key;
		struct layer_meta meta;
		if (!layer_key_parse(str_of(image->layers.items[i]), &key) ||
			layer_meta(store->layers, &key, &meta, NULL) != 0)
			return image->size;
		size += meta.size;
	}
	return size;
}

/* ---- what a box needs of the user's files ---- */

enum { CREDENTIALS_MAX = 1 << 20, CA_BUNDLE_MAX = 8 << 20 };

int store_prepare_box(struct store *store, struct err *err)
{
	const struct settings *settings = store->settings;

	buf_clear(&store->credentials);
	buf_clear(&store->ca_bundle);
	if (settings->credentials && file_read(AT_FDCWD, settings->credentials, CREDENTIALS_MAX,
					     &store->credentials, err) < 0)
		return err_wrap(err, "credentials");
	if (settings->ca_bundle &&
		file_read(AT_FDCWD, settings->ca_bundle, CA_BUNDLE_MAX, &store->ca_bundle, err) < 0)
		return err_wrap(err, "ca_bundle");
	return 0;
}

static int put_in_scratch(
	const char *name, const struct buf *content, char **ret_path, struct err *err)
{
	free(*ret_path);
	*ret_path = xprintf("%s/%s", sandbox_scratch(), name);
	return file_replace(AT_FDCWD, *ret_path, buf_str(content), 0600, err);
}

static int move_into_box(struct store *store, struct err *err)
{
	struct settings *s = &store->box_settings;
	int r = 0;

	*s = *store->settings;
	if (s->credentials)
		r = put_in_scratch(
			"credentials.json", &store->credentials, &store->credentials_path, err);
	if (r == 0 && s->ca_bundle)
		r = put_in_scratch("host-ca.crt", &store->ca_bundle, &store->ca_bundle_path, err);
	s->credentials = s->credentials ? store->credentials_path : NULL;
	s->ca_bundle = s->ca_bundle ? store->ca_bundle_path : NULL;
	store->settings = s;
	return r;
}

/*
 * The descriptor from outside leads to the mounts of the other namespace, on which nothing can
 * be mounted from here: the path is walked again.
 */
static int reopen_dir(struct store *store, struct err *err)
{
	cleanup_free char *path = xprintf("%s/store", store->settings->data);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		(void)err_sys(err, "open %s", path);
		return err_hint(err,
			"builds run as user %u, who must be able to enter every directory "
			"above it: chmod o+x them, or choose another place with "
			"SPACEPORT_DATA",
			(unsigned)store->ids.root_uid);
	}
	close(store->dir);
	store->dir = fd;
	return 0;
}

int store_open_in_box(struct store *store, struct layer_store **ret_layers,
	struct image_store **ret_images, struct err *err)
{
	int r = reopen_dir(store, err);

	if (r == 0)
		r = move_into_box(store, err);
	if (r == 0)
		r = layer_store_open(store->dir, LAYER_WRITE, ret_layers, err);
	return r < 0 ? r : image_store_open(store->dir, ret_images, err);
}

static bool recall(void *arg, struct str name, struct buf *ret)
{
	return layer_memo_get(arg, name, ret, NULL) == 0;
}

static void keep(void *arg, struct str name, struct str value)
{
	ignored(layer_memo_put(arg, name, value, NULL)); /* it is made anew, then */
}

struct sandbox_memory store_memory(struct layer_store *layers)
{
	return (struct sandbox_memory){.get = recall, .put = keep, .arg = layers};
}

/* ---- removing ---- */

static bool has_key(const struct image_record *records, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < records[i].layers.count; k++)
			if (strcmp(records[i].layers.items[k], key) == 0)
				return true;
	return false;
}

/* Layers of a removed image that no other image and no lease mentions. */
static int drop_layers(struct removal *job, struct layer_store *layers, struct image_store *images,
	struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(leased_done) struct leased leased = {0};
	cleanup_close int guard = -1;
	struct image_record *left = NULL;
	size_t count = 0;

	int r = leased_take(job->store->dir, &leased, &guard, err);
	if (r == 0)
		r = image_list(images, &a, &left, &count, err);
	for (size_t i = 0; i < job->keys.count && r == 0; i++) {
		struct layer_key key;
		const char *text = job->keys.items[i];
		if (has_key(left, count, text) || map_find(leased.layers, str_of(text)) ||
			!layer_key_parse(str_of(text), &key) || !layer_has(layers, &key))
			continue;
		r = layer_remove(layers, &key, err);
		job->layers++;
	}
	close(take_fd(&guard));
	return r == 0 ? layer_tidy(layers, err) : r;
}

static int remove_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct removal *job = arg;
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;
	cleanup(arena_done) struct arena a = {0};

	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r == 0)
		r = image_remove(images, &a, job->text, job->force, &job->removed, err);
	if (r == IMAGE_E_ABSENT)
		return err_set(err, ERR_MISSING, "no image %.*s", STR_ARG(job->text));
	if (r == 0 && job->removed.record)
		r = drop_layers(job, layers, images, err);
	if (r == 0)
		removal_tell(job, channel);
	return r;
}

int store_remove(struct store *store, struct arena *a, struct str text, bool force,
	struct store_removed *ret, struct err *err)
{
	struct image_record record;
	struct removal job = {.store = store, .arena = a, .text = text, .force = force};

	int r = image_find(store->images, a, text, &record, err);
	if (r != 0)
		return r;
	job.keys = record.layers;
	const struct sandbox_work work = {.ids = &store->ids,
		.scratch = store->scratch,
		.work = remove_in_box,
		.on_message = removal_hear,
		.arg = &job,
		.cancel_fd = -1};
	r = store_prepare_box(store, err);
	if (r == 0)
		r = sandbox_work_run(&work, err);
	if (r < 0)
		return r;
	*ret = (struct store_removed){.image = job.removed, .layers = job.layers};
	return 0;
}
