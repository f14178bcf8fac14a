/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "image/registry.h"

/* Where Docker Hub's registry really is. */
#define HUB_HOST "registry-1.docker.io"

static bool is_loopback(struct str authority)
{
	struct str host = str_slice(authority, 0, str_find(authority, ':'));
	struct in_addr address;
	char text[INET_ADDRSTRLEN];

	if (str_starts(authority, STR("[::1]")) || str_is(host, "localhost"))
		return true;
	if (host.n >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(host));
	/* A number, and not a name that begins like one. */
	return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static int parse_mirror(struct arena *a, const char *url, const struct oci_reference *reference,
	struct endpoint *ret, struct err *err)
{
	struct str rest = str_of(url), prefix;
	bool is_plain = str_starts(rest, STR("http://"));

	if (!is_plain && !str_starts(rest, STR("https://")))
		return err_set(
			err, ERR_INPUT, "mirror %s does not begin with http:// or https://", url);
	rest = str_from_index(rest, is_plain ? strlen("http://") : strlen("https://"));
	prefix = str_from_index(rest, str_find(rest, '/'));
	struct str authority = str_slice(rest, 0, rest.n - prefix.n);
	if (!authority.n || str_find(rest, '@') < rest.n || str_find(rest, '?') < rest.n ||
		str_find(rest, '#') < rest.n)
		return err_set(err, ERR_INPUT, "mirror of %s is not http[s]://host[:port][/prefix]",
			reference->registry);
	/* "/v2/…" is how others write it; the protocol puts that in front anyway. */
	if (str_is(prefix, "/v2") || str_starts(prefix, STR("/v2/")))
		prefix = str_from_index(prefix, strlen("/v2"));
	while (prefix.n && prefix.p[0] == '/')
		prefix = str_from_index(prefix, 1);
	while (prefix.n && prefix.p[prefix.n - 1] == '/')
		prefix = str_slice(prefix, 0, prefix.n - 1);
	ret->base = arena_printf(a, "%s://%.*s", is_plain ? "http" : "https", STR_ARG(authority));
	ret->repository = arena_printf(
		a, "%.*s%s%s", STR_ARG(prefix), prefix.n ? "/" : "", reference->repository);
	ret->registry = arena_str(a, authority).p;
	return 0;
}

static const struct image_registry *find_registry(
	const struct image_source *source, const char *name)
{
	for (size_t i = 0; i < source->registry_count; i++)
		if (strcmp(source->registries[i].name, name) == 0)
			return &source->registries[i];
	return NULL;
}

/* The registry itself: by TLS, and where that is allowed without, should it not speak it. */
static size_t add_origin(
	struct arena *a, const struct oci_reference *reference, bool insecure, struct endpoint *ret)
{
	const char *host =
		strcmp(reference->registry, "docker.io") == 0 ? HUB_HOST : reference->registry;
	struct endpoint origin = {.base = arena_printf(a, "https://%s", host),
		.repository = reference->repository,
		.registry = reference->registry,
		.no_verify = insecure};

	ret[0] = origin;
	if (!insecure && !is_loopback(str_of(host)))
		return 1;
	ret[1] = origin;
	ret[1].base = arena_printf(a, "http://%s", host);
	ret[1].is_plain_fallback = true;
	return 2;
}

int endpoints_find(struct arena *a, const struct image_source *source,
	const struct oci_reference *reference, struct endpoint **ret, size_t *ret_count,
	struct err *err)
{
	const struct image_registry *registry = find_registry(source, reference->registry);
	size_t mirrors = registry ? registry->mirror_count : 0;
	struct endpoint *endpoints = arena_array(a, mirrors + 2, sizeof(*endpoints));

	for (size_t i = 0; i < mirrors; i++) {
		int r = parse_mirror(a, registry->mirrors[i], reference, &endpoints[i], err);
		if (r < 0)
			return r;
		endpoints[i].no_verify = registry->insecure;
	}
	*ret_count = mirrors +
		     add_origin(a, reference, registry && registry->insecure, &endpoints[mirrors]);
	*ret = endpoints;
	return 0;
}
