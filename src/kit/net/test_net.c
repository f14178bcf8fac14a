/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "net/net.h"
#include "net/test_server.h"
#include "os/file.h"

struct seen {
	int requests;
	char authorization[200];
	char last_path[200];
	char other_url[64];
};

static void handle(void *arg, const struct test_request *request, struct test_reply *reply)
{
	struct seen *seen = arg;

	seen->requests++;
	snprintf(
		seen->authorization, sizeof(seen->authorization), "%.190s", request->authorization);
	snprintf(seen->last_path, sizeof(seen->last_path), "%.190s", request->path);
	buf_add_text(&reply->headers, "X-One: 1\r\nx-two:   2 \r\nX-One: again\r\n");
	if (strcmp(request->path, "/bytes") == 0) {
		buf_add_text(&reply->body, "0123456789");
	} else if (strcmp(request->path, "/norange") == 0) {
		reply->no_range = true;
		buf_add_text(&reply->body, "0123456789");
	} else if (strcmp(request->path, "/lying-range") == 0) {
		reply->status = 206;
		buf_add_text(&reply->headers, "Content-Range: bytes 0-9/10\r\n");
		buf_add_text(&reply->body, "0123456789");
	} else if (strcmp(request->path, "/cut") == 0) {
		buf_add_text(&reply->body, "0123456789");
		reply->cut_after = 4;
	} else if (strcmp(request->path, "/silent") == 0) {
		reply->is_silent = true;
	} else if (strcmp(request->path, "/loop") == 0) {
		reply->status = 302;
		buf_add_text(&reply->headers, "Location: loop\r\n");
	} else if (strcmp(request->path, "/here") == 0) {
		reply->status = 307;
		buf_add_text(&reply->headers, "Location: /bytes\r\n");
	} else if (strcmp(request->path, "/there") == 0) {
		reply->status = 302;
		buf_printf(&reply->headers, "Location: %s/back?sig=secret\r\n", seen->other_url);
	} else if (strncmp(request->path, "/back", 5) == 0) {
		buf_printf(&reply->body, "auth=%s", request->authorization);
	} else if (strcmp(request->path, "/file") == 0) {
		reply->status = 302;
		buf_add_text(&reply->headers, "Location: file:///etc/passwd\r\n");
	} else if (strcmp(request->path, "/many-headers") == 0) {
		for (int i = 0; i < 3000; i++)
			buf_add_text(&reply->headers, "X-Filler: 0123456789012345678\r\n");
	} else if (strcmp(request->path, "/post") == 0) {
		buf_printf(&reply->body, "%s %s", request->method, request->body);
	} else if (strcmp(request->path, "/send") == 0) {
		buf_printf(&reply->body, "%s|%s|%s|%s|%zu|%s", request->method,
			request->content_type, request->content_range, request->authorization,
			request->content.len, request->body);
	} else if (strcmp(request->path, "/send-on") == 0) {
		reply->status = 307;
		buf_add_text(&reply->headers, "Location: send\r\n");
	} else if (strcmp(request->path, "/seen") == 0) {
		reply->status = 302;
		buf_add_text(&reply->headers, "Location: /send\r\n");
	} else if (strcmp(request->path, "/over-there") == 0) {
		reply->status = 202;
		buf_printf(&reply->headers, "Location: %s/up?state=secret\r\n", seen->other_url);
	} else {
		reply->status = 404;
		for (int i = 0; i < 100000; i++)
			buf_add_char(&reply->body, 'n');
	}
}

struct fixture {
	struct test_server here, there;
	struct seen *seen_here, *seen_there;
	struct net_client *client;
};

static struct fixture f;

static int set_up(void **state)
{
	(void)state;
	/* A proxy of this machine's environment has no business with loopback. */
	setenv("no_proxy", "127.0.0.1,localhost", 1);
	f.seen_here = test_shared(sizeof(*f.seen_here));
	f.seen_there = test_shared(sizeof(*f.seen_there));
	test_server_start(&f.there, false, handle, f.seen_there);
	memcpy(f.seen_here->other_url, f.there.url, sizeof(f.there.url));
	test_server_start(&f.here, false, handle, f.seen_here);
	f.client = net_client_new(&(struct net_options){.stall_seconds = 1, .user_agent = "t"});
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	net_client_free(f.client);
	test_server_stop(&f.here);
	test_server_stop(&f.there);
	return 0;
}

