/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "dockerfile/dockerfile.h"

static void dump_instruction(const struct instruction *ins, struct buf *out)
{
	buf_add_text(out, instruction_name(ins->kind));
	for (size_t i = 0; i < ins->flag_count; i++) {
		buf_printf(out, " --%.*s", STR_ARG(ins->flags[i].name));
		if (ins->flags[i].value.p)
			buf_printf(out, "=%.*s", STR_ARG(ins->flags[i].value));
	}
	buf_add_text(out, ins->json ? " json" : "");
	for (size_t i = 0; i < ins->word_count; i++)
		buf_printf(out, " {%.*s}", STR_ARG(ins->words[i].text));
	for (size_t i = 0; i < ins->pair_count; i++) {
		const struct pair *p = &ins->pairs[i];
		buf_printf(out, " %.*s", STR_ARG(p->name.text));
		if (p->has_value)
			buf_printf(
				out, "%s{%.*s}", p->old_form ? " " : "=", STR_ARG(p->value.text));
	}
	for (size_t i = 0; i < ins->heredoc_count; i++) {
		const struct heredoc *h = &ins->heredocs[i];
		buf_printf(out, " %u<<%s%s%.*s{%.*s}", h->fd, h->strip_tabs ? "-" : "",
			h->expand ? "" : "'", STR_ARG(h->name), STR_ARG(h->body));
	}
	if (ins->trigger) {
		buf_add_text(out, " → ");
		dump_instruction(ins->trigger, out);
	}
}

static void check_dump(const char *text, const char *expected)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf out = {0};
	struct source source = {.name = "Dockerfile", .text = str_of(text)};
	struct dockerfile file;
	struct err err = {0};

	if (dockerfile_check_syntax(&a, &source, (struct str){0}, &err) ||
		dockerfile_parse(&a, &source, &file, &err)) {
		buf_add_text(&out, err.text);
	} else {
		for (size_t i = 0; i < file.instruction_count; i++) {
			dump_instruction(&file.instructions[i], &out);
			buf_add_char(&out, '\n');
		}
	}
	assert_string_equal(buf_text(&out), expected);
}

/* What a line says in a stage, without its FROM. */
static void check_line(const char *text, const char *expected)
{
	cleanup(buf_done) struct buf file = {0}, want = {0};

	buf_printf(&file, "FROM a\n%s", text);
	if (strncmp(expected, "Dockerfile:", 11) == 0)
		buf_add_text(&want, expected);
	else
		buf_printf(&want, "FROM {a}\n%s\n", expected);
	check_dump(buf_text(&file), buf_text(&want));
}

struct row {
	const char *text, *expected;
};

static void check_lines(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_line(rows[i].text, rows[i].expected);
}

