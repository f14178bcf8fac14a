/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

/*
 * Release by scope. A variable declared with one of these is released when its scope ends,
 * whichever way that happens; ownership is handed on with take_ptr() or take_fd().
 *
 *	cleanup_close int fd = -1;
 *	cleanup_free char *name = NULL;
 *	cleanup(layer_store_free) struct layer_store *store = NULL;
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((__cleanup__(fn##p)))

/* After `void x_free(struct x *)`: DEFINE_CLEANUP(struct x *, x_free); */
#define DEFINE_CLEANUP(type, fn) \
	static inline void fn##p(type *p) \
	{ \
		if (*p) \
			fn(*p); \
	} \
	struct semicolon_required_here

/* After `void x_done(struct x *)`, for values embedded on the stack: fn must accept {0}. */
#define DEFINE_CLEANUP_VALUE(type, fn) \
	static inline void fn##p(type *p) \
	{ \
		fn(p); \
	} \
	struct semicolon_required_here

/* The pointer's value, leaving NULL behind: the scope no longer owns it. */
#define take_ptr(p) \
	__extension__({ \
		__typeof__(p) *taken_from = &(p); \
		__typeof__(p) taken = *taken_from; \
		*taken_from = NULL; \
		taken; \
	})

/* The descriptor's value, leaving -1 behind. */
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define cleanup_free	 __attribute__((__cleanup__(cleanup_free_p)))
#define cleanup_close	 __attribute__((__cleanup__(cleanup_close_p)))
#define cleanup_fclose	 __attribute__((__cleanup__(cleanup_fclose_p)))
#define cleanup_closedir __attribute__((__cleanup__(cleanup_closedir_p)))

#endif
