/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "build/words.h"

static const struct {
	const char *text;
	unsigned tools;
	bool is_plain;
} shell_cases[] = {
	{"uv sync --frozen --no-install-project --no-dev", TOOL_UV, true},
	{"uv sync --frozen --no-dev && uv pip check", TOOL_UV, true},
	{"cd /app && uv sync", TOOL_UV, true},
	{"pip install uv && uv sync", TOOL_UV | TOOL_PIP, true},
	{"python -m pip install -r requirements.txt", TOOL_PIP, true},
	{"/usr/local/bin/python3.13 -m pip install x", TOOL_PIP, true},
	{"pip3.13 install x", TOOL_PIP, true},
	{"apt-get update && apt-get install -y git \\\n && uv sync > /dev/null 2>&1", TOOL_UV,
		true},
	{"npm ci", TOOL_NPM, true},
	{"npm ci && npm run build", TOOL_NPM, false},
	{"uv tool install ruff", TOOL_UV, true},
	{"if test -f uv.lock; then uv sync; fi", TOOL_UV, true},
	{"set -eu\nuv sync # all of it\nuv pip list", TOOL_UV, true},
	{"uv 'sync'", TOOL_UV, true},
	/* Its cache is spoken of, or moved, or removed. */
	{"uv sync --no-cache", 0, true},
	{"uv -n sync", 0, true},
	{"uv --cache-dir=/c sync", 0, true},
	{"uv sync --link-mode=symlink", 0, true},
	{"pip install --no-cache-dir x", 0, true},
	{"pip install --no-cache-dir uv && uv sync", TOOL_UV, true},
	{"UV_CACHE_DIR=/c uv sync", 0, true},
	{"export XDG_CACHE_HOME=/c; uv sync", 0, true},
	{"npm_config_cache=/c npm ci", 0, true},
	{"uv sync && rm -rf /root/.cache", 0, true},
	{"uv sync && rm -rf ~/stuff", 0, true},
	{"uv sync && uv cache clean", 0, true},
	{"pip install x && pip cache purge", 0, true},
	/* What is installed there is run from there. */
	{"uvx ruff --version", 0, false},
	{"uv tool run ruff", 0, false},
	{"uv sync && uv run --with x python -c pass", 0, false},
	{"npx cowsay", 0, false},
	/* May do anything. */
	{"uv sync && chown -R user /app", TOOL_UV, false},
	{"uv sync && strip .venv/lib/a.so", TOOL_UV, false},
	{"uv sync && echo x >> .venv/a.py", TOOL_UV, false},
	{"uv sync && echo x > .venv/a.py", TOOL_UV, false},
	{"uv sync && echo \"$(tee .venv/a.py)\"", TOOL_UV, false},
	{"uv sync && echo `tee .venv/a.py`", TOOL_UV, false},
	{"uv sync && (tee x)", TOOL_UV, false},
	{"uv sync && python patch.py", TOOL_UV, false},
	{"uv sync && python -c pass", TOOL_UV, false},
	{"uv sync && $EDIT x", TOOL_UV, false},
	{"cat <<EOF | tee x\nEOF\n", 0, false},
	{"./install.sh", 0, false},
	{"echo 'uv sync'", 0, true},
	{"echo \"unclosed", 0, true},
	{"", 0, true},
	{"\\", 0, false},
};

static void texts_of_shells_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(shell_cases); i++) {
		cleanup_free char *text = xstrdup(shell_cases[i].text);
		char sh[] = "/bin/sh", option[] = "-c", *items[] = {sh, option, text};
		const struct oci_list argv = {items, array_size(items)};
		struct words got = words_of(&argv);
		if (got.tools != shell_cases[i].tools || got.is_plain != shell_cases[i].is_plain)
			fail_msg("%s: tools %u, %s", shell_cases[i].text, got.tools,
				got.is_plain ? "plain" : "not plain");
	}
}

static void programs_without_a_shell_are_judged(void **state)
{
	char uv[] = "uv", sync[] = "sync", tee[] = "tee", bash[] = "/bin/bash", o[] = "-o",
	     pipefail[] = "pipefail", ec[] = "-ec", text[] = "uv sync | cat";
	char *syncing[] = {uv, sync}, *editing[] = {tee, sync},
	     *piping[] = {bash, o, pipefail, ec, text};
	const struct {
		struct oci_list argv;
		unsigned tools;
		bool is_plain;
	} cases[] = {{{syncing, 2}, TOOL_UV, true}, {{editing, 2}, 0, false},
		{{piping, 5}, TOOL_UV, true}, {{NULL, 0}, 0, true}};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct words got = words_of(&cases[i].argv);
		assert_int_equal(got.tools, cases[i].tools);
		assert_int_equal(got.is_plain, cases[i].is_plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_of_shells_are_judged),
		cmocka_unit_test(programs_without_a_shell_are_judged),
	};

	return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
