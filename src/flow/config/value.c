/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include "base/number.h"
#include "base/suggest.h"

enum { DESCRIPTION_MAX = 60, LOWEST_OPEN_PORT = 1024 };

/* ---- Emoji ---- */

static const struct {
	uint32_t first, last;
} emoji[] = {
	{0xa9, 0xa9},	    /* copyright */
	{0xae, 0xae},	    /* registered */
	{0x200d, 0x200d},   /* zero width joiner */
	{0x203c, 0x203c},   /* double exclamation mark */
	{0x2049, 0x2049},   /* exclamation question mark */
	{0x20e3, 0x20e3},   /* keycap */
	{0x2122, 0x2122},   /* trade mark */
	{0x2139, 0x2139},   /* information */
	{0x2190, 0x21ff},   /* arrows */
	{0x2300, 0x23ff},   /* technical */
	{0x24c2, 0x24c2},   /* circled M */
	{0x25a0, 0x27bf},   /* shapes, symbols, dingbats */
	{0x2900, 0x297f},   /* arrows */
	{0x2b00, 0x2bff},   /* arrows, stars */
	{0x3030, 0x3030},   /* wavy dash */
	{0x303d, 0x303d},   /* part alternation mark */
	{0x3297, 0x3299},   /* circled ideographs */
	{0xfe0e, 0xfe0f},   /* variation selectors */
	{0x1f000, 0x1faff}, /* the pictographs, flags and skin tones */
	{0xe0020, 0xe007f}, /* tags of regional flags */
};

static uint32_t code_point(struct str s, size_t length)
{
	static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t c = (unsigned char)s.p[0] & lead_bits[length];

	for (size_t i = 1; i < length; i++)
		c = c << 6 | ((unsigned char)s.p[i] & 0x3f);
	return c;
}

static bool is_emoji(uint32_t c)
{
	for (size_t i = 0; i < array_size(emoji); i++)
		if (c >= emoji[i].first && c <= emoji[i].last)
			return true;
	return false;
}

/* Digits, '#' and '*' are emoji when they stand on a keycap. */
static size_t keycap_length(struct str s)
{
	static const struct str endings[] = {{"\xef\xb8\x8f\xe2\x83\xa3", 6}, {"\xe2\x83\xa3", 3}};

	if (!strchr("0123456789#*", s.p[0]))
		return 0;
	for (size_t i = 0; i < array_size(endings); i++)
		if (str_starts(str_from_index(s, 1), endings[i]))
			return 1 + endings[i].n;
	return 0;
}

void check_emoji(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct str rest = value->text;

	while (rest.n) {
		size_t length = keycap_length(rest);
		if (length == 0) {
			length = str_utf8_length(rest);
			if (!is_emoji(code_point(rest, length)))
				break;
		}
		rest = str_from_index(rest, length);
	}
	if (rest.n || value->text.n == 0)
		(void)field_error(
			l, f, value, "%s: %s is not an emoji", f->name, shown(l, value->text));
}

/* ---- Texts ---- */

/* In units of UTF-16, as the Hub's server counts: 2 for what takes 4 bytes in UTF-8. */
static size_t hub_length(struct str s)
{
	size_t length = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		length += (c & 0xc0) != 0x80;
		length += c >= 0xf0;
	}
	return length;
}

void check_description(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	size_t length = hub_length(value->text);

	if (length <= DESCRIPTION_MAX)
		return;
	struct space_finding *finding =
		field_error(l, f, value, "%s is %zu characters long; the limit of the Hub is %d",
			f->name, length, DESCRIPTION_MAX);
	finding->remedy = arena_printf(l->arena,
		"shorten it by %zu (an emoji counts as two characters)", length - DESCRIPTION_MAX);
}

static bool is_version(struct str text, size_t most_parts)
{
	size_t parts = 0;

	for (struct str rest = text; rest.p; parts++) {
		uint64_t number;
		if (!parse_u64(str_cut(&rest, '.'), 9999, &number))
			return false;
	}
	return parts >= 2 && parts <= most_parts;
}

