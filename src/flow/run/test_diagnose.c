/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/attr.h"
#include "os/dir.h"
#include "run/diagnose.h"

/* ---- what listens ---- */

#define HEAD		    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
#define REST		    " 00000000:00000000 00:00000000 00000000  1000        0 12345 1 ffff 100 0 0 10 0\n"
#define LINE4(local, state) "   0: " local " 00000000:0000 " state REST
#define LINE6(local, state) "   0: " local " 00000000000000000000000000000000:0000 " state REST

/* The address as this machine prints it: the tables below are of a little-endian one. */
static bool is_little_endian(void)
{
	const uint16_t one = 1;

	return *(const unsigned char *)&one == 1;
}

static const struct {
	const char *tcp, *tcp6, *tail;
	enum listening result;
	const char *words, *hint;
} listening_rows[] = {
	{HEAD, HEAD, "", LISTENS_NOWHERE, "nothing listens on any port",
		"let the app listen on 0.0.0.0:7860"},
	{"", "", "", LISTENS_NOWHERE, "nothing listens on any port",
		"let the app listen on 0.0.0.0:7860"},
	{HEAD LINE4("00000000:1EB4", "0A"), "", "", LISTENS_RIGHT,
		"port 7860 takes connections but gives no answer", ""},
	/* connections are no listeners */
	{HEAD LINE4("00000000:1EB4", "01"), "", "", LISTENS_NOWHERE, "nothing listens on any port",
		"let the app listen on 0.0.0.0:7860"},
	{HEAD LINE4("0100007F:1EB4", "0A"), "", "* Running on local URL:  http://127.0.0.1",
		LISTENS_LOOPBACK,
		"the app listens on 127.0.0.1:7860 only, which cannot be reached from "
		"outside",
		"Gradio: demo.launch(server_name=\"0.0.0.0\", server_port=7860), or in the "
		"Dockerfile: ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860"},
	{HEAD LINE4("0100007F:1F40", "0A"), "", "Uvicorn running on http://127.0.0.1:8000",
		LISTENS_ELSEWHERE, "the app listens on 127.0.0.1:8000, not on port 7860",
		"Uvicorn: --host 0.0.0.0 --port 7860"},
	{HEAD LINE4("00000000:1F40", "0A"), "", "", LISTENS_ELSEWHERE,
		"the app listens on 0.0.0.0:8000, not on port 7860",
		"app_port: 8000 in README.md, or let the app listen on 0.0.0.0:7860"},
	/* two ports: which one is meant is not ours to say */
	{HEAD LINE4("00000000:1F40", "0A") LINE4("00000000:0050", "0A"), "", "", LISTENS_ELSEWHERE,
		"the app listens on 0.0.0.0:8000, 0.0.0.0:80, not on port 7860",
		"let the app listen on 0.0.0.0:7860"},
	{"", HEAD LINE6("00000000000000000000000000000000:1EB4", "0A"), "", LISTENS_RIGHT,
		"port 7860 takes connections but gives no answer", ""},
	{"", HEAD LINE6("00000000000000000000000001000000:1EB4", "0A"), "", LISTENS_LOOPBACK,
		"the app listens on [::1]:7860 only, which cannot be reached from outside",
		"let the app listen on 0.0.0.0:7860"},
	{"", HEAD LINE6("0000000000000000FFFF00000100007F:1EB4", "0A"), "", LISTENS_LOOPBACK,
		"the app listens on [::ffff:127.0.0.1]:7860 only, which cannot be reached "
		"from outside",
		"let the app listen on 0.0.0.0:7860"},
	/* a loopback listener beside the right one does not matter */
	{HEAD LINE4("0100007F:1EB4", "0A") LINE4("00000000:1EB4", "0A"), "", "", LISTENS_RIGHT,
		"port 7860 takes connections but gives no answer", ""},
	{"garbage\n\n  0: 0100007F 0A\n 0: 0100007F:XXXX 0:0 0A\n 0: 01007F:1EB4 0:0 0A", "", "",
		LISTENS_NOWHERE, "nothing listens on any port",
		"let the app listen on 0.0.0.0:7860"},
};

static void listening_is_judged(void **state)
{
	(void)state;
	if (!is_little_endian())
		skip();
	for (size_t i = 0; i < array_size(listening_rows); i++) {
		struct listener all[LISTENERS_MAX];
		cleanup(buf_done) struct buf words = {0};
		cleanup(buf_done) struct buf hint = {0};
		size_t n = listeners_parse(str_of(listening_rows[i].tcp), false, 0, all);
		n = listeners_parse(str_of(listening_rows[i].tcp6), true, n, all);
		assert_int_equal(listeners_judge(all, n, 7860, str_of(listening_rows[i].tail),
					 &words, &hint),
			listening_rows[i].result);
		assert_string_equal(buf_text(&words), listening_rows[i].words);
		assert_string_equal(buf_text(&hint), listening_rows[i].hint);
	}
}

