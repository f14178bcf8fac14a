/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/command.h"
#include "os/file.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

/*
 * The network namespace of a box is kept by a bind mount on a file in scratch, since pasta
 * cannot open /proc/PID/ns/net of a process in another user namespace. pasta itself stays
 * in the host's network namespace and inside the box's PID namespace, so it ends with the
 * box. It puts itself into the background when the interface is configured: the end of
 * the process that we start means that the network is there.
 */

/* Where pasta answers DNS queries when the host's own resolver is on its loopback. */
#define DNS_ADDRESS "169.254.86.53"

enum { PASTA_SECONDS = 20 };

static char *scratch_file(const char *name)
{
	return xprintf("%s/%s", sandbox_scratch(), name);
}

/* ---- resolv.conf ---- */

static bool is_loopback(struct str address)
{
	return str_starts(address, STR("127.")) || str_is(address, "::1");
}

void resolv_rewrite(
	struct str host, const struct argv *name_servers, struct buf *ret, bool *ret_loopback_only)
{
	bool given = name_servers && name_servers->count;
	size_t usable = 0, loopback = 0;

	for (size_t i = 0; given && i < name_servers->count; i++)
		buf_printf(ret, "nameserver %s\n", name_servers->items[i]);
	while (host.p) {
		struct str line = str_trim(str_cut(&host, '\n')), rest = line;
		struct str word = str_cut(&rest, ' ');
		bool server = str_is(word, "nameserver");
		if (str_is(word, "search") || str_is(word, "options") || str_is(word, "domain"))
			buf_printf(ret, "%.*s\n", STR_ARG(line));
		if (!server || given)
			continue;
		if (is_loopback(str_trim(rest))) {
			loopback++;
			continue;
		}
		usable++;
		buf_printf(ret, "%.*s\n", STR_ARG(line));
	}
	*ret_loopback_only = !given && usable == 0 && loopback > 0;
}

/*
 * systemd-resolved puts its own loopback address into /etc/resolv.conf and keeps the real
 * servers beside it.
 */
static int write_resolv_conf(const struct argv *name_servers, bool *ret_forward, struct err *err)
{
	static const char *const places[] = {
		"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	cleanup(buf_done) struct buf out = {0};
	cleanup_free char *path = scratch_file(SCRATCH_RESOLV);
	bool loopback_only = true;

	for (size_t i = 0; i < array_size(places) && loopback_only; i++) {
		cleanup(buf_done) struct buf host = {0};
		if (file_read(AT_FDCWD, places[i], 1 << 16, &host, NULL) < 0)
			continue;
		buf_clear(&out);
		resolv_rewrite(buf_str(&host), name_servers, &out, &loopback_only);
	}
	if (loopback_only)
		buf_add_text(&out, "nameserver " DNS_ADDRESS "\n");
	*ret_forward = loopback_only;
	return file_replace(AT_FDCWD, path, buf_str(&out), 0644, err);
}

static const struct {
	const char *name, *target;
} network_files[NETWORK_MOUNTS] = {
	{SCRATCH_RESOLV, "/etc/resolv.conf"},
	{SCRATCH_HOSTS, "/etc/hosts"},
};

int network_copy_files(struct err *err)
{
	enum { FILE_MAX = 1 << 16 };
	int r = 0;

	for (size_t i = 0; i < NETWORK_MOUNTS && r == 0; i++) {
		cleanup(buf_done) struct buf text = {0};
		cleanup_free char *path =
			xprintf("%s/" SCRATCH_HOST "%s", sandbox_scratch(), network_files[i].name);
		/* A host without the file has nothing to say. */
		ignored(file_read(AT_FDCWD, network_files[i].target, FILE_MAX, &text, NULL));
		r = file_replace(AT_FDCWD, path, buf_str(&text), 0644, err);
	}
	return r;
}

size_t network_mounts(enum sandbox_reach reach, struct sandbox_mount ret[static NETWORK_MOUNTS])
{
	static char sources[NETWORK_MOUNTS][4200];
	const char *front = reach == SANDBOX_REACH_HOST ? SCRATCH_HOST : "";

	for (size_t i = 0; i < NETWORK_MOUNTS; i++) {
		snprintf(sources[i], sizeof(sources[i]), "%s/%s%s", sandbox_scratch(), front,
			network_files[i].name);
		if (access(sources[i], F_OK) < 0)
			return 0;
		ret[i] = (struct sandbox_mount){.kind = SANDBOX_BIND,
			.source = sources[i],
			.target = network_files[i].target,
			.read_only = true};
	}
	return NETWORK_MOUNTS;
}

/* ---- the namespace ---- */

static int set_address(int s, const char *name, const char *address, struct err *err)
{
	struct ifreq ifr = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		return err_set(err, ERR_BUG, "address %s", address);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	if (ioctl(s, SIOCSIFADDR, &ifr) < 0)
		return err_sys(err, "set address %s", address);
	(void)inet_pton(AF_INET, "255.255.255.255", &in.sin_addr);
	memcpy(&ifr.ifr_netmask, &in, sizeof(in));
	if (ioctl(s, SIOCSIFNETMASK, &ifr) < 0)
		return err_sys(err, "set netmask of %s", address);
	return 0;
}

/* lo comes up with 127.0.0.1; the Space's own address is an alias beside it. */
static int configure_loopback(struct err *err)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	cleanup_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
		return err_sys(err, "find lo");
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		return err_sys(err, "bring up lo");
	return set_address(s, "lo:1", SANDBOX_ADDRESS, err);
}

