/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

/* "error 2:7 bad-color: text (remedy)", a line for each finding. */
static void report(struct str text, struct buf *out)
{
	static const char *const levels[] = {"note", "warning", "error"};
	cleanup(arena_done) struct arena arena = {0};
	struct source readme = {"README.md", text};
	struct space_config config;

	buf_clear(out);
	space_config_parse(&arena, &readme, &config);
	for (size_t i = 0; i < config.finding_count; i++) {
		const struct space_finding *f = &config.findings[i];
		buf_printf(out, "%s%s %u:%u %s: %s", i ? "\n" : "", levels[f->level], f->span.line,
			f->span.col, f->rule, f->text);
		if (f->remedy[0])
			buf_printf(out, " (%s)", f->remedy);
	}
}

static void report_is(struct str text, const char *expected, struct buf *out)
{
	report(text, out);
	if (strcmp(buf_text(out), expected) != 0)
		print_error("of: %.*s\n", STR_ARG(text));
	assert_string_equal(buf_text(out), expected);
}

#define EXAMPLE " (begin README.md with:\n---\ntitle: My Space\nsdk: docker\napp_port: 7860\n---)"

static void the_block_is_found(void **state)
{
	static const struct {
		struct str text;
		const char *expected;
	} rows[] = {
		{STR("---\nsdk: docker\n---\n# Title\n"), ""},
		{STR("---\r\nsdk: docker\r\n---\r\n"), ""},
		{STR("---\nsdk: docker\n---"), ""},
		{STR("---\nsdk: docker\n---\n---\nsdk: x\n---\n"), ""},
		{STR("\n\n---\nsdk: docker\n---\n"),
			"warning 3:1 bad-front-matter: empty lines before the configuration block (begin README.md with '---')"},
		{STR("---  \nsdk: docker\n---\n"),
			"warning 1:4 bad-front-matter: blanks after '---'; Hugging Face may not see the block (remove them)"},
		{STR("---\nsdk: docker\n--- \r\n"),
			"warning 3:4 bad-front-matter: blanks after '---'; Hugging Face may not see the block (remove them)"},
		{{NULL, 0},
			"error 1:1 bad-front-matter: README.md has no Space configuration block at its first line" EXAMPLE},
		{STR("\n\n"),
			"error 1:1 bad-front-matter: README.md has no Space configuration block at its first line" EXAMPLE},
		{STR("# Title\n---\nsdk: docker\n---\n"),
			"error 1:1 bad-front-matter: README.md has no Space configuration block at its first line" EXAMPLE},
		{STR("----\nsdk: docker\n---\n"),
			"error 1:1 bad-front-matter: README.md has no Space configuration block at its first line" EXAMPLE},
		{STR("---\nsdk: docker\n"),
			"error 1:1 bad-front-matter: the configuration block that begins here has no end (add a line '---' after its last key)"},
		{STR("---"),
			"error 1:1 bad-front-matter: the configuration block that begins here has no end (add a line '---' after its last key)"},
		{STR("\xef\xbb\xbf---\nsdk: docker\n---\n"),
			"error 1:1 bad-front-matter: the file begins with a byte order mark, which hides the configuration block (save README.md as UTF-8 without a byte order mark)"},
		{STR("PK\0\3"),
			"error 1:3 bad-front-matter: README.md is not a text file: it holds NUL bytes"},
		{STR("---\n---\n"),
			"error 1:1 sdk-not-docker: the configuration block has no sdk (add a line 'sdk: docker')"},
		{STR("---\nsdk:\n---\n"),
			"error 2:4 sdk-not-docker: the configuration block has no sdk (add a line 'sdk: docker')"},
		{STR("---\nsdk docker\n---\n"),
			"error 2:1 bad-front-matter: the configuration block is a text, not a mapping (write lines of the form 'key: value', with a blank after ':')"},
		{STR("---\n- sdk\n---\n"),
			"error 2:1 bad-front-matter: the configuration block is a list, not a mapping (write lines of the form 'key: value', with a blank after ':')"},
		{STR("---\nsdk: docker\ntitle: a: b\n---\n"),
			"error 3:9 bad-front-matter: a second ': ' in one line (put the value in quotes: title: \"one: two\")"},
		{STR("---\nsdk: docker\nsdk: static\n---\n"),
			"error 3:1 bad-front-matter: the key \"sdk\" is there twice, first on line 2 (remove one of the two)"},
	};
	cleanup(buf_done) struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		report_is(rows[i].text, rows[i].expected, &out);
}

