/* SPDX-License-Identifier: Apache-2.0 */
#include "net/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/number.h"

/* A test cannot go on without its server. */
static void check(bool is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	abort();
}

void *test_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED, "mmap");
	return p;
}

/* ---- TLS with a certificate made on the spot ---- */

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	X509V3_CTX context;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)"127.0.0.1", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *alt =
		X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, "IP:127.0.0.1");
	check(alt && X509_add_ext(cert, alt, -1), "X509_add_ext");
	X509_EXTENSION_free(alt);
	check(X509_sign(cert, key, EVP_sha256()) > 0, "X509_sign");
	return cert;
}

static SSL_CTX *make_tls(struct buf *ret_ca)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = make_certificate(key);
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
	BIO *text = BIO_new(BIO_s_mem());
	char *data;

	check(SSL_CTX_use_certificate(tls, cert) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1,
		"SSL_CTX");
	check(PEM_write_bio_X509(text, cert) == 1, "PEM");
	long n = BIO_get_mem_data(text, &data);
	buf_add(ret_ca, data, (size_t)n);
	BIO_free(text);
	X509_free(cert);
	EVP_PKEY_free(key);
	return tls;
}

struct peer {
	int fd;
	SSL *ssl; /* or NULL */
};

static ssize_t peer_read(struct peer *p, void *data, size_t n)
{
	return p->ssl ? SSL_read(p->ssl, data, (int)n) : read(p->fd, data, n);
}

static void peer_write(struct peer *p, const char *data, size_t n)
{
	while (n) {
		ssize_t done = p->ssl ? SSL_write(p->ssl, data, (int)n) : write(p->fd, data, n);
		if (done <= 0)
			return;
		data += done;
		n -= (size_t)done;
	}
}

/* ---- Requests and answers ---- */

static void copy(char *to, size_t size, struct str value)
{
	snprintf(to, size, "%.*s", STR_ARG(value));
}

static void read_header(struct test_request *r, struct str line, uint64_t *ret_length)
{
	struct str value = line, name = str_cut(&value, ':');

	value = str_trim(value);
	if (str_eq_nocase(name, STR("Content-Length")))
		check(parse_u64(value, 1 << 30, ret_length), "Content-Length");
	else if (str_eq_nocase(name, STR("Content-Type")))
		copy(r->content_type, sizeof(r->content_type), value);
	else if (str_eq_nocase(name, STR("Content-Range")))
		copy(r->content_range, sizeof(r->content_range), value);
	else if (str_eq_nocase(name, STR("If-None-Match")))
		copy(r->if_none_match, sizeof(r->if_none_match), value);
	else if (str_eq_nocase(name, STR("If-Modified-Since")))
		copy(r->if_modified_since, sizeof(r->if_modified_since), value);
	if (str_eq_nocase(name, STR("Authorization")))
		copy(r->authorization, sizeof(r->authorization), value);
	else if (str_eq_nocase(name, STR("Accept")))
		copy(r->accept, sizeof(r->accept), value);
	else if (str_eq_nocase(name, STR("Host")))
		copy(r->host, sizeof(r->host), value);
	else if (str_eq_nocase(name, STR("Range")) && str_starts(value, STR("bytes="))) {
		struct str rest = str_from_index(value, strlen("bytes="));
		r->has_range = parse_u64(str_cut(&rest, '-'), UINT64_MAX, &r->from);
	}
}

static bool read_content(struct peer *p, struct test_request *r, struct str begun, uint64_t length)
{
	buf_add_str(&r->content, begun);
	while (r->content.len < length) {
		ssize_t got = peer_read(p, buf_reserve(&r->content, 65536), 65536);
		if (got <= 0)
			return false;
		buf_commit(&r->content, (size_t)got);
	}
	copy(r->body, sizeof(r->body), buf_str(&r->content));
	return true;
}

