/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/suggest.h"

printf_like(5, 0) static struct space_finding *add(struct loader *l, enum finding_level level,
	const char *rule, struct span span, const char *fmt, va_list ap)
{
	struct space_config *config = l->config;
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	config->findings = arena_grow(l->arena, config->findings, config->finding_count,
		&config->finding_cap, sizeof(*config->findings));
	struct space_finding *finding = &config->findings[config->finding_count++];
	*finding = (struct space_finding){
		.level = level,
		.rule = rule,
		.span = span,
		.text = arena_strdup(l->arena, text),
		.remedy = "",
	};
	config->error_count += level == FINDING_ERROR;
	return finding;
}

struct space_finding *finding_add(struct loader *l, enum finding_level level, const char *rule,
	struct span span, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct space_finding *finding = add(l, level, rule, span, fmt, ap);
	va_end(ap);
	return finding;
}

struct space_finding *field_error(struct loader *l, const struct field *f,
	const struct yaml_node *value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct space_finding *finding =
		add(l, FINDING_ERROR, f->rule ? f->rule : "bad-value", value->span, fmt, ap);
	va_end(ap);
	return finding;
}

struct space_finding *field_warning(struct loader *l, const struct field *f,
	const struct yaml_node *value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	struct space_finding *finding =
		add(l, FINDING_WARNING, f->rule ? f->rule : "bad-value", value->span, fmt, ap);
	va_end(ap);
	return finding;
}

const char *shown(struct loader *l, struct str text)
{
	struct str head = str_head(text, 64);
	char *quoted = arena_printf(
		l->arena, "\"%.*s%s\"", STR_ARG(head), head.n < text.n ? "\xe2\x80\xa6" : "");

	for (unsigned char *c = (unsigned char *)quoted; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return quoted;
}

const char *word_list(struct loader *l, const char *const *words)
{
	cleanup(buf_done) struct buf text = {0};

	for (size_t i = 0; words[i]; i++) {
		if (i)
			buf_add_text(&text, words[i + 1] ? ", " : " or ");
		buf_add_text(&text, words[i]);
	}
	return arena_strdup(l->arena, buf_text(&text));
}

const char *nearest(const char *const *words, struct str text)
{
	struct suggest near = {.written = text};

	for (size_t i = 0; words[i]; i++)
		suggest_offer(&near, words[i]);
	return near.best;
}

static int compare(const void *left, const void *right)
{
	const struct space_finding *a = left, *b = right;

	if (a->span.line != b->span.line)
		return a->span.line < b->span.line ? -1 : 1;
	if (a->span.col != b->span.col)
		return a->span.col < b->span.col ? -1 : 1;
	if (a->level != b->level)
		return a->level > b->level ? -1 : 1;
	return strcmp(a->text, b->text);
}

void findings_sort(struct space_config *config)
{
	if (config->finding_count)
		qsort(config->findings, config->finding_count, sizeof(*config->findings), compare);
}

void space_finding_print(
	const struct space_finding *finding, const struct source *readme, struct buf *ret)
{
	static const char *const levels[] = {
		[FINDING_NOTE] = "note",
		[FINDING_WARNING] = "warning",
		[FINDING_ERROR] = "error",
	};

	buf_printf(ret, "%s:%u:%u: %s: %s\n", readme->name, finding->span.line, finding->span.col,
		levels[finding->level], finding->text);
	source_excerpt(readme, finding->span, 3, ret);
	struct str rest = str_of(finding->remedy[0] ? finding->remedy : NULL);
	while (rest.p) {
		struct str line = str_cut(&rest, '\n');
		buf_printf(ret, "  %.*s\n", STR_ARG(line));
	}
}

int space_config_check(
	const struct space_config *config, const struct source *readme, struct err *err)
{
	const struct space_finding *first = NULL;

	for (size_t i = 0; i < config->finding_count && !first; i++)
		if (config->findings[i].level == FINDING_ERROR)
			first = &config->findings[i];
	if (!first)
		return 0;
	int r = source_error(err, ERR_INPUT, readme, first->span, "%s", first->text);
	if (first->remedy[0])
		r = err_hint_add(err, "%s", first->remedy);
	if (config->error_count > 1)
		r = err_hint_add(err, "%zu more error%s in %s", config->error_count - 1,
			config->error_count > 2 ? "s" : "", readme->name);
	return r;
}

int space_config_require_docker(
	const struct space_config *config, const struct source *readme, struct err *err)
{
	int r = space_config_check(config, readme, err);

	if (r || config->sdk == SPACE_SDK_DOCKER)
		return r;
	const struct space_key *sdk = space_config_key(config, "sdk");
	(void)source_error(err, ERR_INPUT, readme, sdk ? sdk->value : (struct span){1, 1, 1, 4},
		"sdk is %s; Spaceport builds and runs Docker Spaces", space_sdk_name(config->sdk));
	return err_hint_add(err, "write 'sdk: docker' and add a Dockerfile beside README.md");
}