static void listeners_are_bounded(void **state)
{
	struct listener all[LISTENERS_MAX];
	cleanup(buf_done) struct buf text = {0};
	cleanup(buf_done) struct buf words = {0};
	cleanup(buf_done) struct buf hint = {0};

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		buf_printf(&text, "   0: 00000000:%04X 00000000:0000 0A 0\n", 1000 + i);
	assert_int_equal(listeners_parse(buf_str(&text), false, 0, all), LISTENERS_MAX);
	assert_int_equal(
		listeners_judge(all, LISTENERS_MAX, 1, STR(""), &words, &hint), LISTENS_ELSEWHERE);
	assert_string_equal(buf_text(&words),
		"the app listens on 0.0.0.0:1000, 0.0.0.0:1001, 0.0.0.0:1002, 0.0.0.0:1003, …, "
		"not on port 1");
}

/* ---- what it wrote last ---- */

static const struct {
	const char *tail;
	enum cause_kind kind;
	const char *subject;
} cause_rows[] = {
	{"", CAUSE_NONE, ""},
	{"all is well\n", CAUSE_NONE, ""},
	{"PermissionError: [Errno 13] Permission denied: '/app/data'\n", CAUSE_PATH_DENIED,
		"/app/data"},
	{"PermissionError: [Errno 13] Permission denied: 'cache/x.db'", CAUSE_PATH_DENIED,
		"cache/x.db"},
	{"Error: EACCES: permission denied, mkdir '/data'", CAUSE_PATH_DENIED, "/data"},
	{"open /srv/x.log: permission denied", CAUSE_PATH_DENIED, "/srv/x.log"},
	{"sh: 1: cannot create /data/x: Permission denied", CAUSE_PATH_DENIED, "/data/x"},
	{"/bin/sh: 1: cannot create /data/x: Permission denied", CAUSE_PATH_DENIED, "/data/x"},
	{"bash: line 1: /app/start.sh: Permission denied", CAUSE_PATH_DENIED, "/app/start.sh"},
	{"sh: can't create /files/data.txt: Permission denied", CAUSE_PATH_DENIED,
		"/files/data.txt"},
	{"it can't be that we can't open /x y: Permission denied", CAUSE_PATH_DENIED, "/x"},
	{"mkdir: cannot create directory ‘/cache’: Permission denied", CAUSE_PATH_DENIED, "/cache"},
	{"mkdir: cannot create directory '/cache': Permission denied", CAUSE_PATH_DENIED, "/cache"},
	{"chown: changing ownership of '/app': Operation not permitted", CAUSE_PATH_DENIED, "/app"},
	{"permission denied, without a path", CAUSE_NONE, ""},
	{"OSError: [Errno 30] Read-only file system: '/etc/x'", CAUSE_READ_ONLY, "/etc/x"},
	{"[Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission "
	 "denied",
		CAUSE_PORT_DENIED, "80"},
	{"nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", CAUSE_PORT_DENIED,
		"80"},
	{"Error: listen EACCES: permission denied 0.0.0.0:443", CAUSE_PORT_DENIED, "443"},
	{"listen tcp :80: bind: permission denied", CAUSE_PORT_DENIED, "80"},
	{"OSError: [Errno 98] Address already in use", CAUSE_PORT_TAKEN, ""},
	{"Error: listen EADDRINUSE: address already in use :::7860", CAUSE_PORT_TAKEN, ""},
	{"ModuleNotFoundError: No module named 'gradio'", CAUSE_NO_MODULE, "gradio"},
	{"Error: Cannot find module 'express'", CAUSE_NO_MODULE, "express"},
	{"sh: 1: gunicorn: not found", CAUSE_NO_PROGRAM, "gunicorn"},
	{"/bin/sh: 1: gunicorn: not found", CAUSE_NO_PROGRAM, "gunicorn"},
	{"bash: line 1: uvicorn: command not found", CAUSE_NO_PROGRAM, "uvicorn"},
	{"error: Failed to spawn: `streamlit`", CAUSE_NO_PROGRAM, "streamlit"},
	{"GET /x: not found", CAUSE_NONE, ""},
	{"OSError: [Errno 28] No space left on device", CAUSE_NO_SPACE, ""},
	{"RuntimeError: Found no NVIDIA driver on your system.", CAUSE_NO_GPU, ""},
	{"MemoryError", CAUSE_MEMORY, ""},
	/* what is long past does not count */
	{"MemoryError\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n"
	 "21\n22\n23\n24\n25\n",
		CAUSE_NONE, ""},
	/* the last one counts */
	{"No module named 'a'\nNo module named 'b'\nbye\n", CAUSE_NO_MODULE, "b"},
};

