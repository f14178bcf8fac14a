/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include "base/suggest.h"

#define MINUTE INT64_C(60000000000)

static const char *const colors[] = {
	"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray", NULL};
static const char *const sdks[] = {"docker", "gradio", "streamlit", "static", NULL};
static const char *const headers[] = {"default", "mini", NULL};
static const char *const storages[] = {"small", "medium", "large", NULL};
static const char *const scopes[] = {"openid", "profile", "email", "read-billing",
	"read-memberships", "read-repos", "gated-repos", "contribute-repos", "write-repos",
	"manage-repos", "read-collections", "write-collections", "inference-api", "read-endpoints",
	"write-endpoints", "jobs", "webhooks", "write-discussions", NULL};

#define AT(member) offsetof(struct space_config, member)

/* Every field of the configuration reference, in the order of the alphabet. */
static const struct field fields[] = {
	{"app_build_command", read_text, AT(app_build_command), ON_STATIC},
	{"app_file", read_text, AT(app_file), ON_PYTHON | ON_STATIC, .check = check_app_file},
	{"app_port", read_number, AT(app_port), ON_DOCKER, "bad-app-port", check_port, .min = 1,
		.max = 65535},
	{"base_path", read_text, AT(base_path), ON_SERVERS, .check = check_base_path},
	{"colorFrom", read_text, AT(color_from), ON_ALL, "bad-color", .allowed = colors},
	{"colorTo", read_text, AT(color_to), ON_ALL, "bad-color", .allowed = colors},
	{"custom_headers", read_headers, 0, ON_ALL},
	{"datasets", read_list, AT(datasets), ON_ALL, .check = check_hub_id},
	{"description", NULL, 0, ON_ALL},
	{"dev-mode-folder", NULL, 0, ON_ALL},
	{"disable_embedding", read_bool, AT(disable_embedding), ON_ALL},
	{"duplicated_from", NULL, 0, ON_ALL},
	{"emoji", read_text, AT(emoji), ON_ALL, .check = check_emoji},
	{"fullWidth", read_bool, AT(full_width), ON_ALL},
	{"header", read_choice, AT(header), ON_ALL, .allowed = headers,
		.min = SPACE_HEADER_DEFAULT},
	{"hf_oauth", read_bool, AT(hf_oauth), ON_ALL},
	{"hf_oauth_authorized_org", read_list, AT(hf_oauth_authorized_org), ON_ALL,
		.one_is_list = true},
	{"hf_oauth_expiration_minutes", read_number, AT(hf_oauth_expiration_minutes), ON_ALL,
		.min = 1, .max = 43200},
	{"hf_oauth_scopes", read_list, AT(hf_oauth_scopes), ON_ALL, .allowed = scopes},
	{"license", read_list, AT(license), ON_ALL, .check = check_license, .one_is_list = true},
	{"metaTitle", NULL, 0, ON_ALL},
	{"models", read_list, AT(models), ON_ALL, .check = check_hub_id},
	{"pinned", read_bool, AT(pinned), ON_ALL},
	{"preload_from_hub", read_preload, 0, ON_SERVERS},
	{"python_version", read_text, AT(python_version), ON_PYTHON, .check = check_python},
	{"sdk", read_choice, AT(sdk), ON_ALL, "sdk-not-docker", .allowed = sdks,
		.min = SPACE_SDK_DOCKER},
	{"sdk_version", read_text, AT(sdk_version), ON_PYTHON},
	{"short_description", read_text, AT(short_description), ON_ALL, "description-too-long",
		check_description},
	{"startup_duration_timeout", read_duration, AT(startup_duration_timeout), ON_SERVERS},
	{"suggested_hardware", read_text, AT(suggested_hardware), ON_SERVERS, "bad-hardware",
		check_hardware},
	{"suggested_storage", read_text, AT(suggested_storage), ON_ALL, .check = check_storage,
		.allowed = storages},
	{"tags", read_list, AT(tags), ON_ALL},
	{"thumbnail", read_text, AT(thumbnail), ON_ALL, .check = check_url},
	{"title", read_text, AT(title), ON_ALL},
};

/* Keys that people expect and Spaces do not have. */
static const struct {
	const char *name, *remedy;
} expected[] = {
	{"build", "the Dockerfile says how the Space is built"},
	{"docker_file", "the file must be named Dockerfile and lie beside README.md"},
	{"dockerfile", "the file must be named Dockerfile and lie beside README.md"},
	{"env", "set variables in the Space's settings, or with ENV in the Dockerfile"},
	{"hardware", "suggested_hardware suggests it; it is assigned in the Space's settings"},
	{"port", "did you mean app_port?"},
	{"secrets", "set secrets in the Space's settings, never in a file"},
	{"storage", "Spaces no longer have persistent storage"},
	{"variables", "set variables in the Space's settings, or with ENV in the Dockerfile"},
};

