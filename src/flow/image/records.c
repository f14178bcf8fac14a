/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/internal.h"
#include "os/clock.h"
#include "os/file.h"
#include "json/json.h"

/* A configuration of at most 8 MiB as a JSON string: every byte of it may need an escape. */
#define RECORD_MAX_BYTES ((size_t)50 << 20)

#define FILE_SUFFIX ".json"

static const char *const origin_names[] = {
	[IMAGE_PULLED] = "pulled", [IMAGE_BUILT] = "built", [IMAGE_IMPORTED] = "imported"};

const char *image_origin_name(enum image_origin origin)
{
	return origin_names[origin];
}

static bool find_origin(const char *name, enum image_origin *ret)
{
	for (size_t i = 0; i < array_size(origin_names); i++) {
		if (strcmp(name, origin_names[i]) != 0)
			continue;
		*ret = (enum image_origin)i;
		return true;
	}
	return false;
}

struct file_name {
	char text[DIGEST_HEX_SIZE + sizeof(FILE_SUFFIX)];
};

static struct file_name file_name_of(const struct digest *id)
{
	struct file_name name;
	char hex[DIGEST_HEX_SIZE];

	snprintf(name.text, sizeof(name.text), "%s" FILE_SUFFIX, digest_hex(id, hex));
	return name;
}

static int parse_layers(
	struct arena *a, const struct json *root, struct oci_list *ret, struct err *err)
{
	const struct json *layers = NULL;
	int r = json_get_array(root, "layers", &layers, err);

	for (size_t i = 0; r == 0 && i < json_count(layers); i++) {
		const struct json *item = json_item(layers, i);
		r = json_expect(item, JSON_KIND_STRING, err);
		if (r == 0)
			oci_list_add(a, ret, str_of(json_text(item)));
	}
	return r;
}

static int parse(struct arena *a, struct str text, struct image_record *ret, struct err *err)
{
	const struct json *root = NULL;
	const char *origin = "";
	int r = json_parse(a, text, RECORD_MAX_BYTES, &root, err);

	if (r == 0)
		r = json_get_text(root, "origin", &origin, err);
	if (r == 0 && !find_origin(origin, &ret->origin))
		r = err_set(err, ERR_INPUT, "origin %s is unknown", origin);
	if (r == 0)
		r = json_get_text(root, "added", &ret->added, err);
	if (r == 0)
		r = json_get_u64(root, "size", &ret->size, err);
	if (r == 0)
		r = json_get_str(root, "config", &ret->config, err);
	if (r == 0)
		r = parse_layers(a, root, &ret->layers, err);
	return r;
}

int record_load(const struct image_store *store, struct arena *a, const struct digest *id,
	struct image_record *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct image_record record = {0};
	struct file_name name = file_name_of(id);
	struct err unread = {0};
	cleanup_close int dir = -1;
	int r = store_dir_find(store, "records", &dir, err);

	if (r != 0)
		return r;
	r = file_read(dir, name.text, RECORD_MAX_BYTES, &text, &unread);
	if (r == -ERR_MISSING)
		return IMAGE_E_ABSENT;
	if (r < 0) {
		*err = unread;
		return err_wrap(err, "image record");
	}
	/* A record that was torn is no record. */
	if (parse(a, buf_str(&text), &record, &unread) < 0)
		return IMAGE_E_ABSENT;
	record.id = digest_of(record.config.p, record.config.n);
	if (!digest_eq(&record.id, id))
		return IMAGE_E_ABSENT;
	*ret = record;
	return 0;
}

static void print(const struct image_record *record, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);
	char now[32];

	json_begin_object(&w);
	json_add_text(&w, "origin", image_origin_name(record->origin));
	json_add_text(&w, "added", record->added ? record->added : clock_iso(now));
	json_add_u64(&w, "size", record->size);
	json_key(&w, "layers");
	json_begin_array(&w);
	for (size_t i = 0; i < record->layers.count; i++)
		json_put_text(&w, record->layers.items[i]);
	json_end_array(&w);
	json_add_str(&w, "config", record->config);
	json_end_object(&w);
	json_line(&w);
}

static bool has_same_layers(const struct image_record *a, const struct image_record *b)
{
	if (a->layers.count != b->layers.count)
		return false;
	for (size_t i = 0; i < a->layers.count; i++)
		if (strcmp(a->layers.items[i], b->layers.items[i]) != 0)
			return false;
	return true;
}

int record_write(
	const struct image_store *store, const struct image_record *record, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf text = {0};
	struct image_record old = {0};
	struct file_name name = file_name_of(&record->id);

	/*
	 * A build and a pull can lead to the same configuration by different layers; the newest
	 * are those that are known to be there.
	 */
	int r = record_load(store, &a, &record->id, &old, err);
	if (r < 0 || (r == 0 && has_same_layers(&old, record)))
		return r;
	cleanup_close int dir = store_dir_make(store, "records", err);
	if (dir < 0)
		return dir;
	print(record, &text);
	r = file_replace(dir, name.text, buf_str(&text), 0600, err);
	return r < 0 ? err_wrap(err, "image record") : 0;
}

int record_remove(const struct image_store *store, const struct digest *id, struct err *err)
{
	struct file_name name = file_name_of(id);
	cleanup_close int dir = -1;
	int r = store_dir_find(store, "records", &dir, err);

	if (r == 0 && unlinkat(dir, name.text, 0) < 0 && errno != ENOENT)
		r = err_sys(err, "remove image record %s", name.text);
	return r < 0 ? r : 0;
}

/* The id that a file name in records/ stands for; temporary files and the like are none. */
static bool parse_file_name(const char *name, struct digest *ret)
{
	struct str s = str_of(name);
	char text[DIGEST_TEXT_SIZE];

	if (!str_ends(s, STR(FILE_SUFFIX)) || s.n != DIGEST_HEX_SIZE - 1 + strlen(FILE_SUFFIX))
		return false;
	snprintf(text, sizeof(text), "sha256:%.64s", name);
	return digest_parse(str_of(text), ret);
}

int record_each(const struct image_store *store,
	int (*each)(void *arg, const struct digest *id, struct err *err), void *arg,
	struct err *err)
{
	struct digest id;
	struct dirent *entry;
	int fd = -1, r = store_dir_find(store, "records", &fd, err);

	if (r != 0)
		return r < 0 ? r : 0;
	cleanup_closedir DIR *dir = fdopendir(fd);
	if (!dir) {
		r = err_sys(err, "read image records");
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)))
		if (parse_file_name(entry->d_name, &id))
			r = each(arg, &id, err);
	if (r == 0 && errno)
		r = err_sys(err, "read image records");
	return r;
}

void record_layers(struct arena *a, const struct image_layer_sink *sink,
	const struct oci_config *config, struct image_record *record)
{
	for (size_t i = 0; i < config->diff_ids.count; i++) {
		cleanup(buf_done) struct buf key = {0};
		struct digest diff_id = {0};
		/* oci_config_parse() has seen to it that they are digests. */
		if (digest_parse(str_of(config->diff_ids.items[i]), &diff_id))
			sink->key(sink->arg, &diff_id, &key);
		oci_list_add(a, &record->layers, buf_str(&key));
	}
	if (sink->announce) {
		struct digest id = digest_of(record->config.p, record->config.n);
		sink->announce(sink->arg, &id);
	}
}
