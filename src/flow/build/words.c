/* SPDX-License-Identifier: Apache-2.0 */
#include "build/words.h"

#include "base/alloc.h"
#include "base/argv.h"
#include "base/str.h"

/* ---- one command ---- */

/* Commands that never write into a file that is there already; sorted by what they are for. */
static const char *const harmless[] = {":", "[", "cd", "echo", "exit", "export", "false", "ls",
	"mkdir", "mv", "printf", "pwd", "rm", "rmdir", "set", "sleep", "test", "true", "umask",
	"unset", "wait", "addgroup", "adduser", "groupadd", "useradd", "apk", "apt", "apt-get",
	"dnf", "microdnf", "yum", "cat", "command", "date", "df", "du", "grep", "head", "id",
	"sha256sum", "stat", "tail", "uname", "which", "whoami"};

/* Words of a command that say how its cache is to be used: then it is left alone. */
static const char *const cache_words[] = {"--no-cache", "--no-cache-dir", "--cache-dir", "--cache",
	"--link-mode", "--prefer-offline", "-n"};

/* Variables that move a cache, or switch it off; a command may set them for itself. */
static const char *const cache_variables[] = {"HOME", "XDG_CACHE_HOME", "UV_CACHE_DIR",
	"UV_NO_CACHE", "UV_LINK_MODE", "PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "NPM_CONFIG_CACHE"};

struct judge {
	struct words words;
	unsigned refused; /* of enum tool: their caches are to be left alone */
};

enum { ALL_TOOLS = TOOL_UV | TOOL_PIP | TOOL_NPM };

static bool is_one_of(struct str word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_is(word, list[i]))
			return true;
	return false;
}

static struct str base_name(struct str path)
{
	size_t slash = str_rfind(path, '/');

	return slash < path.n ? str_from_index(path, slash + 1) : path;
}

/* The index of the first word from `at` on that is no option; count when there is none. */
static size_t next_word(const struct argv *command, size_t at)
{
	while (at < command->count && command->items[at][0] == '-')
		at++;
	return at;
}

static struct str word_at(const struct argv *command, size_t at)
{
	return at < command->count ? str_of(command->items[at]) : STR("");
}

static bool says_how_to_cache(const struct argv *command)
{
	for (size_t i = 1; i < command->count; i++) {
		struct str value = str_of(command->items[i]), name = str_cut(&value, '=');
		if (is_one_of(name, cache_words, array_size(cache_words)))
			return true;
	}
	return false;
}

/* It installs with `tool`, whose cache it gets unless its words say something about it. */
static void installs(struct judge *j, enum tool tool, const struct argv *command)
{
	j->words.tools |= tool;
	if (says_how_to_cache(command))
		j->refused |= tool;
}

static void is_unknown(struct judge *j)
{
	j->words.is_plain = false;
}

/* What it puts into the cache is what it will run from there: no cache but the image's own. */
static void runs_from_cache(struct judge *j, enum tool tool)
{
	j->refused |= tool;
	is_unknown(j);
}

static void judge_uv(struct judge *j, const struct argv *command, size_t at)
{
	static const char *const installing[] = {
		"sync", "pip", "add", "remove", "lock", "export", "build", "venv"};
	static const char *const other[] = {"python", "init", "version", "tree", "self", ""};
	size_t place = next_word(command, at);
	struct str word = word_at(command, place);

	if (str_is(word, "tool"))
		word = word_at(command, next_word(command, place + 1));
	if (is_one_of(word, installing, array_size(installing)) || str_is(word, "install") ||
		str_is(word, "upgrade"))
		installs(j, TOOL_UV, command);
	else if (str_is(word, "cache"))
		j->refused |= TOOL_UV;
	else if (!is_one_of(word, other, array_size(other)))
		runs_from_cache(j, TOOL_UV);
}

