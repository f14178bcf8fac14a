/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instances for real: boxes, layers, crun, pasta. Needs what the program needs: without it
 * the tests skip, and say why, unless SPACEPORT_MUST_RUN is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/number.h"
#include "os/clock.h"
#include "os/dir.h"
#include "os/file.h"
#include "run/internal.h"
#include "store/store.h"

#define SECOND INT64_C(1000000000)
#define SECRET "s3cr3t-of-the-test"
#define RECIPE "the layer of these tests"

enum { PORT = 7860, PATIENCE_MS = 60000 };

static char data[] = "/var/tmp/spaceport-run-XXXXXX";
static struct settings settings = {.data = data, .runtime = "crun"};
static bool has_boxes;

/* ---- The image: one static program ---- */

struct image_job {
	struct store *store;
	int app;
};

static void put_text(int dir, const char *path, const char *text)
{
	cleanup_close int fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
}

static int fill_layer(int fs, int app, struct err *err)
{
	uint64_t bytes;
	cleanup_close int to = openat(fs, "app", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	if (to < 0)
		return err_sys(err, "create app");
	int r = file_copy(app, to, &bytes, err);
	if (r < 0)
		return r;
	if (mkdirat(fs, "etc", 0755) < 0 || mkdirat(fs, "files", 0755) < 0 ||
		mkdirat(fs, "home", 0755) < 0 || mkdirat(fs, "home/user", 0755) < 0 ||
		fchownat(fs, "home/user", 1000, 1000, 0) < 0)
		return err_sys(err, "make directories");
	put_text(fs, "etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:\n");
	return 0;
}

static int make_image(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct image_job *job = arg;
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;
	cleanup(layer_discard) struct layer_draft *draft = NULL;
	const struct digest recipe = digest_of(RECIPE, strlen(RECIPE));
	const struct layer_key key = layer_key_of(&recipe);

	(void)channel;
	int r = store_open_in_box(job->store, &layers, &images, err);
	if (r == 0)
		r = layer_begin(layers, NULL, &draft, err);
	if (r == 0)
		r = fill_layer(layer_draft_fs(draft), job->app, err);
	const struct layer_info info = {.kind = LAYER_STEP};
	return r == 0 ? layer_publish(draft, &key, &info, err) : r;
}

/* A host that lacks something is a reason to skip, everything else one to fail. */
static int no_boxes(const struct err *err)
{
	fprintf(stderr, "no boxes here: %s\n", err->text);
	return err->kind == ERR_HOST ? 0 : -1;
}

static int image_set_up(void **state)
{
	cleanup(store_free) struct store *store = NULL;
	struct err err = {0};

	(void)state;
	cleanup_close int app = open(TEST_APP, O_RDONLY | O_CLOEXEC);
	if (app < 0 || !mkdtemp(data))
		return -1;
	if (store_open(&settings, &store, &err) < 0)
		return no_boxes(&err);
	struct image_job job = {.store = store, .app = app};
	const struct sandbox_work work = {.ids = store_ids(store),
		.scratch = store_scratch(store),
		.work = make_image,
		.arg = &job,
		.cancel_fd = -1};
	if (sandbox_work_run(&work, &err) < 0)
		return no_boxes(&err);
	has_boxes = true;
	return 0;
}

static int remove_data(void *arg, struct sandbox_channel *channel, struct err *err)
{
	cleanup_close int tmp = open("/var/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)arg;
	(void)channel;
	return dir_remove_tree(tmp, strrchr(data, '/') + 1, err);
}

/* Files of an ordinary user's Spaces have owners that only a box may touch. */
static int image_gone(void **state)
{
	struct sandbox_ids ids;
	char scratch[] = "/var/tmp/spaceport-run-scratch-XXXXXX";
	struct err err = {0};

	(void)state;
	if (geteuid() == 0 || !has_boxes)
		return remove_data(NULL, NULL, &err);
	if (!mkdtemp(scratch) || sandbox_ids_find(NULL, &ids, &err) < 0)
		return -1;
	const struct sandbox_work work = {
		.ids = &ids, .scratch = scratch, .work = remove_data, .cancel_fd = -1};
	int r = sandbox_work_run(&work, &err);
	return rmdir(scratch) < 0 ? -1 : r;
}

static void need_boxes(void)
{
	if (has_boxes)
		return;
	assert_null(getenv("SPACEPORT_MUST_RUN"));
	skip();
}

struct save_job {
	struct store *store;
	struct image_record record;
};

static int save_record(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct save_job *job = arg;
	cleanup(layer_store_close) struct layer_store *layers = NULL;
	cleanup(image_store_free) struct image_store *images = NULL;

	(void)channel;
	int r = store_open_in_box(job->store, &layers, &images, err);
	return r == 0 ? image_save(images, &job->record, err) : r;
}

/* An image of the test's layer with this command; its id is in the arena. */
static const char *image_with(struct arena *a, const char *const *command)
{
	cleanup(store_free) struct store *store = NULL;
	cleanup(buf_done) struct buf json = {0};
	struct oci_config config = {.platform = oci_platform_host(),
		.author = "",
		.created = "",
		.user = "0",
		.working_dir = "/work",
		.stop_signal = ""};
	const struct digest recipe = digest_of(RECIPE, strlen(RECIPE));
	struct save_job job = {.record = {.origin = IMAGE_BUILT}};
	struct err err = {0};
	char text[DIGEST_TEXT_SIZE];

	assert_int_equal(store_open(&settings, &store, &err), 0);
	for (; *command; command++)
		oci_list_add(a, &config.cmd, str_of(*command));
	oci_list_add(a, &config.env, STR("FROM_IMAGE=1"));
	oci_list_add(a, &config.env, STR("OVERLAID=image"));
	oci_list_add(a, &config.diff_ids, str_of(digest_text(&recipe, text)));
	oci_config_print(&config, &json);
	job.store = store;
	job.record.config = buf_str(&json);
	job.record.id = digest_of(json.data, json.len);
	oci_list_add(a, &job.record.layers, str_of(layer_key_of(&recipe).hex));
	const struct sandbox_work work = {.ids = store_ids(store),
		.scratch = store_scratch(store),
		.work = save_record,
		.arg = &job,
		.cancel_fd = -1};
	if (sandbox_work_run(&work, &err) < 0)
		fail_msg("%s", err.text);
	return arena_strdup(a, digest_text(&job.record.id, text));
}

/* ---- Running ---- */

struct scene {
	struct arena arena;
	struct run_options options;
	struct run *run;
	struct buf log, waiting, warnings;
	enum run_event_kind last; /* RUN_READY, RUN_EXITED or RUN_FAILED */
	int status;
	enum err_kind error;
	struct buf text; /* of that */
};

static void scene_done(struct scene *s)
{
	run_free(s->run);
	buf_done(&s->log);
	buf_done(&s->waiting);
	buf_done(&s->warnings);
	buf_done(&s->text);
	argv_done(&s->options.env);
	argv_done(&s->options.secret_names);
	arena_done(&s->arena);
}
DEFINE_CLEANUP_VALUE(struct scene, scene_done);

static void scene_start(struct scene *s, const char *const *command)
{
	struct err err = {0};

	s->options.image_id = image_with(&s->arena, command);
	s->options.space = "ada/demo";
	s->options.app_port = PORT;
	s->options.host_port = 21000;
	if (!s->options.start_timeout)
		s->options.start_timeout = 30 * SECOND;
	argv_add(&s->options.env, "OVERLAID=given");
	argv_add(&s->options.env, "TOKEN=" SECRET);
	argv_add(&s->options.secret_names, "TOKEN");
	if (run_start(&settings, &s->options, &s->run, &err) < 0)
		fail_msg("%s", err.text);
}

static void take(struct scene *s, const struct run_event *event)
{
	struct buf *texts[] = {[RUN_LOG] = &s->log,
		[RUN_WAITING] = &s->waiting,
		[RUN_WARNING] = &s->warnings,
		[RUN_READY] = &s->text,
		[RUN_EXITED] = &s->text,
		[RUN_FAILED] = &s->text};

	if (event->kind == RUN_STARTED)
		return;
	if (texts[event->kind] == &s->text) {
		s->last = event->kind;
		s->status = event->status;
		s->error = event->error;
		buf_clear(&s->text);
	}
	buf_add_str(texts[event->kind], event->text);
}

/* Take events until one of this kind; false: it is over. */
static bool wait_for(struct scene *s, enum run_event_kind kind)
{
	struct run_event event;
	struct err err = {0};
	int r;

	for (;;) {
		while ((r = run_next(s->run, &event, &err)) == 0) {
			take(s, &event);
			if (event.kind == kind)
				return true;
		}
		if (r == RUN_E_END)
			return false;
		assert_int_equal(r, RUN_E_NONE);
		struct pollfd p = {.fd = run_fd(s->run), .events = POLLIN};
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	}
}

/* Until it is ready or has ended. */
static void scene_wait(struct scene *s)
{
	s->last = RUN_STARTED;
	(void)wait_for(s, RUN_READY); /* s->last says which */
}

/* The log comes by a way of its own. */
static void expect_log(struct scene *s, const char *part)
{
	while (!strstr(buf_text(&s->log), part) && wait_for(s, RUN_LOG))
		;
	if (!strstr(buf_text(&s->log), part))
		fail_msg("no \"%s\" in the log: %s", part, buf_text(&s->log));
}

static void expect(const struct buf *text, const char *part)
{
	if (!strstr(buf_text(text), part))
		fail_msg("no \"%s\" in: %s", part, buf_text(text));
}

static void expect_last(const struct scene *s, enum run_event_kind kind)
{
	if (s->last != kind)
		fail_msg("event %d instead of %d: %s", (int)s->last, (int)kind, buf_text(&s->text));
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 30};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static uint16_t port_of(const struct scene *s)
{
	uint64_t port = 0;
	struct str url = str_of(run_url(s->run));

	assert_true(str_starts(url, STR("http://localhost:")));
	assert_true(parse_u64(str_from_index(url, 17), UINT16_MAX, &port));
	return (uint16_t)port;
}

/* The body of what the app answers. */
static void get(const struct scene *s, const char *path, struct buf *ret)
{
	cleanup_close int fd = connect_to(port_of(s));
	cleanup_free char *request = xprintf("GET %s HTTP/1.1\r\n\r\n", path);
	struct err err = {0};

	buf_clear(ret);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	assert_int_equal(file_read_fd(fd, 1 << 20, ret, &err), 0);
	const char *body = strstr(buf_text(ret), "\r\n\r\n");
	assert_non_null(body);
	buf_cut_front(ret, (size_t)(body + 4 - ret->data));
}

#define COMMAND(...) \
	(const char *const[]) \
	{ \
		"/app", __VA_ARGS__, NULL \
	}

/* ---- tests ---- */

static void a_space_comes_up_as_user_1000(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf got = {0};

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	assert_int_equal(s.status, 200);
	assert_string_equal(buf_text(&s.text), run_url(s.run));
	expect_log(&s, "===== Application Startup at ");
	expect_log(&s, "listening on 0.0.0.0:7860\n");
	get(&s, "/", &got);
	assert_string_equal(buf_text(&got), "hello");
	get(&s, "/id", &got);
	assert_string_equal(buf_text(&got), "1000:1000");
	get(&s, "/env", &got);
	expect(&got, "FROM_IMAGE=1\n");
	expect(&got, "OVERLAID=given\n");
	expect(&got, "TOKEN=" SECRET "\n");
	expect(&got, "HOME=/home/user\n");
	expect(&got, "PATH=/usr/local/sbin");
	get(&s, "/read/proc/self/status", &got);
	expect(&got, "CapEff:\t0000000000000000\n");
	expect(&got, "CapBnd:\t0000000000000000\n");
	expect(&got, "NoNewPrivs:\t1\n");
}

static void its_disk_is_writable_and_lost(void **state)
{
	(void)state;
	need_boxes();
	for (int i = 0; i < 2; i++) {
		cleanup(scene_done) struct scene s = {0};
		cleanup(buf_done) struct buf got = {0};
		scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
		scene_wait(&s);
		expect_last(&s, RUN_READY);
		get(&s, "/write/tmp/x", &got);
		assert_string_equal(buf_text(&got), "written");
		get(&s, "/write/home/user/x", &got);
		assert_string_equal(buf_text(&got), "written");
		get(&s, "/write/files/x", &got);
		assert_string_equal(buf_text(&got), "Permission denied");
	}
}

static void the_host_cannot_be_reached_on_loopback(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf got = {0};

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	/* The Space's own port on the host: something does listen there. */
	cleanup_free char *path = xprintf("/connect/127.0.0.1:%u", port_of(&s));
	get(&s, path, &got);
	assert_string_equal(buf_text(&got), "Connection refused");
}

static void anything_passes(void **state)
{
	enum { SIZE = 4 << 20, PIECE = 65536 };
	cleanup(scene_done) struct scene s = {0};
	static const char request[] = "GET /echo HTTP/1.1\r\nUpgrade: x\r\n\r\n";
	static char out[PIECE], in[PIECE];
	size_t sent = 0, got = 0, head = strlen("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");

	(void)state;
	need_boxes();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	cleanup_close int fd = connect_to(port_of(&s));
	assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	assert_int_equal(recv(fd, in, head, MSG_WAITALL), head);
	while (got < SIZE) {
		struct pollfd p = {
			.fd = fd, .events = (short)(POLLIN | (sent < SIZE ? POLLOUT : 0))};
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		if (p.revents & POLLOUT) {
			for (size_t i = 0; i < PIECE; i++)
				out[i] = (char)((sent + i) * 31 >> 3);
			ssize_t n = send(fd, out, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
		}
		ssize_t n = recv(fd, in, PIECE, MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(in[i], (char)(got * 31 >> 3));
	}
	shutdown(fd, SHUT_WR);
	/* All that was sent comes back, then the end. */
	while (got < sent)
		got += (size_t)recv(fd, in, PIECE, 0);
	assert_int_equal(recv(fd, in, 1, 0), 0);
}

static void what_does_not_answer_is_explained(void **state)
{
	static const struct {
		const char *command[6];
		int64_t timeout; /* ms */
		enum err_kind error;
		const char *says[4];
	} rows[] = {
		{{"/app", "serve", "0.0.0.0", "8000"}, 1600, ERR_LIMIT,
			{"port 7860 did not answer within 1.6s: the app listens on 0.0.0.0:8000, not "
			 "on port 7860",
				"app_port: 8000"}},
		{{"/app", "serve", "127.0.0.1", "7860"}, 1600, ERR_LIMIT,
			{"listens on 127.0.0.1:7860 only", "0.0.0.0"}},
		{{"/app", "silent", "0.0.0.0", "7860"}, 1600, ERR_LIMIT,
			{"port 7860 takes connections but gives no answer"}},
		{{"/app", "sleep"}, 1600, ERR_LIMIT, {"nothing listens on any port"}},
		{{"/app", "exit", "3", "last words"}, 30000, ERR_FAILED,
			{"exited with 3 before port 7860 answered\n", "  last words"}},
		{{"/app", "confess", "TOKEN"}, 30000, ERR_FAILED,
			{"exited with 5", "  TOKEN is ***"}},
		{{"/app", "open", "/files/x"}, 30000, ERR_FAILED,
			{"cannot write to /files/x as UID 1000 (does not exist, and /files belongs to "
			 "root, mode 0755)"}},
		{{"/app", "open", "x"}, 30000, ERR_FAILED,
			{"cannot write to x as UID 1000 (does not exist, and /work belongs to root"}},
		{{"/no/such/program"}, 30000, ERR_FAILED, {"/no/such/program"}},
		{{"/etc/passwd"}, 30000, ERR_FAILED, {"/etc/passwd"}},
	};

	(void)state;
	need_boxes();
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(scene_done) struct scene s = {
			.options = {.start_timeout = rows[i].timeout * 1000000}};
		scene_start(&s, rows[i].command);
		scene_wait(&s);
		expect_last(&s, RUN_FAILED);
		assert_int_equal(s.error, rows[i].error);
		for (size_t k = 0; k < array_size(rows[i].says) && rows[i].says[k]; k++)
			expect(&s.text, rows[i].says[k]);
		if (rows[i].error == ERR_LIMIT)
			assert_true(s.waiting.len > 0);
	}
}

/* False when this host has no limits. */
static bool is_killed_for_memory(void)
{
	cleanup(scene_done) struct scene s = {.options = {.memory = 64 << 20}};

	scene_start(&s, COMMAND("eat"));
	/* Waits to the end when there is nothing to warn of. */
	if (wait_for(&s, RUN_WARNING) && strstr(buf_text(&s.warnings), "memory")) {
		fprintf(stderr, "no memory limits here: %s\n", buf_text(&s.warnings));
		return false;
	}
	(void)wait_for(&s, RUN_FAILED); /* or is over already */
	expect_last(&s, RUN_FAILED);
	expect(&s.text, "killed for memory: the limit is 67.1 MB");
	return true;
}

static void memory_has_its_limit(void **state)
{
	(void)state;
	need_boxes();
	if (is_killed_for_memory())
		return;
	assert_null(getenv("SPACEPORT_MUST_RUN"));
	skip();
}

static void stopping_is_asked_for(void **state)
{
	static const struct {
		const char *mode;
		int64_t timeout; /* ms */
		int status;
		const char *log;
	} rows[] = {
		{"polite", 30000, 0, "good-bye\n"},
		/* no handler: the signal would never arrive, so nobody waits for it */
		{"serve", 3600000, SIGKILL, ""},
		{"stubborn", 100, SIGKILL, "no\n"},
	};

	(void)state;
	need_boxes();
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(scene_done) struct scene s = {
			.options = {.stop_timeout = rows[i].timeout * 1000000}};
		scene_start(&s, COMMAND(rows[i].mode, "0.0.0.0", "7860"));
		scene_wait(&s);
		expect_last(&s, RUN_READY);
		run_stop(s.run);
		scene_wait(&s);
		expect_last(&s, RUN_EXITED);
		assert_int_equal(s.status, rows[i].status);
		expect(&s.log, rows[i].log);
	}
}

/* ---- what others see of it ---- */

static void read_log(const struct run_instance *instance, bool follow, struct buf *ret)
{
	char path[] = "/var/tmp/spaceport-run-log-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	const struct run_log_options options = {
		.fd = fd, .tail = -1, .follow = follow, .cancel_fd = -1};
	struct err err = {0};

	assert_int_equal(unlink(path), 0);
	if (run_instance_log(&settings, instance, &options, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(file_read_fd(fd, 1 << 20, ret, &err), 0);
}

static void forget_all(void)
{
	struct err err = {0};

	if (run_sweep(&settings, 0, &err) < 0)
		fail_msg("%s", err.text);
}

static void instances_are_listed_and_found(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(buf_done) struct buf text = {0};
	struct run_list list;
	struct run_instance found;
	struct err err = {0};

	(void)state;
	need_boxes();
	forget_all();
	scene_start(&s, COMMAND("polite", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	assert_int_equal(run_list(&settings, &s.arena, false, &list, &err), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].id, run_id(s.run));
	assert_string_equal(list.items[0].stage, "RUNNING");
	assert_string_equal(list.items[0].url, run_url(s.run));
	assert_int_equal(list.items[0].pid, getpid());
	cleanup_free char *prefix = xstrndup(run_id(s.run), 4);
	const char *const names[] = {run_id(s.run), prefix, "ada/demo", "demo"};
	for (size_t i = 0; i < array_size(names); i++)
		assert_int_equal(run_find(&settings, &s.arena, names[i], &found, &err), 0);
	assert_int_equal(run_find(&settings, &s.arena, "other", &found, &err), -ERR_MISSING);
	expect(&(struct buf){.data = err.hint, .len = strlen(err.hint)}, "ada/demo");
	/* What runs is not swept. */
	forget_all();
	get(&s, "/", &text);
	run_stop(s.run);
	scene_wait(&s);
	assert_int_equal(run_list(&settings, &s.arena, false, &list, &err), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(run_find(&settings, &s.arena, "demo", &found, &err), 0);
	assert_string_equal(found.stage, "STOPPED");
	assert_string_equal(found.reason, "exited with 0");
	assert_int_equal(found.pid, 0);
	buf_clear(&text);
	read_log(&found, false, &text);
	assert_string_equal(buf_text(&text), buf_text(&s.log));
}

/* A process like `spaceport run`. Writes a byte when the Space is ready. */
noreturn_fn static void be_a_runner(int ready)
{
	struct scene s = {0};

	scene_start(&s, COMMAND("polite", "0.0.0.0", "7860"));
	scene_wait(&s);
	if (s.last != RUN_READY || write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t start_runner(void)
{
	int fds[2];
	char byte;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		be_a_runner(fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void a_killed_runner_leaves_nothing_running(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf log = {0};
	struct run_instance found;
	struct err err = {0};
	int status;

	(void)state;
	need_boxes();
	forget_all();
	pid_t pid = start_runner();
	assert_int_equal(run_find(&settings, &a, "demo", &found, &err), 0);
	assert_int_equal(found.pid, pid);
	kill(pid, SIGKILL);
	/* Follows until the end, which nobody announces. */
	read_log(&found, true, &log);
	expect(&log, "listening on");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* ERR_MISSING once nothing of it holds the lock. */
	int r = run_instance_stop(&settings, &found, 10 * SECOND, &err);
	assert_true(r == 0 || r == -ERR_MISSING);
	assert_int_equal(run_find(&settings, &a, "demo", &found, &err), 0);
	assert_string_equal(found.stage, "STOPPED");
	assert_string_equal(found.reason, "its process was killed");
	assert_string_equal(found.ended, "");
	assert_int_equal(run_sweep(&settings, 5, &err), 0);
	assert_int_equal(run_find(&settings, &a, "demo", &found, &err), 0);
	assert_string_not_equal(found.ended, "");
}

static void others_can_stop_it(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct run_instance found;
	struct err err = {0};
	int status;

	(void)state;
	need_boxes();
	forget_all();
	pid_t pid = start_runner();
	assert_int_equal(run_find(&settings, &a, "demo", &found, &err), 0);
	if (run_instance_stop(&settings, &found, 10 * SECOND, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(run_instance_stop(&settings, &found, SECOND, &err), -ERR_MISSING);
}

static void mistakes_are_told_before_anything_starts(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	cleanup(host_port_close) struct host_port taken = {0};
	struct err err = {0};
	struct run *run = NULL;
	struct run_list list;

	(void)state;
	need_boxes();
	forget_all();
	struct run_options o = {.image_id = "sha256:00", .app_port = PORT};
	assert_int_equal(run_start(&settings, &o, &run, &err), -ERR_MISSING);
	o.image_id = image_with(&s.arena, (const char *const[]){NULL});
	assert_int_equal(run_start(&settings, &o, &run, &err), -ERR_FAILED);
	expect(&(struct buf){.data = err.hint, .len = strlen(err.hint)}, "CMD");
	o.image_id = image_with(&s.arena, COMMAND("sleep"));
	assert_int_equal(host_port_open(NULL, 21500, false, &taken, &err), 0);
	o.host_port = taken.port;
	o.host_port_fixed = true;
	assert_int_equal(run_start(&settings, &o, &run, &err), -ERR_INPUT);
	o.app_port = 0;
	assert_int_equal(run_start(&settings, &o, &run, &err), -ERR_INPUT);
	assert_int_equal(run_list(&settings, &s.arena, true, &list, &err), 0);
	assert_int_equal(list.count, 0);
}

/* Every file below the state directory. */
static void no_file_holds_the_secret(void **state)
{
	cleanup(scene_done) struct scene s = {0};
	int status;

	(void)state;
	need_boxes();
	/* With the logs of apps that have told it themselves. */
	forget_all();
	scene_start(&s, COMMAND("serve", "0.0.0.0", "7860"));
	scene_wait(&s);
	expect_last(&s, RUN_READY);
	pid_t pid = fork();
	if (pid == 0) {
		execlp("grep", "grep", "-rqsF", SECRET, data, NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* 2: not everything of the boxes can be read from here. */
	assert_true(status == 1 << 8 || status == 2 << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_space_comes_up_as_user_1000),
		cmocka_unit_test(its_disk_is_writable_and_lost),
		cmocka_unit_test(the_host_cannot_be_reached_on_loopback),
		cmocka_unit_test(anything_passes),
		cmocka_unit_test(what_does_not_answer_is_explained),
		cmocka_unit_test(memory_has_its_limit),
		cmocka_unit_test(stopping_is_asked_for),
		cmocka_unit_test(instances_are_listed_and_found),
		cmocka_unit_test(a_killed_runner_leaves_nothing_running),
		cmocka_unit_test(others_can_stop_it),
		cmocka_unit_test(mistakes_are_told_before_anything_starts),
		cmocka_unit_test(no_file_holds_the_secret),
	};

	alarm(300);
	return cmocka_run_group_tests_name("run", tests, image_set_up, image_gone);
}
