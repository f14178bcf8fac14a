/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/number.h"
#include "net/internal.h"
#include "os/clock.h"

enum {
	MAX_REDIRECTS = 10,
	MAX_HEADER_BYTES = 64 << 10,
	MAX_FAILED_BODY_BYTES = 64 << 10,
	STALL_BYTES = 1024,
	RECEIVE_BYTES = 256 << 10,
	SEND_BYTES = 256 << 10,
	DEFAULT_CONNECT_SECONDS = 15,
	DEFAULT_STALL_SECONDS = 30,
};

struct net_client {
	const struct libcurl *lib; /* NULL until the first request */
	CURL *curl;
	char *ca_bundle; /* NULL: libcurl's default */
	char *ca_dir;
	char *user_agent;
	int connect_seconds;
	int stall_seconds;
};

/* One request on its way: what the callbacks share. */
struct transfer {
	struct net_client *client;
	const struct net_request *request;
	struct net_response *ret;
	const char *url;
	const char *authorization;
	struct err *err;
	int failed;	     /* what a callback returned, with err full */
	bool is_enough;	     /* a callback ended the transfer without an error */
	bool has_stalled;    /* too little came in too long a time */
	bool has_body_begun; /* status and headers have been looked at */
	size_t header_bytes;
	uint64_t body_bytes;
	/* Time and bytes of the current window, the caller's own time left out. */
	int64_t waiting_since;
	int64_t waited;
	uint64_t waited_bytes;
	curl_off_t sent; /* of the body, as last seen */
	uint64_t read;	 /* of the body, handed to libcurl */
	char cause[CURL_ERROR_SIZE];
};

static char *first_set(const char *given, const char *variable)
{
	const char *value = given && given[0] ? given : getenv(variable);

	return value && value[0] ? xstrdup(value) : NULL;
}

struct net_client *net_client_new(const struct net_options *options)
{
	struct net_client *client = xcalloc(1, sizeof(*client));

	client->ca_bundle = first_set(options->ca_bundle, "SSL_CERT_FILE");
	client->ca_dir = first_set(NULL, "SSL_CERT_DIR");
	if (options->user_agent)
		client->user_agent = xstrdup(options->user_agent);
	client->connect_seconds =
		options->connect_seconds ? options->connect_seconds : DEFAULT_CONNECT_SECONDS;
	client->stall_seconds =
		options->stall_seconds ? options->stall_seconds : DEFAULT_STALL_SECONDS;
	return client;
}

void net_client_free(struct net_client *client)
{
	if (!client)
		return;
	if (client->curl)
		client->lib->easy_cleanup(client->curl);
	free(client->ca_bundle);
	free(client->ca_dir);
	free(client->user_agent);
	free(client);
}

void net_response_done(struct net_response *r)
{
	buf_done(&r->url);
	argv_done(&r->headers);
	buf_done(&r->body);
	buf_done(&r->answered_at);
	*r = (struct net_response){0};
}

const char *net_header(const struct net_response *r, const char *name, size_t n)
{
	struct str wanted = str_of(name);

	for (size_t i = 0; i < r->headers.count; i++) {
		struct str line = str_of(r->headers.items[i]);
		struct str value = line, found = str_cut(&value, ':');
		if (!value.p || !str_eq_nocase(str_trim(found), wanted) || n-- > 0)
			continue;
		return str_trim_left(value).p;
	}
	return NULL;
}

/* ---- Callbacks: libcurl takes any other count than it gave for "stop" ---- */

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct str line = str_trim_right(str_from(data, size * count));

	t->header_bytes += size * count;
	if (t->header_bytes > MAX_HEADER_BYTES) {
		t->failed = err_set(t->err, ERR_LIMIT, "sent more than %d KB of headers",
			MAX_HEADER_BYTES >> 10);
		return 0;
	}
	/* Interim answers (100, 103) come before the real one. */
	if (str_starts(line, STR("HTTP/")))
		argv_done(&t->ret->headers);
	else if (line.n)
		argv_add_str(&t->ret->headers, line);
	return count;
}

