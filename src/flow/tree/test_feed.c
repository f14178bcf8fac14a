/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "os/file.h"
#include "tree/fixture.h"

/* A child that serves the selections; *ret_socket is our end. */
static pid_t serve(const struct tree_selection *const *selections, size_t count, int *ret_socket)
{
	int pair[2];
	struct err err = {0};

	assert_int_equal(tree_socket_pair(pair, &err), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		_exit(tree_serve(pair[1], selections, count, &err) == 0 ? 0 : 1);
	}
	close(pair[1]);
	*ret_socket = pair[0];
	return pid;
}

static void hang_up(pid_t pid, int socket)
{
	int status = -1;

	close(socket);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Everything the feed says, contents included. */
static int drain(struct tree_feed *feed, struct buf *ret, struct err *err)
{
	const struct tree_entry *e;
	int fd, r;

	while ((r = tree_feed_next(feed, &e, &fd, err)) == 0) {
		buf_printf(ret, "%s%s %o %u:%u %llu %lld %llu link %u", e->is_source ? "* " : "",
			e->path, e->mode, e->uid, e->gid, (unsigned long long)e->size,
			(long long)e->mtime, (unsigned long long)e->rdev, e->link);
		if (e->target)
			buf_printf(ret, " -> %s", e->target);
		for (size_t i = 0; i < e->xattr_count; i++)
			buf_printf(ret, " %s=%.*s", e->xattrs[i].name, STR_ARG(e->xattrs[i].value));
		buf_add_text(ret, fd >= 0 ? " = " : "");
		if (fd >= 0)
			assert_int_equal(file_read_fd(fd, 1 << 20, ret, NULL), 0);
		buf_add_char(ret, '\n');
	}
	return r;
}

static void make_tree(int root)
{
	put_file(root, "d/a", "first", 0640);
	put_file(root, "d/sub/empty", "", 0644);
	put_file(root, "d/sub/suid", "x", 04755);
	put_file(root, "d/\xff\xfe", "bytes", 0600);
	put_link(root, "d/link", "/etc/passwd");
	assert_int_equal(mkfifoat(root, "d/pipe", 0600), 0);
	assert_int_equal(linkat(root, "d/a", root, "d/z", 0), 0);
	int fd = openat(root, "d/a", O_RDONLY);
	struct tree_xattr xattrs[] = {{"user.color", STR("blue\0green")}, {"user.empty", STR("")}};
	tree_xattrs_write(fd, &(struct tree_entry){.xattrs = xattrs, .xattr_count = 2});
	close(fd);
	fd = sub(root, "d/sub");
	tree_xattrs_write(fd, &(struct tree_entry){.xattrs = xattrs, .xattr_count = 1});
	close(fd);
}

static void a_socket_says_what_is_here(void **state)
{
	int root = *(int *)*state;
	cleanup(buf_done) struct buf here = {0}, there = {0}, again = {0};
	struct err err = {0};

	make_tree(root);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", "d/a");
	const struct tree_selection *const all[] = {s};
	struct tree_feed *feed = tree_feed_local(s);
	assert_int_equal(drain(feed, &here, &err), TREE_FEED_END);
	tree_feed_free(feed);
	assert_non_null(strstr(here.data, "user.color=blue"));
	int socket;
	pid_t pid = serve(all, 1, &socket);
	feed = tree_feed_receive(socket, 0);
	assert_int_equal(drain(feed, &there, &err), TREE_FEED_END);
	assert_string_equal(here.data, there.data);
	tree_feed_free(feed);
	/* A feed that is left in the middle does not disturb the next one. */
	const struct tree_entry *e;
	int fd;
	feed = tree_feed_receive(socket, 0);
	assert_int_equal(tree_feed_next(feed, &e, &fd, &err), 0);
	tree_feed_free(feed);
	feed = tree_feed_receive(socket, 0);
	assert_int_equal(drain(feed, &again, &err), TREE_FEED_END);
	assert_string_equal(here.data, again.data);
	tree_feed_free(feed);
	hang_up(pid, socket);
}

static void many_files_come_in_order(void **state)
{
	int root = *(int *)*state;
	char name[256];
	cleanup(buf_done) struct buf here = {0}, there = {0};
	struct err err = {0};

	/* More than fit into one message, by their number and by their size. */
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "d/%03d", i);
		put_file(root, name, name, 0644);
	}
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "e/%0*d", 240, i);
		put_link(root, name, "target");
	}
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", "e");
	const struct tree_selection *const all[] = {s, s};
	struct tree_feed *feed = tree_feed_local(s);
	assert_int_equal(drain(feed, &here, &err), TREE_FEED_END);
	tree_feed_free(feed);
	int socket;
	pid_t pid = serve(all, 2, &socket);
	feed = tree_feed_receive(socket, 1);
	assert_int_equal(drain(feed, &there, &err), TREE_FEED_END);
	tree_feed_free(feed);
	assert_string_equal(here.data, there.data);
	hang_up(pid, socket);
}

