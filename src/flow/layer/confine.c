/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up before it reads a foreign archive: the network, new privileges, all
 * capabilities but six (over the namespace's own files), memory and processor time beyond
 * limits, and by Landlock, where the kernel has it, all files but those below the root, if there
 * is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "layer/unpack.h"

#define MEMORY_LIMIT (UINT64_C(2) << 30)

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SHADOW_MEMORY 1
#endif
#endif
#ifndef HAS_SHADOW_MEMORY
#define HAS_SHADOW_MEMORY 0
#endif

static int limit(int resource, rlim_t value, struct err *err)
{
	const struct rlimit both = {value, value};

	return setrlimit(resource, &both) == 0 ? 0 : err_sys(err, "set resource limit");
}

static int set_limits(const struct confined *c, struct err *err)
{
	if (limit(RLIMIT_CORE, 0, err) < 0 || limit(RLIMIT_NPROC, 0, err) < 0 ||
		limit(RLIMIT_CPU, c->cpu_seconds, err) < 0)
		return -(int)err->kind;
	/* The sanitizers reserve terabytes of addresses. */
	return HAS_SHADOW_MEMORY ? 0 : limit(RLIMIT_AS, MEMORY_LIMIT, err);
}

static int drop_capabilities(struct err *err)
{
	static const unsigned kept[] = {
		CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	uint32_t mask = 0;

	for (size_t i = 0; i < array_size(kept); i++)
		mask |= CAP_TO_MASK(kept[i]);
	if (syscall(SYS_capget, &header, data) < 0)
		return err_sys(err, "read capabilities");
	data[0].permitted &= mask;
	data[0].effective = data[0].permitted;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){0};
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, "drop capabilities");
	return 0;
}

/*
 * Nothing but what is below the root may be opened or made from here on. Before its second
 * version (Linux 5.19) Landlock forbade every hard link between directories: not used then.
 */
static int confine_to(int root, struct err *err)
{
	const uint64_t ours = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
			      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
			      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
			      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
			      LANDLOCK_ACCESS_FS_REFER;
	const struct landlock_ruleset_attr all = {
		.handled_access_fs = ours | LANDLOCK_ACCESS_FS_EXECUTE |
				     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_BLOCK,
	};
	const struct landlock_path_beneath_attr below = {.allowed_access = ours, .parent_fd = root};
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version < 2)
		return 0;
	cleanup_close int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (rules < 0 ||
		(root >= 0 && syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
				      &below, 0) < 0) ||
		syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_sys(err, "confine by Landlock");
	return 0;
}

/* All but the standard ones and those of the child. */
static int close_others(const struct confined *c, struct err *err)
{
	unsigned from = 3;

	for (int left = 4; left > 0; left--) {
		const int fds[] = {c->root, c->tar_fd, c->report_fd, c->out_fd};
		unsigned next = UINT_MAX;
		for (size_t i = 0; i < array_size(fds); i++) {
			if ((unsigned)fds[i] >= from && (unsigned)fds[i] < next)
				next = (unsigned)fds[i];
		}
		if (next == UINT_MAX)
			break;
		if (next > from && syscall(SYS_close_range, from, next - 1, 0) < 0)
			return err_sys(err, "close descriptors");
		from = next + 1;
	}
	if (syscall(SYS_close_range, from, UINT_MAX, 0) < 0)
		return err_sys(err, "close descriptors");
	return 0;
}

int confine(const struct confined *c, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != c->parent)
		return err_set(err, ERR_CANCELLED, "the parent has gone");
	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, "leave the network");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, "give up new privileges");
	if (tar_prepare(err) < 0 || close_others(c, err) < 0 || set_limits(c, err) < 0 ||
		drop_capabilities(err) < 0)
		return -(int)err->kind;
	return confine_to(c->root, err);
}
