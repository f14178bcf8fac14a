/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/test_made.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void a_uv_space_is_planned(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM python:3.13-slim\n"
		      "COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /uvx /bin/\n"
		      "RUN useradd -m -u 1000 user\n"
		      "USER user\n"
		      "ENV HOME=/home/user \\\n"
		      "    PATH=/home/user/.local/bin:$PATH\n"
		      "WORKDIR $HOME/app\n"
		      "COPY --chown=user pyproject.toml uv.lock ./\n"
		      "RUN uv sync --frozen\n"
		      "COPY --chown=user . .\n"
		      "EXPOSE 7860\n"
		      "CMD [\"uv\", \"run\", \"app.py\"]\n");
	assert_string_equal(made_steps(&m),
		"[stage-0 2/7] COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /uvx /bin/\n"
		"[stage-0 3/7] RUN useradd -m -u 1000 user\n"
		"[stage-0 4/7] WORKDIR /home/user/app\n"
		"[stage-0 5/7] COPY --chown=user pyproject.toml uv.lock ./\n"
		"[stage-0 6/7] RUN uv sync --frozen\n"
		"[stage-0 7/7] COPY --chown=user . .\n");
	assert_string_equal(made_history(&m),
		"base layer\n"
		"COPY /uv /uvx /bin/ # buildkit\n"
		"RUN /bin/sh -c useradd -m -u 1000 user # buildkit\n"
		"-USER user\n"
		"-ENV HOME=/home/user PATH=/home/user/.local/bin:/usr/local/bin:/usr/bin:/bin\n"
		"WORKDIR /home/user/app\n"
		"COPY --chown=user pyproject.toml uv.lock ./ # buildkit\n"
		"RUN /bin/sh -c uv sync --frozen # buildkit\n"
		"COPY --chown=user . . # buildkit\n"
		"-EXPOSE [7860/tcp]\n"
		"-CMD [\"uv\" \"run\" \"app.py\"]\n");
	const struct oci_config *config = &made_target(&m)->config;
	assert_string_equal(config->working_dir, "/home/user/app");
	assert_string_equal(config->user, "user");
	assert_string_equal(made_list(&m, &config->exposed_ports), "7860/tcp|80/tcp");
	assert_string_equal(made_list(&m, &config->env),
		"PATH=/home/user/.local/bin:/usr/local/bin:/usr/bin:/bin|LANG=C.UTF-8|"
		"HOME=/home/user");
	const struct plan_copy *copy = made_op(&m, PLAN_COPY, 1)->copy;
	assert_string_equal(copy->dest, "/home/user/app");
	assert_true(copy->dest_is_dir);
	assert_string_equal(copy->chown, "user");
	assert_string_equal(copy->sources[1].path, "/uv.lock");
	assert_string_equal(made_op(&m, PLAN_COPY, 2)->copy->sources[0].path, "/");
	const struct plan_op *workdir = made_op(&m, PLAN_WORKDIR, 0);
	assert_string_equal(workdir->workdir, "/home/user/app");
	assert_string_equal(workdir->user, "user");
	assert_string_equal(made_op(&m, PLAN_RUN, 0)->user, "");
	assert_string_equal(made_op(&m, PLAN_RUN, 1)->user, "user");
	assert_string_equal(made_op(&m, PLAN_RUN, 1)->workdir, "/home/user/app");
	assert_int_equal(m.plan.image_count, 2);
	assert_true(m.plan.images[0].is_base && !m.plan.images[1].is_base);
	assert_string_equal(m.plan.images[1].name, "ghcr.io/astral-sh/uv:0.11.18");
	assert_int_equal(m.plan.warning_count, 0);
}

static void point_10_base_names_are_matched_as_typed(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM python AS Base\nRUN a\n"
		      "FROM bare AS two\nCOPY --from=BASE /x /y\n"
		      "FROM base\nCOPY --from=Two /a /b\n");
	assert_int_equal(m.plan.stages[2].base.kind, PLAN_STAGE);
	assert_int_equal(m.plan.stages[2].base.index, 0);
	assert_string_equal(m.plan.stages[0].name, "base");
	assert_int_equal(made_op(&m, PLAN_COPY, 0)->copy->from.index, 1);

	check_error_place("FROM scratch AS base\nFROM Base\n", "Dockerfile:2:6: ");
}

