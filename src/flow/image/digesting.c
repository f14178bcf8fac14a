/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digesting.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/alloc.h"

enum { CHUNKS = 8, CHUNK_BYTES = 512 * 1024 };

/* A ring: the producer fills the chunk at `filled`, the thread takes the one at `taken`. */
struct digesting {
	pthread_t thread;
	bool is_running;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char *bytes;
	size_t lengths[CHUNKS];
	size_t filled, taken; /* counted up for ever; their difference is what waits */
	bool is_over;
	size_t fill; /* bytes in the chunk that is being filled: the producer's own */
	struct hasher *hasher;
};

static char *chunk(const struct digesting *d, size_t number)
{
	return d->bytes + number % CHUNKS * CHUNK_BYTES;
}

/* Waits for a chunk; false at the end. */
static bool wait_filled(struct digesting *d)
{
	pthread_mutex_lock(&d->mutex);
	while (d->filled == d->taken && !d->is_over)
		pthread_cond_wait(&d->changed, &d->mutex);
	bool is_there = d->filled != d->taken;
	pthread_mutex_unlock(&d->mutex);
	return is_there;
}

static void *digest_all(void *arg)
{
	struct digesting *d = arg;

	while (wait_filled(d)) {
		hasher_add(d->hasher, chunk(d, d->taken), d->lengths[d->taken % CHUNKS]);
		pthread_mutex_lock(&d->mutex);
		d->taken++;
		pthread_cond_signal(&d->changed);
		pthread_mutex_unlock(&d->mutex);
	}
	return NULL;
}

/* Signals are for the threads that know what to do with them. */
static int start_thread(struct digesting *d)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&d->thread, NULL, digest_all, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int digesting_start(struct digesting **ret, struct err *err)
{
	cleanup(digesting_free) struct digesting *d = xcalloc(1, sizeof(*d));

	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->changed, NULL);
	d->bytes = xmalloc((size_t)CHUNKS * CHUNK_BYTES);
	d->hasher = hasher_new();
	errno = start_thread(d);
	if (errno)
		return err_sys(err, "start thread");
	d->is_running = true;
	*ret = take_ptr(d);
	return 0;
}

/* Gives the chunk that was filled to the thread, and waits until there is a free one. */
static void pass_on(struct digesting *d)
{
	pthread_mutex_lock(&d->mutex);
	d->lengths[d->filled++ % CHUNKS] = d->fill;
	pthread_cond_signal(&d->changed);
	while (d->filled - d->taken == CHUNKS)
		pthread_cond_wait(&d->changed, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
	d->fill = 0;
}

void digesting_add(struct digesting *d, struct str piece)
{
	while (piece.n) {
		size_t n = CHUNK_BYTES - d->fill;
		if (n > piece.n)
			n = piece.n;
		memcpy(chunk(d, d->filled) + d->fill, piece.p, n);
		d->fill += n;
		piece = str_from_index(piece, n);
		if (d->fill == CHUNK_BYTES)
			pass_on(d);
	}
}

static void join(struct digesting *d)
{
	pthread_mutex_lock(&d->mutex);
	d->is_over = true;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	pthread_join(d->thread, NULL);
	d->is_running = false;
}

struct digest digesting_finish(struct digesting *d)
{
	pass_on(d);
	join(d);
	return hasher_finish(d->hasher);
}

void digesting_free(struct digesting *d)
{
	if (!d)
		return;
	if (d->is_running)
		join(d);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->mutex);
	hasher_free(d->hasher);
	free(d->bytes);
	free(d);
}