/* "bytes 100-199/200" → 100 */
static bool range_start(const char *value, uint64_t *ret)
{
	struct str rest = str_of(value);

	if (!str_starts(rest, STR("bytes ")))
		return false;
	rest = str_from_index(rest, strlen("bytes "));
	return parse_u64(str_cut(&rest, '-'), UINT64_MAX, ret);
}

static long status_of(struct net_client *client)
{
	long status = 0;

	client->lib->easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool is_success(const struct net_response *r)
{
	return r->status >= 200 && r->status < 300;
}

static int begin_body(struct transfer *t)
{
	t->has_body_begun = true;
	t->ret->status = (int)status_of(t->client);
	t->ret->from = 0;
	if (t->ret->status != 206)
		return 0;
	const char *range = net_header(t->ret, "Content-Range", 0);
	if (!range || !range_start(range, &t->ret->from))
		return err_set(t->err, ERR_NETWORK, "sent a part without saying which");
	if (t->ret->from != t->request->from)
		return err_set(t->err, ERR_NETWORK,
			"sent the bytes from %" PRIu64 " on when asked for those from %" PRIu64
			" on",
			t->ret->from, t->request->from);
	return 0;
}

static int take_body(struct transfer *t, struct str piece)
{
	struct net_response *ret = t->ret;

	if (!t->has_body_begun) {
		int r = begin_body(t);
		if (r < 0)
			return r;
	}
	if (!is_success(ret)) {
		t->is_enough = ret->body.len + piece.n > MAX_FAILED_BODY_BYTES;
		if (!t->is_enough)
			buf_add_str(&ret->body, piece);
		return 0;
	}
	t->body_bytes += piece.n;
	if (t->body_bytes > t->request->max_bytes)
		return err_set(t->err, ERR_LIMIT, "sent more than the %" PRIu64 " bytes expected",
			t->request->max_bytes);
	if (t->request->on_body)
		return t->request->on_body(t->request->arg, ret, piece, t->err);
	buf_add_str(&ret->body, piece);
	return 0;
}

static void count_wait(struct transfer *t)
{
	int64_t now = clock_now();

	t->waited += now - t->waiting_since;
	t->waiting_since = now;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t n = size * count;

	count_wait(t);
	t->waited_bytes += n;
	t->failed = take_body(t, str_from(data, n));
	t->waiting_since = clock_now();
	return t->failed < 0 || t->is_enough ? 0 : n;
}

static int stall_seconds(const struct transfer *t)
{
	return t->request->stall_seconds ? t->request->stall_seconds : t->client->stall_seconds;
}

static int on_progress(
	void *arg, curl_off_t down, curl_off_t down_now, curl_off_t up, curl_off_t up_now)
{
	struct transfer *t = arg;

	(void)down, (void)down_now, (void)up;
	if (t->request->is_cancelled && t->request->is_cancelled(t->request->arg)) {
		t->failed = err_set(t->err, ERR_CANCELLED, "stopped");
		return 1;
	}
	count_wait(t);
	t->waited_bytes += up_now > t->sent ? (uint64_t)(up_now - t->sent) : 0;
	t->sent = up_now;
	if (t->waited < stall_seconds(t) * INT64_C(1000000000))
		return 0;
	t->has_stalled = t->waited_bytes < STALL_BYTES;
	t->waited = 0;
	t->waited_bytes = 0;
	return t->has_stalled;
}

/* ---- One exchange ---- */

static void add_header(
	const struct libcurl *lib, struct curl_slist **list, const char *name, const char *value)
{
	if (!value)
		return;
	cleanup_free char *line = xprintf("%s: %s", name, value);
	*list = lib->slist_append(*list, line);
}

static void set_trust(struct transfer *t)
{
	const struct libcurl *lib = t->client->lib;
	CURL *curl = t->client->curl;

	if (t->request->no_verify) {
		lib->easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		lib->easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (t->client->ca_bundle)
		lib->easy_setopt(curl, CURLOPT_CAINFO, t->client->ca_bundle);
	if (t->client->ca_dir)
		lib->easy_setopt(curl, CURLOPT_CAPATH, t->client->ca_dir);
}

static void set_callbacks(struct transfer *t)
{
	const struct libcurl *lib = t->client->lib;
	CURL *curl = t->client->curl;

	lib->easy_setopt(curl, CURLOPT_ERRORBUFFER, t->cause);
	lib->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	lib->easy_setopt(curl, CURLOPT_HEADERDATA, t);
	lib->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	lib->easy_setopt(curl, CURLOPT_WRITEDATA, t);
	lib->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	lib->easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	lib->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static void set_request(struct transfer *t, struct curl_slist *headers)
{
	const struct libcurl *lib = t->client->lib;
	CURL *curl = t->client->curl;
	char range[32];

	lib->easy_setopt(curl, CURLOPT_URL, t->url);
	lib->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	lib->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	/* Our headers are for the server, never for a proxy in between. */
	lib->easy_setopt(curl, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	lib->easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	lib->easy_setopt(curl, CURLOPT_USERAGENT, t->client->user_agent);
	lib->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)t->client->connect_seconds);
	lib->easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
	lib->easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	if (t->request->head)
		lib->easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (t->request->form)
		lib->easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, t->request->form);
	if (t->request->from) {
		snprintf(range, sizeof(range), "%" PRIu64 "-", t->request->from);
		lib->easy_setopt(curl, CURLOPT_RANGE, range);
	}
}

static uint64_t body_size(const struct net_request *request)
{
	return request->body_fd > 0 ? request->body_size : request->body.n;
}

/*
 * The next bytes of the body. There is no way back: on a connection that broke, libcurl would
 * send all of it once more by itself, to a peer that may have taken a part.
 */
static size_t on_read(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	const struct net_request *request = t->request;
	uint64_t left = body_size(request) - t->read, room = size * count;
	size_t n = (size_t)(room < left ? room : left);

	if (!n)
		return 0;
	if (request->body_fd > 0) {
		ssize_t got = pread(request->body_fd, data, n, (off_t)t->read);
		if (got <= 0) {
			t->failed = err_sys(t->err, "read what is to be sent");
			return CURL_READFUNC_ABORT;
		}
		n = (size_t)got;
	} else {
		memcpy(data, request->body.p + t->read, n);
	}
	t->read += n;
	return n;
}

static void set_body(struct transfer *t)
{
	const struct libcurl *lib = t->client->lib;
	CURL *curl = t->client->curl;

	lib->easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	lib->easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_size(t->request));
	lib->easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	lib->easy_setopt(curl, CURLOPT_READDATA, t);
	lib->easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->request->method);
	lib->easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES);
}