static void lines_are_joined_and_trimmed(void **state)
{
	static const struct row rows[] = {
		{"\trun   echo a  \t", "RUN {echo a}"},
		{"RUN a\r\n\r\n# c\r\nRUN b\r\n", "RUN {a}\nRUN {b}"},
		{"RUN a \\\r\n  b\r\n", "RUN {a   b}"},
		{"RUN a \\  \t\n b", "RUN {a  b}"},
		{"RUN a \\", "RUN {a}"},
		{"RUN a\\\n", "RUN {a}"},
		{"R\\\nUN a", "RUN {a}"},
		{"\\\nRUN a", "RUN {a}"},
		{"RUN a # b", "RUN {a # b}"},
		{"RUN a \\\n# RUN b \\\nc", "RUN {a c}"},
		{"RUN\techo\tx", "RUN {echo\tx}"},
		{"RUN", "RUN"},
		{"\\\n",
			"Dockerfile:2:1: there is no instruction in this line and its continuations"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
	check_dump("\xef\xbb\xbf"
		   "FROM a\n",
		"FROM {a}\n");
}

static void point_01_a_blank_line_ends_the_directives(void **state)
{
	(void)state;
	check_dump("# escape=`\nFROM a\nRUN a `\nb\n", "FROM {a}\nRUN {a b}\n");
	check_dump("  #  ESCAPE = `  \nFROM a\nRUN a `\nb\n", "FROM {a}\nRUN {a b}\n");
	check_dump("\n# escape=`\nFROM a\nRUN a `\n", "FROM {a}\nRUN {a `}\n");
	check_dump("# comment\n# escape=`\nFROM a\nRUN a `\n", "FROM {a}\nRUN {a `}\n");
	check_dump("# unknown=x\n# escape=`\nFROM a\nRUN a `\n", "FROM {a}\nRUN {a `}\n");
	check_dump("# comment\n# syntax=evil/frontend\nFROM a\n", "FROM {a}\n");
	check_dump("# check=skip=all\n# escape=`\nFROM a\nRUN a `\nb", "FROM {a}\nRUN {a b}\n");
	check_dump("#!/usr/bin/x\n# escape=`\nFROM a\nRUN a `\n", "FROM {a}\nRUN {a `}\n");
	check_dump("# escape=x\nFROM a\n", "Dockerfile:1:10: escape must be \\ or `, not x");
	check_dump("# escape=`\n# Escape=`\nFROM a\n",
		"Dockerfile:2:3: the Escape directive is given twice");
	check_dump("# syntax=a\n# syntax=b\nFROM a\n",
		"Dockerfile:2:3: the syntax directive is given twice");
}

static void only_dockers_own_frontend_is_accepted(void **state)
{
	static const struct row rows[] = {
		{"docker/dockerfile", NULL},
		{"docker/dockerfile:1", NULL},
		{"docker/dockerfile:1.7-labs", NULL},
		{"docker.io/docker/dockerfile:1", NULL},
		{"docker/dockerfile-upstream:master --x", NULL},
		{"docker/dockerfile@sha256:abc", NULL},
		{"evil/dockerfile:1", "evil/dockerfile:1"},
		{"docker/dockerfile2", "docker/dockerfile2"},
		{"ghcr.io/docker/dockerfile", "ghcr.io/docker/dockerfile"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0}, want = {0};
		buf_printf(&text, "# syntax=%s\nFROM a\n", rows[i].text);
		if (rows[i].expected)
			buf_printf(&want,
				"Dockerfile:1:10: the frontend %s cannot be run: only "
				"docker/dockerfile is built in",
				rows[i].expected);
		check_dump(buf_text(&text), rows[i].expected ? buf_text(&want) : "FROM {a}\n");
	}
	check_dump("#!x\n# syntax=evil/x\nFROM a\n",
		"Dockerfile:2:10: the frontend evil/x cannot be run: only docker/dockerfile is "
		"built in");
}

static void point_02_comments_stand_between_continuations(void **state)
{
	(void)state;
	check_line("RUN echo a \\\n# comment \\\nb\n", "RUN {echo a b}");
	check_line("RUN echo a \\\n   # comment\n# \\\nb\nRUN c", "RUN {echo a b}\nRUN {c}");
}

static void point_03_blank_lines_do_not_end_a_continuation(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct source source = {"Dockerfile", STR("FROM a\nRUN a \\\n\n \t\nb\nRUN c\\\n\nd")};
	struct dockerfile file;

	(void)state;
	check_line("RUN a \\\n\n \t\n b\nRUN c", "RUN {a  b}\nRUN {c}");
	assert_int_equal(dockerfile_parse(&a, &source, &file, NULL), 0);
	assert_int_equal(file.instructions[1].blank_line, 5);
	assert_int_equal(file.instructions[2].blank_line, 8);
}

static void point_04_leading_blanks_of_continuations_stay(void **state)
{
	(void)state;
	check_line("RUN a\\\n   b", "RUN {a   b}");
	check_line("ENV x=\"a\\\n   b\"", "ENV x={\"a   b\"}");
}

static void point_05_an_escaped_escape_does_not_continue(void **state)
{
	(void)state;
	check_line("RUN a\\\\\nRUN b", "RUN {a\\\\}\nRUN {b}");
	check_line("RUN a\\\\\\\nRUN b", "RUN {a\\\\\\}\nRUN {b}");
}

static void point_06_bad_json_is_shell_form(void **state)
{
	static const struct row rows[] = {
		{"CMD [\"a\", \"b c\"]", "CMD json {a} {b c}"},
		{"CMD [ ]", "CMD json"},
		{"CMD ['a']", "CMD {['a']}"},
		{"CMD [\"a\"] # c", "CMD {[\"a\"] # c}"},
		{"CMD [\"a\",]", "CMD {[\"a\",]}"},
		{"CMD [\"a\" \"b\"]", "CMD {[\"a\" \"b\"]}"},
		{"CMD [\"a", "CMD {[\"a}"},
		{"CMD [\"a\\x\"]", "CMD {[\"a\\x\"]}"},
		{"CMD [01]", "CMD {[01]}"},
		{"CMD [\"\\u00e4\\ud83d\\ude80\\n\\\"\"]",
			"CMD json {\xc3\xa4\xf0\x9f\x9a\x80\n\"}"},
		{"CMD [\"\\ud83d\"]", "CMD json {\xef\xbf\xbd}"},
		{"CMD [ \"a\" , \"b\" ]  ", "CMD json {a} {b}"},
		{"ENTRYPOINT [] random", "ENTRYPOINT {[] random}"},
		{"COPY [\"a b\", \"c\"]", "COPY json {a b} {c}"},
		{"COPY [a, b]", "COPY {[a,} {b]}"},
		{"VOLUME [\"/a\"]", "VOLUME json {/a}"},
		{"CMD [1]", "Dockerfile:2:5: a JSON array of CMD must hold strings only"},
		{"CMD [\"a\", null]", "Dockerfile:2:5: a JSON array of CMD must hold strings only"},
		{"CMD [[\"a\"], {\"b\": [-1.5e3, true]}]",
			"Dockerfile:2:5: a JSON array of CMD must hold strings only"},
		{"CMD [[\"a\"], {\"b\" [1]}]", "CMD {[[\"a\"], {\"b\" [1]}]}"},
		{"CMD [\"\\u0000\"]", "Dockerfile:2:6: \\u0000 cannot be part of an argument"},
		{"SHELL [\"/bin/bash\", \"-c\"]", "SHELL json {/bin/bash} {-c}"},
		{"SHELL /bin/bash",
			"Dockerfile:2:7: SHELL wants a JSON array: SHELL [\"/bin/bash\", \"-c\"]"},
		{"SHELL []", "Dockerfile:2:1: SHELL needs at least one argument"},
		{"RUN []", "Dockerfile:2:1: RUN [] names no program"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
}

static void point_07_the_old_form_of_env_is_one_variable(void **state)
{
	static const struct row rows[] = {
		{"ENV ONE TWO= THREE=x", "ENV ONE {TWO= THREE=x}"},
		{"ENV a  b  c ", "ENV a {b  c}"},
		{"LABEL a \"b c\"", "LABEL a {\"b c\"}"},
		{"ENV a=b c='d e' f=\"g\\\" h\" i=j\\ k l=",
			"ENV a={b} c={'d e'} f={\"g\\\" h\"} i={j\\ k} l={}"},
		{"ENV a=b\\", "ENV a={b}"},
		{"LABEL \"a b\"=c", "LABEL \"a b\"={c}"},
		{"ARG a b=c d=", "ARG a b={c} d={}"},
		{"ENV a", "Dockerfile:2:5: ENV needs a name and a value: ENV a=…"},
		{"ENV a=b c",
			"Dockerfile:2:9: no = in c: ENV wants name=value, with quotes around a "
			"value that has blanks"},
		{"ENV =b", "Dockerfile:2:5: ENV names cannot be blank"},
		{"ARG =b", "Dockerfile:2:5: ARG names cannot be blank"},
		{"ENV", "Dockerfile:2:1: ENV needs at least one argument"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
}

static void point_08_flags_are_quoted_and_end_at_two_dashes(void **state)
{
	static const struct row rows[] = {
		{"COPY --from=a --chown=1:2 b c", "COPY --from=a --chown=1:2 {b} {c}"},
		{"COPY --from=\"a b\" b c", "COPY --from=a b {b} {c}"},
		{"COPY --fr\"om\"=a\\ b b c", "COPY --from=a b {b} {c}"},
		{"COPY --link --parents=FALSE b c", "COPY --link --parents=FALSE {b} {c}"},
		{"COPY -- --from=x c", "COPY {--from=x} {c}"},
		{"COPY a --from=x c", "COPY {a} {--from=x} {c}"},
		{"RUN --mount=type=cache,target=/x --mount=type=tmpfs,target=/y ls",
			"RUN --mount=type=cache,target=/x --mount=type=tmpfs,target=/y {ls}"},
		{"RUN --network=none \\\n  --security=sandbox \\\n  ls -l",
			"RUN --network=none --security=sandbox {ls -l}"},
		{"COPY --form=a b c",
			"Dockerfile:2:6: COPY has no flag --form (did you mean from?)"},
		{"COPY --from=a --from=b c d", "Dockerfile:2:15: --from is given twice"},
		{"COPY --from a b", "Dockerfile:2:6: --from needs a value: --from=…"},
		{"COPY --link=yes a b", "Dockerfile:2:6: --link is true or false, not yes"},
		{"COPY --link= a b", "Dockerfile:2:6: --link is true or false, not "},
		{"RUN --network=hots ls",
			"Dockerfile:2:5: --network cannot be hots (did you mean host?)"},
		{"RUN --security=x ls", "Dockerfile:2:5: --security cannot be x"},
		{"CMD --foo", "Dockerfile:2:5: CMD has no flag --foo"},
		{"ADD --from=x a b", "Dockerfile:2:5: ADD has no flag --from"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
}

static void point_09_quotes_mean_nothing_in_word_lists(void **state)
{
	(void)state;
	check_line("COPY \"a b\" c", "COPY {\"a} {b\"} {c}");
	check_line("EXPOSE  80  $P\t90", "EXPOSE {80} {$P} {90}");
}

static void point_10_instructions_have_no_case(void **state)
{
	(void)state;
	check_line("rUn x\nworkdir /a", "RUN {x}\nWORKDIR {/a}");
	check_dump("from a as B", "FROM {a} {as} {B}\n");
}

static void heredocs_are_read_in_order(void **state)
{
	static const struct row rows[] = {
		{"RUN <<EOF\na\n# b\n\nEOF\nRUN c", "RUN {<<EOF} 0<<EOF{a\n# b\n\n}\nRUN {c}"},
		{"COPY <<A <<B /d/\n1\nA\n2\nB\n", "COPY {<<A} {<<B} {/d/} 0<<A{1\n} 0<<B{2\n}"},
		{"RUN <<-EOF\n\ta\n\t\tEOF\n", "RUN {<<-EOF} 0<<-EOF{\ta\n}"},
		{"RUN <<'EOF'\n$a\nEOF\n", "RUN {<<'EOF'} 0<<'EOF{$a\n}"},
		{"RUN <<E\"O\"F\nEOF\n", "RUN {<<E\"O\"F} 0<<'EOF{}"},
		{"RUN 3<<EOF cat\nx\nEOF", "RUN {3<<EOF cat} 3<<EOF{x\n}"},
		{"RUN cat <<  EOF\nx\nEOF", "RUN {cat <<  EOF} 0<<EOF{x\n}"},
		{"RUN <<EOF\r\nx\r\nEOF\r\nRUN y", "RUN {<<EOF} 0<<EOF{x\r\n}\nRUN {y}"},
		{"RUN <<EOF \\\n cat\nx\nEOF", "RUN {<<EOF  cat} 0<<EOF{x\n}"},
		{"RUN <<$EOF\nx\n$EOF", "RUN {<<$EOF} 0<<$EOF{x\n}"},
		{"RUN [\"<<EOF\"]", "RUN json {<<EOF}"},
		{"RUN echo \"<<EOF\"", "RUN {echo \"<<EOF\"}"},
		{"RUN cat <<<x", "RUN {cat <<<x}"},
		{"RUN echo $((1<<2))", "RUN {echo $((1<<2))}"},
		{"CMD <<EOF", "CMD {<<EOF}"},
		{"RUN it's <<EOF", "RUN {it's <<EOF}"},
		{"ONBUILD RUN <<EOF\nx\nEOF\nRUN y",
			"ONBUILD {RUN <<EOF\nx\nEOF} → RUN {<<EOF} 0<<EOF{x\n}\nRUN {y}"},
		{"RUN <<EOF\nx\n EOF\nEOF2",
			"Dockerfile:2:5: this heredoc has no end: no line says EOF alone"},
		{"COPY a <<EOF\nx\nEOF",
			"Dockerfile:2:8: a heredoc cannot be the destination of COPY"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
}

static void words_must_be_as_many_as_wanted(void **state)
{
	static const struct row rows[] = {
		{"FORM b", "Dockerfile:2:1: unknown instruction: FORM (did you mean FROM?)"},
		{"XYZZY b", "Dockerfile:2:1: unknown instruction: XYZZY"},
		{"RUM ls", "Dockerfile:2:1: unknown instruction: RUM (did you mean RUN?)"},
		{"COPY a", "Dockerfile:2:1: COPY needs at least one source and a destination"},
		{"WORKDIR", "Dockerfile:2:1: WORKDIR needs one argument"},
		{"USER a b", "USER {a b}"},
		{"VOLUME", "Dockerfile:2:1: VOLUME needs at least one argument"},
		{"VOLUME [\"\"]", "Dockerfile:2:9: an empty argument of VOLUME"},
		{"EXPOSE", "Dockerfile:2:1: EXPOSE needs at least one argument"},
		{"FROM a b",
			"Dockerfile:2:1: FROM is followed by an image, or by an image, AS and a "
			"name"},
		{"FROM a AS 1x",
			"Dockerfile:2:11: 1x cannot be the name of a stage: a letter, then letters, "
			"digits, '-', '_' and '.'"},
		{"ONBUILD", "Dockerfile:2:1: ONBUILD needs at least one argument"},
		{"ONBUILD ONBUILD RUN x",
			"Dockerfile:2:9: ONBUILD cannot be the trigger of an ONBUILD"},
		{"ONBUILD FROM x", "Dockerfile:2:9: FROM cannot be the trigger of an ONBUILD"},
		{"ONBUILD COPY x",
			"Dockerfile:2:9: COPY needs at least one source and a destination"},
		{"onbuild copy --from=a x y",
			"ONBUILD {copy --from=a x y} → COPY --from=a {x} {y}"},
		{"HEALTHCHECK NONE", "HEALTHCHECK {NONE}"},
		{"HEALTHCHECK --interval=5m --retries=3 CMD curl -f x || exit 1",
			"HEALTHCHECK --interval=5m --retries=3 {CMD} {curl -f x || exit 1}"},
		{"HEALTHCHECK cmd [\"a\", \"b\"]", "HEALTHCHECK json {cmd} {a} {b}"},
		{"HEALTHCHECK CMD", "Dockerfile:2:1: HEALTHCHECK needs a command after CMD"},
		{"HEALTHCHECK NONE x", "Dockerfile:2:18: HEALTHCHECK NONE takes no arguments"},
		{"HEALTHCHECK RUN x",
			"Dockerfile:2:13: HEALTHCHECK is followed by CMD or NONE, not RUN"},
		{"HEALTHCHECK --timeout=5 CMD x",
			"Dockerfile:2:13: --timeout=5 is not a duration such as 30s, 1m30s or 500ms"},
		{"HEALTHCHECK --timeout=5us CMD x",
			"Dockerfile:2:13: --timeout cannot be less than 1ms"},
		{"HEALTHCHECK --retries=-1 CMD x",
			"Dockerfile:2:13: --retries=-1 is not a number of retries"},
	};

	(void)state;
	check_lines(rows, array_size(rows));
}

static void files_that_cannot_be_built_are_refused(void **state)
{
	(void)state;
	check_dump("", "Dockerfile:1:1: there is no instruction in it");
	check_dump("# only\n\n# comments", "Dockerfile:1:1: there is no instruction in it");
	check_dump("ARG a=b\n",
		"Dockerfile:1:1: there is no FROM in it, so there is nothing to build");
	check_dump("RUN a\nFROM b\n",
		"Dockerfile:1:1: RUN before the first FROM: only ARG may stand there");
	check_dump("ARG a=b\nFROM $a\n", "ARG a={b}\nFROM {$a}\n");
}

static void nul_bytes_and_long_lines_are_refused(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf text = {0};
	struct source source = {"Dockerfile", STR("FROM a\nRUN b\0c\n")};
	struct dockerfile file;
	struct err err = {0};

	(void)state;
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), -ERR_INPUT);
	assert_string_equal(err.text, "Dockerfile:2:6: a NUL byte: this is not a text");

	buf_add_text(&text, "FROM a\nRUN ");
	memset(buf_reserve(&text, DOCKERFILE_MAX_LINE), 'x', DOCKERFILE_MAX_LINE);
	buf_commit(&text, DOCKERFILE_MAX_LINE - 4);
	source.text = buf_str(&text);
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), 0);
	buf_add_char(&text, 'x');
	source.text = buf_str(&text);
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), -ERR_LIMIT);
	assert_string_equal(
		err.text, "Dockerfile:2:1: a line of 65536 bytes, at most 65535 are allowed");
}

static void onbuilds_do_not_nest_on_the_stack(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf text = {0};
	struct source source = {"Dockerfile", {0}};
	struct dockerfile file;
	struct err err = {0};

	(void)state;
	buf_add_text(&text, "FROM a\n");
	for (int i = 0; i < 300000; i++)
		buf_add_text(&text, "ONBUILD \\\n");
	buf_add_text(&text, "RUN x\n");
	source.text = buf_str(&text);
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, "ONBUILD cannot be the trigger of an ONBUILD"));
}

static void heredocs_are_counted(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	cleanup(buf_done) struct buf text = {0};
	struct source source = {"Dockerfile", {0}};
	struct dockerfile file;
	struct err err = {0};

	(void)state;
	buf_add_text(&text, "FROM a\nCOPY ");
	for (int i = 0; i <= DOCKERFILE_MAX_HEREDOCS; i++)
		buf_add_text(&text, "<<A ");
	buf_add_text(&text, "/d/\n");
	for (int i = 0; i <= DOCKERFILE_MAX_HEREDOCS; i++)
		buf_add_text(&text, "A\n");
	source.text = buf_str(&text);
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), -ERR_LIMIT);
	assert_string_equal(
		err.text, "Dockerfile:2:4006: more than 1000 heredocs in one instruction");
}