static void point_11_env_pairs_see_old_values(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nENV a=0\nENV a=1 b=$a\nRUN x\nLABEL $a=$b ${b}2=\"$a x\"\n");
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|a=1|b=0");
	const struct oci_config *config = &made_target(&m)->config;
	assert_int_equal(config->label_count, 2);
	assert_string_equal(config->labels[0].key, "02");
	assert_string_equal(config->labels[0].value, "1 x");
	assert_string_equal(config->labels[1].key, "1");
}

static void point_12_env_and_arg_are_inherited(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM python AS a\nENV e=1\nARG x=2\n"
		      "FROM a\nRUN y\n"
		      "FROM scratch AS other\nRUN $e$x\n"
		      "FROM a\nRUN z\n");
	assert_string_equal(
		made_env(&m, 0), "PATH=/usr/local/bin:/usr/bin:/bin|LANG=C.UTF-8|e=1|x=2");
	assert_string_equal(
		made_op(&m, PLAN_RUN, 0)->created_by, "RUN |1 x=2 /bin/sh -c z # buildkit");
	assert_string_equal(made_list(&m, &made_target(&m)->config.env),
		"PATH=/usr/local/bin:/usr/bin:/bin|LANG=C.UTF-8|e=1");
	assert_false(m.plan.stages[1].needed || m.plan.stages[2].needed);
}

static void point_13_global_args_are_invisible_in_stages(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "ARG v=1\nARG w=${v}2\nFROM python:$w\n"
		      "RUN a\nARG v\nRUN b\nARG v=3\nRUN c\n");
	assert_string_equal(m.plan.images[0].name, "python:12");
	assert_null(strstr(made_env(&m, 0), "v="));
	assert_non_null(strstr(made_env(&m, 1), "|v=1"));
	assert_non_null(strstr(made_env(&m, 2), "|v=3"));
}

static void point_14_declared_but_unset_args_are_absent(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nARG X\nARG Y=\nRUN a ${X-unset} ${Y-unset}\n");
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|Y=");
	assert_string_equal(made_history(&m),
		"-ARG X\n-ARG Y=\nRUN |2 X= Y= /bin/sh -c a ${X-unset} ${Y-unset} # buildkit\n");
}

static void point_15_build_args_are_never_expanded(void **state)
{
	cleanup(made_done) struct made m = {0};
	const char *text =
		"ARG g=a\nFROM scratch\nENV e=1\nARG x=${e}2\nARG y=${e:?}\nARG g\nRUN a\n";

	(void)state;
	assert_int_equal(made_with(&m, text, NULL, "x=$e y= g=\"$x\""), 0);
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|e=1|x=$e|y=|g=\"$x\"");
	assert_string_equal(made_op(&m, PLAN_RUN, 0)->created_by,
		"RUN |3 x=$e y= g=\"$x\" /bin/sh -c a # buildkit");

	/* A default that a build argument replaces is not even looked at. */
	cleanup(made_done) struct made n = {0};
	assert_int_equal(made_with(&n, "FROM scratch\nARG x=${no?such}\n", NULL, "x=1"), 0);
	check_error("FROM scratch\nARG x=${no?such}\n", "Dockerfile:2:7: no: such");
}

static void point_16_the_last_assignment_wins(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch AS a\nENV v=env\nARG v=arg\nRUN a\nFROM a\nRUN b\n");
	assert_string_equal(
		made_list(&m, &m.plan.stages[0].ops[2].run->env), DEFAULT_PATH "|v=arg");
	assert_string_equal(made_list(&m, &m.plan.stages[0].config.env), DEFAULT_PATH "|v=env");
	/* A child begins with what its base's configuration says. */
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|v=env");
}

static void point_17_args_of_one_line_see_each_other(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "ARG i=x j=${i}y\nFROM scratch\nARG a=1 b=$a j\nRUN x\n");
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|a=1|b=1|j=xy");
}

