/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "layer/test_archive.h"
#include "os/clock.h"

/* ---- Confined ---- */

static int count_reports;

static void on_progress(void *arg, const struct layer_unpack_stats *stats)
{
	uint64_t *last = arg;

	assert_true(stats->read >= *last);
	*last = stats->read;
	count_reports++;
}

static int start_confined(struct buf *tar, int root, struct layer_unpacker **ret,
	const struct layer_unpack_options *o)
{
	struct err err = {0};
	int fd = archive_file(buf_str(tar));
	int r = layer_unpacker_start(root, fd, o, ret, &err);

	if (r < 0)
		print_message("%s\n", err.text);
	close(fd);
	return r;
}

static void confined_unpacking_reports(void **state)
{
	SCRATCH(state);
	cleanup(buf_done) struct buf tar = {0}, big = {0};
	uint64_t last = 0;
	const struct layer_unpack_options options = {.progress = on_progress, .arg = &last};
	struct layer_unpack_stats stats;
	int root = archive_root(s);

	for (int i = 0; i < 1 << 20; i++)
		buf_add_text(&big, "sixteen bytes...");
	const struct item items[] = {{"F\305\221", .data = big.data},
		{"x", .pax = {"path=caf\303\251"}},
		{"d/hard", '1', .link = "x", .pax = {"linkpath=caf\303\251"}}, {".wh.gone"},
		{"fifo", '6', 0600}, {"null", '3', 0666},
		{"ping", '0', 0755, 9, 9, .pax = {CAPS_RECORD}, .pax_size = sizeof(CAPS_RECORD)}};
	for (size_t i = 0; i < array_size(items); i++)
		archive_add(&tar, &items[i]);
	archive_end(&tar);
	struct layer_unpacker *u = NULL;
	count_reports = 0;
	assert_int_equal(start_confined(&tar, root, &u, &options), 0);
	assert_true(layer_unpacker_fd(u) >= 0);
	assert_ok(layer_unpacker_finish(u, &stats, &err), &err);
	layer_unpacker_free(u);
	assert_true(count_reports >= 1);
	assert_int_equal(stats.bytes, big.len);
	assert_int_equal(stats.devices, 1);
	assert_int_equal(stats.xattrs, 0);
	assert_string_equal(type_of(root, "gone"), "w");
	assert_string_equal(type_of(root, "fifo"), "p");
	assert_string_equal(type_of(root, "d/hard"), "-");
	close(root);
}

