/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/test_made.h"

static const char *print_source(const struct made *m, struct plan_source source, char text[64])
{
	switch (source.kind) {
	case PLAN_CONTEXT:
		return "context";
	case PLAN_SCRATCH:
		return "scratch";
	case PLAN_STAGE:
		snprintf(text, 64, "stage %zu", source.index);
		return text;
	case PLAN_IMAGE:
		return m->plan.images[source.index].name;
	}
	return NULL;
}

/* Everything of a mount that is not at its default. */
static const char *print_mount(struct made *m, const struct plan_mount *mount)
{
	static const char *const kinds[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
	static const char *const sharings[] = {"", " private", " locked"};
	char text[64];

	buf_clear(&m->out);
	buf_printf(&m->out, "%s %s", kinds[mount->kind], mount->target);
	if (mount->kind == PLAN_MOUNT_BIND || mount->kind == PLAN_MOUNT_CACHE)
		buf_printf(&m->out, " from %s%s", print_source(m, mount->from, text),
			strcmp(mount->source, "/") ? mount->source : "");
	if (*mount->id)
		buf_printf(&m->out, " id=%s", mount->id);
	if (*mount->env)
		buf_printf(&m->out, " env=%s", mount->env);
	buf_printf(&m->out, "%s%s%s", sharings[mount->sharing], mount->readonly ? " ro" : "",
		mount->required ? " required" : "");
	if (mount->mode || mount->uid || mount->gid)
		buf_printf(&m->out, " %u:%u %04o", mount->uid, mount->gid, mount->mode);
	if (mount->size)
		buf_printf(&m->out, " %ju bytes", (uintmax_t)mount->size);
	return buf_text(&m->out);
}

static void mounts_have_defaults_by_type(void **state)
{
	static const char *const rows[][2] = {
		{"target=/x", "bind /x from context ro"},
		{"type=bind,source=a/../b,target=x,rw", "bind /w/x from context/b"},
		{"type=BIND,Target=/x,src=/a,readonly=false", "bind /x from context/a"},
		{"target=/x,ro=0", "bind /x from context"},
		{"target=/x,rw=false", "bind /x from context ro"},
		{"from=a,target=/x,source=s", "bind /x from stage 0/s ro"},
		{"from=0,target=/x", "bind /x from stage 0 ro"},
		{"from=ghcr.io/x/y:1,dst=/x", "bind /x from ghcr.io/x/y:1 ro"},
		{"from=scratch,dst=/x,rw", "bind /x from scratch"},
		{"type=bind", "bind /w from context ro"},
		{"type=cache,target=/root/.cache/",
			"cache /root/.cache from scratch id=/root/.cache 0:0 0755"},
		{"type=cache,target=c", "cache /w/c from scratch id=c 0:0 0755"},
		{"type=cache,target=/c,id=$E,sharing=LOCKED,uid=1000,gid=100,mode=0700",
			"cache /c from scratch id=val locked 1000:100 0700"},
		{"type=cache,target=/c,sharing=private,ro,from=a,source=/s",
			"cache /c from stage 0/s id=/c private ro 0:0 0755"},
		{"type=tmpfs,target=/t", "tmpfs /t"},
		{"type=tmpfs,target=/t,size=64m", "tmpfs /t 67108864 bytes"},
		{"type=secret,id=HF_TOKEN,mode=0444,required=true",
			"secret /run/secrets/HF_TOKEN id=HF_TOKEN ro required 0:0 0444"},
		{"type=secret,id=a/b", "secret /run/secrets/b id=a/b ro 0:0 0400"},
		{"type=secret,id=x,env=X", "secret  id=x env=X ro 0:0 0400"},
		{"type=secret,id=x,env=X,target=/y", "secret /y id=x env=X ro 0:0 0400"},
		{"type=secret,target=/y/z,uid=5", "secret /y/z id=z ro 5:0 0400"},
		{"type=secret,source=x,required",
			"secret /run/secrets/x id=x ro required 0:0 0400"},
		{"type=$T,target=/t", "tmpfs /t"},
		{"\\\"type=tmpfs\\\",\\\"target=/a,b\\\"", "tmpfs /a,b"},
		{"'target=/a b'", "bind /a b from context ro"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(made_done) struct made m = {0};
		cleanup(buf_done) struct buf text = {0};
		buf_printf(&text,
			"FROM scratch AS a\nFROM python\nWORKDIR /w\nENV E=val T=tmpfs\n"
			"RUN --mount=%s ls\n",
			rows[i][0]);
		made_from(&m, buf_text(&text));
		const struct plan_run *run = made_op(&m, PLAN_RUN, 0)->run;
		assert_int_equal(run->mount_count, 1);
		assert_string_equal(print_mount(&m, &run->mounts[0]), rows[i][1]);
	}
}

static void malformed_mounts_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{"type=bnd,target=/x", "type cannot be bnd (did you mean bind?)"},
		{"type=cache,target=/x,sharing=lock",
			"sharing cannot be lock (did you mean locked?)"},
		{"target=/x,soruce=y", "--mount has no key soruce (did you mean source?)"},
		{"target", "target needs a value: target=\xe2\x80\xa6"},
		{"target=/", "a mount cannot hide the whole file system: give it a target="},
		{"target=/x,mode=0700", "mode means nothing for a mount of type bind"},
		{"type=tmpfs,target=/x,uid=1", "uid means nothing for a mount of type tmpfs"},
		{"target=/x,gid=1", "gid means nothing for a mount of type bind"},
		{"target=/x,size=1m", "size means nothing for a mount of type bind"},
		{"target=/x,sharing=shared", "sharing means nothing for a mount of type bind"},
		{"target=/x,required", "required means nothing for a mount of type bind"},
		{"required,type=secret,id=x", "required means nothing for a mount of type bind"},
		{"target=/x,env=Y", "env means nothing for a mount of type bind"},
		{"type=secret", "a secret needs an id="},
		{"type=secret,id=a,source=b", "source= is another word for id=: give one of them"},
		{"type=secret,id=a,env=", "env cannot be "},
		{"type=secret,id=a,mode=9", "mode cannot be 9"},
		{"type=secret,id=a,uid=x", "uid cannot be x"},
		{"type=secret,id=a,ro=maybe", "readonly cannot be maybe"},
		{"type=tmpfs,target=/x,size=big", "size cannot be big"},
		{"target=/x\\\"y",
			"a stray quote: a field of --mount is quoted whole, \"key=value\""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0}, want = {0};
		buf_printf(&text, "FROM scratch\nRUN --mount=%s ls\n", rows[i][0]);
		buf_printf(&want, "Dockerfile:2:5: %s", rows[i][1]);
		check_error(buf_text(&text), buf_text(&want));
	}
	check_error("FROM scratch\nRUN --mount=type=secret,id=a,from=b ls\n",
		"Dockerfile:2:5: a secret comes from the caller, so from= means nothing");
}

