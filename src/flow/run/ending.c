/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/attr.h"
#include "base/number.h"
#include "os/command.h"
#include "run/diagnose.h"

/* ---- Causes in words ---- */

static void print_owner(const struct path_facts *p, struct buf *ret)
{
	char uid[16];

	snprintf(uid, sizeof(uid), "UID %u", (unsigned)p->uid);
	buf_printf(ret, "belongs to %s, mode %04o", p->uid == 0 ? "root" : uid,
		(unsigned)(p->mode & 07777));
}

/* What was refused, as far as the modes tell. */
static const char *refused(const struct path_facts *p)
{
	if (!p->known || path_may_write(p))
		return "no permission on";
	if (!p->exists || S_ISDIR(p->mode))
		return "cannot write to";
	return path_may_read(p) ? "cannot write to or execute" : "cannot open";
}

/*
 * A name with a dot in it is taken for a file, whose directory has to be the Space's; others
 * for a directory that the Dockerfile can make.
 */
static void allow_place(const struct path_facts *p, struct str subject, struct buf *hint)
{
	size_t slash = str_rfind(subject, '/');
	struct str name = slash < subject.n ? str_from_index(subject, slash + 1) : subject;
	bool is_file = !p->exists && str_find(name, '.') < name.n;

	if (is_file && strcmp(p->place, "/") == 0) {
		buf_add_text(hint, "a Space may write below $HOME and /tmp");
		return;
	}
	buf_add_text(hint, "in the Dockerfile: RUN ");
	if (is_file)
		buf_printf(hint, "chown 1000 %s", p->place);
	else
		buf_printf(hint, "mkdir -p %.*s && chown 1000 %.*s", STR_ARG(subject),
			STR_ARG(subject));
	buf_add_text(hint, "; or a path below $HOME or /tmp");
}

static void describe_path(const struct ending *e, struct buf *words, struct buf *hint)
{
	const struct path_facts *p = &e->path;
	struct str subject = e->cause.subject;

	buf_printf(words, "%s %.*s as UID 1000", refused(p), STR_ARG(subject));
	if (!p->known)
		return;
	buf_printf(words, " (%s%s ", p->exists ? "" : "does not exist, and ", p->place);
	print_owner(p, words);
	buf_add_text(words, ")");
	if (path_may_write(p))
		return;
	if (!p->exists || S_ISDIR(p->mode))
		allow_place(p, subject, hint);
	else
		buf_printf(hint,
			"in the Dockerfile: COPY --chown=1000, or RUN chown 1000 %s; a program also "
			"needs chmod +x",
			p->place);
}

static void describe_port_denied(const struct ending *e, struct buf *words, struct buf *hint)
{
	buf_printf(words, "cannot listen on port %.*s as UID 1000", STR_ARG(e->cause.subject));
	buf_printf(hint, "ports below 1024 are root's: listen on 0.0.0.0:%u", e->app_port);
}

static void describe_read_only(const struct ending *e, struct buf *words, struct buf *hint)
{
	struct str subject = e->cause.subject;

	(void)hint;
	buf_printf(
		words, "%.*s is read-only", STR_ARG(subject.n ? subject : STR("the file system")));
}

static void describe_port_taken(const struct ending *e, struct buf *words, struct buf *hint)
{
	(void)e;
	buf_add_text(words, "two processes of the app want the same port");
	buf_add_text(
		hint, "only one server may listen on app_port; others need ports of their own");
}

static void describe_program(const struct ending *e, struct buf *words, struct buf *hint)
{
	buf_printf(words, "program %.*s not found in the image", STR_ARG(e->cause.subject));
	buf_add_text(hint, "install it in the Dockerfile, or put its directory into PATH with ENV");
}

static void describe_module(const struct ending *e, struct buf *words, struct buf *hint)
{
	buf_printf(words, "module %.*s is not installed", STR_ARG(e->cause.subject));
	buf_add_text(hint, "add its package to the project's dependencies (uv add, npm install), "
			   "and start the app with the environment they are installed in");
}

static void describe_space(const struct ending *e, struct buf *words, struct buf *hint)
{
	(void)e;
	(void)hint;
	buf_add_text(words, "no space left on the disk");
}

static void describe_gpu(const struct ending *e, struct buf *words, struct buf *hint)
{
	(void)e;
	buf_add_text(words, "the app wants a GPU and there is none");
	buf_add_text(hint, "choose the device at run time: torch.cuda.is_available()");
}

static void describe_memory(const struct ending *e, struct buf *words, struct buf *hint)
{
	(void)e;
	(void)hint;
	buf_add_text(words, "an allocation of memory was refused");
}

static void (*const describe[])(const struct ending *, struct buf *, struct buf *) = {
	[CAUSE_PATH_DENIED] = describe_path,
	[CAUSE_READ_ONLY] = describe_read_only,
	[CAUSE_PORT_DENIED] = describe_port_denied,
	[CAUSE_PORT_TAKEN] = describe_port_taken,
	[CAUSE_NO_PROGRAM] = describe_program,
	[CAUSE_NO_MODULE] = describe_module,
	[CAUSE_NO_SPACE] = describe_space,
	[CAUSE_NO_GPU] = describe_gpu,
	[CAUSE_MEMORY] = describe_memory,
};

