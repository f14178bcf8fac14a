/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "oci/oci.h"

#define LIST(...) \
	{ \
		.items = (const char *[]){__VA_ARGS__}, \
		.count = sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *) \
	}

static void later_ones_win(void **state)
{
	char path[] = "/tmp/spaceport-test-XXXXXX";
	int fd = mkstemp(path);
	static const char text[] = "# comment\nA=file\nB=two words\n\nFROM_HOST\nNOT_SET_HERE\n";
	struct variable_flags flags = {
		.env_files = LIST(path),
		.env = LIST("A=flag=with=signs", "HOST_TOO", "NOT_SET_HERE"),
		.secrets = LIST("TOKEN=t0ken", "FROM_HOST"),
	};
	cleanup(variables_done) struct variables v = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	setenv("FROM_HOST", "host", 1);
	setenv("HOST_TOO", "too", 1);
	unsetenv("NOT_SET_HERE");
	int r = variables_read(&flags, &v, &err);
	unlink(path);
	assert_int_equal(r, 0);
	assert_string_equal(argv_env(&v.env, "A"), "flag=with=signs");
	assert_int_equal(v.unset.count, 1);
	assert_string_equal(v.unset.items[0], "NOT_SET_HERE");
	assert_string_equal(argv_env(&v.env, "B"), "two words");
	assert_string_equal(argv_env(&v.env, "FROM_HOST"), "host");
	assert_string_equal(argv_env(&v.env, "HOST_TOO"), "too");
	assert_null(argv_env(&v.env, "NOT_SET_HERE"));
	assert_string_equal(argv_env(&v.secrets, "TOKEN"), "t0ken");
	assert_string_equal(argv_env(&v.secrets, "FROM_HOST"), "host");
	assert_int_equal(v.secret_names.count, 2);
	assert_string_equal(v.secret_names.items[0], "TOKEN");
}

static void mistakes_are_named_without_values(void **state)
{
	const struct {
		struct variable_flags flags;
		const char *says;
	} rows[] = {
		{{.env = LIST("=x")}, "--env"},
		{{.env = LIST("1A=x")}, "1A"},
		{{.env = LIST("A-B=x")}, "A-B"},
		{{.secrets = LIST("A B=s3cr3t")}, "A B"},
		{{.secrets = LIST("NOT_SET_HERE")}, "NOT_SET_HERE"},
		{{.env_files = LIST("/no/such/file")}, "/no/such/file"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(variables_done) struct variables v = {0};
		struct err err = {0};
		assert_int_equal(variables_read(&rows[i].flags, &v, &err), -ERR_INPUT);
		assert_non_null(strstr(err.text, rows[i].says));
		assert_null(strstr(err.text, "s3cr3t"));
	}
}

static void secrets_of_a_build(void **state)
{
	static const struct {
		const char *text, *id, *env, *file;
	} rows[] = {
		{"id=TOKEN", "TOKEN", "TOKEN", NULL},
		{"id=a.b-c,env=TOKEN", "a.b-c", "TOKEN", NULL},
		{"type=env,id=x,env=TOKEN", "x", "TOKEN", NULL},
		{"id=x,src=/dev/null", "x", NULL, "/dev/null"},
		{"source=/dev/null,id=x,type=file", "x", NULL, "/dev/null"},
	};
	static const char *const wrong[] = {"", "nonsense", "id=", "id=A,src=/no/such/file",
		"id=TOKEN,other=1", "id=A,env=NOT_SET_HERE", "id=../escape,env=TOKEN",
		"id=.,env=TOKEN", "env=TOKEN", "id=a/b,env=TOKEN", "id=A,env=TOKEN,src=/dev/null",
		"TOKEN=s3cr3t", "id=NOT_SET_HERE", "id=TOKEN,type=vault"};
	cleanup(arena_done) struct arena a = {0};
	struct build_secret secret;

	(void)state;
	setenv("TOKEN", "t0ken", 1);
	unsetenv("NOT_SET_HERE");
	for (size_t i = 0; i < array_size(rows); i++) {
		struct err err = {0};
		assert_int_equal(secret_parse(&a, rows[i].text, &secret, &err), 0);
		assert_string_equal(secret.id, rows[i].id);
		assert_string_equal(secret.env ? secret.env : "", rows[i].env ? rows[i].env : "");
		assert_string_equal(
			secret.file ? secret.file : "", rows[i].file ? rows[i].file : "");
	}
	for (size_t i = 0; i < array_size(wrong); i++) {
		struct err err = {0};
		assert_int_equal(secret_parse(&a, wrong[i], &secret, &err), -ERR_INPUT);
		assert_true(str_starts(str_of(err.text), STR("--secret: ")));
		assert_null(strstr(err.text, "s3cr3t"));
	}
}

static void images_of_folders_have_valid_names(void **state)
{
	static const struct {
		const char *name, *image;
	} rows[] = {
		{"my-space", "spaceport.local/my-space:latest"},
		{"My Space", "spaceport.local/my-space:latest"},
		{"__a..b__", "spaceport.local/a-b:latest"},
		{"---", "spaceport.local/space:latest"},
		{"\xc3\xa4pfel", "spaceport.local/pfel:latest"},
	};
	cleanup(arena_done) struct arena a = {0};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct oci_reference reference;
		const char *image = space_image_name(&a, rows[i].name);
		assert_string_equal(image, rows[i].image);
		assert_int_equal(oci_reference_parse(&a, str_of(image), &reference, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_ones_win),
		cmocka_unit_test(mistakes_are_named_without_values),
		cmocka_unit_test(secrets_of_a_build),
		cmocka_unit_test(images_of_folders_have_valid_names),
	};

	return cmocka_run_group_tests_name("variables", tests, NULL, NULL);
}
