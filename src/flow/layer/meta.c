/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meta file of a layer: lines of a word and its value, the first of them the version of
 * the format. It is written once, before the layer is published.
 */
#include <inttypes.h>

#include "base/number.h"
#include "layer/internal.h"
#include "os/file.h"

#define FIRST_LINE "layer 1"

enum { META_LIMIT = 4096 };

static const char *const kind_names[] = {
	[LAYER_BASE] = "base",
	[LAYER_STEP] = "step",
};

static bool set_key(struct str v, struct layer_meta *m)
{
	return layer_key_parse(v, &m->key);
}

static bool set_parent(struct str v, struct layer_meta *m)
{
	return layer_key_parse(v, &m->parent);
}

static bool set_kind(struct str v, struct layer_meta *m)
{
	for (size_t i = 0; i < array_size(kind_names); i++) {
		if (str_is(v, kind_names[i])) {
			m->kind = (enum layer_kind)i;
			return true;
		}
	}
	return false;
}

static bool set_digest(struct str v, struct layer_meta *m)
{
	m->has_digest = digest_parse(v, &m->digest);
	return m->has_digest;
}

static bool set_size(struct str v, struct layer_meta *m)
{
	return parse_u64(v, UINT64_MAX, &m->size);
}

static bool set_files(struct str v, struct layer_meta *m)
{
	return parse_u64(v, UINT64_MAX, &m->files);
}

static bool set_created(struct str v, struct layer_meta *m)
{
	uint64_t seconds;

	if (!parse_u64(v, INT64_MAX, &seconds))
		return false;
	m->created = (int64_t)seconds;
	return true;
}

static bool set_boot(struct str v, struct layer_meta *m)
{
	if (v.n == 0 || v.n >= sizeof(m->boot))
		return false;
	for (size_t i = 0; i < v.n; i++) {
		if (!is_hex(v.p[i]) && v.p[i] != '-')
			return false;
	}
	memcpy(m->boot, v.p, v.n);
	m->boot[v.n] = '\0';
	return true;
}

static const struct {
	const char *word;
	bool (*set)(struct str value, struct layer_meta *meta);
	bool needed;
} words[] = {
	{"boot", set_boot, true},
	{"created", set_created, true},
	{"digest", set_digest, false},
	{"files", set_files, true},
	{"key", set_key, true},
	{"kind", set_kind, true},
	{"parent", set_parent, false},
	{"size", set_size, true},
};

/* Returns the index in words, or -1 when the line is none of them or its value is wrong. */
static int parse_line(struct str line, struct layer_meta *meta)
{
	struct str word = str_cut(&line, ' ');

	for (size_t i = 0; i < array_size(words); i++) {
		if (str_is(word, words[i].word))
			return line.p && words[i].set(line, meta) ? (int)i : -1;
	}
	return -1;
}

int meta_parse(struct str text, struct layer_meta *ret, struct err *err)
{
	struct layer_meta meta = {0};
	unsigned seen = 0;

	if (!str_is(str_cut(&text, '\n'), FIRST_LINE))
		return err_set(err, ERR_INPUT, "meta: not of a version known here");
	while (text.p && text.n) {
		struct str line = str_cut(&text, '\n');
		int word = parse_line(line, &meta);
		if (word < 0 || seen & 1U << word)
			return err_set(err, ERR_INPUT, "meta: bad line: %.*s", STR_ARG(line));
		seen |= 1U << word;
	}
	for (size_t i = 0; i < array_size(words); i++) {
		if (words[i].needed && !(seen & 1U << i))
			return err_set(err, ERR_INPUT, "meta: no %s", words[i].word);
	}
	*ret = meta;
	return 0;
}

void meta_print(const struct layer_meta *meta, struct buf *ret)
{
	char digest[DIGEST_TEXT_SIZE];

	buf_printf(ret, "%s\nkey %s\nkind %s\n", FIRST_LINE, meta->key.hex, kind_names[meta->kind]);
	if (meta->parent.hex[0])
		buf_printf(ret, "parent %s\n", meta->parent.hex);
	if (meta->has_digest)
		buf_printf(ret, "digest %s\n", digest_text(&meta->digest, digest));
	buf_printf(ret, "size %" PRIu64 "\nfiles %" PRIu64 "\ncreated %" PRId64 "\nboot %s\n",
		meta->size, meta->files, meta->created, meta->boot);
}

int meta_read(int layers, const char *key, struct layer_meta *ret, struct err *err)
{
	cleanup(buf_done) struct buf path = {0};
	cleanup(buf_done) struct buf text = {0};

	buf_printf(&path, "%s/" LAYER_META, key);
	int r = file_read(layers, path.data, META_LIMIT, &text, err);
	if (r == 0)
		r = meta_parse(buf_str(&text), ret, err);
	if (r == 0 && strcmp(ret->key.hex, key) != 0)
		r = err_set(err, ERR_INPUT, "meta: of another key, %s", ret->key.hex);
	return r < 0 ? err_wrap(err, "layer %s", key) : 0;
}
