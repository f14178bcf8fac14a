/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "build/internal.h"

/* So many findings are told beside a build; the rest is a number. */
enum { MOST_TOLD = 30 };

/* ---- What is known of base images ---- */

/* Of an image that is here; nothing is asked of a registry. */
static bool find_base(void *arg, const char *name, struct oci_config *ret)
{
	struct build *b = arg;
	struct oci_reference reference;
	struct image_record record = {0};

	if (!b->images || oci_reference_parse(&b->arena, str_of(name), &reference, NULL) < 0 ||
		image_find(b->images, &b->arena, str_of(reference.text), &record, NULL) != 0)
		return false;
	return oci_config_parse(&b->arena, record.config, ret, NULL) == 0;
}

/* Of an image of the plan: its record is there. */
static bool planned_base(void *arg, const char *name, struct oci_config *ret)
{
	struct build *b = arg;

	for (size_t i = 0; i < b->plan.image_count; i++)
		if (strcmp(b->plan.images[i].name, name) == 0 && b->records[i].config.n)
			return oci_config_parse(&b->arena, b->records[i].config, ret, NULL) == 0;
	return find_base(arg, name, ret);
}

static struct str check_option(struct build *b)
{
	const char *value = expand_get_list(&b->build_args, STR("BUILDKIT_DOCKERFILE_CHECK"));

	return str_of(value);
}

static struct lint_options options_of(struct build *b)
{
	return (struct lint_options){
		.check = check_option(b),
		.build_args = &b->build_args,
		.build_platform = oci_platform_host(),
		.ignore = b->contexts[0].ignore,
		.arg = b,
	};
}

/* ---- Beside a build ---- */

static void add_rule(struct buf *list, const char *rule)
{
	struct str rest = buf_str(list);

	while (rest.p && rest.n) {
		if (str_is(str_trim(str_cut(&rest, ',')), rule))
			return;
	}
	buf_printf(list, "%s%s", list->len ? ", " : "", rule);
}

static int fail(struct build *b, const struct lint *lint, struct err *err)
{
	cleanup(buf_done) struct buf rules = {0};

	for (size_t i = 0; i < lint->count; i++)
		add_rule(&rules, lint->findings[i].rule);
	if (!b->file.check_span.line || check_option(b).p)
		return err_set(
			err, ERR_FAILED, "lint violation found for rules: %s", buf_text(&rules));
	return source_error(err, ERR_FAILED, &b->file.source, b->file.check_span,
		"lint violation found for rules: %s", buf_text(&rules));
}

int build_lint(struct build *b, struct err *err)
{
	struct lint_options options = options_of(b);
	struct lint found;

	options.plan = &b->plan;
	options.base = planned_base;
	int r = lint(&b->arena, &b->file, &options, &found, err);
	if (r < 0) {
		err->kind = ERR_FAILED;
		return -ERR_FAILED;
	}
	for (size_t i = 0; i < found.count && i < MOST_TOLD; i++) {
		const struct lint_finding *f = &found.findings[i];
		build_emit_text(b, BUILD_WARNING,
			str_of(arena_printf(
				&b->arena, "%s: %s (line %u)", f->rule, f->text, f->span.line)));
	}
	if (found.count > MOST_TOLD)
		build_emit_text(b, BUILD_WARNING,
			str_of(arena_printf(&b->arena, "%zu more: see spaceport build --check",
				found.count - MOST_TOLD)));
	return found.fails ? fail(b, &found, err) : 0;
}

/* ---- For people ---- */

/* What is foreign reaches a terminal: control characters in it would be obeyed. */
static void add_shown(struct buf *ret, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
		buf_add_char(ret, (char)(is_control ? '?' : c));
	}
}

static struct str line_at(struct str text, unsigned line)
{
	struct str rest = text, found = {0};

	for (unsigned i = 0; i < line && rest.p; i++)
		found = str_cut(&rest, '\n');
	return str_ends(found, STR("\r")) ? str_slice(found, 0, found.n - 1) : found;
}

static unsigned count_lines(struct str text)
{
	unsigned count = 0;

	for (struct str rest = text; rest.p; (void)str_cut(&rest, '\n'))
		count++;
	return count;
}

