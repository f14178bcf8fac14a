/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "json/json.h"

/* ---- ps ---- */

struct ps_values {
	struct common_options common;
	bool all;
	bool json;
	bool quiet;
};

static const struct option_spec ps_options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct ps_values, all), NULL,
		"also those that have ended", NULL, COMPLETE_NOTHING},
	{"json", 0, OPTION_FLAG, offsetof(struct ps_values, json), NULL, "print JSON", NULL,
		COMPLETE_NOTHING},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct ps_values, quiet), NULL, "print ids only", NULL,
		COMPLETE_NOTHING},
};

/* "RUNNING (healthy)" */
static void add_stage(struct columns *t, const struct run_instance *instance)
{
	cleanup(buf_done) struct buf text = {0};

	buf_add_text(&text, instance->stage);
	if (*instance->health)
		buf_printf(&text, " (%s)", instance->health);
	columns_add(t, buf_str(&text));
}

static void ps_table(struct invocation *inv, const struct run_list *list, struct buf *ret)
{
	static const char *const head[] = {"ID", "SPACE", "STAGE", "STARTED", "URL", NULL};
	cleanup(columns_done) struct columns t;

	columns_init(&t, head);
	for (size_t i = 0; i < list->count; i++) {
		const struct run_instance *instance = &list->items[i];
		cleanup(buf_done) struct buf age = {0};
		columns_add_text(&t, instance->id);
		columns_add_text(&t, instance->space);
		add_stage(&t, instance);
		age_print(&age, instance->started, time(NULL));
		columns_add(&t, buf_str(&age));
		/* Of one that has ended it is more use to know why. */
		columns_add_text(&t, instance->pid > 0 ? instance->url : instance->reason);
	}
	columns_print(&t, &inv->out, ret);
}