static int make_namespace(const char *file, struct err *err)
{
	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, "make a network namespace");
	if (mount("/proc/self/ns/net", file, NULL, MS_BIND, NULL) < 0)
		return err_sys(err, "mount %s", file);
	return configure_loopback(err);
}

/* In a child, because the caller stays in the host's network until it chooses to enter. */
static int make_namespace_in_child(const char *file, struct err *err)
{
	int fds[2], status;
	struct err theirs = {0};

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	pid_t pid = fork();
	if (pid == 0) {
		(void)make_namespace(file, &theirs); /* theirs says it all */
		_exit(write(fds[1], &theirs, sizeof(theirs)) < 0);
	}
	close(fds[1]);
	cleanup_close int report = fds[0];
	if (pid < 0)
		return err_sys(err, "fork");
	ssize_t n = read(report, &theirs, sizeof(theirs));
	int r = command_wait(pid, &status, err);
	if (r < 0)
		return r;
	if (n != (ssize_t)sizeof(theirs))
		return err_set(err, ERR_SYSTEM, "make a network namespace: the child ended");
	if (theirs.kind != ERR_NONE) {
		*err = theirs;
		return -(int)theirs.kind;
	}
	return 0;
}

/* ---- pasta ---- */

static int explain_pasta(const struct buf *output, struct err *err)
{
	struct str said = str_trim(buf_str(output));

	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		bool missing = errno == ENOENT;
		(void)err_set(err, ERR_HOST, "network: /dev/net/tun %s",
			missing ? "does not exist" : "may not be opened by this user");
		return err_hint(
			err, missing ? "sudo modprobe tun" : "sudo chmod 0666 /dev/net/tun");
	}
	/* The last line says why, those before it are advice. */
	while (str_find(said, '\n') < said.n)
		(void)str_cut(&said, '\n');
	(void)err_set(err, ERR_HOST, "network: pasta failed: %.*s",
		STR_ARG(said.n ? said : STR("no reason given")));
	return err_hint(err, "spaceport doctor looks at what it needs; `network: none` in "
			     "spaceport.yaml does without");
}

/* Of this box, until network_wait(). */
static struct command_capture pasta;

static int no_pasta(struct err *err)
{
	if (err->kind != ERR_MISSING)
		return err_wrap(err, "network");
	err->kind = ERR_HOST;
	return err_hint(err, "sudo apt-get install passt");
}

static int start_pasta(const char *file, bool forward_dns, struct err *err)
{
	cleanup(command_done) struct command c = COMMAND_INIT;

	/*
	 * Without --no-map-gw the gateway's address leads to the host's own loopback. No port
	 * is forwarded in either direction.
	 */
	argv_add_all(&c.argv, "pasta", "--config-net", "--no-map-gw", "-t", "none", "-u", "none",
		"-T", "none", "-U", "none", "--quiet", NULL);
	if (forward_dns)
		argv_add_all(&c.argv, "--dns-forward", DNS_ADDRESS, NULL);
	argv_add_all(&c.argv, "--runas", "0", "--netns", file, NULL);
	c.inherit_env = true;
	return command_capture_begin(&c, PASTA_SECONDS, &pasta, err) < 0 ? no_pasta(err) : 0;
}

int network_wait(struct err *err)
{
	cleanup(buf_done) struct buf output = {0};
	int status;

	if (pasta.pid == 0)
		return 0;
	if (command_capture_end(&pasta, 8192, &output, &status, err) < 0)
		return err_wrap(err, "network");
	return status == 0 ? 0 : explain_pasta(&output, err);
}

int sandbox_network_start(
	enum sandbox_network_mode mode, const struct argv *name_servers, struct err *err)
{
	cleanup_free char *file = scratch_file(SCRATCH_NETNS);
	cleanup_free char *hosts = scratch_file(SCRATCH_HOSTS);
	bool forward_dns = false;

	int r = file_replace(AT_FDCWD, file, STR(""), 0600, err);
	if (r == 0)
		r = write_resolv_conf(name_servers, &forward_dns, err);
	if (r == 0)
		r = file_replace(AT_FDCWD, hosts,
			STR("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
			0644, err);
	if (r == 0)
		r = make_namespace_in_child(file, err);
	if (r == 0 && mode == SANDBOX_NETWORK_EGRESS)
		r = start_pasta(file, forward_dns, err);
	return r;
}

int sandbox_network_enter(struct err *err)
{
	cleanup_free char *file = scratch_file(SCRATCH_NETNS);
	cleanup_close int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "open %s", file);
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_sys(err, "enter the network namespace");
	return 0;
}

int sandbox_network_join(struct err *err)
{
	struct sandbox_mount mounts[NETWORK_MOUNTS];
	size_t count = network_mounts(SANDBOX_REACH_BOX, mounts);

	int r = network_wait(err);
	if (r == 0)
		r = sandbox_network_enter(err);
	for (size_t i = 0; i < count && r == 0; i++) {
		/* Where there is no such file, nobody reads it. */
		if (access(mounts[i].target, F_OK) == 0 &&
			mount(mounts[i].source, mounts[i].target, NULL, MS_BIND, NULL) < 0)
			r = err_sys(err, "mount %s", mounts[i].target);
	}
	return r;
}
