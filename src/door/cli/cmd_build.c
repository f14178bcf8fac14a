/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/number.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "oci/oci.h"
#include "json/json.h"

/* ---- Shared with run ---- */

const struct option_spec build_option_specs[BUILD_OPTIONS] = {
	{"allow", 0, OPTION_LIST, offsetof(struct build_flags, allow), "WHAT",
		"let steps have what they ask for: network.host, security.insecure", NULL,
		COMPLETE_NOTHING},
	{"build-arg", 0, OPTION_LIST, offsetof(struct build_flags, build_args), "NAME[=VALUE]",
		"a build argument; without a value that of the environment", NULL,
		COMPLETE_NOTHING},
	{"build-context", 0, OPTION_LIST, offsetof(struct build_flags, contexts), "NAME=WHERE",
		"a directory, or docker-image://NAME, in place of the stage or image NAME", NULL,
		COMPLETE_NOTHING},
	{"file", 'f', OPTION_TEXT, offsetof(struct build_flags, file), "FILE",
		"the Dockerfile (DIR/Dockerfile)", NULL, COMPLETE_FILE},
	{"no-cache", 0, OPTION_FLAG, offsetof(struct build_flags, no_cache), NULL,
		"run every step anew", NULL, COMPLETE_NOTHING},
	{"no-tool-cache", 0, OPTION_FLAG, offsetof(struct build_flags, no_tool_cache), NULL,
		"leave the caches of uv, pip and npm in the image", NULL, COMPLETE_NOTHING},
	{"platform", 0, OPTION_TEXT, offsetof(struct build_flags, platform), "OS/ARCH",
		"what the image is for (this machine, the only one there can be)", NULL,
		COMPLETE_NOTHING},
	{"progress", 0, OPTION_CHOICE, offsetof(struct build_flags, progress), "HOW",
		"how to tell what happens", progress_words, COMPLETE_NOTHING},
	{"pull", 0, OPTION_FLAG, offsetof(struct build_flags, pull), NULL,
		"ask the registry for base images that are here already", NULL, COMPLETE_NOTHING},
	{"ssh", 0, OPTION_LIST, offsetof(struct build_flags, agents), "default|ID[=SOCKET]",
		"an ssh-agent for RUN --mount=type=ssh; without SOCKET that of SSH_AUTH_SOCK", NULL,
		COMPLETE_NOTHING},
	{"target", 0, OPTION_TEXT, offsetof(struct build_flags, target), "STAGE",
		"the stage to build (the last one)", NULL, COMPLETE_NOTHING},
};

void build_flags_apply(
	const struct build_flags *flags, const char *dir, struct build_options *options)
{
	options->dir = dir;
	options->file = flags->file;
	options->target = flags->target;
	options->no_cache = flags->no_cache;
	options->no_tool_cache = flags->no_tool_cache;
	options->pull = flags->pull;
	options->platform = flags->platform;
	for (size_t i = 0; i < flags->build_args.count; i++)
		argv_add(&options->build_args, flags->build_args.items[i]);
	for (size_t i = 0; i < flags->contexts.count; i++)
		argv_add(&options->contexts, flags->contexts.items[i]);
	for (size_t i = 0; i < flags->allow.count; i++)
		argv_add(&options->allow, flags->allow.items[i]);
}

static int agent_check(const struct build_agent *agent, struct err *err)
{
	struct stat st;

	if (!*agent->id)
		return err_set(err, ERR_INPUT, "an id is missing");
	if (!*agent->socket) {
		(void)err_set(err, ERR_INPUT, "%s: SSH_AUTH_SOCK is not set", agent->id);
		return err_hint(err,
			"start an agent: eval $(ssh-agent) && ssh-add; or name its "
			"socket: --ssh %s=SOCKET",
			agent->id);
	}
	if (stat(agent->socket, &st) < 0)
		return err_sys(err, "%s: %s", agent->id, agent->socket);
	if (S_ISSOCK(st.st_mode))
		return 0;
	(void)err_set(
		err, ERR_INPUT, "%s: %s is not a socket of an agent", agent->id, agent->socket);
	return err_hint(err, "keys are not read from files: ssh-add %s, then --ssh %s",
		agent->socket, agent->id);
}

int build_flags_agents(struct arena *a, const struct build_flags *flags,
	struct build_options *options, struct err *err)
{
	size_t count = flags->agents.count;
	struct build_agent *agents = arena_array(a, count + 1, sizeof(*agents));
	const char *usual = getenv("SSH_AUTH_SOCK");

	for (size_t i = 0; i < count; i++) {
		struct str socket = str_of(flags->agents.items[i]), id = str_cut(&socket, '=');
		agents[i] = (struct build_agent){.id = arena_str(a, id).p,
			.socket = socket.p ? socket.p
				  : usual  ? usual
					   : ""};
		if (agent_check(&agents[i], err) < 0)
			return err_wrap(err, "--ssh");
	}
	options->agents = agents;
	options->agent_count = count;
	return 0;
}

