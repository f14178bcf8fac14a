/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"

/* python and golang are known, with some variables; arm is for another machine. */
static bool base(void *arg, const char *name, struct oci_config *ret)
{
	struct arena *a = arg;

	*ret = (struct oci_config){.platform = {"linux", "amd64", ""}};
	if (strncmp(name, "onbuild", 7) == 0)
		oci_list_add(a, &ret->onbuild, STR("ENV MORE=1"));
	if (strncmp(name, "shell", 5) == 0)
		oci_list_add(a, &ret->shell, STR("/bin/bash"));
	if (strncmp(name, "arm", 3) == 0)
		ret->platform.architecture = "arm64";
	oci_list_add(a, &ret->env, STR("PYTHON_VERSION=3.13"));
	return strncmp(name, "unknown", 7) != 0;
}

struct judged {
	struct arena arena;
	struct dockerfile file;
	struct lint lint;
	struct err err;
	struct buf out;
};

static void judged_done(struct judged *j)
{
	arena_done(&j->arena);
	buf_done(&j->out);
}

DEFINE_CLEANUP_VALUE(struct judged, judged_done);

static int judge(struct judged *j, const char *text, struct lint_options *options)
{
	struct source source = {"Dockerfile", str_of(text)};

	options->base = base;
	options->arg = &j->arena;
	options->build_platform = (struct oci_platform){"linux", "amd64", ""};
	assert_int_equal(dockerfile_parse(&j->arena, &source, &j->file, &j->err), 0);
	int failed = lint(&j->arena, &j->file, options, &j->lint, &j->err);
	for (size_t i = 0; i < j->lint.count; i++)
		buf_printf(&j->out, "%u %s: %s\n", j->lint.findings[i].span.line,
			j->lint.findings[i].rule, j->lint.findings[i].text);
	return failed;
}

static void check(const char *text, const char *expected)
{
	cleanup(judged_done) struct judged j = {0};
	struct lint_options options = {0};

	assert_int_equal(judge(&j, text, &options), 0);
	assert_string_equal(buf_text(&j.out), expected);
}

static void check_with(const char *text, const char *option, const char *expected)
{
	cleanup(judged_done) struct judged j = {0};
	struct lint_options options = {.check = str_of(option)};

	assert_int_equal(judge(&j, text, &options), 0);
	assert_string_equal(buf_text(&j.out), expected);
}

static void a_clean_file_has_no_findings(void **state)
{
	(void)state;
	check("# syntax=docker/dockerfile:1\nARG V=3.13\nFROM python:${V} AS base\n"
	      "ENV A=1 B=2\nWORKDIR /app\nCOPY a b ./\nEXPOSE 80 90/udp\nRUN x\n"
	      "FROM base\nCMD [\"x\"]\n",
		"");
}

static void casing(void **state)
{
	(void)state;
	check("FROM scratch AS BadStageName\nFROM scratch as base2\nFROM scratch AS base3\n",
		"1 StageNameCasing: Stage name 'BadStageName' should be lowercase\n"
		"2 FromAsCasing: 'as' and 'FROM' keywords' casing do not match\n");
	check("from scratch AS base\nfrom scratch as base2\n",
		"1 FromAsCasing: 'AS' and 'from' keywords' casing do not match\n");
	check("From scratch as base\nFROM scratch AS base2\n",
		"1 ConsistentInstructionCasing: Command 'From' should match the case of the "
		"command majority (uppercase)\n");
	check("from scratch\nCOPY a /\ncopy b /\n",
		"2 ConsistentInstructionCasing: Command 'COPY' should match the case of the "
		"command majority (lowercase)\n");
	/* ARGs before the first FROM do not count. */
	check("arg a\narg b\narg c\nFROM scratch\n", "");
}

static void names_of_stages(void **state)
{
	(void)state;
	check("FROM scratch AS a\nFROM scratch AS A\nFROM scratch AS context\n",
		"2 StageNameCasing: Stage name 'A' should be lowercase\n"
		"2 DuplicateStageName: Duplicate stage name \"a\", stage names should be unique\n"
		"3 ReservedStageName: Stage name should not use the same name as reserved stage "
		"\"context\"\n");
}

static void old_forms(void **state)
{
	(void)state;
	check("FROM scratch\nMAINTAINER me\nENV a b\nlabel c d\nRUN a \\\n\nb\n",
		"2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using "
		"label\n"
		"3 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV "
		"key value\" format\n"
		"4 ConsistentInstructionCasing: Command 'label' should match the case of the "
		"command majority (uppercase)\n"
		"4 LegacyKeyValueFormat: \"label key=value\" should be used instead of legacy "
		"\"label key value\" format\n"
		"7 NoEmptyContinuation: Empty continuation line\n");
}

