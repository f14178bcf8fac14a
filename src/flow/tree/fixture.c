/* SPDX-License-Identifier: Apache-2.0 */
#include "tree/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pwd.h>
#include <sched.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/command.h"
#include "os/file.h"

struct place {
	int fd; /* first: *state is an int pointer */
	char path[64];
};

int fixture_new(void **state)
{
	struct place *p = xcalloc(1, sizeof(*p));

	memcpy(p->path, "/tmp/spaceport-tree-XXXXXX", sizeof("/tmp/spaceport-tree-XXXXXX"));
	if (!mkdtemp(p->path))
		return -1;
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0 ? -1 : 0;
}

int fixture_gone(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_remove_tree(tmp, strrchr(p->path, '/') + 1, &err);

	if (r < 0)
		print_error("%s\n", err.text);
	close(tmp);
	close(p->fd);
	free(p);
	return r;
}

/* ---- Becoming root ---- */

/* The first range of /etc/subuid or /etc/subgid that is the user's: "name:100000:65536". */
static bool find_range(const char *path, uint64_t *start, uint64_t *count)
{
	cleanup(buf_done) struct buf file = {0};
	char uid[16];
	const struct passwd *pw = getpwuid(getuid());

	snprintf(uid, sizeof(uid), "%u", getuid());
	if (file_read(AT_FDCWD, path, 1 << 20, &file, NULL) < 0)
		return false;
	struct str rest = buf_str(&file);
	while (rest.p) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		struct str name = str_cut(&line, ':');
		if (!str_is(name, uid) && !(pw && str_is(name, pw->pw_name)))
			continue;
		return parse_u64(str_cut(&line, ':'), UINT32_MAX, start) &&
		       parse_u64(line, UINT32_MAX, count);
	}
	return false;
}

static bool has_ranges(void)
{
	uint64_t start, count;
	cleanup_free char *program = command_find("newuidmap");

	return program && find_range("/etc/subuid", &start, &count) &&
	       find_range("/etc/subgid", &start, &count);
}

static int write_map(const char *program, pid_t pid, unsigned own, const char *ranges)
{
	cleanup(command_done) struct command c = COMMAND_INIT;
	struct err err = {0};
	uint64_t start, count;
	char number[4][24];
	int status = -1;

	if (!find_range(ranges, &start, &count))
		return -1;
	snprintf(number[0], 24, "%d", (int)pid);
	snprintf(number[1], 24, "%u", own);
	snprintf(number[2], 24, "%llu", (unsigned long long)start);
	snprintf(number[3], 24, "%llu", (unsigned long long)count);
	const char *argv[] = {program, number[0], "0", number[1], "1", "1", number[2], number[3]};
	for (size_t i = 0; i < array_size(argv); i++)
		argv_add(&c.argv, argv[i]);
	c.inherit_env = true;
	pid_t child;
	if (command_start(&c, &child, &err) < 0 || command_wait(child, &status, &err) < 0)
		return -1;
	return status;
}

/* The maps are written by a child that stays outside of the namespace. */
static bool enter_namespace(void)
{
	int go[2];
	char byte = 0;
	int status = -1;
	unsigned uid = getuid(), gid = getgid();
	pid_t parent = getpid();

	/* Without a map there is no way back from the namespace, so look first. */
	if (!has_ranges() || pipe2(go, O_CLOEXEC) < 0)
		return false;
	pid_t child = fork();
	if (child == 0) {
		bool mapped = read(go[0], &byte, 1) == 1 &&
			      write_map("newuidmap", parent, uid, "/etc/subuid") == 0 &&
			      write_map("newgidmap", parent, gid, "/etc/subgid") == 0;
		_exit(mapped ? 0 : 1);
	}
	bool ok = unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
	if (ok)
		ok = write(go[1], &byte, 1) == 1;
	close(go[0]);
	close(go[1]);
	ok = waitpid(child, &status, 0) == child && status == 0 && ok;
	return ok && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0;
}

bool fixture_become_root(void)
{
	static int is_root = -1;

	if (is_root < 0)
		is_root = geteuid() == 0 || enter_namespace();
	if (is_root)
		return true;
	const char *must = getenv("SPACEPORT_MUST_RUN");
	print_error("SKIPPED: tests of owners need root, or newuidmap and a range of IDs in "
		    "/etc/subuid and /etc/subgid\n");
	if (must && strcmp(must, "1") == 0)
		exit(1);
	return false;
}

void need_root(void)
{
	if (!fixture_become_root())
		skip();
}

/* ---- Making trees ---- */

static void make_parents(int root, const char *path)
{
	char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(root, copy, 0755) == 0)
			assert_int_equal(fchmodat(root, copy, 0755, 0), 0);
		*slash = '/';
	}
	free(copy);
}

void put_file(int root, const char *path, const char *content, mode_t mode)
{
	make_parents(root, path);
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

void put_dir(int root, const char *path, mode_t mode)
{
	make_parents(root, path);
	assert_int_equal(mkdirat(root, path, 0700), 0);
	assert_int_equal(fchmodat(root, path, mode, 0), 0);
}

void put_link(int root, const char *path, const char *target)
{
	make_parents(root, path);
	assert_int_equal(symlinkat(target, root, path), 0);
}

void put_owner(int root, const char *path, uid_t uid, gid_t gid)
{
	assert_int_equal(fchownat(root, path, uid, gid, AT_SYMLINK_NOFOLLOW), 0);
}

int sub(int root, const char *path)
{
	int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* ---- Showing trees ---- */

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFREG:
		return "file";
	case S_IFLNK:
		return "link";
	case S_IFIFO:
		return "fifo";
	case S_IFCHR:
		return "char";
	default:
		return "other";
	}
}

