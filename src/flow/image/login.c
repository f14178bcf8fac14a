/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "image/challenge.h"
#include "image/registry.h"
#include "json/json.h"

enum { TOKEN_ANSWER_MAX = 1 << 20 };

static int refused(const struct endpoint *endpoint, int status, const char *why, struct err *err)
{
	(void)err_set(err, ERR_DENIED, "%s/v2/%s: %s (%d)", endpoint->base, endpoint->repository,
		why, status);
	endpoint_hint_login(endpoint, err);
	return -(int)err->kind;
}

static bool is_printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f)
			return false;
	return true;
}

static int parse_token(struct arena *a, struct str text, const char **ret, struct err *err)
{
	const struct json *root = NULL;
	const char *token = "";
	int r = json_parse(a, text, TOKEN_ANSWER_MAX, &root, err);

	/* Both names are in use; servers that send both send the same. */
	if (r == 0)
		r = json_opt_text(root, "access_token", &token, err);
	if (r == 0)
		r = json_opt_text(root, "token", &token, err);
	if (r < 0)
		return r;
	if (!token[0] || !is_printable(token))
		return err_set(err, ERR_INPUT, "there is no token in it");
	*ret = token;
	return 0;
}

/* Add &name=value, encoded. */
static void add_field(struct buf *to, const char *name, const char *value)
{
	buf_printf(to, "%s=", name);
	net_url_encode(str_of(value), to);
}

struct token_query {
	struct buf url, form;
	const char *authorization;
	bool is_post;
};

static void token_query_done(struct token_query *q)
{
	buf_done(&q->url);
	buf_done(&q->form);
}
DEFINE_CLEANUP_VALUE(struct token_query, token_query_done);

/*
 * The scope is ours to say: what the challenge asks for may be more than what is done with this
 * repository, and it is our credentials that would vouch for it. A query has a field for each
 * scope, a form one field for all (distribution's token specifications).
 */
static void add_scopes(const struct registry *registry, const struct endpoint *endpoint,
	bool is_form, struct buf *to)
{
	const char *first = arena_printf(registry->arena, "repository:%s:%s", endpoint->repository,
		registry->actions ? registry->actions : "pull");

	add_field(to, "scope", first);
	for (size_t i = 0; i < registry->also_read.count; i++) {
		const char *scope = arena_printf(
			registry->arena, "repository:%s:pull", registry->also_read.items[i]);
		buf_add_text(to, is_form ? "%20" : "&scope=");
		net_url_encode(str_of(scope), to);
	}
}

static void make_query(struct registry *registry, const struct endpoint *endpoint,
	const struct challenge *challenge, const struct credentials *who, struct token_query *q)
{
	struct buf *fields;

	buf_add_text(&q->url, challenge->realm);
	q->is_post = who && who->identity_token[0];
	fields = q->is_post ? &q->form : &q->url;
	if (q->is_post) {
		buf_add_text(&q->form, "grant_type=refresh_token&client_id=spaceport&");
		add_field(&q->form, "refresh_token", who->identity_token);
		buf_add_char(&q->form, '&');
	} else {
		buf_add_char(&q->url, strchr(challenge->realm, '?') ? '&' : '?');
		q->authorization = who ? credentials_basic(registry->arena, who) : NULL;
	}
	add_scopes(registry, endpoint, q->is_post, fields);
	if (challenge->service[0]) {
		buf_add_char(fields, '&');
		add_field(fields, "service", challenge->service);
	}
}

static int check_realm(
	const struct endpoint *endpoint, const struct challenge *challenge, struct err *err)
{
	struct str realm = str_of(challenge->realm);
	bool is_plain = str_starts(realm, STR("http://"));

	if (str_starts(realm, STR("https://")))
		return 0;
	if (is_plain && (endpoint->no_verify || str_starts(str_of(endpoint->base), STR("http://"))))
		return 0;
	return err_set(err, ERR_NETWORK, "%s wants the login to happen at %s, which is not https",
		endpoint->base, challenge->realm);
}

static int fetch_token(struct registry *registry, const struct endpoint *endpoint,
	const struct token_query *query, const char **ret, struct err *err)
{
	cleanup(net_response_done) struct net_response answer = {0};
	struct net_request request = {
		.url = query->url.data,
		.form = query->is_post ? query->form.data : NULL,
		.authorization = query->authorization,
		.accept = "application/json",
		.max_bytes = TOKEN_ANSWER_MAX,
		.no_verify = endpoint->no_verify,
		.is_cancelled = registry->watcher->is_cancelled,
		.arg = registry->watcher->arg,
	};
	bool has_credentials = query->authorization || query->is_post;
	int r = net_fetch(registry->client, &request, &answer, err);

	if (r < 0)
		return r;
	if (answer.status == 400 || answer.status == 401 || answer.status == 403)
		return refused(endpoint, answer.status,
			has_credentials ? "the credentials for it were refused"
					: "access without a login was refused",
			err);
	if (answer.status != 200)
		return err_set(err, ERR_NETWORK, "%s: answer %d when asked for a token",
			buf_text(&answer.url), answer.status);
	r = parse_token(registry->arena, buf_str(&answer.body), ret, err);
	if (r < 0) {
		err->kind = ERR_NETWORK;
		return err_wrap(err, "token of %s", buf_text(&answer.url));
	}
	return 0;
}

static struct challenge find_challenge(struct arena *a, const struct net_response *refusal)
{
	struct challenge challenge = {CHALLENGE_NONE, "", "", ""};
	const char *header;

	for (size_t i = 0; (header = net_header(refusal, "WWW-Authenticate", i)); i++)
		challenge_parse(a, str_of(header), &challenge);
	return challenge;
}

int endpoint_log_in(struct registry *registry, struct endpoint *endpoint,
	const struct net_response *refusal, struct err *err)
{
	cleanup(token_query_done) struct token_query query = {0};
	struct challenge challenge = find_challenge(registry->arena, refusal);
	struct credentials credentials, *who = NULL;
	const char *token = "";
	int r = CREDENTIALS_E_NONE;

	endpoint->authorization = NULL;
	if (challenge.scheme == CHALLENGE_NONE)
		return refused(
			endpoint, refusal->status, "a login is wanted, by no known method", err);
	if (registry->source->credentials)
		r = credentials_find(registry->arena, registry->source->credentials,
			endpoint->registry, endpoint->repository, &credentials, err);
	if (r < 0)
		return r;
	if (r == 0)
		who = &credentials;
	if (challenge.scheme == CHALLENGE_BASIC) {
		if (!who || !who->user[0])
			return refused(endpoint, refusal->status, "a login is wanted", err);
		endpoint->authorization = credentials_basic(registry->arena, who);
		return 0;
	}
	r = check_realm(endpoint, &challenge, err);
	if (r < 0)
		return r;
	make_query(registry, endpoint, &challenge, who, &query);
	r = fetch_token(registry, endpoint, &query, &token, err);
	if (r == 0)
		endpoint->authorization = arena_printf(registry->arena, "Bearer %s", token);
	return r;
}
