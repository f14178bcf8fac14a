/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "store/store.h"

struct run_values {
	struct common_options common;
	struct build_flags build;
	uint16_t app_port;
	const char *hardware;
	const char *listen;
	const char *name;
	uint16_t port;
	bool rm_image;
	int64_t timeout;
	struct variable_flags variables;
};

static const struct option_spec own_options[] = {
	{"app-port", 0, OPTION_PORT, offsetof(struct run_values, app_port), "PORT",
		"the port the app listens on (app_port of README.md, the port an image exposes)",
		NULL, COMPLETE_NOTHING},
	{"env", 'e', OPTION_LIST, offsetof(struct run_values, variables.env), "NAME[=VALUE]",
		"a variable; without a value that of the environment", NULL, COMPLETE_NOTHING},
	{"env-file", 0, OPTION_LIST, offsetof(struct run_values, variables.env_files), "FILE",
		"variables, one NAME=VALUE a line", NULL, COMPLETE_FILE},
	{"hardware", 0, OPTION_TEXT, offsetof(struct run_values, hardware), "FLAVOR",
		"what the Space may use (cpu-basic: 2 vCPU, 16 GB)", NULL, COMPLETE_FLAVOR},
	{"listen", 0, OPTION_TEXT, offsetof(struct run_values, listen), "ADDRESS",
		"address on this host (127.0.0.1)", NULL, COMPLETE_NOTHING},
	{"name", 0, OPTION_TEXT, offsetof(struct run_values, name), "[OWNER/]NAME",
		"what the Space is called (USER/FOLDER)", NULL, COMPLETE_NOTHING},
	{"port", 'p', OPTION_PORT, offsetof(struct run_values, port), "PORT",
		"port on this host (app_port, or the next one that is free)", NULL,
		COMPLETE_NOTHING},
	{"rm-image", 0, OPTION_FLAG, offsetof(struct run_values, rm_image), NULL,
		"remove the image in the end", NULL, COMPLETE_NOTHING},
	{"secret", 0, OPTION_LIST, offsetof(struct run_values, variables.secrets), "NAME[=VALUE]",
		"a secret; without a value that of the environment", NULL, COMPLETE_NOTHING},
	{"timeout", 0, OPTION_DURATION, offsetof(struct run_values, timeout), "TIME",
		"how long the app may take to answer (startup_duration_timeout: 30m)", NULL,
		COMPLETE_NOTHING},
};

static const struct run_values defaults = {.listen = "127.0.0.1"};

static int remove_image(const struct space_tools *tools, const char *image, struct err *err)
{
	cleanup(store_free) struct store *store = NULL;
	struct store_removed removed = {0};

	int r = store_open(tools->settings, &store, err);
	if (r == 0)
		r = store_remove(store, &tools->inv->arena, str_of(image), true, &removed, err);
	if (r < 0)
		return err_wrap(err, "--rm-image %s", image);
	return 0;
}

/* What killed runs left goes before the next one starts; a fault in that is no reason not to. */
static void sweep(const struct space_tools *tools)
{
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};

	if (run_sweep(tools->settings, KEPT_RUNS, &err) == 0)
		return;
	buf_printf(&text, "clean up after earlier runs: %s", err.text);
	progress_note(tools->progress, "warning", buf_str(&text));
}

static int follow_to_end(const struct space_tools *tools, struct space_plan *plan, struct err *err)
{
	int same_fd;

	/* A Space is stopped by the first signal and killed by the second, in order. */
	int r = interrupt_watch(2, &same_fd, err);
	pid_t collector = plan->is_built && plan->build.cached < plan->build.steps
				  ? collect_beside(tools->settings)
				  : -1;
	if (r == 0)
		r = follow_run(tools, plan, plan->instance, err);
	collect_end(collector);
	run_free(take_ptr(plan->instance));
	return r;
}

static int run_with(const struct space_tools *tools, const struct space_wish *wish, struct err *err)
{
	const struct run_values *values = tools->inv->values;
	cleanup(space_plan_done) struct space_plan plan = {0};

	sweep(tools);
	int r = space_start(tools, wish, &plan, err);
	if (r < 0)
		return r;
	r = follow_to_end(tools, &plan, err);
	if (values->rm_image) {
		struct err second = {0};
		/* The first error is the one to hear of. */
		int removed = remove_image(tools, plan.image, r < 0 ? &second : err);
		r = r < 0 ? r : removed;
	}
	return r;
}

static int run_main(struct invocation *inv, struct err *err)
{
	const struct run_values *values = inv->values;
	struct settings settings = {0};
	cleanup(progress_free) struct progress *progress =
		progress_new(values->build.progress, STDERR_FILENO);
	struct space_tools tools = {
		.inv = inv, .settings = &settings, .progress = progress, .cancel_fd = -1};
	const struct space_wish wish = {
		.target = inv->operand_count > 0 ? inv->operands[0] : ".",
		.name = values->name,
		.hardware = values->hardware,
		.listen = values->listen,
		.port = values->port,
		.app_port = values->app_port,
		.timeout = values->timeout,
		.build = &values->build,
		.variables = &values->variables,
	};

	inv->wants_json_story = values->build.progress == PROGRESS_JSON;
	int r = invocation_settings(inv, &settings, err);
	if (r == 0)
		r = interrupt_watch(1, &tools.cancel_fd, err);
	if (r == 0)
		r = run_with(&tools, &wish, err);
	progress_end(progress);
	return r;
}

const struct cli_command cmd_run = {
	.name = "run",
	.summary = "build and run a Space, as Hugging Face would",
	.operands = "[DIR|IMAGE]",
	.about = "Reads README.md in DIR (the current directory), builds the image if anything "
		 "changed, starts a fresh container as user 1000, waits until app_port answers, "
		 "prints the URL, and follows the log until Ctrl-C. An IMAGE is run as it is.",
	.max_operands = 1,
	.completes = COMPLETE_DIR_OR_IMAGE,
	.groups = {{"Options", own_options, array_size(own_options), 0},
		{"Build options", build_option_specs, BUILD_OPTIONS,
			offsetof(struct run_values, build)},
		COMMON_GROUP},
	.values_size = sizeof(struct run_values),
	.defaults = &defaults,
	.run = run_main,
};
