/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "journal/journal.h"
#include "os/dir.h"
#include "os/file.h"
#include "run/internal.h"

/* ---- Writing ---- */

enum { BATCH = 64 * 1024 };

static void print_time(int64_t ns, struct buf *ret)
{
	const time_t seconds = ns / 1000000000;
	struct tm utc;
	char text[32];

	if (!gmtime_r(&seconds, &utc))
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	buf_printf(ret, "%s.%03dZ ", text, (int)(ns % 1000000000 / 1000000));
}

static void print_line(const struct journal_line *line, bool timestamps, struct buf *ret)
{
	if (timestamps && !line->continues)
		print_time(line->time, ret);
	buf_add_str(ret, line->text);
	if (line->ends)
		buf_add_char(ret, '\n');
}

static int flush(struct buf *text, int fd, struct err *err)
{
	int r = file_write_fd(fd, buf_str(text), err);

	buf_clear(text);
	return r;
}

/* Everything there is, unfinished lines too. */
static int write_all(
	struct journal_reader *reader, const struct run_log_options *options, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct journal_line line;
	int r;

	while ((r = journal_reader_next(reader, &line, err)) == 0 ||
		(r == JOURNAL_E_END && journal_reader_rest(reader, &line))) {
		print_line(&line, options->timestamps, &text);
		if (text.len > BATCH && (r = flush(&text, options->fd, err)) < 0)
			return r;
	}
	return r < 0 ? r : flush(&text, options->fd, err);
}

/* ---- Following ---- */

static int follow(struct journal_reader *reader, int pidfd, const struct run_log_options *options,
	struct err *err)
{
	struct pollfd p[] = {{.events = POLLIN}, {.fd = pidfd, .events = POLLIN},
		{.fd = options->cancel_fd, .events = POLLIN}};

	int r = journal_reader_watch(reader, &p[0].fd, err);
	while (r == 0) {
		r = write_all(reader, options, err);
		if (r < 0 || p[1].revents || p[2].revents)
			return r;
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return err_sys(err, "poll");
	}
	return r;
}

int run_instance_log(const struct settings *settings, const struct run_instance *instance,
	const struct run_log_options *options, struct err *err)
{
	cleanup(journal_reader_free) struct journal_reader *reader = NULL;
	cleanup_free char *path = xprintf("run/%s/log", instance->id);
	cleanup_close int data = settings_open_data(settings, err);

	if (data < 0)
		return data;
	cleanup_close int dir = dir_open_beneath(data, path, O_RDONLY | O_DIRECTORY, 0, err);
	if (dir < 0)
		return err_wrap(err, "log of instance %s", instance->id);
	int r = journal_reader_open(dir, INSTANCE_LOG, options->tail, &reader, err);
	if (r < 0)
		return r;
	/* None when it has ended, whatever the state on disk says. */
	cleanup_close int pidfd = instance->pid > 0 ? pidfd_open(instance->pid, 0) : -1;
	return options->follow && pidfd >= 0 ? follow(reader, pidfd, options, err)
					     : write_all(reader, options, err);
}
