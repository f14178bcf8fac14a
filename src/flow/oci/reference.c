/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "oci/oci.h"

/*
 * The grammar of the distribution project:
 *
 *	reference       = name [":" tag] ["@" digest]
 *	name            = [domain "/"] path-component *("/" path-component)
 *	domain          = host [":" port]
 *	path-component  = alnum *(separator alnum)    alnum in lower case
 *	separator       = "." | "_" | "__" | *"-"
 *	tag             = word *127(word | "." | "-")
 *
 * and docker's reading of names without a domain: what stands before the first slash is a
 * domain if it holds a dot or a colon, or is "localhost"; without one, the name is of
 * docker.io, and there of library/ if it has no slash. (Docker also takes an upper case
 * letter for the mark of a domain. Domains are in lower case here, so that would be lost.)
 */
enum { NAME_MAX_BYTES = 255, TAG_MAX_BYTES = 128 };

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

/* Length of the separator at the front, 0 for none that is allowed. */
static size_t separator_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && s.p[n] == s.p[0])
		n++;
	if (s.p[0] == '-')
		return n;
	if (s.p[0] == '_')
		return n <= 2 ? n : 0;
	return s.p[0] == '.' && n == 1 ? n : 0;
}

static bool is_path_component(struct str s)
{
	bool after_alnum = false;

	while (s.n) {
		size_t n = 1;
		if (!is_lower(s.p[0])) {
			n = separator_length(s);
			if (!after_alnum || !n)
				return false;
		}
		after_alnum = is_lower(s.p[0]);
		s = str_from_index(s, n);
	}
	return after_alnum;
}

static bool is_repository(struct str s)
{
	while (s.p)
		if (!is_path_component(str_cut(&s, '/')))
			return false;
	return true;
}

static bool is_tag(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!is_alnum(c) && c != '_' && (i == 0 || (c != '.' && c != '-')))
			return false;
	}
	return s.n > 0 && s.n <= TAG_MAX_BYTES;
}

static bool is_domain_component(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return s.n > 0 && is_alnum(s.p[0]) && is_alnum(s.p[s.n - 1]);
}

static bool is_ipv6(struct str s)
{
	if (s.n < 4 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	for (size_t i = 1; i < s.n - 1; i++)
		if (!is_hex(s.p[i]) && !(s.p[i] >= 'A' && s.p[i] <= 'F') && s.p[i] != ':')
			return false;
	return true;
}

static bool is_domain(struct str s)
{
	size_t colon = str_rfind(s, ':'), bracket = str_rfind(s, ']');

	if (colon < s.n && (bracket == s.n || bracket < colon)) {
		if (!is_digits(str_from_index(s, colon + 1)) || s.n - colon > 6)
			return false;
		s = str_slice(s, 0, colon);
	}
	if (s.n && s.p[0] == '[')
		return is_ipv6(s);
	while (s.p)
		if (!is_domain_component(str_cut(&s, '.')))
			return false;
	return true;
}

static bool has_upper(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	return false;
}

static bool names_domain(struct str first)
{
	return str_find(first, '.') < first.n || str_find(first, ':') < first.n ||
	       str_is(first, "localhost");
}

static const char *lower_copy(struct arena *a, struct str s)
{
	char *copy = arena_alloc(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		copy[i] = c;
	}
	return copy;
}

static int split_name(struct arena *a, struct str name, struct oci_reference *ret, struct err *err)
{
	size_t slash = str_find(name, '/');
	struct str domain = STR("docker.io"), path = name;

	if (slash < name.n && names_domain(str_slice(name, 0, slash))) {
		domain = str_slice(name, 0, slash);
		path = str_from_index(name, slash + 1);
	}
	if (!is_domain(domain))
		return err_set(
			err, ERR_INPUT, "%.*s is not a registry's host[:port]", STR_ARG(domain));
	if (has_upper(path))
		return err_set(
			err, ERR_INPUT, "repository %.*s must be in lower case", STR_ARG(path));
	if (!is_repository(path))
		return err_set(err, ERR_INPUT,
			"repository \"%.*s\" is not made of a-z, 0-9 and single separators . _ - /",
			STR_ARG(path));
	ret->registry = lower_copy(a, domain);
	if (strcmp(ret->registry, "index.docker.io") == 0)
		ret->registry = "docker.io";
	bool is_official = strcmp(ret->registry, "docker.io") == 0 && str_find(path, '/') == path.n;
	ret->repository = arena_printf(a, "%s%.*s", is_official ? "library/" : "", STR_ARG(path));
	if (strlen(ret->registry) + strlen(ret->repository) + 1 > NAME_MAX_BYTES)
		return err_set(err, ERR_INPUT, "the name is longer than %d bytes", NAME_MAX_BYTES);
	return 0;
}

static bool is_bare_id(struct str s)
{
	if (s.n != DIGEST_HEX_SIZE - 1)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_hex(s.p[i]))
			return false;
	return true;
}

