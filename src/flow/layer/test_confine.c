/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layer/test_scratch.h"
#include "layer/unpack.h"

struct place {
	int root;
};

static struct confined prepare(const struct place *p)
{
	return (struct confined){
		.root = p->root,
		.tar_fd = 0,
		.report_fd = 1,
		.parent = getppid(),
		.cpu_seconds = 10,
	};
}

static int writes_below_the_root(void *arg)
{
	const struct place *p = arg;
	struct confined c = prepare(p);
	struct err err = {0};

	if (confine(&c, &err) < 0)
		return 1;
	int fd = openat(p->root, "sub/file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 100) < 0 || fchown(fd, 7, 8) < 0)
		return 2;
	if (linkat(p->root, "sub/file", p->root, "link", 0) < 0 ||
		renameat(p->root, "link", p->root, "sub/moved") < 0 ||
		mknodat(p->root, "whiteout", S_IFCHR, 0) < 0 ||
		unlinkat(p->root, "sub/moved", 0) < 0)
		return 3;
	return 0;
}

static int reads_the_host(void *arg)
{
	struct confined c = prepare(arg);
	struct err err = {0};

	if (confine(&c, &err) < 0)
		return 1;
	if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 2;
	if (openat(c.root, "../beside", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 3;
	if (mkdirat(c.root, "../made", 0755) == 0 || errno != EACCES)
		return 4;
	return 0;
}

static int forks_or_mounts(void *arg)
{
	struct confined c = prepare(arg);
	struct err err = {0};

	if (confine(&c, &err) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	if (pid > 0 || unshare(CLONE_NEWNS) == 0)
		return 2;
	return 0;
}

static int has_other_descriptors(void *arg)
{
	struct confined c = prepare(arg);
	struct err err = {0};
	int extra = dup(c.root);

	if (confine(&c, &err) < 0)
		return 1;
	return fcntl(extra, F_GETFD) >= 0 || fcntl(c.root, F_GETFD) < 0 ||
	       fcntl(c.tar_fd, F_GETFD) < 0;
}

static void the_confined_can_unpack_and_nothing_else(void **state)
{
	SCRATCH(state);
	struct place p;

	assert_int_equal(mkdirat(s->dir, "root", 0755), 0);
	assert_int_equal(mkdirat(s->dir, "root/sub", 0755), 0);
	write_file(s->dir, "beside", "beside");
	p.root = openat(s->dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(in_child(writes_below_the_root, &p), 0);
	assert_int_equal(in_child(has_other_descriptors, &p), 0);
	assert_int_equal(in_child(forks_or_mounts, &p), 0);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2)
		assert_int_equal(in_child(reads_the_host, &p), 0);
	else
		print_message("SKIPPED: this kernel has no Landlock of version 2\n");
	close(p.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(the_confined_can_unpack_and_nothing_else),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer confinement", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
