/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "base/attr.h"
#include "run/internal.h"

static void states_survive_the_disk(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf text = {0};
	const struct state saved = {.shown = {.id = "0123456789ab",
					    .space = "ada/demo",
					    .image_id = "sha256:12",
					    .url = "http://localhost:7860",
					    .stage = "RUNNING",
					    .reason = "two\nlines",
					    .pid = 4711,
					    .started = "2026-11-24T21:40:42.123Z",
					    .ended = ""},
		.pid_start = 998877};
	struct state got;

	(void)state;
	state_print(&saved, &text);
	assert_true(state_parse(&a, buf_str(&text), &got));
	assert_string_equal(got.shown.id, saved.shown.id);
	assert_string_equal(got.shown.space, "ada/demo");
	assert_string_equal(got.shown.image_id, "sha256:12");
	assert_string_equal(got.shown.url, "http://localhost:7860");
	assert_string_equal(got.shown.stage, "RUNNING");
	assert_string_equal(got.shown.reason, "two lines");
	assert_string_equal(got.shown.started, "2026-11-24T21:40:42.123Z");
	assert_string_equal(got.shown.ended, "");
	assert_int_equal(got.shown.pid, 4711);
	assert_int_equal(got.pid_start, 998877);
}

static void broken_states_are_refused(void **state)
{
	static const char *const rows[] = {"", "\n\n", "id \n", "id 0123456789AB\n", "id 012345\n",
		"id 0123456789abc\n", "space x\n", "id"};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena a = {0};
		struct state got;
		assert_false(state_parse(&a, str_of(rows[i]), &got));
	}
}

static void messages_pass(void **state)
{
	cleanup(buf_done) struct buf packet = {0};
	const struct message sent = {.kind = MESSAGE_ENDED,
		.status = -7,
		.error = ERR_FAILED,
		.was_asked = true,
		.text = STR("why"),
		.hint = STR("what to do")};
	struct message got;

	(void)state;
	message_print(&sent, &packet);
	assert_true(message_parse(buf_str(&packet), &got));
	assert_int_equal(got.kind, MESSAGE_ENDED);
	assert_int_equal(got.status, -7);
	assert_int_equal(got.error, ERR_FAILED);
	assert_true(got.was_asked);
	assert_true(str_is(got.text, "why"));
	assert_true(str_is(got.hint, "what to do"));
	for (size_t n = 0; n < packet.len; n++)
		assert_false(message_parse(str_from(packet.data, n), &got));
	buf_add_char(&packet, 'x');
	assert_false(message_parse(buf_str(&packet), &got));
	packet.data[0] = 99;
	assert_false(message_parse(str_from(packet.data, packet.len - 1), &got));
}

static void long_messages_are_cut(void **state)
{
	cleanup(buf_done) struct buf packet = {0};
	cleanup(buf_done) struct buf text = {0};
	struct message got;

	(void)state;
	memset(buf_reserve(&text, 100000), 'x', 100000);
	buf_commit(&text, 100000);
	const struct message sent = {.text = buf_str(&text), .hint = buf_str(&text)};
	message_print(&sent, &packet);
	assert_true(packet.len <= MESSAGE_MAX);
	assert_true(message_parse(buf_str(&packet), &got));
	assert_int_equal(got.text.n, MESSAGE_TEXT_MAX);
}

static void stop_signals_are_known(void **state)
{
	static const struct {
		const char *text;
		int sig;
	} rows[] = {
		{"", SIGTERM},
		{"SIGTERM", SIGTERM},
		{"INT", SIGINT},
		{"SIGQUIT", SIGQUIT},
		{"9", SIGKILL},
		{"SIGUSR1", SIGUSR1},
		{"SIGWINCH", SIGWINCH},
		{"term", 0},
		{"SIG", 0},
		{"0", 0},
		{"65", 0},
		{"SIGNONE", 0},
		{"SIGRT", 0},
		{"SIGRTMIN+", 0},
		{"SIGRTMIN-1", 0},
		{"SIGRTMIN+31", 0},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(stop_signal(str_of(rows[i].text)), rows[i].sig);
	assert_int_equal(stop_signal(STR("SIGRTMIN")), SIGRTMIN);
	assert_int_equal(stop_signal(STR("SIGRTMIN+3")), SIGRTMIN + 3);
	assert_int_equal(stop_signal(STR("RTMAX-1")), SIGRTMAX - 1);
}

static void handlers_are_seen(void **state)
{
	static const struct {
		const char *status;
		int sig;
		bool handled;
	} rows[] = {
		{"Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\n"
		 "SigCgt:\t0000000000004002\n",
			SIGTERM, true},
		{"SigBlk:\t0000000000000000\nSigCgt:\t0000000000000002\n", SIGTERM, false},
		{"SigBlk:\t0000000000000000\nSigCgt:\t0000000000000002\n", SIGINT, true},
		{"SigBlk:\t0000000000004000\nSigCgt:\t0000000000000000\n", SIGTERM, true},
		/* ignored on purpose is as good as not handled */
		{"SigIgn:\t0000000000004000\n", SIGTERM, false},
		{"SigCgt:\txyz\n", SIGTERM, false},
		{"SigCgt:\tffffffffffffffff\n", 64, true},
		{"SigCgt:\tffffffffffffffffff\n", SIGTERM, false},
		{"", SIGTERM, false},
		{"SigCgt:\tffffffffffffffff\n", 0, false},
		{"SigCgt:\tffffffffffffffff\n", 65, false},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(
			handles_signal(str_of(rows[i].status), rows[i].sig), rows[i].handled);
}

static void start_times_are_read(void **state)
{
	static const struct {
		const char *stat;
		uint64_t ticks;
	} rows[] = {
		{"42 (a) b) c) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5723 0 0", 5723},
		{"42 (x) S 1 42", 0},
		{"", 0},
		{")", 0},
		{"42 (x) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 x 0 0", 0},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(stat_start_time(str_of(rows[i].stat)), rows[i].ticks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_survive_the_disk),
		cmocka_unit_test(broken_states_are_refused),
		cmocka_unit_test(messages_pass),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(stop_signals_are_known),
		cmocka_unit_test(handlers_are_seen),
		cmocka_unit_test(start_times_are_read),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