static void point_18_a_blank_base_is_an_error_and_path_is_always_there(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	check_error("ARG X\nFROM ${X}\n",
		"Dockerfile:2:6: the base image ${X} is empty once its variables are replaced: "
		"give the ARG a default");
	made_from(&m, "FROM bare\nENV PATH=/x:$PATH\nRUN a\n");
	assert_string_equal(made_env(&m, 0),
		"PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

static void point_19_undefined_variables_are_empty(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nWORKDIR /w\nCOPY a $UNSET/\nCOPY b $UNSET\nUSER $UNSET\n");
	assert_string_equal(made_op(&m, PLAN_COPY, 0)->copy->dest, "/");
	assert_true(made_op(&m, PLAN_COPY, 0)->copy->dest_is_dir);
	assert_string_equal(made_op(&m, PLAN_COPY, 1)->copy->dest, "/w");
	assert_string_equal(made_target(&m)->config.user, "");
}

static void point_44_the_environment_keeps_its_order(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM python\nENV b=1\nARG a=2\nENV LANG=de\nRUN x\nRUN y\nENV b=3\nRUN z\n");
	assert_string_equal(made_env(&m, 0), "PATH=/usr/local/bin:/usr/bin:/bin|LANG=de|b=1|a=2");
	assert_ptr_equal(
		made_op(&m, PLAN_RUN, 0)->run->env.items, made_op(&m, PLAN_RUN, 1)->run->env.items);
	assert_string_equal(made_env(&m, 2), "PATH=/usr/local/bin:/usr/bin:/bin|LANG=de|b=3|a=2");
	assert_non_null(strstr(made_env(&m, 0), "b=1"));
}

static void point_45_declared_args_are_in_every_later_run(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	assert_int_equal(made_with(&m, "FROM scratch\nRUN a\nARG used\nRUN b\n", NULL,
				 "used=1 unused=2 HTTPS_PROXY=p no_proxy=q BUILDKIT_X=1"),
		0);
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH);
	assert_string_equal(made_env(&m, 1), DEFAULT_PATH "|used=1");
	assert_string_equal(made_list(&m, &m.plan.proxy_args),
		"https_proxy=p|HTTPS_PROXY=p|no_proxy=q|NO_PROXY=q");
	assert_int_equal(m.plan.warning_count, 1);
	assert_string_equal(
		m.plan.warnings[0].text, "build argument unused is not used: no ARG declares it");
}

static void proxies_may_be_declared(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	assert_int_equal(
		made_with(&m, "FROM scratch\nARG HTTP_PROXY\nRUN a\n", NULL, "HTTP_PROXY=p"), 0);
	assert_string_equal(made_env(&m, 0), DEFAULT_PATH "|HTTP_PROXY=p");
}

static void platform_args_have_to_be_declared(void **state)
{
	cleanup(made_done) struct made m = {0};
	const char *text = "FROM --platform=$BUILDPLATFORM python:$TARGETARCH AS x\n"
			   "ARG TARGETPLATFORM BUILDOS TARGETSTAGE\nRUN $TARGETOS\n";
	struct source source = {"Dockerfile", str_of(text)};
	struct plan_options options = {
		.build_platform = {"linux", "amd64", ""},
		.target_platform = {"linux", "arm64", "v8"},
		.resolve = made_resolve,
		.arg = &m,
	};

	(void)state;
	assert_int_equal(dockerfile_parse(&m.arena, &source, &m.file, &m.err), 0);
	assert_int_equal(plan_make(&m.arena, &m.file, &options, &m.plan, &m.err), 0);
	assert_string_equal(m.plan.images[0].name, "python:arm64");
	assert_string_equal(m.plan.images[0].platform.architecture, "amd64");
	assert_non_null(
		strstr(made_env(&m, 0), "|TARGETPLATFORM=linux/arm64|BUILDOS=linux|TARGETSTAGE=x"));
	assert_null(strstr(made_env(&m, 0), "TARGETOS="));
	check_error("FROM --platform=$X a\n",
		"Dockerfile:1:6: --platform=$X is empty once its variables are replaced");
}

static void only_needed_stages_are_planned(void **state)
{
	cleanup(made_done) struct made m = {0};
	const char *text = "FROM missing AS unused\nRUN a\n"
			   "FROM python AS build\nRUN b\n"
			   "FROM bare AS tools\nRUN c\n"
			   "FROM scratch AS final\nCOPY --from=build /x /x\n"
			   "RUN --mount=from=tools,target=/t d\n"
			   "FROM final AS after\nRUN e\n";

	(void)state;
	assert_int_equal(made_with(&m, text, "FINAL", NULL), 0);
	assert_int_equal(m.plan.target, 3);
	assert_false(m.plan.stages[0].needed || m.plan.stages[4].needed);
	assert_string_equal(buf_text(&m.asked), "python bare ");
	assert_string_equal(made_steps(&m), "[build 2/2] RUN b\n"
					    "[tools 2/2] RUN c\n"
					    "[final 1/2] COPY --from=build /x /x\n"
					    "[final 2/2] RUN --mount=from=tools,target=/t d\n");
	assert_int_equal(m.plan.stages[3].ops[1].run->mounts[0].from.index, 2);

	cleanup(made_done) struct made by_number = {0};
	assert_int_equal(made_with(&by_number, text, "1", NULL), 0);
	assert_int_equal(by_number.plan.target, 1);

	cleanup(made_done) struct made unknown = {0};
	assert_int_equal(made_with(&unknown, text, "finel", NULL), -ERR_INPUT);
	assert_string_equal(
		unknown.err.text, "Dockerfile has no stage finel (did you mean final?)");

	cleanup(made_done) struct made missing = {0};
	assert_int_equal(made_with(&missing, text, "unused", NULL), -ERR_MISSING);
	assert_string_equal(missing.err.text, "Dockerfile:1: FROM missing: no such image");
}

static void images_are_asked_for_once(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m,
		"FROM python AS a\nFROM docker.io/library/python:latest AS b\nCOPY --from=a x y\n"
		"FROM bare\nCOPY --from=b x y\nCOPY --from=1 x y\nCOPY --from=python x y\n");
	assert_string_equal(buf_text(&m.asked), "bare docker.io/library/python:latest ");
	assert_int_equal(m.plan.image_count, 2);
	assert_int_equal(made_op(&m, PLAN_COPY, 2)->copy->from.kind, PLAN_IMAGE);
	assert_int_equal(made_op(&m, PLAN_COPY, 2)->copy->from.index, 1);
}

