/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include "base/number.h"

static void *place_of(struct loader *l, const struct field *f)
{
	return (char *)l->config + f->offset;
}

/* True when it is a scalar; else the finding is made. */
static bool want_scalar(
	struct loader *l, const struct field *f, const struct yaml_node *value, const char *what)
{
	if (value->kind == YAML_SCALAR)
		return true;
	(void)field_error(
		l, f, value, "%s must be %s, not %s", f->name, what, yaml_kind_text(value->kind));
	return false;
}

/* True when the text is one of the allowed words; ret_index is which. */
static bool want_word(
	struct loader *l, const struct field *f, const struct yaml_node *value, unsigned *ret_index)
{
	for (unsigned i = 0; f->allowed[i]; i++)
		if (str_is(value->text, f->allowed[i])) {
			*ret_index = i;
			return true;
		}
	const char *near = nearest(f->allowed, value->text);
	struct space_finding *finding = field_error(l, f, value, "%s: %s is not one of %s", f->name,
		shown(l, value->text), word_list(l, f->allowed));
	if (near)
		finding->remedy = arena_printf(l->arena, "did you mean %s?", near);
	return false;
}

void read_text(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	size_t errors = l->config->error_count;
	unsigned index;

	if (!want_scalar(l, f, value, "a text"))
		return;
	if (f->allowed && !want_word(l, f, value, &index))
		return;
	if (f->check)
		f->check(l, f, value);
	if (l->config->error_count == errors)
		*(const char **)place_of(l, f) = value->text.p;
}

/* An enum whose values count from f->min in the order of the words. */
void read_choice(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	unsigned index;

	if (want_scalar(l, f, value, "a word") && want_word(l, f, value, &index))
		*(unsigned *)place_of(l, f) = (unsigned)f->min + index;
}

/* A value in quotes is text to the Hub, which wants another type. */
static void warn_of_quotes(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	if (value->plain)
		return;
	struct space_finding *finding =
		field_warning(l, f, value, "%s is text because of its quotes", f->name);
	finding->remedy =
		arena_printf(l->arena, "write it plain: %s: %.*s", f->name, STR_ARG(value->text));
}

void read_bool(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	static const char *const yes[] = {"yes", "y", "on", "1", NULL};
	struct yaml_node plain = *value;
	bool truth = false;

	if (!want_scalar(l, f, value, "true or false"))
		return;
	plain.plain = true;
	if (yaml_bool(&plain, &truth)) {
		warn_of_quotes(l, f, value);
		*(bool *)place_of(l, f) = truth;
		return;
	}
	struct space_finding *finding = field_error(
		l, f, value, "%s: %s is not true or false", f->name, shown(l, value->text));
	for (size_t i = 0; yes[i]; i++)
		if (str_eq_nocase(value->text, str_of(yes[i])))
			finding->remedy = arena_printf(l->arena, "write %s: true", f->name);
}

void read_number(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	uint64_t number;

	if (!want_scalar(l, f, value, "a number"))
		return;
	if (!parse_u64(value->text, f->max, &number) || number < f->min) {
		(void)field_error(l, f, value, "%s: %s is not a number from %llu to %llu", f->name,
			shown(l, value->text), (unsigned long long)f->min,
			(unsigned long long)f->max);
		return;
	}
	warn_of_quotes(l, f, value);
	*(uint64_t *)place_of(l, f) = number;
	if (f->check)
		f->check(l, f, value);
}

void read_duration(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	int64_t ns;
	uint64_t bare;

	if (!want_scalar(l, f, value, "a duration"))
		return;
	if (parse_duration(value->text, &ns) && ns > 0) {
		*(int64_t *)place_of(l, f) = ns;
		return;
	}
	struct space_finding *finding = field_error(
		l, f, value, "%s: %s is not a duration", f->name, shown(l, value->text));
	finding->remedy = "write a number with its unit: 30m, 1h or 1h30m";
	if (parse_u64(value->text, 100000, &bare) && bare > 0)
		finding->remedy = arena_printf(
			l->arena, "write %s: %llum for minutes", f->name, (unsigned long long)bare);
}

static void list_add(struct loader *l, struct space_list *list, size_t *cap, const char *text)
{
	list->items = arena_grow(l->arena, list->items, list->count, cap, sizeof(*list->items));
	list->items[list->count++] = text;
}

static void take_item(struct loader *l, const struct field *f, const struct yaml_node *item,
	struct space_list *list, size_t *cap)
{
	size_t errors = l->config->error_count;
	unsigned index;

	if (!want_scalar(l, f, item, "a list of texts"))
		return;
	if (item->text.n == 0) {
		(void)field_error(l, f, item, "%s: an empty item", f->name);
		return;
	}
	if (f->allowed && !want_word(l, f, item, &index))
		return;
	if (f->check)
		f->check(l, f, item);
	if (l->config->error_count == errors)
		list_add(l, list, cap, item->text.p);
}

void read_list(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct space_list *list = place_of(l, f);
	size_t cap = 0;

	if (value->kind == YAML_SCALAR && f->one_is_list) {
		take_item(l, f, value, list, &cap);
		return;
	}
	if (value->kind != YAML_SEQUENCE) {
		struct space_finding *finding = field_error(l, f, value,
			"%s must be a list, not %s", f->name, yaml_kind_text(value->kind));
		if (value->kind == YAML_SCALAR)
			finding->remedy = arena_printf(l->arena, "write %s: [%.*s]", f->name,
				STR_ARG(str_head(value->text, 64)));
		return;
	}
	for (size_t i = 0; i < value->count; i++)
		take_item(l, f, value->items[i], list, &cap);
}

