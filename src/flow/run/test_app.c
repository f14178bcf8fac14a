/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The app of a Space, for tests: a static program that is the whole image. What it does is told
 * by its arguments, and by the paths it is asked for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(int fd, const char *fmt, ...) __attribute__((__format__(__printf__, 2, 3)));

static void say(int fd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vdprintf(fd, fmt, ap);
	va_end(ap);
	if (n < 0)
		_exit(99);
}

/* ---- What it answers ---- */

static void answer_env(int fd, const char *arg)
{
	(void)arg;
	for (char **e = environ; *e; e++)
		say(fd, "%s\n", *e);
}

static void answer_read(int fd, const char *arg)
{
	char bytes[4096];
	int file = open(arg, O_RDONLY);
	ssize_t n;

	if (file < 0)
		say(fd, "%s", strerror(errno));
	while (file >= 0 && (n = read(file, bytes, sizeof(bytes))) > 0)
		say(fd, "%.*s", (int)n, bytes);
}

static void answer_write(int fd, const char *arg)
{
	int file = open(arg, O_WRONLY | O_CREAT | O_EXCL, 0644);

	say(fd, "%s", file < 0 ? strerror(errno) : "written");
}

static void answer_id(int fd, const char *arg)
{
	gid_t groups[64];
	int n = getgroups(64, groups);

	(void)arg;
	say(fd, "%u:%u", (unsigned)getuid(), (unsigned)getgid());
	for (int i = 0; i < n; i++)
		say(fd, " %u", (unsigned)groups[i]);
}

/* "127.0.0.1:80": out of the Space. */
static void answer_connect(int fd, const char *arg)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	char host[64];
	const char *colon = strchr(arg, ':');

	snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - arg) : 0, arg);
	in.sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : "0", NULL, 10));
	inet_pton(AF_INET, host, &in.sin_addr);
	int s = socket(AF_INET, SOCK_STREAM, 0);
	bool ok = connect(s, (struct sockaddr *)&in, sizeof(in)) == 0;
	say(fd, "%s", ok ? "connected" : strerror(errno));
}

static void answer_print(int fd, const char *arg)
{
	say(STDOUT_FILENO, "%s\n", arg);
	say(fd, "printed");
}

/* From now on no HTTP: everything comes back. */
static void answer_echo(int fd, const char *arg)
{
	char bytes[16384];
	ssize_t n;

	(void)arg;
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(fd, bytes + at, (size_t)(n - at))) < 0)
				return;
}

static const struct {
	const char *path;
	void (*answer)(int fd, const char *arg);
} answers[] = {
	{"/env", answer_env},
	{"/id", answer_id},
	{"/read/", answer_read},
	{"/write/", answer_write},
	{"/connect/", answer_connect},
	{"/print/", answer_print},
	{"/echo", answer_echo},
};

static void answer(int fd)
{
	char request[8192];
	size_t n = 0;

	while (n < sizeof(request) - 1) {
		ssize_t r = read(fd, request + n, 1);
		if (r <= 0)
			return;
		request[++n] = '\0';
		if (n >= 4 && strcmp(request + n - 4, "\r\n\r\n") == 0)
			break;
	}
	char *path = strchr(request, ' ');
	char *end = path ? strchr(path + 1, ' ') : NULL;
	if (!end)
		return;
	*end = '\0';
	say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		size_t length = strlen(answers[i].path);
		if (strncmp(path + 1, answers[i].path, length) != 0)
			continue;
		/* "/read/tmp/x" reads /tmp/x. */
		bool is_file =
			answers[i].answer == answer_read || answers[i].answer == answer_write;
		answers[i].answer(fd, path + 1 + length - is_file);
		return;
	}
	say(fd, "hello");
}

static int listen_at(const char *address, const char *port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	int s = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &in.sin_addr);
	if (bind(s, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(s, 128) < 0) {
		say(STDERR_FILENO, "listen: %s\n", strerror(errno));
		exit(1);
	}
	say(STDOUT_FILENO, "listening on %s:%s\n", address, port);
	return s;
}

/* ---- What it does ---- */

static int serve(char **args)
{
	int s = listen_at(args[0], args[1]);

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(s, NULL, NULL);
		if (fd >= 0 && fork() == 0) {
			answer(fd);
			_exit(0);
		}
		close(fd);
	}
}

static void on_term(int sig)
{
	static const char text[] = "good-bye\n";

	(void)sig;
	_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0);
}

static int serve_politely(char **args)
{
	signal(SIGTERM, on_term);
	return serve(args);
}

static void ignore_term(int sig)
{
	static const char text[] = "no\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(98);
}

static int serve_stubbornly(char **args)
{
	signal(SIGTERM, ignore_term);
	return serve(args);
}

static int listen_silently(char **args)
{
	int s = listen_at(args[0], args[1]);

	while (accept(s, NULL, NULL) >= 0)
		;
	return 1;
}

static int leave(char **args)
{
	say(STDERR_FILENO, "%s\n", args[1]);
	return (int)strtoul(args[0], NULL, 10);
}

static int confess(char **args)
{
	const char *value = getenv(args[0]);

	say(STDERR_FILENO, "%s is %s\n", args[0], value ? value : "not there");
	return 5;
}

/* As Python says it. */
static int open_denied(char **args)
{
	if (open(args[0], O_WRONLY | O_CREAT, 0644) >= 0)
		return 0;
	say(STDERR_FILENO, "PermissionError: [Errno %d] %s: '%s'\n", errno, strerror(errno),
		args[0]);
	return 1;
}

static int eat(char **args)
{
	enum { PIECE = 1 << 20 };

	(void)args;
	for (;;) {
		void *p = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			return 1;
	}
}

static int sleep_on(char **args)
{
	(void)args;
	while (pause() < 0)
		;
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **args);
} modes[] = {
	{"serve", serve},
	{"polite", serve_politely},
	{"stubborn", serve_stubbornly},
	{"silent", listen_silently},
	{"exit", leave},
	{"confess", confess},
	{"open", open_denied},
	{"eat", eat},
	{"sleep", sleep_on},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(argv + 2);
	return 64;
}
