/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* What a signal handler can reach is global. */
static volatile sig_atomic_t counted;
static volatile sig_atomic_t allowed;
static pid_t owner;
static int pipe_fds[2] = {-1, -1};

enum { EXIT_INTERRUPTED = 130 };

static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	if (getpid() != owner)
		return;
	counted++;
	if (counted > allowed)
		_exit(EXIT_INTERRUPTED);
	/* A full pipe is readable already. */
	ssize_t n = write(pipe_fds[1], "", 1);
	(void)n;
	errno = saved;
}

int interrupt_watch(int patience, int *ret_fd, struct err *err)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (pipe_fds[0] < 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, "pipe");
	owner = getpid();
	allowed = patience;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < array_size(signals); i++) {
		struct sigaction old;
		/* What nohup(1) and shells have set to be ignored stays so. */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
			continue;
		if (sigaction(signals[i], &action, NULL) < 0)
			return err_sys(err, "sigaction");
	}
	*ret_fd = pipe_fds[0];
	return 0;
}

int interrupt_count(void)
{
	return counted;
}
