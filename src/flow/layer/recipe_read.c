/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/fields.h"
#include "layer/internal.h"
#include "layer/pack.h"
#include "layer/recipe.h"

enum { READ_BYTES = 256 * 1024 };

/* ---- Records ---- */

static int take_text(struct fields *f, uint32_t most, struct str *ret, struct err *err)
{
	uint32_t n = fields_u32(f);

	if (f->bad)
		return RECIPE_E_MORE;
	if (n > most)
		return err_set(err, ERR_INPUT, "a record of %u bytes", n);
	if (f->rest.n < n)
		return RECIPE_E_MORE;
	*ret = str_slice(f->rest, 0, n);
	f->rest = str_from_index(f->rest, n);
	return 0;
}

static int take_record(struct fields *f, struct recipe_record *ret, struct err *err)
{
	switch (ret->kind) {
	case 'L':
		return take_text(f, RECIPE_LITERAL_MAX, &ret->text, err);
	case 'F':
		ret->size = fields_u64(f);
		return take_text(f, RECIPE_PATH_MAX, &ret->text, err);
	case 'E':
		ret->size = fields_u64(f);
		return f->bad ? RECIPE_E_MORE : 0;
	default:
		return err_set(err, ERR_INPUT, "a record of no known kind");
	}
}

int recipe_next(struct str *rest, struct recipe_record *ret, struct err *err)
{
	if (rest->n == 0)
		return RECIPE_E_MORE;
	struct fields f = {.rest = str_from_index(*rest, 1)};
	*ret = (struct recipe_record){.kind = rest->p[0]};
	int r = take_record(&f, ret, err);
	if (r == 0 && ret->kind == 'F' &&
		(ret->text.n == 0 || memchr(ret->text.p, '\0', ret->text.n)))
		r = err_set(err, ERR_INPUT, "a file without a path");
	if (r == 0)
		*rest = f.rest;
	return r;
}

/* ---- The archive, once more ---- */

struct cooking {
	int fs;
	struct pack pack;   /* what it writes with */
	struct buf pending; /* decompressed and not yet taken */
	bool is_over;
};

static int write_file(struct cooking *c, const struct recipe_record *record, struct err *err)
{
	cleanup_free char *path = str_dup(record->text);
	struct stat st;
	cleanup_close int fd = dir_open_in_root(
		c->fs, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, err);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, "%.300s", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != record->size)
		return err_set(err, ERR_INPUT, "%.300s: is not the file that was unpacked", path);
	int r = pack_add_content(&c->pack, fd, record->size, err);
	return r < 0 ? err_wrap(err, "%.300s", path) : r;
}

static int end(struct cooking *c, uint64_t size, struct err *err)
{
	c->is_over = true;
	int r = pack_flush(&c->pack, err);
	return r == 0 && c->pack.stats.size != size
		       ? err_set(err, ERR_INPUT, "an archive of another size")
		       : r;
}

static int do_record(struct cooking *c, const struct recipe_record *record, struct err *err)
{
	if (record->kind == 'E')
		return end(c, record->size, err);
	if (record->kind == 'L')
		return pack_add(&c->pack, record->text, err);
	c->pack.stats.entries++;
	return write_file(c, record, err);
}

/* All records that are there. */
static int do_records(struct cooking *c, struct err *err)
{
	struct recipe_record record;
	struct str rest = buf_str(&c->pending);
	int r = 0;

	while (r == 0 && !c->is_over) {
		r = recipe_next(&rest, &record, err);
		if (r == 0)
			r = do_record(c, &record, err);
	}
	buf_cut_front(&c->pending, c->pending.len - rest.n);
	return r == RECIPE_E_MORE ? 0 : r;
}

static int decompress(struct cooking *c, ZSTD_DCtx *zstd, struct str bytes, struct err *err)
{
	ZSTD_inBuffer in = {bytes.p, bytes.n, 0};
	bool is_full = false;
	int r = 0;

	/* What filled its room may have left something behind. */
	while ((in.pos < in.size || is_full) && r == 0 && !c->is_over) {
		ZSTD_outBuffer out = {buf_reserve(&c->pending, READ_BYTES), READ_BYTES, 0};
		size_t left = ZSTD_decompressStream(zstd, &out, &in);
		if (ZSTD_isError(left))
			return err_set(err, ERR_INPUT, "%s", ZSTD_getErrorName(left));
		buf_commit(&c->pending, out.pos);
		is_full = out.pos == out.size;
		r = do_records(c, err);
	}
	return r;
}

static int cook(struct cooking *c, int recipe, ZSTD_DCtx *zstd, struct err *err)
{
	cleanup_free char *in = xmalloc(READ_BYTES);
	int r = 0;

	while (r == 0 && !c->is_over) {
		ssize_t n = read(recipe, in, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read");
		if (n == 0)
			return err_set(err, ERR_INPUT, "it has no end");
		r = decompress(c, zstd, str_from(in, (size_t)n), err);
	}
	return r;
}

static int open_recipe(
	const struct layer_store *store, const struct layer_key *key, int *ret_fd, struct err *err)
{
	char path[sizeof(key->hex) + sizeof("/" LAYER_RECIPE)];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" LAYER_RECIPE, key->hex);
	cleanup_close int fd = openat(
		store->places[PLACE_LAYERS], path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? LAYER_E_ABSENT : err_sys(err, "open");
	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat");
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return LAYER_E_ABSENT;
	*ret_fd = take_fd(&fd);
	return 0;
}

bool layer_has_recipe(const struct layer_store *store, const struct layer_key *key)
{
	cleanup_close int fd = -1;

	return open_recipe(store, key, &fd, NULL) == 0;
}

int layer_drop_recipe(struct layer_store *store, const struct layer_key *key, struct err *err)
{
	char path[sizeof(key->hex) + sizeof("/" LAYER_RECIPE)];

	snprintf(path, sizeof(path), "%s/" LAYER_RECIPE, key->hex);
	if (unlinkat(store->places[PLACE_LAYERS], path, 0) < 0 && errno != ENOENT)
		return err_sys(err, "remove the recipe of layer %s", key->hex);
	return 0;
}

static int pack_exact(struct cooking *c, int recipe, struct err *err)
{
	cleanup_free char *buffer = xmalloc(PACK_BUFFER);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();

	c->pack.buffer = buffer;
	int r = zstd ? cook(c, recipe, zstd, err) : err_set(err, ERR_SYSTEM, "set up zstd");
	ZSTD_freeDCtx(zstd);
	buf_done(&c->pending);
	return r;
}

int layer_pack_exact(const struct layer_store *store, const struct layer_key *key,
	const struct layer_pack_options *options, struct layer_pack_stats *ret_stats,
	struct err *err)
{
	cleanup_close int fs = -1, recipe = -1;
	struct cooking c = {.pack = {.options = options}};
	int r = layer_open(store, key, &fs, err);

	c.fs = fs;
	if (r == 0)
		r = open_recipe(store, key, &recipe, err);
	if (r == 0)
		r = pack_exact(&c, recipe, err);
	if (ret_stats)
		*ret_stats = c.pack.stats;
	return r < 0 ? err_wrap(err, "recipe of layer %s", key->hex) : r;
}