static void caches_can_have_a_name_space(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	assert_int_equal(made_with(&m, "FROM scratch\nRUN --mount=type=cache,target=/c ls\n", NULL,
				 "BUILDKIT_CACHE_MOUNT_NS=mine"),
		0);
	assert_string_equal(made_op(&m, PLAN_RUN, 0)->run->mounts[0].id, "mine//c");
}

static void run_has_three_meanings_of_heredocs(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nARG a=1\n"
		      "RUN <<-EOF\n\techo $a\n\tls\nEOF\n"
		      "RUN <<SCRIPT\n#!/usr/bin/env python\nprint(1)\nSCRIPT\n"
		      "RUN <<-A cat - <<B\n\t1\nA\n2\nB\n");
	const struct plan_op *plain = made_op(&m, PLAN_RUN, 0), *script = made_op(&m, PLAN_RUN, 1);
	assert_string_equal(made_list(&m, &plain->run->argv), "/bin/sh|-c|echo $a\nls\n");
	assert_null(plain->run->script);
	assert_string_equal(plain->title, "RUN <<-EOF (echo $a...)");
	assert_string_equal(made_list(&m, &script->run->argv), "/bin/sh|-c|/dev/pipes/SCRIPT");
	assert_string_equal(script->run->script->name, "SCRIPT");
	assert_true(str_is(script->run->script->body, "#!/usr/bin/env python\nprint(1)\n"));
	assert_string_equal(made_list(&m, &made_op(&m, PLAN_RUN, 2)->run->argv),
		"/bin/sh|-c|<<-A cat - <<B\n\t1\nA\n2\nB");
	assert_string_equal(
		script->created_by, "RUN |1 a=1 /bin/sh -c /dev/pipes/SCRIPT # buildkit");
	check_error("FROM scratch\nRUN <<../x\n#!/bin/sh\n../x\n",
		"Dockerfile:2:5: ../x cannot be the name of a file: a heredoc's name becomes one");
}

