/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "tree/internal.h"

/*
 * The files passwd(5) and group(5) of an image: foreign bytes. Like the C library, a line
 * that is none is passed over and the first one that fits counts.
 */
enum { FIELDS = 7 };

/* (uid_t)-1 means "no change" to the kernel and is nobody's number. */
static const uint64_t max_id = UINT32_MAX - 1;

/* The next line's fields, at least `min` of them. */
static bool next_line(struct str *rest, size_t min, struct str fields[static FIELDS])
{
	while (rest->p) {
		struct str line = str_trim_right(str_cut(rest, '\n'));
		size_t n = 0;
		if (line.n == 0 || *line.p == '#')
			continue;
		for (; line.p && n < FIELDS; n++)
			fields[n] = str_cut(&line, ':');
		if (n < min || fields[0].n == 0)
			continue;
		for (; n < FIELDS; n++)
			fields[n] = (struct str){0};
		return true;
	}
	return false;
}

static bool parse_id(struct str field, uint32_t *ret)
{
	uint64_t id;

	if (!parse_u64(field, max_id, &id))
		return false;
	*ret = (uint32_t)id;
	return true;
}

static bool next_user(struct str *rest, struct passwd_entry *ret)
{
	struct str fields[FIELDS];

	while (next_line(rest, 4, fields)) {
		ret->name = fields[0];
		ret->home = fields[5];
		if (parse_id(fields[2], &ret->uid) && parse_id(fields[3], &ret->gid))
			return true;
	}
	return false;
}

bool tree_passwd_find_name(struct str file, struct str name, struct passwd_entry *ret)
{
	struct passwd_entry entry;

	while (next_user(&file, &entry)) {
		if (!str_eq(entry.name, name))
			continue;
		*ret = entry;
		return true;
	}
	return false;
}

bool tree_passwd_find_uid(struct str file, uint32_t uid, struct passwd_entry *ret)
{
	struct passwd_entry entry;

	while (next_user(&file, &entry)) {
		if (entry.uid != uid)
			continue;
		*ret = entry;
		return true;
	}
	return false;
}

bool tree_group_find(struct str file, struct str name, uint32_t *ret_gid)
{
	struct str fields[FIELDS];

	while (next_line(&file, 3, fields)) {
		if (str_eq(fields[0], name) && parse_id(fields[2], ret_gid))
			return true;
	}
	return false;
}

static bool is_member(struct str members, struct str user)
{
	while (members.p) {
		if (str_eq(str_cut(&members, ','), user))
			return true;
	}
	return false;
}

bool tree_group_next_of(struct str *rest, struct str user, uint32_t *ret_gid)
{
	struct str fields[FIELDS];

	while (user.n && next_line(rest, 4, fields)) {
		if (is_member(fields[3], user) && parse_id(fields[2], ret_gid))
			return true;
	}
	return false;
}
