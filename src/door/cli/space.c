/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/number.h"
#include "cli/commands.h"
#include "config/config.h"
#include "os/file.h"
#include "store/store.h"

void space_plan_done(struct space_plan *plan)
{
	run_free(plan->instance);
	argv_done(&plan->run.env);
	argv_done(&plan->run.secret_names);
}

/* Everything that is known while a plan is made. */
struct making {
	const struct space_tools *tools;
	const struct space_wish *wish;
	struct arena *arena;
	struct variables variables;
	const struct flavor *flavor;
	struct space_id id;
	struct space_config config;
	struct space_plan *plan;
	int begun; /* what run_begin() returned */
	struct err begin_error;
};

/* ---- Names ---- */

/* As a letter of a repository's name, or 0. */
static char name_char(char c)
{
	static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const char *at = strchr(upper, c);

	if (at)
		return lower[at - upper];
	if (!strchr(lower, c))
		return '\0';
	return c;
}

const char *space_image_name(struct arena *a, const char *name)
{
	cleanup(buf_done) struct buf text = {0};
	bool gap = false;

	/* Components of a repository: [a-z0-9]+ with single separators between them. */
	for (const char *c = name; *c; c++) {
		char low = name_char(*c);
		if (low && gap && text.len > 0)
			buf_add_char(&text, '-');
		if (low)
			buf_add_char(&text, low);
		gap = !low;
	}
	return arena_printf(
		a, "spaceport.local/%s:latest", text.len > 0 ? buf_text(&text) : "space");
}

static const char *user_name(struct arena *a)
{
	const struct passwd *user = getpwuid(geteuid());

	return space_name_from(a, str_of(user ? user->pw_name : "local"));
}

/* --name as [OWNER/]NAME; what it leaves open comes from the user and from `name`. */
static int make_id(struct making *m, const char *name, struct err *err)
{
	const char *wanted = m->wish->name;

	if (!wanted)
		wanted = space_name_from(m->arena, str_of(name));
	if (!strchr(wanted, '/'))
		wanted = arena_printf(m->arena, "%s/%s", user_name(m->arena), wanted);
	if (space_id_parse(m->arena, str_of(wanted), &m->id, err) < 0)
		return err_wrap(err, "--name");
	m->plan->run.space = m->id.text;
	return 0;
}

/* ---- README.md ---- */

static void show_findings(struct making *m, const struct source *readme)
{
	const struct space_tools *tools = m->tools;

	for (size_t i = 0; i < m->config.finding_count; i++) {
		cleanup(buf_done) struct buf text = {0};
		space_finding_print(&m->config.findings[i], readme, &text);
		if (tools->inv->wants_json_story)
			progress_note(tools->progress, "finding", buf_str(&text));
		else
			text_show(STDERR_FILENO, buf_str(&text));
	}
}

static int read_readme(struct making *m, struct err *err)
{
	const char *path = arena_printf(m->arena, "%s/README.md", m->wish->target);
	cleanup(buf_done) struct buf text = {0};

	int r = file_read(AT_FDCWD, path, SPACE_README_MAX, &text, err);
	if (r == -ERR_MISSING) {
		err_set(err, ERR_INPUT, "no README.md in %s", m->wish->target);
		return err_hint(err, "a Space has a README.md that begins with its YAML block; "
				     "without one: spaceport build DIR");
	}
	if (r < 0)
		return r;
	const struct source readme = {
		.name = "README.md", .text = arena_str(m->arena, buf_str(&text))};
	space_config_parse(m->arena, &readme, &m->config);
	show_findings(m, &readme);
	/* What is shown already with its place is not said twice. */
	if (m->config.error_count > 0)
		return err_set(err, ERR_INPUT, "README.md has %zu error%s, nothing was built",
			m->config.error_count, m->config.error_count == 1 ? "" : "s");
	return space_config_require_docker(&m->config, &readme, err);
}

/* An image comes without README.md: every field has its default. */
static void default_config(struct making *m)
{
	const struct source readme = {.name = "README.md", .text = STR("---\nsdk: docker\n---\n")};

	space_config_parse(m->arena, &readme, &m->config);
}

/* ---- The run ---- */

static void warn(struct making *m, const char *text)
{
	const struct run_event event = {.kind = RUN_WARNING, .text = str_of(text)};

	progress_on_run(m->tools->progress, &event);
}