static void commands(void **state)
{
	(void)state;
	check("FROM scratch\nCMD a\nENTRYPOINT b\nCMD [\"c\"]\nHEALTHCHECK CMD x\n"
	      "HEALTHCHECK NONE\nFROM scratch\nSHELL [\"a\"]\nCMD a\nFROM shell\nCMD b\n"
	      "ENTRYPOINT\n",
		"2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended "
		"behavior related to OS signals\n"
		"2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used "
		"in the same stage because only the last one will be used\n"
		"3 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent "
		"unintended behavior related to OS signals\n"
		"5 MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be "
		"used in the same stage because only the last one will be used\n");
}

static void arguments_of_from(void **state)
{
	(void)state;
	check("ARG TAG\nFROM busybox:$TAG\n",
		"2 InvalidDefaultArgInFrom: Default value for ARG busybox:$TAG results in empty or "
		"invalid base image name\n");
	check("ARG VERSION=1\nFROM busybox:$VERISON\nFROM a$b\n",
		"2 UndefinedArgInFrom: FROM argument 'VERISON' is not declared (did you mean "
		"VERSION?)\n"
		"2 InvalidDefaultArgInFrom: Default value for ARG busybox:$VERISON results in empty "
		"or invalid base image name\n"
		"3 UndefinedArgInFrom: FROM argument 'b' is not declared\n");
	check("FROM --platform=$TARGETPLATFORM a\nFROM --platform=linux/arm64 a\n"
	      "FROM --platform=linux/arm64 a AS for-arm64\nFROM --platform=$BUILDPLATFORM a\n",
		"1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM "
		"is redundant as this is the default behavior\n"
		"2 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant "
		"value \"linux/arm64\"\n"
		"2 InvalidBaseImagePlatform: Base image a was pulled with platform "
		"\"linux/amd64\", expected \"linux/arm64\" for current build\n"
		"3 InvalidBaseImagePlatform: Base image a was pulled with platform "
		"\"linux/amd64\", expected \"linux/arm64\" for current build\n");
	check("FROM arm\n", "1 InvalidBaseImagePlatform: Base image arm was pulled with platform "
			    "\"linux/arm64\", expected \"linux/amd64\" for current build\n");
}

static void variables(void **state)
{
	(void)state;
	check("FROM python\nENV A=$PYTHON_VERSION B=$A\nARG C=$A D=$C E\nRUN echo $F\n"
	      "COPY $E $G /\nENV PATH=$PAHT:/x\nWORKDIR ${H:-/x}\nLABEL x=$A y=$i\n",
		"2 UndefinedVar: Usage of undefined variable '$A'\n"
		"5 UndefinedVar: Usage of undefined variable '$G'\n"
		"6 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)\n"
		"7 UndefinedVar: Usage of undefined variable '$H'\n"
		"8 UndefinedVar: Usage of undefined variable '$i'\n");
	/* What an image sets that is not here, or that has triggers, nobody knows. */
	check("FROM unknown\nENV A=$CONDA_DIR\nUSER $foo\nFROM onbuild\nENV A=$CONDA_DIR\n",
		"3 UndefinedVar: Usage of undefined variable '$foo'\n");
	check("ARG G=1\nFROM scratch AS a\nARG P\nENV Q=1\nONBUILD ENV T=1\n"
	      "FROM a\nUSER $P$Q$T$G\n",
		"7 UndefinedVar: Usage of undefined variable '$G'\n");
	check("FROM scratch\nRUN --mount=target=$missing x\nCOPY <<A <<\"B\" /\n$x\nA\n$y\nB\n",
		"2 UndefinedVar: Usage of undefined variable '$missing'\n"
		"3 UndefinedVar: Usage of undefined variable '$x'\n");
}

static void paths_and_ports(void **state)
{
	(void)state;
	check("FROM python AS a\nWORKDIR app\nWORKDIR more\nFROM a\nWORKDIR x\nFROM python\n"
	      "WORKDIR /a\nWORKDIR b\n",
		"2 WorkdirRelativePath: Relative workdir \"app\" can have unexpected results if the "
		"base image changes\n");
	check("FROM scratch\nENV P=1/TCP\nEXPOSE 80/TcP 127.0.0.1:80:80 80:80/udp $P 5-6\n",
		"3 ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be "
		"lowercase\n"
		"3 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or "
		"host-port mapping, found '127.0.0.1:80:80'\n"
		"3 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or "
		"host-port mapping, found '80:80/udp'\n"
		"3 ExposeProtoCasing: Defined protocol '1/TCP' in EXPOSE instruction should be "
		"lowercase\n");
}

