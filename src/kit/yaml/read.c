/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/internal.h"

#include <libfyaml.h>

#include "base/map.h"

/*
 * libfyaml is used as a stream of events, so its own document tree, path look-ups and
 * printer of diagnostics are never reached. Errors are collected; of each only the message
 * and the byte offset are taken.
 */
struct reader {
	struct arena *arena;
	struct lines lines;
	struct yaml_problem *problem;
	struct fy_diag *diag;
	struct fy_parser *parser;
	struct fy_event *event;
	size_t base; /* offset of the YAML text in the source */
	size_t end;  /* offset of its end */
	size_t last; /* offset after what was read last */
	size_t open; /* offset of the innermost open flow collection; end when there is none */
	unsigned depth;
};

static int read_node(struct reader *r, struct yaml_node **ret);

static void discard(unused_arg struct fy_diag *diag, unused_arg void *user,
	unused_arg const char *text, unused_arg size_t size)
{
}

static void reader_done(struct reader *r)
{
	if (r->event)
		fy_parser_event_free(r->parser, r->event);
	if (r->parser)
		fy_parser_destroy(r->parser);
	if (r->diag)
		fy_diag_destroy(r->diag);
}
DEFINE_CLEANUP_VALUE(struct reader, reader_done);

static int reader_init(struct reader *r, struct str part)
{
	struct fy_diag_cfg diag_cfg;

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.output_fn = discard;
	r->diag = fy_diag_create(&diag_cfg);
	if (!r->diag)
		return -1;
	fy_diag_set_collect_errors(r->diag, true);
	struct fy_parse_cfg cfg = {
		.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 |
			 FYPCF_JSON_NONE,
		.diag = r->diag,
	};
	r->parser = fy_parser_create(&cfg);
	return r->parser ? fy_parser_set_string(r->parser, part.p, part.n) : -1;
}

static int fail(struct reader *r, size_t from, size_t to, const char *remedy, const char *text)
{
	return problem_set(r->problem, lines_span(&r->lines, from, to), remedy, "%s", text);
}

/* ---- What libfyaml says, and what helps ---- */

static const struct {
	const char *part; /* of libfyaml's message */
	const char *text; /* said instead; NULL: the message itself */
	const char *remedy;
} advice[] = {
	{"nested block mapping on the same line", "a second ': ' in one line",
		"put the value in quotes: title: \"one: two\""},
	{"invalid mapping in plain multiline", "a key that is not in line with the keys above it",
		"begin all keys of a mapping in the same column"},
	{"invalid value after mapping", "a line without ':'", "write 'key: value'"},
	{"multiline plain key", "a text over several lines is followed by ':'",
		"check the indentation here and that each line above has its ':'"},
	{"quoted scalar", NULL, "close the quote, on the line where the text ends"},
	{"cannot start with", NULL, "put the text in quotes"},
	{"invalid escape", NULL, "double the backslash, or use single quotes"},
	{"same line as a mapping key", "a list begins on the line of its key",
		"begin each '- item' on a line of its own, or write [one, two]"},
	{"alias", "an alias (*name) where none can be",
		"put a text that begins with '*' in quotes"},
	{"anchor", "an anchor (&name) where none can be",
		"put a text that begins with '&' in quotes"},
};

/* The first tab in the indentation of the lines from that of `at` to that of `to`; r->end. */
static size_t find_tab(const struct reader *r, size_t at, size_t to)
{
	const char *text = r->lines.text.p;

	while (at > r->base && text[at - 1] != '\n')
		at--;
	do {
		while (at < r->end && text[at] == ' ')
			at++;
		if (at < r->end && text[at] == '\t')
			return at;
		while (at < r->end && text[at++] != '\n')
			;
	} while (at < to && at < r->end);
	return r->end;
}

