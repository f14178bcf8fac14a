/* SPDX-License-Identifier: Apache-2.0 */
/* Everything small that is read from the disk, from /proc and from the box. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include "run/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_state(struct str text)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf first = {0};
	cleanup(buf_done) struct buf second = {0};
	struct state state;

	if (!state_parse(&a, text, &state))
		return;
	/* What was read is written and read again as the same. */
	state_print(&state, &first);
	if (!state_parse(&a, buf_str(&first), &state))
		abort();
	state_print(&state, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		abort();
}

static void check_message(struct str bytes)
{
	cleanup(buf_done) struct buf again = {0};
	struct message message;

	if (!message_parse(bytes, &message))
		return;
	if (message.text.n > MESSAGE_TEXT_MAX || message.hint.n > MESSAGE_TEXT_MAX)
		abort();
	message_print(&message, &again);
	if (again.len != bytes.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size};
	int sig = stop_signal(text);

	check_state(text);
	check_message(text);
	(void)stat_start_time(text);
	if (sig < 0 || sig > 64)
		abort();
	(void)handles_signal(text, SIGTERM);
	return 0;
}