static const char full[] = "---\n"
			   "title: \"Sentiment: Demo\"\n"
			   "emoji: \xf0\x9f\xa4\x97\n"
			   "colorFrom: blue\n"
			   "colorTo: indigo\n"
			   "sdk: docker\n"
			   "suggested_hardware: t4-small\n"
			   "app_port: 8080\n"
			   "base_path: /app\n"
			   "fullWidth: false\n"
			   "header: mini\n"
			   "short_description: What a text feels like\n"
			   "models: [distilbert/distilbert-base-uncased, gpt2]\n"
			   "datasets:\n- a/b\n"
			   "tags:\n- text\n- x y\n"
			   "thumbnail: https://example.org/x.png\n"
			   "pinned: true\n"
			   "hf_oauth: true\n"
			   "hf_oauth_scopes: [email, write-repos]\n"
			   "hf_oauth_expiration_minutes: 43200\n"
			   "hf_oauth_authorized_org: my-org\n"
			   "disable_embedding: True\n"
			   "startup_duration_timeout: 1h30m\n"
			   "custom_headers:\n"
			   "  cross-origin-embedder-policy: require-corp\n"
			   "  cross-origin-opener-policy: same-origin\n"
			   "  cross-origin-resource-policy: cross-origin\n"
			   "preload_from_hub:\n"
			   "- a/b\n"
			   "- >-\n"
			   "  c/d x.bin,y/z.json\n"
			   "  0123456789012345678901234567890123456789\n"
			   "license: apache-2.0\n"
			   "metaTitle: x\n"
			   "duplicated_from: a/b\n"
			   "---\n"
			   "# Demo\n";

static void every_field_is_read(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source readme = {"README.md", str_of(full)};
	struct space_config c;

	(void)state;
	space_config_parse(&arena, &readme, &c);
	assert_int_equal(c.finding_count, 0);
	assert_string_equal(c.title, "Sentiment: Demo");
	assert_string_equal(c.emoji, "\xf0\x9f\xa4\x97");
	assert_string_equal(c.color_from, "blue");
	assert_string_equal(c.color_to, "indigo");
	assert_int_equal(c.sdk, SPACE_SDK_DOCKER);
	assert_string_equal(c.suggested_hardware, "t4-small");
	assert_int_equal(c.app_port, 8080);
	assert_string_equal(c.base_path, "/app");
	assert_false(c.full_width);
	assert_int_equal(c.header, SPACE_HEADER_MINI);
	assert_string_equal(c.short_description, "What a text feels like");
	assert_int_equal(c.models.count, 2);
	assert_string_equal(c.models.items[1], "gpt2");
	assert_int_equal(c.datasets.count, 1);
	assert_string_equal(c.tags.items[1], "x y");
	assert_string_equal(c.thumbnail, "https://example.org/x.png");
	assert_true(c.pinned && c.hf_oauth && c.disable_embedding);
	assert_int_equal(c.hf_oauth_scopes.count, 2);
	assert_int_equal(c.hf_oauth_expiration_minutes, 43200);
	assert_string_equal(c.hf_oauth_authorized_org.items[0], "my-org");
	assert_true(c.startup_duration_timeout == INT64_C(5400000000000));
	assert_int_equal(c.custom_header_count, 3);
	assert_string_equal(c.custom_headers[2].name, "cross-origin-resource-policy");
	assert_string_equal(c.custom_headers[2].value, "cross-origin");
	assert_int_equal(c.preload_count, 2);
	assert_string_equal(c.preload_from_hub[0].repo, "a/b");
	assert_int_equal(c.preload_from_hub[0].files.count, 0);
	assert_null(c.preload_from_hub[0].revision);
	assert_string_equal(c.preload_from_hub[1].repo, "c/d");
	assert_string_equal(c.preload_from_hub[1].files.items[1], "y/z.json");
	assert_int_equal(strlen(c.preload_from_hub[1].revision), 40);
	assert_string_equal(c.license.items[0], "apache-2.0");
	assert_int_equal(space_config_key(&c, "app_port")->key.line, 8);
	assert_int_equal(space_config_key(&c, "app_port")->value.col, 11);
	assert_non_null(space_config_key(&c, "metaTitle"));
	assert_null(space_config_key(&c, "app_file"));
	assert_int_equal(space_config_require_docker(&c, &readme, NULL), 0);
}

