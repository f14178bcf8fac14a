/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "tree/internal.h"

/*
 * chmod(1)'s language: clauses with commas between them, each [ugoa]* and then operators with
 * what they set: rwxXst or one of u, g, o. Without a letter in front a clause is for all, as
 * there is no umask in a build.
 */
static const struct {
	char letter;
	mode_t mask;
} whos[] = {
	{'u', S_ISUID | S_IRWXU},
	{'g', S_ISGID | S_IRWXG},
	{'o', S_ISVTX | S_IRWXO},
	{'a', 07777},
};

static const struct {
	char letter;
	mode_t bits;
} permissions[] = {
	{'r', 0444},
	{'w', 0222},
	{'x', 0111},
	{'s', S_ISUID | S_ISGID},
	{'t', S_ISVTX},
};

static bool take_who(struct str *text, mode_t *mask)
{
	for (size_t i = 0; text->n && i < array_size(whos); i++) {
		if (*text->p != whos[i].letter)
			continue;
		*mask |= whos[i].mask;
		*text = str_from_index(*text, 1);
		return true;
	}
	return false;
}

static bool take_permission(struct str *text, struct tree_mode_clause *clause)
{
	for (size_t i = 0; text->n && i < array_size(permissions); i++) {
		if (*text->p != permissions[i].letter)
			continue;
		clause->bits |= permissions[i].bits;
		*text = str_from_index(*text, 1);
		return true;
	}
	if (!text->n || *text->p != 'X')
		return false;
	clause->execute_if = true;
	*text = str_from_index(*text, 1);
	return true;
}

/* "=rwX", "+x", "-w", "=u" */
static bool take_action(struct str *text, mode_t who, struct tree_mode *ret)
{
	if (!text->n || !strchr("+-=", *text->p) || ret->count == TREE_MODE_MAX_CLAUSES)
		return false;
	struct tree_mode_clause *clause = &ret->clauses[ret->count++];
	*clause = (struct tree_mode_clause){.who = who, .op = *text->p};
	*text = str_from_index(*text, 1);
	if (text->n && strchr("ugo", *text->p)) {
		clause->copy_from = *text->p;
		*text = str_from_index(*text, 1);
		return true;
	}
	while (take_permission(text, clause))
		;
	return true;
}

static bool parse_clause(struct str text, struct tree_mode *ret)
{
	mode_t who = 0;

	while (take_who(&text, &who))
		;
	if (!take_action(&text, who ? who : 07777, ret))
		return false;
	while (text.n) {
		if (!take_action(&text, who ? who : 07777, ret))
			return false;
	}
	return true;
}

static bool parse_symbolic(struct str text, struct tree_mode *ret)
{
	while (text.p) {
		if (!parse_clause(str_cut(&text, ','), ret))
			return false;
	}
	return true;
}

int tree_mode_parse(struct str text, struct tree_mode *ret, struct err *err)
{
	struct tree_mode m = {0};
	uint64_t octal;

	if (parse_octal(text, 07777, &octal)) {
		m.is_octal = true;
		m.octal = (mode_t)octal;
	} else if (!text.n || !parse_symbolic(text, &m)) {
		(void)err_set(err, ERR_INPUT, "\"%.*s\" is not a file mode", STR_ARG(text));
		return err_hint(err, "an octal number up to 7777, or words as chmod takes them: "
				     "u=rwX,go=rX");
	}
	*ret = m;
	return 0;
}

/* The rwx of one class, spread over all three. */
static mode_t spread(mode_t mode, char class)
{
	int shift = class == 'u' ? 6 : class == 'g' ? 3 : 0;

	return (mode >> shift & 7) * 0111;
}

mode_t tree_mode_apply(const struct tree_mode *m, mode_t mode)
{
	mode_t now = mode & 07777;

	if (m->is_octal)
		return m->octal;
	for (size_t i = 0; i < m->count; i++) {
		const struct tree_mode_clause *c = &m->clauses[i];
		mode_t bits = c->copy_from ? spread(now, c->copy_from) : c->bits;
		if (c->execute_if && (S_ISDIR(mode) || mode & 0111))
			bits |= 0111;
		bits &= c->who;
		if (c->op == '=')
			now = (now & ~c->who) | bits;
		else
			now = c->op == '+' ? now | bits : now & ~bits;
	}
	return now;
}