static void places_are_those_of_the_file(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct source source = {"Dockerfile", STR("FROM a\n"
						  "  COPY --chown=u \\\n"
						  "# c\n"
						  "  x \\\n"
						  "    yy /d\n"
						  "RUN cat <<A <<B\n1\nA\n2\nB\n"
						  "ENV a=b \\\n c=d\n")};
	struct dockerfile file;

	(void)state;
	assert_int_equal(dockerfile_parse(&a, &source, &file, NULL), 0);
	const struct instruction *copy = &file.instructions[1], *run = copy + 1, *env = copy + 2;
	assert_int_equal(copy->span.line, 2);
	assert_int_equal(copy->span.col, 3);
	assert_int_equal(copy->span.end_line, 5);
	assert_int_equal(copy->flags[0].span.line, 2);
	assert_int_equal(copy->flags[0].span.col, 8);
	assert_int_equal(copy->flags[0].span.end_col, 17);
	assert_int_equal(copy->words[0].span.line, 4);
	assert_int_equal(copy->words[0].span.col, 3);
	assert_int_equal(copy->words[1].span.line, 5);
	assert_int_equal(copy->words[1].span.col, 5);
	assert_int_equal(copy->words[1].span.end_col, 7);
	assert_string_equal(copy->text.p, "COPY --chown=u   x     yy /d");
	assert_int_equal(run->span.line, 6);
	assert_int_equal(run->span.end_line, 10);
	assert_int_equal(run->heredocs[1].span.col, 13);
	assert_int_equal(env->pairs[1].name.span.line, 12);
	assert_int_equal(env->pairs[1].value.span.col, 4);
}