static struct curl_slist *make_headers(const struct transfer *t)
{
	const struct libcurl *lib = t->client->lib;
	const struct net_request *request = t->request;
	struct curl_slist *headers = NULL;

	add_header(lib, &headers, "Authorization", t->authorization);
	add_header(lib, &headers, "Accept", request->accept);
	add_header(lib, &headers, "If-None-Match", request->if_none_match);
	add_header(lib, &headers, "If-Modified-Since", request->if_modified_since);
	add_header(lib, &headers, "Content-Range", request->content_range);
	if (!request->method)
		return headers;
	/* libcurl drops a header of its own that is named without a value. */
	if (request->content_type)
		add_header(lib, &headers, "Content-Type", request->content_type);
	else
		headers = lib->slist_append(headers, "Content-Type:");
	/* To be asked to go on costs a second where the server does not know the question. */
	return lib->slist_append(headers, "Expect:");
}

static int exchange(struct transfer *t)
{
	const struct libcurl *lib = t->client->lib;
	CURL *curl = t->client->curl;
	struct curl_slist *headers = make_headers(t);

	lib->easy_reset(curl); /* keeps the connections */
	set_request(t, headers);
	if (t->request->method)
		set_body(t);
	set_trust(t);
	set_callbacks(t);
	t->waiting_since = clock_now();
	buf_clear(&t->ret->url);
	net_url_shown(t->url, &t->ret->url);
	buf_clear(&t->ret->answered_at);
	buf_add_text(&t->ret->answered_at, t->url);
	CURLcode code = lib->easy_perform(curl);
	t->ret->status = (int)status_of(t->client);
	lib->slist_free_all(headers);
	if (t->failed < 0)
		return err_wrap(t->err, "%s", buf_text(&t->ret->url));
	if (t->has_stalled)
		code = CURLE_OPERATION_TIMEDOUT;
	if (code == CURLE_OK || t->is_enough)
		return 0;
	if (t->has_stalled)
		snprintf(t->cause, sizeof(t->cause), "next to nothing came for %d seconds",
			stall_seconds(t));
	t->ret->may_retry = net_explain(
		code, t->cause, &(struct net_place){t->url, t->client->ca_bundle}, t->err);
	return -(int)t->err->kind;
}

