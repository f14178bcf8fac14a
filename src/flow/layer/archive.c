/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archives as files, perhaps compressed: two confined children, of which one decompresses and
 * has no files at all, and the other reads the tar that comes out of the pipe between them.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "decompress/decompress.h"
#include "layer/unpack.h"
#include "os/command.h"

enum { BLOCK = 512, PIECE = 256 << 10, PROBE_SECONDS = 30, RATIO = 200 };

#define PROBE_BYTES (UINT64_C(16) << 20)

/* ---- A confined child that does one thing and reports how it ended ---- */

struct job {
	struct confined confined;
	int (*work)(const struct job *job, struct err *err);
	enum decompress_kind kind;
	uint64_t max_bytes;
};

struct child {
	pid_t pid; /* 0: gone and waited for */
	int report;
};

struct outcome {
	int result;
	struct err err;
};

noreturn_fn static void run_child(const struct job *job)
{
	struct outcome outcome = {0};

	outcome.result = confine(&job->confined, &outcome.err);
	if (outcome.result < 0)
		(void)err_wrap(&outcome.err, "confine");
	else
		outcome.result = job->work(job, &outcome.err);
	_exit(write(job->confined.report_fd, &outcome, sizeof(outcome)) < 0);
}

static int start_child(struct job *job, struct child *ret, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	job->confined.report_fd = fds[1];
	job->confined.parent = getpid();
	pid_t pid = fork();
	if (pid == 0)
		run_child(job);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_sys(err, "fork");
	}
	*ret = (struct child){pid, fds[0]};
	return 0;
}

static int finish_child(struct child *c, const char *what, struct err *err)
{
	struct outcome outcome = {0};
	char text[64];
	int status = 0;
	ssize_t n;

	do
		n = read(c->report, &outcome, sizeof(outcome));
	while (n < 0 && errno == EINTR);
	int r = command_wait(c->pid, &status, err);
	c->pid = 0;
	if (r < 0)
		return r;
	if (n != (ssize_t)sizeof(outcome))
		return err_set(err, ERR_LIMIT, "%s %s", what, command_status_text(text, status));
	if (outcome.result < 0)
		*err = outcome.err;
	return outcome.result;
}

static void child_done(struct child *c)
{
	struct err unused = {0};
	int status;

	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL); /* it is ours and not yet waited for */
		ignored(command_wait(c->pid, &status, &unused));
	}
	if (c->report >= 0)
		close(c->report);
}
DEFINE_CLEANUP_VALUE(struct child, child_done);

/* ---- In the child that decompresses ---- */

struct output {
	int fd;
	bool is_closed; /* the reader has had enough */
};

static int write_piece(void *arg, struct str piece, struct err *err)
{
	struct output *o = arg;

	while (piece.n) {
		ssize_t n = write(o->fd, piece.p, piece.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			o->is_closed = errno == EPIPE;
			return err_sys(err, "hand on the archive");
		}
		piece = str_from_index(piece, (size_t)n);
	}
	return 0;
}

static int feed_all(int fd, struct decompress *d, struct err *err)
{
	cleanup_free char *piece = xmalloc(PIECE);
	struct digest unused;

	for (;;) {
		ssize_t n = read(fd, piece, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "read the archive");
		int r = n ? decompress_feed(d, str_from(piece, (size_t)n), err)
			  : decompress_finish(d, &unused, err);
		if (r < 0 || n == 0)
			return r;
	}
}

static int decompress_file(const struct job *job, struct err *err)
{
	struct output output = {.fd = job->confined.out_fd};
	const struct decompress_options options = {.kind = job->kind,
		.max_bytes = job->max_bytes,
		.ratio = RATIO,
		.no_digest = true,
		.out = write_piece,
		.arg = &output};
	cleanup(decompress_free) struct decompress *d = decompress_new(&options);

	(void)signal(SIGPIPE, SIG_IGN);
	int r = feed_all(job->confined.tar_fd, d, err);
	return output.is_closed ? 0 : r;
}

/* ---- In the child that looks at the first header ---- */

enum { IS_ARCHIVE = 1 };

static int read_header(const struct job *job, struct err *err)
{
	cleanup(tar_close) struct tar *tar = NULL;
	struct tar_entry entry;
	uint64_t count = 0;
	struct err why = {0};

	(void)err;
	/* What cannot be read is no archive, whatever the reason. */
	int r = tar_open(job->confined.tar_fd, job->max_bytes, &count, NULL, &tar, &why);
	if (r == 0)
		r = tar_next(tar, &entry, &why);
	return r == 0 ? IS_ARCHIVE : 0;
}

