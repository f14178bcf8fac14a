/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands.h"
#include "os/command.h"
#include "store/store.h"

/* A fault in it is the business of the next `spaceport gc`, which tells it. */
static void collect_quietly(const struct settings *settings, int cancel_fd)
{
	cleanup(store_free) struct store *store = NULL;
	const struct store_gc gc = {.is_automatic = true, .cancel_fd = cancel_fd};
	struct store_collected collected;
	struct err unused = {0};

	if (store_open(settings, &store, &unused) == 0 && store_collect_is_due(store))
		ignored(store_collect(store, &gc, &collected, &unused));
}

void collect_after(const struct settings *settings, int cancel_fd)
{
	/* The result is told: whoever reads it to its end need not wait for this. */
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (nowhere >= 0) {
		(void)dup2(nowhere, STDOUT_FILENO);
		close(nowhere);
	}
	collect_quietly(settings, cancel_fd);
}

pid_t collect_beside(const struct settings *settings)
{
	enum { SECONDS = 5 }; /* the app comes up first */
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	(void)sleep(SECONDS); /* woken early, it begins early */
	collect_quietly(settings, -1);
	_exit(0);
}

void collect_end(pid_t pid)
{
	struct err unused = {0};
	int status;

	if (pid <= 0)
		return;
	(void)kill(pid, SIGKILL); /* it may have ended; what it left, the next one does */
	ignored(command_wait(pid, &status, &unused));
}
