/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"
#include "json/json.h"

static bool is_built_in(struct str frontend)
{
	static const char *const names[] = {
		"docker/dockerfile", "docker/dockerfile-upstream", "dockerfile.v0"};
	struct str name = frontend, hub = STR("docker.io/");

	if (str_starts(name, hub))
		name = str_from_index(name, hub.n);
	name = str_slice(name, 0, str_find(name, '@'));
	name = str_slice(name, 0, str_find(name, ':'));
	for (size_t i = 0; i < array_size(names); i++)
		if (str_is(name, names[i]))
			return true;
	return !name.n;
}

/* Where the frontend is named, its first word counts. */
struct named {
	struct str value;
	struct span span;
};

/* Errors are for the parser to tell. */
static struct named find_directive(struct arena *a, const struct source *source)
{
	struct reader r = reader_of(a, source);
	struct logical line;

	struct named found = {0};

	if (reader_next(&r, &line, NULL) >= 0)
		found = (struct named){r.syntax, r.syntax_span};
	return found;
}

/* "// key = value", as the lines with # in its place. */
static bool split_slashes(struct str line, struct str *ret_key, struct str *ret_value)
{
	struct str rest = line;

	if (!str_starts(line, STR("//")))
		return false;
	*ret_key = str_trim(str_cut(&rest, '='));
	*ret_key = str_trim(str_from_index(*ret_key, 2));
	*ret_value = str_trim(rest);
	return ret_value->n > 0;
}

static struct named find_slashes(const struct source *source)
{
	struct str rest = source->text, key, value;

	if (str_starts(rest, STR("#!")))
		(void)str_cut(&rest, '\n');
	while (rest.p && split_slashes(str_trim_right(str_cut(&rest, '\n')), &key, &value)) {
		if (str_eq_nocase(key, STR("syntax")))
			return (struct named){value,
				source_span(source, (size_t)(value.p - source->text.p), value.n)};
		if (!str_eq_nocase(key, STR("check")) && !str_eq_nocase(key, STR("escape")))
			break;
	}
	return (struct named){0};
}

static struct named find_json(struct arena *a, const struct source *source)
{
	struct str text = str_trim(source->text);
	const struct json *object;

	if (!str_starts(text, STR("{")) ||
		json_parse(a, text, DOCKERFILE_MAX_SIZE, &object, NULL) < 0)
		return (struct named){0};
	const char *value = json_text(json_find(object, "syntax"));
	return (struct named){
		str_of(value), source_span(source, (size_t)(text.p - source->text.p), 1)};
}

int dockerfile_check_syntax(
	struct arena *a, const struct source *source, struct str given, struct err *err)
{
	static const char only[] = "only docker/dockerfile is built in";
	struct named named = {given, {0}};

	if (!given.p)
		named = find_directive(a, source);
	if (!named.value.n && !given.p)
		named = find_slashes(source);
	if (!named.value.n && !given.p)
		named = find_json(a, source);
	struct str frontend = str_cut(&named.value, ' ');
	if (is_built_in(frontend))
		return 0;
	if (given.p)
		return err_set(err, ERR_INPUT,
			"BUILDKIT_SYNTAX: the frontend %.*s cannot be run: %s", STR_ARG(frontend),
			only);
	return source_error(err, ERR_INPUT, source, named.span,
		"the frontend %.*s cannot be run: %s", STR_ARG(frontend), only);
}