/* "3.10" without quotes is the number 3.1. */
void check_python(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	if (!is_version(value->text, 3) || value->text.p[0] != '3') {
		(void)field_error(l, f, value, "%s: %s is not a version like 3.13 or 3.13.1",
			f->name, shown(l, value->text));
		return;
	}
	if (!value->plain || !is_version(value->text, 2) || !str_ends(value->text, STR("0")))
		return;
	struct space_finding *finding = field_warning(l, f, value,
		"%s: %.*s without quotes is a number, which ends in no zero", f->name,
		STR_ARG(value->text));
	finding->remedy =
		arena_printf(l->arena, "write %s: \"%.*s\"", f->name, STR_ARG(value->text));
}

static bool climbs(struct str path)
{
	while (path.p)
		if (str_is(str_cut(&path, '/'), ".."))
			return true;
	return false;
}

void check_app_file(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	if (value->text.n == 0 || value->text.p[0] == '/' || climbs(value->text))
		(void)field_error(l, f, value, "%s: %s is not a path inside the repository",
			f->name, shown(l, value->text));
}

void check_base_path(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct str path = value->text;
	struct space_finding *finding = NULL;

	if (path.n == 0 || path.p[0] != '/')
		finding = field_error(
			l, f, value, "%s: %s does not begin with '/'", f->name, shown(l, path));
	else if (str_starts(path, STR("//")))
		(void)field_error(l, f, value, "%s: %s is the address of another host", f->name,
			shown(l, path));
	else if (str_find(path, ' ') < path.n || str_find(path, '\n') < path.n)
		(void)field_error(l, f, value, "%s: %s holds a blank", f->name, shown(l, path));
	if (finding && path.n)
		finding->remedy = arena_printf(
			l->arena, "write %s: /%.*s", f->name, STR_ARG(str_head(path, 64)));
}

void check_url(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	if (!str_starts(value->text, STR("http://")) && !str_starts(value->text, STR("https://")))
		(void)field_warning(l, f, value, "%s: %s is not a URL that begins with https://",
			f->name, shown(l, value->text));
}

/* ---- Numbers ---- */

void check_port(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	if (l->config->app_port < LOWEST_OPEN_PORT)
		(void)field_warning(l, f, value,
			"%s %llu is a privileged port; the app runs as user 1000 and may not be "
			"allowed to open it",
			f->name, (unsigned long long)l->config->app_port);
}

/* ---- Names ---- */

void check_hardware(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct suggest near = {.written = value->text};
	cleanup(buf_done) struct buf names = {0};
	const char *remark = flavor_remark(value->text);

	if (flavor_find(value->text))
		return;
	if (remark) {
		(void)field_warning(
			l, f, value, "%s: %.*s %s", f->name, STR_ARG(value->text), remark);
		return;
	}
	for (size_t i = 0; flavor_at(i); i++) {
		suggest_offer(&near, flavor_at(i)->name);
		buf_printf(&names, "%s%s", i ? ", " : "", flavor_at(i)->name);
	}
	struct space_finding *finding = field_error(
		l, f, value, "%s: unknown hardware flavor %s", f->name, shown(l, value->text));
	finding->remedy = near.best ? arena_printf(l->arena, "did you mean %s?", near.best)
				    : arena_printf(l->arena, "flavors: %s", buf_text(&names));
}

void check_storage(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	(void)finding_add(l, FINDING_WARNING, "ignored-key", value->span,
		"%s is ignored: Spaces no longer have persistent storage", f->name);
}

void check_hub_id(struct loader *l, const struct field *f, const struct yaml_node *value)
{
	struct str text = value->text;
	size_t slash = str_find(text, '/');
	struct str owner = str_slice(text, 0, slash), name = str_from_index(text, slash + 1);
	const char *wrong = id_part_problem(owner);

	/* A few old repositories have no owner. */
	if (!wrong && slash < text.n)
		wrong = id_part_problem(name);
	if (wrong)
		(void)field_warning(
			l, f, value, "%s: %s is not an id on the Hub", f->name, shown(l, text));
}
