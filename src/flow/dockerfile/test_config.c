/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/test_made.h"

static void entrypoint_clears_the_cmd_of_the_base(void **state)
{
	cleanup(made_done) struct made m = {0}, own = {0}, empty = {0}, late = {0};

	(void)state;
	made_from(&m, "FROM python\nENTRYPOINT [\"a\"]\n");
	assert_null(made_target(&m)->config.cmd.items);
	made_from(&own, "FROM python AS x\nCMD b\nENTRYPOINT a\nFROM x\nENTRYPOINT [\"c\"]\n");
	assert_null(made_target(&own)->config.cmd.items);
	assert_string_equal(made_list(&own, &own.plan.stages[0].config.cmd), "/bin/sh|-c|b");
	assert_string_equal(made_list(&own, &own.plan.stages[0].config.entrypoint), "/bin/sh|-c|a");
	made_from(&empty, "FROM python\nCMD []\nENTRYPOINT []\n");
	assert_non_null(made_target(&empty)->config.cmd.items);
	assert_int_equal(made_target(&empty)->config.cmd.count, 0);
	assert_null(made_target(&empty)->config.entrypoint.items);
	assert_string_equal(made_history(&empty), "base layer\n-CMD []\n-ENTRYPOINT []\n");
	made_from(&late, "FROM python\nENTRYPOINT [\"a\"]\nCMD [\"b\"]\n");
	assert_string_equal(made_list(&late, &made_target(&late)->config.cmd), "b");
}

static void shell_wraps_what_follows_it(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch AS a\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN x  y\n"
		      "FROM a\nCMD z \"q\"\nRUN [\"p\", \"q r\"]\nRUN\n");
	assert_string_equal(
		made_list(&m, &m.plan.stages[0].ops[1].run->argv), "/bin/bash|-ec|x  y");
	assert_string_equal(made_list(&m, &made_target(&m)->config.cmd), "/bin/bash|-ec|z \"q\"");
	assert_string_equal(made_list(&m, &made_op(&m, PLAN_RUN, 0)->run->argv), "p|q r");
	assert_string_equal(made_list(&m, &made_op(&m, PLAN_RUN, 1)->run->argv), "/bin/bash|-ec|");
	assert_string_equal(made_history(&m), "-SHELL [/bin/bash -ec]\n"
					      "RUN /bin/bash -ec x  y # buildkit\n"
					      "-CMD [\"/bin/bash\" \"-ec\" \"z \\\"q\\\"\"]\n"
					      "RUN p q r # buildkit\n"
					      "RUN /bin/bash -ec  # buildkit\n");
}

static void workdir_joins_and_cleans(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m,
		"FROM python\nRUN a\nWORKDIR a/./b\nWORKDIR ../c/\nUSER 1000:1000\nWORKDIR \"/x y\"\n"
		"WORKDIR /\nRUN b\n");
	assert_string_equal(made_op(&m, PLAN_RUN, 0)->workdir, "/");
	assert_string_equal(made_op(&m, PLAN_WORKDIR, 0)->workdir, "/a/b");
	assert_string_equal(made_op(&m, PLAN_WORKDIR, 1)->workdir, "/a/c");
	assert_string_equal(made_op(&m, PLAN_WORKDIR, 2)->workdir, "/x y");
	assert_string_equal(made_op(&m, PLAN_WORKDIR, 2)->user, "1000:1000");
	assert_string_equal(made_history(&m),
		"base layer\nRUN /bin/sh -c a # buildkit\nWORKDIR /a/b\nWORKDIR /a/c\n"
		"-USER 1000:1000\nWORKDIR /x y\n-WORKDIR /\nRUN /bin/sh -c b # buildkit\n");
	assert_string_equal(made_steps(&m),
		"[2/6] RUN a\n[3/6] WORKDIR a/./b\n[4/6] WORKDIR ../c/\n[5/6] WORKDIR /x y\n"
		"[6/6] RUN b\n");
}