static void errors_show_their_place(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct source source = {"Dockerfile", STR("FROM a\nRUN x \\\n  && y\nCOPPY a b\n")};
	struct dockerfile file;
	struct err err = {0};

	(void)state;
	assert_int_equal(dockerfile_parse(&a, &source, &file, &err), -ERR_INPUT);
	assert_string_equal(
		err.text, "Dockerfile:4:1: unknown instruction: COPPY (did you mean COPY?)");
	assert_string_equal(err.hint, "  4 | COPPY a b\n    | ^~~~~");
}

static void triggers_are_single_instructions(void **state)
{
	static const struct row rows[] = {
		{"RUN <<EOF\nx\nEOF", "RUN {<<EOF} 0<<EOF{x\n}"},
		{"COPY . /app", "COPY {.} {/app}"},
		{"RUN a\nRUN b", "trigger:2:1: a trigger must be a single instruction"},
		{"FROM a", "trigger:1:1: FROM cannot be the trigger of an ONBUILD"},
		{"", "trigger:1:1: an empty trigger"},
		{"FOO", "trigger:1:1: unknown instruction: FOO"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(arena_done) struct arena a = {0};
		cleanup(buf_done) struct buf out = {0};
		struct source source = {"trigger", str_of(rows[i].text)};
		struct instruction ins;
		struct err err = {0};
		if (dockerfile_parse_trigger(&a, &source, &ins, &err))
			buf_add_text(&out, err.text);
		else
			dump_instruction(&ins, &out);
		assert_string_equal(buf_text(&out), rows[i].expected);
	}
}

/* Inputs whose shapes would show work that grows with the square of the size. */
static void large_files_are_parsed_in_linear_time(void **state)
{
	static const char *const pieces[] = {"x \\\n", "--mount=a ", "[", "[\"a\",[", "a=b ",
		"'\" ", "$", "<<A ", "\\\n", "\\\n# c\n", "ONBUILD "};
	static const char *const heads[] = {"RUN ", "COPY ", "ENV ", "EXPOSE ", "CMD ["};

	(void)state;
	for (size_t h = 0; h < array_size(heads); h++)
		for (size_t p = 0; p < array_size(pieces); p++) {
			cleanup(arena_done) struct arena a = {0};
			cleanup(buf_done) struct buf text = {0};
			struct source source = {"Dockerfile", {0}};
			struct dockerfile file;
			buf_printf(&text, "FROM a\n%s", heads[h]);
			while (text.len < 80000) {
				for (size_t n = 0; n < 60000 / strlen(pieces[p]) / 10; n++)
					buf_add_text(&text, pieces[p]);
				buf_add_text(&text, "\\\n");
			}
			source.text = buf_str(&text);
			/* Whether it is right does not matter, only that it ends. */
			int failed = dockerfile_parse(&a, &source, &file, NULL);
			assert_true(failed == 0 || failed == -ERR_INPUT);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_joined_and_trimmed),
		cmocka_unit_test(point_01_a_blank_line_ends_the_directives),
		cmocka_unit_test(only_dockers_own_frontend_is_accepted),
		cmocka_unit_test(point_02_comments_stand_between_continuations),
		cmocka_unit_test(point_03_blank_lines_do_not_end_a_continuation),
		cmocka_unit_test(point_04_leading_blanks_of_continuations_stay),
		cmocka_unit_test(point_05_an_escaped_escape_does_not_continue),
		cmocka_unit_test(point_06_bad_json_is_shell_form),
		cmocka_unit_test(point_07_the_old_form_of_env_is_one_variable),
		cmocka_unit_test(point_08_flags_are_quoted_and_end_at_two_dashes),
		cmocka_unit_test(point_09_quotes_mean_nothing_in_word_lists),
		cmocka_unit_test(point_10_instructions_have_no_case),
		cmocka_unit_test(heredocs_are_read_in_order),
		cmocka_unit_test(words_must_be_as_many_as_wanted),
		cmocka_unit_test(files_that_cannot_be_built_are_refused),
		cmocka_unit_test(nul_bytes_and_long_lines_are_refused),
		cmocka_unit_test(onbuilds_do_not_nest_on_the_stack),
		cmocka_unit_test(heredocs_are_counted),
		cmocka_unit_test(places_are_those_of_the_file),
		cmocka_unit_test(errors_show_their_place),
		cmocka_unit_test(triggers_are_single_instructions),
		cmocka_unit_test(large_files_are_parsed_in_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
