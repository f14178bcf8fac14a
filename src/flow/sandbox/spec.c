/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "sandbox/internal.h"
#include "sandbox/sandbox.h"
#include "json/json.h"

/*
 * config.json of the OCI runtime specification. There is no "user" namespace in it, since
 * the box is one, and no "network" namespace, since the box's is inherited.
 */

/* Docker's default set. */
const char *const build_caps[] = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER",
	"CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"};
const size_t build_cap_count = array_size(build_caps);

/* All that there are on the oldest kernel that this runs on. */
static const char *const all_caps[] = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH",
	"CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
	"CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
	"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"};

static const char *const masked_paths[] = {"/proc/acpi", "/proc/asound", "/proc/kcore",
	"/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
	"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static const struct {
	const char *target, *type, *source, *options;
} fixed_mounts[] = {
	{"/proc", "proc", "proc", "nosuid,noexec,nodev"},
	{"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"},
	{"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
};

static void put_list(struct json_writer *w, const char *key, const char *const *items, size_t n)
{
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < n; i++)
		json_put_text(w, items[i]);
	json_end_array(w);
}

static void put_argv(struct json_writer *w, const char *key, const struct argv *v)
{
	json_key(w, key);
	json_begin_array(w);
	for (size_t i = 0; i < v->count; i++)
		json_put_text(w, v->items[i]);
	json_end_array(w);
}

/*
 * As Docker does: a user other than root starts without effective capabilities, and the
 * bounding set only limits what set-user-id programs can gain.
 */
static void put_capabilities(struct json_writer *w, const struct sandbox_container *c)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	const char *const *caps = c->rights == SANDBOX_INSECURE ? all_caps : build_caps;
	size_t n = c->rights == SANDBOX_INSECURE ? array_size(all_caps)
		   : c->rights == SANDBOX_BUILD	 ? build_cap_count
						 : 0;

	json_key(w, "capabilities");
	json_begin_object(w);
	for (size_t i = 0; i < array_size(sets); i++)
		put_list(w, sets[i], caps, i == 0 || c->uid == 0 ? n : 0);
	json_end_object(w);
}

static void put_process(
	struct json_writer *w, const struct sandbox_container *c, const struct argv *args)
{
	json_begin_object(w);
	json_key(w, "user");
	json_begin_object(w);
	json_add_u64(w, "uid", c->uid);
	json_add_u64(w, "gid", c->gid);
	json_add_u64(w, "umask", 022);
	json_key(w, "additionalGids");
	json_begin_array(w);
	for (size_t i = 0; i < c->group_count; i++)
		json_put_u64(w, c->groups[i]);
	json_end_array(w);
	json_end_object(w);
	put_argv(w, "args", args);
	put_argv(w, "env", &c->env);
	json_add_text(w, "cwd", c->cwd);
	put_capabilities(w, c);
	json_add_bool(w, "noNewPrivileges", c->rights == SANDBOX_SPACE);
	json_end_object(w);
}

void spec_print_process(const struct sandbox_container *c, const struct argv *args, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	put_process(&w, c, args);
	json_line(&w);
}

static void put_mount(struct json_writer *w, const char *target, const char *type,
	const char *source, struct str options)
{
	json_begin_object(w);
	json_add_text(w, "destination", target);
	json_add_text(w, "type", type);
	json_add_text(w, "source", source);
	json_key(w, "options");
	json_begin_array(w);
	while (options.p)
		json_put_str(w, str_cut(&options, ','));
	json_end_array(w);
	json_end_object(w);
}

