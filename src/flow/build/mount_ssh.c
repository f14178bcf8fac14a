/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "build/mounts.h"

/*
 * The socket of RUN --mount=type=ssh is made here, in scratch, and given to the server of
 * agents outside to accept from: the step connects to a socket of the box's own.
 */

static int find_agent(const struct build *b, const char *id)
{
	for (size_t i = 0; i < b->options->agent_count; i++)
		if (strcmp(b->options->agents[i].id, id) == 0)
			return (int)i;
	return -1;
}

/* Through the directory's descriptor: the whole path may be longer than an address can be. */
static int listen_at(const char *path, const struct plan_mount *plan, struct err *err)
{
	enum { BACKLOG = 16 };
	cleanup_close int dir = open(sandbox_scratch(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *name = strrchr(path, '/') + 1;

	if (dir < 0 || fd < 0)
		return err_sys(err, "socket for ssh");
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir, name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, "socket for ssh");
	if (fchownat(dir, name, plan->uid, plan->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(dir, name, plan->mode & 07777, 0) < 0)
		return err_sys(err, "owner of the socket for ssh");
	return take_fd(&fd);
}

static int hand_over(
	int socket, uint32_t index, const int fds[static AGENT_REQUEST_FDS], struct err *err)
{
	enum { SIZE = AGENT_REQUEST_FDS * sizeof(int) };
	union {
		char bytes[CMSG_SPACE(SIZE)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {&index, sizeof(index)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(SIZE);
	memcpy(CMSG_DATA(c), fds, SIZE);
	while (sendmsg(socket, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return err_sys(err, "ask for the ssh-agent");
	return 0;
}

static int serve(
	struct build *b, struct held *h, const struct plan_mount *plan, int index, struct err *err)
{
	cleanup_close int listener = listen_at(h->path, plan, err);
	int line[2];

	if (listener < 0)
		return listener;
	if (pipe2(line, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	cleanup_close int theirs = line[0];
	h->lifeline = line[1];
	const int fds[AGENT_REQUEST_FDS] = {listener, theirs};
	return hand_over(b->agent_socket, (uint32_t)index, fds, err);
}

int mount_ssh(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err)
{
	int index = find_agent(b, plan->id);
	bool is_default = strcmp(plan->id, "default") == 0;

	if (index < 0 && plan->required) {
		(void)err_set(
			err, ERR_INPUT, "the ssh-agent %s is required and was not given", plan->id);
		return err_hint(
			err, "spaceport build --ssh %s%s", plan->id, is_default ? "" : "=SOCKET");
	}
	/* As in BuildKit it is that of the first mount, also when nobody is there. */
	if (!argv_env(m->env, "SSH_AUTH_SOCK"))
		argv_set_env(m->env, STR("SSH_AUTH_SOCK"), str_of(plan->target));
	if (index < 0)
		return 0;
	struct held *h = mounts_hold(b, m, "ssh");
	int r = serve(b, h, plan, index, err);
	if (r < 0)
		return r;
	mounts_add(m, plan, h->path, true);
	return 0;
}
