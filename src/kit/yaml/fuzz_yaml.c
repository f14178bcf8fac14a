/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "yaml/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* Spans lie in the text, texts are terminated: what every caller relies on. */
static void walk(const struct yaml_node *node, unsigned lines, unsigned depth)
{
	require(depth <= YAML_MAX_DEPTH);
	require(node->span.line >= 1 && node->span.end_line >= node->span.line);
	require(node->span.end_line <= lines && node->span.col >= 1);
	if (node->kind == YAML_SCALAR)
		require(node->text.p && node->text.p[node->text.n] == '\0');
	for (size_t i = 0; i < node->count; i++) {
		if (node->kind == YAML_SEQUENCE) {
			walk(node->items[i], lines, depth + 1);
			continue;
		}
		require(node->pairs[i].key->kind == YAML_SCALAR);
		walk(node->pairs[i].key, lines, depth + 1);
		walk(node->pairs[i].value, lines, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source source = {"fuzz", str_from((const char *)data, size)};
	cleanup(arena_done) struct arena arena = {0};
	const struct yaml_node *root = NULL;
	struct yaml_problem problem = {0};
	struct err err = {0};
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	/* The YAML text begins after the first line, as in a README. */
	struct str part = str_from_index(source.text, str_find(source.text, '\n'));
	if (yaml_parse(&arena, &source, part, &root, &problem) == 0) {
		walk(root, lines, 0);
		return 0;
	}
	require(problem.text[0] && problem.span.line >= 1 && problem.span.line <= lines);
	require(yaml_problem_error(&problem, &source, &err) == -ERR_INPUT);
	return 0;
}