void build_summary(const struct build_result *result, struct buf *ret)
{
	char time[32];

	buf_printf(ret, "build %s", print_duration(time, result->duration));
	/* FROM and what only says something about the image are no steps. */
	if (result->steps > 0)
		buf_printf(ret, " (%u/%u cached)", result->cached, result->steps);
}

static const char secret_form[] =
	"a secret looks like id=TOKEN or id=TOKEN,env=VARIABLE or id=TOKEN,src=FILE";

/* One "key=value" of a secret. */
static int secret_field(
	struct arena *a, struct str field, struct build_secret *ret, struct err *err)
{
	struct str value = field, key = str_cut(&value, '=');
	const char *text = arena_str(a, value.p ? value : STR("")).p;

	if (!value.p) {
		/* Not repeated: it may be the secret itself. */
		err_set(err, ERR_INPUT, "a part of it has no =");
		return err_hint(err, "%s", secret_form);
	}
	if (value.n == 0)
		return err_set(err, ERR_INPUT, "%.*s= needs a value", STR_ARG(key));
	if (str_is(key, "id")) {
		ret->id = text;
	} else if (str_is(key, "env")) {
		ret->env = text;
	} else if (str_is(key, "src") || str_is(key, "source")) {
		ret->file = text;
	} else if (!str_is(key, "type") || (!str_is(value, "env") && !str_is(value, "file"))) {
		/* What follows may be a secret in the wrong place: it is not repeated. */
		err_set(err, ERR_INPUT, "%.*s=… means nothing here", STR_ARG(key));
		return err_hint(err, "%s", secret_form);
	}
	return 0;
}

/* It becomes the name of a file in the step. */
static bool is_secret_id(struct str id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-",
			    id.p[i]))
			return false;
	return id.n > 0 && id.n < 256 && id.p[0] != '.';
}

static int secret_check(struct build_secret *secret, struct err *err)
{
	if (!secret->id)
		return err_set(err, ERR_INPUT, "id=… is missing");
	if (!is_secret_id(str_of(secret->id)))
		return err_set(err, ERR_INPUT, "id=%s: an id has letters, digits, '_', '-' and '.'",
			secret->id);
	if (secret->env && secret->file)
		return err_set(err, ERR_INPUT, "env and src exclude each other");
	if (secret->file && access(secret->file, R_OK) < 0)
		return err_set(err, ERR_INPUT, "src=%s: %s", secret->file, strerror(errno));
	if (!secret->env && !secret->file)
		secret->env = secret->id;
	if (secret->env && !getenv(secret->env))
		return err_set(err, ERR_INPUT, "the environment has no variable %s", secret->env);
	return 0;
}

int secret_parse(struct arena *a, const char *text, struct build_secret *ret, struct err *err)
{
	struct str rest = str_of(text);
	int r = 0;

	*ret = (struct build_secret){0};
	while (rest.p && r == 0)
		r = secret_field(a, str_cut(&rest, ','), ret, err);
	if (r == 0)
		r = secret_check(ret, err);
	return r < 0 ? err_wrap(err, "--secret") : 0;
}

/* ---- build ---- */

struct build_values {
	struct common_options common;
	struct build_flags flags;
	bool check;
	bool json;
	bool plan;
	struct option_list secrets;
	struct option_list tags;
};

static const struct option_spec own_options[] = {
	{"check", 0, OPTION_FLAG, offsetof(struct build_values, check), NULL,
		"print what BuildKit's checks find in the Dockerfile, build nothing", NULL,
		COMPLETE_NOTHING},
	{"json", 0, OPTION_FLAG, offsetof(struct build_values, json), NULL,
		"print the result (or the plan, or the findings) as JSON", NULL, COMPLETE_NOTHING},
	{"plan", 0, OPTION_FLAG, offsetof(struct build_values, plan), NULL,
		"print what would run and what is cached, run nothing", NULL, COMPLETE_NOTHING},
	{"secret", 0, OPTION_LIST, offsetof(struct build_values, secrets),
		"id=ID[,env=VARIABLE|,src=FILE]",
		"a secret for RUN --mount=type=secret; without env and src the variable ID", NULL,
		COMPLETE_NOTHING},
	{"tag", 't', OPTION_LIST, offsetof(struct build_values, tags), "NAME[:TAG]",
		"a name for the image", NULL, COMPLETE_IMAGE},
};

static int check_tags(struct invocation *inv, const struct option_list *tags, struct err *err)
{
	struct oci_reference reference;

	for (size_t i = 0; i < tags->count; i++)
		if (oci_reference_parse(&inv->arena, str_of(tags->items[i]), &reference, err) < 0)
			return err_wrap(err, "--tag");
	return 0;
}

