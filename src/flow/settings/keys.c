/* SPDX-License-Identifier: Apache-2.0 */
#include "settings/internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/number.h"
#include "base/suggest.h"

enum { LOWEST_MEMORY = 16 * 1024 * 1024, LOWEST_SUBID = 65536, FEWEST_SUBIDS = 65536 };

struct key;

/* Takes the text of a scalar. */
typedef int key_reader(struct loader *l, const struct key *key, struct str text, struct err *err);

struct key {
	const char *name; /* nested ones with '.' */
	key_reader *read;
	size_t offset; /* in struct settings */
	uint64_t max;  /* of a number */
};

static key_reader read_path, read_file, read_bundle, read_runtime, read_subids, read_proxy,
	read_memory, read_cpus, read_count, read_timeout, read_network, read_bytes, read_fetching,
	read_share, read_switch, read_allow;

#define AT(member) offsetof(struct settings, member)

static const struct key keys[] = {
	{"build.allow", read_allow, AT(build.allow)},
	{"build.cpus", read_cpus, AT(build.milli_cpus)},
	{"build.fetch_keep", read_bytes, AT(build.fetch_keep)},
	{"build.fetch_network", read_fetching, AT(build.fetch_network)},
	{"build.fetch_size", read_bytes, AT(build.fetch_size)},
	{"build.memory", read_memory, AT(build.memory)},
	{"build.parallel", read_count, AT(build.parallel), SETTINGS_MAX_PARALLEL},
	{"build.pids", read_count, AT(build.pids), 4194304},
	{"build.timeout", read_timeout, AT(build.timeout)},
	{"build.tool_cache", read_switch, AT(build.tool_cache)},
	{"ca_bundle", read_bundle, AT(ca_bundle)},
	{"credentials", read_file, AT(credentials)},
	{"data", read_path, AT(data)},
	{"http_proxy", read_proxy, AT(http_proxy)},
	{"https_proxy", read_proxy, AT(https_proxy)},
	{"network", read_network, AT(network)},
	{"no_proxy", read_proxy, AT(no_proxy)},
	{"runtime", read_runtime, AT(runtime)},
	{"store.budget", read_share, AT(store.budget)},
	{"store.cache_budget", read_share, AT(store.cache_budget)},
	{"subids", read_subids, 0},
};

static int read_dns(struct loader *l, const struct yaml_node *value, struct err *err);

/* Keys whose values are no scalars. */
static const struct {
	const char *name;
	int (*read)(struct loader *l, const struct yaml_node *value, struct err *err);
} collections[] = {
	{"dns", read_dns},
	{"registries", read_registries},
};

int refuse(const struct loader *l, struct err *err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (l->node)
		return source_error(err, ERR_INPUT, l->file, l->node->span, "%s", text);
	if (l->origin)
		return err_set(err, ERR_INPUT, "%s: %s", l->origin, text);
	return err_set(err, ERR_INPUT, "%s", text);
}

static void *place_of(struct loader *l, const struct key *key)
{
	return (char *)l->settings + key->offset;
}

static bool is_none(struct str text)
{
	return text.n == 0 || str_is(text, "none");
}

/* ---- Readers ---- */

/* Absolute, or below the home directory; a path that is no line of a file may be relative. */
static int read_path(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	const char *path = arena_str(l->arena, text).p;
	char here[4096];

	while (text.n > 1 && text.p[text.n - 1] == '/')
		text.n--;
	if (str_starts(text, STR("~/"))) {
		const char *home = caller_home(l->arena, l->caller);
		if (!home)
			return refuse(l, err, "%s: %s: HOME is not set", key->name, path);
		path = arena_printf(l->arena, "%s/%.*s", home, STR_ARG(str_from_index(text, 2)));
	} else if (text.n && text.p[0] == '/') {
		path = arena_str(l->arena, text).p;
	} else if (l->node || text.n == 0) {
		return refuse(l, err, "%s: \"%s\" is not an absolute path", key->name, path);
	} else {
		if (!getcwd(here, sizeof(here)))
			return err_sys(err, "working directory");
		path = arena_printf(l->arena, "%s/%.*s", here, STR_ARG(text));
	}
	if (strcmp(path, "/") == 0)
		return refuse(l, err, "%s: \"/\" cannot be used", key->name);
	*(const char **)place_of(l, key) = path;
	return 0;
}