static void the_largest_record_fits(void **state)
{
	int root = *(int *)*state;
	char name[NAME_MAX + 1], target[TREE_MAX_PATH + 1], value[4000];
	cleanup(buf_done) struct buf there = {0};
	struct err err = {0};
	int dir = openat(root, ".", O_RDONLY | O_DIRECTORY);

	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	memset(target, 't', TREE_MAX_PATH);
	target[TREE_MAX_PATH] = '\0';
	/* 15 names of 255 bytes, and one that fills the path up to its limit. */
	for (int i = 0; i < 15; i++) {
		assert_int_equal(mkdirat(dir, name, 0755), 0);
		int below = sub(dir, name);
		close(dir);
		dir = below;
	}
	assert_int_equal(symlinkat(target, dir, name), 0);
	memset(value, 'v', sizeof(value));
	struct tree_xattr xattr = {"user.large", str_from(value, 3500)};
	tree_xattrs_write(dir, &(struct tree_entry){.xattrs = &xattr, .xattr_count = 1});
	close(dir);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, ".", NULL);
	const struct tree_selection *const all[] = {s};
	assert_int_equal(strlen(s->nodes[s->count - 1].path), TREE_MAX_PATH);
	assert_int_equal(s->nodes[s->count - 2].xattr_count, 1);
	int socket;
	pid_t pid = serve(all, 1, &socket);
	struct tree_feed *feed = tree_feed_receive(socket, 0);
	assert_int_equal(drain(feed, &there, &err), TREE_FEED_END);
	tree_feed_free(feed);
	assert_non_null(strstr(there.data, target));
	hang_up(pid, socket);
}

static void point_35_sockets_have_no_descriptor(void **state)
{
	int root = *(int *)*state;
	struct err err = {0};
	const struct tree_entry *e;
	int fd;

	assert_int_equal(mknodat(root, "sock", S_IFSOCK | 0755, 0), 0);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "sock", NULL);
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_local(s);
	assert_int_equal(tree_feed_next(feed, &e, &fd, &err), 0);
	assert_int_equal(e->mode, S_IFREG | 0755);
	assert_int_equal(e->size, 0);
	assert_int_equal(fd, -1);
}

static void errors_of_the_server_arrive(void **state)
{
	int root = *(int *)*state;
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};

	make_tree(root);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	const struct tree_selection *const all[] = {s};
	put_file(root, "d/sub/suid", "longer", 0755);
	int socket;
	pid_t pid = serve(all, 1, &socket);
	struct tree_feed *feed = tree_feed_receive(socket, 0);
	assert_true(drain(feed, &text, &err) < 0);
	assert_int_equal(err.kind, ERR_FAILED);
	assert_string_equal(
		err.text, "the build context: d/sub/suid changed while the build was reading it");
	assert_non_null(strstr(err.hint, "list it in .dockerignore"));
	tree_feed_free(feed);
	/* The server goes on. */
	feed = tree_feed_receive(socket, 7);
	assert_true(drain(feed, &text, &err) < 0);
	assert_int_equal(err.kind, ERR_BUG);
	tree_feed_free(feed);
	hang_up(pid, socket);
}

static void a_dead_server_is_noticed(void **state)
{
	(void)state;
	int pair[2];
	cleanup(buf_done) struct buf text = {0};
	struct err err = {0};

	assert_int_equal(tree_socket_pair(pair, &err), 0);
	close(pair[1]);
	struct tree_feed *feed = tree_feed_receive(pair[0], 0);
	assert_true(drain(feed, &text, &err) < 0);
	assert_int_equal(err.kind, ERR_FAILED);
	assert_non_null(strstr(err.text, "has ended"));
	tree_feed_free(feed);
	close(pair[0]);
}