static int read_secrets(struct invocation *inv, const struct option_list *list,
	struct build_options *options, struct err *err)
{
	struct build_secret *secrets = arena_array(&inv->arena, list->count + 1, sizeof(*secrets));

	for (size_t i = 0; i < list->count; i++) {
		int r = secret_parse(&inv->arena, list->items[i], &secrets[i], err);
		if (r < 0)
			return r;
	}
	options->secrets = secrets;
	options->secret_count = list->count;
	return 0;
}

static void add_result(
	const struct build_values *values, const struct build_result *result, struct buf *ret)
{
	if (!values->json) {
		buf_printf(ret, "%s\n", result->image_id);
		return;
	}
	struct json_writer w = json_writer_to(ret);
	json_begin_object(&w);
	json_add_text(&w, "image", result->image_id);
	json_add_u64(&w, "steps", result->steps);
	json_add_u64(&w, "cached", result->cached);
	json_add_i64(&w, "ms", result->duration / 1000000);
	json_end_object(&w);
	json_line(&w);
}

static int build_and_tell(struct invocation *inv, const struct settings *settings,
	struct build_options *options, struct err *err)
{
	const struct build_values *values = inv->values;
	cleanup(progress_free) struct progress *progress =
		progress_new(values->flags.progress, STDERR_FILENO);
	cleanup(buf_done) struct buf text = {0};
	struct build_result result = {0};

	options->on_event = progress_on_build;
	options->arg = progress;
	int r = build_run(settings, options, &result, err);
	progress_end(progress);
	if (r < 0)
		return r;
	build_summary(&result, &text);
	progress_note(progress, "summary", buf_str(&text));
	buf_clear(&text);
	add_result(values, &result, &text);
	r = print_result(&text, err);
	if (r == 0 && result.cached < result.steps)
		collect_after(settings, options->cancel_fd);
	return r;
}

/* As docker: findings make the command fail. */
static int check_and_tell(const struct settings *settings, const struct build_options *options,
	bool json, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct err unprinted = {0};
	size_t count = 0;

	int r = build_check(settings, options, json, &text, &count, err);
	int printed = print_result(&text, &unprinted);
	if (r == 0 && printed < 0)
		*err = unprinted;
	if (r < 0 || printed < 0)
		return r < 0 ? r : printed;
	if (!count)
		return 0;
	return err_set(
		err, ERR_FAILED, "the checks found %zu warning%s", count, count == 1 ? "" : "s");
}

static int build_with(struct invocation *inv, struct build_options *options, struct err *err)
{
	const struct build_values *values = inv->values;
	struct settings settings = {0};

	build_flags_apply(&values->flags, inv->operand_count > 0 ? inv->operands[0] : ".", options);
	for (size_t i = 0; i < values->tags.count; i++)
		argv_add(&options->tags, values->tags.items[i]);
	int r = check_tags(inv, &values->tags, err);
	if (r == 0)
		r = read_secrets(inv, &values->secrets, options, err);
	if (r == 0)
		r = build_flags_agents(&inv->arena, &values->flags, options, err);
	if (r == 0)
		r = invocation_settings(inv, &settings, err);
	if (r < 0)
		return r;
	if (values->check)
		return check_and_tell(&settings, options, values->json, err);
	if (values->plan) {
		cleanup(buf_done) struct buf text = {0};
		r = build_plan(&settings, options, values->json, &text, err);
		return r < 0 ? r : print_result(&text, err);
	}
	r = interrupt_watch(1, &options->cancel_fd, err);
	return r < 0 ? r : build_and_tell(inv, &settings, options, err);
}

static int build_main(struct invocation *inv, struct err *err)
{
	const struct build_values *values = inv->values;
	struct build_options options = {.cancel_fd = -1};

	inv->wants_json_story = values->flags.progress == PROGRESS_JSON;
	int r = build_with(inv, &options, err);
	argv_done(&options.tags);
	argv_done(&options.build_args);
	argv_done(&options.contexts);
	argv_done(&options.allow);
	return r;
}

const struct cli_command cmd_build = {
	.name = "build",
	.summary = "make an image from a folder with a Dockerfile",
	.operands = "[DIR]",
	.about =
		"Builds the image that the Dockerfile in DIR (the current directory) describes and "
		"prints its id. Steps whose inputs are as before are not run again.",
	.max_operands = 1,
	.completes = COMPLETE_DIR,
	.groups = {{"Options", own_options, array_size(own_options), 0},
		{"Build options", build_option_specs, BUILD_OPTIONS,
			offsetof(struct build_values, flags)},
		COMMON_GROUP},
	.values_size = sizeof(struct build_values),
	.run = build_main,
};