static int fail_with_message(struct reader *r, const char *message, size_t from, size_t to)
{
	const char *text = message, *remedy = "";
	size_t tab = find_tab(r, from, to);

	/* Whatever libfyaml makes of it: the tab is what must go. */
	if (tab < r->end)
		return fail(r, tab, tab + 1, "indent with spaces: YAML does not allow tabs",
			"a tab is used as indentation");
	if (r->open < r->end && (from >= r->end || strstr(message, "without a closing")))
		return fail(r, r->open, r->open + 1, "add the closing bracket",
			"this bracket is not closed");
	for (size_t i = 0; i < array_size(advice); i++)
		if (strstr(message, advice[i].part)) {
			text = advice[i].text ? advice[i].text : message;
			remedy = advice[i].remedy;
			break;
		}
	if (from >= r->end) {
		struct str text_read = str_slice(r->lines.text, r->base, r->end);
		from = r->base + str_trim_right(text_read).n;
		from -= from > r->base;
	}
	if (to > r->end || to <= from)
		to = from + 1;
	return fail(r, from, to, remedy, text);
}

static int fail_with_diag(struct reader *r)
{
	void *iter = NULL;
	struct fy_diag_error *error = fy_diag_errors_iterate(r->diag, &iter);

	if (!error || !error->msg)
		return fail(r, r->last, r->last, "", "not valid YAML");
	const struct fy_mark *from = error->fyt ? fy_token_start_mark(error->fyt) : NULL;
	const struct fy_mark *to = error->fyt ? fy_token_end_mark(error->fyt) : NULL;
	size_t start = from ? r->base + from->input_pos : r->last;
	return fail_with_message(r, error->msg, start, to ? r->base + to->input_pos : start);
}

/* ---- Events ---- */

/* r->event becomes the next one; the end of the stream is an event too. */
static int next(struct reader *r)
{
	if (r->event)
		fy_parser_event_free(r->parser, r->event);
	r->event = fy_parser_parse(r->parser);
	return r->event ? 0 : fail_with_diag(r);
}

/* The bytes of a token; a missing one (an empty value) is nothing after what was read last. */
static void token_range(const struct reader *r, struct fy_token *token, size_t *from, size_t *to)
{
	const struct fy_mark *start = token ? fy_token_start_mark(token) : NULL;
	const struct fy_mark *end = token ? fy_token_end_mark(token) : NULL;

	*from = start ? r->base + start->input_pos : r->last;
	*to = end ? r->base + end->input_pos : *from;
	if (*from > r->end)
		*from = r->end;
	if (*to > r->end)
		*to = r->end;
}

static int refuse_properties(struct reader *r, struct fy_token *anchor, struct fy_token *tag)
{
	size_t from, to;

	token_range(r, anchor ? anchor : tag, &from, &to);
	if (anchor)
		return fail(r, from, to, "write the value out where it is used",
			"anchors (&name) are not supported");
	if (tag)
		return fail(r, from, to,
			"remove the tag, or put a text that begins with '!' in quotes",
			"tags (!name) are not supported");
	return 0;
}

static struct yaml_node *node_new(struct reader *r, enum yaml_kind kind)
{
	struct yaml_node *node = arena_alloc(r->arena, sizeof(*node));

	node->kind = kind;
	return node;
}

/* ---- Scalars ---- */

/* Escapes can make what no byte of the text may be. */
static bool is_clean(struct str text)
{
	while (text.n) {
		size_t length = str_utf8_length(text);
		unsigned char c = (unsigned char)text.p[0];
		if (length == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			return false;
		text = str_from_index(text, length);
	}
	return true;
}

/*
 * Chunk by chunk: fy_token_get_text() of libfyaml 0.7 never releases the chunks of a text
 * that has more than eight of them.
 */
static bool token_text(struct fy_token *token, struct buf *ret)
{
	struct fy_token_iter *iter = fy_token_iter_create(token);
	const struct fy_iter_chunk *chunk = NULL;
	int failed = iter ? 0 : -1;

	while (iter && (chunk = fy_token_iter_chunk_next(iter, chunk, &failed)))
		buf_add(ret, chunk->str, chunk->len);
	if (iter)
		fy_token_iter_destroy(iter);
	return failed == 0;
}

static int read_scalar(struct reader *r, struct yaml_node **ret)
{
	const struct fy_event_scalar_data *data = &r->event->scalar;
	struct yaml_node *node = node_new(r, YAML_SCALAR);
	struct fy_token *token = data->value;
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
	cleanup(buf_done) struct buf text = {0};
	size_t from, to;

	if (refuse_properties(r, data->anchor, data->tag))
		return -ERR_INPUT;
	token_range(r, token, &from, &to);
	if (token && !token_text(token, &text))
		return fail(r, from, to, "", "a text that cannot be read");
	node->plain = style == FYSS_PLAIN;
	node->text = arena_str(r->arena, buf_str(&text));
	/* The token of a quoted text is what the quotes hold. */
	if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) {
		from -= from > r->base;
		to += to < r->end;
	}
	/* The token of a block ends where the next line begins. */
	while (!node->plain && to > from && strchr("\r\n", r->lines.text.p[to - 1]))
		to--;
	if (!is_clean(node->text))
		return fail(r, from, to, "remove the escape",
			"an escape makes a control character or half a character");
	node->span = lines_span(&r->lines, from, to);
	r->last = to;
	*ret = node;
	return 0;
}

