/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "net/internal.h"
#include "net/net.h"

static const char network_hint[] =
	"check the network and its name servers; where the registry cannot be reached, name a "
	"mirror for it under `registries` in spaceport.yaml";
static const char proxy_hint[] =
	"check http_proxy, https_proxy and no_proxy in the environment or in spaceport.yaml";
static const char certificate_hint[] =
	"if this network has its own certificate authority, set ca_bundle in spaceport.yaml or "
	"SSL_CERT_FILE";
static const char tls_hint[] =
	"if the server speaks plain HTTP, mark its registry as `insecure: true` in spaceport.yaml";

/* Results that mean more than "the connection broke". */
static const struct {
	CURLcode code;
	enum err_kind kind;
	bool may_retry;
	const char *hint;
} results[] = {
	{CURLE_UNSUPPORTED_PROTOCOL, ERR_INPUT, false, NULL},
	{CURLE_URL_MALFORMAT, ERR_INPUT, false, NULL},
	{CURLE_COULDNT_RESOLVE_PROXY, ERR_NETWORK, false, proxy_hint},
	{CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, true, network_hint},
	{CURLE_COULDNT_CONNECT, ERR_NETWORK, true, network_hint},
	{CURLE_OPERATION_TIMEDOUT, ERR_NETWORK, true, network_hint},
	{CURLE_PROXY, ERR_NETWORK, false, proxy_hint},
	{CURLE_PEER_FAILED_VERIFICATION, ERR_NETWORK, false, certificate_hint},
	{CURLE_SSL_CACERT_BADFILE, ERR_INPUT, false, certificate_hint},
	{CURLE_SSL_CONNECT_ERROR, ERR_NETWORK, false, tls_hint},
};

bool net_explain(CURLcode code, const char *cause, const struct net_place *place, struct err *err)
{
	cleanup(buf_done) struct buf shown = {0};
	enum err_kind kind = ERR_NETWORK;
	bool may_retry = true;
	const char *hint = NULL;

	for (size_t i = 0; i < array_size(results); i++) {
		if (results[i].code != code)
			continue;
		kind = results[i].kind;
		may_retry = results[i].may_retry;
		hint = results[i].hint;
		break;
	}
	/* libcurl speaks of what it would have done next. */
	if (code == CURLE_SEND_FAIL_REWIND)
		cause = "the connection broke off while something was sent";
	net_url_shown(place->url, &shown);
	if (code == CURLE_SSL_CACERT_BADFILE && place->ca_bundle)
		(void)err_set(err, kind, "certificate file %s cannot be read", place->ca_bundle);
	else
		(void)err_set(err, kind, "%s: %s", buf_text(&shown),
			cause[0] ? cause : libcurl_get(NULL)->easy_strerror(code));
	if (hint)
		(void)err_hint(err, "%s", hint);
	return may_retry;
}
