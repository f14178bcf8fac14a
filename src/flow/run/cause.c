/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/attr.h"
#include "base/cleanup.h"
#include "base/number.h"
#include "os/dir.h"
#include "run/diagnose.h"

/* ---- Subjects in a line ---- */

/* Where `part` begins, or line.n. */
static size_t find(struct str line, const char *part)
{
	const char *p = line.n ? memmem(line.p, line.n, part, strlen(part)) : NULL;

	return p ? (size_t)(p - line.p) : line.n;
}

static bool has(struct str line, const char *part)
{
	return find(line, part) < line.n;
}

static const struct {
	const char *open, *close;
} quotes[] = {{"'", "'"}, {"\"", "\""}, {"`", "`"}, {"‘", "’"}, {"`", "'"}};

/* The first text in quotes, or nothing. */
static struct str quoted(struct str line)
{
	struct str best = {0};

	for (size_t i = 0; i < array_size(quotes); i++) {
		size_t start = find(line, quotes[i].open);
		if (start == line.n)
			continue;
		struct str rest = str_from_index(line, start + strlen(quotes[i].open));
		size_t end = find(rest, quotes[i].close);
		if (end == rest.n || (best.p && best.p <= rest.p))
			continue;
		best = str_slice(rest, 0, end);
	}
	return best;
}

/* A word that begins with '/': "open /data/x: permission denied". */
static struct str bare_path(struct str line)
{
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] != '/' || (i > 0 && line.p[i - 1] != ' '))
			continue;
		struct str path = str_from_index(line, i);
		size_t end = 0;
		while (end < path.n && !strchr(" :,;\"')", path.p[end]))
			end++;
		/* "/bin/sh: 1: cannot create /data/x": a shell's own name comes first. */
		if (i == 0 && has(path, " /"))
			continue;
		return str_slice(path, 0, end);
	}
	return (struct str){0};
}

static struct str path_subject(struct str line, size_t at)
{
	struct str in_quotes = quoted(line), bare = bare_path(line);

	(void)at;
	/* A quoted relative path is one; but "can't create /data" has an apostrophe. */
	return bare.n == 0 || (in_quotes.n && in_quotes.p[0] == '/') ? in_quotes : bare;
}

static struct str quoted_after(struct str line, size_t at)
{
	return quoted(str_from_index(line, at));
}

/* "sh: 1: gunicorn: not found": the word before the colon. */
static struct str word_before(struct str line, size_t at)
{
	struct str front = str_trim(str_slice(line, 0, at));

	return str_trim(
		str_from_index(front, str_rfind(front, ' ') < front.n ? str_rfind(front, ' ') : 0));
}

/* The last number of the line that may be a port below 1024: ":80)", "('0.0.0.0', 80)". */
static struct str port_subject(struct str line, size_t at)
{
	struct str best = {0};

	(void)at;
	for (size_t i = 1; i < line.n; i++) {
		struct str digits = str_from_index(line, i);
		size_t n = 0;
		while (n < digits.n && digits.p[n] >= '0' && digits.p[n] <= '9')
			n++;
		uint64_t port;
		bool starts = line.p[i - 1] == ':' || line.p[i - 1] == ' ';
		if (starts && parse_u64(str_slice(digits, 0, n), 1023, &port) &&
			(n == digits.n || strchr(") :,", digits.p[n])))
			best = str_slice(digits, 0, n);
		i += n;
	}
	return best;
}

static struct str no_subject(struct str line, size_t at)
{
	(void)line;
	(void)at;
	return (struct str){0};
}

/* ---- Causes ---- */

/*
 * What programs print when the system refuses something. A row matches a line that has
 * `mark` and, if given, `also`; `at` of the subject is where the mark ends, or begins for
 * word_before(). The first row that matches counts, so special ones stand above general ones.
 */
