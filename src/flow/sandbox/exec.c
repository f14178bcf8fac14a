/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "os/command.h"
#include "os/file.h"
#include "sandbox/internal.h"

/* A second process in a container: the runtime joins its namespaces and starts it there. */

static int write_process(const struct sandbox_container *c, const struct argv *args,
	const char *path, struct err *err)
{
	cleanup(buf_done) struct buf spec = {0};

	spec_print_process(c, args, &spec);
	/* As in config.json there are secrets in it. */
	return file_replace(AT_FDCWD, path, buf_str(&spec), 0600, err);
}

static int start_runtime(const struct sandbox_container *c, const char *base, int out_fd,
	pid_t *ret_runtime, struct err *err)
{
	cleanup(command_done) struct command command = COMMAND_INIT;

	runtime_command(c, "exec", base, &command);
	argv_printf(&command.argv, "--process=%s.json", base);
	argv_add(&command.argv, c->id);
	command.stdout_fd = command.stderr_fd = out_fd;
	return command_start(&command, ret_runtime, err);
}

int sandbox_container_exec(const struct sandbox_container *c, const struct argv *args, int out_fd,
	pid_t *ret_pid, struct err *err)
{
	cleanup_free char *base = xprintf("%s/%s-exec", sandbox_scratch(), c->id);
	cleanup_free char *spec = xprintf("%s.json", base);
	cleanup_free char *log = xprintf("%s.log", base);
	pid_t runtime;

	(void)unlink(log); /* of the one before, if there was one */
	int r = write_process(c, args, spec, err);
	if (r == 0)
		r = start_runtime(c, base, out_fd, &runtime, err);
	if (r == 0)
		r = runtime_find_process(
			runtime, base, args->count ? args->items[0] : "", ret_pid, err);
	(void)unlink(spec); /* at the latest it goes with the box */
	return r;
}