static void stages_must_come_first_and_not_need_themselves(void **state)
{
	(void)state;
	check_error("FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nFROM a\n",
		"Dockerfile:2:6: b is the stage that begins in line 3: it must come before this "
		"one");
	check_error("FROM scratch AS a\nCOPY --from=a x y\n",
		"Dockerfile:2:6: a circular dependency: the stage of line 1 needs itself through "
		"this");
	check_error("FROM scratch AS a\nCOPY --from=b x y\n"
		    "FROM scratch AS b\nRUN --mount=from=a,target=/x y\nFROM scratch\n",
		"Dockerfile:4:5: a circular dependency: the stage of line 1 needs itself through "
		"this");
	check_error("FROM scratch AS a\nCOPY --from=b x y\nFROM a AS b\nFROM scratch\n",
		"Dockerfile:3:1: a circular dependency: the stage of line 1 needs itself through "
		"this");
	check_error("FROM scratch\nCOPY --from=7 x y\n",
		"Dockerfile:2:6: there is no stage number 7: the last one is 0");
	check_error("ARG s=a\nFROM scratch\nCOPY --from=$s x y\n",
		"Dockerfile:3:6: variables are not replaced in from: write FROM $s AS name, with "
		"ARG before the first FROM, and use that name here");
	check_error("FROM scratch\nRUN --mount=from=$s,target=/x y\n",
		"Dockerfile:2:5: variables are not replaced in from: write FROM $s AS name, with "
		"ARG before the first FROM, and use that name here");
}

static void named_contexts_take_the_place_of_names(void **state)
{
	static const struct plan_context contexts[] = {
		{"base", NULL}, {"docker.io/library/alpine", "bare:1"}, {"typo", NULL}};
	cleanup(made_done) struct made m = {.contexts = contexts, .context_count = 3};

	(void)state;
	made_from(&m, "FROM missing AS Base\nRUN a\n"
		      "FROM base AS b\n"
		      "FROM alpine\nCOPY --from=BASE /x /y\nCOPY --from=0 /x /y\n"
		      "COPY --from=alpine:latest /x /y\nCOPY --from=b /x /y\n"
		      "RUN --mount=from=base,target=/m x\n");
	assert_string_equal(buf_text(&m.asked), "bare:1 ");
	assert_int_equal(m.plan.image_count, 1);
	assert_int_equal(m.plan.stages[0].op_count, 1);
	assert_int_equal(m.plan.stages[0].base.kind, PLAN_SCRATCH);
	assert_int_equal(m.plan.stages[0].ops[0].copy->from.index, 1);
	assert_int_equal(m.plan.stages[0].config.history_count, 0);
	assert_string_equal(made_op(&m, PLAN_COPY, 0)->title, "COPY --from=BASE /x /y");
	assert_int_equal(made_op(&m, PLAN_COPY, 0)->copy->from.kind, PLAN_CONTEXT);
	assert_int_equal(made_op(&m, PLAN_COPY, 0)->copy->from.index, 1);
	assert_int_equal(made_op(&m, PLAN_COPY, 1)->copy->from.kind, PLAN_STAGE);
	assert_int_equal(made_op(&m, PLAN_COPY, 2)->copy->from.kind, PLAN_IMAGE);
	assert_int_equal(made_op(&m, PLAN_COPY, 3)->copy->from.kind, PLAN_STAGE);
	assert_int_equal(made_op(&m, PLAN_RUN, 0)->run->mounts[0].from.index, 1);
	assert_int_equal(m.plan.warning_count, 1);
	assert_string_equal(m.plan.warnings[0].text,
		"build context typo is not used: no stage and no image has that name");
}