/* ---- Collections ---- */

struct collection {
	size_t from;
	bool flow;
	size_t outer; /* the flow collection around it */
};

static int enter(struct reader *r, struct fy_token *start, struct collection *ret)
{
	size_t to;

	token_range(r, start, &ret->from, &to);
	/* The start of a block is a place, that of a flow collection is its bracket. */
	ret->flow = to > ret->from;
	if (++r->depth > YAML_MAX_DEPTH)
		return problem_set(r->problem, lines_span(&r->lines, ret->from, to), "",
			"nested more than %d levels deep", YAML_MAX_DEPTH);
	ret->outer = r->open;
	if (ret->flow)
		r->open = ret->from;
	r->last = to;
	return 0;
}

static void leave(
	struct reader *r, struct fy_token *end, const struct collection *c, struct yaml_node *node)
{
	size_t from, to;

	token_range(r, end, &from, &to);
	if (!c->flow) {
		struct str rest = str_slice(r->lines.text, c->from, r->end);
		to = c->from + str_trim_right(str_slice(rest, 0, str_find(rest, '\n'))).n;
	} else {
		r->last = to;
	}
	node->span = lines_span(&r->lines, c->from, to);
	r->depth--;
	r->open = c->outer;
}

static int read_sequence(struct reader *r, struct yaml_node **ret)
{
	const struct fy_event_sequence_start_data *data = &r->event->sequence_start;
	struct yaml_node *node = node_new(r, YAML_SEQUENCE), *item = NULL;
	struct collection collection;
	size_t cap = 0;

	if (refuse_properties(r, data->anchor, data->tag) ||
		enter(r, data->sequence_start, &collection))
		return -ERR_INPUT;
	for (;;) {
		if (next(r))
			return -ERR_INPUT;
		if (r->event->type == FYET_SEQUENCE_END)
			break;
		if (read_node(r, &item))
			return -ERR_INPUT;
		node->items = arena_grow(r->arena, node->items, node->count, &cap, sizeof(void *));
		node->items[node->count++] = item;
	}
	leave(r, r->event->sequence_end.sequence_end, &collection, node);
	*ret = node;
	return 0;
}

static int read_key(struct reader *r, struct map *seen, struct yaml_node **ret)
{
	static const char key_remedy[] = "write 'key: value'";
	struct yaml_node *key = NULL;

	if (read_node(r, &key))
		return -ERR_INPUT;
	struct span span = key->span;
	if (key->kind != YAML_SCALAR)
		return problem_set(r->problem, span, key_remedy, "%s cannot be a key",
			yaml_kind_text(key->kind));
	if (key->plain && key->text.n == 0)
		return problem_set(r->problem, span, key_remedy, "a ':' without a key before it");
	const struct yaml_node *first = map_set(seen, key->text, key);
	if (first)
		return problem_set(r->problem, span, "remove one of the two",
			"the key \"%.*s\" is there twice, first on line %u",
			STR_ARG(str_head(key->text, 64)), first->span.line);
	*ret = key;
	return 0;
}