static void judge_pip(struct judge *j, const struct argv *command, size_t at)
{
	static const char *const installing[] = {"install", "download", "wheel"};
	struct str word = word_at(command, next_word(command, at));

	if (is_one_of(word, installing, array_size(installing)))
		installs(j, TOOL_PIP, command);
	else if (str_is(word, "cache"))
		j->refused |= TOOL_PIP;
}

static void judge_npm(struct judge *j, const struct argv *command, size_t at)
{
	static const char *const installing[] = {"install", "i", "ci", "add", "clean-install"};
	struct str word = word_at(command, next_word(command, at));

	if (is_one_of(word, installing, array_size(installing)))
		installs(j, TOOL_NPM, command);
	else if (str_is(word, "cache"))
		j->refused |= TOOL_NPM;
	else
		is_unknown(j);
}

static bool is_python(struct str name)
{
	while (name.n && strchr("0123456789.", name.p[name.n - 1]))
		name.n--;
	return str_is(name, "python");
}

/* python -m MODULE; anything else may do anything. */
static void judge_python(struct judge *j, const struct argv *command, size_t at)
{
	static const char *const modules[] = {"venv", "ensurepip", "compileall"};

	struct str module = str_is(word_at(command, at), "-m") ? word_at(command, at + 1) : STR("");

	if (str_is(module, "pip"))
		judge_pip(j, command, at + 2);
	else if (str_is(module, "uv"))
		judge_uv(j, command, at + 2);
	else if (!is_one_of(module, modules, array_size(modules)))
		is_unknown(j);
}

/* rm of a cache would be one of the store's. */
static void judge_rm(struct judge *j, const struct argv *command, size_t at)
{
	for (; at < command->count; at++)
		if (strstr(command->items[at], "cache") || strstr(command->items[at], ".npm") ||
			strpbrk(command->items[at], "$~*?"))
			j->refused |= ALL_TOOLS;
}

static void judge_variable(struct judge *j, struct str assignment)
{
	struct str name = str_cut(&assignment, '=');

	for (size_t i = 0; i < array_size(cache_variables); i++)
		if (str_eq_nocase(name, str_of(cache_variables[i])))
			j->refused |= ALL_TOOLS;
}

static bool is_assignment(const char *word)
{
	size_t n = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	return n && word[n] == '=';
}

static bool is_pip(struct str name)
{
	while (name.n > 3 && strchr("0123456789.", name.p[name.n - 1]))
		name.n--;
	return str_is(name, "pip");
}

static void judge_program(struct judge *j, struct str name, const struct argv *command, size_t at)
{
	if (str_is(name, "uv"))
		judge_uv(j, command, at);
	else if (str_is(name, "uvx"))
		runs_from_cache(j, TOOL_UV);
	else if (is_pip(name))
		judge_pip(j, command, at);
	else if (str_is(name, "npm"))
		judge_npm(j, command, at);
	else if (str_is(name, "npx"))
		runs_from_cache(j, TOOL_NPM);
	else if (is_python(name))
		judge_python(j, command, at);
	else if (!is_one_of(name, harmless, array_size(harmless)))
		is_unknown(j);
}

static void judge_command(struct judge *j, const struct argv *command)
{
	static const char *const keywords[] = {
		"!", "do", "done", "elif", "else", "exec", "fi", "if", "then", "time", "while"};
	size_t at = 0;

	while (at < command->count) {
		if (is_assignment(command->items[at]))
			judge_variable(j, str_of(command->items[at]));
		else if (!is_one_of(str_of(command->items[at]), keywords, array_size(keywords)))
			break;
		at++;
	}
	if (at == command->count)
		return;
	struct str name = base_name(str_of(command->items[at++]));
	if (str_is(name, "export"))
		for (size_t i = at; i < command->count; i++)
			judge_variable(j, str_of(command->items[i]));
	if (str_is(name, "rm"))
		judge_rm(j, command, at);
	judge_program(j, name, command, at);
}

/* ---- the shell's text ---- */

