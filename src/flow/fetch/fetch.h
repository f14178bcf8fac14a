/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

/*
 * What ADD brings from elsewhere: files by HTTP and HTTPS, and repositories by git. All of it is
 * foreign, so this runs in a box of its own, in the network of builds.
 *
 * What came is kept in a directory, by what it is and not by where it came from, until it was
 * the longest unused and space is needed:
 *
 *	files/SHA256	bytes; their time is what Last-Modified said, the access time that of
 *			the last use
 *	urls/HASH	what a server said of a URL: which bytes, its ETag and Last-Modified
 *	trees/KEY	repositories, checked out; their time is that of the last use
 *	tmp-…		on its way; what is older than a day belongs to nobody
 *
 * Every user of the directory holds a shared lock on it (fetch_hold()), so that nothing goes
 * away meanwhile.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/argv.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

enum { FETCH_E_ABSENT = 1, FETCH_E_BUSY = 2 };

/* ---- What is kept ---- */

/* The directory "downloads" below store_dir: 0, FETCH_E_ABSENT or < 0. */
must_use int fetch_open(int store_dir, int *ret_dir, struct err *err);
/* The same, made when it is missing: by the owner of the store, in a box. */
must_use int fetch_make(int store_dir, int *ret_dir, struct err *err);
/* Waits for a fetch_trim() that is under way. *ret_lock is to be closed. */
must_use int fetch_hold(int dir, int *ret_lock, struct err *err);
/*
 * Remove what was unused longest until the rest has at most max_bytes (0: no limit), and what
 * was left half done. Nothing happens while somebody holds it.
 */
must_use int fetch_trim(int dir, uint64_t max_bytes, struct err *err);

struct fetch_file {
	struct digest digest;
	uint64_t size;
	int64_t mtime; /* nanoseconds since 1970; 0 when the server did not say */
	/* The server could not be asked, for this reason; these are the bytes it gave before. */
	bool is_stale;
	char reason[256];
};

/*
 * The kept bytes with this digest, which are read to see that they still are: 0 with ret_fd at
 * its start, FETCH_E_ABSENT or < 0.
 */
must_use int fetch_find(
	int dir, const struct digest *digest, struct fetch_file *ret, int *ret_fd, struct err *err);

/* ---- Fetching ---- */

struct fetch_options {
	const char *ca_bundle;				 /* path, or NULL */
	const char *http_proxy, *https_proxy, *no_proxy; /* NULL: none */
	uint64_t max_bytes;  /* of one file, and of those of a commit; 0: no limit */
	const char *scratch; /* a directory of this mount namespace's own, for git */
	/* Now and then while bytes come. total 0: not known. May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

struct fetch_url {
	const char *url;	       /* http or https, without or with user name and password */
	const struct digest *checksum; /* NULL: whatever comes */
	bool is_fresh;		       /* nothing that is kept counts */
};

/*
 * Fetch a URL and keep its bytes. With a checksum nothing is asked when the bytes are here, and
 * others are ERR_FAILED. Without, the server is asked whether what is kept is still what it has;
 * when it cannot be reached, what is kept has to do (is_stale). Redirects as net_fetch(), never
 * to anything but HTTP. An answer other than success is ERR_FAILED.
 */
must_use int fetch_url(int dir, const struct fetch_options *options, const struct fetch_url *what,
	struct fetch_file *ret, struct err *err);

/* ---- Repositories ---- */

enum { FETCH_COMMIT_SIZE = 65 };

struct fetch_git {
	const char *url;
	const char *ref;      /* "": the remote's HEAD */
	const char *checksum; /* what the commit has to begin with, else ERR_FAILED; or "" */
	bool is_commit;	      /* ref is one */
	bool submodules;      /* with all of them, or none */
	bool keep_git_dir;
	/* Value of the header Authorization for the URL's host, by HTTP; or NULL. A secret. */
	const char *authorization;
};

/*
 * All of these run git in a jail: no files but programs and the repository, no capabilities,
 * limits. Needs the right to mount; the mounts stay until the mount namespace ends. Whatever
 * git fails of is ERR_FAILED with its reason.
 */

/* Which commit the ref is now. */
must_use int fetch_git_resolve(const struct fetch_options *options, const struct fetch_git *what,
	char commit[static FETCH_COMMIT_SIZE], struct err *err);
/* Bring the commit, which has to be what the ref is, laid out as files (modes 644 and 755). */
must_use int fetch_git(int dir, const struct fetch_options *options, const struct fetch_git *what,
	const char *commit, struct err *err);
/* What is kept of it: 0 with the directory, FETCH_E_ABSENT or < 0. */
must_use int fetch_git_find(
	int dir, const struct fetch_git *what, const char *commit, int *ret_tree, struct err *err);

#endif
