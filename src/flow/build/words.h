/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_WORDS_H
#define BUILD_WORDS_H

/*
 * What can be told of a RUN from its words alone. The shell's language is not interpreted:
 * whatever is not understood counts as a program that may do anything.
 */
#include "oci/oci.h"

enum tool { TOOL_UV = 1, TOOL_PIP = 2, TOOL_NPM = 4 };

struct words {
	/* Of enum tool: those that install something and may take it from their own cache. */
	unsigned tools;
	/*
	 * Nothing but programs that are known to replace files and never to write into
	 * existing ones.
	 */
	bool is_plain;
};

struct words words_of(const struct oci_list *argv);

#endif
