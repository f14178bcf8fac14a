/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories by the program git, which talks to foreign servers, unpacks what they send and
 * lays it out. It knows no configuration of the host, no hooks, no filters, and no protocols
 * but four.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/number.h"
#include "fetch/internal.h"
#include "fetch/jail.h"
#include "os/command.h"
#include "os/dir.h"
#include "os/file.h"

enum {
	OUTPUT_MAX = 16 << 20,
	SAID_MAX = 64 << 10,
	ASK_SECONDS = 120,
	WORK_SECONDS = 3600,
};

struct git {
	const struct fetch_options *options;
	const struct fetch_git *what;
	struct jail jail;
	char *jail_root;
};

static void git_done(struct git *g)
{
	free(g->jail_root);
}
DEFINE_CLEANUP_VALUE(struct git, git_done);

static int git_begin(struct git *g, const struct fetch_options *options,
	const struct fetch_git *what, struct err *err)
{
	struct stat st;

	g->options = options;
	g->what = what;
	g->jail_root = xprintf("%s/git", options->scratch);
	g->jail = (struct jail){.root = g->jail_root, .max_bytes = options->max_bytes};
	/* One for all repositories of this process. */
	return stat(g->jail_root, &st) == 0 ? 0 : jail_make(g->jail_root, err);
}

/* ---- One command ---- */

/* Up to the path, as git compares URLs of its configuration. */
static struct str origin_of(struct str url)
{
	size_t scheme = str_find(url, ':') + 3;
	struct str rest = str_from_index(url, scheme);

	return str_slice(url, 0, scheme + str_find(rest, '/'));
}

/* The header goes through the environment: arguments can be seen by everybody. */
static void add_credentials(const struct fetch_git *what, struct argv *env)
{
	struct str origin = origin_of(str_of(what->url));

	if (!what->authorization || !str_starts(origin, STR("http")))
		return;
	argv_add(env, "GIT_CONFIG_COUNT=1");
	argv_printf(env, "GIT_CONFIG_KEY_0=http.%.*s/.extraHeader", STR_ARG(origin));
	argv_printf(env, "GIT_CONFIG_VALUE_0=Authorization: %s", what->authorization);
}

static void add_proxy(struct argv *env, const char *name, const char *value)
{
	if (value && *value)
		argv_printf(env, "%s=%s", name, value);
}

static void fill_env(const struct git *g, struct argv *env)
{
	const struct fetch_options *o = g->options;

	argv_add_all(env, "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_ALLOW_PROTOCOL=http:https:git:ssh", "GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_LFS_SKIP_SMUDGE=1",
		"GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes "
		"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/tmp/known_hosts",
		NULL);
	if (o->ca_bundle)
		argv_add(env, "GIT_SSL_CAINFO=/tmp/ca.crt");
	add_proxy(env, "http_proxy", o->http_proxy);
	add_proxy(env, "https_proxy", o->https_proxy);
	add_proxy(env, "no_proxy", o->no_proxy);
	add_credentials(g->what, env);
}

static int put_ca(const struct git *g, struct err *err)
{
	cleanup_free char *path = xprintf("%s/tmp/ca.crt", g->jail_root);
	cleanup(buf_done) struct buf text = {0};

	if (!g->options->ca_bundle || access(path, F_OK) == 0)
		return 0;
	int r = file_read(AT_FDCWD, g->options->ca_bundle, 8 << 20, &text, err);
	return r < 0 ? r : file_replace(AT_FDCWD, path, buf_str(&text), 0644, err);
}

/* The last line that says why; user and password of the URL are cut out. */
static void find_reason(const struct git *g, struct str said, struct buf *ret)
{
	struct str url = str_of(g->what->url), reason = {0};
	size_t at = str_find(url, '@'), begin = str_find(url, ':') + 3;

	while (said.p) {
		struct str line = str_trim(str_cut(&said, '\n'));
		if (line.n && (!reason.n || str_starts(line, STR("fatal:")) ||
				      str_starts(line, STR("error:")) ||
				      str_starts(line, STR("remote:"))))
			reason = line;
	}
	struct str secret = at < url.n && begin < at ? str_slice(url, begin, at + 1) : STR("");
	char *hit = secret.n && reason.n ? memmem(reason.p, reason.n, secret.p, secret.n) : NULL;
	if (hit) {
		buf_add(ret, reason.p, (size_t)(hit - reason.p));
		reason = str_from_index(reason, (size_t)(hit - reason.p) + secret.n);
	}
	buf_add_str(ret, str_head(reason, 500));
}

