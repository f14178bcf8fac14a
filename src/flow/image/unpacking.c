/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpacking.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/command.h"

enum { PIPE_BYTES = 1 << 20 };

/* Between the two processes, both ways: a result and its error. */
struct verdict {
	int result;
	struct err err;
};

struct image_stream {
	int fd;	     /* the tar */
	int control; /* verdicts come here, the sink's result goes out */
};

struct unpacking {
	struct unpacking_options options;
	struct decompress *decompress;
	pid_t child;
	int pipe;
	int control;
	struct err damage; /* the blob cannot be decompressed; the rest of it is passed over */
	bool sink_ended;   /* before it had everything: its error is what counts */
};

/* ---- The sink's side ---- */

int image_stream_fd(const struct image_stream *stream)
{
	return stream->fd;
}

/* 0, or < 0 with the verdict's error. `flags` of recv(2). */
static int read_verdict(const struct image_stream *stream, int flags, struct err *err)
{
	struct verdict verdict = {0};
	ssize_t n;

	do
		n = recv(stream->control, &verdict, sizeof(verdict), flags);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(verdict))
		return err_set(err, ERR_CANCELLED, "the download was broken off");
	if (verdict.result < 0)
		*err = verdict.err;
	return verdict.result;
}

int image_stream_verified(struct image_stream *stream, struct err *err)
{
	cleanup_free char *rest = xmalloc(PIPE_BYTES);
	ssize_t n;

	do
		n = read(stream->fd, rest, PIPE_BYTES);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return err_sys(err, "read layer");
	return read_verdict(stream, 0, err);
}

int image_stream_blame(struct image_stream *stream, struct err *err)
{
	struct err why = {0};
	struct verdict verdict;
	ssize_t n = recv(stream->control, &verdict, sizeof(verdict), MSG_PEEK | MSG_DONTWAIT);

	/* No verdict yet: bytes were still coming, so the stream is not what failed. */
	if (n == (ssize_t)sizeof(verdict) && read_verdict(stream, MSG_DONTWAIT, &why) < 0)
		*err = why;
	return -(int)err->kind;
}

noreturn_fn static void run_sink(
	const struct unpacking_options *options, struct image_stream *stream, pid_t parent)
{
	struct verdict outcome = {0};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	outcome.result =
		options->sink->unpack(options->sink->arg, options->diff_id, stream, &outcome.err);
	/* If nobody is there to be told, nobody waits for it. */
	if (send(stream->control, &outcome, sizeof(outcome), MSG_NOSIGNAL) < 0)
		_exit(1);
	_exit(0);
}

/* ---- The worker's side ---- */

static int write_tar(void *arg, struct str piece, struct err *err)
{
	struct unpacking *u = arg;

	while (piece.n) {
		ssize_t n = write(u->pipe, piece.p, piece.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			u->sink_ended = errno == EPIPE;
			return err_sys(err, "hand the layer to its unpacker");
		}
		piece = str_from_index(piece, (size_t)n);
	}
	return 0;
}

static int make_channels(int pipe_fds[static 2], int control[static 2], struct err *err)
{
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "make pipe");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		return err_sys(err, "make socket pair");
	/* Smaller is only slower. */
	(void)fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	return 0;
}

int unpacking_start(
	const struct unpacking_options *options, struct unpacking **ret, struct err *err)
{
	int pipe_fds[2] = {-1, -1}, control[2] = {-1, -1};
	pid_t parent = getpid();
	int r = make_channels(pipe_fds, control, err);
	pid_t child = r < 0 ? -1 : fork();

	if (r == 0 && child < 0)
		r = err_sys(err, "start unpacker");
	if (child == 0) {
		struct image_stream stream = {pipe_fds[0], control[1]};
		close(pipe_fds[1]);
		close(control[0]);
		run_sink(options, &stream, parent);
	}
	for (int i = 0; i < 4; i++) {
		/* The child's ends, and on failure ours as well. */
		int fd = (int[]){pipe_fds[0], control[1], pipe_fds[1], control[0]}[i];
		if (fd >= 0 && (i < 2 || r < 0))
			close(fd);
	}
	if (r < 0)
		return r;
	struct unpacking *u = xcalloc(1, sizeof(*u));
	*u = (struct unpacking){
		.options = *options, .child = child, .pipe = pipe_fds[1], .control = control[0]};
	u->decompress = decompress_new(&(struct decompress_options){.kind = options->kind,
		.max_bytes = options->max_bytes,
		.ratio = options->ratio,
		.out = write_tar,
		.arg = u});
	*ret = u;
	return 0;
}

int unpacking_feed(struct unpacking *u, struct str piece, struct err *err)
{
	if (u->damage.kind != ERR_NONE)
		return 0;
	int r = decompress_feed(u->decompress, piece, err);
	if (r != -ERR_INPUT)
		return r;
	u->damage = *err;
	return 0;
}

static int finish_output(struct unpacking *u, struct digest *ret_digest, struct err *err)
{
	if (u->damage.kind == ERR_NONE)
		return decompress_finish(u->decompress, ret_digest, err);
	*err = u->damage;
	return -(int)err->kind;
}

/* All bytes of the blob were right; is what they expand to? */
static int verify(struct unpacking *u, struct err *err)
{
	struct digest got;
	char wanted[DIGEST_TEXT_SIZE], text[DIGEST_TEXT_SIZE];

	int r = finish_output(u, &got, err);
	if (r == 0 && !digest_eq(&got, u->options.diff_id))
		r = err_set(err, ERR_INPUT,
			"the configuration says diff ID %s, but the layer unpacks to %s",
			digest_text(u->options.diff_id, wanted), digest_text(&got, text));
	if (r != -ERR_INPUT)
		return r;
	/* The image is broken; nobody could have asked for it in a better way. */
	err->kind = ERR_FAILED;
	return -ERR_FAILED;
}

/* What the sink says; the error of its death if it cannot. */
static int await_sink(struct unpacking *u, struct err *err)
{
	struct verdict outcome = {0};
	int status = 0;
	ssize_t n;

	/* ECONNRESET: it left a verdict unread; what it said comes after that. */
	do
		n = recv(u->control, &outcome, sizeof(outcome), 0);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	int r = command_wait(u->child, &status, err);
	if (r < 0)
		return r;
	if (n == (ssize_t)sizeof(outcome)) {
		if (outcome.result < 0)
			*err = outcome.err;
		return outcome.result;
	}
	char text[64];
	return err_set(err, ERR_SYSTEM, "the unpacker %s", command_status_text(text, status));
}

int unpacking_finish(struct unpacking *u, int result, struct err *err)
{
	struct verdict verdict = {0};
	struct err sink_err = {0};

	if (result == 0)
		result = verify(u, err);
	verdict.result = result > 0 ? -ERR_CANCELLED : result;
	if (result < 0)
		verdict.err = *err;
	else if (result > 0)
		verdict.result =
			err_set(&verdict.err, ERR_CANCELLED, "the layer is fetched once more");
	/* The verdict is there before the end of file that makes the sink ask for it. */
	if (send(u->control, &verdict, sizeof(verdict), MSG_NOSIGNAL) < 0)
		u->sink_ended = true;
	close(u->pipe);
	int sink_result = await_sink(u, &sink_err);
	if (result == 0 || (result < 0 && u->sink_ended && sink_result < 0)) {
		result = sink_result;
		if (result < 0)
			*err = sink_err;
	}
	close(u->control);
	decompress_free(u->decompress);
	free(u);
	return result;
}