static void an_epoch_is_when_things_were_made(void **state)
{
	static const char text[] = "FROM python\nENV a=1\nCOPY x /\n";
	static const char *const bad[] = {"today", "-1", "1.5", "99999999999", "0x1"};
	cleanup(made_done) struct made none = {0}, m = {0};

	(void)state;
	assert_int_equal(made_with(&none, text, NULL, "SOURCE_DATE_EPOCH="), 0);
	assert_string_equal(made_target(&none)->config.created, "");
	assert_false(made_op(&none, PLAN_COPY, 0)->copy->has_epoch);
	assert_int_equal(made_with(&m, text, NULL, "SOURCE_DATE_EPOCH=1700000000"), 0);
	const struct oci_config *config = &made_target(&m)->config;
	assert_string_equal(config->created, "2023-11-14T22:13:20Z");
	assert_string_equal(config->history[config->history_count - 1].created, config->created);
	assert_string_equal(config->history[config->history_count - 2].created, config->created);
	assert_int_equal(made_op(&m, PLAN_COPY, 0)->copy->epoch, 1700000000);
	assert_int_equal(m.plan.warning_count, 0);
	for (size_t i = 0; i < array_size(bad); i++) {
		cleanup(made_done) struct made refused = {0};
		cleanup(buf_done) struct buf arg = {0};
		buf_printf(&arg, "SOURCE_DATE_EPOCH=%s", bad[i]);
		assert_int_equal(made_with(&refused, text, NULL, buf_text(&arg)), -ERR_INPUT);
		assert_non_null(strstr(refused.err.text, bad[i]));
	}
}

static void triggers_of_the_base_run_first(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM onbuild:1\nRUN x\n");
	assert_string_equal(made_steps(&m), "[2/4] ONBUILD COPY . /src\n"
					    "[3/4] ONBUILD RUN make C.UTF-8\n"
					    "[4/4] RUN x\n");
	assert_int_equal(made_target(&m)->config.onbuild.count, 0);
	assert_int_equal(made_target(&m)->ops[0].span.line, 1);

	cleanup(made_done) struct made bad = {0};
	assert_int_equal(made_with(&bad, "FROM badbuild\n", NULL, NULL), -ERR_INPUT);
	assert_string_equal(bad.err.text,
		"Dockerfile:1: ONBUILD of badbuild:1:1: unknown instruction: COPPY (did you mean "
		"COPY?)");

	cleanup(made_done) struct made refused = {0};
	assert_int_equal(made_with(&refused, "FROM modebuild\n", NULL, NULL), -ERR_INPUT);
	assert_string_equal(refused.err.text,
		"Dockerfile:1: ONBUILD of modebuild:1:6: 8 is not a mode: 644 or u=rwX,go=rX");
}

static void triggers_of_this_file_go_to_child_and_config(void **state)
{
	cleanup(made_done) struct made m = {0};
	const char *text = "FROM python AS tools\n"
			   "FROM scratch AS base\nONBUILD ENV a=1\n"
			   "ONBUILD COPY --from=tools /x /y\n"
			   "ONBUILD RUN <<EOF\nhi $a\nEOF\n"
			   "FROM base AS child\nRUN $a\n"
			   "FROM child\nRUN b\n";

	(void)state;
	made_from(&m, text);
	assert_true(m.plan.stages[0].needed);
	assert_string_equal(made_steps(&m), "[child 1/3] ONBUILD COPY --from=tools /x /y\n"
					    "[child 2/3] ONBUILD RUN <<EOF (hi $a)\n"
					    "[child 3/3] RUN 1\n"
					    "[stage-3 1/1] RUN b\n");
	assert_int_equal(m.plan.stages[2].ops[1].span.line, 4);
	assert_int_equal(made_target(&m)->config.onbuild.count, 0);

	cleanup(made_done) struct made base = {0};
	assert_int_equal(made_with(&base, text, "base", NULL), 0);
	assert_false(base.plan.stages[0].needed);
	assert_string_equal(made_list(&base, &made_target(&base)->config.onbuild),
		"ENV a=1|COPY --from=tools /x /y|RUN <<EOF\nhi $a\nEOF");
	assert_int_equal(made_target(&base)->config.history_count, 0);
}