static bool is_port_free(const char *address, uint16_t port)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1;

	/* What cannot be told here is told by whoever really listens. */
	if (inet_pton(AF_INET, address, &in4.sin_addr) != 1)
		return true;
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd < 0 || bind(fd, (struct sockaddr *)&in4, sizeof(in4)) == 0;
}

/* SPACE_HOST names the port, so it is chosen before the Space starts. */
static void choose_port(struct making *m)
{
	struct run_options *run = &m->plan->run;

	run->app_port = m->wish->app_port ? m->wish->app_port : (uint16_t)m->config.app_port;
	run->host_port = m->wish->port ? m->wish->port : run->app_port;
	run->host_port_fixed = m->wish->port != 0;
	run->listen = m->wish->listen;
	while (!run->host_port_fixed && run->host_port < UINT16_MAX &&
		!is_port_free(run->listen, run->host_port))
		run->host_port++;
	if (!run->host_port_fixed && run->host_port != run->app_port)
		warn(m, arena_printf(m->arena, "port %u is taken on this host, using %u",
				run->app_port, run->host_port));
}

static void make_run(struct making *m)
{
	struct run_options *run = &m->plan->run;

	choose_port(m);
	run->flavor = m->flavor->name;
	run->memory = (uint64_t)m->flavor->ram_gb << 30;
	run->milli_cpus = m->flavor->vcpu * 1000;
	run->start_timeout =
		m->wish->timeout > 0 ? m->wish->timeout : m->config.startup_duration_timeout;
	argv_copy(&run->env, &m->variables.env);
	for (size_t i = 0; i < m->variables.secrets.count; i++) {
		struct str value = str_of(m->variables.secrets.items[i]);
		struct str name = str_cut(&value, '=');
		argv_set_env(&run->env, name, value);
	}
	argv_copy(&run->secret_names, &m->variables.secret_names);
	space_environment(&m->config, m->flavor, &m->id,
		arena_printf(m->arena, "localhost:%u", run->host_port), &run->env);
}

/* ---- The image ---- */

/*
 * Secrets of a Space are secrets of its build, under the same names. A value that was given on
 * the command line gets a variable of its own, since the build reads them from the environment.
 */
static void build_secrets(struct making *m, struct build_options *options)
{
	const struct argv *secrets = &m->variables.secrets;
	struct build_secret *list = arena_array(m->arena, secrets->count + 1, sizeof(*list));

	for (size_t i = 0; i < secrets->count; i++) {
		struct str value = str_of(secrets->items[i]), name = str_cut(&value, '=');
		list[i].id = arena_str(m->arena, name).p;
		list[i].env = arena_printf(m->arena, "SPACEPORT_SECRET_%s", list[i].id);
		setenv(list[i].env, value.p, 1);
	}
	options->secrets = list;
	options->secret_count = secrets->count;
}

static void forget_secrets(const struct build_options *options)
{
	for (size_t i = 0; i < options->secret_count; i++)
		unsetenv(options->secrets[i].env);
}

/* The image is there: no need to wait until the build has put everything away. */
static void on_build(void *arg, const struct build_event *event)
{
	struct making *m = arg;

	progress_on_build(m->tools->progress, event);
	if (event->kind == BUILD_IMAGE)
		m->begun = run_begin(
			m->plan->instance, arena_str(m->arena, event->text).p, &m->begin_error);
}

static int build_space(struct making *m, struct err *err)
{
	struct build_options options = {
		.on_event = on_build,
		.arg = m,
		.cancel_fd = m->tools->cancel_fd,
	};

	m->plan->image = space_image_name(m->arena, m->id.name);
	argv_add(&options.tags, m->plan->image);
	/* Variables are build arguments, too; what --build-arg says wins. */
	argv_copy(&options.build_args, &m->variables.env);
	build_flags_apply(m->wish->build, m->wish->target, &options);
	build_secrets(m, &options);
	int r = build_flags_agents(m->arena, m->wish->build, &options, err);
	if (r == 0)
		r = build_run(m->tools->settings, &options, &m->plan->build, err);
	forget_secrets(&options);
	argv_done(&options.tags);
	argv_done(&options.build_args);
	argv_done(&options.contexts);
	argv_done(&options.allow);
	if (r < 0)
		return r;
	m->plan->is_built = true;
	if (m->begun < 0)
		*err = m->begin_error;
	return m->begun;
}

