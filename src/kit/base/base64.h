/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

/*
 * Base64 as in RFC 4648, section 4: with padding, on one line.
 */
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* Encode; appends to ret. */
void base64_encode(struct str bytes, struct buf *ret);

#endif
