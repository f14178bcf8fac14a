/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/*
 * The compiler extensions this program allows itself, each behind one name.
 */

/* The caller may not drop the result; a wilful drop is written ignored(call), with a reason. */
#define must_use __attribute__((__warn_unused_result__))

/* Argument F is a printf format, its arguments begin at A (0 for a va_list). */
#define printf_like(f, a) __attribute__((__format__(__printf__, f, a)))

#define noreturn_fn __attribute__((__noreturn__))

#define unused_arg __attribute__((__unused__))

#define array_size(a) (sizeof(a) / sizeof((a)[0]))

/* (void) does not silence must_use in gcc. */
static inline void ignored(int result)
{
	(void)result;
}

#endif