static int read_file(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	const char **place = place_of(l, key);
	int r = read_path(l, key, text, err);

	if (r == 0 && !is_readable_file(*place))
		return refuse(l, err, "%s: %s is not a file that can be read", key->name, *place);
	return r;
}

static int read_bundle(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	if (!is_none(text))
		return read_file(l, key, text, err);
	*(const char **)place_of(l, key) = "";
	return 0;
}

static int read_runtime(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	if (text.n == 0 || str_is(text, ".") || str_is(text, ".."))
		return refuse(l, err, "%s must be the name or the path of a program", key->name);
	if (str_find(text, '/') < text.n)
		return read_path(l, key, text, err);
	*(const char **)place_of(l, key) = arena_str(l->arena, text).p;
	return 0;
}

static int read_subids(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	struct str count_text = text, base_text = str_cut(&count_text, ':');
	uint64_t base, count;

	if (!parse_u64(base_text, UINT32_MAX, &base) ||
		!parse_u64(count_text, UINT32_MAX, &count)) {
		(void)refuse(l, err, "%s: \"%.*s\" is not a range of ids", key->name,
			STR_ARG(str_head(text, 64)));
		return err_hint_add(err, "write the first id and how many: 2000000:65536");
	}
	if (count < FEWEST_SUBIDS)
		return refuse(l, err, "%s: %llu ids are too few; images use ids up to %d",
			key->name, (unsigned long long)count, FEWEST_SUBIDS - 1);
	if (base < LOWEST_SUBID || base + count > UINT32_MAX)
		return refuse(l, err,
			"%s: the range must lie between %d and %u, clear of the host's own users",
			key->name, LOWEST_SUBID, UINT32_MAX - 1);
	l->settings->subid_base = (uint32_t)base;
	l->settings->subid_count = (uint32_t)count;
	return 0;
}

static int read_proxy(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] <= ' ')
			return refuse(l, err, "%s: a blank in the address", key->name);
	*(const char **)place_of(l, key) = is_none(text) ? "" : arena_str(l->arena, text).p;
	return 0;
}

static bool take_size(struct str text, uint64_t *ret)
{
	*ret = 0;
	return is_none(text) || parse_size(text, ret);
}

static int refuse_size(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	(void)refuse(l, err, "%s: \"%.*s\" is not a size", key->name, STR_ARG(str_head(text, 64)));
	return err_hint_add(err, "write a number with its unit: 512MiB, 8GiB; or none");
}

static int read_bytes(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	uint64_t bytes;

	if (!take_size(text, &bytes))
		return refuse_size(l, key, text, err);
	*(uint64_t *)place_of(l, key) = bytes;
	return 0;
}

static int read_memory(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	uint64_t bytes;

	if (!take_size(text, &bytes))
		return refuse_size(l, key, text, err);
	if (bytes && bytes < LOWEST_MEMORY) {
		(void)refuse(l, err, "%s: %llu bytes are too little for any build", key->name,
			(unsigned long long)bytes);
		return err_hint_add(err, "write a number with its unit: 512MiB, 8GiB; or none");
	}
	*(uint64_t *)place_of(l, key) = bytes;
	return 0;
}

/* "1.5" in thousandths, at most three places. */
static bool parse_thousandths(struct str text, uint64_t max, uint64_t *ret)
{
	struct str part = text, whole = str_cut(&part, '.');
	uint64_t number, fraction = 0, scale = 1000;

	if (!parse_u64(whole, max, &number))
		return false;
	if (part.p && (part.n > 3 || !parse_u64(part, 999, &fraction)))
		return false;
	for (size_t i = 0; i < part.n; i++)
		scale /= 10;
	*ret = number * 1000 + fraction * scale;
	return true;
}

