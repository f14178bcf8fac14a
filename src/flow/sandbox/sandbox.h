/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

/*
 * Where foreign programs run. Two levels:
 *
 *	box	   a process of ours in user, mount and PID namespaces of its own. It is
 *		   root there and nobody outside, it owns the layer store, it is PID 1: when it
 *		   ends, in whatever way, every process and mount of the box ends with it.
 *		   Builds and runs each live in one box.
 *	container  what crun starts inside a box: a RUN step, or a Space.
 *
 * The box also holds a network namespace (served by pasta) which its containers share, and
 * a scratch directory on a private tmpfs which nobody outside can see: bundles, secrets,
 * the network namespace's file.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/argv.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "os/cgroup.h"

/* ---- Identities ---- */

/*
 * How ids inside a box map to ids of the host. As an ordinary user: 0 is the user, 1 and up
 * are the user's range in /etc/subuid and /etc/subgid, written by newuidmap. As real root:
 * 0 and up are a range nobody else uses, written directly.
 */
struct sandbox_ids {
	bool is_root;
	uid_t root_uid; /* the host's id of the box's root: owner of the store */
	gid_t root_gid;
	uint32_t uid_base, gid_base; /* host id of the first mapped id after root (rootless) or of
					id 0 (root) */
	uint32_t count;		     /* ids mapped in all; at least 65536 */
};

/*
 * Find the ranges for the calling user. `setting` is "base:count" for real root, or NULL.
 * No range, or too small a one, is ERR_HOST with the command that adds it.
 */
must_use int sandbox_ids_find(const char *setting, struct sandbox_ids *ret, struct err *err);

/* ---- Box ---- */

struct sandbox_box {
	pid_t pid;
	int pidfd; /* readable when the box has ended */
};

struct sandbox_box_options {
	const struct sandbox_ids *ids;
	/*
	 * Absolute path of an existing directory that the box's root can reach: the private
	 * tmpfs is mounted over it, in the box only.
	 */
	const char *scratch;
	/* Descriptors that stay open besides 0-2, < 0 ends the list; NULL: all of them. */
	const int *keep;
	int (*main)(void *arg);
	void *arg;
};

/*
 * Fork a box and call main(arg) in it; its return value is the box's exit code. The box dies
 * with the calling process. Errors of the set-up (no user namespaces, no newuidmap, …) are
 * returned here with their remedy, after the child has gone.
 */
must_use int sandbox_box_start(
	const struct sandbox_box_options *options, struct sandbox_box *ret, struct err *err);

/* SIGKILL to the box and wait: nothing of it is left when this returns. */
void sandbox_box_kill(struct sandbox_box *box);
/* Wait for its end; ret_status as waitpid(2). */
must_use int sandbox_box_wait(struct sandbox_box *box, int *ret_status, struct err *err);

/* ---- Work: a box that does one thing and reports ---- */

struct sandbox_channel; /* the box's end */

/* Messages are at most this long; longer ones are a bug of the sender. */
enum { SANDBOX_MESSAGE_MAX = 64 * 1024 };

/* Tell the outside. A peer that has gone is no error: the box is about to end. */
void sandbox_tell(struct sandbox_channel *channel, struct str message);

struct sandbox_work {
	const struct sandbox_ids *ids;
	const char *scratch;
	/* In the box. Its error becomes that of sandbox_work_run(). */
	int (*work)(void *arg, struct sandbox_channel *channel, struct err *err);
	/* Outside, for each sandbox_tell(); the message is foreign. NULL: dropped. */
	void (*on_message)(void *arg, struct str message);
	/* Outside, about every tenth of a second while the box works. NULL: no. */
	void (*on_tick)(void *arg);
	/* In this process, once the box has started: to close what only the box needs. NULL: no. */
	void (*on_started)(void *arg);
	void *arg;
	int cancel_fd;	  /* readable: kill it (ERR_CANCELLED); < 0 for none */
	int64_t deadline; /* clock_now() at which it is killed (ERR_LIMIT); 0 for none */
};

