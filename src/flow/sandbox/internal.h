/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SANDBOX_INTERNAL_H
#define SANDBOX_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "os/command.h"
#include "sandbox/sandbox.h"

enum { SANDBOX_ID_COUNT = 65536 };

/* Files in the scratch directory. */
#define SCRATCH_NETNS	"netns"
#define SCRATCH_RESOLV	"resolv.conf"
#define SCRATCH_HOSTS	"hosts"
#define SCRATCH_HOST	"host-" /* in front of the host's own */
#define SCRATCH_CA	"ca-bundle.crt"
#define SCRATCH_RUNTIME "runtime" /* the state of the runtime */

/*
 * Docker's default profile, with conditions that a runtime does not know (seccomp.c).
 */
#define SECCOMP_PROFILE "/usr/share/containers/seccomp.json"

/*
 * clone(2) into new namespaces (CLONE_NEW…), with a pidfd that stays open at exec. Returns as
 * fork(2).
 */
pid_t box_clone(uint64_t namespaces, int *ret_pidfd);
void scratch_set(const char *path);
/* mount(2) of a file system that has no source. */
must_use int mount_at(const char *type, const char *target, unsigned long flags, const char *data,
	struct err *err);

/* A line of /etc/subuid, "name:base:count", for this user (by name or number)? */
bool subid_line(
	struct str line, struct str user, struct str uid, uint32_t *ret_base, uint32_t *ret_count);

/* The device node that real root makes for pasta where /dev/net/tun is closed to others. */
must_use int tun_prepare(const struct sandbox_ids *ids, const char *scratch, struct err *err);
must_use int tun_use(const char *scratch, struct err *err);

/* The name servers and search list of resolv.conf(5): pure, from text to text. */
void resolv_rewrite(
	struct str host, const struct argv *name_servers, struct buf *ret, bool *ret_loopback_only);

/* resolv.conf and hosts of the box's network; the number of mounts, 0 without a network. */
enum { NETWORK_MOUNTS = 2 };
/* Copies of the host's, for a container in its network: before network_mounts(). */
must_use int network_copy_files(struct err *err);
size_t network_mounts(enum sandbox_reach reach, struct sandbox_mount ret[static NETWORK_MOUNTS]);

/* Wait until the network of the box is up, if there is one. */
must_use int network_wait(struct err *err);

/*
 * config.json of a container. `seccomp` is a linux.seccomp object, or empty; `filter` is what
 * filter_recall() gave, or empty.
 */
void spec_print(
	const struct sandbox_container *c, struct str seccomp, struct str filter, struct buf *ret);

/* process.json of another process in the container, for `exec --process`. */
void spec_print_process(
	const struct sandbox_container *c, const struct argv *args, struct buf *ret);

/* Its runtime: a name or a path. */
const char *sandbox_runtime(const struct sandbox_container *c);

/*
 * The runtime's command line up to what only this verb takes. Whatever it starts is told by
 * files BASE.log and BASE.pid, and is in the container's control group.
 */
void runtime_command(
	const struct sandbox_container *c, const char *verb, const char *base, struct command *ret);
/*
 * The runtime has been started: wait for its end. The process of BASE.pid is a child of the
 * caller then, or the log says why there is none.
 */
must_use int runtime_find_process(
	pid_t runtime, const char *base, const char *program, pid_t *ret_pid, struct err *err);

/*
 * The compiled form of a container's seccomp profile, as text for the runtime, if an earlier
 * container of the same kind has left it in c->memory.
 */
bool filter_recall(const struct sandbox_container *c, struct buf *ret);
/* After a start without it: keep what the runtime has compiled, if it shows it. */
void filter_keep(const struct sandbox_container *c);

/*
 * Docker's default seccomp profile in the form of containers-common, as the linux.seccomp
 * object of the OCI runtime specification, for a container with the given capabilities.
 */
must_use int seccomp_translate(struct str profile, const char *const *caps, size_t cap_count,
	const char *arch, struct buf *ret, struct err *err);
/* Read and translate the host's profile; ret stays empty when there is none. */
must_use int seccomp_load(enum sandbox_rights rights, struct buf *ret, struct err *err);

extern const char *const build_caps[];
extern const size_t build_cap_count;

#endif
