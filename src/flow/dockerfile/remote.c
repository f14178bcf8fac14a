/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/planner.h"

/*
 * Sources of ADD that are elsewhere. What is found wrong here never reaches git or the network:
 * above all nothing that a program could take for an option.
 */

bool is_url(struct str source)
{
	return str_starts(source, STR("http://")) || str_starts(source, STR("https://"));
}

/* git://, ssh://, user@host:path, or a URL whose path ends in .git */
bool is_git(struct str source)
{
	struct str path = str_slice(source, 0, str_find(source, '#'));

	path = str_slice(path, 0, str_find(path, '?'));
	if (str_starts(source, STR("git://")) || str_starts(source, STR("ssh://")))
		return true;
	if (is_url(source))
		return str_ends(path, STR(".git"));
	size_t at = str_find(path, '@'), colon = str_find(path, ':'), slash = str_find(path, '/');
	return at > 0 && at < colon && colon < path.n && colon < slash;
}

/* ---- Texts ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 is A; false when it is malformed or stands for a NUL. */
static bool decode(struct arena *a, struct str text, struct str *ret)
{
	char *out = arena_alloc(a, text.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		out[n] = text.p[i];
		if (text.p[i] == '%') {
			int high = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
			int low = i + 2 < text.n ? hex_value(text.p[i + 2]) : -1;
			if (high < 0 || low < 0 || high + low == 0)
				return false;
			out[n] = (char)(high << 4 | low);
			i += 2;
		}
		n++;
	}
	*ret = str_from(out, n);
	return true;
}

static bool is_printable(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] <= ' ' || text.p[i] == '\x7f')
			return false;
	return true;
}

static bool is_hex(struct str text, size_t least, size_t most)
{
	for (size_t i = 0; i < text.n; i++)
		if (!((text.p[i] >= '0' && text.p[i] <= '9') ||
			    (text.p[i] >= 'a' && text.p[i] <= 'f')))
			return false;
	return text.n >= least && text.n <= most;
}

static bool holds(struct str text, struct str what)
{
	return text.p && memmem(text.p, text.n, what.p, what.n);
}

/* ---- URLs ---- */

const char *url_file_name(struct arena *a, struct str url)
{
	struct str path = str_slice(url, 0, str_find(url, '#')), name;

	path = str_slice(path, 0, str_find(path, '?'));
	path = str_from_index(path, str_find(path, ':') + 3);
	path = str_from_index(path, str_find(path, '/'));
	if (!decode(a, path, &path))
		return NULL;
	while (path.n && path.p[path.n - 1] == '/')
		path.n--;
	name = str_from_index(path, path.n ? str_rfind(path, '/') + 1 : 0);
	if (!name.n || str_is(name, "."))
		return "__unnamed__"; /* as BuildKit calls it */
	if (str_is(name, "..") || name.n > 255)
		return NULL;
	return arena_printf(a, "%.*s", STR_ARG(name));
}

void remote_print(const struct plan_path *path, struct buf *ret)
{
	struct str url = str_of(path->git ? path->git->url : path->path);

	url = str_slice(url, 0, str_find(url, '#'));
	url = str_slice(url, 0, str_find(url, '?'));
	size_t scheme = str_find(url, ':') + 3;
	if (!is_url(url) && !str_starts(str_from_index(url, scheme - 3), STR("://"))) {
		buf_add_str(ret, url); /* user@host:path */
		return;
	}
	struct str rest = str_from_index(url, scheme), authority = str_cut(&rest, '/');
	size_t at = str_rfind(authority, '@');
	buf_add_str(ret, str_slice(url, 0, scheme));
	buf_add_str(ret, at < authority.n ? str_from_index(authority, at + 1) : authority);
	buf_printf(ret, "%s%.*s", rest.p ? "/" : "", STR_ARG(rest));
}

/* ---- git ---- */

struct git_parser {
	struct arena *arena;
	struct plan_git *git;
	struct str ref, subdir, checksum; /* .p NULL: not given */
	struct err *err;
};

static int refuse(struct git_parser *p, const char *what, struct str text)
{
	return err_set(p->err, ERR_INPUT, "%s: \"%.*s\"", what, STR_ARG(str_head(text, 200)));
}

static int set_once(struct git_parser *p, struct str *to, struct str value, const char *what)
{
	if (to->p)
		return err_set(p->err, ERR_INPUT, "the git repository's %s is given twice", what);
	*to = value.p ? value : STR("");
	return 0;
}

static int set_prefixed(struct git_parser *p, const char *prefix, struct str value)
{
	if (!value.n)
		return err_set(p->err, ERR_INPUT, "an empty branch or tag");
	const char *ref = arena_printf(p->arena, "%s%.*s", prefix, STR_ARG(value));
	return set_once(p, &p->ref, str_of(ref), "ref");
}

