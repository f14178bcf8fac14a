/* SPDX-License-Identifier: Apache-2.0 */
#include "store/test_scene.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "os/dir.h"
#include "os/file.h"

static char scene_path[] = "/tmp/spaceport-store-XXXXXX";

int scene_new(void **state)
{
	struct scene *s = xcalloc(1, sizeof(*s));
	struct err err = {0};

	memset(scene_path + strlen(scene_path) - 6, 'X', 6);
	assert_non_null(mkdtemp(scene_path));
	s->store.data = s->store.dir = open(scene_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->store.dir >= 0);
	assert_ok(layer_store_open(s->store.dir, LAYER_WRITE, &s->layers, &err), &err);
	assert_ok(image_store_open(s->store.dir, &s->images, &err), &err);
	s->store.layers = s->layers;
	s->store.images = s->images;
	*state = s;
	return 0;
}

int scene_gone(void **state)
{
	struct scene *s = *state;
	struct err err = {0};

	layer_store_close(s->layers);
	image_store_free(s->images);
	close(s->store.dir);
	free(s);
	return dir_remove_tree(AT_FDCWD, scene_path, &err) < 0;
}

struct layer_key key_number(unsigned n)
{
	struct digest d = digest_of(&n, sizeof(n));

	return layer_key_of(&d);
}

static void set_age(struct scene *s, const struct layer_key *key, int age)
{
	cleanup_free char *path = xprintf("layers/%s/meta", key->hex);
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = time(NULL) - age}};

	assert_int_equal(utimensat(s->store.dir, path, times, 0), 0);
}

void make_layer(struct scene *s, unsigned number, unsigned parent, unsigned kib, int age)
{
	const size_t size = (size_t)kib * 1024;
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	cleanup_free char *bytes = xcalloc(size + 1, 1);
	const struct layer_key key = key_number(number), below = key_number(parent);
	const struct layer_info info = {.kind = LAYER_STEP};
	struct err err = {0};

	memset(bytes, (int)number, size);
	assert_ok(layer_begin(s->layers, parent ? &below : NULL, &draft, &err), &err);
	assert_ok(file_replace(layer_draft_fs(draft), "file", str_from(bytes, size), 0644, &err),
		&err);
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	set_age(s, &key, age);
}

bool has_layer(const struct scene *s, unsigned number)
{
	const struct layer_key key = key_number(number);

	return layer_has(s->layers, &key);
}
