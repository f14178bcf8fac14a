/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"
#include "run/serving.h"

enum { LAST_WORDS = 15 }; /* lines of the log that are shown with a failure */

static void mask_all(const struct serving *s, struct buf *text)
{
	const struct argv *names = &s->job->options->secret_names;

	for (size_t i = 0; i < names->count; i++) {
		const char *value = argv_env(&s->job->options->env, names->items[i]);
		const struct str secret = str_of(value);
		if (value)
			mask_secrets(text, &secret, 1);
	}
}

static void describe_late(const struct serving *s, struct buf *words, struct buf *hint)
{
	const int64_t time = s->job->options->start_timeout;
	const int64_t minute = INT64_C(60000000000);
	char text[32];

	buf_printf(words, "port %u did not answer within ", s->job->options->app_port);
	if (time < minute)
		buf_printf(words, "%.3gs: ", (double)time / 1e9);
	else
		buf_printf(words, "%s: ", print_duration(text, time));
	buf_add_str(words, buf_str(&s->late_words));
	buf_add_str(hint, buf_str(&s->late_hint));
}

static void describe_end(const struct serving *s, struct buf *words, struct buf *hint)
{
	struct ending ending = {.status = s->status,
		.was_ready = s->is_ready,
		.was_asked = s->was_asked,
		.app_port = s->job->options->app_port,
		.cause = cause_find(buf_str(&s->tail))};

	if (ending.cause.kind == CAUSE_PATH_DENIED)
		path_look(
			s->container->root, s->container->cwd, ending.cause.subject, &ending.path);
	if (s->job->cgroup)
		cgroup_usage(s->job->cgroup, &ending.usage);
	ending_describe(&ending, words, hint);
}

void report(const struct serving *s, struct arena *a, struct message *ret)
{
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};
	bool has_failed = !s->is_ready && !s->was_asked;

	if (s->is_late)
		describe_late(s, &words, &hint);
	else
		describe_end(s, &words, &hint);
	if (has_failed && s->tail.len) {
		buf_add_text(&hint, hint.len ? "\nits last words:\n" : "its last words:\n");
		tail_lines(buf_str(&s->tail), LAST_WORDS, &hint);
	}
	mask_all(s, &words);
	mask_all(s, &hint);
	replace_controls(&words);
	replace_controls(&hint);
	*ret = (struct message){.kind = MESSAGE_ENDED,
		.status = s->status,
		.error = !has_failed  ? ERR_NONE
			 : s->is_late ? ERR_LIMIT
				      : ERR_FAILED,
		.was_asked = s->was_asked,
		.text = arena_str(a, buf_str(&words)),
		.hint = arena_str(a, str_trim_right(buf_str(&hint)))};
}
