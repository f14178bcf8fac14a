/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "os/file.h"
#include "tree/fixture.h"

/* Copies that go wrong, and others that somebody tries to lead astray. */

static int copy_selected(int root, const char *source, int image, const char *dest,
	const struct dir_owner *owner, struct err *err)
{
	const char *const sources[] = {source};
	struct tree_select_options select = {0};
	struct tree_copy_options options = {.dest = dest, .owner = owner};
	cleanup(tree_selection_free) struct tree_selection *s = NULL;

	if (tree_select(root, sources, 1, &select, &s, err) < 0)
		return -(int)err->kind;
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);
	return tree_copy(feed, image, &options, err);
}

/* ---- In a user namespace with one ID, and mounts of its own ---- */

static bool write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && file_write_fd(fd, str_of(text), NULL) == 0;
}

static bool enter_narrow_namespace(void)
{
	char users[64], groups[64];

	snprintf(users, sizeof(users), "0 %u 1", geteuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

enum { NO_NAMESPACE = 99 };

/* Runs fn in a child there and returns what it returned. */
static int in_namespace(int (*fn)(int root, struct err *err), int root, struct err *err)
{
	int pair[2];
	int status;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int r = enter_narrow_namespace() ? fn(root, err) : -NO_NAMESPACE;
		(void)!write(pair[1], err, sizeof(*err));
		_exit(-r);
	}
	close(pair[1]);
	assert_int_equal(read(pair[0], err, sizeof(*err)), sizeof(*err));
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != NO_NAMESPACE)
		return -WEXITSTATUS(status);
	const char *must = getenv("SPACEPORT_MUST_RUN");
	print_error("SKIPPED: this host does not let %u make a user namespace\n", getuid());
	if (must && strcmp(must, "1") == 0)
		fail();
	skip();
	return 0;
}

static int copy_to_stranger(int root, struct err *err)
{
	struct dir_owner owner = {1000, 1000};

	return copy_selected(root, "f", root, "/image/f", &owner, err);
}

static void owners_outside_the_namespace_are_explained(void **state)
{
	int root = *(int *)*state;
	struct err err = {0};

	put_file(root, "f", "x", 0644);
	put_dir(root, "image", 0755);
	assert_true(in_namespace(copy_to_stranger, root, &err) < 0);
	assert_non_null(strstr(err.text, "change owner of /image/f"));
	assert_non_null(strstr(err.hint, "1000:1000 is not among the IDs"));
}

/* A feed of one device, which only real root could have in a tree. */
static int next_device(struct tree_feed *feed, struct err *err)
{
	(void)err;
	feed->entry = (struct tree_entry){
		.path = "null", .is_source = true, .mode = S_IFCHR | 0600, .rdev = makedev(1, 3)};
	return feed->number ? TREE_FEED_END : 0;
}

static int copy_device(int root, struct err *err)
{
	struct tree_feed feed = {.next = next_device, .fd = -1};
	struct tree_copy_options options = {.dest = "/image/"};

	return tree_copy(&feed, root, &options, err);
}

static void point_35_devices_fail_in_a_namespace(void **state)
{
	int root = *(int *)*state;
	struct err err = {0};

	put_dir(root, "image", 0755);
	assert_true(in_namespace(copy_device, root, &err) < 0);
	assert_non_null(strstr(err.text, "create device /image/null"));
	assert_non_null(strstr(err.hint, "cannot be made in a user namespace"));
}