static void what_is_not_given_has_its_default(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source readme = {"README.md",
		STR("---\nsdk: docker\ntitle:\nemoji: ~\napp_port: null\npinned:\n---\n")};
	struct space_config c;

	(void)state;
	space_config_parse(&arena, &readme, &c);
	assert_int_equal(c.finding_count, 0);
	assert_null(c.title);
	assert_null(c.emoji);
	assert_int_equal(c.app_port, 7860);
	assert_string_equal(c.app_file, "app.py");
	assert_string_equal(c.base_path, "/");
	assert_true(c.full_width);
	assert_false(c.pinned);
	assert_int_equal(c.header, SPACE_HEADER_DEFAULT);
	assert_int_equal(c.hf_oauth_expiration_minutes, 480);
	assert_true(c.startup_duration_timeout == INT64_C(1800000000000));
}

/* A value, alone in a block with "sdk: docker"; it stands on line 3. */
static const struct {
	const char *line;
	const char *expected;
} value_rows[] =
	{
		{"colorTo: teal",
			"error 3:10 bad-color: colorTo: \"teal\" is not one of red, yellow, green, blue, indigo, purple, pink or gray"},
		{"colorFrom: grey",
			"error 3:12 bad-color: colorFrom: \"grey\" is not one of red, yellow, green, blue, indigo, purple, pink or gray (did you mean gray?)"},
		{"colorFrom: '#0084FF'",
			"error 3:12 bad-color: colorFrom: \"#0084FF\" is not one of red, yellow, green, blue, indigo, purple, pink or gray"},
		{"colorFrom: [red]", "error 3:12 bad-color: colorFrom must be a text, not a list"},
		{"emoji: smile", "error 3:8 bad-value: emoji: \"smile\" is not an emoji"},
		{"emoji: ''", "error 3:8 bad-value: emoji: \"\" is not an emoji"},
		{"emoji: 7", "error 3:8 bad-value: emoji: \"7\" is not an emoji"},
		{"emoji: \"7\xef\xb8\x8f\xe2\x83\xa3\"", ""},
		{"emoji: \xe2\x9d\xa4\xef\xb8\x8f\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac", ""},
		{"emoji: \xf0\x9f\x87\xa9\xf0\x9f\x87\xaa", ""},
		{"app_port: 8080", ""},
		{"app_port: 1024", ""},
		{"app_port: 65535", ""},
		{"app_port: 0",
			"error 3:11 bad-app-port: app_port: \"0\" is not a number from 1 to 65535"},
		{"app_port: 65536",
			"error 3:11 bad-app-port: app_port: \"65536\" is not a number from 1 to 65535"},
		{"app_port: -1",
			"error 3:11 bad-app-port: app_port: \"-1\" is not a number from 1 to 65535"},
		{"app_port: 7860.0",
			"error 3:11 bad-app-port: app_port: \"7860.0\" is not a number from 1 to 65535"},
		{"app_port: [7860]",
			"error 3:11 bad-app-port: app_port must be a number, not a list"},
		{"app_port: '8080'",
			"warning 3:11 bad-app-port: app_port is text because of its quotes (write it plain: app_port: 8080)"},
		{"app_port: 80",
			"warning 3:11 bad-app-port: app_port 80 is a privileged port; the app runs as user 1000 and may not be allowed to open it"},
		{"base_path: app",
			"error 3:12 bad-value: base_path: \"app\" does not begin with '/' (write base_path: /app)"},
		{"base_path: //evil.example",
			"error 3:12 bad-value: base_path: \"//evil.example\" is the address of another host"},
		{"base_path: /a b", "error 3:12 bad-value: base_path: \"/a b\" holds a blank"},
		{"fullWidth: yes",
			"error 3:12 bad-value: fullWidth: \"yes\" is not true or false (write fullWidth: true)"},
		{"pinned: maybe", "error 3:9 bad-value: pinned: \"maybe\" is not true or false"},
		{"pinned: 'true'",
			"warning 3:9 bad-value: pinned is text because of its quotes (write it plain: pinned: true)"},
		{"pinned: {}", "error 3:9 bad-value: pinned must be true or false, not a mapping"},
		{"header: maxi",
			"error 3:9 bad-value: header: \"maxi\" is not one of default or mini (did you mean mini?)"},
		{"short_description: 123456789 123456789 123456789 123456789 123456789 1234567890",
			""},
		{"short_description: 123456789 123456789 123456789 123456789 123456789 12345678901",
			"error 3:20 description-too-long: short_description is 61 characters long; the limit of the Hub is 60 (shorten it by 1 (an emoji counts as two characters))"},
		{"short_description: \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 123456789 123456789 123456789 123456789 123456789",
			""},
		{"models: gpt2",
			"error 3:9 bad-value: models must be a list, not a text (write models: [gpt2])"},
		{"models: [a/b/c]",
			"warning 3:10 bad-value: models: \"a/b/c\" is not an id on the Hub"},
		{"tags: [[x]]", "error 3:8 bad-value: tags must be a list of texts, not a list"},
		{"tags: [a, ]", ""},
		{"tags: ['']", "error 3:8 bad-value: tags: an empty item"},
		{"thumbnail: x.png",
			"warning 3:12 bad-value: thumbnail: \"x.png\" is not a URL that begins with https://"},
		{"hf_oauth_scopes: [email, write-repo]",
			"error 3:26 bad-value: hf_oauth_scopes: \"write-repo\" is not one of openid, profile, email, read-billing, read-memberships, read-repos, gated-repos, contribute-repos, write-repos, manage-repos, read-collections, write-collections, inference-api, read-endpoints, write-endpoints, jobs, webhooks or write-discussions (did you mean write-repos?)"},
		{"hf_oauth_expiration_minutes: 43201",
			"error 3:30 bad-value: hf_oauth_expiration_minutes: \"43201\" is not a number from 1 to 43200"},
		{"hf_oauth_authorized_org: [a, b]", ""},
		{"startup_duration_timeout: 30",
			"error 3:27 bad-value: startup_duration_timeout: \"30\" is not a duration (write startup_duration_timeout: 30m for minutes)"},
		{"startup_duration_timeout: 0s",
			"error 3:27 bad-value: startup_duration_timeout: \"0s\" is not a duration (write a number with its unit: 30m, 1h or 1h30m)"},
		{"startup_duration_timeout: 1 hour",
			"error 3:27 bad-value: startup_duration_timeout: \"1 hour\" is not a duration (write a number with its unit: 30m, 1h or 1h30m)"},
		{"custom_headers: {Cross-Origin-Opener-Policy: same-origin}",
			"error 3:18 bad-value: custom_headers: \"Cross-Origin-Opener-Policy\" is not one of cross-origin-embedder-policy, cross-origin-opener-policy or cross-origin-resource-policy (write the name in lower case)"},
		{"custom_headers: {x-frame-options: deny}",
			"error 3:18 bad-value: custom_headers: \"x-frame-options\" is not one of cross-origin-embedder-policy, cross-origin-opener-policy or cross-origin-resource-policy"},
		{"custom_headers: {cross-origin-opener-policy: same-orign}",
			"error 3:46 bad-value: cross-origin-opener-policy: \"same-orign\" is not one of same-origin, same-origin-allow-popups or unsafe-none (did you mean same-origin?)"},
		{"custom_headers: x",
			"error 3:17 bad-value: custom_headers must be a mapping, not a text"},
		{"preload_from_hub: a/b",
			"error 3:19 bad-value: preload_from_hub must be a list, not a text"},
		{"preload_from_hub: [gpt2]",
			"warning 3:20 bad-value: preload_from_hub: \"gpt2\" names no owner: write owner/name"},
		{"preload_from_hub: ['a/b x, y']",
			"warning 3:20 bad-value: preload_from_hub: \"a/b x, y\" has a blank after a comma, or an empty file name"},
		{"preload_from_hub: [a/b x 0123]",
			"warning 3:20 bad-value: preload_from_hub: \"a/b x 0123\" has a third word that is not a commit of 40 hex digits"},
		{"preload_from_hub: [a/b x y z]",
			"warning 3:20 bad-value: preload_from_hub: \"a/b x y z\" has more than three words: repository, files joined by commas, commit"},
		{"preload_from_hub: [' ']",
			"warning 3:20 bad-value: preload_from_hub: \" \" is empty"},
		{"preload_from_hub: [a/b/c]",
			"warning 3:20 bad-value: preload_from_hub: \"a/b/c\" begins with a word that is not a repository id"},
		{"suggested_hardware: a10-large",
			"error 3:21 bad-hardware: suggested_hardware: unknown hardware flavor \"a10-large\" (did you mean a10g-large?)"},
		{"suggested_hardware: quantum",
			"error 3:21 bad-hardware: suggested_hardware: unknown hardware flavor \"quantum\" (flavors: cpu-basic, cpu-upgrade, t4-small, t4-medium, l4x1, l4x4, l40sx1, l40sx4, l40sx8, a10g-small, a10g-large, a10g-largex2, a10g-largex4, a100-large, a100x4, a100x8)"},
		{"suggested_hardware: zero-a10g",
			"warning 3:21 bad-hardware: suggested_hardware: zero-a10g ZeroGPU works for Gradio Spaces only"},
		{"suggested_storage: small",
			"warning 3:20 ignored-key: suggested_storage is ignored: Spaces no longer have persistent storage"},
		{"suggested_storage: huge",
			"error 3:20 bad-value: suggested_storage: \"huge\" is not one of small, medium or large"},
		{"license: apache2.0",
			"warning 3:10 bad-value: license: \"apache2.0\" is not an identifier that the Hub is known to accept (did you mean apache-2.0?)"},
		{"license: [mit, other]", ""},
		{"app_file: main.py",
			"note 3:1 ignored-key: app_file has no effect with sdk docker"},
		{"sdk_version: 5.1",
			"note 3:1 ignored-key: sdk_version has no effect with sdk docker"},
		{"app-port: 8080",
			"warning 3:1 ignored-key: \"app-port\" is not a field of Spaces and has no effect (did you mean app_port?)"},
		{"port: 8080",
			"warning 3:1 ignored-key: port is not a field of Spaces and has no effect (did you mean app_port?)"},
		{"dockerfile: Dockerfile.hf",
			"warning 3:1 ignored-key: dockerfile is not a field of Spaces and has no effect (the file must be named Dockerfile and lie beside README.md)"},
		{"language: en",
			"note 3:1 ignored-key: \"language\" is not a field of Spaces and has no effect"},
		{"title: \"a\\x1bb\"",
			"error 3:8 bad-front-matter: an escape makes a control character or half a character (remove the escape)"},
};

