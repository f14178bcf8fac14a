/* SPDX-License-Identifier: Apache-2.0 */
#include "image/challenge.h"

#include <string.h>

#include "base/buf.h"

static bool is_token_char(char c)
{
	return c > ' ' && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void skip(struct str *rest, bool commas_too)
{
	while (rest->n && (is_space(rest->p[0]) || (commas_too && rest->p[0] == ',')))
		*rest = str_from_index(*rest, 1);
}

static struct str take_token(struct str *rest)
{
	size_t n = 0;

	while (n < rest->n && is_token_char(rest->p[n]))
		n++;
	struct str token = str_slice(*rest, 0, n);
	*rest = str_from_index(*rest, n);
	return token;
}

static const char *take_quoted(struct arena *a, struct str *rest)
{
	cleanup(buf_done) struct buf value = {0};
	size_t i = 1;

	for (; i < rest->n && rest->p[i] != '"'; i++) {
		if (rest->p[i] == '\\' && i + 1 < rest->n)
			i++;
		buf_add_char(&value, rest->p[i]);
	}
	*rest = str_from_index(*rest, i + 1);
	return arena_str(a, buf_str(&value)).p;
}

static const char *take_value(struct arena *a, struct str *rest)
{
	skip(rest, false);
	if (rest->n && rest->p[0] == '"')
		return take_quoted(a, rest);
	return arena_str(a, take_token(rest)).p;
}

static enum challenge_scheme scheme_of(struct str token)
{
	if (str_eq_nocase(token, STR("Bearer")))
		return CHALLENGE_BEARER;
	return str_eq_nocase(token, STR("Basic")) ? CHALLENGE_BASIC : CHALLENGE_NONE;
}

static void keep_better(const struct challenge *candidate, struct challenge *ret)
{
	/* A bearer token cannot be asked for without knowing where. */
	if (candidate->scheme == CHALLENGE_BEARER && !candidate->realm[0])
		return;
	if (candidate->scheme > ret->scheme)
		*ret = *candidate;
}

static void set_parameter(struct challenge *c, struct str name, const char *value)
{
	if (str_eq_nocase(name, STR("realm")))
		c->realm = value;
	else if (str_eq_nocase(name, STR("service")))
		c->service = value;
	else if (str_eq_nocase(name, STR("error")))
		c->error = value;
}

void challenge_parse(struct arena *a, struct str header, struct challenge *ret)
{
	const struct challenge empty = {CHALLENGE_NONE, "", "", ""};
	struct challenge current = empty;

	if (!ret->realm)
		*ret = empty;
	for (;;) {
		skip(&header, true);
		struct str token = take_token(&header);
		if (!token.n && !header.n)
			break;
		if (!token.n) {
			header = str_from_index(header, 1);
			continue;
		}
		skip(&header, false);
		if (header.n && header.p[0] == '=') {
			header = str_from_index(header, 1);
			set_parameter(&current, token, take_value(a, &header));
			continue;
		}
		/* A word without a value begins the next challenge. */
		keep_better(&current, ret);
		current = empty;
		current.scheme = scheme_of(token);
	}
	keep_better(&current, ret);
}
