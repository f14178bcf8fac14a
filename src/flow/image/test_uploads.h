/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TEST_UPLOADS_H
#define IMAGE_TEST_UPLOADS_H

/*
 * For tests: a registry that takes uploads, and can be told to misbehave. It digests what it is
 * given, so that "201 Created" means that every byte arrived, once and in its place.
 */
#include "image/image.h"
#include "net/test_server.h"

enum uploads_mode {
	UPLOADS_GOOD,
	UPLOADS_CUT_ONCE,      /* the first body is taken by half, and not answered */
	UPLOADS_CUT_ALWAYS,    /* every one */
	UPLOADS_ANSWER_LOST,   /* the first blob is stored, and that is not answered */
	UPLOADS_SESSION_LOST,  /* the first session is unknown after its first chunk */
	UPLOADS_NO_CHUNKS,     /* 405 for PATCH */
	UPLOADS_SMALL,	       /* 416 for requests of more than 4 MiB */
	UPLOADS_LEAST,	       /* says that chunks are to have 300000 bytes at least */
	UPLOADS_STUCK_RANGE,   /* every chunk is answered with the Range of the first */
	UPLOADS_HALF,	       /* takes half of each chunk, and says so */
	UPLOADS_RANGE_LIES,    /* says to have more than it was given */
	UPLOADS_BUSY,	       /* 503 and 429 in turn, every fourth time */
	UPLOADS_LATER,	       /* 429 with Retry-After: an hour */
	UPLOADS_ELSEWHERE,     /* sessions go on at another server */
	UPLOADS_LOOP,	       /* redirects in a circle */
	UPLOADS_NO_LOCATION,   /* a session, but not where */
	UPLOADS_FILE_LOCATION, /* a session at file:///etc/passwd */
	UPLOADS_WRONG_DIGEST,  /* says to have stored something else */
	UPLOADS_WRONG_MANIFEST,
	UPLOADS_OTHER_SIZE, /* blobs are there, but of another size */
	UPLOADS_DENIED,	    /* 403 with a message */
	UPLOADS_ENDLESS,    /* bodies of 8 MB to everything */
	UPLOADS_NO_MOUNT,   /* a session instead */
	UPLOADS_BAD_MOUNT,  /* 400 to a request for a mount */
	UPLOADS_TOKEN,	    /* wants a token, which it gives to everybody */
};

enum { UPLOADS_BLOBS = 64 };

/* Shared with the server's process. */
struct uploads_state {
	enum uploads_mode mode;
	int heads, posts, patches, puts, gets, mounts, manifests; /* requests so far */
	unsigned first;						  /* session */
	int bodies;						  /* that were cut */
	size_t largest;						  /* body */
	bool is_range_right; /* each Content-Range continued where the last one ended */
	char leaked[256];    /* an authorization that the other server got to see */
	char last_scope[1024];
	char last_manifest[4096], last_type[128], last_tag[64];
	/* Blobs by repository: "team/app sha256:…". */
	char blobs[UPLOADS_BLOBS][200];
	size_t sizes[UPLOADS_BLOBS];
	size_t blob_count;
};

struct uploads {
	struct test_server server, other;
	struct uploads_state *state;
};

void uploads_start(struct uploads *u);
void uploads_stop(struct uploads *u);
/* Empty, with all counters at zero. */
void uploads_reset(struct uploads *u, enum uploads_mode mode);
/* Size of a blob; 0: it is not there. */
size_t uploads_blob(const struct uploads *u, const char *repository, const struct digest *digest);
void uploads_forget(struct uploads *u, const char *repository);

#endif
