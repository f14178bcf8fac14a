/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BAN_H
#define BASE_BAN_H

/*
 * Force-included in every file of the program: functions whose ordinary use is a bug.
 * Text is built with base/buf.h, numbers are read with base/number.h, programs are
 * started with os/command.h. The headers that declare them come first, since a poisoned
 * name may not appear even in a declaration.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok atoi atol atoll
#pragma GCC poison system popen gets localtime gmtime ctime asctime tmpnam mktemp

#endif
