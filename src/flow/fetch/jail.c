/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where git runs: a root directory of its own, in which there is nothing but programs, what
 * they need of /etc, and the repository; without capabilities, without a way to get any, and
 * with limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "fetch/jail.h"

enum { CPU_SECONDS = 1800 };

#define DATA_BYTES (UINT64_C(2) << 30)

static int make_file(const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_sys(err, "make %s", path);
	close(fd);
	return 0;
}

static int make_dirs(const char *root, const char *path, struct err *err)
{
	struct str whole = str_of(path);

	for (size_t end = 1; end <= whole.n; end++) {
		if (end < whole.n && path[end] != '/')
			continue;
		cleanup_free char *dir = xprintf("%s%.*s", root, STR_ARG(str_slice(whole, 0, end)));
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_sys(err, "make %s", dir);
	}
	return 0;
}

/* The host's file, directory or link of that path; what is not there is not needed. */
static int show(const char *root, const char *path, struct err *err)
{
	cleanup_free char *to = xprintf("%s%s", root, path);
	char link[4096];
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	cleanup_free char *parent =
		str_dup(str_slice(str_of(path), 0, str_rfind(str_of(path), '/')));
	int r = *parent ? make_dirs(root, parent, err) : 0;
	if (r < 0)
		return r;
	/* /bin may lead to /usr/bin. Other links are mounted as what they lead to. */
	ssize_t n = S_ISLNK(st.st_mode) && !*parent ? readlink(path, link, sizeof(link) - 1) : -1;
	if (n > 0) {
		link[n] = '\0';
		return symlink(link, to) < 0 && errno != EEXIST ? err_sys(err, "make %s", to) : 0;
	}
	if (stat(path, &st) < 0)
		return 0;
	r = S_ISDIR(st.st_mode) ? make_dirs(root, path, err) : make_file(to, err);
	if (r == 0 && mount(path, to, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(err, "mount %s", to);
	return r;
}

int jail_make(const char *root, struct err *err)
{
	static const char *const shown[] = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
		"/libx32", "/etc/alternatives", "/etc/ca-certificates", "/etc/crypto-policies",
		"/etc/gai.conf", "/etc/group", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache",
		"/etc/nsswitch.conf", "/etc/passwd", "/etc/pki", "/etc/resolv.conf",
		"/etc/services", "/etc/ssl", "/dev/null", "/dev/random", "/dev/urandom",
		"/dev/zero"};
	int r = make_dirs("", root, err);

	for (size_t i = 0; i < array_size(shown) && r == 0; i++)
		r = show(root, shown[i], err);
	if (r == 0)
		r = make_dirs(root, "/tmp", err);
	return r < 0 ? r : make_dirs(root, JAIL_WORK, err);
}

int jail_enter_work(const char *root, int dir, struct err *err)
{
	cleanup_free char *to = xprintf("%s" JAIL_WORK, root);
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", dir);
	return mount(from, to, NULL, MS_BIND, NULL) < 0 ? err_sys(err, "mount %s", to) : 0;
}

void jail_leave_work(const char *root)
{
	cleanup_free char *to = xprintf("%s" JAIL_WORK, root);

	(void)umount2(to, MNT_DETACH); /* it goes with the box at the latest */
}

/* ---- In the child ---- */

static int limit(int resource, rlim_t value)
{
	const struct rlimit both = {value, value};

	return setrlimit(resource, &both);
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	return (int)syscall(SYS_capset, &header, none);
}

int jail_before_exec(void *arg)
{
	const struct jail *jail = arg;

	(void)umask(022);
	/* A file that is too large is then an error that the program tells. */
	(void)signal(SIGXFSZ, SIG_IGN);
	if (chroot(jail->root) < 0 || chdir(JAIL_WORK) < 0)
		return errno;
	if (limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_CPU, CPU_SECONDS) < 0 ||
		limit(RLIMIT_DATA, DATA_BYTES) < 0 ||
		(jail->max_bytes && limit(RLIMIT_FSIZE, jail->max_bytes) < 0))
		return errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || drop_capabilities() < 0)
		return errno;
	return 0;
}
