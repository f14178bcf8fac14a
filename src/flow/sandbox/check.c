/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/number.h"
#include "os/command.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

/*
 * Each requirement is tried rather than looked up where that can be done without a trace:
 * what counts is whether it works.
 */

struct findings {
	struct sandbox_requirement *items;
	size_t count, max;
	const char *runtime;
};

printf_like(5, 6) static void add(
	struct findings *f, const char *name, bool needed, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	if (f->count == f->max)
		return;
	struct sandbox_requirement *r = &f->items[f->count++];
	*r = (struct sandbox_requirement){.name = name, .needed = needed, .found = !remedy};
	va_start(ap, fmt);
	vsnprintf(r->detail, sizeof(r->detail), fmt, ap);
	va_end(ap);
	snprintf(r->remedy, sizeof(r->remedy), "%s", remedy ? remedy : "");
}

static void check_kernel(struct findings *f)
{
	struct utsname host;
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	uint64_t major = 0, minor = 0;

	uname(&host);
	struct str rest = str_of(host.release), first = str_cut(&rest, '.');
	size_t digits = 0;
	while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9')
		digits++;
	bool known = parse_u64(first, 1000, &major) &&
		     parse_u64(str_slice(rest, 0, digits), 10000, &minor);
	bool old = known && (major < 5 || (major == 5 && minor < 11));
	add(f, "kernel", true, old ? "upgrade to Linux 5.11 or newer" : NULL, "%s", host.release);
	cleanup_close int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	add(f, "openat2", true,
		fd < 0 ? "the container or sandbox that this runs in must allow openat2(2)" : NULL,
		"%s", fd < 0 ? strerror(errno) : "works");
}

static bool is_rootless(void)
{
	return geteuid() != 0;
}

static void check_ids(struct findings *f, struct sandbox_ids *ids, bool *ret_found)
{
	static const char *const programs[] = {"newuidmap", "newgidmap"};
	struct err err = {0};

	*ret_found = sandbox_ids_find(NULL, ids, &err) == 0;
	if (*ret_found)
		add(f, "subordinate ids", true, NULL, "%u from %u", ids->count, ids->uid_base);
	else
		add(f, "subordinate ids", true, err.hint, "%s", err.text);
	for (size_t i = 0; i < array_size(programs) && is_rootless(); i++) {
		cleanup_free char *path = command_find(programs[i]);
		add(f, programs[i], true, path ? NULL : "sudo apt-get install uidmap", "%s",
			path ? path : "not found");
	}
}

/* In a box, on its private tmpfs: does an overlay of two directories work as we use it? */
static int try_overlay(void *arg)
{
	static const char *const dirs[] = {"low", "up", "work", "merged"};

	(void)arg;
	if (chdir(sandbox_scratch()) < 0)
		return 1;
	for (size_t i = 0; i < array_size(dirs); i++)
		if (mkdir(dirs[i], 0755) < 0)
			return 1;
	if (mount("overlay", "merged", "overlay", 0,
		    "lowerdir=low,upperdir=up,workdir=work,userxattr") < 0)
		return 2;
	return mkdir("merged/x", 0755) < 0 ? 3 : 0;
}

static void check_box(struct findings *f, const struct sandbox_ids *ids)
{
	char scratch[] = "/tmp/spaceport-doctor-XXXXXX";
	struct sandbox_box box;
	struct err err = {0};
	int status = 0;

	if (!mkdtemp(scratch) || chmod(scratch, 0755) < 0)
		return;
	struct sandbox_box_options options = {.ids = ids, .scratch = scratch, .main = try_overlay};
	int r = sandbox_box_start(&options, &box, &err);
	if (r == 0)
		r = sandbox_box_wait(&box, &status, &err);
	if (r < 0)
		add(f, "namespaces", true, err.hint[0] ? err.hint : "see the message", "%s",
			err.text);
	else
		add(f, "namespaces", true, NULL, "user, mount, PID, IPC");
	if (r == 0)
		add(f, "overlayfs", true,
			status ? "sudo modprobe overlay, or a kernel of 5.11 or newer" : NULL, "%s",
			status ? "cannot be mounted in a user namespace"
			       : "works in a user namespace");
	(void)rmdir(scratch); /* the tmpfs in it went with the box */
	cleanup_free char *tun = xprintf("%s.tun", scratch);
	(void)unlink(tun); /* made only for real root, and only sometimes */
}

