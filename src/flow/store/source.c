/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/number.h"
#include "store/internal.h"

/*
 * Layers on their way out. A layer that a step made is packed against the tree below it,
 * which is mounted for that; one that came from an archive is written as it came.
 */
/* Header and padding of an entry, about. */
enum { TAR_ENTRY_BYTES = 1024 };

struct store_source {
	struct layer_store *layers;
	int scratch;
};

int store_source_open(struct layer_store *layers, struct store_source **ret, struct err *err)
{
	cleanup(store_source_free) struct store_source *source = xcalloc(1, sizeof(*source));

	source->layers = layers;
	source->scratch = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source->scratch < 0)
		return err_sys(err, "open %s", sandbox_scratch());
	*ret = take_ptr(source);
	return 0;
}

void store_source_free(struct store_source *source)
{
	if (!source)
		return;
	if (source->scratch >= 0)
		close(source->scratch);
	free(source);
}

/* ---- What a layer is ---- */

/* A layer, and what its tar depends on besides its tree. */
struct outgoing_layer {
	struct layer_key key;
	struct layer_meta meta;
	bool has_epoch;
	int64_t epoch;
};

/*
 * A builder that was told SOURCE_DATE_EPOCH says so as the time of the image; without it, ours
 * says none.
 */
static int find_epoch(
	const struct image_record *record, struct outgoing_layer *ret, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct oci_config config;
	struct tm tm = {0};

	if (record->origin != IMAGE_BUILT || ret->meta.kind != LAYER_STEP)
		return 0;
	int r = oci_config_parse(&a, record->config, &config, err);
	if (r < 0)
		return r;
	const char *end = strptime(config.created, "%Y-%m-%dT%H:%M:%S", &tm);
	ret->has_epoch = end && (*end == 'Z' || *end == '.');
	ret->epoch = ret->has_epoch ? timegm(&tm) : 0;
	return 0;
}

static int find_layer(struct store_source *source, const struct image_record *record, size_t layer,
	struct outgoing_layer *ret, struct err *err)
{
	const char *key = record->layers.items[layer];

	*ret = (struct outgoing_layer){0};
	if (!layer_key_parse(str_of(key), &ret->key))
		return err_set(err, ERR_FAILED, "the image's record names a layer \"%s\"", key);
	int r = layer_meta(source->layers, &ret->key, &ret->meta, err);
	if (r == LAYER_E_ABSENT) {
		(void)err_set(err, ERR_MISSING, "layer %s of the image is not in the store", key);
		return err_hint(err, "%s",
			record->origin == IMAGE_BUILT ? "build the image again"
						      : "pull or import the image again");
	}
	return r < 0 ? r : find_epoch(record, ret, err);
}

/* ---- Facts ---- */

/* The memo's name says all that the bytes depend on. */
static int memo_name(struct store_source *source, const struct outgoing_layer *layer,
	struct buf *ret, struct err *err)
{
	buf_add_text(ret, "tar 1 ");
	int r = layer_identity(source->layers, &layer->key, ret, err);
	if (r == LAYER_E_ABSENT)
		return err_set(err, ERR_MISSING, "layer %s went", layer->key.hex);
	if (layer->has_epoch)
		buf_printf(ret, " epoch %lld", (long long)layer->epoch);
	return r;
}

/* "sha256:… 4096" */
static bool parse_facts(struct str text, struct image_layer_facts *ret)
{
	struct str rest = text, digest = str_cut(&rest, ' ');

	return rest.p && digest_parse(digest, &ret->diff_id) &&
	       parse_u64(rest, UINT64_MAX, &ret->size);
}

static int source_facts(void *arg, const struct image_record *record, size_t layer,
	struct image_layer_facts *ret, struct err *err)
{
	struct store_source *source = arg;
	struct outgoing_layer out;
	cleanup(buf_done) struct buf name = {0}, text = {0};
	int r = find_layer(source, record, layer, &out, err);

	if (r == 0)
		r = memo_name(source, &out, &name, err);
	if (r < 0)
		return r;
	/* A memo that cannot be read is made anew. */
	if (layer_memo_get(source->layers, buf_str(&name), &text, NULL) == 0 &&
		parse_facts(buf_str(&text), ret))
		return 0;
	*ret = (struct image_layer_facts){.size = out.meta.size + out.meta.files * TAR_ENTRY_BYTES};
	return IMAGE_E_ABSENT;
}

static int put_facts(struct store_source *source, const struct outgoing_layer *layer,
	const struct image_layer_facts *facts, struct err *err)
{
	cleanup(buf_done) struct buf name = {0}, text = {0};
	char digest[DIGEST_TEXT_SIZE];
	int r = memo_name(source, layer, &name, err);

	if (r < 0)
		return r;
	buf_printf(&text, "%s %llu", digest_text(&facts->diff_id, digest),
		(unsigned long long)facts->size);
	/* Forgotten, it is found out again. */
	ignored(layer_memo_put(source->layers, buf_str(&name), buf_str(&text), NULL));
	return 0;
}

void source_note(struct layer_store *layers, const struct layer_key *key,
	const struct image_layer_facts *facts)
{
	struct store_source source = {.layers = layers, .scratch = -1};
	const struct outgoing_layer layer = {.key = *key};

	ignored(put_facts(&source, &layer, facts, NULL));
}