static char url[300];

static const char *at(const char *path)
{
	snprintf(url, sizeof(url), "%s%s", f.here.url, path);
	return url;
}

static struct net_request get(const char *path)
{
	return (struct net_request){.url = at(path), .max_bytes = 1000};
}

static void body_and_headers(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	struct net_request request = get("/bytes");
	struct err err = {0};

	(void)state;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
	assert_int_equal(ret.status, 200);
	assert_string_equal(buf_text(&ret.body), "0123456789");
	assert_string_equal(net_header(&ret, "x-one", 0), "1");
	assert_string_equal(net_header(&ret, "X-ONE", 1), "again");
	assert_null(net_header(&ret, "X-One", 2));
	assert_string_equal(net_header(&ret, "X-Two", 0), "2");
	assert_null(net_header(&ret, "X", 0));
}

static void ranges(void **state)
{
	static const struct {
		const char *path;
		int status;
		uint64_t from;
		const char *body;
	} rows[] = {{"/bytes", 206, 4, "456789"}, {"/norange", 200, 0, "0123456789"}};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		struct net_request request = get(rows[i].path);
		struct err err = {0};
		request.from = 4;
		assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
		assert_int_equal(ret.status, rows[i].status);
		assert_int_equal(ret.from, rows[i].from);
		assert_string_equal(buf_text(&ret.body), rows[i].body);
	}
}

static void failures(void **state)
{
	static const struct {
		const char *path;
		uint64_t max_bytes;
		int result;
		bool may_retry;
		const char *error;
	} rows[] = {
		{"/cut", 1000, -ERR_NETWORK, true, "transfer closed"},
		{"/silent", 1000, -ERR_NETWORK, true, "next to nothing came for 1 seconds"},
		{"/bytes", 9, -ERR_LIMIT, false, "sent more than the 9 bytes expected"},
		{"/loop", 1000, -ERR_NETWORK, false, "more than 10 redirects"},
		{"/file", 1000, -ERR_NETWORK, false, "redirects to what is no HTTP URL"},
		{"/many-headers", 1000, -ERR_LIMIT, false, "sent more than 64 KB of headers"},
		{"/lying-range", 1000, -ERR_NETWORK, false,
			"sent the bytes from 0 on when asked for those from 4 on"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		struct net_request request = get(rows[i].path);
		struct err err = {0};
		request.max_bytes = rows[i].max_bytes;
		request.from = strstr(rows[i].path, "range") ? 4 : 0;
		int r = net_fetch(f.client, &request, &ret, &err);
		if (r != rows[i].result || !strstr(err.text, rows[i].error) ||
			!strstr(err.text, at(rows[i].path)))
			fail_msg("%s: %d %s", rows[i].path, r, err.text);
		assert_int_equal(ret.may_retry, rows[i].may_retry);
	}
}

static void failed_bodies_are_short(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	struct net_request request = get("/nothing");
	struct err err = {0};

	(void)state;
	request.max_bytes = 1;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
	assert_int_equal(ret.status, 404);
	assert_true(ret.body.len <= 64 << 10);
	assert_int_equal(ret.body.data[0], 'n');
}

static int refuse_all(void *arg, const struct net_response *r, struct str piece, struct err *err)
{
	assert_int_equal(r->status, 200);
	buf_add_str(arg, piece);
	return err_set(err, ERR_FAILED, "not this");
}

static void callback_can_refuse(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	cleanup(buf_done) struct buf got = {0};
	struct net_request request = get("/bytes");
	struct err err = {0};

	(void)state;
	request.on_body = refuse_all;
	request.arg = &got;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), -ERR_FAILED);
	assert_non_null(strstr(err.text, "/bytes: not this"));
	assert_string_equal(buf_text(&got), "0123456789");
}

static void redirects_keep_authorization_at_home(void **state)
{
	struct err err = {0};

	(void)state;
	for (int i = 0; i < 2; i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		struct net_request request = get(i ? "/there" : "/here");
		request.authorization = "Bearer token";
		assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
		assert_int_equal(ret.status, 200);
		if (i) {
			assert_string_equal(buf_text(&ret.body), "auth=");
			assert_string_equal(f.seen_there->last_path, "/back?sig=secret");
			assert_null(strstr(buf_text(&ret.url), "secret"));
		} else {
			assert_string_equal(f.seen_here->authorization, "Bearer token");
			assert_string_equal(f.seen_here->last_path, "/bytes");
		}
	}
}