static int read_cpus(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	uint64_t thousandths = 0;

	if (!is_none(text) && !parse_thousandths(text, 100000, &thousandths)) {
		(void)refuse(l, err, "%s: \"%.*s\" is not a number of CPUs", key->name,
			STR_ARG(str_head(text, 64)));
		return err_hint_add(err, "write a number like 2 or 1.5; or none");
	}
	*(unsigned *)place_of(l, key) = (unsigned)thousandths;
	return 0;
}

static int read_count(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	uint64_t number = 0;

	if (!is_none(text) && !parse_u64(text, key->max, &number))
		return refuse(l, err, "%s: \"%.*s\" is not a number up to %llu", key->name,
			STR_ARG(str_head(text, 64)), (unsigned long long)key->max);
	*(uint64_t *)place_of(l, key) = number;
	return 0;
}

static int read_timeout(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	int64_t ns = 0;

	if (!is_none(text) && !parse_duration(text, &ns)) {
		(void)refuse(l, err, "%s: \"%.*s\" is not a duration", key->name,
			STR_ARG(str_head(text, 64)));
		return err_hint_add(err, "write a number with its unit: 30m, 1h30m; or none");
	}
	*(int64_t *)place_of(l, key) = ns;
	return 0;
}

static int read_share(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	struct settings_share share = {.bytes = UINT64_MAX};
	struct str number = str_slice(text, 0, text.n ? text.n - 1 : 0);
	uint64_t percent = 0;

	if (text.n && text.p[text.n - 1] == '%') {
		if (!parse_u64(number, 100, &percent) || percent == 0)
			return refuse(l, err, "%s: \"%.*s\" is not a percentage from 1%% to 100%%",
				key->name, STR_ARG(str_head(text, 64)));
		share = (struct settings_share){.percent = (unsigned)percent};
	} else if (!is_none(text) && !parse_size(text, &share.bytes)) {
		(void)refuse(l, err, "%s: \"%.*s\" is not a size", key->name,
			STR_ARG(str_head(text, 64)));
		return err_hint_add(err, "write 50GiB, or 20%% of the disk; or none");
	}
	*(struct settings_share *)place_of(l, key) = share;
	return 0;
}

static int read_switch(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	bool *on = place_of(l, key);

	*on = str_is(text, "true");
	if (*on || str_is(text, "false"))
		return 0;
	return refuse(l, err, "%s must be true or false, not \"%.*s\"", key->name, STR_ARG(text));
}

unsigned settings_allowed(struct str name)
{
	return str_is(name, "network.host")	   ? SETTINGS_ALLOW_HOST_NETWORK
	       : str_is(name, "security.insecure") ? SETTINGS_ALLOW_INSECURE
						   : 0;
}

static int read_allow(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	unsigned *allow = place_of(l, key);

	*allow = 0;
	while (text.p && !is_none(text)) {
		struct str name = str_trim(str_cut(&text, ','));
		if (!settings_allowed(name))
			return refuse(l, err,
				"%s: \"%.*s\" is not one of network.host or security.insecure",
				key->name, STR_ARG(str_head(name, 64)));
		*allow |= settings_allowed(name);
	}
	return 0;
}

static int read_network(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	if (!str_is(text, "pasta") && !str_is(text, "none"))
		return refuse(l, err, "%s: \"%.*s\" is not one of pasta or none", key->name,
			STR_ARG(str_head(text, 64)));
	*(enum settings_network *)place_of(l, key) =
		str_is(text, "none") ? SETTINGS_NETWORK_NONE : SETTINGS_NETWORK_PASTA;
	return 0;
}