static void run_flags_become_fields(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nRUN --network=none --security=sandbox a\nRUN b\n");
	assert_int_equal(made_op(&m, PLAN_RUN, 0)->run->network, PLAN_NETWORK_NONE);
	assert_int_equal(made_op(&m, PLAN_RUN, 1)->run->network, PLAN_NETWORK_DEFAULT);
	assert_false(made_op(&m, PLAN_RUN, 0)->run->insecure);
}

static void copies_keep_what_was_written(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch AS s\n"
		      "FROM python\nWORKDIR /w\nENV u=me f=a*\n"
		      "COPY --from=S --chown=$u:${u} --chmod=u=rwX,go= ../../x $f /y/../z .\n"
		      "COPY [\"a b\", \"c\", \"d/\"]\n"
		      "COPY x y/.\n"
		      "COPY x ..\n"
		      "ADD --unpack=false --keep-git-dir a.tar /d\n"
		      "COPY <<A <<'B' x /h/\n$u \\$u \"q\"\nA\n$u\nB\n");
	const struct plan_copy *copy = made_op(&m, PLAN_COPY, 0)->copy;
	assert_int_equal(copy->from.kind, PLAN_STAGE);
	assert_string_equal(copy->chown, "me:me");
	assert_string_equal(copy->chmod, "u=rwX,go=");
	assert_int_equal(copy->source_count, 3);
	assert_string_equal(copy->sources[0].path, "/x");
	assert_string_equal(copy->sources[1].path, "/a*");
	assert_string_equal(copy->sources[2].path, "/z");
	assert_string_equal(copy->dest, "/w");
	assert_true(copy->dest_is_dir);
	assert_int_equal(copy->sources[1].span.col, 57);
	copy = made_op(&m, PLAN_COPY, 1)->copy;
	assert_string_equal(copy->sources[0].path, "/a b");
	assert_string_equal(copy->dest, "/w/d");
	assert_true(copy->dest_is_dir);
	assert_true(made_op(&m, PLAN_COPY, 2)->copy->dest_is_dir);
	assert_string_equal(made_op(&m, PLAN_COPY, 2)->copy->dest, "/w/y");
	assert_string_equal(made_op(&m, PLAN_COPY, 3)->copy->dest, "/");
	assert_false(made_op(&m, PLAN_COPY, 3)->copy->dest_is_dir);
	copy = made_op(&m, PLAN_ADD, 0)->copy;
	assert_int_equal(copy->unpack, PLAN_OFF);
	assert_int_equal(copy->keep_git_dir, PLAN_ON);
	assert_string_equal(copy->dest, "/d");
	assert_false(copy->dest_is_dir);
	copy = made_op(&m, PLAN_COPY, 4)->copy;
	assert_int_equal(copy->file_count, 2);
	assert_string_equal(copy->files[0].name, "A");
	assert_true(str_is(copy->files[0].body, "me $u \"q\"\n"));
	assert_true(str_is(copy->files[1].body, "$u\n"));
	assert_int_equal(copy->source_count, 1);
	assert_string_equal(made_op(&m, PLAN_COPY, 0)->created_by,
		"COPY --chown=me:me --chmod=u=rwX,go= ../../x a* /y/../z . # buildkit");
	assert_string_equal(made_op(&m, PLAN_COPY, 4)->created_by, "COPY x <<A <<B /h/ # buildkit");
}

