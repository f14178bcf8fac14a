/* SPDX-License-Identifier: Apache-2.0 */
#include "settings/internal.h"

#include "base/suggest.h"

static const char mirror_form[] = "write it as http://host:port or https://host";

/* Names that mean Docker Hub. */
static const char *const hub_names[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};

/* host[:port]: lower case, and something that tells it from a repository's first part. */
static bool is_registry_name(struct str name)
{
	bool told = str_is(name, "localhost");

	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !strchr(".-:[]", c))
			return false;
		told |= c == '.' || c == ':';
	}
	return told;
}

/* What is wrong with the URL of a mirror, or NULL. */
static const char *mirror_problem(struct str url)
{
	struct str rest = {0};

	if (str_starts(url, STR("http://")))
		rest = str_from_index(url, 7);
	else if (str_starts(url, STR("https://")))
		rest = str_from_index(url, 8);
	else
		return "does not begin with http:// or https://";
	if (rest.n == 0 || rest.p[0] == '/' || rest.p[0] == ':')
		return "names no host";
	for (size_t i = 0; i < rest.n; i++) {
		unsigned char c = (unsigned char)rest.p[i];
		if (c <= ' ' || c >= 0x7f)
			return "holds a character that no address has";
		if (c == '?' || c == '#')
			return "has a query or a fragment";
		if (c == '@')
			return "holds a user name or password; those belong into the credentials file";
	}
	return NULL;
}

static int take_mirror(struct loader *l, struct settings_registry *registry,
	const struct yaml_node *value, struct err *err)
{
	struct settings_list *list = &registry->mirrors;

	l->node = value;
	if (value->kind != YAML_SCALAR)
		return refuse(l, err, "a mirror of %s must be an address, not %s", registry->name,
			yaml_kind_text(value->kind));
	const char *problem = mirror_problem(value->text);
	if (problem) {
		(void)refuse(l, err, "the mirror of %s %s", registry->name, problem);
		/* Instead of the excerpt: the address may hold a password. */
		return err_hint(err, "%s", mirror_form);
	}
	struct str url = value->text;
	while (str_ends(url, STR("/")))
		url.n--;
	list->items[list->count++] = arena_str(l->arena, url).p;
	return 0;
}

static int take_mirrors(struct loader *l, struct settings_registry *registry,
	const struct yaml_node *value, struct err *err)
{
	int r = 0;

	if (yaml_is_null(value))
		return 0;
	registry->mirrors.items =
		arena_array(l->arena, value->count + 1, sizeof(*registry->mirrors.items));
	if (value->kind != YAML_SEQUENCE)
		return take_mirror(l, registry, value, err);
	for (size_t i = 0; i < value->count && r == 0; i++)
		r = take_mirror(l, registry, value->items[i], err);
	return r;
}

static int take_option(struct loader *l, struct settings_registry *registry,
	const struct yaml_pair *pair, struct err *err)
{
	struct suggest near = {.written = pair->key->text};

	l->node = pair->value;
	if (str_is(pair->key->text, "mirror"))
		return take_mirrors(l, registry, pair->value, err);
	if (str_is(pair->key->text, "insecure")) {
		if (yaml_is_null(pair->value) || yaml_bool(pair->value, &registry->insecure))
			return 0;
		return refuse(l, err, "insecure of %s must be true or false", registry->name);
	}
	l->node = pair->key;
	suggest_offer(&near, "mirror");
	suggest_offer(&near, "insecure");
	(void)refuse(l, err, "unknown key \"%.*s\" of registry %s",
		STR_ARG(str_head(pair->key->text, 64)), registry->name);
	return near.best ? err_hint_add(err, "did you mean %s?", near.best)
			 : err_hint_add(err, "a registry has the keys mirror and insecure");
}

static int take_registry(struct loader *l, struct settings_registry *registry,
	const struct yaml_node *value, struct err *err)
{
	int r = 0;

	if (value->kind == YAML_SCALAR) /* the short form: its mirror */
		return take_mirrors(l, registry, value, err);
	l->node = value;
	if (value->kind != YAML_MAPPING)
		return refuse(l, err, "registry %s must be a mapping or an address, not %s",
			registry->name, yaml_kind_text(value->kind));
	for (size_t i = 0; i < value->count && r == 0; i++)
		r = take_option(l, registry, &value->pairs[i], err);
	return r;
}

static const char *registry_name(struct str written)
{
	for (size_t i = 0; i < array_size(hub_names); i++)
		if (str_is(written, hub_names[i]))
			return hub_names[0];
	return written.p;
}

static int start_registry(struct loader *l, const struct yaml_node *key, struct err *err)
{
	struct settings *s = l->settings;
	const char *name = registry_name(key->text);

	l->node = key;
	if (!is_registry_name(key->text)) {
		(void)refuse(l, err, "\"%.*s\" is not the name of a registry",
			STR_ARG(str_head(key->text, 64)));
		return err_hint_add(err, "write host or host:port: docker.io, registry.lan:5000");
	}
	if (settings_registry(s, name))
		return refuse(l, err, "%.*s is another name of %s, which is there already",
			STR_ARG(key->text), name);
	s->registries[s->registry_count++] = (struct settings_registry){.name = name};
	return 0;
}

int read_registries(struct loader *l, const struct yaml_node *value, struct err *err)
{
	struct settings *s = l->settings;

	if (value->kind != YAML_MAPPING)
		return refuse(l, err, "registries must be a mapping of names, not %s",
			yaml_kind_text(value->kind));
	s->registries = arena_array(l->arena, value->count, sizeof(*s->registries));
	for (size_t i = 0; i < value->count; i++) {
		int r = start_registry(l, value->pairs[i].key, err);
		if (r == 0)
			r = take_registry(l, &s->registries[s->registry_count - 1],
				value->pairs[i].value, err);
		if (r)
			return r;
	}
	return 0;
}

const struct settings_registry *settings_registry(const struct settings *settings, const char *name)
{
	for (size_t i = 0; i < settings->registry_count; i++)
		if (strcmp(settings->registries[i].name, name) == 0)
			return &settings->registries[i];
	return NULL;
}