static void causes_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(cause_rows); i++) {
		struct cause cause = cause_find(str_of(cause_rows[i].tail));
		cleanup_free char *subject = str_dup(cause.subject);
		if (cause.kind != cause_rows[i].kind)
			fail_msg("%s: cause %d", cause_rows[i].tail, (int)cause.kind);
		assert_string_equal(subject, cause_rows[i].subject);
	}
}

static void paths_are_looked_at(void **state)
{
	char path[] = "/tmp/spaceport-run-XXXXXX";
	struct path_facts facts;
	struct err err = {0};

	(void)state;
	assert_non_null(mkdtemp(path));
	cleanup_close int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(root, "app", 0700), 0);
	assert_int_equal(symlinkat("/../../../etc", root, "out"), 0);
	path_look(root, "/app", STR("/app/data/x"), &facts);
	assert_true(facts.known && !facts.exists);
	assert_string_equal(facts.place, "/app");
	assert_int_equal(facts.mode & 07777, 0700);
	path_look(root, "/app", STR("data/x"), &facts);
	assert_string_equal(facts.place, "/app");
	path_look(root, "/app", STR("/app"), &facts);
	assert_true(facts.known && facts.exists);
	path_look(root, "/", STR("/none"), &facts);
	assert_string_equal(facts.place, "/");
	/* A link out of the tree is resolved inside it: its target does not exist there. */
	path_look(root, "/", STR("/out/passwd"), &facts);
	assert_true(facts.known && !facts.exists);
	path_look(root, "/", STR("/proc/self/mem"), &facts);
	assert_false(facts.known);
	path_look(root, "/", STR(""), &facts);
	assert_false(facts.known);
	assert_int_equal(dir_remove_tree(tmp, strrchr(path, '/') + 1, &err), 0);
}

/* ---- how it ended ---- */

#define ROOT_DIR \
	{ \
		.known = true, .place = "/app", .mode = S_IFDIR | 0755 \
	}
#define ROOT_FILE \
	{ \
		.known = true, .exists = true, .place = "/app/x", .mode = S_IFREG | 0644 \
	}
#define OWN_FILE \
	{ \
		.known = true, .exists = true, .place = "/app/x", .uid = 1000, \
		.mode = S_IFREG | 0644 \
	}
#define ON_PATH \
	{ \
		CAUSE_PATH_DENIED, \
		{ \
			"/app/x", 6 \
		} \
	}

static const struct {
	struct ending ending;
	const char *words, *hint;
} ending_rows[] = {
	{{.status = 1 << 8, .app_port = 7860}, "exited with 1 before port 7860 answered", ""},
	{{.status = 0, .app_port = 7860}, "exited with 0 before port 7860 answered",
		"a Space's program has to stay in the foreground and serve"},
	{{.status = 3 << 8, .was_ready = true}, "exited with 3", ""},
	{{.status = SIGTERM, .was_asked = true, .was_ready = true}, "killed by SIGTERM", ""},
	{{.status = SIGSEGV, .was_ready = true}, "killed by SIGSEGV (a fault in native code)", ""},
	{{.status = 139 << 8, .was_ready = true}, "exited with 139 (a fault in native code)", ""},
	{{.status = SIGKILL, .usage = {.oom_kills = 1, .memory_limit = 64000000}},
		"killed for memory: the limit is 64.0 MB", "a flavor with more memory: --hardware"},
	{{.status = 137 << 8,
		 .usage = {.oom_kills = 2, .memory_limit = 64000000, .memory_peak = 63000000}},
		"killed for memory: the limit is 64.0 MB, 63.0 MB were in use",
		"a flavor with more memory: --hardware"},
	{{.status = SIGKILL, .was_ready = true}, "killed by SIGKILL", ""},
	{{.status = 1 << 8, .app_port = 7860, .cause = ON_PATH, .path = ROOT_DIR},
		"exited with 1 before port 7860 answered: cannot write to /app/x as UID "
		"1000 (does not exist, and /app belongs to root, mode 0755)",
		"in the Dockerfile: RUN mkdir -p /app/x && chown 1000 /app/x; or a path "
		"below $HOME or /tmp"},
	{{.status = 1 << 8,
		 .was_ready = true,
		 .cause = {CAUSE_PATH_DENIED, {"/app/x.db", 9}},
		 .path = ROOT_DIR},
		"exited with 1: cannot write to /app/x.db as UID 1000 (does not exist, and "
		"/app belongs to root, mode 0755)",
		"in the Dockerfile: RUN chown 1000 /app; or a path below $HOME or /tmp"},
	{{.status = 1 << 8, .was_ready = true, .cause = ON_PATH, .path = ROOT_FILE},
		"exited with 1: cannot write to or execute /app/x as UID 1000 (/app/x "
		"belongs to root, mode 0644)",
		"in the Dockerfile: COPY --chown=1000, or RUN chown 1000 /app/x; a program "
		"also needs chmod +x"},
	{{.status = 1 << 8, .was_ready = true, .cause = ON_PATH, .path = OWN_FILE},
		"exited with 1: no permission on /app/x as UID 1000 (/app/x belongs to UID "
		"1000, mode 0644)",
		""},
	{{.status = 1 << 8, .was_ready = true, .cause = ON_PATH},
		"exited with 1: no permission on /app/x as UID 1000", ""},
	{{.status = 1 << 8,
		 .was_ready = true,
		 .app_port = 7860,
		 .cause = {CAUSE_PORT_DENIED, {"80", 2}}},
		"exited with 1: cannot listen on port 80 as UID 1000",
		"ports below 1024 are root's: listen on 0.0.0.0:7860"},
	{{.status = 127 << 8, .app_port = 7860, .cause = {CAUSE_NO_PROGRAM, {"foo", 3}}},
		"exited with 127 before port 7860 answered: program foo not found in the "
		"image",
		"install it in the Dockerfile, or put its directory into PATH with ENV"},
};