static void point_20_chown_texts_are_passed_on(void **state)
{
	static const char *const owners[] = {"1000", "user", "user:", "1000:group", ":5"};

	(void)state;
	for (size_t i = 0; i < array_size(owners); i++) {
		cleanup(made_done) struct made m = {0};
		cleanup(buf_done) struct buf text = {0};
		buf_printf(&text, "FROM scratch\nCOPY --chown=%s a b\n", owners[i]);
		made_from(&m, buf_text(&text));
		assert_string_equal(made_op(&m, PLAN_COPY, 0)->copy->chown, owners[i]);
	}
}

static void copies_that_make_no_sense_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{"COPY https://x/y /z", "2:6: COPY cannot have a URL as a source"},
		{"COPY git@github.com:x/y /z",
			"2:6: COPY cannot have a git repository as a source"},
		{"COPY a https://x/y.git#main:d /z",
			"2:8: COPY cannot have a git repository as a source"},
		{"COPY --chmod=8 a b", "2:6: 8 is not a mode: 644 or u=rwX,go=rX"},
		{"COPY --chmod=77777 a b", "2:6: 77777 is not a mode: 644 or u=rwX,go=rX"},
		{"COPY a[ b", "2:6: the pattern a[ is malformed"},
		{"COPY \"a b\" c",
			"2:6: unexpected end of statement while looking for matching double-quote"},
		{"COPY <<a/b /x\na/b",
			"2:6: a/b cannot be the name of a file: a heredoc's name becomes one"},
		{"ADD --checksum=sha256:00 a b",
			"2:5: --checksum is for a single source that is a URL or a git repository"},
		{"ADD --checksum=sha256:00 https://x/y /z",
			"2:5: --checksum: sha256:00 is not sha256: and 64 hexadecimal digits"},
		{"ADD https://x/.. /z", "2:5: https://x/.. is not a URL of a file"},
		{"ADD a https://x/y.git#-b /z", "2:7: not the name of a git ref: \"-b\""},
		{"ADD --checksum=xyz git://x/y /z",
			"2:5: --checksum: xyz is not the beginning of a commit (7 or more "
			"hexadecimal digits)"},
		{"COPY --exclude=x[ a b", "2:6: the pattern x[ is malformed"},
		{"ADD --exclude=! a b", "2:5: the pattern ! names nothing to except"},
		{"COPY --parents a/./b[ c", "2:16: the pattern a/./b[ is malformed"},
		{"RUN --device=nvidia.com/gpu=all x",
			"2:5: RUN --device is not supported: it belongs to the syntax "
			"docker/dockerfile:labs, and builds have no devices"},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(buf_done) struct buf text = {0}, want = {0};
		buf_printf(&text, "FROM scratch\n%s\n", rows[i][0]);
		buf_printf(&want, "Dockerfile:%s", rows[i][1]);
		check_error(buf_text(&text), buf_text(&want));
	}
}

static void images_have_proper_names(void **state)
{
	(void)state;
	check_error_place("FROM scratch\nCOPY --from=UPPER/Case a b\n", "Dockerfile:2:6: ");
	check_error_place("FROM a:b:c\n", "Dockerfile:1:6: ");
}

static void what_is_switched_off_costs_nothing(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m,
		"FROM scratch AS unused\nCOPY --link a b\nFROM scratch\nCOPY --link=false a b\n");
	assert_false(made_op(&m, PLAN_COPY, 0)->copy->link);
}