static int take_branch(struct git_parser *p, struct str value)
{
	return set_prefixed(p, "refs/heads/", value);
}

static int take_tag(struct git_parser *p, struct str value)
{
	return set_prefixed(p, "refs/tags/", value);
}

static int take_ref(struct git_parser *p, struct str value)
{
	return set_once(p, &p->ref, value, "ref");
}

static int take_subdir(struct git_parser *p, struct str value)
{
	return set_once(p, &p->subdir, value, "subdir");
}

static int take_checksum(struct git_parser *p, struct str value)
{
	return set_once(p, &p->checksum, value, "checksum");
}

static int take_switch(struct git_parser *p, struct str value, enum plan_switch *to)
{
	bool on = !value.n || str_is(value, "1") || str_is(value, "true");

	if (!on && !str_is(value, "0") && !str_is(value, "false"))
		return refuse(p, "neither true nor false", value);
	*to = on ? PLAN_ON : PLAN_OFF;
	return 0;
}

static int take_submodules(struct git_parser *p, struct str value)
{
	return take_switch(p, value, &p->git->submodules);
}

static int take_keep(struct git_parser *p, struct str value)
{
	return take_switch(p, value, &p->git->keep_git_dir);
}

static const struct {
	const char *name;
	int (*take)(struct git_parser *p, struct str value);
} queries[] = {
	{"branch", take_branch},
	{"checksum", take_checksum},
	{"commit", take_checksum},
	{"keep-git-dir", take_keep},
	{"ref", take_ref},
	{"subdir", take_subdir},
	{"submodules", take_submodules},
	{"tag", take_tag},
};