static void first_line_of(const char *program, const char *option, char ret[static 128])
{
	cleanup(command_done) struct command c = COMMAND_INIT;
	cleanup(buf_done) struct buf output = {0};
	int status;

	argv_add_all(&c.argv, program, option, NULL);
	c.inherit_env = true;
	ret[0] = '\0';
	if (command_capture(&c, 4096, 5, &output, &status, NULL) < 0)
		return;
	struct str rest = buf_str(&output);
	struct str line = str_cut(&rest, '\n');
	snprintf(ret, 128, "%.*s", STR_ARG(line));
}

/*
 * Escapes by way of the image that these versions have; the layer store keeps /dev, /proc
 * and /sys of every image empty, so they are not reached, but a newer one is better.
 */
static void check_runtime(struct findings *f)
{
	char version[128];
	uint64_t major = 0, minor = 0;
	const char *runtime = f->runtime ? f->runtime : "crun";
	cleanup_free char *path = command_find(runtime);

	if (!path) {
		add(f, "OCI runtime", true, "sudo apt-get install crun", "%s not found", runtime);
		return;
	}
	first_line_of(path, "--version", version);
	struct str rest = str_of(version), word = {0};
	while (rest.p)
		word = str_cut(&rest, ' ');
	bool old = strstr(version, "crun") && parse_u64(str_cut(&word, '.'), 1000, &major) &&
		   parse_u64(str_cut(&word, '.'), 1000, &minor) &&
		   (major < 1 || (major == 1 && minor < 30));
	add(f, "OCI runtime", true, NULL, "%s (%s)%s", version, path,
		old ? "; lacks fixes of CVE-2026-47766, -88264, -88265, which are worked around"
		    : "");
}

static void check_network(struct findings *f)
{
	char version[128] = "";
	struct stat st;
	cleanup_free char *pasta = command_find("pasta");

	if (pasta)
		first_line_of(pasta, "--version", version);
	/* Debian's says "pasta unknown version". */
	const char *found = strstr(version, "unknown") ? pasta : version;
	add(f, "pasta", true, pasta ? NULL : "sudo apt-get install passt", "%s",
		pasta ? found : "not found");
	bool exists = stat("/dev/net/tun", &st) == 0;
	bool open_to_us = exists && (!is_rootless() || access("/dev/net/tun", R_OK | W_OK) == 0);
	add(f, "/dev/net/tun", true,
		open_to_us ? NULL
		: exists   ? "sudo chmod 0666 /dev/net/tun"
			   : "sudo modprobe tun",
		"%s",
		open_to_us ? "usable"
		: exists   ? "may not be opened by this user"
			   : "does not exist");
}

static void check_limits(struct findings *f)
{
	const struct cgroup_limits limits = {.memory = 1 << 30, .pids = 4096, .milli_cpus = 1000};
	cleanup(cgroup_free) struct cgroup *group = NULL;
	char missing[256];
	struct err err = {0};

	if (cgroup_new("doctor", &limits, &group, missing, &err) < 0)
		snprintf(missing, sizeof(missing), "%.255s", err.text);
	add(f, "control groups", false,
		missing[0]
			? "run from a systemd user session, or as root; until then Spaces are not limited"
			: NULL,
		"%s%s", missing[0] ? "not enforced: " : "memory, pids, cpu", missing);
	bool profile = access("/usr/share/containers/seccomp.json", R_OK) == 0;
	add(f, "seccomp profile", true,
		profile ? NULL : "sudo apt-get install golang-github-containers-common", "%s",
		profile ? "/usr/share/containers/seccomp.json" : "not found");
}

size_t sandbox_check(const char *runtime, struct sandbox_requirement *ret, size_t max)
{
	struct findings f = {.items = ret, .max = max, .runtime = runtime};
	struct sandbox_ids ids;
	bool has_ids;

	check_kernel(&f);
	check_ids(&f, &ids, &has_ids);
	if (has_ids)
		check_box(&f, &ids);
	check_runtime(&f);
	check_network(&f);
	check_limits(&f);
	return f.count;
}