static void parents_are_cut_at_the_pivot(void **state)
{
	static const char *const rows[][3] = {
		{"a/b", "/", "a/b"},
		{"/a/./b/./c", "/a", "b/c"},
		{"a*/./**/c", "/a*", "**/c"},
		{"./a/b/.", "/", "a/b"},
		{"../a/./../b", "/a", "b"},
		{".", "/", ""},
		{"/./x", "/", "x"},
		{"a/./", "/a", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup(made_done) struct made m = {0};
		cleanup(buf_done) struct buf text = {0};
		buf_printf(&text, "FROM scratch\nCOPY --parents %s /x/\n", rows[i][0]);
		made_from(&m, buf_text(&text));
		const struct plan_path *path = &made_op(&m, PLAN_COPY, 0)->copy->sources[0];
		assert_string_equal(path->path, rows[i][1]);
		assert_string_equal(path->keep, rows[i][2]);
	}
}

static void an_empty_source_warns(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m, "FROM scratch\nCOPY $NOPE /x\n");
	assert_string_equal(made_op(&m, PLAN_COPY, 0)->copy->sources[0].path, "/");
	assert_string_equal(
		m.plan.warnings[0].text, "the source $NOPE is empty, which means everything");
}

static void titles_are_one_line(void **state)
{
	cleanup(made_done) struct made m = {0};

	(void)state;
	made_from(&m,
		"FROM scratch\nENV v=1\nRUN  echo \"$v\" '$v' $none \\\n   && x\ncopy a  $v/\n");
	assert_string_equal(
		made_steps(&m), "[1/2] RUN echo \"1\" '$v' $none && x\n[2/2] COPY a 1/\n");
}

static void modes_are_applied_as_chmod_does(void **state)
{
	static const struct {
		const char *chmod;
		uint32_t mode;
		bool is_dir;
		uint32_t expected; /* UINT32_MAX: malformed */
	} rows[] = {
		{"755", 0644, false, 0755},
		{"0", 0644, false, 0},
		{"4755", 0, false, 04755},
		{"u=rwX,go=rX", 0600, false, 0644},
		{"u=rwX,go=rX", 0600, true, 0755},
		{"u=rwX,go=rX", 0711, false, 0755},
		{"a+x", 0644, false, 0755},
		{"+x", 0644, false, 0755},
		{"go-rwx", 0755, false, 0700},
		{"u+s,g+s", 0755, false, 06755},
		{"+t", 0755, true, 01755},
		{"g=u", 0750, false, 0770},
		{"o=g,u-w", 0750, false, 0555},
		{"a=", 0777, false, 0},
		{"u+rw-x", 0100, false, 0600},
		{"=r", 0777, false, 0444},
		{"", 0, false, UINT32_MAX},
		{"u", 0, false, UINT32_MAX},
		{"u=q", 0, false, UINT32_MAX},
		{"u=r,", 0, false, UINT32_MAX},
		{"8", 0, false, UINT32_MAX},
		{"10000", 0, false, UINT32_MAX},
		{"755x", 0, false, UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		uint32_t mode = UINT32_MAX;
		bool good = mode_apply(str_of(rows[i].chmod), rows[i].mode, rows[i].is_dir, &mode);
		if (mode != rows[i].expected || good != (rows[i].expected != UINT32_MAX))
			fail_msg("%s gives %o", rows[i].chmod, mode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mounts_have_defaults_by_type),
		cmocka_unit_test(malformed_mounts_are_refused),
		cmocka_unit_test(caches_can_have_a_name_space),
		cmocka_unit_test(run_has_three_meanings_of_heredocs),
		cmocka_unit_test(run_flags_become_fields),
		cmocka_unit_test(copies_keep_what_was_written),
		cmocka_unit_test(point_20_chown_texts_are_passed_on),
		cmocka_unit_test(copies_that_make_no_sense_are_refused),
		cmocka_unit_test(images_have_proper_names),
		cmocka_unit_test(what_is_switched_off_costs_nothing),
		cmocka_unit_test(parents_are_cut_at_the_pivot),
		cmocka_unit_test(an_empty_source_warns),
		cmocka_unit_test(titles_are_one_line),
		cmocka_unit_test(modes_are_applied_as_chmod_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
