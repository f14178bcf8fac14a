/* SPDX-License-Identifier: Apache-2.0 */
#include "image/deflate.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

#include "base/alloc.h"

enum {
	LEVEL = 6,
	WINDOW_BYTES = 32 << 10,
	MAX_WORKERS = 8,
	/* Stored blocks of incompressible data, and the empty one that aligns the end. */
	ROOM_BYTES = DEFLATE_BLOCK_BYTES + DEFLATE_BLOCK_BYTES / 8 + 1024,
};

/* Before each block, and before each answer, on the socket. */
struct frame {
	uint32_t dictionary; /* bytes */
	uint32_t bytes;
	bool is_last;
	bool has_failed; /* an answer: zlib refused */
};

struct deflate_worker {
	pid_t pid;
	int socket;
	bool is_busy; /* with a block whose result was not taken */
};

struct deflate_pool {
	struct deflate_worker workers[MAX_WORKERS];
	unsigned count;
	unsigned next; /* whose turn it is */
	struct buf dictionary;
	z_stream z;	 /* of a pool without workers */
	bool has_stream; /* z is initialised */
};

/* ---- One block ---- */

static void start_stream(z_stream *z)
{
	if (deflateInit2(z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK)
		return;
	fputs("spaceport: out of memory\n", stderr);
	abort();
}

/* Returns the number of bytes written to `out`, of ROOM_BYTES; 0 when zlib refuses. */
static size_t deflate_block(
	z_stream *z, struct str dictionary, struct str block, bool is_last, char *out)
{
	if (deflateReset(z) != Z_OK ||
		(dictionary.n && deflateSetDictionary(z, (const Bytef *)dictionary.p,
					 (uInt)dictionary.n) != Z_OK))
		return 0;
	z->next_in = (const Bytef *)block.p;
	z->avail_in = (uInt)block.n;
	z->next_out = (Bytef *)out;
	z->avail_out = ROOM_BYTES;
	int r = deflate(z, is_last ? Z_FINISH : Z_SYNC_FLUSH);
	bool is_done = is_last ? r == Z_STREAM_END : r == Z_OK && !z->avail_in && z->avail_out;
	return is_done ? ROOM_BYTES - z->avail_out : 0;
}

/* ---- Frames ---- */

static bool send_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static bool receive_all(int fd, void *data, size_t n)
{
	char *p = data;

	while (n) {
		ssize_t done = recv(fd, p, n, 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

/* ---- In a worker ---- */

noreturn_fn static void run_worker(int socket, pid_t parent)
{
	z_stream z = {0};
	char *in = xmalloc(WINDOW_BYTES + DEFLATE_BLOCK_BYTES), *out = xmalloc(ROOM_BYTES);
	struct frame frame;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	start_stream(&z);
	while (receive_all(socket, &frame, sizeof(frame)) &&
		receive_all(socket, in, frame.dictionary + frame.bytes)) {
		size_t n = deflate_block(&z, str_from(in, frame.dictionary),
			str_from(in + frame.dictionary, frame.bytes), frame.is_last, out);
		struct frame answer = {.bytes = (uint32_t)n, .has_failed = !n};
		if (!send_all(socket, &answer, sizeof(answer)) || !send_all(socket, out, n))
			break;
	}
	_exit(0);
}

/* ---- The pool ---- */

static int start_worker(struct deflate_pool *pool, struct err *err)
{
	int sockets[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_sys(err, "make socket pair");
	pid_t pid = fork();
	if (pid == 0) {
		close(sockets[0]);
		run_worker(sockets[1], parent);
	}
	int r = pid < 0 ? err_sys(err, "start a process that compresses") : 0;
	close(sockets[1]);
	if (r < 0) {
		close(sockets[0]);
		return r;
	}
	pool->workers[pool->count++] = (struct deflate_worker){.pid = pid, .socket = sockets[0]};
	return 0;
}

int deflate_pool_new(unsigned count, struct deflate_pool **ret, struct err *err)
{
	cleanup(deflate_pool_free) struct deflate_pool *pool = xcalloc(1, sizeof(*pool));
	int r = 0;

	if (count > MAX_WORKERS)
		count = MAX_WORKERS;
	while (r == 0 && pool->count < count)
		r = start_worker(pool, err);
	if (r < 0)
		return r;
	if (!count)
		start_stream(&pool->z);
	pool->has_stream = !count;
	*ret = take_ptr(pool);
	return 0;
}

void deflate_pool_free(struct deflate_pool *pool)
{
	if (!pool)
		return;
	for (unsigned i = 0; i < pool->count; i++) {
		close(pool->workers[i].socket);
		kill(pool->workers[i].pid, SIGKILL);
		(void)waitpid(pool->workers[i].pid, NULL, 0); /* killed: it has nothing to say */
	}
	if (pool->has_stream)
		deflateEnd(&pool->z);
	buf_done(&pool->dictionary);
	free(pool);
}

static int lost(struct err *err)
{
	(void)err_set(err, ERR_SYSTEM, "a process that compresses has ended");
	return err_hint(err, "if the machine is short of memory, the kernel may have killed it");
}

/* Append the result of a worker, if it has a block. */
static int take_result(struct deflate_worker *worker, struct buf *ret, struct err *err)
{
	struct frame answer;

	if (!worker->is_busy)
		return 0;
	worker->is_busy = false;
	if (!receive_all(worker->socket, &answer, sizeof(answer)) || answer.bytes > ROOM_BYTES)
		return lost(err);
	if (answer.has_failed)
		return err_set(err, ERR_BUG, "zlib refuses to compress");
	if (!receive_all(worker->socket, buf_reserve(ret, answer.bytes), answer.bytes))
		return lost(err);
	buf_commit(ret, answer.bytes);
	return 0;
}

static int give_block(
	struct deflate_pool *pool, struct str block, bool is_last, struct buf *ret, struct err *err)
{
	struct deflate_worker *worker = &pool->workers[pool->next];
	struct frame frame = {.dictionary = (uint32_t)pool->dictionary.len,
		.bytes = (uint32_t)block.n,
		.is_last = is_last};
	int r = take_result(worker, ret, err);

	if (r < 0)
		return r;
	if (!send_all(worker->socket, &frame, sizeof(frame)) ||
		!send_all(worker->socket, pool->dictionary.data, pool->dictionary.len) ||
		!send_all(worker->socket, block.p, block.n))
		return lost(err);
	worker->is_busy = true;
	pool->next = (pool->next + 1) % pool->count;
	/* From the next in turn on they have the oldest blocks. */
	for (unsigned i = 0; is_last && r == 0 && i < pool->count; i++)
		r = take_result(&pool->workers[(pool->next + i) % pool->count], ret, err);
	return r;
}

int deflate_pool_add(
	struct deflate_pool *pool, struct str block, bool is_last, struct buf *ret, struct err *err)
{
	int r = 0;

	if (pool->count) {
		r = give_block(pool, block, is_last, ret, err);
	} else {
		size_t n = deflate_block(&pool->z, buf_str(&pool->dictionary), block, is_last,
			buf_reserve(ret, ROOM_BYTES));
		buf_commit(ret, n);
		if (!n)
			r = err_set(err, ERR_BUG, "zlib refuses to compress");
	}
	buf_clear(&pool->dictionary);
	buf_add_str(&pool->dictionary,
		str_from_index(block, block.n > WINDOW_BYTES ? block.n - WINDOW_BYTES : 0));
	return r;
}