static const struct rule {
	const char *mark, *also;
	struct str (*subject)(struct str line, size_t at);
	enum cause_kind kind;
	bool needs_subject;
} rules[] = {
	{"ermission denied", "bind", port_subject, CAUSE_PORT_DENIED, true},
	{"ermission denied", "listen ", port_subject, CAUSE_PORT_DENIED, true},
	{"ermission denied", NULL, path_subject, CAUSE_PATH_DENIED, true},
	{"EACCES", NULL, path_subject, CAUSE_PATH_DENIED, true},
	{"peration not permitted", NULL, path_subject, CAUSE_PATH_DENIED, true},
	{"ead-only file system", NULL, path_subject, CAUSE_READ_ONLY, false},
	{"EROFS", NULL, path_subject, CAUSE_READ_ONLY, false},
	{"ddress already in use", NULL, no_subject, CAUSE_PORT_TAKEN, false},
	{"EADDRINUSE", NULL, no_subject, CAUSE_PORT_TAKEN, false},
	{"No module named ", NULL, quoted_after, CAUSE_NO_MODULE, true},
	{"Cannot find module ", NULL, quoted_after, CAUSE_NO_MODULE, true},
	{"Failed to spawn: ", NULL, quoted_after, CAUSE_NO_PROGRAM, true},
	{": command not found", NULL, word_before, CAUSE_NO_PROGRAM, true},
	{": not found", "sh: ", word_before, CAUSE_NO_PROGRAM, true},
	{"o space left on device", NULL, no_subject, CAUSE_NO_SPACE, false},
	{"ENOSPC", NULL, no_subject, CAUSE_NO_SPACE, false},
	{"Found no NVIDIA driver", NULL, no_subject, CAUSE_NO_GPU, false},
	{"No CUDA GPUs are available", NULL, no_subject, CAUSE_NO_GPU, false},
	{"not compiled with CUDA enabled", NULL, no_subject, CAUSE_NO_GPU, false},
	{"MemoryError", NULL, no_subject, CAUSE_MEMORY, false},
	{"Cannot allocate memory", NULL, no_subject, CAUSE_MEMORY, false},
	{"heap out of memory", NULL, no_subject, CAUSE_MEMORY, false},
	{"std::bad_alloc", NULL, no_subject, CAUSE_MEMORY, false},
};

static struct cause cause_of_line(struct str line)
{
	for (size_t i = 0; i < array_size(rules); i++) {
		const struct rule *rule = &rules[i];
		size_t at = find(line, rule->mark);
		if (at == line.n || (rule->also && !has(line, rule->also)))
			continue;
		if (rule->subject != word_before)
			at += strlen(rule->mark);
		struct str subject = rule->subject(line, at);
		if (subject.n || !rule->needs_subject)
			return (struct cause){rule->kind, subject};
	}
	return (struct cause){0};
}

struct cause cause_find(struct str tail)
{
	enum { RECENT = 25 };
	struct str rest = last_lines(tail, RECENT);
	struct cause found = {0};

	while (rest.p) {
		struct cause here = cause_of_line(str_cut(&rest, '\n'));
		if (here.kind != CAUSE_NONE)
			found = here;
	}
	return found;
}

/* ---- The image's files ---- */

static bool is_system_path(const char *path)
{
	static const char *const tops[] = {"/dev", "/proc", "/sys"};

	for (size_t i = 0; i < array_size(tops); i++) {
		size_t n = strlen(tops[i]);
		if (strncmp(path, tops[i], n) == 0 && (path[n] == '/' || !path[n]))
			return true;
	}
	return false;
}

static void take_facts(const char *path, const struct stat *st, bool exists, struct path_facts *ret)
{
	ret->known = true;
	ret->exists = exists;
	ret->uid = st->st_uid;
	ret->gid = st->st_gid;
	ret->mode = st->st_mode;
	snprintf(ret->place, sizeof(ret->place), "%s", path);
}

void path_look(int root, const char *cwd, struct str path, struct path_facts *ret)
{
	bool is_absolute = path.n && path.p[0] == '/';
	cleanup_free char *full =
		xprintf("%s%s%.*s", is_absolute ? "" : cwd, is_absolute ? "" : "/", STR_ARG(path));
	bool exists = true;

	*ret = (struct path_facts){0};
	if (!path.n || strlen(full) >= sizeof(ret->place) || strlen(full) < path.n ||
		is_system_path(full))
		return;
	for (;;) {
		struct stat st;
		cleanup_close int fd = dir_open_in_root(root, full, O_PATH, 0, NULL);
		if (fd >= 0 && fstat(fd, &st) == 0) {
			take_facts(full, &st, exists, ret);
			return;
		}
		exists = false;
		char *slash = strrchr(full, '/');
		if (!slash || strcmp(full, "/") == 0)
			return;
		/* "/x" is in "/". */
		slash[slash == full] = '\0';
	}
}

enum { SPACE_UID = 1000, SPACE_GID = 1000 };

/* The bits r, w and x (4, 2, 1) that count for a process of the Space. */
static mode_t space_bits(const struct path_facts *facts)
{
	if (facts->uid == SPACE_UID)
		return facts->mode >> 6 & 7;
	return facts->gid == SPACE_GID ? facts->mode >> 3 & 7 : facts->mode & 7;
}

bool path_may_write(const struct path_facts *facts)
{
	mode_t wanted = facts->exists && !S_ISDIR(facts->mode) ? 2 : 3;

	return facts->known && (space_bits(facts) & wanted) == wanted;
}

bool path_may_read(const struct path_facts *facts)
{
	return facts->known && facts->exists && (space_bits(facts) & 4);
}