/* A recipe that gave other bytes than those it was made of is not used again. */
static int drop_recipe(
	struct store_source *source, const struct outgoing_layer *layer, struct err *err)
{
	struct err unused = {0};

	ignored(layer_drop_recipe(source->layers, &layer->key, &unused));
	(void)err_set(
		err, ERR_FAILED, "layer %s cannot be made again as it was pulled", layer->key.hex);
	return err_hint(err, "do it once more: the layer gets another digest then, or pull the "
			     "image anew to keep it");
}

static int source_remember(void *arg, const struct image_record *record, size_t layer,
	const struct image_layer_facts *facts, struct err *err)
{
	struct store_source *source = arg;
	struct outgoing_layer out;
	int r = find_layer(source, record, layer, &out, err);

	if (r < 0)
		return r;
	if (out.meta.kind == LAYER_BASE && out.meta.has_digest &&
		layer_has_recipe(source->layers, &out.key) &&
		!digest_eq(&facts->diff_id, &out.meta.digest))
		return drop_recipe(source, &out, err);
	return put_facts(source, &out, facts, err);
}

/* ---- Bytes ---- */

static int pack_tree(struct store_source *source, const struct outgoing_layer *layer, int below,
	const struct image_writer *to, struct err *err)
{
	cleanup_close int fs = -1;
	const struct layer_pack_options options = {.below = below,
		.has_epoch = layer->has_epoch,
		.epoch = layer->epoch,
		.write = to->write,
		.arg = to->arg};
	int r = layer_open(source->layers, &layer->key, &fs, err);

	if (r == LAYER_E_ABSENT)
		return err_set(err, ERR_MISSING, "layer %s went", layer->key.hex);
	return r < 0 ? r : layer_pack(fs, &options, NULL, err);
}

/* Of this process alone: several may pack at once. */
struct mount_name {
	char text[32];
};

static struct mount_name make_mount_name(void)
{
	struct mount_name name;

	snprintf(name.text, sizeof(name.text), "below-%d", (int)getpid());
	return name;
}

static int pack_on_mount(struct store_source *source, const struct outgoing_layer *layer,
	const char *name, const struct image_writer *to, struct err *err)
{
	cleanup_close int below =
		openat(source->scratch, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (below < 0)
		return err_sys(err, "open the layers below");
	return pack_tree(source, layer, below, to, err);
}

static int keys_below(struct arena *a, const struct image_record *record, size_t layer,
	struct layer_chain *ret, struct err *err)
{
	struct layer_key *keys = arena_array(a, layer + 1, sizeof(*keys));

	for (size_t i = 0; i < layer; i++)
		if (!layer_key_parse(str_of(record->layers.items[i]), &keys[i]))
			return err_set(err, ERR_FAILED, "the image's record names a layer \"%s\"",
				record->layers.items[i]);
	*ret = (struct layer_chain){keys, layer};
	return 0;
}

static int pack_step(struct store_source *source, const struct image_record *record, size_t layer,
	const struct outgoing_layer *out, const struct image_writer *to, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	struct layer_chain chain = {0};
	struct err second = {0};
	const struct mount_name name = make_mount_name();
	int r = keys_below(&a, record, layer, &chain, err);

	if (r == 0 && mkdirat(source->scratch, name.text, 0755) < 0 && errno != EEXIST)
		r = err_sys(err, "make a place to mount on");
	if (r == 0)
		r = layer_mount(source->layers, chain, NULL, source->scratch, name.text, err);
	if (r < 0)
		return r;
	r = pack_on_mount(source, out, name.text, to, err);
	if (layer_unmount(source->scratch, name.text, r < 0 ? &second : err) < 0 && r == 0)
		return -(int)err->kind;
	return r;
}

/* As it came, if that is known; else afresh. */
static int pack_base(struct store_source *source, const struct outgoing_layer *layer,
	const struct image_writer *to, struct err *err)
{
	const struct layer_pack_options options = {.write = to->write, .arg = to->arg};
	int r = layer_pack_exact(source->layers, &layer->key, &options, NULL, err);

	return r == LAYER_E_ABSENT ? pack_tree(source, layer, -1, to, err) : r;
}

static int source_pack(void *arg, const struct image_record *record, size_t layer,
	const struct image_writer *to, struct err *err)
{
	struct store_source *source = arg;
	struct outgoing_layer out;
	int r = find_layer(source, record, layer, &out, err);

	if (r < 0)
		return r;
	return out.meta.kind == LAYER_STEP ? pack_step(source, record, layer, &out, to, err)
					   : pack_base(source, &out, to, err);
}

static int source_origin(void *arg, const struct image_record *record, size_t layer,
	struct digest *ret, struct err *err)
{
	struct store_source *source = arg;
	struct outgoing_layer out;
	int r = find_layer(source, record, layer, &out, err);

	if (r < 0)
		return r;
	if (out.meta.kind != LAYER_BASE || !out.meta.has_digest)
		return IMAGE_E_ABSENT;
	*ret = out.meta.digest;
	return 0;
}

struct image_layer_source store_source_layers(struct store_source *source)
{
	return (struct image_layer_source){.facts = source_facts,
		.pack = source_pack,
		.remember = source_remember,
		.origin = source_origin,
		.arg = source};
}