static int too_large(const struct git *g, const char *what, struct err *err)
{
	(void)err_set(
		err, ERR_LIMIT, "%s more than %" PRIu64 " bytes", what, g->options->max_bytes);
	return err_hint(err, "build.fetch_size in spaceport.yaml says how much a fetch may bring");
}

static int explain(const struct git *g, const char *verb, int status, int said_fd, struct err *err)
{
	cleanup(buf_done) struct buf said = {0};
	cleanup(buf_done) struct buf reason = {0};
	char text[64];

	if (lseek(said_fd, 0, SEEK_SET) == 0)
		/* What is longer than this has said enough. */
		ignored(file_read_fd(said_fd, SAID_MAX, &said, NULL));
	if (said.len && memmem(said.data, said.len, strerror(EFBIG), strlen(strerror(EFBIG))))
		return too_large(g, "a file of the repository has", err);
	find_reason(g, buf_str(&said), &reason);
	if (!reason.len)
		buf_add_text(&reason, command_status_text(text, status));
	(void)err_set(err, ERR_FAILED, "git %s: %s", verb, buf_text(&reason));
	if (!g->what->authorization && str_starts(str_of(g->what->url), STR("http")) &&
		reason.len && strstr(reason.data, "could not read Username"))
		return err_hint(err, "a private repository needs a token: spaceport build "
				     "--secret id=GIT_AUTH_TOKEN");
	return -ERR_FAILED;
}

/* `args` ends with NULL; its first is the verb. ret_output may be NULL. */
static int run_git(const struct git *g, int seconds, const char *const *args,
	struct buf *ret_output, struct err *err)
{
	/* Objects stay packed: so they are measured quickly, however often a tree names them. */
	static const char *const settings[] = {"transfer.unpackLimit=1", "core.hooksPath=/dev/null",
		"core.fsmonitor=false", "core.symlinks=true", "gc.auto=0", "maintenance.auto=false",
		"advice.detachedHead=false", "fetch.recurseSubmodules=false",
		"submodule.recurse=false", "init.defaultBranch=main", "http.lowSpeedLimit=1000",
		"http.lowSpeedTime=30"};
	cleanup(command_done) struct command c = COMMAND_INIT;
	cleanup(buf_done) struct buf output = {0};
	cleanup_close int said = memfd_create("git", MFD_CLOEXEC);
	int status;

	if (said < 0)
		return err_sys(err, "make memory for the output of git");
	argv_add(&c.argv, "git");
	for (size_t i = 0; i < array_size(settings); i++)
		argv_add_all(&c.argv, "-c", settings[i], NULL);
	for (size_t i = 0; args[i]; i++)
		argv_add(&c.argv, args[i]);
	fill_env(g, &c.env);
	c.stderr_fd = said;
	c.die_with_parent = true;
	c.ends_at_limit = true;
	c.before_exec = jail_before_exec;
	c.arg = (void *)(uintptr_t)&g->jail;
	int r = put_ca(g, err);
	if (r == 0)
		r = command_capture(&c, OUTPUT_MAX, seconds, &output, &status, err);
	if (r == -ERR_MISSING) {
		err->kind = ERR_HOST;
		return err_hint(err, "sudo apt-get install git");
	}
	if (r < 0)
		return r;
	if (status != 0)
		return explain(g, args[0], status, said, err);
	if (ret_output)
		buf_add_str(ret_output, buf_str(&output));
	return 0;
}

#define GIT(g, seconds, output, err, ...) \
	run_git(g, seconds, (const char *const[]){__VA_ARGS__, NULL}, output, err)

/* ---- What a ref means ---- */