/* name: what the line says of the path; NULL: nothing. */
static void show_entry(
	int dir, const char *path, const char *name, bool with_owners, struct buf *ret)
{
	struct stat st;
	char target[4096];

	assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	buf_add_text(ret, type_name(st.st_mode));
	if (!S_ISLNK(st.st_mode))
		buf_printf(ret, " %04o", st.st_mode & 07777);
	if (with_owners)
		buf_printf(ret, " %u:%u", st.st_uid, st.st_gid);
	if (name)
		buf_printf(ret, " %s", name);
	if (S_ISREG(st.st_mode)) {
		buf_add_text(ret, " =");
		assert_int_equal(file_read(dir, path, 1 << 20, ret, NULL), 0);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir, path, target, sizeof(target));
		buf_printf(ret, " ->%.*s", (int)n, target);
	}
}

static void show_below(int dir, bool with_owners, struct buf *ret)
{
	const char *const sources[] = {"."};
	struct tree_select_options options = {0};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;

	assert_int_equal(tree_select(dir, sources, 1, &options, &s, NULL), 0);
	for (size_t i = 1; i < s->count; i++) {
		show_entry(dir, s->nodes[i].real, s->nodes[i].real, with_owners, ret);
		buf_add_char(ret, '\n');
	}
}

char *show(int dir, bool with_owners)
{
	struct buf text = {0};

	buf_add_text(&text, "");
	show_below(dir, with_owners, &text);
	return buf_take(&text);
}

const char *show_one(int dir, const char *path)
{
	static char text[512];
	cleanup(buf_done) struct buf line = {0};
	struct stat st;

	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return "missing";
	show_entry(dir, path, NULL, true, &line);
	snprintf(text, sizeof(text), "%s", line.data);
	return text;
}

int64_t mtime_of(int dir, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return stat_ns(&st.st_mtim);
}

void expect_tree(int dir, const char *text)
{
	cleanup_free char *found = show(dir, true);

	assert_string_equal(found, text);
}

/* ---- Patterns ---- */

static bool rules_match(const void *arg, struct str path, const bool *parent, bool *state)
{
	const struct rules *rules = arg;
	bool result = false;

	for (size_t i = 0; i < array_size(rules->patterns) && rules->patterns[i]; i++) {
		const char *pattern = rules->patterns[i];
		bool exception = *pattern == '!';
		state[i] = (parent && parent[i]) ||
			   fnmatch(pattern + exception, path.p, FNM_PATHNAME) == 0;
		if (state[i])
			result = !exception;
	}
	return result;
}

static bool rules_may_except(const void *arg, struct str dir)
{
	const struct rules *rules = arg;

	for (size_t i = 0; i < array_size(rules->patterns) && rules->patterns[i]; i++) {
		struct str pattern = str_of(rules->patterns[i]);
		if (*pattern.p == '!' && str_starts(str_from_index(pattern, 1), dir))
			return true;
	}
	return false;
}

struct tree_filter rules_filter(const struct rules *rules)
{
	return (struct tree_filter){
		rules, array_size(rules->patterns), rules_match, rules_may_except};
}

bool rules_wildcard(struct str pattern, struct str name)
{
	char *p = str_dup(pattern), *n = str_dup(name);
	bool match = fnmatch(p, n, FNM_PATHNAME) == 0;

	free(p);
	free(n);
	return match;
}

struct tree_selection *selected(int root, const char *a, const char *b)
{
	const char *const sources[] = {a, b};
	struct tree_select_options options = {.wildcard = rules_wildcard};
	struct tree_selection *s = NULL;
	struct err err = {0};

	if (tree_select(root, sources, b ? 2 : 1, &options, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

/* ---- Copying ---- */

struct trees make_trees(int top)
{
	put_dir(top, "context", 0755);
	put_dir(top, "image", 0755);
	return (struct trees){sub(top, "context"), sub(top, "image")};
}

void close_trees(struct trees t)
{
	close(t.context);
	close(t.image);
}

int copy_with(struct trees t, const char *a, const char *b, const struct tree_copy_options *options,
	struct err *err)
{
	cleanup(tree_selection_free) struct tree_selection *s = selected(t.context, a, b);
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);

	err_clear(err);
	return tree_copy(feed, t.image, options, err);
}

struct tree_copy_options copy_to(const char *dest)
{
	return (struct tree_copy_options){
		.dest = dest, .dest_is_dir = str_ends(str_of(dest), STR("/"))};
}

void copy(struct trees t, const char *a, const char *b, const char *dest)
{
	struct tree_copy_options options = copy_to(dest);
	struct err err = {0};

	if (copy_with(t, a, b, &options, &err) < 0)
		fail_msg("%s", err.text);
}

void copy_fails(struct trees t, const char *a, const char *b, const char *dest, const char *text)
{
	struct tree_copy_options options = copy_to(dest);
	struct err err = {0};

	assert_true(copy_with(t, a, b, &options, &err) < 0);
	if (!strstr(err.text, text))
		fail_msg("\"%s\"", err.text);
}