/*
 * Start a box, relay its messages, return when it has ended and nothing of it is left. The
 * box has all of this process's memory and descriptors as they are now.
 */
must_use int sandbox_work_run(const struct sandbox_work *work, struct err *err);

/* Inside a box: the path of its scratch directory. */
const char *sandbox_scratch(void);

/* ---- Workers: parts of a box that do not see each other ---- */

/*
 * Inside a box: fork a worker and call main(arg) in it. A worker is PID 1 of a PID namespace
 * inside the box's, and has mounts of its own: with it end its processes and mounts. It has this
 * process's memory, descriptors and the rights of the box. Its network is its own as well:
 * sandbox_network_start() in it knows nothing of other workers, provided that the calling
 * process has not entered a network itself.
 */
must_use int sandbox_worker_start(
	int (*main)(void *arg), void *arg, struct sandbox_box *ret, struct err *err);
/*
 * The first thing that a worker does: from then on its scratch directory is `name`, one component,
 * in the box's. Descriptors from before lead to the mounts of the box: whatever is to be
 * mounted, or mounted on, has to be opened anew.
 */
must_use int sandbox_worker_enter(const char *name, struct err *err);
/* sandbox_box_wait() and sandbox_box_kill() are for workers, too. */

/* ---- Network, inside a box ---- */

enum sandbox_network_mode {
	SANDBOX_NETWORK_EGRESS, /* out through pasta; the host's loopback is unreachable */
	SANDBOX_NETWORK_NONE,	/* loopback only */
};

/*
 * The address, on the namespace's loopback interface, to which connections for a Space go.
 * It is not in 127.0.0.0/8: an app that listens on 127.0.0.1 only is not reached.
 */
#define SANDBOX_ADDRESS "169.254.86.1"

/*
 * Make the network namespace of this box. `name_servers` (NULL: the host's) and the host's search
 * list go to a resolv.conf in scratch. Call once; containers started later are in it. The way
 * out comes up while the caller goes on: the start of the first container waits for it, and has
 * its errors.
 */
must_use int sandbox_network_start(
	enum sandbox_network_mode mode, const struct argv *name_servers, struct err *err);
/*
 * For programs that are no containers: wait for the way out, then move the calling process into
 * the network, with its name servers in /etc/resolv.conf of the box.
 */
must_use int sandbox_network_join(struct err *err);
/* Move the calling process into it: sockets it opens from now on are the Space's. */
must_use int sandbox_network_enter(struct err *err);

/* ---- Containers, inside a box ---- */

enum sandbox_mount_kind { SANDBOX_BIND, SANDBOX_TMPFS };

struct sandbox_mount {
	enum sandbox_mount_kind kind;
	const char *source; /* bind: absolute path in the box */
	const char
		*target; /* absolute path in the container; made if missing, removed afterwards */
	bool read_only, no_exec;
	uint64_t size; /* tmpfs: bytes, 0 for no limit of its own */
	mode_t mode;   /* tmpfs */
};

/* What a container may do. */
enum sandbox_rights {
	SANDBOX_BUILD, /* Docker's default capabilities, new privileges allowed: sudo, apt */
	SANDBOX_SPACE, /* none at all, no new privileges */
	/*
	 * All capabilities of the box, every system call, nothing masked. What it does to the box
	 * is not prevented; to the host it is nobody still.
	 */
	SANDBOX_INSECURE,
};

/* Which network a container is in. */
enum sandbox_reach {
	SANDBOX_REACH_CALLER, /* that of the calling process */
	SANDBOX_REACH_BOX,    /* the box's, wherever the calling process is */
	/*
	 * The host's, its loopback and abstract sockets included, with its name servers; of a
	 * caller that has entered no other.
	 */
	SANDBOX_REACH_HOST,
	SANDBOX_REACH_NONE, /* one of its own, without any interface but loopback */
};

/*
 * What costs time to make anew and depends on this host alone is kept by the caller from box to
 * box, by name. Both may fail without a word: losing it costs time only. What put() was
 * given comes back from get() whole or not at all.
 */
