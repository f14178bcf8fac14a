/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include "base/digest.h"

enum { PART_MAX = 96, LABEL_MAX = 63, VARIABLE_MAX = 256 };

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
	return is_alnum(c) || c == '_';
}

static bool is_joint(char c)
{
	return c == '-' || c == '.';
}

static bool has_pair(struct str s, char c)
{
	for (size_t i = 1; i < s.n; i++)
		if (s.p[i] == c && s.p[i - 1] == c)
			return true;
	return false;
}

/* The rule of the Hub's clients: validate_repo_id(). */
const char *id_part_problem(struct str part)
{
	if (part.n == 0)
		return "is empty";
	if (part.n > PART_MAX)
		return "is longer than 96 characters";
	for (size_t i = 0; i < part.n; i++)
		if (!is_word(part.p[i]) && !is_joint(part.p[i]))
			return "may hold only letters, digits, '-', '_' and '.'";
	if (!is_word(part.p[0]) || !is_word(part.p[part.n - 1]))
		return "must begin and end with a letter, a digit or '_'";
	if (has_pair(part, '-') || has_pair(part, '.'))
		return "may not hold '--' or '..'";
	if (str_ends(part, STR(".git")))
		return "may not end in '.git'";
	return NULL;
}

int space_id_parse(struct arena *a, struct str text, struct space_id *ret, struct err *err)
{
	struct str head = str_head(text, 64);
	size_t slash = str_find(text, '/');

	if (slash == text.n) {
		(void)err_set(err, ERR_INPUT, "Space id \"%.*s\" has no owner", STR_ARG(head));
		return err_hint(err, "write it as owner/name");
	}
	struct str owner = str_slice(text, 0, slash), name = str_from_index(text, slash + 1);
	const char *wrong = id_part_problem(owner);
	if (wrong)
		return err_set(
			err, ERR_INPUT, "Space id \"%.*s\": the owner %s", STR_ARG(head), wrong);
	wrong = id_part_problem(name);
	if (wrong)
		return err_set(
			err, ERR_INPUT, "Space id \"%.*s\": the name %s", STR_ARG(head), wrong);
	ret->owner = arena_str(a, owner).p;
	ret->name = arena_str(a, name).p;
	ret->text = arena_str(a, text).p;
	return 0;
}

static void trim_joints(struct buf *name)
{
	while (name->len && is_joint(name->data[name->len - 1]))
		buf_truncate(name, name->len - 1);
}

const char *space_name_from(struct arena *a, struct str text)
{
	cleanup(buf_done) struct buf name = {0};

	for (size_t i = 0; i < text.n && name.len < PART_MAX; i++) {
		char c = text.p[i];
		if (is_word(c))
			buf_add_char(&name, c);
		else if (name.len && !is_joint(name.data[name.len - 1]))
			buf_add_char(&name, c == '.' ? '.' : '-');
	}
	trim_joints(&name);
	while (str_ends(buf_str(&name), STR(".git"))) {
		buf_truncate(&name, name.len - 4);
		trim_joints(&name);
	}
	return arena_strdup(a, name.len ? name.data : "space");
}

const char *space_subdomain(struct arena *a, const struct space_id *id)
{
	char *label = arena_printf(a, "%s-%s", id->owner, id->name);

	for (char *c = label; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + ('a' - 'A'));
		else if (!is_alnum(*c))
			*c = '-';
	}
	/* Ids may begin and end with '_', labels may not begin or end with '-'. */
	size_t length = strlen(label);
	while (length && label[length - 1] == '-')
		label[--length] = '\0';
	while (*label == '-') {
		label++;
		length--;
	}
	if (length > 0 && length <= LABEL_MAX)
		return label;
	char hex[DIGEST_HEX_SIZE];
	struct digest digest = digest_of(id->text, strlen(id->text));
	if (length == 0)
		return arena_printf(a, "space-%.8s", digest_hex(&digest, hex));
	return arena_printf(a, "%.*s-%.8s", LABEL_MAX - 9, label, digest_hex(&digest, hex));
}

int space_variable_check(struct str name, struct err *err)
{
	bool good = name.n > 0 && name.n <= VARIABLE_MAX && is_letter(name.p[0]);

	for (size_t i = 1; good && i < name.n; i++)
		good = is_word(name.p[i]);
	if (good)
		return 0;
	(void)err_set(err, ERR_INPUT, "\"%.*s\" is not a name for a variable or secret",
		STR_ARG(str_head(name, 64)));
	return err_hint(err, "a name begins with a letter and holds letters, digits and '_'");
}
