/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "os/clock.h"
#include "run/serving.h"

enum { TAIL_MAX = 16 * 1024, READ_MAX = 64 * 1024 };

static void keep_tail(struct serving *s, struct str bytes)
{
	buf_add_str(&s->tail, bytes);
	if (s->tail.len > (size_t)2 * TAIL_MAX)
		buf_cut_front(&s->tail, s->tail.len - TAIL_MAX);
}

static void add_to_journal(struct serving *s, enum journal_stream stream, struct str bytes)
{
	struct err err = {0};

	/* The app must not stop because its log has no place: it is told once and lost. */
	if (journal_add(s->journal, stream, bytes, &err) == 0 || s->journal_failed)
		return;
	s->journal_failed = true;
	box_tell(s->job, &(struct message){.kind = MESSAGE_WARNING, .text = str_of(err.text)});
}

/* As read(2): < 0 when nothing is there for now, 0 at the end. */
static ssize_t read_output(struct output *o)
{
	char bytes[READ_MAX];
	ssize_t n;

	do
		n = read(o->fd, bytes, sizeof(bytes));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		keep_tail(o->s, str_from(bytes, (size_t)n));
		add_to_journal(o->s, o->stream, str_from(bytes, (size_t)n));
	}
	return n;
}

void output_callback(uv_poll_t *poll, int status, int events)
{
	struct output *o = poll->data;

	(void)events;
	/* The end of file can come before the app's own: it may close what it has no use for. */
	if (status < 0 || read_output(o) == 0)
		uv_poll_stop(poll);
}

void output_announce(struct serving *s)
{
	char now[32];
	char text[96];

	/* As the log of a Space on Hugging Face begins. */
	clock_iso(now);
	int n = snprintf(text, sizeof(text), "===== Application Startup at %.10s %.8s =====\n\n",
		now, now + 11);
	add_to_journal(s, JOURNAL_STDOUT, str_from(text, (size_t)n));
}

void output_drain(struct serving *s)
{
	for (size_t i = 0; i < array_size(s->outputs); i++)
		while (read_output(&s->outputs[i]) > 0)
			;
}