static void values_are_checked(void **state)
{
	cleanup(buf_done) struct buf out = {0}, text = {0};

	(void)state;
	for (size_t i = 0; i < array_size(value_rows); i++) {
		buf_clear(&text);
		buf_printf(&text, "---\nsdk: docker\n%s\n---\n", value_rows[i].line);
		report_is(buf_str(&text), value_rows[i].expected, &out);
	}
}

static void other_sdks_have_other_fields(void **state)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{"sdk: gradio\nsdk_version: 5.1\napp_file: a/main.py\npython_version: '3.10'\n",
			""},
		{"sdk: gradio\napp_port: 8080\n",
			"note 3:1 ignored-key: app_port has no effect with sdk gradio"},
		{"sdk: gradio\npython_version: 3.10\n",
			"warning 3:17 bad-value: python_version: 3.10 without quotes is a number, which ends in no zero (write python_version: \"3.10\")"},
		{"sdk: gradio\npython_version: '2.7'\n",
			"error 3:17 bad-value: python_version: \"2.7\" is not a version like 3.13 or 3.13.1"},
		{"sdk: static\napp_file: ../x.html\n",
			"error 3:11 bad-value: app_file: \"../x.html\" is not a path inside the repository"},
		{"sdk: static\napp_build_command: npm run build\n", ""},
		{"sdk: Docker\n",
			"error 2:6 sdk-not-docker: sdk: \"Docker\" is not one of docker, gradio, streamlit or static (did you mean docker?)"},
		{"sdk: [docker]\n", "error 2:6 sdk-not-docker: sdk must be a word, not a list"},
	};
	cleanup(buf_done) struct buf out = {0}, text = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		buf_clear(&text);
		buf_printf(&text, "---\n%s---\n", rows[i].text);
		report_is(buf_str(&text), rows[i].expected, &out);
	}
}