static void ports_are_read_as_docker_reads_them(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nARG P=\"80 90/UDP\"\nEXPOSE $P 8000-8002/tcp 53/sctp\n"
		      "EXPOSE 127.0.0.1:1:2 [::1]::3 4:5\n");
	assert_string_equal(made_list(&m, &made_target(&m)->config.exposed_ports),
		"2/tcp|3/tcp|5/tcp|53/sctp|80/tcp|8000/tcp|8001/tcp|8002/tcp|90/udp");
	assert_non_null(strstr(
		made_history(&m), "-EXPOSE [80/tcp 90/udp 53/sctp 8000/tcp 8001/tcp 8002/tcp]\n"));
	check_error("FROM scratch\nEXPOSE http\n",
		"Dockerfile:2:8: http is not a port: 7860, 8000-8010 or 53/udp");
	check_error("FROM scratch\nEXPOSE 80 70000\n",
		"Dockerfile:2:11: 70000 is not a port: 7860, 8000-8010 or 53/udp");
	check_error("FROM scratch\nEXPOSE 80/icmp\n",
		"Dockerfile:2:8: 80/icmp is not a port: 7860, 8000-8010 or 53/udp");
	check_error("FROM scratch\nEXPOSE 9-8\n",
		"Dockerfile:2:8: 9-8 is not a port: 7860, 8000-8010 or 53/udp");
	check_error("FROM scratch\nEXPOSE nohost:1:2\n",
		"Dockerfile:2:8: nohost:1:2 is not a port: 7860, 8000-8010 or 53/udp");
}

static void the_other_metadata(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m,
		"FROM python\nLABEL base=no z.a=\"b c\"\nVOLUME /b $LANG/x\nVOLUME [\"/a\"]\n"
		"STOPSIGNAL $SIG\\INT\nMAINTAINER A <a@b>\n"
		"HEALTHCHECK --interval=5m --timeout=1.5s --retries=4 CMD curl x || exit 1\n");
	const struct oci_config *config = &made_target(&m)->config;
	assert_int_equal(config->label_count, 2);
	assert_string_equal(config->labels[0].value, "no");
	assert_string_equal(made_list(&m, &config->volumes), "/a|/b|C.UTF-8/x");
	assert_string_equal(config->stop_signal, "INT");
	assert_string_equal(config->author, "A <a@b>");
	assert_int_equal(config->healthcheck.interval, 300000000000);
	assert_int_equal(config->healthcheck.retries, 4);
	assert_string_equal(made_history(&m),
		"base layer\n-LABEL base=no z.a=b c\n-VOLUME [/b C.UTF-8/x]\n-VOLUME [/a]\n"
		"-STOPSIGNAL INT\n-MAINTAINER A <a@b>\n"
		"-HEALTHCHECK {Test:[CMD-SHELL curl x || exit 1] Interval:5m0s Timeout:1.5s "
		"StartPeriod:0s StartInterval:0s Retries:4}\n");
	check_error("FROM scratch\nSTOPSIGNAL FOO\n",
		"Dockerfile:2:12: FOO is not a signal: SIGINT, term or 15");
	check_error("FROM scratch\nSTOPSIGNAL 0\n",
		"Dockerfile:2:12: 0 is not a signal: SIGINT, term or 15");
	check_error("FROM scratch\nVOLUME $X\n",
		"Dockerfile:2:8: the volume $X is empty once its variables are replaced");
	check_error("FROM scratch\nENV $X=1\n", "Dockerfile:2:5: ENV names cannot be blank");
	check_error("FROM scratch\nENV a=\"b\n",
		"Dockerfile:2:7: unexpected end of statement while looking for matching "
		"double-quote");
}

static void an_exec_healthcheck_replaces_that_of_the_base(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch AS a\nHEALTHCHECK --start-period=90s CMD [\"a\", \"b\"]\n"
		      "FROM a\nHEALTHCHECK NONE\n");
	assert_string_equal(m.plan.stages[0].config.healthcheck.test[0], "CMD");
	assert_int_equal(m.plan.stages[0].config.healthcheck.test_count, 3);
	assert_string_equal(made_target(&m)->config.healthcheck.test[0], "NONE");
	assert_int_equal(made_target(&m)->config.healthcheck.start_period, 0);
	assert_string_equal(made_history(&m),
		"-HEALTHCHECK {Test:[CMD a b] Interval:0s Timeout:0s StartPeriod:1m30s "
		"StartInterval:0s Retries:0}\n"
		"-HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s "
		"Retries:0}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entrypoint_clears_the_cmd_of_the_base),
		cmocka_unit_test(shell_wraps_what_follows_it),
		cmocka_unit_test(workdir_joins_and_cleans),
		cmocka_unit_test(ports_are_read_as_docker_reads_them),
		cmocka_unit_test(the_other_metadata),
		cmocka_unit_test(an_exec_healthcheck_replaces_that_of_the_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