/* How a ref may be called at the remote; earlier ones are preferred, as git checkout does. */
static size_t candidates(struct argv *ret, const char *ref)
{
	struct str name = str_of(ref);

	if (!name.n) {
		argv_add(ret, "HEAD");
		return ret->count;
	}
	if (str_starts(name, STR("refs/"))) {
		argv_printf(ret, "%s^{}", ref);
		argv_add(ret, ref);
		return ret->count;
	}
	argv_printf(ret, "refs/heads/%s", ref);
	argv_printf(ret, "refs/tags/%s^{}", ref);
	argv_printf(ret, "refs/tags/%s", ref);
	argv_printf(ret, "refs/%s", ref);
	return ret->count;
}

bool git_pick_ref(struct str listing, const char *ref, char commit[static FETCH_COMMIT_SIZE])
{
	cleanup(argv_done) struct argv names = {0};
	size_t best = candidates(&names, ref);

	while (listing.p) {
		struct str name = str_trim_right(str_cut(&listing, '\n'));
		struct str id = str_cut(&name, '\t');
		bool is_id = id.n == 40 || id.n == 64;
		for (size_t i = 0; is_id && i < id.n; i++)
			is_id = strchr("0123456789abcdef", id.p[i]) && id.p[i];
		for (size_t i = 0; is_id && name.p && i < best; i++)
			if (str_is(name, names.items[i])) {
				best = i;
				snprintf(commit, FETCH_COMMIT_SIZE, "%.*s", STR_ARG(id));
			}
	}
	return best < names.count;
}

static int check(const struct fetch_git *what, const char *commit, struct err *err)
{
	if (str_starts(str_of(commit), str_of(what->checksum ? what->checksum : "")))
		return 0;
	return err_set(err, ERR_FAILED, "%s is the commit %s, which does not begin with %s",
		*what->ref ? what->ref : "HEAD", commit, what->checksum);
}

static int resolve(const struct git *g, char commit[static FETCH_COMMIT_SIZE], struct err *err)
{
	cleanup(buf_done) struct buf listing = {0};
	cleanup(argv_done) struct argv args = {0};
	const struct fetch_git *what = g->what;

	if (what->is_commit) {
		snprintf(commit, FETCH_COMMIT_SIZE, "%s", what->ref);
		return check(what, commit, err);
	}
	argv_add_all(&args, "ls-remote", "--", what->url, NULL);
	(void)candidates(&args, what->ref);
	int r = run_git(g, ASK_SECONDS, (const char *const *)(uintptr_t)args.items, &listing, err);
	if (r < 0)
		return r;
	if (!git_pick_ref(buf_str(&listing), what->ref, commit))
		return err_set(err, ERR_FAILED, "the repository has no branch or tag %s",
			*what->ref ? what->ref : "HEAD");
	return check(what, commit, err);
}

int fetch_git_resolve(const struct fetch_options *options, const struct fetch_git *what,
	char commit[static FETCH_COMMIT_SIZE], struct err *err)
{
	cleanup(git_done) struct git g = {0};
	int r = git_begin(&g, options, what, err);

	return r < 0 ? r : resolve(&g, commit, err);
}

/* ---- Bringing it here ---- */

static bool has_commit(const struct git *g, const char *commit)
{
	cleanup_free char *object = xprintf("%s^{commit}", commit);
	struct err unused = {0};

	return GIT(g, ASK_SECONDS, NULL, &unused, "cat-file", "-e", object) == 0;
}

/* Servers differ in what they let one ask for: the commit alone, the ref, or everything. */
static int fetch_commit(const struct git *g, const char *commit, struct err *err)
{
	const char *ref = g->what->is_commit ? commit : *g->what->ref ? g->what->ref : "HEAD";
	const char *const attempts[][8] = {
		{"fetch", "-q", "--depth=1", "--no-tags", "--", "origin", commit},
		{"fetch", "-q", "--depth=1", "--no-tags", "--", "origin", ref},
		{"fetch", "-q", "--", "origin", "+refs/heads/*:refs/remotes/origin/*",
			"+refs/tags/*:refs/tags/*"},
	};
	int r = 0;

	for (size_t i = 0; i < array_size(attempts); i++) {
		r = run_git(g, WORK_SECONDS, attempts[i], NULL, err);
		if (r == 0 && has_commit(g, commit))
			return 0;
	}
	return r < 0 ? r : err_set(err, ERR_FAILED, "the repository has no commit %s", commit);
}

/*
 * Files that are small when packed, and trees that name one file again and again, are measured
 * before they are laid out.
 */
