/* SPDX-License-Identifier: Apache-2.0 */
#include "run/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/dir.h"
#include "run/health.h"
#include "sandbox/sandbox.h"
#include "tree/tree.h"

enum { SPACE_UID = 1000, SPACE_GID = 1000 };

#define ROOTFS	     "rootfs"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Everything the box holds; released by its end if not before. */
struct box {
	const struct box_job *job;
	struct arena arena;
	struct run_image image;
	struct layer_store *layers;
	struct image_store *images;
	struct layer_draft *draft;
	int scratch;
	char *rootfs;
	struct sandbox_container container;
	struct sandbox_memory memory;
	struct sandbox_mount trust;
	int pipes[2][2]; /* stdout, stderr */
	struct box_container running;
};

void box_tell(const struct box_job *job, const struct message *message)
{
	cleanup(buf_done) struct buf packet = {0};

	message_print(message, &packet);
	while (send(job->channel, packet.data, packet.len, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* ---- The tree ---- */

static int mount_rootfs(struct box *b, struct err *err)
{
	const struct layer_chain *chain = &b->image.chain;
	const struct layer_key *top = chain->count ? &chain->keys[chain->count - 1] : NULL;

	b->scratch = open(sandbox_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->scratch < 0 || mkdirat(b->scratch, ROOTFS, 0755) < 0)
		return err_sys(err, "make a mount point");
	int r = layer_begin(b->layers, top, &b->draft, err);
	if (r < 0)
		return r;
	const struct layer_upper upper = layer_draft_upper(b->draft);
	r = layer_mount(b->layers, *chain, &upper, b->scratch, ROOTFS, err);
	if (r < 0)
		return r;
	b->rootfs = xprintf("%s/" ROOTFS, sandbox_scratch());
	b->running.root = open(b->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->running.root < 0)
		return err_sys(err, "open %s", b->rootfs);
	return layer_rootfs_prepare(b->running.root, NULL, err);
}

/* An image without a /tmp (FROM scratch) gets one: a Space may always write there. */
static int make_tmp(int root, struct err *err)
{
	cleanup_close int there = dir_open_in_root(root, "/tmp", O_PATH | O_DIRECTORY, 0, err);

	if (there >= 0)
		return 0;
	if (err->kind != ERR_MISSING)
		return 0; /* whatever stands there is the image's business */
	err_clear(err);
	cleanup_close int made = dir_make_all(root, "/tmp", 0755, NULL, err);
	if (made < 0)
		return made;
	/* Not by its mode at birth, which the umask would cut. */
	cleanup_close int fd = dir_reopen(made, O_RDONLY | O_DIRECTORY, err);
	if (fd < 0)
		return fd;
	return fchmod(fd, 01777) < 0 ? err_sys(err, "make /tmp") : 0;
}

/* A WORKDIR that no layer has is made, root's, as docker does. */
static int make_cwd(struct box *b, struct err *err)
{
	const char *wanted = b->image.config.working_dir;
	const struct dir_owner root = {0, 0};

	b->running.cwd = wanted && *wanted ? wanted : "/";
	int fd = dir_make_all(b->running.root, b->running.cwd, 0755, &root, err);
	if (fd < 0)
		return err_wrap(err, "working directory");
	close(fd);
	return 0;
}

/* ---- The process ---- */

static void set_default_env(struct argv *env, const char *name, const char *value)
{
	if (!argv_env(env, name))
		argv_set_env(env, str_of(name), str_of(value));
}

static void fill_env(struct box *b, const struct sandbox_host_trust *trust)
{
	struct argv *env = &b->container.env;
	const struct oci_list *image = &b->image.config.env;
	const struct argv *given = &b->job->options->env;
	cleanup(tree_user_done) struct tree_user user = {0};
	struct err unused = {0};

	for (size_t i = 0; i < image->count; i++)
		argv_add(env, image->items[i]);
	for (size_t i = 0; i < given->count; i++) {
		struct str value = str_of(given->items[i]), name = str_cut(&value, '=');
		argv_set_env(env, name, value);
	}
	/* An image whose passwd cannot be read has no home for anybody. */
	bool known = tree_user_resolve(b->running.root, STR("1000"), &user, &unused) == 0;
	set_default_env(env, "HOME", known ? user.home : "/");
	set_default_env(env, "PATH", DEFAULT_PATH);
	set_default_env(env, "HOSTNAME", b->job->id);
	sandbox_trust_env(trust, env);
}

static void fill_args(struct box *b)
{
	const struct oci_list *parts[] = {&b->image.config.entrypoint, &b->image.config.cmd};

	for (size_t i = 0; i < array_size(parts); i++)
		for (size_t k = 0; k < parts[i]->count; k++)
			argv_add(&b->container.args, parts[i]->items[k]);
}

static int make_pipes(struct box *b, struct err *err)
{
	for (size_t i = 0; i < 2; i++) {
		if (pipe2(b->pipes[i], O_CLOEXEC) < 0)
			return err_sys(err, "make pipe");
		/* Ours alone: the other end's flags are the app's. */
		if (fcntl(b->pipes[i][0], F_SETFL, O_NONBLOCK) < 0)
			return err_sys(err, "make pipe");
	}
	b->container.stdout_fd = b->pipes[0][1];
	b->container.stderr_fd = b->pipes[1][1];
	b->running.out = b->pipes[0][0];
	b->running.err = b->pipes[1][0];
	return 0;
}

static int start_network(const struct settings *settings, struct err *err)
{
	cleanup(argv_done) struct argv servers = {0};

	for (size_t i = 0; i < settings->dns.count; i++)
		argv_add(&servers, settings->dns.items[i]);
	int r = sandbox_network_start(settings->network == SETTINGS_NETWORK_NONE
					      ? SANDBOX_NETWORK_NONE
					      : SANDBOX_NETWORK_EGRESS,
		&servers, err);
	return r < 0 ? r : sandbox_network_enter(err);
}

/* ---- Before the image is known ---- */

static int prepare_container(struct box *b, struct err *err)
{
	b->memory = store_memory(b->layers);
	b->container = (struct sandbox_container){.id = b->job->id,
		.hostname = b->job->id,
		.rights = SANDBOX_SPACE,
		.uid = SPACE_UID,
		.gid = SPACE_GID,
		.cgroup = b->job->cgroup,
		.runtime = store_settings(b->job->store)->runtime,
		.memory = &b->memory};
	int r = make_pipes(b, err);
	return r < 0 ? r : sandbox_container_prepare(&b->container, err);
}

static int prepare(struct box *b, struct err *err)
{
	int r = store_open_in_box(b->job->store, &b->layers, &b->images, err);

	if (r == 0)
		r = start_network(store_settings(b->job->store), err);
	return r < 0 ? r : prepare_container(b, err);
}

/* ERR_CANCELLED when there will be none. */
static int wait_for_image(struct box *b, struct err *err)
{
	char order[1 + DIGEST_TEXT_SIZE];
	ssize_t n;

	do
		n = recv(b->job->channel, order, sizeof(order) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 1 || order[0] != ORDER_IMAGE)
		return err_set(err, ERR_CANCELLED, "nothing is to be run");
	order[n] = '\0';
	b->running.image = &b->image;
	b->running.container = &b->container;
	return run_image_find(b->layers, b->images, &b->arena, order + 1, &b->image, err);
}

/* ---- With the image ---- */

static int start_container(struct box *b, struct err *err)
{
	const struct settings *settings = store_settings(b->job->store);
	const struct sandbox_host_trust trust = {.ca_bundle = settings->ca_bundle,
		.http_proxy = settings->http_proxy,
		.https_proxy = settings->https_proxy,
		.no_proxy = settings->no_proxy};
	struct sandbox_container *c = &b->container;

	c->rootfs = b->rootfs;
	c->cwd = b->running.cwd;
	fill_args(b);
	fill_env(b, &trust);
	int r = sandbox_trust_mount(&trust, &b->trust, err);
	c->mounts = &b->trust;
	c->mount_count = b->trust.source ? 1 : 0;
	if (r == 0)
		r = sandbox_container_start(c, &b->running.pid, err);
	for (size_t i = 0; i < 2; i++)
		close(b->pipes[i][1]);
	return r;
}

static int start(struct box *b, struct err *err)
{
	int r = prepare(b, err);

	if (r == 0)
		r = wait_for_image(b, err);
	if (r == 0)
		r = mount_rootfs(b, err);
	if (r == 0)
		r = make_tmp(b->running.root, err);
	if (r == 0)
		r = make_cwd(b, err);
	return r < 0 ? r : start_container(b, err);
}

/* The disk of the instance. What this leaves behind, the next writer of the store removes. */
static void clean(struct box *b)
{
	struct err unused = {0};

	if (b->running.root >= 0)
		close(b->running.root);
	if (b->container.id)
		ignored(sandbox_container_clean(&b->container, &unused));
	if (b->rootfs)
		ignored(layer_unmount(b->scratch, ROOTFS, &unused));
	layer_discard(b->draft);
	if (b->layers)
		ignored(layer_tidy(b->layers, &unused));
}

static void tell_started(const struct box *b)
{
	struct health health;

	health_begin(&health, &b->image.config.healthcheck);
	box_tell(b->job, &(struct message){.kind = MESSAGE_STARTED, .status = (int)health.status});
}

int box_main(void *arg)
{
	struct box b = {.job = arg, .scratch = -1, .running = {.root = -1}};
	cleanup(arena_done) struct arena a = {0};
	struct message end = {.kind = MESSAGE_ENDED};
	struct err err = {0};

	close(b.job->outside);
	int r = start(&b, &err);
	if (r == 0) {
		tell_started(&b);
		r = serve(b.job, &b.running, &a, &end, &err);
	}
	if (r < 0) {
		if (b.running.pid > 0)
			(void)kill(b.running.pid, SIGKILL); /* it has no one to tell any more */
		end.error = err.kind;
		end.text = str_of(err.text);
		end.hint = str_of(err.hint);
	}
	box_tell(b.job, &end);
	clean(&b);
	arena_done(&b.arena);
	return 0;
}