/* ---- Endings in words ---- */

/* A shell reports the signal that ended its program as 128 + its number. */
static int signal_of(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	return code > 128 && code < 128 + 65 ? code - 128 : 0;
}

static bool describe_oom(const struct ending *e, struct buf *words, struct buf *hint)
{
	char limit[32], peak[32];

	if (signal_of(e->status) != SIGKILL || !e->usage.oom_kills)
		return false;
	buf_printf(words, "killed for memory: the limit is %s",
		print_size(limit, e->usage.memory_limit));
	if (e->usage.memory_peak)
		buf_printf(words, ", %s were in use", print_size(peak, e->usage.memory_peak));
	buf_add_text(hint, "a flavor with more memory: --hardware");
	return true;
}

static const struct {
	int signal;
	const char *meaning;
} signals[] = {
	{SIGILL, "the processor does not know one of its instructions: built for another machine?"},
	{SIGSEGV, "a fault in native code"},
	{SIGBUS, "a fault in native code, or a file that became shorter"},
	{SIGABRT, "it gave up by itself"},
	{SIGSYS, "a system call that containers may not use"},
};

static void describe_signal(const struct ending *e, struct buf *words)
{
	int sig = signal_of(e->status);

	for (size_t i = 0; i < array_size(signals) && sig; i++)
		if (signals[i].signal == sig)
			buf_printf(words, " (%s)", signals[i].meaning);
}

void ending_describe(const struct ending *ending, struct buf *ret_words, struct buf *ret_hint)
{
	char text[64];

	if (describe_oom(ending, ret_words, ret_hint))
		return;
	buf_add_text(ret_words, command_status_text(text, ending->status));
	if (ending->was_asked)
		return;
	describe_signal(ending, ret_words);
	if (!ending->was_ready)
		buf_printf(ret_words, " before port %u answered", ending->app_port);
	if (ending->cause.kind != CAUSE_NONE) {
		buf_add_text(ret_words, ": ");
		describe[ending->cause.kind](ending, ret_words, ret_hint);
	} else if (ending->status == 0) {
		buf_add_text(ret_hint, "a Space's program has to stay in the foreground and serve");
	}
}

/* ---- Text of the app ---- */

enum { LINE_SHOWN = 200 };

/* What follows an escape character: "[31m", "]0;title\a", "(B". */
static size_t escape_length(struct str rest)
{
	size_t i = 1;

	if (rest.n < 2)
		return rest.n;
	if (rest.p[1] == '[') {
		for (i = 2; i < rest.n && (unsigned char)rest.p[i] >= 0x20 && rest.p[i] < 0x40;)
			i++;
		return i < rest.n ? i + 1 : i;
	}
	if (rest.p[1] == ']') {
		while (i < rest.n && rest.p[i] != '\a' && rest.p[i] != '\x1b')
			i++;
		return i;
	}
	return 2;
}

static void add_clean(struct str line, struct buf *ret)
{
	size_t start = ret->len;

	/* Of a progress bar the last state is what a terminal would show. */
	line = str_trim_right(line);
	if (str_rfind(line, '\r') < line.n)
		line = str_from_index(line, str_rfind(line, '\r') + 1);
	while (line.n) {
		unsigned char c = (unsigned char)line.p[0];
		if (ret->len - start >= LINE_SHOWN) {
			buf_add_text(ret, "…");
			return;
		}
		if (c == 0x1b) {
			line = str_from_index(line, escape_length(line));
			continue;
		}
		if (c >= 0x20 && c != 0x7f)
			buf_add_char(ret, (char)c);
		else if (c == '\t')
			buf_add_char(ret, ' ');
		line = str_from_index(line, 1);
	}
}

struct str last_lines(struct str text, unsigned max_lines)
{
	size_t start;

	text = str_trim_right(text);
	for (start = text.n; start > 0; start--)
		if (text.p[start - 1] == '\n' && max_lines-- <= 1)
			break;
	return str_from_index(text, start);
}

void tail_lines(struct str tail, unsigned max_lines, struct buf *ret)
{
	struct str rest = last_lines(tail, max_lines);

	while (rest.n) {
		struct str line = str_cut(&rest, '\n');
		buf_add_text(ret, "  ");
		add_clean(line, ret);
		buf_add_char(ret, '\n');
	}
}

void replace_controls(struct buf *text)
{
	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->data[i];
		if ((c < 0x20 && c != '\n') || c == 0x7f)
			text->data[i] = '?';
	}
}

static void mask_one(struct buf *text, struct str secret)
{
	cleanup(buf_done) struct buf masked = {0};
	struct str rest = buf_str(text);
	const char *hit;

	while (rest.n && (hit = memmem(rest.p, rest.n, secret.p, secret.n))) {
		buf_add(&masked, rest.p, (size_t)(hit - rest.p));
		buf_add_text(&masked, "***");
		rest = str_from_index(rest, (size_t)(hit - rest.p) + secret.n);
	}
	if (masked.len == 0)
		return;
	buf_add_str(&masked, rest);
	buf_clear(text);
	buf_add_str(text, buf_str(&masked));
}

void mask_secrets(struct buf *text, const struct str *secrets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (secrets[i].n >= 4)
			mask_one(text, secrets[i]);
}
