/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "build/caches.h"
#include "os/command.h"
#include "os/dir.h"

/* What is kept of a step's output for the error; what is forwarded at once. */
enum { TAIL_MAX = 16 * 1024, TAIL_LIMIT = 2 * TAIL_MAX, CHUNK = 16 * 1024 };

/* ---- output ---- */

struct output {
	struct build *b;
	uint32_t step;
	struct mask *mask;
	struct buf tail;
};

static void show(struct output *o, struct buf *text)
{
	const struct build_event event = {
		.kind = BUILD_STEP_LOG, .step = o->step, .text = buf_str(text)};

	if (text->len == 0)
		return;
	build_emit(o->b, &event);
	buf_add_str(&o->tail, buf_str(text));
	if (o->tail.len > TAIL_LIMIT)
		buf_cut_front(&o->tail, o->tail.len - TAIL_MAX);
}

static int forward(struct output *o, int pipe_fd, struct err *err)
{
	char bytes[CHUNK];

	for (;;) {
		cleanup(buf_done) struct buf text = {0};
		ssize_t n = read(pipe_fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read the step's output");
		if (n == 0)
			mask_flush(o->mask, &text);
		else
			mask_feed(o->mask, str_from(bytes, (size_t)n), &text);
		show(o, &text);
		if (n == 0)
			return 0;
	}
}

/* ---- the container ---- */

void step_run_prepare(struct build *b)
{
	cleanup(argv_done) struct argv servers = {0};

	for (size_t i = 0; i < b->settings->dns.count; i++)
		argv_add(&servers, b->settings->dns.items[i]);
	/* The step that needs it has the error. */
	ignored(sandbox_network_start(b->settings->network == SETTINGS_NETWORK_NONE
					      ? SANDBOX_NETWORK_NONE
					      : SANDBOX_NETWORK_EGRESS,
		&servers, &b->network_error));
	b->has_network = true;
}

static int need_network(struct build *b, struct err *err)
{
	if (!b->has_network)
		step_run_prepare(b);
	if (b->network_error.kind != ERR_NONE) {
		*err = b->network_error;
		return -(int)err->kind;
	}
	return 0;
}

static enum sandbox_reach reach_of(const struct plan_run *run)
{
	return run->network == PLAN_NETWORK_NONE   ? SANDBOX_REACH_NONE
	       : run->network == PLAN_NETWORK_HOST ? SANDBOX_REACH_HOST
						   : SANDBOX_REACH_BOX;
}

static struct sandbox_host_trust trust_of(const struct build *b)
{
	return (struct sandbox_host_trust){.ca_bundle = b->settings->ca_bundle,
		.http_proxy = b->settings->http_proxy,
		.https_proxy = b->settings->https_proxy,
		.no_proxy = b->settings->no_proxy};
}

static void add_proxy_args(struct argv *env, const struct oci_list *proxy_args)
{
	for (size_t i = 0; i < proxy_args->count; i++) {
		struct str value = str_of(proxy_args->items[i]), name = str_cut(&value, '=');
		cleanup_free char *terminated = str_dup(name);
		if (!argv_env(env, terminated))
			argv_set_env(env, name, value);
	}
}

static void fill_env(
	struct build *b, const struct plan_run *run, const struct tree_user *user, struct argv *env)
{
	const struct sandbox_host_trust trust = trust_of(b);

	for (size_t i = 0; i < run->env.count; i++)
		argv_add(env, run->env.items[i]);
	if (!argv_env(env, "HOME"))
		argv_set_env(env, STR("HOME"), str_of(user->home));
	add_proxy_args(env, &b->plan.proxy_args);
	sandbox_trust_env(&trust, env);
}

/* A working directory that an earlier step removed is made again (as BuildKit does). */
static int make_cwd(int root, const char *path, const struct tree_user *user, struct err *err)
{
	const struct dir_owner owner = {user->uid, user->gid};
	int fd = dir_make_all(root, path, 0755, &owner, err);

	if (fd < 0)
		return err_wrap(err, "working directory");
	close(fd);
	return 0;
}

static int run_container(struct sandbox_container *c, int pipe_fds[2], struct output *o,
	struct step_end *end, struct err *err)
{
	pid_t pid;

	c->stdout_fd = c->stderr_fd = pipe_fds[1];
	int r = sandbox_container_start(c, &pid, err);
	close(pipe_fds[1]);
	pipe_fds[1] = -1;
	if (r < 0)
		return r;
	r = forward(o, pipe_fds[0], err);
	if (r < 0)
		(void)kill(pid, SIGKILL); /* nobody reads what it says any more */
	struct err unused = {0};
	int waited = command_wait(pid, &end->status, r < 0 ? &unused : err);
	return r < 0 ? r : waited;
}

static bool is_disk_full(int root)
{
	struct statvfs fs;

	return fstatvfs(root, &fs) == 0 && (fs.f_bavail < 256 || (fs.f_files && fs.f_favail < 16));
}

static int run_and_judge(struct build *b, const struct build_step *step,
	struct sandbox_container *c, int root, struct err *err)
{
	cleanup(mask_free) struct mask *mask = mask_new();
	struct output o = {.b = b, .step = step->number, .mask = mask};
	struct step_end end = {0};
	int pipe_fds[2];

	for (size_t i = 0; i < b->options->secret_count; i++)
		mask_add(mask, buf_str(&b->secrets[i].value));
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	struct cgroup_usage before = {0};
	if (b->cgroup)
		cgroup_usage(b->cgroup, &before);
	int r = run_container(c, pipe_fds, &o, &end, err);
	close(pipe_fds[0]);
	if (pipe_fds[1] >= 0)
		close(pipe_fds[1]);
	if (r == 0 && end.status != 0) {
		if (b->cgroup)
			cgroup_usage(b->cgroup, &end.usage);
		end.usage.oom_kills -= before.oom_kills;
		end.usage.pids_denied -= before.pids_denied;
		end.tail = buf_str(&o.tail);
		end.disk_full = is_disk_full(root);
		r = build_failure(b, step, &end, err);
	}
	buf_done(&o.tail);
	return r;
}

static int add_trust_mount(struct build *b, const struct sandbox_mount *mounts, size_t count,
	struct sandbox_container *c, struct err *err)
{
	const struct sandbox_host_trust trust = trust_of(b);
	struct sandbox_mount *all = arena_array(&b->arena, count + 1, sizeof(*all));

	if (count)
		memcpy(all, mounts, count * sizeof(*all));
	int r = sandbox_trust_mount(&trust, &all[count], err);
	c->mounts = all;
	c->mount_count = count + (all[count].source != NULL);
	return r;
}

static int run_as(struct build *b, const struct build_step *step, struct sandbox_container *c,
	int root, struct err *err)
{
	cleanup(step_mounts_free) struct step_mounts *mounts = NULL;
	const struct sandbox_mount *list;
	size_t count;

	int r = step_mounts_make(b, step, &mounts, &c->env, err);
	if (r < 0)
		return r;
	step_mounts_list(mounts, &list, &count);
	r = add_trust_mount(b, list, count, c, err);
	if (r == 0)
		r = run_and_judge(b, step, c, root, err);
	struct err unused = {0};
	int cleaned = sandbox_container_clean(c, r < 0 ? &unused : err);
	return r < 0 ? r : cleaned;
}

int step_run(struct build *b, const struct build_step *step, const char *rootfs, int root,
	struct err *err)
{
	const struct plan_op *op = step->op;
	cleanup(tree_user_done) struct tree_user user = {0};
	const struct sandbox_memory memory = store_memory(b->layers);
	struct sandbox_container c = {.id = "step",
		.rootfs = rootfs,
		.hostname = *op->run->hostname ? op->run->hostname : "buildkitsandbox",
		.rights = op->run->insecure ? SANDBOX_INSECURE : SANDBOX_BUILD,
		.cwd = op->workdir,
		.reach = reach_of(op->run),
		.cgroup = b->cgroup,
		.runtime = b->settings->runtime,
		.memory = &memory};

	int r = tree_user_resolve(root, str_of(op->user), &user, err);
	if (r == 0)
		r = layer_rootfs_prepare(root, NULL, err);
	if (r == 0)
		r = make_cwd(root, op->workdir, &user, err);
	if (r == 0 && c.reach != SANDBOX_REACH_HOST)
		r = need_network(b, err);
	if (r < 0)
		return r;
	c.uid = user.uid;
	c.gid = user.gid;
	c.groups = user.groups;
	c.group_count = user.group_count;
	for (size_t i = 0; i < op->run->argv.count; i++)
		argv_add(&c.args, op->run->argv.items[i]);
	fill_env(b, op->run, &user, &c.env);
	step_caches_env(step->caches, &c.env);
	r = run_as(b, step, &c, root, err);
	argv_done(&c.args);
	argv_done(&c.env);
	return r;
}