static void start_over(struct transfer *t, struct net_response *ret)
{
	argv_done(&ret->headers);
	buf_clear(&ret->body);
	ret->status = 0;
	t->is_enough = false;
	t->has_body_begun = false;
	t->header_bytes = 0;
	t->body_bytes = 0;
	t->waited = 0;
	t->waited_bytes = 0;
	t->sent = 0;
	t->read = 0;
	t->cause[0] = '\0';
}

static const char *redirect_target(const struct transfer *t)
{
	static const int statuses[] = {307, 308, 301, 302, 303};
	size_t count = t->request->method ? 2 : array_size(statuses);

	if (t->request->form)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (t->ret->status == statuses[i])
			return net_header(t->ret, "Location", 0);
	return NULL;
}

static bool is_header_value(const char *value)
{
	return !value || !value[strcspn(value, "\r\n")];
}

static int follow(struct transfer *t, struct err *err)
{
	cleanup_free char *url = xstrdup(t->request->url);

	for (int i = 0; i <= MAX_REDIRECTS; i++) {
		bool same_origin;
		start_over(t, t->ret);
		t->url = url;
		int r = exchange(t);
		if (r < 0)
			return r;
		const char *target = redirect_target(t);
		if (!target)
			return 0;
		cleanup_free char *next = NULL;
		r = net_redirect(url, target, &next, &same_origin, err);
		if (r < 0)
			return err_wrap(err, "%s", buf_text(&t->ret->url));
		/* Once gone it does not come back: another host may not send us home with it. */
		if (!same_origin)
			t->authorization = NULL;
		free(url);
		url = take_ptr(next);
	}
	return err_set(err, ERR_NETWORK, "%s: more than %d redirects", buf_text(&t->ret->url),
		MAX_REDIRECTS);
}

static int get_ready(struct net_client *client, struct err *err)
{
	if (client->curl)
		return 0;
	client->lib = libcurl_get(err);
	if (!client->lib)
		return -ERR_HOST;
	client->curl = client->lib->easy_init();
	if (!client->curl) {
		fputs("spaceport: out of memory\n", stderr);
		abort();
	}
	return 0;
}

int net_fetch(struct net_client *client, const struct net_request *request,
	struct net_response *ret, struct err *err)
{
	struct err own = {0};
	struct transfer t = {
		.client = client,
		.request = request,
		.ret = ret,
		.authorization = request->authorization,
		.err = err ? err : &own,
	};

	const char *const values[] = {request->authorization, request->accept,
		request->content_type, request->content_range, request->if_none_match,
		request->if_modified_since};

	*ret = (struct net_response){0};
	for (size_t i = 0; i < array_size(values); i++)
		if (!is_header_value(values[i]))
			return err_set(t.err, ERR_INPUT, "a header value holds a line feed");
	int r = get_ready(client, t.err);
	return r < 0 ? r : follow(&t, t.err);
}