static const struct field *find_field(struct str name)
{
	for (size_t i = 0; i < array_size(fields); i++)
		if (str_is(name, fields[i].name))
			return &fields[i];
	return NULL;
}

static void take_unknown(struct loader *l, const struct yaml_node *key)
{
	struct suggest near = {.written = key->text};

	for (size_t i = 0; i < array_size(expected); i++)
		if (str_is(key->text, expected[i].name)) {
			finding_add(l, FINDING_WARNING, "ignored-key", key->span,
				"%s is not a field of Spaces and has no effect", expected[i].name)
				->remedy = expected[i].remedy;
			return;
		}
	for (size_t i = 0; i < array_size(fields); i++)
		suggest_offer(&near, fields[i].name);
	struct space_finding *finding =
		finding_add(l, near.best ? FINDING_WARNING : FINDING_NOTE, "ignored-key", key->span,
			"%s is not a field of Spaces and has no effect", shown(l, key->text));
	if (near.best)
		finding->remedy = arena_printf(l->arena, "did you mean %s?", near.best);
}

static void take_pair(struct loader *l, const struct yaml_pair *pair, size_t *cap)
{
	struct space_config *config = l->config;
	const struct field *f = find_field(pair->key->text);

	config->keys =
		arena_grow(l->arena, config->keys, config->key_count, cap, sizeof(*config->keys));
	config->keys[config->key_count++] = (struct space_key){
		.name = pair->key->text.p,
		.key = pair->key->span,
		.value = pair->value->span,
	};
	if (!f)
		take_unknown(l, pair->key);
	else if (f->read && !yaml_is_null(pair->value))
		f->read(l, f, pair->value);
}

static void note_ineffective(struct loader *l)
{
	struct space_config *config = l->config;

	for (size_t i = 0; config->sdk && i < config->key_count; i++) {
		const struct field *f = find_field(str_of(config->keys[i].name));
		if (f && !(f->sdks & 1u << config->sdk))
			finding_add(l, FINDING_NOTE, "ignored-key", config->keys[i].key,
				"%s has no effect with sdk %s", f->name,
				space_sdk_name(config->sdk));
	}
}

static void take_block(struct loader *l, const struct yaml_node *root)
{
	static const char shape[] = "write lines of the form 'key: value', with a blank after ':'";
	static const struct span start = {1, 1, 1, 4};
	size_t cap = 0;

	if (root->kind != YAML_MAPPING) {
		finding_add(l, FINDING_ERROR, "bad-front-matter", root->span,
			"the configuration block is %s, not a mapping", yaml_kind_text(root->kind))
			->remedy = shape;
		return;
	}
	for (size_t i = 0; i < root->count; i++)
		take_pair(l, &root->pairs[i], &cap);
	const struct yaml_node *sdk = yaml_find(root, "sdk");
	if (!sdk || yaml_is_null(sdk))
		finding_add(l, FINDING_ERROR, "sdk-not-docker", sdk ? sdk->span : start,
			"the configuration block has no sdk")
			->remedy = "add a line 'sdk: docker'";
	note_ineffective(l);
}

void space_config_parse(struct arena *a, const struct source *readme, struct space_config *ret)
{
	struct loader l = {.arena = a, .config = ret};
	struct space_finding found;
	struct yaml_problem problem;
	const struct yaml_node *root;
	struct str block;

	*ret = (struct space_config){
		.app_file = "app.py",
		.app_port = 7860,
		.base_path = "/",
		.full_width = true,
		.hf_oauth_expiration_minutes = 480,
		.startup_duration_timeout = 30 * MINUTE,
	};
	int r = space_front_matter(readme, &block, &found);
	if (found.text)
		finding_add(&l, found.level, found.rule, found.span, "%s", found.text)->remedy =
			found.remedy;
	if (r < 0)
		return;
	if (yaml_parse(a, readme, block, &root, &problem))
		finding_add(&l, FINDING_ERROR, "bad-front-matter", problem.span, "%s", problem.text)
			->remedy = arena_strdup(a, problem.remedy);
	else
		take_block(&l, root);
	findings_sort(ret);
}

const struct space_key *space_config_key(const struct space_config *config, const char *name)
{
	for (size_t i = 0; i < config->key_count; i++)
		if (strcmp(config->keys[i].name, name) == 0)
			return &config->keys[i];
	return NULL;
}

const char *space_sdk_name(enum space_sdk sdk)
{
	return sdk == SPACE_SDK_NONE ? "" : sdks[sdk - SPACE_SDK_DOCKER];
}