static void names_that_sound_like_secrets(void **state)
{
	(void)state;
	check("ARG TOKEN\nFROM scratch\nARG HF_TOKEN\nENV a=1 API_KEY=x\n"
	      "ENV TOKENIZERS_PARALLELISM=0 PUBLIC_KEY=y KEYBOARD=z KEY_FILE=a AUTH_VERSION=1\n",
		"3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data "
		"(ARG \"HF_TOKEN\")\n"
		"4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data "
		"(ENV \"API_KEY\")\n");
}

static void check_ignored(const char *patterns, const char *text, const char *expected)
{
	cleanup(judged_done) struct judged j = {0};
	cleanup(patterns_free) struct patterns *ignore = patterns_new();
	struct lint_options options = {.ignore = ignore};
	struct source source = {".dockerignore", str_of(patterns)};

	assert_int_equal(ignore_parse(&source, ignore, NULL), 0);
	assert_int_equal(judge(&j, text, &options), 0);
	assert_string_equal(buf_text(&j.out), expected);
}

static void ignored_files(void **state)
{
	(void)state;
	check_ignored("secret\n*.log\n",
		"FROM scratch AS a\nCOPY secret/x ok /\nADD ./a.log http://h/secret /\n"
		"COPY --from=a secret /\nCOPY . /\nCOPY <<secret /\nx\nsecret\n",
		"2 CopyIgnoredFile: Attempting to Copy file \"secret/x\" that is excluded by "
		".dockerignore\n"
		"3 CopyIgnoredFile: Attempting to Add file \"a.log\" that is excluded by "
		".dockerignore\n");
	check_ignored("**\n", "FROM scratch\nCOPY . /\n",
		"2 CopyIgnoredFile: Attempting to Copy file \".\" that is excluded by "
		".dockerignore\n");
	check_ignored("secret\n!secret/x\n", "FROM scratch\nCOPY secret /\n", "");
}

static void which_rules_are_on(void **state)
{
	static const char text[] = "# check=skip=JSONArgsRecommended;error=true\n"
				   "# wrong word\nFROM scratch AS a\nCMD x\nMAINTAINER me\n";
	cleanup(judged_done) struct judged j = {0};
	struct lint_options options = {0};

	(void)state;
	assert_int_equal(judge(&j, text, &options), 0);
	assert_string_equal(buf_text(&j.out),
		"5 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using "
		"label\n");
	assert_true(j.lint.fails);
	/* The request's options count instead of the file's. */
	check_with(text, "skip=MaintainerDeprecated, Unknown",
		"4 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended "
		"behavior related to OS signals\n");
	check_with(text, "skip=all", "");
	check_with(text, "skip=all;experimental=all",
		"3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# a "
		"<description>`\n");
	check("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER a\n", "");
}

static void descriptions(void **state)
{
	(void)state;
	check_with("# FOO is good\nARG FOO\n# bar\nARG a b\n\n# x\n\nARG c\nFROM scratch AS z\n",
		"experimental=InvalidDefinitionDescription",
		"4 InvalidDefinitionDescription: Comment for ARG should follow the format: `# "
		"<arg_key> <description>`\n");
}

static void malformed_options(void **state)
{
	static const struct {
		const char *check, *text, *expected;
	} rows[] = {
		{NULL, "# check=error=maybe\nFROM a\n",
			"Dockerfile:1:9: invalid check option \"error=maybe\": it looks like "
			"skip=RULE,RULE;error=true;experimental=all"},
		{NULL, "# check=what=1\nFROM a\n",
			"Dockerfile:1:9: invalid check option \"what=1\": it looks like "
			"skip=RULE,RULE;error=true;experimental=all"},
		{"skip", "FROM a\n", "BUILDKIT_DOCKERFILE_CHECK: invalid check option \"skip\""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(judged_done) struct judged j = {0};
		struct lint_options options = {0};
		if (rows[i].check)
			options.check = str_of(rows[i].check);
		assert_int_equal(judge(&j, rows[i].text, &options), -ERR_INPUT);
		assert_string_equal(j.err.text, rows[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clean_file_has_no_findings),
		cmocka_unit_test(casing),
		cmocka_unit_test(names_of_stages),
		cmocka_unit_test(old_forms),
		cmocka_unit_test(commands),
		cmocka_unit_test(arguments_of_from),
		cmocka_unit_test(variables),
		cmocka_unit_test(paths_and_ports),
		cmocka_unit_test(names_that_sound_like_secrets),
		cmocka_unit_test(ignored_files),
		cmocka_unit_test(which_rules_are_on),
		cmocka_unit_test(descriptions),
		cmocka_unit_test(malformed_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