static void ps_json(const struct run_list *list, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_array(&w);
	for (size_t i = 0; i < list->count; i++) {
		const struct run_instance *instance = &list->items[i];
		json_begin_object(&w);
		json_add_text(&w, "id", instance->id);
		json_add_text(&w, "space", instance->space);
		json_add_text(&w, "stage", instance->stage);
		json_add_text(&w, "health", instance->health);
		json_add_text(&w, "reason", instance->reason);
		json_add_text(&w, "url", instance->url);
		json_add_text(&w, "image", instance->image_id);
		json_add_i64(&w, "pid", instance->pid);
		json_add_text(&w, "started", instance->started);
		json_add_text(&w, "ended", instance->ended);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_line(&w);
}

static int ps_main(struct invocation *inv, struct err *err)
{
	const struct ps_values *values = inv->values;
	struct settings settings = {0};
	struct run_list list = {0};
	cleanup(buf_done) struct buf text = {0};

	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = run_list(&settings, &inv->arena, values->all, &list, err);
	if (r < 0)
		return r;
	if (values->json)
		ps_json(&list, &text);
	else if (!values->quiet)
		ps_table(inv, &list, &text);
	else
		for (size_t i = 0; i < list.count; i++)
			buf_printf(&text, "%s\n", list.items[i].id);
	return print_result(&text, err);
}

const struct cli_command cmd_ps = {
	.name = "ps",
	.summary = "list the Spaces that run",
	.operands = "",
	.about = "Lists the Spaces that this user runs on this host, newest first.",
	.groups = {{"Options", ps_options, array_size(ps_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct ps_values),
	.run = ps_main,
};

/* ---- logs ---- */

struct logs_values {
	struct common_options common;
	bool follow;
	long tail;
	bool timestamps;
};

static const struct logs_values logs_defaults = {.tail = -1};

static const struct option_spec logs_options[] = {
	{"follow", 'f', OPTION_FLAG, offsetof(struct logs_values, follow), NULL,
		"go on until the Space ends", NULL, COMPLETE_NOTHING},
	{"tail", 'n', OPTION_COUNT, offsetof(struct logs_values, tail), "LINES",
		"only so many lines from the end", NULL, COMPLETE_NOTHING},
	{"timestamps", 't', OPTION_FLAG, offsetof(struct logs_values, timestamps), NULL,
		"say when each line was written", NULL, COMPLETE_NOTHING},
};

/* Copies until end of file what may be shown on a terminal. */
static void show_safely(int from, int to)
{
	struct strip strip = {0};
	cleanup(buf_done) struct buf text = {0};
	char bytes[16384];
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		strip_feed(&strip, str_from(bytes, (size_t)n), &text);
		text_show(to, buf_str(&text));
		buf_clear(&text);
	}
}

/*
 * A child between the log and the terminal: what an app wrote may not act there. Its write end
 * is in ret_fd. Ctrl-C is for the parent, whose end is the child's.
 */
static int start_filter(pid_t *ret_pid, int *ret_fd, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	pid_t pid = fork();
	if (pid < 0) {
		int r = err_sys(err, "fork");
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0) {
		signal(SIGINT, SIG_IGN);
		close(fds[1]);
		show_safely(fds[0], STDOUT_FILENO);
		_exit(0);
	}
	close(fds[0]);
	*ret_pid = pid;
	*ret_fd = fds[1];
	return 0;
}

static int logs_main(struct invocation *inv, struct err *err)
{
	const struct logs_values *values = inv->values;
	struct settings settings = {0};
	struct run_instance instance = {0};
	cleanup_close int filter_fd = -1;
	pid_t filter = 0;
	int cancel_fd = -1;

	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = run_find(&settings, &inv->arena, inv->operands[0], &instance, err);
	if (r == 0)
		r = interrupt_watch(1, &cancel_fd, err);
	if (r == 0 && inv->out.is_terminal)
		r = start_filter(&filter, &filter_fd, err);
	if (r < 0)
		return r;
	const struct run_log_options log = {.fd = filter > 0 ? filter_fd : STDOUT_FILENO,
		.tail = values->tail,
		.follow = values->follow,
		.timestamps = values->timestamps,
		.cancel_fd = cancel_fd};
	r = run_instance_log(&settings, &instance, &log, err);
	if (filter > 0) {
		close(take_fd(&filter_fd));
		waitpid(filter, NULL, 0);
	}
	/* Ctrl-C is how following ends. */
	return r < 0 && err->kind == ERR_CANCELLED ? 0 : r;
}

const struct cli_command cmd_logs = {
	.name = "logs",
	.summary = "print what a Space wrote",
	.operands = "SPACE",
	.about =
		"Prints the log of a Space that runs or has ended: SPACE is an id, the beginning of "
		"one, or a name, which means the newest of that name.",
	.min_operands = 1,
	.max_operands = 1,
	.completes = COMPLETE_INSTANCE,
	.groups = {{"Options", logs_options, array_size(logs_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct logs_values),
	.defaults = &logs_defaults,
	.run = logs_main,
};

/* ---- stop ---- */

struct stop_values {
	struct common_options common;
	bool all;
	int64_t timeout;
};

/* As long as run(1) itself gives an app. */
static const struct stop_values stop_defaults = {.timeout = INT64_C(10000000000)};

static const struct option_spec stop_options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct stop_values, all), NULL, "every Space that runs",
		NULL, COMPLETE_NOTHING},
	{"timeout", 0, OPTION_DURATION, offsetof(struct stop_values, timeout), "TIME",
		"how long to wait before it is killed (10s)", NULL, COMPLETE_NOTHING},
};

static int stop_one(const struct settings *settings, const struct run_instance *instance,
	int64_t timeout, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};

	int r = run_instance_stop(settings, instance, timeout, err);
	if (r < 0)
		return err_wrap(err, "%s", instance->id);
	buf_printf(&text, "%s\n", instance->id);
	return print_result(&text, err);
}

static int stop_all(
	struct invocation *inv, const struct settings *settings, int64_t timeout, struct err *err)
{
	struct run_list list = {0};

	int r = run_list(settings, &inv->arena, false, &list, err);
	for (size_t i = 0; r == 0 && i < list.count; i++)
		r = stop_one(settings, &list.items[i], timeout, err);
	return r;
}

static int stop_main(struct invocation *inv, struct err *err)
{
	const struct stop_values *values = inv->values;
	struct settings settings = {0};

	if (values->all == (inv->operand_count > 0)) {
		err_set(err, ERR_INPUT,
			values->all ? "--all and SPACE exclude each other" : "SPACE is missing");
		return err_hint(err, "see: spaceport help stop");
	}
	int r = invocation_settings(inv, &settings, err);
	if (r == 0 && values->all)
		r = stop_all(inv, &settings, values->timeout, err);
	for (size_t i = 0; r == 0 && i < inv->operand_count; i++) {
		struct run_instance instance = {0};
		r = run_find(&settings, &inv->arena, inv->operands[i], &instance, err);
		if (r == 0)
			r = stop_one(&settings, &instance, values->timeout, err);
	}
	return r;
}

const struct cli_command cmd_stop = {
	.name = "stop",
	.summary = "end a Space that runs",
	.operands = "SPACE...",
	.about =
		"Asks Spaces to end (SIGTERM), kills what does not, and prints the ids of those that "
		"have ended. SPACE is an id, the beginning of one, or a name.",
	.max_operands = 1000,
	.completes = COMPLETE_INSTANCE,
	.groups = {{"Options", stop_options, array_size(stop_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct stop_values),
	.defaults = &stop_defaults,
	.run = stop_main,
};
