/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

static char longest[200];

static void ids_follow_the_rule_of_the_hub(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"user/my-space", NULL},
		{"User_1/a.b-c_d", NULL},
		{"_a/b_", NULL},
		{"space", "Space id \"space\" has no owner"},
		{"/b", "Space id \"/b\": the owner is empty"},
		{"a/", "Space id \"a/\": the name is empty"},
		{"a/b/c",
			"Space id \"a/b/c\": the name may hold only letters, digits, '-', '_' and '.'"},
		{"a/b c",
			"Space id \"a/b c\": the name may hold only letters, digits, '-', '_' and '.'"},
		{"a/-b",
			"Space id \"a/-b\": the name must begin and end with a letter, a digit or '_'"},
		{"a./b",
			"Space id \"a./b\": the owner must begin and end with a letter, a digit or '_'"},
		{"a/b--c", "Space id \"a/b--c\": the name may not hold '--' or '..'"},
		{"a/b..c", "Space id \"a/b..c\": the name may not hold '--' or '..'"},
		{"a/b.git", "Space id \"a/b.git\": the name may not end in '.git'"},
		{"a/\xc3\xa4",
			"Space id \"a/\xc3\xa4\": the name may hold only letters, digits, '-', '_' and '.'"},
	};
	cleanup(arena_done) struct arena arena = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct space_id id = {0};
		struct err err = {0};
		int r = space_id_parse(&arena, str_of(rows[i].text), &id, &err);
		assert_int_equal(r, rows[i].error ? -ERR_INPUT : 0);
		if (rows[i].error)
			assert_string_equal(err.text, rows[i].error);
		else
			assert_string_equal(id.text, rows[i].text);
	}
	struct space_id id = {0};
	memset(longest, 'a', sizeof(longest) - 1);
	longest[1] = '/';
	assert_int_equal(space_id_parse(&arena, str_from(longest, 98), &id, NULL), 0);
	assert_int_equal(space_id_parse(&arena, str_from(longest, 99), &id, NULL), -ERR_INPUT);
}

static void subdomains_are_labels(void **state)
{
	static const struct {
		const char *id, *label;
	} rows[] = {
		{"user/my-space", "user-my-space"},
		{"User_1/A.b", "user-1-a-b"},
		{"_a/b_", "a-b"},
		{"_/_", "space-36164c17"},
	};
	cleanup(arena_done) struct arena arena = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct space_id id = {0};
		assert_int_equal(space_id_parse(&arena, str_of(rows[i].id), &id, NULL), 0);
		assert_string_equal(space_subdomain(&arena, &id), rows[i].label);
	}
	struct space_id one = {.owner = "user", .name = longest + 2, .text = longest};
	longest[90] = '\0';
	const char *label = space_subdomain(&arena, &one);
	assert_int_equal(strlen(label), 63);
	assert_memory_equal(label, "user-aaaa", 9);
	longest[90] = 'b';
	assert_string_not_equal(space_subdomain(&arena, &one), label);
}

static void folders_give_names(void **state)
{
	static const struct {
		const char *folder, *name;
	} rows[] = {
		{"my space", "my-space"},
		{"demo", "demo"},
		{"..", "space"},
		{"", "space"},
		{"-a--b..c-", "a-b.c"},
		{"app.git", "app"},
		{"app.git.git", "app"},
		{".git", "git"},
		{"gr\xc3\xbc\xc3\x9f"
		 "e",
			"gr-e"},
		{"\xff\xfe", "space"},
	};
	cleanup(arena_done) struct arena arena = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		const char *name = space_name_from(&arena, str_of(rows[i].folder));
		assert_string_equal(name, rows[i].name);
		struct space_id id = {0};
		struct str text = str_of(arena_printf(&arena, "local/%s", name));
		assert_int_equal(space_id_parse(&arena, text, &id, NULL), 0);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	assert_int_equal(strlen(space_name_from(&arena, str_of(longest))), 96);
}

static void variables_have_names(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{"HF_TOKEN", true},
		{"a", true},
		{"a1_", true},
		{"", false},
		{"_A", false},
		{"1A", false},
		{"A-B", false},
		{"A B", false},
		{"A=", false},
		{"\xc3\xa4", false},
	};
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++)
		assert_int_equal(space_variable_check(str_of(rows[i].name), &err),
			rows[i].good ? 0 : -ERR_INPUT);
	assert_string_equal(err.text, "\"\xc3\xa4\" is not a name for a variable or secret");
	memset(longest, 'a', sizeof(longest) - 1);
	struct str name = {longest, 199};
	assert_int_equal(space_variable_check(name, NULL), 0);
}

static void flavors_are_found(void **state)
{
	const struct flavor *flavor = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(flavor_parse(STR(FLAVOR_DEFAULT), &flavor, &err), 0);
	assert_int_equal(flavor->vcpu, 2);
	assert_int_equal(flavor->ram_gb, 16);
	assert_int_equal(flavor->gpus, 0);
	assert_int_equal(flavor_parse(STR("a100x8"), &flavor, &err), 0);
	assert_int_equal(flavor->gpus, 8);
	assert_int_equal(flavor->vram_gb, 640);
	assert_int_equal(flavor_parse(STR("a10-large"), &flavor, &err), -ERR_INPUT);
	assert_string_equal(err.text, "unknown hardware flavor \"a10-large\"");
	assert_non_null(strstr(err.hint, "did you mean a10g-large?\nflavors: cpu-basic, "));
	assert_non_null(strstr(err.hint, "a100x8"));
	assert_int_equal(flavor_parse(STR("zero-a10g"), &flavor, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, "Gradio Spaces only"));
	size_t count = 0;
	for (const struct flavor *f; (f = flavor_at(count)); count++)
		assert_ptr_equal(flavor_find(str_of(f->name)), f);
	assert_int_equal(count, 16);
}

static void runs_see_the_built_in_variables(void **state)
{
	static const char *const expected[] = {"ACCELERATOR=t4-small", "CPU_CORES=4", "MEMORY=15Gi",
		"SPACE_ID=user/demo", "SPACE_AUTHOR_NAME=user", "SPACE_REPO_NAME=demo",
		"SPACE_TITLE=My Demo", "SPACE_HOST=127.0.0.1:7860",
		"SPACE_CREATOR_USER_ID=04f8996da763b7a969b1028e"};
	cleanup(argv_done) struct argv env = {0};
	struct space_config config = {.title = "My Demo"};
	struct space_id id = {"user", "demo", "user/demo"};

	(void)state;
	argv_add(&env, "MEMORY=1");
	space_environment(&config, flavor_find(STR("t4-small")), &id, "127.0.0.1:7860", &env);
	assert_int_equal(env.count, array_size(expected));
	for (size_t i = 0; i < array_size(expected); i++) {
		struct str name = str_of(expected[i]);
		name.n = str_find(name, '=');
		cleanup_free char *text = str_dup(name);
		assert_string_equal(argv_env(&env, text), expected[i] + name.n + 1);
	}
	config.title = NULL;
	space_environment(&config, flavor_find(STR("cpu-basic")), &id, "h", &env);
	assert_string_equal(argv_env(&env, "ACCELERATOR"), "none");
	assert_string_equal(argv_env(&env, "MEMORY"), "16Gi");
	assert_string_equal(argv_env(&env, "SPACE_TITLE"), "demo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_follow_the_rule_of_the_hub),
		cmocka_unit_test(subdomains_are_labels),
		cmocka_unit_test(folders_give_names),
		cmocka_unit_test(variables_have_names),
		cmocka_unit_test(flavors_are_found),
		cmocka_unit_test(runs_see_the_built_in_variables),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