static void put_own_mount(struct json_writer *w, const struct sandbox_mount *m)
{
	char options[160];
	int n;

	if (m->kind == SANDBOX_BIND)
		n = snprintf(options, sizeof(options), "bind,nosuid,nodev,rprivate,%s%s",
			m->read_only ? "ro" : "rw", m->no_exec ? ",noexec" : "");
	else
		n = snprintf(options, sizeof(options), "nosuid,nodev,mode=%o", (unsigned)m->mode);
	if (m->kind == SANDBOX_TMPFS && m->size)
		snprintf(options + n, sizeof(options) - (size_t)n, ",size=%llu",
			(unsigned long long)m->size);
	put_mount(w, m->target, m->kind == SANDBOX_BIND ? "bind" : "tmpfs",
		m->kind == SANDBOX_BIND ? m->source : "tmpfs", str_of(options));
}

/*
 * A sysfs shows one network, and only who owns that network may mount it. Of the host's what
 * the box sees is shown, without its control groups.
 */
static void put_sys(struct json_writer *w, const struct sandbox_container *c)
{
	if (c->reach != SANDBOX_REACH_HOST) {
		put_mount(w, "/sys", "sysfs", "sysfs",
			c->rights == SANDBOX_INSECURE ? STR("nosuid,noexec,nodev")
						      : STR("nosuid,noexec,nodev,ro"));
		return;
	}
	put_mount(w, "/sys", "bind", "/sys", STR("rbind,rslave,nosuid,noexec,nodev,ro"));
	put_mount(w, "/sys/fs/cgroup", "tmpfs", "tmpfs", STR("nosuid,noexec,nodev,ro,mode=755"));
}

static void put_mounts(struct json_writer *w, const struct sandbox_container *c)
{
	struct sandbox_mount network[NETWORK_MOUNTS];
	size_t network_count = network_mounts(c->reach, network);

	json_key(w, "mounts");
	json_begin_array(w);
	for (size_t i = 0; i < array_size(fixed_mounts); i++)
		put_mount(w, fixed_mounts[i].target, fixed_mounts[i].type, fixed_mounts[i].source,
			str_of(fixed_mounts[i].options));
	put_sys(w, c);
	for (size_t i = 0; i < network_count; i++)
		put_own_mount(w, &network[i]);
	for (size_t i = 0; i < c->mount_count; i++)
		put_own_mount(w, &c->mounts[i]);
	json_end_array(w);
}

static void put_linux(struct json_writer *w, const struct sandbox_container *c, struct str seccomp)
{
	static const char *const namespaces[] = {"pid", "mount", "ipc", "uts", "network"};

	json_key(w, "linux");
	json_begin_object(w);
	json_key(w, "namespaces");
	json_begin_array(w);
	for (size_t i = 0; i < array_size(namespaces) - (c->reach != SANDBOX_REACH_NONE); i++) {
		json_begin_object(w);
		json_add_text(w, "type", namespaces[i]);
		json_end_object(w);
	}
	json_end_array(w);
	if (c->rights != SANDBOX_INSECURE) {
		put_list(w, "maskedPaths", masked_paths, array_size(masked_paths));
		put_list(w, "readonlyPaths", readonly_paths, array_size(readonly_paths));
	}
	if (seccomp.n) {
		json_key(w, "seccomp");
		json_put_raw(w, seccomp);
	}
	json_end_object(w);
}

/* In the words of crun(1), which runs it instead of compiling linux.seccomp. */
static void put_filter(struct json_writer *w, struct str filter)
{
	json_key(w, "annotations");
	json_begin_object(w);
	json_add_str(w, "run.oci.seccomp_bpf_data", filter);
	json_end_object(w);
}

void spec_print(
	const struct sandbox_container *c, struct str seccomp, struct str filter, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_object(&w);
	json_add_text(&w, "ociVersion", "1.0.2");
	json_key(&w, "process");
	put_process(&w, c, &c->args);
	json_key(&w, "root");
	json_begin_object(&w);
	json_add_text(&w, "path", c->rootfs);
	json_add_bool(&w, "readonly", false);
	json_end_object(&w);
	json_add_text(&w, "hostname", c->hostname);
	put_mounts(&w, c);
	put_linux(&w, c, seccomp);
	if (filter.n)
		put_filter(&w, filter);
	json_end_object(&w);
	json_line(&w);
}
