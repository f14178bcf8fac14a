/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/number.h"
#include "build/internal.h"
#include "os/command.h"

/*
 * Why a step failed, for a person: where it stands, what it said last, and what only the
 * kernel knows.
 */

enum { SHOWN_LINES = 10, EXCERPT_LINES = 4 };

/* ---- causes ---- */

static void say_memory(const struct step_end *end, struct buf *ret)
{
	char limit[32], peak[32];

	buf_printf(ret,
		"killed by the kernel: the build's memory limit is %s, its peak was %s\n"
		"raise build.memory in spaceport.yaml, or let the step do less at once",
		print_size(limit, end->usage.memory_limit),
		print_size(peak, end->usage.memory_peak));
}

static int exit_code(const struct step_end *end)
{
	return WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1;
}

static bool tail_has(const struct step_end *end, struct str words)
{
	return end->tail.n && memmem(end->tail.p, end->tail.n, words.p, words.n);
}

static void say_disk(const struct build *b, struct buf *ret)
{
	uint64_t bytes = b->store ? store_reclaimable(b->store) : 0;
	char size[32];

	buf_add_text(ret, "the disk that holds the state directory is full\n");
	if (bytes)
		buf_printf(ret, "spaceport gc would free %s; ", print_size(size, bytes));
	buf_add_text(ret, "spaceport df tells what is used by what");
}

/* The whole cause or nothing; the first rule that holds is the one that explains most. */
static void say_cause(const struct build *b, const struct build_step *step,
	const struct step_end *end, struct buf *ret)
{
	bool tail_says_full = tail_has(end, STR("No space left on device"));
	bool tail_says_forks = tail_has(end, STR("fork")) &&
			       tail_has(end, STR("Resource temporarily unavailable"));

	if (end->usage.oom_kills)
		say_memory(end, ret);
	else if (end->disk_full || tail_says_full)
		say_disk(b, ret);
	else if (end->usage.pids_denied || tail_says_forks)
		buf_add_text(ret, "the build's limit of processes was reached (build.pids in "
				  "spaceport.yaml)");
	else if (exit_code(end) == 127)
		buf_add_text(ret, "status 127: a program was not found in the image");
	else if (exit_code(end) == 126)
		buf_add_text(ret, "status 126: a program could not be executed (its mode, or made "
				  "for another machine)");
	else if (tail_has(end, STR("ermission denied")))
		buf_printf(ret, "permission denied: this step ran as user %s",
			*step->op->user ? step->op->user : "root");
}

/* ---- texts ---- */

/* The last lines, without what terminals would do with them. */
static void add_tail(struct str tail, struct buf *ret)
{
	size_t lines = 0, from = 0;

	tail = str_trim_right(tail);
	for (size_t i = tail.n; i > 0 && lines < SHOWN_LINES; i--)
		if (tail.p[i - 1] == '\n' && ++lines == SHOWN_LINES)
			from = i;
	tail = str_from_index(tail, from);
	while (tail.p) {
		struct str line = str_trim_right(str_cut(&tail, '\n'));
		/* What follows the last carriage return is what a terminal would show. */
		size_t cr = str_rfind(line, '\r');
		if (cr < line.n)
			line = str_from_index(line, cr + 1);
		buf_printf(ret, "  | %.*s\n", STR_ARG(line));
	}
}

static const char *status_words(const struct step_end *end, char text[static 64])
{
	/* The shell reports a child that a signal killed as 128 + signal. */
	if (exit_code(end) == 128 + SIGKILL && end->usage.oom_kills)
		return "was killed for memory";
	return command_status_text(text, end->status);
}

int build_failure(const struct build *b, const struct build_step *step, const struct step_end *end,
	struct err *err)
{
	cleanup(buf_done) struct buf hint = {0};
	cleanup(buf_done) struct buf cause = {0};
	char status[64];
	struct span span = step->op->span;

	source_excerpt(&b->file.source, span, EXCERPT_LINES, &hint);
	add_tail(end->tail, &hint);
	say_cause(b, step, end, &cause);
	(void)err_set(err, ERR_FAILED, "%s:%u: %.300s %s", b->file.source.name, span.line,
		step->op->title, status_words(end, status));
	if (cause.len) {
		/* Room for the cause, whatever the output was. */
		size_t room = sizeof(err->hint) - 1;
		if (hint.len + cause.len > room && cause.len < room)
			buf_truncate(&hint, room - cause.len);
	}
	return err_hint(err, "%s%s", buf_text(&hint), buf_text(&cause));
}

int build_place(const struct build *b, const struct build_step *step, struct err *err)
{
	size_t name = strlen(b->file.source.name);

	/* A wrong instruction is a build that fails, not a wrong use of this program. */
	if (err->kind == ERR_INPUT)
		err->kind = ERR_FAILED;
	/* It may have its place already. */
	if (err->kind == ERR_CANCELLED ||
		(strncmp(err->text, b->file.source.name, name) == 0 && err->text[name] == ':'))
		return -(int)err->kind;
	return source_wrap(err, &b->file.source, step->op->span, "%s",
		instruction_name(step->op->instruction));
}
