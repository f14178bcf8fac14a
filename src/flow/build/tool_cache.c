/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "build/caches.h"
#include "build/words.h"

/*
 * The caches that uv, pip and npm keep by themselves. uv links files from its cache into what
 * it installs, so it gets one only beside programs that write into no file that is there
 * already; pip and npm copy.
 */
static const struct {
	unsigned tool;
	const char *name;
	const char *off;	 /* a variable that switches the cache off; NULL: none */
	const char *variable;	 /* one that says where it is */
	const char *below_home;	 /* else it is here, */
	const char *below_cache; /* or here when XDG_CACHE_HOME is set; NULL: not asked */
} tools[] = {
	{TOOL_UV, "uv", "UV_NO_CACHE", "UV_CACHE_DIR", ".cache/uv", "uv"},
	{TOOL_PIP, "pip", "PIP_NO_CACHE_DIR", "PIP_CACHE_DIR", ".cache/pip", "pip"},
	{TOOL_NPM, "npm", NULL, "NPM_CONFIG_CACHE", ".npm", NULL},
};

/* npm reads its variables in any case; the others are written in capitals. */
static const char *variable(const struct plan_run *run, const char *name)
{
	for (size_t i = run->env.count; i-- > 0;) {
		struct str value = str_of(run->env.items[i]), key = str_cut(&value, '=');
		if (value.p && str_eq_nocase(key, str_of(name)))
			return value.p;
	}
	return NULL;
}

bool build_has_tool_cache(const struct build *b)
{
	return !b->options->no_tool_cache && b->settings->build.tool_cache;
}

unsigned tool_caches_wanted(const struct plan_run *run)
{
	const char *links = variable(run, "UV_LINK_MODE");
	struct words words = words_of(&run->argv);
	unsigned wanted = run->script || run->insecure ? 0 : words.tools;

	if (!words.is_plain || (links && strcmp(links, "symlink") == 0))
		wanted &= ~(unsigned)TOOL_UV;
	for (size_t i = 0; i < array_size(tools); i++)
		if (tools[i].off && variable(run, tools[i].off))
			wanted &= ~tools[i].tool;
	return wanted;
}

char *tool_cache_dir(const struct plan_run *run, unsigned tool, const char *home)
{
	const char *xdg = variable(run, "XDG_CACHE_HOME");
	size_t i = 0;

	while (tools[i].tool != tool)
		i++;
	const char *dir = variable(run, tools[i].variable);
	if (variable(run, "HOME"))
		home = variable(run, "HOME");
	cleanup_free char *path =
		dir && *dir ? xstrdup(dir)
		: xdg && *xdg && tools[i].below_cache
			? xprintf("%s/%s", xdg, tools[i].below_cache)
			: xprintf("%s/%s", strcmp(home, "/") == 0 ? "" : home, tools[i].below_home);
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	/* Of anything but a clean absolute path nobody can say where it leads. */
	if (n < 2 || path[0] != '/' || strstr(path, "//") || strstr(path, "/../") ||
		strstr(path, "/./"))
		return NULL;
	return take_ptr(path);
}

const char *tool_cache_name(unsigned tool)
{
	for (size_t i = 0; i < array_size(tools); i++)
		if (tools[i].tool == tool)
			return tools[i].name;
	return "";
}