struct sandbox_memory {
	bool (*get)(void *arg, struct str name, struct buf *ret);
	void (*put)(void *arg, struct str name, struct str value);
	void *arg;
};

struct sandbox_container {
	const char *id;	    /* one component, unique in the box */
	const char *rootfs; /* absolute path of the mounted tree */
	const char *hostname;
	enum sandbox_rights rights;
	struct argv args; /* args.items[0] is looked up in the container's PATH */
	struct argv env;
	const char *cwd; /* must exist */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary */
	size_t group_count;
	const struct sandbox_mount *mounts;
	size_t mount_count;
	enum sandbox_reach reach;
	const struct cgroup *cgroup;	     /* NULL: no limits */
	int stdout_fd, stderr_fd;	     /* stdin is empty */
	const char *runtime;		     /* crun, or NULL for the one in PATH */
	const struct sandbox_memory *memory; /* NULL: none */
	/* The room's own; NULL before the start. */
	struct sandbox_mountpoints *made;
	struct command_held *held;
};

/*
 * Begin what takes long at a start and needs only id, runtime, cgroup and the two descriptors:
 * to join control groups can take many milliseconds. The container's memory stays where it
 * is until sandbox_container_clean(). Without this the start does it first.
 */
must_use int sandbox_container_prepare(struct sandbox_container *container, struct err *err);

/*
 * Start it. The process is a child of the calling process (PID 1 of the box) and its id is
 * in ret_pid: wait for it with waitpid, end it with kill(SIGKILL), which takes all of the
 * container with it. A program that is missing or not executable in the image is
 * ERR_FAILED with the runtime's reason; a runtime that is missing or broken is ERR_HOST.
 */
must_use int sandbox_container_start(
	struct sandbox_container *container, pid_t *ret_pid, struct err *err);

/*
 * Start another program in a container that runs, with its user, environment, working directory
 * and limits. What it writes goes to out_fd. Waits for the runtime, so it is for a process
 * that has nothing else to do; that process needs PR_SET_CHILD_SUBREAPER unless it is PID 1.
 * *ret_pid is a child of it, as of sandbox_container_start(), and so are the errors. One at a
 * time in each container.
 */
must_use int sandbox_container_exec(const struct sandbox_container *container,
	const struct argv *args, int out_fd, pid_t *ret_pid, struct err *err);

/*
 * After its end, or a failed start: remove its bundle and those mount points made for it that
 * are still what was made, and give their parents back the times they had.
 */
must_use int sandbox_container_clean(struct sandbox_container *container, struct err *err);

/* ---- What the host gives to containers ---- */

/*
 * The host's certificate authorities and proxy settings: environment variables
 * (SSL_CERT_FILE, REQUESTS_CA_BUNDLE, PIP_CERT, NODE_EXTRA_CA_CERTS, …; HTTP_PROXY …) that are
 * set where `env` does not have them yet, and the mount of the bundle (ret_mount; source NULL
 * when there is none). Nothing of it is written to a layer.
 */
struct sandbox_host_trust {
	const char *ca_bundle; /* path on the host, NULL for none */
	const char *http_proxy, *https_proxy, *no_proxy;
};

void sandbox_trust_env(const struct sandbox_host_trust *trust, struct argv *env);
/* Copy the bundle into scratch (readable by every user of the container) for the mount. */
must_use int sandbox_trust_mount(
	const struct sandbox_host_trust *trust, struct sandbox_mount *ret, struct err *err);

/* ---- Doctor ---- */

struct sandbox_requirement {
	const char *name;   /* "user namespaces" */
	bool found, needed; /* needed: without it nothing runs; else something is limited */
	char detail[256];   /* version, path, or what is wrong */
	char remedy[256];   /* the command that repairs it; "" when found */
};

/* Fills up to `max` entries, returns their number. */
size_t sandbox_check(const char *runtime, struct sandbox_requirement *ret, size_t max);

#endif