static bool yes(void *arg)
{
	(void)arg;
	return true;
}

static void cancelled(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	struct net_request request = get("/silent");
	struct err err = {0};

	(void)state;
	request.is_cancelled = yes;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), -ERR_CANCELLED);
}

static void head_and_post(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	cleanup(net_response_done) struct net_response posted = {0};
	struct net_request request = get("/bytes");
	struct err err = {0};

	(void)state;
	request.head = true;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
	assert_int_equal(ret.body.len, 0);
	assert_string_equal(net_header(&ret, "Content-Length", 0), "10");
	request = get("/post");
	request.form = "a=b&c=d";
	assert_int_equal(net_fetch(f.client, &request, &posted, &err), 0);
	assert_string_equal(buf_text(&posted.body), "POST a=b&c=d");
}

static void bodies_are_sent(void **state)
{
	static const struct {
		const char *path, *method;
		struct str body;
		bool is_file;
		int status;
		const char *answer;
	} rows[] = {
		{"/send", "POST", {"", 0}, false, 200, "POST||bytes|Bearer token|0|"},
		{"/send", "PATCH", {"ab\0c", 4}, false, 200, "PATCH||bytes|Bearer token|4|ab"},
		{"/send", "PUT", {"abc", 3}, true, 200, "PUT||bytes|Bearer token|3|abc"},
		/* A redirect that keeps the method takes the body along. */
		{"/send-on", "PUT", {"abc", 3}, false, 200, "PUT||bytes|Bearer token|3|abc"},
		{"/send-on", "PUT", {"abc", 3}, true, 200, "PUT||bytes|Bearer token|3|abc"},
		/* Any other leads to an answer to look at, not to do the same again. */
		{"/seen", "PUT", {"abc", 3}, false, 302, ""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		struct net_request request = get(rows[i].path);
		char name[] = "/tmp/test_net.XXXXXX";
		struct err err = {0};
		int fd = mkstemp(name);
		unlink(name);
		assert_int_equal(file_write_fd(fd, rows[i].body, &err), 0);
		request.method = rows[i].method;
		request.authorization = "Bearer token";
		request.content_range = "bytes";
		request.body = rows[i].body;
		request.body_fd = rows[i].is_file ? fd : 0;
		request.body_size = rows[i].body.n;
		if (net_fetch(f.client, &request, &ret, &err) < 0)
			fail_msg("%s", err.text);
		close(fd);
		assert_int_equal(ret.status, rows[i].status);
		assert_string_equal(buf_text(&ret.body), rows[i].answer);
	}
}

static void large_bodies_and_their_type(void **state)
{
	cleanup(net_response_done) struct net_response ret = {0};
	cleanup(buf_done) struct buf body = {0};
	struct net_request request = get("/send");
	struct err err = {0};

	(void)state;
	while (body.len < 3 << 20)
		buf_add_text(&body, "0123456789abcdef");
	request.method = "PATCH";
	request.body = buf_str(&body);
	request.content_type = "application/octet-stream";
	request.max_bytes = 1 << 20;
	assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
	assert_true(str_starts(buf_str(&ret.body),
		STR("PATCH|application/octet-stream|||3145728|0123456789abcdef")));
}

static void where_to_go_on(void **state)
{
	static const struct {
		const char *path;
		const char *location;
		bool is_same;
	} rows[] = {{"/seen", "/send", true}, {"/over-there", "/up?state=secret", false}};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		cleanup(buf_done) struct buf location = {0};
		struct net_request request = get(rows[i].path);
		struct err err = {0};
		bool is_same = !rows[i].is_same;
		request.method = "POST";
		assert_int_equal(net_fetch(f.client, &request, &ret, &err), 0);
		assert_int_equal(net_location(&request, &ret, &location, &is_same, &err), 0);
		assert_int_equal(is_same, rows[i].is_same);
		assert_true(str_ends(buf_str(&location), str_of(rows[i].location)));
	}
	cleanup(net_response_done) struct net_response none = {0};
	cleanup(buf_done) struct buf location = {0};
	struct net_request request = get("/bytes");
	struct err err = {0};
	bool is_same;
	assert_int_equal(net_fetch(f.client, &request, &none, &err), 0);
	assert_int_equal(net_location(&request, &none, &location, &is_same, &err), -ERR_NETWORK);
	assert_non_null(strstr(err.text, "does not say where to go on"));
}

