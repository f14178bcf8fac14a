/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/attr.h"
#include "run/health.h"

#define SECOND INT64_C(1000000000)

static struct oci_healthcheck a_check(char **test, size_t count)
{
	return (struct oci_healthcheck){.test = test, .test_count = count};
}

static struct health begun(int64_t start_period, uint64_t retries)
{
	char *test[] = {(char[]){"CMD"}, (char[]){"true"}};
	struct oci_healthcheck check = a_check(test, 2);
	struct health h;

	check.start_period = start_period;
	check.retries = retries;
	health_begin(&h, &check);
	return h;
}

static void the_defaults_are_dockers(void **state)
{
	struct health h = begun(0, 0);

	(void)state;
	assert_int_equal(h.status, HEALTH_STARTING);
	assert_int_equal(h.interval, 30 * SECOND);
	assert_int_equal(h.timeout, 30 * SECOND);
	assert_int_equal(h.start_interval, 5 * SECOND);
	assert_int_equal(h.retries, 3);
	assert_int_equal(health_pause(&h, 0), 30 * SECOND);
}

static void none_and_nothing_are_no_check(void **state)
{
	char *none[] = {(char[]){"NONE"}}, *bare[] = {(char[]){"CMD"}};
	const struct oci_healthcheck checks[] = {a_check(none, 1), a_check(bare, 1), {0}};
	struct health h;

	(void)state;
	for (size_t i = 0; i < array_size(checks); i++) {
		health_begin(&h, &checks[i]);
		assert_int_equal(h.status, HEALTH_NONE);
	}
}

static void so_many_failures_in_a_row_are_unhealthy(void **state)
{
	struct health h = begun(0, 3);

	(void)state;
	assert_false(health_take(&h, 1, false));
	assert_false(health_take(&h, 2, false));
	assert_true(health_take(&h, 3, true));
	assert_int_equal(h.status, HEALTH_HEALTHY);
	assert_false(health_take(&h, 4, false));
	assert_false(health_take(&h, 5, false));
	assert_int_equal(h.status, HEALTH_HEALTHY);
	assert_true(health_take(&h, 6, false));
	assert_int_equal(h.status, HEALTH_UNHEALTHY);
	assert_false(health_take(&h, 7, false));
	assert_true(health_take(&h, 8, true));
	assert_int_equal(h.status, HEALTH_HEALTHY);
}

static void failures_of_the_start_do_not_count(void **state)
{
	struct health h = begun(60 * SECOND, 1);

	(void)state;
	assert_int_equal(health_pause(&h, 0), 5 * SECOND);
	assert_false(health_take(&h, 10 * SECOND, false));
	assert_int_equal(h.status, HEALTH_STARTING);
	assert_int_equal(health_pause(&h, 61 * SECOND), 30 * SECOND);
	assert_true(health_take(&h, 61 * SECOND, false));
	assert_int_equal(h.status, HEALTH_UNHEALTHY);
}

static void the_first_success_ends_the_start(void **state)
{
	struct health h = begun(60 * SECOND, 1);

	(void)state;
	assert_true(health_take(&h, 5 * SECOND, true));
	assert_int_equal(health_pause(&h, 6 * SECOND), 30 * SECOND);
	assert_true(health_take(&h, 35 * SECOND, false));
	assert_int_equal(h.status, HEALTH_UNHEALTHY);
}

static void a_shell_check_runs_in_the_images_shell(void **state)
{
	char *shell[] = {(char[]){"CMD-SHELL"}, (char[]){"exit 0"}};
	char *exec[] = {(char[]){"CMD"}, (char[]){"/check"}, (char[]){"-x"}};
	struct oci_config config = {.healthcheck = a_check(shell, 2)};
	cleanup(arena_done) struct arena a = {0};
	cleanup(argv_done) struct argv first = {0}, second = {0}, third = {0};

	(void)state;
	health_command(&config, &first);
	assert_int_equal(first.count, 3);
	assert_string_equal(first.items[0], "/bin/sh");
	assert_string_equal(first.items[2], "exit 0");
	oci_list_add(&a, &config.shell, STR("/bin/bash"));
	oci_list_add(&a, &config.shell, STR("-ec"));
	health_command(&config, &second);
	assert_string_equal(second.items[1], "-ec");
	config.healthcheck = a_check(exec, 3);
	health_command(&config, &third);
	assert_int_equal(third.count, 2);
	assert_string_equal(third.items[0], "/check");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_dockers),
		cmocka_unit_test(none_and_nothing_are_no_check),
		cmocka_unit_test(so_many_failures_in_a_row_are_unhealthy),
		cmocka_unit_test(failures_of_the_start_do_not_count),
		cmocka_unit_test(the_first_success_ends_the_start),
		cmocka_unit_test(a_shell_check_runs_in_the_images_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
