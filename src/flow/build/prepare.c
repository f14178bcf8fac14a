/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/map.h"
#include "build/internal.h"

/* ---- files ---- */

/* The Dockerfile's path; the lower-case name counts when the usual one is not there. */
static char *dockerfile_path(struct build *b)
{
	struct stat st;

	if (b->options->file)
		return arena_printf(&b->arena, "%s", b->options->file);
	const char *name = "Dockerfile";
	int dir = b->contexts[0].dir;
	if (fstatat(dir, name, &st, 0) < 0 && fstatat(dir, "dockerfile", &st, 0) == 0)
		name = "dockerfile";
	bool here = strcmp(b->options->dir, ".") == 0;
	return arena_printf(
		&b->arena, "%s%s%s", here ? "" : b->options->dir, here ? "" : "/", name);
}

static int read_dockerfile(struct build *b, char **ret_path, struct err *err)
{
	char *path = dockerfile_path(b);
	int r = build_read_text(path, DOCKERFILE_MAX_SIZE, &b->dockerfile_text, err);

	*ret_path = path;
	if (r != -ERR_MISSING)
		return r;
	(void)err_set(err, ERR_INPUT, "no Dockerfile: %s does not exist", path);
	return err_hint(err, "a Docker Space needs a file named Dockerfile at its root; "
			     "another one is named with -f FILE");
}

/* ---- build arguments ---- */

static void add_args(struct build *b)
{
	for (size_t i = 0; i < b->options->build_args.count; i++) {
		struct str text = str_of(b->options->build_args.items[i]);
		struct str rest = text, name = str_cut(&rest, '=');
		if (rest.p) {
			oci_list_set_env(&b->arena, &b->build_args, name, rest);
			continue;
		}
		/* NAME alone: the caller's variable, and nothing at all when it is not set. */
		const char *value = getenv(b->options->build_args.items[i]);
		if (value)
			oci_list_set_env(&b->arena, &b->build_args, name, str_of(value));
	}
}

/* The one variable that is a build argument without being named, as for docker buildx. */
static void add_epoch(struct build *b)
{
	static const char name[] = "SOURCE_DATE_EPOCH";
	const char *value = getenv(name);

	/* What is named comes later, and wins. */
	if (value && *value)
		oci_list_set_env(&b->arena, &b->build_args, str_of(name), str_of(value));
}

/* ---- images ---- */

/* All of it here, to stay while this build lasts? 1 or 0, < 0 on error. */
static int is_complete(struct build *b, const struct image_record *record, struct err *err)
{
	if (b->lease) {
		int r = store_lease_record(b->lease, b->layers, record, err);
		return r < 0 ? r : r == 0;
	}
	for (size_t i = 0; i < record->layers.count; i++) {
		struct layer_key key;
		if (!layer_key_parse(str_of(record->layers.items[i]), &key) ||
			!layer_has(b->layers, &key))
			return 0;
	}
	return 1;
}

static int check_platform(const struct oci_platform *platform, struct err *err)
{
	struct oci_platform host = oci_platform_host();

	if (oci_platform_matches(&host, platform))
		return 0;
	(void)err_set(err, ERR_INPUT, "platform %s/%s%s%s cannot be built here", platform->os,
		platform->architecture, *platform->variant ? "/" : "", platform->variant);
	return err_hint(
		err, "this machine is %s/%s, and no other is emulated", host.os, host.architecture);
}

static int find_image(
	struct build *b, const struct plan_image *image, struct image_record *ret, struct err *err)
{
	const struct store_transfer transfer = {.on_progress = build_emit_progress,
		.arg = b,
		.cancel_fd = b->options->cancel_fd,
		.lease = b->lease};
	int r = IMAGE_E_ABSENT;

	if (check_platform(&image->platform, err) < 0)
		return -(int)err->kind;
	if (!b->options->pull && b->images)
		r = image_find(b->images, &b->arena, str_of(image->reference.text), ret, err);
	int whole = r == 0 ? is_complete(b, ret, err) : 0;
	if (r < 0 || whole)
		return r < 0 ? r : whole < 0 ? whole : 0;
	if (b->plan_only) {
		*ret = (struct image_record){0};
		return IMAGE_E_ABSENT;
	}
	return store_pull(b->store, &b->arena, &image->reference, &transfer, ret, err);
}

struct resolver {
	struct build *b;
	struct map *found; /* reference text → struct image_record */
};

static int resolve_image(struct resolver *r, const struct plan_image *image,
	struct image_record **ret, struct err *err)
{
	struct str name = str_of(image->reference.text);
	struct image_record *record = map_find(r->found, name);