static void confined_errors_come_back(void **state)
{
	SCRATCH(state);
	static const struct item items[] = {{"ok", .data = "ok"}, {"../x"}};
	const struct layer_unpack_options options = {0};
	struct layer_unpack_stats stats;
	int root = archive_root(s), pipes[2];
	cleanup(buf_done) struct buf tar = {0};

	for (size_t i = 0; i < array_size(items); i++)
		archive_add(&tar, &items[i]);
	archive_end(&tar);
	struct layer_unpacker *u = NULL;
	assert_int_equal(start_confined(&tar, root, &u, &options), 0);
	assert_int_equal(layer_unpacker_finish(u, &stats, &err), -ERR_INPUT);
	assert_string_equal(err.text, "entry ../x: a name with \"..\"");
	assert_int_equal(stats.entries, 2);
	layer_unpacker_free(u);
	/* Nobody feeds it: it waits, and goes with its handle. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	close(pipes[0]);
	layer_unpacker_free(u);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	close(pipes[1]);
	close(root);
}

/* A line of the only child's /proc/PID/status, or of where its namespace link leads. */
static const char *child_says(const char *what)
{
	static char text[256];
	char path[64], children[64];
	const char *pid = read_file(AT_FDCWD, "/proc/thread-self/children");

	assert_non_null(pid);
	snprintf(children, sizeof(children), "%.*s", (int)strspn(pid, "0123456789"), pid);
	snprintf(path, sizeof(path), "/proc/%s/status", children);
	const char *status = read_file(AT_FDCWD, path);
	const char *line = status ? strstr(status, what) : NULL;
	snprintf(text, sizeof(text), "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
	return text;
}

static void read_child_link(const char *name, char *to, size_t size)
{
	char path[64];
	const char *pid = read_file(AT_FDCWD, "/proc/thread-self/children");

	assert_non_null(pid);
	snprintf(path, sizeof(path), "/proc/%.*s/%s", (int)strspn(pid, "0123456789"), pid, name);
	ssize_t n = readlink(path, to, size - 1);
	assert_true(n > 0);
	to[n] = '\0';
}

/* What the child has given up, by what the kernel says of it. */
static void the_child_is_confined(void **state)
{
	SCRATCH(state);
	const struct layer_unpack_options options = {0};
	const struct timespec nap = {.tv_nsec = 5000000};
	struct layer_unpacker *u = NULL;
	char ours[64] = "", theirs[64] = "";
	int root = archive_root(s), pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	/* Capabilities go last but one; five seconds are plenty. */
	static const char mask[] = "CapEff:\t000000008800001b";
	for (int i = 0; i < 1000 && strcmp(child_says("CapEff:"), mask) != 0; i++)
		nanosleep(&nap, NULL);
	assert_string_equal(child_says("CapEff:"), mask);
	assert_string_equal(child_says("CapPrm:"), "CapPrm:\t000000008800001b");
	assert_string_equal(child_says("NoNewPrivs:"), "NoNewPrivs:\t1");
	assert_true(readlink("/proc/self/ns/net", ours, sizeof(ours) - 1) > 0);
	read_child_link("ns/net", theirs, sizeof(theirs));
	assert_string_not_equal(ours, theirs);
	layer_unpacker_free(u);
	close(pipes[0]);
	close(pipes[1]);
	close(root);
}

static int feed_slowly_and_die(void *arg)
{
	struct scratch *s = arg;
	const struct layer_unpack_options options = {0};
	struct layer_draft *draft = NULL;
	struct layer_unpacker *u = NULL;
	struct err err = {0};
	int pipes[2];
	static const struct item item = {"f", .data = "f"};
	cleanup(buf_done) struct buf tar = {0};

	archive_add(&tar, &item);
	if (layer_begin(s->store, NULL, &draft, &err) < 0 || pipe2(pipes, O_CLOEXEC) < 0 ||
		layer_unpacker_start(layer_draft_fs(draft), pipes[0], &options, &u, &err) < 0)
		return 1;
	if (write(pipes[1], tar.data, tar.len) != (ssize_t)tar.len)
		return 2;
	while (!*type_of(layer_draft_fs(draft), "f")) {
		struct pollfd report = {.fd = layer_unpacker_fd(u), .events = POLLIN};
		if (poll(&report, 1, 1) == 1 && layer_unpacker_step(u, &err) != LAYER_E_BUSY)
			return 3; /* it gave up */
	}
	raise(SIGKILL);
	return 4;
}

static void a_kill_in_the_midst_leaves_only_trash(void **state)
{
	SCRATCH(state);
	struct layer_store *again = NULL;

	assert_int_equal(in_child(feed_slowly_and_die, s), 256 + SIGKILL);
	int fd = openat(s->dir, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(layer_store_open(fd, LAYER_WRITE, &again, &err), &err);
	close(fd);
	assert_int_equal(count_entries(s->dir, "store/active"), 0);
	assert_int_equal(count_entries(s->dir, "store/layers"), 0);
	assert_ok(layer_tidy(again, &err), &err);
	layer_store_close(again);
}

static void processor_time_is_limited(void **state)
{
	SCRATCH(state);
	const struct layer_unpack_options options = {.limits = {.cpu_seconds = 1}};
	int root = archive_root(s), pipes[2];
	cleanup(buf_done) struct buf tar = {0};
	struct layer_unpacker *u = NULL;

	/* Something that never ends and costs no disk: what follows the archive. */
	for (int i = 0; i < 256; i++)
		archive_end(&tar);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_ok(layer_unpacker_start(root, pipes[0], &options, &u, &err), &err);
	close(pipes[0]);
	pid_t feeder = fork();
	if (feeder == 0) {
		while (write(pipes[1], tar.data, tar.len) > 0)
			;
		_exit(0);
	}
	close(pipes[1]);
	int r = layer_unpacker_finish(u, NULL, &err);
	layer_unpacker_free(u);
	kill(feeder, SIGKILL);
	waitpid(feeder, NULL, 0);
	assert_int_equal(r, -ERR_LIMIT);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(confined_unpacking_reports),
		WITH_SCRATCH(confined_errors_come_back),
		WITH_SCRATCH(the_child_is_confined),
		WITH_SCRATCH(a_kill_in_the_midst_leaves_only_trash),
		WITH_SCRATCH(processor_time_is_limited),
	};

	scratch_enter();
	int failed = cmocka_run_group_tests_name("layer unpacker", tests, NULL, NULL);
	scratch_leave();
	return failed;
}