static void endings_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(ending_rows); i++) {
		cleanup(buf_done) struct buf words = {0};
		cleanup(buf_done) struct buf hint = {0};
		ending_describe(&ending_rows[i].ending, &words, &hint);
		assert_string_equal(buf_text(&words), ending_rows[i].words);
		assert_string_equal(buf_text(&hint), ending_rows[i].hint);
	}
}

/* Every cause has words, so that none is followed by nothing. */
static void every_cause_is_told(void **state)
{
	(void)state;
	for (int kind = CAUSE_NONE + 1; kind <= CAUSE_MEMORY; kind++) {
		cleanup(buf_done) struct buf words = {0};
		cleanup(buf_done) struct buf hint = {0};
		struct ending ending = {.status = 1 << 8, .was_ready = true};
		ending.cause = (struct cause){(enum cause_kind)kind, STR("subject")};
		ending_describe(&ending, &words, &hint);
		assert_true(words.len > strlen("exited with 1: "));
	}
}

/* ---- text of the app ---- */

static void tails_are_clean(void **state)
{
	static const struct {
		const char *tail;
		unsigned lines;
		const char *text;
	} rows[] = {
		{"", 3, ""},
		{"a\nb\nc\nd\n\n", 2, "  c\n  d\n"},
		{"a\nb", 9, "  a\n  b\n"},
		{"\x1b[31mred\x1b[0m\a\n", 1, "  red\n"},
		{"\x1b]0;title\aword\n", 1, "  word\n"},
		{"10%\r50%\r100%\n", 1, "  100%\n"},
		{"cut \x1b[", 1, "  cut \n"},
		{"x\x1b", 1, "  x\n"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0};
		tail_lines(str_of(rows[i].tail), rows[i].lines, &text);
		assert_string_equal(buf_text(&text), rows[i].text);
	}
}

static void secrets_are_masked(void **state)
{
	static const struct str secrets[] = {{"hf_secret", 9}, {"", 0}, {"abc", 3}, {"word", 4}};
	static const struct {
		const char *text, *masked;
	} rows[] = {
		{"", ""},
		{"nothing here: abc", "nothing here: abc"},
		{"hf_secret", "***"},
		{"a hf_secret and hf_secrets, wordword", "a *** and ***s, ******"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0};
		buf_add_text(&text, rows[i].text);
		mask_secrets(&text, secrets, array_size(secrets));
		assert_string_equal(buf_text(&text), rows[i].masked);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listening_is_judged),
		cmocka_unit_test(listeners_are_bounded),
		cmocka_unit_test(causes_are_found),
		cmocka_unit_test(paths_are_looked_at),
		cmocka_unit_test(endings_are_told),
		cmocka_unit_test(every_cause_is_told),
		cmocka_unit_test(tails_are_clean),
		cmocka_unit_test(secrets_are_masked),
	};

	return cmocka_run_group_tests_name("diagnose", tests, NULL, NULL);
}