	if (!record) {
		record = arena_alloc(&r->b->arena, sizeof(*record));
		int result = find_image(r->b, image, record, err);
		if (result < 0)
			return result;
		(void)map_set(r->found, name, record);
	}
	*ret = record;
	return 0;
}

static int resolve_config(
	void *arg, const struct plan_image *image, struct oci_config *ret, struct err *err)
{
	struct resolver *r = arg;
	struct image_record *record = NULL;
	int result = resolve_image(r, image, &record, err);

	if (result < 0)
		return result;
	if (!record || !record->config.n) {
		*ret = (struct oci_config){.platform = oci_platform_host()};
		return 0;
	}
	result = oci_config_parse(&r->b->arena, record->config, ret, err);
	return result < 0 ? err_wrap(err, "configuration of %s", image->name) : 0;
}

/* ---- the plan ---- */

/*
 * What is wrong in a Dockerfile is a build that fails (status 1, as docker has it), not a wrong
 * use of this program.
 */
static int file_failed(int r, struct err *err)
{
	if (r >= 0 || err->kind != ERR_INPUT)
		return r;
	err->kind = ERR_FAILED;
	return -ERR_FAILED;
}

/* --platform; without it the platform has no os. */
static int read_platform(struct build *b, struct oci_platform *ret, struct err *err)
{
	*ret = (struct oci_platform){0};
	if (!b->options->platform)
		return 0;
	int r = oci_platform_parse(&b->arena, str_of(b->options->platform), ret, err);
	if (r == 0)
		r = check_platform(ret, err);
	return r < 0 ? err_wrap(err, "--platform") : 0;
}

static int make_plan(struct build *b, struct resolver *resolver, struct err *err)
{
	struct oci_platform platform;
	int r = read_platform(b, &platform, err);

	if (r < 0)
		return r;
	const struct plan_options options = {
		.target = str_of(b->options->target ? b->options->target : ""),
		.build_args = &b->build_args,
		.contexts = b->plan_contexts,
		.context_count = b->context_count - 1,
		.build_platform = oci_platform_host(),
		.target_platform = platform,
		.resolve = resolve_config,
		.arg = resolver,
	};

	r = file_failed(plan_make(&b->arena, &b->file, &options, &b->plan, err), err);
	if (r < 0)
		return r;
	b->records = arena_array(&b->arena, b->plan.image_count + 1, sizeof(*b->records));
	for (size_t i = 0; i < b->plan.image_count && r == 0; i++) {
		struct image_record *record = NULL;
		r = resolve_image(resolver, &b->plan.images[i], &record, err);
		if (r == 0 && record)
			b->records[i] = *record;
		else if (r != -ERR_CANCELLED)
			(void)source_wrap(err, &b->file.source, b->plan.images[i].span, "%s",
				b->plan.images[i].name);
	}
	return r;
}

static void warn(struct build *b)
{
	for (size_t i = 0; i < b->plan.warning_count; i++) {
		const struct plan_warning *w = &b->plan.warnings[i];
		const char *text = w->span.line
					   ? arena_printf(&b->arena, "%s:%u: %s",
						     b->file.source.name, w->span.line, w->text)
					   : w->text;
		build_emit_text(b, BUILD_WARNING, str_of(text));
	}
}

int build_read(struct build *b, struct err *err)
{
	char *path = NULL;

	int r = build_open_contexts(b, err);
	if (r == 0)
		r = read_dockerfile(b, &path, err);
	if (r == 0)
		r = build_read_ignores(b, path, err);
	if (r < 0)
		return r;
	const struct source source = {path, buf_str(&b->dockerfile_text)};
	add_epoch(b);
	add_args(b);
	const char *syntax = expand_get_list(&b->build_args, STR("BUILDKIT_SYNTAX"));
	r = dockerfile_check_syntax(&b->arena, &source, str_of(syntax), err);
	if (r == 0)
		r = dockerfile_parse(&b->arena, &source, &b->file, err);
	return file_failed(r, err);
}

int build_make_plan(struct build *b, struct err *err)
{
	cleanup(map_free) struct map *found = map_new();
	struct resolver resolver = {b, found};

	return make_plan(b, &resolver, err);
}

int build_prepare(struct build *b, struct err *err)
{
	int r = build_read(b, err);

	if (r == 0)
		r = build_read_secrets(b, err);
	if (r == 0)
		r = build_make_plan(b, err);
	if (r == 0)
		r = build_lint(b, err);
	if (r == 0)
		r = build_find_inputs(b, err);
	if (r == 0)
		r = build_check_allowed(b, err);
	if (r == 0)
		warn(b);
	return r;
}