static int start_folder(struct making *m, struct err *err)
{
	cleanup_free char *path = realpath(m->wish->target, NULL);

	if (!path)
		return err_sys(err, "%s", m->wish->target);
	const char *slash = strrchr(path, '/');
	int r = read_readme(m, err);
	if (r == 0)
		r = make_id(m, slash ? slash + 1 : path, err);
	if (r < 0)
		return r;
	make_run(m);
	r = run_prepare(m->tools->settings, &m->plan->run, &m->plan->instance, err);
	return r < 0 ? r : build_space(m, err);
}

/* The one port that the image exposes; with none or several of them the Hub's default. */
static uint16_t exposed_port(struct making *m, const struct image_record *record)
{
	struct oci_config config = {0};
	uint64_t port;

	if (oci_config_parse(m->arena, record->config, &config, NULL) < 0 ||
		config.exposed_ports.count != 1)
		return (uint16_t)m->config.app_port;
	struct str rest = str_of(config.exposed_ports.items[0]);
	if (!parse_u64(str_cut(&rest, '/'), UINT16_MAX, &port) || port == 0)
		return (uint16_t)m->config.app_port;
	return (uint16_t)port;
}

static int pull_image(
	struct making *m, struct store *store, struct image_record *ret, struct err *err)
{
	const char *target = m->wish->target;
	const struct store_transfer transfer = {
		.on_progress = progress_on_transfer,
		.arg = m->tools->progress,
		.cancel_fd = m->tools->cancel_fd,
	};
	struct oci_reference reference;

	if (str_starts(str_of(target), STR("sha256:"))) {
		err_set(err, ERR_MISSING, "no such image: %s", target);
		return err_hint(err, "see what there is: spaceport images");
	}
	if (oci_reference_parse(m->arena, str_of(target), &reference, err) < 0)
		return err_wrap(err, "neither a folder nor an image");
	return store_pull(store, m->arena, &reference, &transfer, ret, err);
}

static int start_image(struct making *m, struct err *err)
{
	const char *target = m->wish->target;
	cleanup(store_free) struct store *store = NULL;
	struct image_record record = {0};
	char text[DIGEST_TEXT_SIZE];

	int r = store_open(m->tools->settings, &store, err);
	if (r == 0)
		r = image_find(store_images(store), m->arena, str_of(target), &record, err);
	if (r == IMAGE_E_ABSENT || (r == 0 && m->wish->build->pull))
		r = pull_image(m, store, &record, err);
	if (r < 0)
		return r;
	default_config(m);
	m->config.app_port = exposed_port(m, &record);
	m->plan->image = target;
	digest_text(&record.id, text);
	/* "registry/path/name:tag" is called "name". */
	struct str name = str_of(target);
	name = str_from_index(name, str_rfind(name, '/') == name.n ? 0 : str_rfind(name, '/') + 1);
	name = str_starts(name, STR("sha256:")) ? str_slice(name, 7, 19)
						: str_slice(name, 0, str_find(name, ':'));
	r = make_id(m, arena_str(m->arena, name).p, err);
	if (r < 0)
		return r;
	make_run(m);
	return run_start(m->tools->settings, &m->plan->run, text, &m->plan->instance, err);
}

static bool is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int start(struct making *m, struct err *err)
{
	const char *hardware = m->wish->hardware ? m->wish->hardware : FLAVOR_DEFAULT;
	const char *target = m->wish->target;

	if (flavor_parse(str_of(hardware), &m->flavor, err) < 0)
		return err_wrap(err, "--hardware");
	int r = variables_read(m->wish->variables, &m->variables, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->variables.unset.count; i++)
		warn(m, arena_printf(m->arena, "--env %s: the environment has no such variable",
				m->variables.unset.items[i]));
	if (m->flavor->gpus > 0)
		warn(m, arena_printf(m->arena,
				"%s has a GPU (%s), which is not given to Spaces yet",
				m->flavor->name, m->flavor->accelerator));
	if (is_folder(target))
		r = start_folder(m, err);
	else if (*target == '/' || *target == '.')
		r = err_set(err, ERR_MISSING, "%s: no such folder", target);
	else
		r = start_image(m, err);
	return r;
}

int space_start(const struct space_tools *tools, const struct space_wish *wish,
	struct space_plan *ret, struct err *err)
{
	struct making m = {
		.tools = tools,
		.wish = wish,
		.arena = &tools->inv->arena,
		.plan = ret,
	};

	int r = start(&m, err);
	variables_done(&m.variables);
	return r;
}