static void all_problems_are_told_and_the_first_is_the_error(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf out = {0};
	struct source readme = {"README.md",
		STR("---\ncolorTo: gren\napp_port: 0\nsdk: docker\nfoo: 1\nheader: x\n---\n")};
	struct space_config c;
	struct err err = {0};

	(void)state;
	space_config_parse(&arena, &readme, &c);
	assert_int_equal(c.finding_count, 4);
	assert_int_equal(c.error_count, 3);
	assert_null(c.color_to);
	assert_int_equal(c.app_port, 7860);
	assert_int_equal(space_config_check(&c, &readme, &err), -ERR_INPUT);
	assert_string_equal(err.text,
		"README.md:2:10: colorTo: \"gren\" is not one of red, yellow, green, blue, indigo, purple, pink or gray");
	assert_string_equal(err.hint, "  2 | colorTo: gren\n    |          ^~~~\n"
				      "did you mean green?\n2 more errors in README.md");
	space_finding_print(&c.findings[2], &readme, &out);
	assert_string_equal(buf_text(&out),
		"README.md:5:1: note: \"foo\" is not a field of Spaces and has no effect\n"
		"  5 | foo: 1\n    | ^~~\n");
	buf_clear(&out);
	space_finding_print(&c.findings[0], &readme, &out);
	assert_non_null(strstr(out.data, "^~~~\n  did you mean green?\n"));
}

static void only_docker_is_built(void **state)
{
	cleanup(arena_done) struct arena arena = {0};
	struct source readme = {"README.md", STR("---\nsdk: gradio\n---\n")};
	struct space_config c;
	struct err err = {0};

	(void)state;
	space_config_parse(&arena, &readme, &c);
	assert_int_equal(space_config_check(&c, &readme, &err), 0);
	assert_int_equal(space_config_require_docker(&c, &readme, &err), -ERR_INPUT);
	assert_string_equal(
		err.text, "README.md:2:6: sdk is gradio; Spaceport builds and runs Docker Spaces");
	assert_non_null(
		strstr(err.hint, "  2 | sdk: gradio\n    |      ^~~~~~\nwrite 'sdk: docker'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_block_is_found),
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(what_is_not_given_has_its_default),
		cmocka_unit_test(values_are_checked),
		cmocka_unit_test(other_sdks_have_other_fields),
		cmocka_unit_test(all_problems_are_told_and_the_first_is_the_error),
		cmocka_unit_test(only_docker_is_built),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
