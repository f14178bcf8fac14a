/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/map.h"
#include "build/internal.h"
#include "os/file.h"

/* ---- files ---- */

static int open_context(struct build *b, struct err *err)
{
	const char *dir = b->options->dir;

	b->context = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->context >= 0)
		return 0;
	if (errno == ENOTDIR)
		return err_set(err, ERR_INPUT, "build context %s is not a directory", dir);
	(void)err_sys(err, "build context %s", dir);
	err->kind = ERR_INPUT;
	return -ERR_INPUT;
}

static int read_text(const char *path, size_t limit, struct buf *ret, struct err *err)
{
	int r = file_read(AT_FDCWD, path, limit, ret, err);

	if (r == -ERR_LIMIT)
		return err_set(err, ERR_FAILED, "%s is larger than %zu bytes", path, limit);
	return r;
}

/* The Dockerfile's path; the lower-case name counts when the usual one is not there. */
static char *dockerfile_path(struct build *b)
{
	struct stat st;

	if (b->options->file)
		return arena_printf(&b->arena, "%s", b->options->file);
	const char *name = "Dockerfile";
	if (fstatat(b->context, name, &st, 0) < 0 && fstatat(b->context, "dockerfile", &st, 0) == 0)
		name = "dockerfile";
	bool here = strcmp(b->options->dir, ".") == 0;
	return arena_printf(
		&b->arena, "%s%s%s", here ? "" : b->options->dir, here ? "" : "/", name);
}

static int read_dockerfile(struct build *b, char **ret_path, struct err *err)
{
	char *path = dockerfile_path(b);
	int r = read_text(path, DOCKERFILE_MAX_SIZE, &b->dockerfile_text, err);

	*ret_path = path;
	if (r != -ERR_MISSING)
		return r;
	(void)err_set(err, ERR_INPUT, "no Dockerfile: %s does not exist", path);
	return err_hint(err, "a Docker Space needs a file named Dockerfile at its root; "
			     "another one is named with -f FILE");
}

/* "NAME.dockerignore" beside the Dockerfile wins over the context's own. */
static int read_ignore(struct build *b, const char *dockerfile, struct err *err)
{
	char *paths[] = {arena_printf(&b->arena, "%s.dockerignore", dockerfile),
		arena_printf(&b->arena, "%s/.dockerignore", b->options->dir)};

	b->ignore = patterns_new();
	for (size_t i = 0; i < array_size(paths); i++) {
		int r = read_text(paths[i], IGNORE_MAX_SIZE, &b->ignore_text, err);
		if (r == -ERR_MISSING)
			continue;
		if (r < 0)
			return r;
		const struct source source = {paths[i], buf_str(&b->ignore_text)};
		return ignore_parse(&source, b->ignore, err);
	}
	err_clear(err);
	return 0;
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

static int find_image(
	struct build *b, const struct plan_image *image, struct image_record *ret, struct err *err)
{
	const struct store_transfer transfer = {.on_progress = build_emit_progress,
		.arg = b,
		.cancel_fd = b->options->cancel_fd,
		.lease = b->lease};
	int r = IMAGE_E_ABSENT;

	if (!b->options->pull)
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

static int check_platforms(const struct build *b, struct err *err)
{
	struct oci_platform host = oci_platform_host();

	for (size_t i = 0; i < b->plan.stage_count; i++) {
		const struct plan_stage *s = &b->plan.stages[i];
		if (!s->needed || !s->platform.os || oci_platform_matches(&host, &s->platform))
			continue;
		return source_error(err, ERR_INPUT, &b->file.source, s->span,
			"platform %s/%s cannot be built here: this machine is %s/%s",
			s->platform.os, s->platform.architecture, host.os, host.architecture);
	}
	return 0;
}

static int make_plan(struct build *b, struct resolver *resolver, struct err *err)
{
	const struct plan_options options = {
		.target = str_of(b->options->target ? b->options->target : ""),
		.build_args = &b->build_args,
		.build_platform = oci_platform_host(),
		.resolve = resolve_config,
		.arg = resolver,
	};

	int r = file_failed(plan_make(&b->arena, &b->file, &options, &b->plan, err), err);
	if (r == 0)
		r = check_platforms(b, err);
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

int build_prepare(struct build *b, struct err *err)
{
	cleanup(map_free) struct map *found = map_new();
	struct resolver resolver = {b, found};
	char *path = NULL;

	int r = open_context(b, err);
	if (r == 0)
		r = read_dockerfile(b, &path, err);
	if (r == 0)
		r = read_ignore(b, path, err);
	if (r < 0)
		return r;
	const struct source source = {path, buf_str(&b->dockerfile_text)};
	r = file_failed(dockerfile_parse(&b->arena, &source, &b->file, err), err);
	if (r < 0)
		return r;
	add_args(b);
	r = build_read_secrets(b, err);
	if (r == 0)
		r = make_plan(b, &resolver, err);
	if (r == 0)
		r = build_find_inputs(b, err);
	if (r == 0)
		warn(b);
	return r;
}