static int measure(const struct git *g, const char *commit, struct err *err)
{
	cleanup(buf_done) struct buf sizes = {0};
	uint64_t total = 0, size;

	int r = GIT(g, ASK_SECONDS, &sizes, err, "ls-tree", "-r", "--format=%(objectsize)", commit);
	if (r < 0)
		return err_wrap(err, "list the repository's files");
	for (struct str rest = buf_str(&sizes); rest.n;) {
		struct str line = str_cut(&rest, '\n');
		/* A submodule has no size. */
		if (!parse_u64(line, UINT64_MAX, &size))
			continue;
		if (size > g->options->max_bytes - total)
			return too_large(g, "the repository's files have", err);
		total += size;
	}
	return 0;
}

static int lay_out(const struct git *g, const char *commit, struct err *err)
{
	const char *format =
		strlen(commit) == 64 ? "--object-format=sha256" : "--object-format=sha1";
	int r = GIT(g, ASK_SECONDS, NULL, err, "init", "-q", "--template=", format);

	if (r == 0)
		r = GIT(g, ASK_SECONDS, NULL, err, "config", "remote.origin.url", g->what->url);
	if (r == 0)
		r = fetch_commit(g, commit, err);
	if (r == 0 && g->options->max_bytes)
		r = measure(g, commit, err);
	if (r == 0)
		r = GIT(g, WORK_SECONDS, NULL, err, "checkout", "-q", "--force", "--detach", commit,
			"--");
	if (r == 0 && g->what->submodules)
		r = GIT(g, WORK_SECONDS, NULL, err, "submodule", "--quiet", "update", "--init",
			"--recursive", "--depth=1");
	return r;
}

static int make_tree(
	const struct git *g, int dir, const char *name, const char *commit, struct err *err)
{
	if (mkdirat(dir, name, 0755) < 0)
		return err_sys(err, "make a directory for the repository");
	cleanup_close int tree = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tree < 0)
		return err_sys(err, "open the directory of the repository");
	int r = jail_enter_work(g->jail_root, tree, err);
	if (r < 0)
		return r;
	r = lay_out(g, commit, err);
	jail_leave_work(g->jail_root);
	return r < 0 || g->what->keep_git_dir ? r : dir_remove_tree(tree, ".git", err);
}

/* The address counts only where it is kept, in .git. */
static void tree_path(const struct fetch_git *what, const char *commit, char path[static 80])
{
	cleanup(buf_done) struct buf text = {0};
	char hex[DIGEST_HEX_SIZE];

	buf_add_field(&text, str_of(commit));
	buf_add_u32(&text, what->submodules);
	buf_add_field(&text, str_of(what->submodules || what->keep_git_dir ? what->url : ""));
	buf_add_u32(&text, what->keep_git_dir);
	struct digest digest = digest_of(text.data, text.len);
	snprintf(path, 80, FETCH_TREES "/%s", digest_hex(&digest, hex));
}

int fetch_git(int dir, const struct fetch_options *options, const struct fetch_git *what,
	const char *commit, struct err *err)
{
	cleanup(git_done) struct git g = {0};
	char name[40], path[80], now[FETCH_COMMIT_SIZE];
	struct err unused = {0};

	int r = git_begin(&g, options, what, err);
	if (r == 0)
		r = resolve(&g, now, err);
	if (r == 0 && strcmp(now, commit) != 0)
		return err_set(err, ERR_FAILED, "%s has become the commit %s, it was %s",
			*what->ref ? what->ref : "HEAD", now, commit);
	if (r < 0)
		return r;
	kept_temporary(name);
	tree_path(what, commit, path);
	r = make_tree(&g, dir, name, commit, err);
	if (r == 0 && renameat(dir, name, dir, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = err_sys(err, "keep the repository");
	/* Gone when it was renamed; somebody else's is as good. */
	ignored(dir_remove_tree(dir, name, &unused));
	return r;
}

int fetch_git_find(
	int dir, const struct fetch_git *what, const char *commit, int *ret_tree, struct err *err)
{
	char path[80];

	tree_path(what, commit, path);
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? FETCH_E_ABSENT : err_sys(err, "open a kept repository");
	(void)futimens(fd, NULL); /* another user's: it only goes a little sooner */
	*ret_tree = fd;
	return 0;
}