static void refused_requests(void **state)
{
	static const struct {
		const char *url, *authorization;
		int result;
		const char *error;
	} rows[] = {
		{"file:///etc/passwd", NULL, -ERR_INPUT, "file:///etc/passwd: "},
		{"ftp://127.0.0.1/x", NULL, -ERR_INPUT, "ftp://127.0.0.1/x: "},
		{"http://127.0.0.1:1/x", "a\r\nX: y", -ERR_INPUT, "a header value holds"},
		{"http://u:secret@127.0.0.1:1/x?y=secret", NULL, -ERR_NETWORK,
			"http://127.0.0.1:1/x: "},
		{"http://name.invalid/", NULL, -ERR_NETWORK, "http://name.invalid/: "},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(net_response_done) struct net_response ret = {0};
		struct net_request request = {
			.url = rows[i].url, .authorization = rows[i].authorization};
		struct err err = {0};
		int r = net_fetch(f.client, &request, &ret, &err);
		if (r != rows[i].result || !str_starts(str_of(err.text), str_of(rows[i].error)))
			fail_msg("%s: %d %s", rows[i].url, r, err.text);
		assert_null(strstr(err.text, "secret"));
	}
}

static int fetch_with(const char *address, const char *ca_bundle, struct err *err)
{
	cleanup(net_client_free) struct net_client *client =
		net_client_new(&(struct net_options){.ca_bundle = ca_bundle});
	cleanup(net_response_done) struct net_response ret = {0};
	struct net_request request = {.url = address, .max_bytes = 1000};

	return net_fetch(client, &request, &ret, err);
}

static void certificates(void **state)
{
	struct test_server tls;
	struct err err = {0};
	char ca[] = "/tmp/test_net.XXXXXX", address[100];
	int fd = mkstemp(ca);

	(void)state;
	unsetenv("SSL_CERT_FILE");
	test_server_start(&tls, true, handle, f.seen_here);
	assert_int_equal(file_write_fd(fd, buf_str(&tls.ca_text), &err), 0);
	close(fd);
	snprintf(address, sizeof(address), "%s/bytes", tls.url);
	assert_int_equal(fetch_with(address, NULL, &err), -ERR_NETWORK);
	assert_non_null(strstr(err.text, "certificate"));
	assert_non_null(strstr(err.hint, "ca_bundle"));
	assert_int_equal(fetch_with(address, ca, &err), 0);
	setenv("SSL_CERT_FILE", ca, 1);
	assert_int_equal(fetch_with(address, NULL, &err), 0);
	unsetenv("SSL_CERT_FILE");
	assert_int_equal(fetch_with(address, "/nowhere/ca.pem", &err), -ERR_INPUT);
	assert_string_equal(err.text, "certificate file /nowhere/ca.pem cannot be read");
	/* A plain server where TLS was expected. */
	snprintf(address, sizeof(address), "https://127.0.0.1:%d/bytes", f.here.port);
	assert_int_equal(fetch_with(address, NULL, &err), -ERR_NETWORK);
	assert_non_null(strstr(err.hint, "insecure"));
	test_server_stop(&tls);
	unlink(ca);
}

static void urls_are_encoded_and_shown(void **state)
{
	cleanup(buf_done) struct buf out = {0};

	(void)state;
	net_url_encode(STR("repository:library/a b\xff"), &out);
	assert_string_equal(buf_text(&out), "repository%3Alibrary%2Fa%20b%FF");
	buf_clear(&out);
	net_url_shown("https://me:pw@host:5000/v2/x?token=t#f", &out);
	assert_string_equal(buf_text(&out), "https://host:5000/v2/x");
	buf_clear(&out);
	net_url_shown("::", &out);
	assert_string_equal(buf_text(&out), "(not a URL)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_and_headers),
		cmocka_unit_test(ranges),
		cmocka_unit_test(failures),
		cmocka_unit_test(failed_bodies_are_short),
		cmocka_unit_test(callback_can_refuse),
		cmocka_unit_test(redirects_keep_authorization_at_home),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(head_and_post),
		cmocka_unit_test(bodies_are_sent),
		cmocka_unit_test(large_bodies_and_their_type),
		cmocka_unit_test(where_to_go_on),
		cmocka_unit_test(refused_requests),
		cmocka_unit_test(certificates),
		cmocka_unit_test(urls_are_encoded_and_shown),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