static int read_fetching(struct loader *l, const struct key *key, struct str text, struct err *err)
{
	if (!str_is(text, "build") && !str_is(text, "host"))
		return refuse(l, err, "%s: \"%.*s\" is not one of build or host", key->name,
			STR_ARG(str_head(text, 64)));
	*(enum settings_fetching *)place_of(l, key) =
		str_is(text, "host") ? SETTINGS_FETCH_AS_HOST : SETTINGS_FETCH_AS_STEPS;
	return 0;
}

static int read_dns(struct loader *l, const struct yaml_node *value, struct err *err)
{
	struct settings_list *list = &l->settings->dns;
	unsigned char address[16];
	size_t cap = 0;

	if (value->kind != YAML_SEQUENCE)
		return refuse(l, err, "dns must be a list of addresses, not %s",
			yaml_kind_text(value->kind));
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_node *item = l->node = value->items[i];
		if (item->kind != YAML_SCALAR)
			return refuse(
				l, err, "dns: an address cannot be %s", yaml_kind_text(item->kind));
		if (inet_pton(AF_INET, item->text.p, address) != 1 &&
			inet_pton(AF_INET6, item->text.p, address) != 1)
			return refuse(l, err, "dns: \"%.*s\" is not an IP address",
				STR_ARG(str_head(item->text, 64)));
		list->items =
			arena_grow(l->arena, list->items, list->count, &cap, sizeof(*list->items));
		list->items[list->count++] = item->text.p;
	}
	return 0;
}

/* ---- Keys of a file ---- */

static const struct key *find_key(const char *group, struct str name)
{
	size_t front = strlen(group);

	for (size_t i = 0; i < array_size(keys); i++) {
		struct str full = str_of(keys[i].name);
		if (str_starts(full, str_of(group)) && str_eq(str_from_index(full, front), name))
			return &keys[i];
	}
	return NULL;
}

/* Groups of nested keys, and an example for those who write them otherwise. */
static const struct group {
	const char *name, *prefix, *example;
} groups[] = {
	{"build", "build.", "build: {memory: 8GiB}"},
	{"store", "store.", "store: {budget: 50GiB}"},
};

static const struct group *find_group(struct str name)
{
	for (size_t i = 0; i < array_size(groups); i++)
		if (str_is(name, groups[i].name))
			return &groups[i];
	return NULL;
}

static int refuse_unknown(struct loader *l, const char *group, struct str name, struct err *err)
{
	struct suggest near = {.written = name};
	size_t front = strlen(group);

	/* In a file nested keys are written below their group. */
	for (size_t i = 0; i < array_size(keys); i++)
		if (str_starts(str_of(keys[i].name), str_of(group)) &&
			(front || !l->file || !strchr(keys[i].name, '.')))
			suggest_offer(&near, keys[i].name + front);
	for (size_t i = 0; l->file && !front && i < array_size(collections); i++)
		suggest_offer(&near, collections[i].name);
	for (size_t i = 0; l->file && !front && i < array_size(groups); i++)
		suggest_offer(&near, groups[i].name);
	(void)refuse(l, err, "unknown key \"%s%.*s\"", group, STR_ARG(str_head(name, 64)));
	if (near.best)
		return err_hint_add(err, "did you mean %s%s?", group, near.best);
	return err_hint_add(err, "the keys are listed in spaceport.yaml(5)");
}

/* A list of words is what they are with commas between them. */
static int take_words(struct loader *l, const struct key *key, struct err *err)
{
	const struct yaml_node *value = l->node;
	cleanup(buf_done) struct buf text = {0};

	for (size_t i = 0; i < value->count; i++) {
		l->node = value->items[i];
		if (l->node->kind != YAML_SCALAR)
			return refuse(l, err, "%s must be a list of words", key->name);
		buf_printf(&text, "%s%.*s", i ? "," : "", STR_ARG(l->node->text));
	}
	l->node = value;
	return key->read(l, key, buf_str(&text), err);
}

