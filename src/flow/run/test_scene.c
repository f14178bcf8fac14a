/* SPDX-License-Identifier: Apache-2.0 */
#include "run/test_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/number.h"
#include "os/dir.h"
#include "os/file.h"
#include "run/internal.h"
#include "store/store.h"

#define RECIPE "the layer of these tests"

enum { PORT = 7860 };

static char data[] = "/var/tmp/spaceport-run-XXXXXX";
struct settings scene_settings = {.data = data, .runtime = "crun"};
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

int scene_set_up(void **state)
{
	cleanup(store_free) struct store *store = NULL;
	struct err err = {0};

	(void)state;
	cleanup_close int app = open(TEST_APP, O_RDONLY | O_CLOEXEC);
	if (app < 0 || !mkdtemp(data))
		return -1;
	if (store_open(&scene_settings, &store, &err) < 0)
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
int scene_tear_down(void **state)
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

void need_boxes(void)
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
const char *scene_image(struct arena *a, const char *const *command)
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

	assert_int_equal(store_open(&scene_settings, &store, &err), 0);
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

void scene_done(struct scene *s)
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
void scene_start(struct scene *s, const char *const *command)
{
	struct err err = {0};

	const char *image = scene_image(&s->arena, command);
	s->options.space = "ada/demo";
	s->options.app_port = PORT;
	s->options.host_port = 21000;
	if (!s->options.start_timeout)
		s->options.start_timeout = 30 * SECOND;
	argv_add(&s->options.env, "OVERLAID=given");
	argv_add(&s->options.env, "TOKEN=" SCENE_SECRET);
	argv_add(&s->options.secret_names, "TOKEN");
	if (run_start(&scene_settings, &s->options, image, &s->run, &err) < 0)
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
bool scene_wait_for(struct scene *s, enum run_event_kind kind)
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
		assert_int_equal(poll(&p, 1, SCENE_PATIENCE_MS), 1);
	}
}

/* Until it is ready or has ended. */
void scene_wait(struct scene *s)
{
	s->last = RUN_STARTED;
	(void)scene_wait_for(s, RUN_READY); /* s->last says which */
}

/* The log comes by a way of its own. */
void expect_log(struct scene *s, const char *part)
{
	while (!strstr(buf_text(&s->log), part) && scene_wait_for(s, RUN_LOG))
		;
	if (!strstr(buf_text(&s->log), part))
		fail_msg("no \"%s\" in the log: %s", part, buf_text(&s->log));
}

void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

void expect_last(const struct scene *s, enum run_event_kind kind)
{
	if (s->last != kind)
		fail_msg("event %d instead of %d: %s", (int)s->last, (int)kind, buf_text(&s->text));
}

int scene_connect(const struct scene *s)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(scene_port(s)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 30};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

uint16_t scene_port(const struct scene *s)
{
	uint64_t port = 0;
	struct str url = str_of(run_url(s->run));

	assert_true(str_starts(url, STR("http://localhost:")));
	assert_true(parse_u64(str_from_index(url, 17), UINT16_MAX, &port));
	return (uint16_t)port;
}

/* The body of what the app answers. */
void scene_get(const struct scene *s, const char *path, struct buf *ret)
{
	cleanup_close int fd = scene_connect(s);
	cleanup_free char *request = xprintf("GET %s HTTP/1.1\r\n\r\n", path);
	struct err err = {0};

	buf_clear(ret);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	assert_int_equal(file_read_fd(fd, 1 << 20, ret, &err), 0);
	const char *body = strstr(buf_text(ret), "\r\n\r\n");
	assert_non_null(body);
	buf_cut_front(ret, (size_t)(body + 4 - ret->data));
}