static int read_mapping(struct reader *r, struct yaml_node **ret)
{
	const struct fy_event_mapping_start_data *data = &r->event->mapping_start;
	cleanup(map_free) struct map *seen = map_new();
	struct yaml_node *node = node_new(r, YAML_MAPPING);
	struct collection collection;
	struct yaml_pair *pairs = NULL;
	size_t cap = 0;

	if (refuse_properties(r, data->anchor, data->tag) ||
		enter(r, data->mapping_start, &collection))
		return -ERR_INPUT;
	for (;;) {
		struct yaml_node *key = NULL, *value = NULL;
		if (next(r))
			return -ERR_INPUT;
		if (r->event->type == FYET_MAPPING_END)
			break;
		if (read_key(r, seen, &key) || next(r) || read_node(r, &value))
			return -ERR_INPUT;
		pairs = arena_grow(r->arena, pairs, node->count, &cap, sizeof(*pairs));
		pairs[node->count++] = (struct yaml_pair){key, value};
	}
	leave(r, r->event->mapping_end.mapping_end, &collection, node);
	node->pairs = pairs;
	*ret = node;
	return 0;
}

/* ---- Documents ---- */

static int refuse_alias(struct reader *r)
{
	size_t from, to;

	token_range(r, r->event->alias.anchor, &from, &to);
	return fail(r, from > r->base ? from - 1 : from, to,
		"write the value out, or put a text that begins with '*' in quotes",
		"aliases (*name) are not supported");
}

static int read_node(struct reader *r, struct yaml_node **ret)
{
	switch (r->event->type) {
	case FYET_SCALAR:
		return read_scalar(r, ret);
	case FYET_SEQUENCE_START:
		return read_sequence(r, ret);
	case FYET_MAPPING_START:
		return read_mapping(r, ret);
	case FYET_ALIAS:
		return refuse_alias(r);
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_STREAM_END:
	case FYET_DOCUMENT_START:
	case FYET_DOCUMENT_END:
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		break;
	}
	return fail(r, r->last, r->last, "", "not valid YAML");
}

static int refuse_directives(struct reader *r)
{
	struct fy_document_state *state = r->event->document_start.document_state;

	if (!fy_document_state_version_explicit(state) && !fy_document_state_tags_explicit(state))
		return 0;
	return fail(r, r->base, r->base, "remove the line that begins with '%'",
		"directives (%YAML, %TAG) are not supported");
}

static int read_document(struct reader *r, struct yaml_node **ret)
{
	if (refuse_directives(r) || next(r) || read_node(r, ret) || next(r))
		return -ERR_INPUT;
	return next(r);
}

static int read_stream(struct reader *r, struct yaml_node **ret)
{
	if (next(r)) /* the start of the stream */
		return -ERR_INPUT;
	if (next(r))
		return -ERR_INPUT;
	if (r->event->type == FYET_DOCUMENT_START && read_document(r, ret))
		return -ERR_INPUT;
	if (r->event->type == FYET_DOCUMENT_START)
		return fail(r, r->last, r->last, "keep one document, without a second '---'",
			"a second document begins after this line");
	if (r->event->type != FYET_STREAM_END)
		return fail(r, r->last, r->last, "", "not valid YAML");
	if (!*ret || yaml_is_null(*ret)) {
		*ret = node_new(r, YAML_MAPPING);
		(*ret)->span = lines_span(&r->lines, r->base, r->base);
	}
	return 0;
}

int yaml_parse(struct arena *a, const struct source *source, struct str part,
	const struct yaml_node **ret, struct yaml_problem *problem)
{
	struct reader start = {.arena = a, .problem = problem};
	struct yaml_node *root = NULL;

	if (str_starts(part, STR("\xef\xbb\xbf")))
		part = str_from_index(part, 3);
	start.base = start.last = part.n ? (size_t)(part.p - source->text.p) : 0;
	start.end = start.open = start.base + part.n;
	lines_init(a, &start.lines, str_slice(source->text, 0, start.end));
	if (check_bytes(&start.lines, part, start.base, problem))
		return -ERR_INPUT;
	if (part.n) {
		cleanup(reader_done) struct reader r = start;
		if (reader_init(&r, part))
			return fail(&r, r.base, r.base, "", "the YAML reader cannot be started");
		if (read_stream(&r, &root))
			return -ERR_INPUT;
	} else {
		root = node_new(&start, YAML_MAPPING);
		root->span = lines_span(&start.lines, start.base, start.base);
	}
	*ret = root;
	return 0;
}