static int take_scalar(struct loader *l, const struct key *key, struct err *err)
{
	const struct yaml_node *value = l->node;

	if (yaml_is_null(value))
		return 0;
	if (value->kind == YAML_SEQUENCE && key->read == read_allow)
		return take_words(l, key, err);
	if (value->kind != YAML_SCALAR)
		return refuse(l, err, "%s must be one value, not %s", key->name,
			yaml_kind_text(value->kind));
	return key->read(l, key, value->text, err);
}

static int take_group(
	struct loader *l, const struct group *group, const struct yaml_node *value, struct err *err)
{
	if (yaml_is_null(value))
		return 0;
	if (value->kind != YAML_MAPPING)
		return refuse(l, err, "%s must be a mapping, not %s", group->name,
			yaml_kind_text(value->kind));
	for (size_t i = 0; i < value->count; i++) {
		const struct key *key = find_key(group->prefix, value->pairs[i].key->text);
		l->node = value->pairs[i].key;
		if (!key)
			return refuse_unknown(l, group->prefix, l->node->text, err);
		l->node = value->pairs[i].value;
		int r = take_scalar(l, key, err);
		if (r)
			return r;
	}
	return 0;
}

static int take_pair(struct loader *l, const struct yaml_pair *pair, struct err *err)
{
	struct str name = pair->key->text;
	const struct key *key = str_find(name, '.') == name.n ? find_key("", name) : NULL;

	const struct group *group = find_group(name);

	l->node = pair->value;
	if (group)
		return take_group(l, group, pair->value, err);
	if (key)
		return take_scalar(l, key, err);
	for (size_t i = 0; i < array_size(collections); i++)
		if (str_is(name, collections[i].name))
			return yaml_is_null(pair->value) ? 0
							 : collections[i].read(l, pair->value, err);
	l->node = pair->key;
	if (!find_key("", name))
		return refuse_unknown(l, "", name, err);
	(void)refuse(l, err, "%.*s is a nested key", STR_ARG(name));
	struct str rest = name;
	group = find_group(str_cut(&rest, '.'));
	return err_hint_add(err, "write it below its group: %s", (group ? group : groups)->example);
}

int settings_parse(struct loader *l, const struct yaml_node *root, struct err *err)
{
	int r = 0;

	l->node = root;
	if (root->kind != YAML_MAPPING)
		return refuse(l, err, "the file is %s, not a mapping of keys to values",
			yaml_kind_text(root->kind));
	for (size_t i = 0; i < root->count && r == 0; i++)
		r = take_pair(l, &root->pairs[i], err);
	l->node = NULL;
	return r;
}

/* ---- Keys from elsewhere ---- */

static void variable_name(const char *key, char name[static 64])
{
	size_t n = (size_t)snprintf(name, 64, "SPACEPORT_%s", key);

	for (size_t i = 0; i < n; i++) {
		if (name[i] >= 'a' && name[i] <= 'z')
			name[i] = (char)(name[i] - ('a' - 'A'));
		else if (name[i] == '.')
			name[i] = '_';
	}
}

int settings_take_variables(struct loader *l, struct err *err)
{
	char name[64];
	int r = 0;

	l->node = NULL;
	for (size_t i = 0; i < array_size(keys) && r == 0; i++) {
		variable_name(keys[i].name, name);
		const char *value = caller_variable(l->arena, l->caller, name);
		l->origin = name;
		if (value)
			r = keys[i].read(l, &keys[i], str_of(value), err);
	}
	l->origin = NULL;
	return r;
}

int settings_set(struct arena *a, struct settings *settings, const char *key, const char *value,
	struct err *err)
{
	struct settings_caller caller = settings_caller_self();
	struct loader l = {.arena = a, .caller = &caller, .settings = settings};
	const struct key *found = find_key("", str_of(key));

	if (!found)
		return refuse_unknown(&l, "", str_of(key), err);
	int r = found->read(&l, found, str_of(value), err);
	drop_nones(settings);
	return r;
}
