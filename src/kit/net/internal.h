/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/err.h"

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