struct scanner {
	struct judge *judge;
	struct str rest;
	struct buf word;
	bool has_word;
	struct argv command;
};

static void end_word(struct scanner *s)
{
	if (s->has_word)
		argv_add_str(&s->command, buf_str(&s->word));
	buf_clear(&s->word);
	s->has_word = false;
}

static void end_command(struct scanner *s)
{
	end_word(s);
	judge_command(s->judge, &s->command);
	argv_done(&s->command);
}

static void add(struct scanner *s, char c)
{
	buf_add_char(&s->word, c);
	s->has_word = true;
}

static char take(struct scanner *s)
{
	char c = s->rest.p[0];

	s->rest = str_from_index(s->rest, 1);
	return c;
}

static void scan_quoted(struct scanner *s, char quote)
{
	s->has_word = true;
	while (s->rest.n) {
		char c = take(s);
		if (c == quote)
			return;
		if (quote == '"' && c == '\\' && s->rest.n)
			c = take(s);
		else if (quote == '"' && (c == '`' || (c == '$' && str_starts(s->rest, STR("(")))))
			is_unknown(s->judge);
		add(s, c);
	}
}

/* Only into nothing, or into another stream: a file could be one that is shared. */
static void scan_redirect(struct scanner *s)
{
	static const struct str harmless_targets[] = {
		{"/dev/null", 9}, {"&1", 2}, {"&2", 2}, {"/dev/stderr", 11}};

	end_word(s);
	while (str_starts(s->rest, STR(" ")))
		(void)take(s);
	for (size_t i = 0; i < array_size(harmless_targets); i++)
		if (str_starts(s->rest, harmless_targets[i])) {
			s->rest = str_from_index(s->rest, harmless_targets[i].n);
			return;
		}
	is_unknown(s->judge);
}

static void scan_one(struct scanner *s)
{
	char c = take(s);

	if (c == '\\' && s->rest.n) {
		char next = take(s);
		if (next != '\n')
			add(s, next);
	} else if (c == '\'' || c == '"') {
		scan_quoted(s, c);
	} else if (c == '#' && !s->has_word) {
		(void)str_cut(&s->rest, '\n');
		end_command(s);
	} else if (strchr(" \t\r", c)) {
		end_word(s);
	} else if (strchr("\n;&|", c)) {
		end_command(s);
	} else if (c == '>') {
		scan_redirect(s);
	} else {
		/* Substitutions, groups and input from here or elsewhere are not understood. */
		if (strchr("`(){}<", c))
			is_unknown(s->judge);
		add(s, c);
	}
}

static void judge_text(struct judge *j, struct str text)
{
	struct scanner s = {.judge = j, .rest = text};

	while (s.rest.n)
		scan_one(&s);
	end_command(&s);
	buf_done(&s.word);
	argv_done(&s.command);
}

/* ---- the whole ---- */

static bool is_shell(struct str program)
{
	static const char *const shells[] = {"sh", "bash", "ash", "dash"};

	return is_one_of(base_name(program), shells, array_size(shells));
}

/* ["/bin/bash", "-o", "pipefail", "-c", text] */
static bool is_shell_form(const struct oci_list *argv)
{
	if (argv->count < 3 || !is_shell(str_of(argv->items[0])))
		return false;
	struct str option = str_of(argv->items[argv->count - 2]);
	return str_starts(option, STR("-")) && str_ends(option, STR("c"));
}

struct words words_of(const struct oci_list *argv)
{
	struct judge j = {.words.is_plain = true};

	if (is_shell_form(argv)) {
		judge_text(&j, str_of(argv->items[argv->count - 1]));
	} else {
		cleanup(argv_done) struct argv command = {0};
		for (size_t i = 0; i < argv->count; i++)
			argv_add(&command, argv->items[i]);
		judge_command(&j, &command);
	}
	j.words.tools &= ~j.refused;
	return j.words;
}