static int take_query(struct git_parser *p, struct str query)
{
	while (query.p) {
		struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');
		size_t i = 0;
		if (!name.n && !value.p)
			continue;
		while (i < array_size(queries) && !str_is(name, queries[i].name))
			i++;
		if (i == array_size(queries))
			return refuse(p, "unknown in the query of a git repository", name);
		if (!decode(p->arena, value, &value))
			return refuse(p, "wrongly encoded", value);
		int r = queries[i].take(p, value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ref:subdir */
static int take_fragment(struct git_parser *p, struct str fragment)
{
	struct str subdir = fragment, ref = str_cut(&subdir, ':');
	int r = ref.n ? take_ref(p, ref) : 0;

	return r == 0 && subdir.n ? take_subdir(p, subdir) : r;
}

/* What git check-ref-format(1) refuses, and what a program could take for an option. */
static int check_ref(struct git_parser *p, struct str ref)
{
	static const char never[] = " ~^:?*[\\";
	bool bad = ref.n > 255 || !is_printable(ref) || holds(ref, STR("..")) ||
		   holds(ref, STR("@{")) || holds(ref, STR("//")) || holds(ref, STR("/.")) ||
		   str_ends(ref, STR(".lock")) || str_ends(ref, STR("/")) ||
		   str_ends(ref, STR("."));

	for (size_t i = 0; i < ref.n; i++)
		bad |= strchr(never, ref.p[i]) != NULL;
	if (ref.n && (ref.p[0] == '-' || ref.p[0] == '/' || ref.p[0] == '.'))
		bad = true;
	return bad ? refuse(p, "not the name of a git ref", ref) : 0;
}

static int check_subdir(struct git_parser *p, struct str subdir)
{
	struct str rest = subdir;

	while (rest.p) {
		struct str part = str_cut(&rest, '/');
		if (str_is(part, "..") || str_eq_nocase(part, STR(".git")) || part.n > 255)
			return refuse(p, "not a directory of a repository", subdir);
	}
	return str_find(subdir, '\0') < subdir.n ? refuse(p, "a NUL in", subdir) : 0;
}

/* [user[:password]@]host[:port] */
static int check_authority(struct git_parser *p, struct str authority)
{
	size_t at = str_rfind(authority, '@');
	struct str user = str_slice(authority, 0, at < authority.n ? at : 0);
	struct str host = at < authority.n ? str_from_index(authority, at + 1) : authority;

	if (!host.n || host.p[0] == '-' || host.p[0] == ':')
		return refuse(p, "no host that git could ask", host);
	if (user.n && user.p[0] == '-')
		return refuse(p, "no user that git could use", user);
	return 0;
}

static int check_url(struct git_parser *p, struct str url)
{
	static const char *const schemes[] = {"https://", "http://", "git://", "ssh://"};

	if (!is_printable(url) || url.n > 4096)
		return refuse(p, "no URL of a git repository", url);
	for (size_t i = 0; i < array_size(schemes); i++) {
		struct str scheme = str_of(schemes[i]);
		if (!str_starts(url, scheme))
			continue;
		struct str rest = str_from_index(url, scheme.n), authority = str_cut(&rest, '/');
		if (!rest.n || rest.p[0] == '-')
			return refuse(p, "no path of a git repository", rest);
		return check_authority(p, authority);
	}
	/* user@host:path */
	struct str path = url, authority = str_cut(&path, ':');
	bool is_place = str_find(authority, '@') < authority.n &&
			str_find(authority, '/') == authority.n && !holds(url, STR("::"));
	if (!is_place || !path.n || path.p[0] == '-')
		return refuse(p, "no path of a git repository", path);
	return check_authority(p, authority);
}

static int finish(struct git_parser *p, struct str url)
{
	struct plan_git *git = p->git;
	int r = check_url(p, url);

	if (r == 0)
		r = check_ref(p, p->ref);
	if (r == 0)
		r = check_subdir(p, p->subdir);
	if (r == 0 && p->checksum.p && !is_hex(p->checksum, 7, 64))
		r = refuse(p, "not the beginning of a commit (7 or more hexadecimal digits)",
			p->checksum);
	if (r < 0)
		return r;
	git->url = arena_str(p->arena, url).p;
	git->ref = arena_str(p->arena, p->ref).p;
	git->checksum = arena_str(p->arena, p->checksum).p;
	git->subdir = path_join(p->arena, STR("/"), p->subdir);
	git->is_commit = is_hex(p->ref, 40, 40) || is_hex(p->ref, 64, 64);
	/* A whole commit as checksum says which one, when nothing else does. */
	if (!p->ref.n && (is_hex(p->checksum, 40, 40) || is_hex(p->checksum, 64, 64))) {
		git->ref = git->checksum;
		git->is_commit = true;
	}
	return 0;
}

int git_reference_parse(struct arena *a, struct str text, struct plan_git *ret, struct err *err)
{
	struct git_parser p = {.arena = a, .git = ret, .err = err};
	struct str fragment = text, url = str_cut(&fragment, '#');
	struct str query = url;

	*ret = (struct plan_git){0};
	url = str_cut(&query, '?');
	int r = query.p ? take_query(&p, query) : 0;
	if (r == 0 && fragment.p)
		r = take_fragment(&p, fragment);
	return r < 0 ? r : finish(&p, url);
}

/* ---- Sources of ADD ---- */

int remote_source(struct planner *p, const struct command *c, struct span span, struct str text,
	struct plan_path *path, struct err *err)
{
	struct err why = {0};

	path->path = text.p;
	if (path->kind == PLAN_URL) {
		path->name = is_printable(text) ? url_file_name(p->arena, text) : NULL;
		if (path->name)
			return 0;
		return command_error(err, ERR_INPUT, c, span, "%.*s is not a URL of a file",
			STR_ARG(str_head(text, 200)));
	}
	path->git = arena_alloc(p->arena, sizeof(*path->git));
	if (git_reference_parse(p->arena, text, path->git, &why) < 0)
		return command_error(err, why.kind, c, span, "%s", why.text);
	return 0;
}

static int checksum_of_url(struct plan_copy *copy, struct err *err)
{
	struct digest digest;

	if (digest_parse(str_of(copy->checksum), &digest))
		return 0;
	return err_set(err, ERR_INPUT, "--checksum: %s is not sha256: and 64 hexadecimal digits",
		copy->checksum);
}

static int checksum_of_git(struct plan_copy *copy, struct plan_git *git, struct err *err)
{
	if (!is_hex(str_of(copy->checksum), 7, 64))
		return err_set(err, ERR_INPUT,
			"--checksum: %s is not the beginning of a commit (7 or more hexadecimal "
			"digits)",
			copy->checksum);
	if (*git->checksum && strcmp(git->checksum, copy->checksum) != 0)
		return err_set(err, ERR_INPUT, "--checksum and the URL's checksum are different");
	git->checksum = copy->checksum;
	return 0;
}

int remote_flags(const struct command *c, struct plan_copy *copy, struct err *err)
{
	const struct flag *flag = instruction_flag(c->ins, "checksum", NULL);
	struct plan_git *git = copy->source_count ? copy->sources[0].git : NULL;
	struct err why = {0};

	for (size_t i = 0; i < copy->source_count; i++)
		if (copy->sources[i].git && copy->keep_git_dir != PLAN_UNSET)
			copy->sources[i].git->keep_git_dir = copy->keep_git_dir;
	if (!*copy->checksum)
		return 0;
	if (copy->source_count != 1 || copy->sources[0].kind == PLAN_PATH)
		return command_error(err, ERR_INPUT, c, flag->span,
			"--checksum is for a single source that is a URL or a git repository");
	if ((git ? checksum_of_git(copy, git, &why) : checksum_of_url(copy, &why)) < 0)
		return command_error(err, why.kind, c, flag->span, "%s", why.text);
	return 0;
}
