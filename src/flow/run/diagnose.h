/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_DIAGNOSE_H
#define RUN_DIAGNOSE_H

/*
 * Why a Space does not answer. From three sources, none of them a guess: what its network
 * namespace listens on, how its process ended, and what it wrote last; the last is held against
 * the files of the image where it speaks of them.
 *
 * All but path_look() is pure. Words are for one line each; hints may have several.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/str.h"
#include "os/cgroup.h"

/* ---- What listens ---- */

struct listener {
	bool is_v6;
	unsigned char address[16]; /* network order; 4 bytes of it unless is_v6 */
	uint16_t port;
};

enum { LISTENERS_MAX = 64 };

/*
 * The sockets of /proc/net/tcp (or tcp6) that wait for connections: appended to ret[count], up
 * to LISTENERS_MAX in all. Lines of another form are skipped. Returns the new count.
 */
size_t listeners_parse(
	struct str text, bool is_v6, size_t count, struct listener ret[static LISTENERS_MAX]);

enum listening {
	LISTENS_NOWHERE,
	LISTENS_ELSEWHERE, /* on other ports only */
	LISTENS_LOOPBACK,  /* on the port, on addresses that are not reachable from outside */
	LISTENS_RIGHT,
};

/* ret_words: "the app listens on port 8000, not on 7860"; ret_hint: what to change. */
enum listening listeners_judge(const struct listener *listeners, size_t count, uint16_t app_port,
	struct str tail, struct buf *ret_words, struct buf *ret_hint);

/* ---- What it wrote last ---- */

enum cause_kind {
	CAUSE_NONE,
	CAUSE_PATH_DENIED, /* subject: the path, absolute or as the app wrote it */
	CAUSE_READ_ONLY,   /* subject: the path, or empty */
	CAUSE_PORT_DENIED, /* subject: the port */
	CAUSE_PORT_TAKEN,
	CAUSE_NO_PROGRAM, /* subject: its name */
	CAUSE_NO_MODULE,  /* subject: its name */
	CAUSE_NO_SPACE,
	CAUSE_NO_GPU,
	CAUSE_MEMORY, /* an allocation was refused */
};

struct cause {
	enum cause_kind kind;
	struct str subject; /* in the text that was looked at */
};

/* The last line that names a cause, of the last 25 of `tail`: older ones are history. */
struct cause cause_find(struct str tail);

/* What the image's files say about a path. */
struct path_facts {
	bool known;
	bool exists;	  /* false: the rest is of the nearest directory above it that does */
	char place[1024]; /* the path that was looked at, absolute */
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/*
 * Look at `path` (relative: to cwd) in the tree `root`, following no link out of it. Not known
 * for /dev, /proc and /sys, which are no files of the image.
 */
void path_look(int root, const char *cwd, struct str path, struct path_facts *ret);

/* May UID 1000, GID 1000 write there (or make files there, if it does not exist)? */
bool path_may_write(const struct path_facts *facts);
bool path_may_read(const struct path_facts *facts);

/* ---- How it ended ---- */

struct ending {
	int status;	/* as waitpid */
	bool was_ready; /* app_port had answered */
	bool was_asked; /* we had sent a signal */
	uint16_t app_port;
	struct cause cause;
	struct path_facts path; /* for CAUSE_PATH_DENIED and CAUSE_READ_ONLY */
	struct cgroup_usage usage;
};

/* "exited with 1 before port 7860 answered: cannot write to /data as UID 1000: …". */
void ending_describe(const struct ending *ending, struct buf *ret_words, struct buf *ret_hint);

/* ---- Text of the app ---- */

/* The last lines of a text, without blank ones after them. */
struct str last_lines(struct str text, unsigned max_lines);

/*
 * The last `max_lines` lines of what the app wrote, each cut at 200 bytes and indented by
 * two blanks, without escape sequences and control characters.
 */
void tail_lines(struct str tail, unsigned max_lines, struct buf *ret);

/* What may not act on a terminal becomes '?'; line feeds stay. */
void replace_controls(struct buf *text);

/* Replace every occurrence of a secret (of four bytes or more) by three asterisks. */
void mask_secrets(struct buf *text, const struct str *secrets, size_t count);

#endif