static bool read_request(struct peer *p, struct test_request *r)
{
	char data[16384];
	uint64_t length = 0;
	size_t n = 0;
	char *end = NULL;

	while (!end && n < sizeof(data) - 1) {
		ssize_t got = peer_read(p, data + n, sizeof(data) - 1 - n);
		if (got <= 0)
			return false;
		/* A client that begins TLS; servers answer it in the clear. */
		if (data[0] == 0x16) {
			peer_write(p, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
			return false;
		}
		n += (size_t)got;
		data[n] = '\0';
		end = strstr(data, "\r\n\r\n");
	}
	if (!end)
		return false;
	struct str head = str_from(data, (size_t)(end - data)), line = str_cut(&head, '\n');
	copy(r->method, sizeof(r->method), str_cut(&line, ' '));
	copy(r->path, sizeof(r->path), str_cut(&line, ' '));
	while (head.p)
		read_header(r, str_cut(&head, '\n'), &length);
	end += 4;
	return read_content(p, r, str_from(end, n - (size_t)(end - data)), length);
}

static void send_reply(struct peer *p, const struct test_request *request, struct test_reply *r)
{
	cleanup(buf_done) struct buf out = {0};
	struct str body = buf_str(&r->body);
	size_t whole = body.n;

	if (r->no_answer)
		return;
	if (r->is_silent) {
		/* Held open by a child, so that others are served meanwhile. */
		pid_t server = getpid();
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() == server)
				sleep(3);
			_exit(0);
		}
		return;
	}
	if (request->has_range && !r->no_range && r->status == 200) {
		r->status = 206;
		body = str_from_index(body, request->from);
		buf_printf(&r->headers, "Content-Range: bytes %zu-%zu/%zu\r\n",
			(size_t)request->from, whole - 1, whole);
	}
	buf_printf(&out,
		"HTTP/1.1 %d Status\r\nContent-Length: %lld\r\nConnection: close\r\n%s\r\n",
		r->status, r->length < 0 ? (long long)body.n : (long long)r->length,
		buf_text(&r->headers));
	if (r->cut_after && r->cut_after < body.n)
		body.n = r->cut_after;
	if (strcmp(request->method, "HEAD") != 0 && !r->no_body)
		buf_add_str(&out, body);
	peer_write(p, out.data, out.len);
}

/* True when the connection was left open. */
static bool serve_one(struct peer *p, test_handler *handler, void *arg)
{
	bool is_held = false;
	struct test_request *request = xcalloc(1, sizeof(*request));
	struct test_reply reply = {.status = 200, .length = -1};

	if (read_request(p, request)) {
		handler(arg, request, &reply);
		send_reply(p, request, &reply);
		is_held = reply.is_silent;
	}
	buf_done(&reply.headers);
	buf_done(&reply.body);
	buf_done(&request->content);
	free(request);
	return is_held;
}

static void serve(int listener, SSL_CTX *tls, test_handler *handler, void *arg)
{
	for (;;) {
		struct peer p = {.fd = accept(listener, NULL, NULL)};
		if (p.fd < 0)
			continue;
		bool is_held = false;
		p.ssl = tls ? SSL_new(tls) : NULL;
		if (p.ssl)
			SSL_set_fd(p.ssl, p.fd);
		if (!p.ssl || SSL_accept(p.ssl) == 1)
			is_held = serve_one(&p, handler, arg);
		if (p.ssl && !is_held)
			SSL_shutdown(p.ssl);
		SSL_free(p.ssl);
		/* So that what was written reaches the peer, unread input notwithstanding. */
		if (!is_held)
			shutdown(p.fd, SHUT_WR);
		close(p.fd);
	}
}

void test_server_start(struct test_server *server, bool tls, test_handler *handler, void *arg)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*server = (struct test_server){0};
	check(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0 &&
			listen(listener, 64) == 0 &&
			getsockname(listener, (struct sockaddr *)&address, &size) == 0,
		"listen");
	server->port = ntohs(address.sin_port);
	snprintf(server->url, sizeof(server->url), "http%s://127.0.0.1:%d", tls ? "s" : "",
		server->port);
	SSL_CTX *context = tls ? make_tls(&server->ca_text) : NULL;
	pid_t parent = getpid();
	server->pid = fork();
	check(server->pid >= 0, "fork");
	if (server->pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		signal(SIGCHLD, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(listener, context, handler, arg);
		_exit(1);
	}
	close(listener);
	SSL_CTX_free(context);
}

void test_server_stop(struct test_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	buf_done(&server->ca_text);
	*server = (struct test_server){0};
}