/* The reader may not open the file, and reads it nevertheless. */
static void files_of_another_user_are_read(void **state)
{
	need_root();
	int root = *(int *)*state;
	struct err err = {0};
	cleanup(buf_done) struct buf text = {0};

	put_file(root, "d/secret", "content", 0600);
	assert_int_equal(fchmodat(root, "d", 0700, 0), 0);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	const struct tree_selection *const all[] = {s};
	int socket;
	pid_t pid = serve(all, 1, &socket);
	assert_int_equal(seteuid(1000), 0);
	assert_int_equal(openat(root, "d/secret", O_RDONLY), -1);
	assert_int_equal(errno, EACCES);
	struct tree_feed *feed = tree_feed_receive(socket, 0);
	int r = drain(feed, &text, &err);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, TREE_FEED_END);
	assert_non_null(strstr(text.data, "= content"));
	tree_feed_free(feed);
	hang_up(pid, socket);
}

/* ---- Hostile answers ---- */

/* A file, and one byte of the valid message set to something else. */
static const struct {
	const char *what;
	size_t at;
	int byte;
} edits[] = {
	{"kind of answer", 0, 9},
	{"no records", 4, 0},
	{"more records than there are", 4, 2},
	{"more descriptors", 8, 2},
	{"type of file", 12 + 1, 0xf0},
	{"type with bits above", 12 + 2, 1},
	{"type does not fit the descriptor", 12 + 1, 0x40},
	{"link to a later entry", 12 + 12, 2},
	{"device number of a file", 12 + 16, 1},
	{"unknown flag", 12 + 40, 0x83},
	{"no descriptor but a size", 12 + 40, 2},
	{"path longer than the message", 12 + 41, 200},
	{"path of 2^31", 12 + 44, 0x80},
	{"target of a file", 12 + 45, 1},
	{"attributes beyond the end", 12 + 49, 1},
	{"path with a slash", 12 + 53, '/'},
	{"path with NUL", 12 + 53, 0},
};

static void send_answer(int socket, const char *p, size_t n, const int *fds, size_t count)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)p, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	assert_true(sendmsg(socket, &msg, 0) == (ssize_t)n);
}

static void answer_for(const struct tree_entry *e, struct buf *ret)
{
	buf_clear(ret);
	buf_add_u32(ret, 1);
	buf_add_u32(ret, 1);
	buf_add_u32(ret, 1);
	tree_record_print(e, true, ret);
}

/* What a reader makes of one answer. */
static int read_answer(const char *p, size_t n, const int *fds, size_t count, struct err *err)
{
	int pair[2];
	cleanup(buf_done) struct buf text = {0};

	assert_int_equal(tree_socket_pair(pair, err), 0);
	send_answer(pair[1], p, n, fds, count);
	send_answer(pair[1], "\2\0\0\0", 4, NULL, 0);
	cleanup(tree_feed_free) struct tree_feed *feed = tree_feed_receive(pair[0], 0);
	int r = drain(feed, &text, err);
	close(pair[0]);
	close(pair[1]);
	return r;
}

static void hostile_answers_are_refused(void **state)
{
	int root = *(int *)*state;
	struct tree_entry e = {
		.path = "name", .is_source = true, .mode = S_IFREG | 0644, .size = 4};
	cleanup(buf_done) struct buf answer = {0};
	struct err err = {0};

	put_file(root, "f", "text", 0644);
	int fd = openat(root, "f", O_RDONLY);
	answer_for(&e, &answer);
	assert_int_equal(read_answer(answer.data, answer.len, &fd, 1, &err), TREE_FEED_END);
	for (size_t i = 0; i < array_size(edits); i++) {
		answer_for(&e, &answer);
		answer.data[edits[i].at] = (char)edits[i].byte;
		if (read_answer(answer.data, answer.len, &fd, 1, &err) >= 0)
			fail_msg("%s: taken", edits[i].what);
		assert_int_equal(err.kind, ERR_BUG);
	}
	answer_for(&e, &answer);
	for (size_t n = 1; n < answer.len; n++)
		assert_true(read_answer(answer.data, n, &fd, 1, &err) < 0);
	assert_true(read_answer(answer.data, answer.len, NULL, 0, &err) < 0);
	int two[] = {fd, fd};
	assert_true(read_answer(answer.data, answer.len, two, 2, &err) < 0);
	assert_true(read_answer(answer.data, answer.len, &root, 1, &err) < 0);
	buf_add_char(&answer, 'x');
	assert_true(read_answer(answer.data, answer.len, &fd, 1, &err) < 0);
	close(fd);
}

