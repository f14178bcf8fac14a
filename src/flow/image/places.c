/* SPDX-License-Identifier: Apache-2.0 */
#include "image/places.h"

#include <inttypes.h>

#include "base/number.h"

enum { TEXT_MAX = 16 << 10 };

static const struct {
	const char *word;
	enum oci_media media;
} forms[] = {
	{"gzip", OCI_MEDIA_LAYER_GZIP},
	{"tar", OCI_MEDIA_LAYER_TAR},
	{"zstd", OCI_MEDIA_LAYER_ZSTD},
};

static bool find_form(struct str word, enum oci_media *ret)
{
	for (size_t i = 0; i < array_size(forms); i++) {
		if (!str_is(word, forms[i].word))
			continue;
		*ret = forms[i].media;
		return true;
	}
	return false;
}

static const char *form_of(enum oci_media media)
{
	for (size_t i = 0; i < array_size(forms); i++)
		if (forms[i].media == media)
			return forms[i].word;
	return NULL;
}

/* What is asked for in URLs must be a name, whoever wrote the memory. */
static bool is_reference(struct arena *a, struct str registry, struct str repository)
{
	struct oci_reference ref;
	struct err ignored_err;
	const char *text = arena_printf(a, "%.*s/%.*s", STR_ARG(registry), STR_ARG(repository));

	return oci_reference_parse(a, str_of(text), &ref, &ignored_err) == 0 &&
	       str_is(registry, ref.registry) && str_is(repository, ref.repository);
}

static bool parse_line(struct arena *a, struct str line, struct place *ret)
{
	struct str registry = str_cut(&line, ' '), repository = str_cut(&line, ' ');
	struct str digest = str_cut(&line, ' '), size = str_cut(&line, ' ');
	struct str form = str_cut(&line, ' ');

	if (!line.p || !digest_parse(digest, &ret->digest) ||
		!parse_u64(size, UINT64_MAX, &ret->size) || !find_form(form, &ret->media) ||
		!is_reference(a, registry, repository))
		return false;
	*ret = (struct place){.digest = ret->digest, .size = ret->size, .media = ret->media};
	ret->is_pushed = str_is(line, "pushed");
	ret->registry = arena_str(a, registry).p;
	ret->repository = arena_str(a, repository).p;
	return ret->is_pushed || str_is(line, "pulled");
}

size_t places_parse(struct arena *a, struct str text, struct place ret[static PLACES_MAX])
{
	size_t count = 0;

	text = str_slice(text, 0, TEXT_MAX);
	while (text.p && count < PLACES_MAX)
		count += parse_line(a, str_cut(&text, '\n'), &ret[count]);
	return count;
}

static void print_line(const struct place *place, struct buf *ret)
{
	char digest[DIGEST_TEXT_SIZE];
	const char *form = form_of(place->media);

	if (form)
		buf_printf(ret, "%s %s %s %" PRIu64 " %s %s\n", place->registry, place->repository,
			digest_text(&place->digest, digest), place->size, form,
			place->is_pushed ? "pushed" : "pulled");
}

static bool is_same(const struct place *a, const struct place *b)
{
	return digest_eq(&a->digest, &b->digest) && strcmp(a->registry, b->registry) == 0 &&
	       strcmp(a->repository, b->repository) == 0;
}

void places_print(struct str old, const struct place *place, struct buf *ret)
{
	cleanup(arena_done) struct arena a = {0};
	struct place places[PLACES_MAX];
	size_t count = places_parse(&a, old, places);

	print_line(place, ret);
	for (size_t i = 0, lines = 1; i < count && lines < PLACES_MAX; i++) {
		if (is_same(&places[i], place))
			continue;
		print_line(&places[i], ret);
		lines++;
	}
}

/* ---- In the store's memory ---- */

static void print_name(const struct digest *diff_id, struct buf *ret)
{
	char digest[DIGEST_TEXT_SIZE];

	buf_printf(ret, "blobs of %s", digest_text(diff_id, digest));
}

size_t places_find(const struct image_memory *memory, struct arena *a, const struct digest *diff_id,
	struct place ret[static PLACES_MAX])
{
	cleanup(buf_done) struct buf name = {0}, text = {0};

	print_name(diff_id, &name);
	if (!memory || !memory->get(memory->arg, buf_str(&name), &text))
		return 0;
	size_t count = places_parse(a, buf_str(&text), ret);
	for (size_t i = 0; i < count; i++)
		ret[i].diff_id = *diff_id;
	return count;
}

void places_remember(
	const struct image_memory *memory, const struct digest *diff_id, const struct place *place)
{
	cleanup(buf_done) struct buf name = {0}, old = {0}, text = {0};

	if (!memory)
		return;
	print_name(diff_id, &name);
	if (!memory->get(memory->arg, buf_str(&name), &old))
		buf_clear(&old);
	places_print(buf_str(&old), place, &text);
	if (!str_eq(buf_str(&old), buf_str(&text)))
		memory->put(memory->arg, buf_str(&name), buf_str(&text));
}
