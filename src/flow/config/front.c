/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#define RULE "bad-front-matter"

static const char example[] = "begin README.md with:\n"
			      "---\n"
			      "title: My Space\n"
			      "sdk: docker\n"
			      "app_port: 7860\n"
			      "---";

/* The block's first and last line, blanks after them forgiven. */
static bool is_fence(struct str line)
{
	return str_is(str_trim_right(line), "---");
}

static struct space_finding problem_at(const struct source *readme, size_t at, size_t length,
	enum finding_level level, const char *text, const char *remedy)
{
	return (struct space_finding){
		.level = level,
		.rule = RULE,
		.span = source_span(readme, at, length),
		.text = text,
		.remedy = remedy,
	};
}

/* Blanks after "---": the Hub's own clients look for the bare line. */
static void check_fence(
	const struct source *readme, size_t at, struct str line, struct space_finding *problem)
{
	struct str bare = str_ends(line, STR("\r")) ? str_slice(line, 0, line.n - 1) : line;

	if (bare.n > 3)
		*problem = problem_at(readme, at + 3, bare.n - 3, FINDING_WARNING,
			"blanks after '---'; Hugging Face may not see the block", "remove them");
}

static int refuse_start(const struct source *readme, struct space_finding *problem)
{
	struct str text = readme->text;

	if (str_starts(text, STR("\xef\xbb\xbf")))
		*problem = problem_at(readme, 0, 3, FINDING_ERROR,
			"the file begins with a byte order mark, which hides the configuration block",
			"save README.md as UTF-8 without a byte order mark");
	else if (str_find(text, '\0') < text.n)
		*problem = problem_at(readme, str_find(text, '\0'), 1, FINDING_ERROR,
			"README.md is not a text file: it holds NUL bytes", "");
	else
		*problem = problem_at(readme, 0,
			str_trim_right(str_slice(text, 0, str_find(text, '\n'))).n, FINDING_ERROR,
			"README.md has no Space configuration block at its first line", example);
	return -ERR_INPUT;
}

static struct str first_line_with_text(struct str text, size_t *ret_at)
{
	struct str rest = text, line = {0};

	do {
		*ret_at = (size_t)(rest.p - text.p);
		line = str_cut(&rest, '\n');
	} while (rest.p && str_trim(line).n == 0);
	return line;
}

int space_front_matter(
	const struct source *readme, struct str *ret_block, struct space_finding *problem)
{
	struct str text = readme->text, line;
	size_t at = 0;

	*problem = (struct space_finding){0};
	if (!text.p || !is_fence(line = first_line_with_text(text, &at)))
		return refuse_start(readme, problem);
	if (at)
		*problem = problem_at(readme, at, 3, FINDING_WARNING,
			"empty lines before the configuration block", "begin README.md with '---'");
	check_fence(readme, at, line, problem);
	size_t start = at + line.n + 1, opened = at;
	for (struct str rest = str_from_index(text, start); start <= text.n && rest.p;) {
		at = (size_t)(rest.p - text.p);
		line = str_cut(&rest, '\n');
		if (!is_fence(line))
			continue;
		check_fence(readme, at, line, problem);
		*ret_block = str_slice(text, start, at);
		return 0;
	}
	*problem = problem_at(readme, opened, 3, FINDING_ERROR,
		"the configuration block that begins here has no end",
		"add a line '---' after its last key");
	return -ERR_INPUT;
}
