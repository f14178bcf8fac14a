/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "base/number.h"
#include "dockerfile/dockerfile.h"

enum { USER = 1, GROUP = 2, OTHER = 4, EVERYBODY = 7 };

/* The bits that a letter of the permission list means for these users. */
static bool letter_bits(char letter, unsigned who, uint32_t mode, bool is_dir, uint32_t *ret)
{
	static const struct {
		char letter;
		uint32_t user, group, other;
	} table[] = {
		{'r', S_IRUSR, S_IRGRP, S_IROTH},
		{'w', S_IWUSR, S_IWGRP, S_IWOTH},
		{'x', S_IXUSR, S_IXGRP, S_IXOTH},
		{'X', S_IXUSR, S_IXGRP, S_IXOTH},
		{'s', S_ISUID, S_ISGID, 0},
		{'t', 0, 0, S_ISVTX},
	};

	for (size_t i = 0; i < array_size(table); i++) {
		if (table[i].letter != letter)
			continue;
		*ret = (who & USER ? table[i].user : 0) | (who & GROUP ? table[i].group : 0) |
		       (who & OTHER ? table[i].other : 0);
		/* X: only where executing makes sense already. */
		if (letter == 'X' && !is_dir && !(mode & 0111))
			*ret = 0;
		return true;
	}
	return false;
}

/* The permissions of one class (u, g or o), given to others. */
static bool copied_bits(char letter, unsigned who, uint32_t mode, uint32_t *ret)
{
	if (letter != 'u' && letter != 'g' && letter != 'o')
		return false;
	uint32_t three = mode >> (letter == 'u' ? 6 : letter == 'g' ? 3 : 0) & 7;
	*ret = (who & USER ? three << 6 : 0) | (who & GROUP ? three << 3 : 0) |
	       (who & OTHER ? three : 0);
	return true;
}

static uint32_t class_mask(unsigned who)
{
	return (who & USER ? S_IRWXU | S_ISUID : 0) | (who & GROUP ? S_IRWXG | S_ISGID : 0) |
	       (who & OTHER ? S_IRWXO | S_ISVTX : 0);
}

static unsigned take_who(struct str *clause)
{
	unsigned who = 0;

	for (; clause->n; *clause = str_from_index(*clause, 1)) {
		char c = clause->p[0];
		unsigned one = c == 'u'	  ? USER
			       : c == 'g' ? GROUP
			       : c == 'o' ? OTHER
			       : c == 'a' ? EVERYBODY
					  : 0;
		if (!one)
			break;
		who |= one;
	}
	return who ? who : EVERYBODY;
}

static uint32_t apply(char op, unsigned who, uint32_t bits, uint32_t mode)
{
	if (op == '+')
		return mode | bits;
	if (op == '-')
		return mode & ~bits;
	return (mode & ~class_mask(who)) | bits;
}

/* "u=rwX", "go-w", "a+x-w" */
static bool apply_clause(struct str clause, bool is_dir, uint32_t *mode)
{
	unsigned who = take_who(&clause);

	if (!clause.n)
		return false;
	while (clause.n) {
		char op = clause.p[0];
		uint32_t bits = 0, one;
		if (op != '+' && op != '-' && op != '=')
			return false;
		clause = str_from_index(clause, 1);
		while (clause.n && !strchr("+-=", clause.p[0])) {
			if (!letter_bits(clause.p[0], who, *mode, is_dir, &one) &&
				!copied_bits(clause.p[0], who, *mode, &one))
				return false;
			bits |= one;
			clause = str_from_index(clause, 1);
		}
		*mode = apply(op, who, bits, *mode);
	}
	return true;
}

bool mode_apply(struct str chmod, uint32_t mode, bool is_dir, uint32_t *ret)
{
	uint32_t result = mode & 07777;
	uint64_t octal;

	if (parse_octal(chmod, 07777, &octal)) {
		*ret = (uint32_t)octal;
		return true;
	}
	if (!chmod.n)
		return false;
	for (struct str rest = chmod; rest.p;)
		if (!apply_clause(str_cut(&rest, ','), is_dir, &result))
			return false;
	*ret = result;
	return true;
}
