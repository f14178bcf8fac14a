/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/err.h"

/* The functions of libcurl that are called here, without their "curl_". */
#define LIBCURL_FUNCTIONS(X) \
	X(easy_cleanup) \
	X(easy_getinfo) \
	X(easy_init) \
	X(easy_perform) \
	X(easy_reset) \
	X(easy_setopt) \
	X(easy_strerror) \
	X(free) \
	X(global_init) \
	X(slist_append) \
	X(slist_free_all) \
	X(url) \
	X(url_cleanup) \
	X(url_get) \
	X(url_set)

struct libcurl {
#define X(name) __typeof__(curl_##name) *name;
	LIBCURL_FUNCTIONS(X)
#undef X
};

/*
 * libcurl, loaded and ready; ERR_HOST and NULL where it is not installed. The value stays
 * valid for good. Not for several threads at once.
 */
const struct libcurl *libcurl_get(struct err *err);

struct net_place {
	const char *url;
	const char *ca_bundle; /* NULL: libcurl's default */
};

/* Fill err from a result of libcurl; true if another try may succeed. */
bool net_explain(CURLcode code, const char *cause, const struct net_place *place, struct err *err);

/* Where a Location leads from `from`; the caller frees ret_url. */
must_use int net_redirect(const char *from, const char *location, char **ret_url,
	bool *ret_same_origin, struct err *err);

#endif
