/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TEST_REGISTRY_H
#define IMAGE_TEST_REGISTRY_H

/*
 * For tests: a registry with one image of four layers (plain, gzip of two members, zstd, and the
 * first one again), which can be told to misbehave; and a sink that keeps layers as files.
 */
#include "image/image.h"
#include "net/test_server.h"

enum { FAKE_LAYERS = 4 };

/* What goes wrong. */
enum fake_mode {
	FAKE_GOOD,
	FAKE_CUT_ONCE,	     /* each blob's first answer breaks off in the middle */
	FAKE_CUT_NO_RANGE,   /* the same, and ranges are not known */
	FAKE_CUT_ALWAYS,     /* after a tenth of the whole, whatever was asked for */
	FAKE_SHORT,	     /* blobs end early, as if that were all */
	FAKE_LONG,	     /* blobs go on after their end */
	FAKE_WRONG_BYTES,    /* of the right number */
	FAKE_WRONG_DIFF_ID,  /* the configuration promises another one for layer 2 */
	FAKE_DAMAGED,	     /* layer 2 is no gzip, whatever its media type says */
	FAKE_WRONG_TYPE,     /* the manifest comes as an index */
	FAKE_WRONG_DIGEST,   /* Docker-Content-Digest is not the manifest's */
	FAKE_OTHER_PLATFORM, /* the index has no image for this machine */
	FAKE_HUGE,	     /* a manifest of five megabytes */
	FAKE_HTML,	     /* a page of some portal instead of a manifest */
	FAKE_NOT_FOUND,
	FAKE_TOO_MANY,	    /* 429 */
	FAKE_BROKEN,	    /* 503 */
	FAKE_TOKEN,	    /* wants "Bearer good", which /token gives to me:secret */
	FAKE_TOKEN_EXPIRES, /* the same, and each token is good for two requests */
	FAKE_BASIC,	    /* wants me:secret itself */
	FAKE_REDIRECT,	    /* blobs are on another server, which wants no authorization */
	FAKE_FEWER_LAYERS,  /* the configuration has one less */
	FAKE_SLOW,	    /* blobs never come */
};

/* Shared with the server's process. */
struct fake_state {
	enum fake_mode mode;
	int manifests, blobs, tokens; /* requests so far */
	int ranges;		      /* blob requests for a part */
	uint64_t last_from;
	int served[FAKE_LAYERS + 1]; /* answers with the content of a layer, or the configuration */
	int uses;		     /* of the current token */
	char leaked[512];	     /* an Authorization that the other server got to see */
	char last_scope[256];
	char last_form[2048];
};

struct fake_blob {
	struct buf data;
	char digest[DIGEST_TEXT_SIZE];
};

struct fake {
	struct test_server server, other;
	struct fake_state *state;
	struct fake_blob layers[FAKE_LAYERS], config, wrong_config, fewer_config;
	struct fake_blob manifest, index, other_index;
	struct digest diff_ids[FAKE_LAYERS];
	struct buf tars[FAKE_LAYERS]; /* what they unpack to */
	char reference[128];	      /* "127.0.0.1:12345/team/app:v1" */
};

/* The content alone. */
void fake_make(struct fake *fake);
void fake_start(struct fake *fake, bool tls);
void fake_stop(struct fake *fake);
/* Back to FAKE_GOOD with all counters at zero. */
void fake_reset(struct fake *fake, enum fake_mode mode);

/* ---- The sink: <dir>/<hex of diff ID> ---- */

enum test_sink_mode { SINK_GOOD, SINK_REFUSES, SINK_DIES, SINK_SLOW };

struct test_sink {
	int dir;
	enum test_sink_mode mode;
};

struct image_layer_sink test_sink_of(struct test_sink *sink);

#endif
