/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "os/file.h"
#include "run/serving.h"

enum {
	LOOK_MS = 500,	      /* between looks at what an app that does not answer is doing */
	TELL_FIRST_MS = 1000, /* until the first thing is told of that */
	TELL_MIN_MS = 2000,   /* between two different things */
	TELL_MAX_MS = 60000,
	QUEUE_MAX = 16 * 1024, /* bytes of events that the parent has not taken: no more of them */
};

static enum listening look_at_listeners(struct serving *s, struct buf *words, struct buf *hint)
{
	cleanup(buf_done) struct buf tcp = {0};
	cleanup(buf_done) struct buf tcp6 = {0};
	struct listener all[LISTENERS_MAX];
	size_t count = 0;
	const size_t limit = 4 << 20;

	/* Of this process's network namespace, which is the Space's. A kernel without IPv6 has
	 * no tcp6. */
	if (file_read(AT_FDCWD, "/proc/self/net/tcp", limit, &tcp, NULL) == 0)
		count = listeners_parse(buf_str(&tcp), false, count, all);
	if (file_read(AT_FDCWD, "/proc/self/net/tcp6", limit, &tcp6, NULL) == 0)
		count = listeners_parse(buf_str(&tcp6), true, count, all);
	return listeners_judge(
		all, count, s->job->options->app_port, buf_str(&s->tail), words, hint);
}

/* How a port that is listened on behaves; NULL: as listeners_judge() says. */
static const char *const seen_words[] = {
	[PROBE_NOTHING] = NULL,
	[PROBE_REFUSED] = NULL,
	[PROBE_SILENT] = NULL,
	[PROBE_CLOSED] = "closes connections without an answer",
	[PROBE_NOT_HTTP] = "answers, but not with HTTP",
	[PROBE_TLS] = "speaks TLS, but a Space has to serve plain HTTP",
	[PROBE_ANSWERED] = NULL,
};

void waiting_look(struct serving *s, struct buf *words, struct buf *hint)
{
	const char *seen = seen_words[probe_seen(s->probe)];

	if (look_at_listeners(s, words, hint) != LISTENS_RIGHT || !seen)
		return;
	buf_clear(words);
	buf_printf(words, "port %u %s", s->job->options->app_port, seen);
}

bool waiting_may_tell(const struct serving *s)
{
	int queued = 0;

	return ioctl(s->job->channel, SIOCOUTQ, &queued) == 0 && queued < QUEUE_MAX;
}

/* Something else at once, but not more often than it can be read; the same ever more rarely. */
static bool is_due(struct serving *s, struct str words)
{
	uint64_t now = uv_now(&s->loop), since = now - s->told_at;
	bool is_new = !str_eq(buf_str(&s->told), words);

	if (since < (is_new ? TELL_MIN_MS : s->tell_again) || !waiting_may_tell(s))
		return false;
	s->tell_again = is_new ? (uint64_t)2 * TELL_MIN_MS : s->tell_again * 2;
	if (s->tell_again > TELL_MAX_MS)
		s->tell_again = TELL_MAX_MS;
	s->told_at = now;
	buf_clear(&s->told);
	buf_add_str(&s->told, words);
	return true;
}

static void on_look(uv_timer_t *timer)
{
	struct serving *s = timer->data;
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};

	waiting_look(s, &words, &hint);
	if (is_due(s, buf_str(&words)))
		box_tell(s->job,
			&(struct message){.kind = MESSAGE_WAITING, .text = buf_str(&words)});
}

void waiting_start(struct serving *s)
{
	uv_timer_start(&s->look, on_look, LOOK_MS, LOOK_MS);
	/* As if something else had been told a while ago. */
	s->told_at = uv_now(&s->loop) + TELL_FIRST_MS - TELL_MIN_MS;
	s->tell_again = TELL_MIN_MS;
}