/* A source has one name, what is below it a clean path. */
static void expect_path(const char *path, bool is_source, int fd)
{
	struct tree_entry e = {
		.path = path, .is_source = is_source, .mode = S_IFREG | 0644, .size = 4};
	cleanup(buf_done) struct buf answer = {0};
	struct err err = {0};
	bool good = strcmp(path, "a/b") == 0 && !is_source;

	answer_for(&e, &answer);
	int r = read_answer(answer.data, answer.len, &fd, 1, &err);
	if (good ? r != TREE_FEED_END : r >= 0)
		fail_msg("\"%s\", source %d: %d", path, is_source, r);
}

static void hostile_paths_are_refused(void **state)
{
	int root = *(int *)*state;
	static const char *const paths[] = {
		"",
		"..",
		"../x",
		"a/../b",
		"a//b",
		"/a",
		"a/",
		"./a",
		"a/.",
		"a/b",
	};

	put_file(root, "f", "text", 0644);
	int fd = openat(root, "f", O_RDONLY);
	for (size_t i = 0; i < array_size(paths); i++) {
		expect_path(paths[i], true, fd);
		expect_path(paths[i], false, fd);
	}
	close(fd);
}

static void foreign_attributes_are_refused(void **state)
{
	int root = *(int *)*state;
	cleanup(buf_done) struct buf answer = {0};
	struct err err = {0};

	put_file(root, "f", "text", 0644);
	int fd = openat(root, "f", O_RDONLY);
	struct tree_xattr xattr = {"security.selinux", STR("x")};
	struct tree_entry e = {
		.path = "a", .mode = S_IFREG | 0644, .size = 4, .xattrs = &xattr, .xattr_count = 1};
	answer_for(&e, &answer);
	assert_true(read_answer(answer.data, answer.len, &fd, 1, &err) < 0);
	xattr.name = "user.overlay.redirect";
	answer_for(&e, &answer);
	assert_true(read_answer(answer.data, answer.len, &fd, 1, &err) < 0);
	xattr.name = "user.fine";
	answer_for(&e, &answer);
	assert_int_equal(read_answer(answer.data, answer.len, &fd, 1, &err), TREE_FEED_END);
	close(fd);
}

static void hostile_requests_are_answered(void **state)
{
	int root = *(int *)*state;
	int socket;
	char answer[256];

	make_tree(root);
	cleanup(tree_selection_free) struct tree_selection *s = selected(root, "d", NULL);
	const struct tree_selection *const all[] = {s};
	pid_t pid = serve(all, 1, &socket);
	/* NEXT before anything is open, then an unknown request. */
	assert_int_equal(send(socket, "\2\0\0\0\0\0\0", 8, 0), 8);
	assert_true(recv(socket, answer, sizeof(answer), 0) > 8);
	assert_int_equal(answer[0], 3);
	assert_int_equal(send(socket, "\7\0\0\0\0\0\0", 8, 0), 8);
	assert_true(recv(socket, answer, sizeof(answer), 0) > 8);
	assert_int_equal(answer[0], 3);
	hang_up(pid, socket);
	/* One of another size ends the server. */
	pid = serve(all, 1, &socket);
	assert_int_equal(send(socket, "\2\0\0\0", 4, 0), 4);
	assert_int_equal(recv(socket, answer, sizeof(answer), 0), 0);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	close(socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(a_socket_says_what_is_here),
		fixture_test(many_files_come_in_order),
		fixture_test(the_largest_record_fits),
		fixture_test(point_35_sockets_have_no_descriptor),
		fixture_test(errors_of_the_server_arrive),
		fixture_test(a_dead_server_is_noticed),
		fixture_test(hostile_answers_are_refused),
		fixture_test(hostile_paths_are_refused),
		fixture_test(foreign_attributes_are_refused),
		fixture_test(hostile_requests_are_answered),
		fixture_test(files_of_another_user_are_read),
	};

	return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