/* ---- custom_headers ---- */

#define EMBEDDER "cross-origin-embedder-policy"
#define OPENER	 "cross-origin-opener-policy"
#define RESOURCE "cross-origin-resource-policy"

static const char *const header_names[] = {EMBEDDER, OPENER, RESOURCE, NULL};
static const char *const embedder[] = {"unsafe-none", "require-corp", "credentialless", NULL};
static const char *const opener[] = {
	"same-origin", "same-origin-allow-popups", "unsafe-none", NULL};
static const char *const resource[] = {"same-site", "same-origin", "cross-origin", NULL};

/* The values of each header are checked like those of a field of its name. */
static const struct field header_fields[] = {
	{.name = EMBEDDER, .allowed = embedder},
	{.name = OPENER, .allowed = opener},
	{.name = RESOURCE, .allowed = resource},
};

static const struct field *find_header(
	struct loader *l, const struct field *f, const struct yaml_node *key)
{
	for (size_t i = 0; i < array_size(header_fields); i++)
		if (str_is(key->text, header_fields[i].name))
			return &header_fields[i];
	const char *near = nearest(header_names, key->text);
	struct space_finding *finding = field_error(l, f, key, "%s: %s is not one of %s", f->name,
		shown(l, key->text), word_list(l, header_names));
	if (near && str_eq_nocase(key->text, str_of(near)))
		finding->remedy = "write the name in lower case";
	else if (near)
		finding->remedy = arena_printf(l->arena, "did you mean %s?", near);
	return NULL;
}

void read_headers(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct space_config *config = l->config;
	size_t cap = 0;

	if (value->kind != YAML_MAPPING) {
		(void)field_error(l, f, value, "%s must be a mapping, not %s", f->name,
			yaml_kind_text(value->kind));
		return;
	}
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_pair *pair = &value->pairs[i];
		const struct field *header = find_header(l, f, pair->key);
		unsigned index;
		if (!header || !want_scalar(l, header, pair->value, "a word") ||
			!want_word(l, header, pair->value, &index))
			continue;
		config->custom_headers = arena_grow(l->arena, config->custom_headers,
			config->custom_header_count, &cap, sizeof(*config->custom_headers));
		config->custom_headers[config->custom_header_count++] =
			(struct space_http_header){header->name, header->allowed[index]};
	}
}

/* ---- preload_from_hub ---- */

/* Cut the next word off *rest; empty at the end. */
static struct str take_word(struct str *rest)
{
	struct str line = str_trim_left(*rest);
	size_t n = 0;

	while (n < line.n && !strchr(" \t\n", line.p[n]))
		n++;
	*rest = str_from_index(line, n);
	return str_slice(line, 0, n);
}

static bool is_commit(struct str text)
{
	if (text.n != 40)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!strchr("0123456789abcdef", text.p[i]) || !text.p[i])
			return false;
	return true;
}

static bool take_files(struct loader *l, struct str names, struct space_list *ret)
{
	size_t cap = 0;

	while (names.p) {
		struct str name = str_cut(&names, ',');
		if (name.n == 0)
			return false;
		list_add(l, ret, &cap, arena_str(l->arena, name).p);
	}
	return true;
}

/* What is wrong with an item, or NULL: repo[ file,file…[ commit]]. */
static const char *parse_preload(struct loader *l, struct str text, struct space_preload *ret)
{
	struct str repo = take_word(&text), files = take_word(&text), commit = take_word(&text);

	if (take_word(&text).n)
		return "has more than three words: repository, files joined by commas, commit";
	if (repo.n == 0)
		return "is empty";
	ret->repo = arena_str(l->arena, repo).p;
	if (files.n && !take_files(l, files, &ret->files))
		return "has a blank after a comma, or an empty file name";
	if (commit.n && !is_commit(commit))
		return "has a third word that is not a commit of 40 hex digits";
	ret->revision = commit.n ? arena_str(l->arena, commit).p : NULL;
	if (str_find(repo, '/') == repo.n)
		return "names no owner: write owner/name";
	size_t slash = str_find(repo, '/');
	if (id_part_problem(str_slice(repo, 0, slash)) ||
		id_part_problem(str_from_index(repo, slash + 1)))
		return "begins with a word that is not a repository id";
	return NULL;
}

void read_preload(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct space_config *config = l->config;
	size_t cap = 0;

	if (value->kind != YAML_SEQUENCE) {
		(void)field_error(l, f, value, "%s must be a list, not %s", f->name,
			yaml_kind_text(value->kind));
		return;
	}
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_node *item = value->items[i];
		struct space_preload preload = {0};
		if (!want_scalar(l, f, item, "a list of texts"))
			continue;
		const char *wrong = parse_preload(l, item->text, &preload);
		if (wrong) {
			(void)field_warning(
				l, f, item, "%s: %s %s", f->name, shown(l, item->text), wrong);
			continue;
		}
		config->preload_from_hub = arena_grow(l->arena, config->preload_from_hub,
			config->preload_count, &cap, sizeof(*config->preload_from_hub));
		config->preload_from_hub[config->preload_count++] = preload;
	}
}
