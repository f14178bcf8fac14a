/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/yaml.h"

int yaml_problem_error(
	const struct yaml_problem *problem, const struct source *source, struct err *err)
{
	int r = source_error(err, ERR_INPUT, source, problem->span, "%s", problem->text);

	return problem->remedy[0] ? err_hint_add(err, "%s", problem->remedy) : r;
}

const struct yaml_node *yaml_find(const struct yaml_node *mapping, const char *key)
{
	if (!mapping || mapping->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < mapping->count; i++)
		if (str_is(mapping->pairs[i].key->text, key))
			return mapping->pairs[i].value;
	return NULL;
}

static bool is_plain_word(const struct yaml_node *node, const char *const *words, size_t count)
{
	if (node->kind != YAML_SCALAR || !node->plain)
		return false;
	for (size_t i = 0; i < count; i++)
		if (str_is(node->text, words[i]))
			return true;
	return false;
}

/* The three spellings of each word are those of YAML 1.2's core schema. */
bool yaml_is_null(const struct yaml_node *node)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	return is_plain_word(node, words, array_size(words));
}

bool yaml_bool(const struct yaml_node *node, bool *ret)
{
	static const char *const yes[] = {"true", "True", "TRUE"};
	static const char *const no[] = {"false", "False", "FALSE"};

	if (is_plain_word(node, yes, array_size(yes)))
		*ret = true;
	else if (is_plain_word(node, no, array_size(no)))
		*ret = false;
	else
		return false;
	return true;
}

const char *yaml_kind_text(enum yaml_kind kind)
{
	static const char *const texts[] = {
		[YAML_SCALAR] = "a text",
		[YAML_SEQUENCE] = "a list",
		[YAML_MAPPING] = "a mapping",
	};

	return texts[kind];
}