/* The lines of the finding with some around them, as docker marks them. */
static void add_excerpt(struct buf *ret, const struct source *source, struct span span)
{
	unsigned total = count_lines(source->text), first = span.line;
	unsigned last = span.end_line > first ? span.end_line : first, end = last;
	unsigned around = first == last ? 4 : 2;

	/* Docker counts the round itself, too, so that near an end there is less of it. */
	for (unsigned count = 0; count < around; count++) {
		if (first > 1) {
			first--;
			count++;
		}
		if (end < total) {
			end++;
			count++;
		}
	}
	buf_printf(ret, "%s:%u\n--------------------\n", source->name, span.line);
	for (unsigned i = first; i <= end; i++) {
		bool is_meant = i >= span.line && i <= last;
		buf_printf(ret, " %3u | %s ", i, is_meant ? ">>>" : "   ");
		add_shown(ret, line_at(source->text, i));
		buf_add_char(ret, '\n');
	}
	buf_add_text(ret, "--------------------\n");
}

static void print_findings(const struct source *source, const struct lint *lint, struct buf *ret)
{
	if (!lint->count)
		buf_add_text(ret, "Check complete, no warnings found.\n");
	else if (lint->count == 1)
		buf_add_text(ret, "Check complete, 1 warning has been found!\n");
	else
		buf_printf(ret, "Check complete, %zu warnings have been found!\n", lint->count);
	for (size_t i = 0; i < lint->count; i++) {
		const struct lint_finding *f = &lint->findings[i];
		buf_printf(ret, "\nWARNING: %s%s%s\n", f->rule, *f->url ? " - " : "", f->url);
		add_shown(ret, str_of(f->text));
		buf_add_char(ret, '\n');
		add_excerpt(ret, source, f->span);
	}
}

/* ---- For programs: as docker build --call=check,format=json has it ---- */

static void put_position(struct json_writer *w, const char *key, unsigned line)
{
	json_key(w, key);
	json_begin_object(w);
	json_add_u64(w, "line", line);
	json_end_object(w);
}

static void put_location(struct json_writer *w, struct span span)
{
	json_key(w, "location");
	json_begin_object(w);
	json_add_u64(w, "sourceIndex", 0);
	json_key(w, "ranges");
	json_begin_array(w);
	json_begin_object(w);
	put_position(w, "start", span.line);
	put_position(w, "end", span.end_line > span.line ? span.end_line : span.line);
	json_end_object(w);
	json_end_array(w);
	json_end_object(w);
}

static void put_finding(struct json_writer *w, const struct lint_finding *f)
{
	json_begin_object(w);
	json_add_text(w, "ruleName", f->rule);
	json_add_text(w, "description", f->description);
	if (*f->url)
		json_add_text(w, "url", f->url);
	json_add_text(w, "detail", f->text);
	put_location(w, f->span);
	json_end_object(w);
}

static void put_source(struct json_writer *w, const struct source *source)
{
	cleanup(buf_done) struct buf data = {0};

	base64_encode(source->text, &data);
	json_key(w, "sources");
	json_begin_array(w);
	json_begin_object(w);
	json_add_text(w, "filename", source->name);
	json_add_text(w, "language", "Dockerfile");
	json_add_str(w, "data", buf_str(&data));
	json_end_object(w);
	json_end_array(w);
}

static void print_json(const struct source *source, const struct lint *lint,
	const struct err *build_error, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	json_key(&w, "warnings");
	json_begin_array(&w);
	for (size_t i = 0; i < lint->count; i++)
		put_finding(&w, &lint->findings[i]);
	json_end_array(&w);
	put_source(&w, source);
	if (build_error->kind != ERR_NONE) {
		json_key(&w, "buildError");
		json_begin_object(&w);
		json_add_text(&w, "message", build_error->text);
		json_end_object(&w);
	}
	json_end_object(&w);
	json_line(&w);
}

/* ---- Without a build ---- */

int build_check(const struct settings *settings, const struct build_options *options, bool json,
	struct buf *ret, size_t *ret_count, struct err *err)
{
	cleanup(build_done) struct build b = {.plan_only = true};
	struct err build_error = {0};
	struct lint found;

	/* Without a store nothing is known of base images, which is all that it is for. */
	ignored(build_open(&b, settings, options, NULL));
	int r = build_read(&b, err);
	if (r < 0)
		return r;
	struct lint_options lint_options = options_of(&b);
	lint_options.base = find_base;
	int planned = build_make_plan(&b, &build_error);
	/* Without a target all stages count, as in docker. */
	if (planned == 0 && options->target)
		lint_options.plan = &b.plan;
	r = lint(&b.arena, &b.file, &lint_options, &found, err);
	if (r < 0)
		return r;
	r = planned;
	if (json)
		print_json(&b.file.source, &found, &build_error, ret);
	else
		print_findings(&b.file.source, &found, ret);
	*ret_count = found.count;
	if (r < 0)
		*err = build_error;
	return r;
}