static void hostile_files_meet_limits(void **state)
{
	cleanup(made_done) struct made doubling = {0}, steps = {0}, names = {0}, growth = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	buf_add_text(&text, "FROM scratch\nENV a=xxxxxxxx\n");
	for (int i = 0; i < 30; i++)
		buf_add_text(&text, "ENV a=$a$a\n");
	assert_int_equal(made_with(&doubling, buf_text(&text), NULL, NULL), -ERR_LIMIT);
	assert_non_null(strstr(doubling.err.text, "bytes when expanded"));

	buf_clear(&text);
	buf_add_text(&text, "FROM scratch\n");
	for (int i = 0; i <= PLAN_MAX_STEPS; i++)
		buf_add_text(&text, "RUN a\n");
	assert_int_equal(made_with(&steps, buf_text(&text), NULL, NULL), -ERR_LIMIT);
	assert_string_equal(steps.err.text, "Dockerfile:10002:1: more than 10000 steps");

	buf_clear(&text);
	buf_add_text(&text, "FROM scratch\n");
	for (int i = 0; i <= PLAN_MAX_VARIABLES; i++)
		buf_printf(&text, "ARG a%d\n", i);
	assert_int_equal(made_with(&names, buf_text(&text), NULL, NULL), -ERR_LIMIT);
	assert_non_null(strstr(names.err.text, "more than 4096 variables in a stage"));

	buf_clear(&text);
	buf_add_text(&text, "FROM scratch\nARG a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
	for (int i = 0; i < 14; i++)
		buf_add_text(&text, "ARG a=$a$a\n");
	for (int i = 0; i < 2000; i++)
		buf_add_text(&text, "RUN a\n");
	assert_int_equal(made_with(&growth, buf_text(&text), NULL, NULL), -ERR_LIMIT);
	assert_non_null(strstr(growth.err.text, "takes more than 256 MB"));
}

static void a_large_file_is_planned_at_once(void **state)
{
	cleanup(made_done) struct made m = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	buf_add_text(&text, "FROM python\n");
	for (int i = 0; text.len < 1000000; i++)
		buf_printf(&text, "LABEL a%d=\"$LANG b c d e f g h\" b%d=$LANG$PATH\n", i, i);
	assert_int_equal(made_with(&m, buf_text(&text), NULL, NULL), 0);
	assert_true(made_target(&m)->config.label_count > 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_uv_space_is_planned),
		cmocka_unit_test(point_10_base_names_are_matched_as_typed),
		cmocka_unit_test(point_11_env_pairs_see_old_values),
		cmocka_unit_test(point_12_env_and_arg_are_inherited),
		cmocka_unit_test(point_13_global_args_are_invisible_in_stages),
		cmocka_unit_test(point_14_declared_but_unset_args_are_absent),
		cmocka_unit_test(point_15_build_args_are_never_expanded),
		cmocka_unit_test(point_16_the_last_assignment_wins),
		cmocka_unit_test(point_17_args_of_one_line_see_each_other),
		cmocka_unit_test(point_18_a_blank_base_is_an_error_and_path_is_always_there),
		cmocka_unit_test(point_19_undefined_variables_are_empty),
		cmocka_unit_test(point_44_the_environment_keeps_its_order),
		cmocka_unit_test(point_45_declared_args_are_in_every_later_run),
		cmocka_unit_test(proxies_may_be_declared),
		cmocka_unit_test(platform_args_have_to_be_declared),
		cmocka_unit_test(only_needed_stages_are_planned),
		cmocka_unit_test(images_are_asked_for_once),
		cmocka_unit_test(stages_must_come_first_and_not_need_themselves),
		cmocka_unit_test(named_contexts_take_the_place_of_names),
		cmocka_unit_test(an_epoch_is_when_things_were_made),
		cmocka_unit_test(triggers_of_the_base_run_first),
		cmocka_unit_test(triggers_of_this_file_go_to_child_and_config),
		cmocka_unit_test(hostile_files_meet_limits),
		cmocka_unit_test(a_large_file_is_planned_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
