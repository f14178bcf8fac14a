/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/test_scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "layer/internal.h"
#include "os/file.h"

/* Ids of the host that nobody has. */
enum { FIRST_ID = 2000000, ID_COUNT = 65536 };

static char top[256];
static char reason[256]; /* why there is no namespace; "" when there is one */

static void write_map(pid_t pid, const char *name)
{
	char path[64], line[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	int n = snprintf(line, sizeof(line), "0 %d %d\n", FIRST_ID, ID_COUNT);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		_exit(1);
	close(fd);
}

/* A child outside of the namespace writes the maps of its parent, once that has one. */
static pid_t start_writer(int go)
{
	pid_t parent = getpid(), pid = fork();
	char byte;

	if (pid != 0)
		return pid;
	if (read(go, &byte, 1) != 1)
		_exit(1);
	write_map(parent, "uid_map");
	write_map(parent, "gid_map");
	_exit(0);
}

/* Root of the whole machine, or of a namespace already (unshare --map-auto --map-root-user)? */
static bool is_outermost(void)
{
	cleanup(buf_done) struct buf map = {0};
	static const char *const all[] = {"0", "0", "4294967295"};
	size_t at = 0;

	if (file_read(AT_FDCWD, "/proc/self/uid_map", 4096, &map, NULL) < 0)
		return false;
	for (struct str rest = str_trim(buf_str(&map)); rest.p && at < array_size(all);) {
		struct str word = str_cut(&rest, ' ');
		if (word.n && !str_is(word, all[at++]))
			return false;
	}
	return at == array_size(all);
}

static bool enter_user(void)
{
	int go[2], status;

	if (pipe2(go, O_CLOEXEC) < 0)
		return false;
	pid_t writer = start_writer(go[0]);
	if (writer < 0 || unshare(CLONE_NEWUSER) < 0 || write(go[1], "g", 1) != 1 ||
		waitpid(writer, &status, 0) < 0 || status != 0)
		return false;
	close(go[0]);
	close(go[1]);
	/* Dumpable again: the leak checker traces its own process. */
	return setgroups(0, NULL) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 &&
	       prctl(PR_SET_DUMPABLE, 1) == 0;
}

void scratch_enter(void)
{
	const char *tmp = getenv("TMPDIR");
	bool outermost = is_outermost();

	/* Nothing here may hang a test run. */
	alarm(300);
	snprintf(top, sizeof(top), "%s/spaceport-layer-XXXXXX", tmp ? tmp : "/tmp");
	if (geteuid() != 0)
		snprintf(reason, sizeof(reason),
			"not root, nor started by unshare --map-auto --map-root-user");
	else if (!mkdtemp(top) || (outermost && chown(top, FIRST_ID, FIRST_ID) < 0))
		snprintf(reason, sizeof(reason), "%s: %s", top, strerror(errno));
	else if ((outermost && !enter_user()) || unshare(CLONE_NEWNS) < 0 ||
		 mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		snprintf(reason, sizeof(reason), "no user namespace: %s", strerror(errno));
	else
		umask(022);
}

void scratch_leave(void)
{
	if (!reason[0])
		(void)rmdir(top);
}

int scratch_new(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));
	struct err err = {0};
	const char *must = getenv("SPACEPORT_MUST_RUN");

	*state = s;
	if (reason[0]) {
		s->dir = -1;
		print_message("SKIPPED: %s\n", reason);
		return must && strcmp(must, "1") == 0 ? -1 : 0;
	}
	int parent = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || mkdirat(parent, "t", 0700) < 0)
		return -1;
	s->dir = openat(parent, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(parent);
	if (mkdirat(s->dir, "store", 0700) < 0)
		return -1;
	int store = openat(s->dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = layer_store_open(store, LAYER_WRITE, &s->store, &err);
	if (r < 0)
		print_message("%s\n", err.text);
	close(store);
	return r;
}

int scratch_gone(void **state)
{
	struct scratch *s = *state;
	struct err err = {0};
	int r = 0;

	layer_store_close(s->store);
	if (s->dir >= 0) {
		close(s->dir);
		int parent = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = dir_remove_tree(parent, "t", &err);
		close(parent);
	}
	if (r < 0)
		print_message("%s\n", err.text);
	free(s);
	return r;
}

void write_file(int dir, const char *path, const char *text)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

const char *read_file(int dir, const char *path)
{
	static char text[1 << 16];
	int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static const char *type_of_dir(int dir, const char *path)
{
	char value = 0;
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : fgetxattr(fd, XATTR_OPAQUE, &value, 1);

	if (fd >= 0)
		close(fd);
	return n == 1 && value == 'y' ? "o" : "d";
}

const char *type_of(int dir, const char *path)
{
	struct stat st;

	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return "";
	if (S_ISDIR(st.st_mode))
		return type_of_dir(dir, path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0))
		return "w";
	if (S_ISREG(st.st_mode))
		return "-";
	return S_ISLNK(st.st_mode) ? "l" : S_ISFIFO(st.st_mode) ? "p" : "?";
}

int count_entries(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;

	if (fd < 0)
		return -1;
	DIR *list = fdopendir(fd);
	while (list_next(list))
		count++;
	closedir(list);
	return count;
}

int in_child(int (*fn)(void *arg), void *arg)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct layer_key key_number(unsigned n)
{
	struct digest d = digest_of(&n, sizeof(n));

	return layer_key_of(&d);
}

void make_layer(struct layer_store *store, unsigned number, const struct layer_key *parent)
{
	const struct layer_info info = {.kind = LAYER_STEP};
	struct layer_key key = key_number(number);
	struct layer_draft *draft = NULL;
	struct err err = {0};
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	assert_ok(layer_begin(store, parent, &draft, &err), &err);
	write_file(layer_draft_fs(draft), "file", text);
	assert_ok(layer_publish(draft, &key, &info, &err), &err);
	layer_discard(draft);
}