/* A descriptor from before unshare() is of the other namespace's mounts; its path is not. */
static int copy_to_full_disk(int root, struct err *err)
{
	char link[64], path[256];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	if (chdir(path) < 0 || mount("none", "image", "tmpfs", 0, "size=64k") < 0)
		return err_sys(err, "mount on %s", path);
	cleanup_close int image = open("image", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return copy_selected(root, "d", image, "/x", NULL, err);
}

static void a_full_disk_is_named(void **state)
{
	int root = *(int *)*state;
	struct err err = {0};
	static char data[128 * 1024];

	memset(data, 'x', sizeof(data) - 1);
	put_file(root, "d/a", "small", 0644);
	put_file(root, "d/large", data, 0644);
	put_dir(root, "image", 0755);
	assert_true(in_namespace(copy_to_full_disk, root, &err) < 0);
	if (!strstr(err.text, "/x/large"))
		fail_msg("%s", err.text);
	assert_non_null(strstr(err.text, "No space left"));
	assert_non_null(strstr(err.hint, "free space"));
}

/* ---- Races ---- */

/* A child that exchanges two names as fast as it can, until it is stopped. */
static pid_t exchange(int dir, const char *a, const char *b)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	/* Two ways to end it should the test fail: with the test's program, and by itself. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 10000000; i++)
		(void)syscall(SYS_renameat2, dir, a, dir, b, RENAME_EXCHANGE);
	_exit(0);
}

static void stop(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

enum { ROUNDS = 2000 };

static void a_link_swapped_into_the_image_does_not_lead_out(void **state)
{
	need_root();
	int root = *(int *)*state;
	int done = 0;

	put_file(root, "d/a/f", "x", 0644);
	put_file(root, "d/a/g", "x", 0644);
	put_dir(root, "outside", 0755);
	put_dir(root, "image/x/a", 0755);
	put_link(root, "image/x/swap", "../../outside");
	int image = sub(root, "image"), x = sub(root, "image/x");
	pid_t pid = exchange(x, "a", "swap");
	for (int i = 0; i < ROUNDS; i++) {
		struct err err = {0};
		/* The directory below dest, and one on the way to dest. */
		done += copy_selected(root, "d", image, "/x", NULL, &err) == 0;
		done += copy_selected(root, "d/a/f", image, "/x/a/f", NULL, &err) == 0;
	}
	stop(pid);
	assert_true(done > 0);
	close(image);
	close(x);
	int outside = sub(root, "outside");
	cleanup_free char *found = show(outside, false);
	close(outside);
	assert_string_equal(found, "");
}

static void read_selected(const struct tree_selection *s)
{
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);
	const struct tree_entry *e;
	int fd;

	/* In the directory outside there is one more file, and the other has another content. */
	for (size_t i = 0; i < s->count; i++)
		assert_null(strstr(s->nodes[i].path, "outsider"));
	while (tree_feed_next(feed, &e, &fd, NULL) == 0) {
		cleanup(buf_done) struct buf text = {0};
		if (fd >= 0)
			assert_int_equal(file_read_fd(fd, 100, &text, NULL), 0);
		assert_null(strstr(buf_text(&text), "secret"));
	}
}

static void a_link_swapped_into_the_context_does_not_lead_out(void **state)
{
	int root = *(int *)*state;
	static const char *const sources[] = {"d", "d", "d/a/f"};
	struct tree_select_options select = {0};
	int done = 0;

	put_file(root, "context/d/a/f", "inside", 0644);
	put_file(root, "outside/f", "secret", 0600);
	put_file(root, "outside/outsider", "", 0600);
	put_link(root, "context/d/swap", "../../outside");
	int context = sub(root, "context"), d = sub(root, "context/d");
	pid_t pid = exchange(d, "a", "swap");
	for (int i = 0; i < ROUNDS; i++) {
		cleanup(tree_selection_free) struct tree_selection *s = NULL;
		if (tree_select(context, &sources[i % 3], 1, &select, &s, NULL) < 0)
			continue;
		done++;
		read_selected(s);
	}
	stop(pid);
	assert_true(done > 0);
	close(context);
	close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(owners_outside_the_namespace_are_explained),
		fixture_test(point_35_devices_fail_in_a_namespace),
		fixture_test(a_full_disk_is_named),
		fixture_test(a_link_swapped_into_the_context_does_not_lead_out),
		fixture_test(a_link_swapped_into_the_image_does_not_lead_out),
	};

	return cmocka_run_group_tests_name("trouble", tests, NULL, NULL);
}
