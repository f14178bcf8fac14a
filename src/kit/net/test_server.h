/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_TEST_SERVER_H
#define NET_TEST_SERVER_H

/*
 * For tests: an HTTP server on a loopback port, in a process of its own. It answers one
 * request per connection, one after the other, so a handler may keep state; what the test is
 * to see of it lives in memory that was mapped shared before the start.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"

struct test_request {
	char method[16];
	char path[2048]; /* with the query */
	char authorization[4096];
	char accept[1024];
	char host[256];
	char content_type[256], content_range[128];
	char if_none_match[256], if_modified_since[64];
	char body[4096];    /* as text, as much as fits */
	struct buf content; /* the whole body */
	bool has_range;
	uint64_t from;
};

struct test_reply {
	int status;	    /* 200 at first */
	struct buf headers; /* whole lines, each ended by "\r\n" */
	struct buf body;
	bool no_range;	  /* send everything whatever was asked for */
	bool no_body;	  /* headers only; Content-Length still says how long it would be */
	size_t cut_after; /* close the connection after so many bytes of body; 0: never */
	int64_t length;	  /* what Content-Length claims; < 0: the truth */
	bool no_answer;	  /* close the connection without one */
	bool is_silent;	  /* answer nothing and keep the connection open for three seconds */
};

typedef void test_handler(void *arg, const struct test_request *request, struct test_reply *reply);

struct test_server {
	int port;
	pid_t pid;
	char url[64];	    /* "http://127.0.0.1:12345" */
	struct buf ca_text; /* the server's own certificate, PEM, when it speaks TLS */
};

void test_server_start(struct test_server *server, bool tls, test_handler *handler, void *arg);
void test_server_stop(struct test_server *server);

/* Zeroed memory that the server's process and the test share. */
void *test_shared(size_t size);

#endif
