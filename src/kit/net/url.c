/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "net/internal.h"
#include "net/net.h"

/* There are URLs and texts of libcurl only where it could be loaded. */
static void url_cleanup(CURLU **url)
{
	if (*url)
		libcurl_get(NULL)->url_cleanup(*url);
}

static void text_free(char **text)
{
	if (*text)
		libcurl_get(NULL)->free(*text);
}

#define cleanup_url	 __attribute__((__cleanup__(url_cleanup)))
#define cleanup_url_text __attribute__((__cleanup__(text_free)))

void net_url_shown(const char *text, struct buf *ret)
{
	static const CURLUPart hidden[] = {
		CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT};
	const struct libcurl *lib = libcurl_get(NULL);
	cleanup_url CURLU *url = lib ? lib->url() : NULL;
	cleanup_url_text char *shown = NULL;
	bool is_url = url &&
		      lib->url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;

	for (size_t i = 0; is_url && i < array_size(hidden); i++)
		is_url = lib->url_set(url, hidden[i], NULL, 0) == CURLUE_OK;
	if (is_url && lib->url_get(url, CURLUPART_URL, &shown, 0) == CURLUE_OK)
		buf_add_text(ret, shown);
	else
		buf_add_text(ret, "(not a URL)");
}

void net_url_encode(struct str text, struct buf *ret)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] && strchr(plain, text.p[i]))
			buf_add_char(ret, text.p[i]);
		else
			buf_printf(ret, "%%%02X", (unsigned char)text.p[i]);
	}
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
	const struct libcurl *lib = libcurl_get(NULL);
	cleanup_url_text char *text_a = NULL, *text_b = NULL;

	return lib->url_get(a, part, &text_a, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	       lib->url_get(b, part, &text_b, CURLU_DEFAULT_PORT) == CURLUE_OK &&
	       str_eq_nocase(str_of(text_a), str_of(text_b));
}

static bool has_scheme(CURLU *url, const char *scheme)
{
	const struct libcurl *lib = libcurl_get(NULL);
	cleanup_url_text char *text = NULL;

	return lib->url_get(url, CURLUPART_SCHEME, &text, 0) == CURLUE_OK &&
	       str_eq_nocase(str_of(text), str_of(scheme));
}

int net_redirect(const char *from, const char *location, char **ret_url, bool *ret_same_origin,
	struct err *err)
{
	const struct libcurl *lib = libcurl_get(err);
	if (!lib)
		return -ERR_HOST;
	cleanup_url CURLU *old = lib->url(), *new = lib->url();
	cleanup_url_text char *text = NULL;

	/* Setting a URL where there is one already resolves it as a link on that page. */
	if (lib->url_set(old, CURLUPART_URL, from, 0) != CURLUE_OK ||
		lib->url_set(new, CURLUPART_URL, from, 0) != CURLUE_OK ||
		lib->url_set(new, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK ||
		(!has_scheme(new, "http") && !has_scheme(new, "https")))
		return err_set(err, ERR_NETWORK, "redirects to what is no HTTP URL");
	if (has_scheme(old, "https") && !has_scheme(new, "https"))
		return err_set(err, ERR_NETWORK, "redirects from https to plain http");
	/* Credentials come from our settings, never from a server. */
	if (lib->url_set(new, CURLUPART_USER, NULL, 0) != CURLUE_OK ||
		lib->url_set(new, CURLUPART_PASSWORD, NULL, 0) != CURLUE_OK ||
		lib->url_get(new, CURLUPART_URL, &text, 0) != CURLUE_OK)
		return err_set(err, ERR_NETWORK, "redirects to what is no HTTP URL");
	*ret_same_origin = same_part(old, new, CURLUPART_SCHEME) &&
			   same_part(old, new, CURLUPART_HOST) &&
			   same_part(old, new, CURLUPART_PORT);
	*ret_url = xstrdup(text);
	return 0;
}

int net_location(const struct net_request *request, const struct net_response *r, struct buf *ret,
	bool *ret_same_origin, struct err *err)
{
	cleanup_free char *url = NULL, *again = NULL;
	const char *location = net_header(r, "Location", 0);
	bool is_next_same;

	if (!location || !location[0])
		return err_set(
			err, ERR_NETWORK, "%s: does not say where to go on", buf_text(&r->url));
	int result = net_redirect(buf_text(&r->answered_at), location, &url, &is_next_same, err);
	/* A redirect may have led elsewhere before: what counts is where the request was meant to
	 * go.
	 */
	if (result == 0)
		result = net_redirect(request->url, url, &again, ret_same_origin, err);
	if (result < 0)
		return err_wrap(err, "%s", buf_text(&r->url));
	buf_add_text(ret, again);
	return 0;
}