/* ---- Streams of files ---- */

/* A file's tar: itself, or what a child makes of it. */
struct stream {
	struct child child;
	int fd;
	bool is_child;
};

static void stream_done(struct stream *s)
{
	if (s->is_child && s->fd >= 0)
		close(s->fd);
	child_done(&s->child);
}
DEFINE_CLEANUP_VALUE(struct stream, stream_done);

static int start_stream(int fd, enum decompress_kind kind, const struct layer_limits *limits,
	struct stream *ret, struct err *err)
{
	int fds[2];

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind the archive");
	ret->fd = fd;
	if (kind == DECOMPRESS_PLAIN)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	ret->fd = fds[0];
	ret->is_child = true;
	struct job job = {
		.confined = {.root = -1,
			.tar_fd = fd,
			.out_fd = fds[1],
			.cpu_seconds = limits->cpu_seconds},
		.work = decompress_file,
		.kind = kind,
		.max_bytes = limits->bytes + ARCHIVE_OVERHEAD,
	};
	int r = start_child(&job, &ret->child, err);
	close(fds[1]);
	return r;
}

static enum decompress_kind kind_of(int fd, char head[static BLOCK], size_t *ret_count)
{
	ssize_t n = pread(fd, head, BLOCK, 0);

	*ret_count = n > 0 ? (size_t)n : 0;
	return decompress_detect(str_from(head, *ret_count));
}

/* Does the block's checksum (POSIX ustar; v7 has it too) hold? */
static bool is_header(const char block[static BLOCK])
{
	enum { AT = 148, SIZE = 8 };
	unsigned long sum = 0, written;
	char text[SIZE + 1] = {0};

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= AT && i < AT + SIZE ? ' ' : (unsigned char)block[i];
	memcpy(text, block + AT, SIZE);
	written = strtoul(text, NULL, 8);
	return written && written == sum;
}

/* ---- For callers ---- */

int layer_archive_probe(int fd, bool *ret, struct err *err)
{
	cleanup(stream_done) struct stream stream = {.fd = -1, .child.report = -1};
	cleanup(child_done) struct child reader = {.report = -1};
	const struct layer_limits limits = {.bytes = PROBE_BYTES, .cpu_seconds = PROBE_SECONDS};
	char head[BLOCK];
	size_t count;
	enum decompress_kind kind = kind_of(fd, head, &count);

	*ret = false;
	if (kind == DECOMPRESS_PLAIN && (count < BLOCK || !is_header(head)))
		return 0;
	int r = start_stream(fd, kind, &limits, &stream, err);
	if (r < 0)
		return r;
	struct job job = {
		.confined = {.root = -1, .tar_fd = stream.fd, .cpu_seconds = PROBE_SECONDS},
		.work = read_header,
		.max_bytes = PROBE_BYTES,
	};
	r = start_child(&job, &reader, err);
	if (r == 0)
		r = finish_child(&reader, "the look at an archive", err);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "rewind the archive");
	*ret = r == IS_ARCHIVE;
	return r < 0 ? r : 0;
}

int layer_unpack_archive(int root, int fd, const struct layer_unpack_options *options,
	struct layer_unpack_stats *ret_stats, struct err *err)
{
	cleanup(stream_done) struct stream stream = {.fd = -1, .child.report = -1};
	cleanup(layer_unpacker_free) struct layer_unpacker *unpacker = NULL;
	const struct layer_limits limits = unpack_limits(&options->limits);
	struct err damage = {0};
	char head[BLOCK];
	size_t count;

	int r = start_stream(fd, kind_of(fd, head, &count), &limits, &stream, err);
	if (r == 0)
		r = layer_unpacker_start(root, stream.fd, options, &unpacker, err);
	if (r < 0)
		return r;
	if (stream.is_child)
		close(take_fd(&stream.fd)); /* so that the writer learns of the reader's end */
	r = layer_unpacker_finish(unpacker, ret_stats, err);
	/* A stream that broke off is why the archive looks cut. */
	if (stream.is_child && finish_child(&stream.child, "decompressing", &damage) < 0) {
		*err = damage;
		return -(int)err->kind;
	}
	return r;
}