/* The repository as docker prints it, or NULL when it cannot be shortened. */
static const char *short_name(const struct oci_reference *ref)
{
	struct str path = str_of(ref->repository);
	size_t slash = str_find(path, '/');

	if (strcmp(ref->registry, "docker.io") != 0)
		return NULL;
	/* Only with one component after it: library/a/b and a/b are two repositories. */
	if (str_starts(path, STR("library/")) && str_rfind(path, '/') == slash)
		return is_bare_id(str_from_index(path, slash + 1)) ? NULL
								   : ref->repository + slash + 1;
	return names_domain(str_slice(path, 0, slash)) ? NULL : ref->repository;
}

static void print(struct arena *a, struct oci_reference *ref)
{
	char digest[DIGEST_TEXT_SIZE] = "";
	const char *name = short_name(ref);

	if (ref->has_digest)
		(void)digest_text(&ref->digest, digest);
	const char *suffix = arena_printf(a, "%s%s%s%s", ref->tag ? ":" : "",
		ref->tag ? ref->tag : "", ref->has_digest ? "@" : "", digest);
	ref->text = arena_printf(a, "%s/%s%s", ref->registry, ref->repository, suffix);
	ref->short_text = name ? arena_printf(a, "%s%s", name, suffix) : ref->text;
}

static int parse_parts(struct arena *a, struct str text, struct oci_reference *ref, struct err *err)
{
	size_t at = str_find(text, '@');
	struct str name = str_slice(text, 0, at);
	size_t colon = str_rfind(name, ':'), slash = str_rfind(name, '/');

	if (at < text.n) {
		struct str digest = str_from_index(text, at + 1);
		ref->has_digest = true;
		if (!digest_parse(digest, &ref->digest))
			return err_set(err, ERR_INPUT,
				"digest %.*s is not sha256: and 64 lower case hex digits",
				STR_ARG(digest));
	}
	/* A colon before the last slash belongs to a port. */
	if (colon < name.n && (slash == name.n || slash < colon)) {
		struct str tag = str_from_index(name, colon + 1);
		if (!is_tag(tag))
			return err_set(err, ERR_INPUT,
				"tag \"%.*s\" is not 1 to %d letters, digits, _ . -", STR_ARG(tag),
				TAG_MAX_BYTES);
		ref->tag = arena_str(a, tag).p;
		name = str_slice(name, 0, colon);
	}
	if (!name.n)
		return err_set(err, ERR_INPUT, "there is no name");
	if (is_bare_id(name))
		return err_set(err, ERR_INPUT, "64 hex digits are an image id, not a name");
	if (!ref->tag && !ref->has_digest)
		ref->tag = "latest";
	return split_name(a, name, ref, err);
}

int oci_reference_parse(
	struct arena *a, struct str text, struct oci_reference *ret, struct err *err)
{
	struct oci_reference ref = {.registry = "", .repository = ""};
	int r = parse_parts(a, text, &ref, err);

	if (r < 0)
		return err_wrap(err, "image name \"%.*s\"", STR_ARG(text));
	print(a, &ref);
	*ret = ref;
	return 0;
}
