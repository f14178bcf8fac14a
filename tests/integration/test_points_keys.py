# SPDX-License-Identifier: Apache-2.0
"""When a step's result is taken from the cache: what is in its key, and what is not."""

import uuid

import pytest


@pytest.fixture
def keys(spaceport, make_space):
    """keys(DOCKERFILE, {NAME: CONTENTS}, ARG...): the keys of all steps, none of which runs."""
    def find(dockerfile, files=None, *args, **how):
        space = make_space(dockerfile, files)
        plan = spaceport.build(space, "--plan", "--json", *args, **how).json
        return [step["key"] for stage in plan["stages"] for step in stage["instructions"]
                if step["step"] is not None]
    return find


RUN = "FROM scratch\nENV A=1\n{}\nRUN make\n"
# Pairs that differ in one thing.
DIFFERENT = {
    "command": ("FROM scratch\nRUN make\n", "FROM scratch\nRUN make all\n"),
    "shell form and exec form": ("FROM scratch\nRUN make\n", 'FROM scratch\nRUN ["make"]\n'),
    "shell": (RUN.format(""), RUN.format('SHELL ["/bin/bash", "-c"]')),
    "order of variables": ("FROM scratch\nENV A=1\nENV B=2\nRUN make\n",
                           "FROM scratch\nENV B=2\nENV A=1\nRUN make\n"),
    "value of a variable": ("FROM scratch\nENV A=1\nRUN make\n",
                            "FROM scratch\nENV A=2\nRUN make\n"),
    "user": (RUN.format(""), RUN.format("USER 1000")),
    "network": ("FROM scratch\nRUN make\n", "FROM scratch\nRUN --network=none make\n"),
    "a mount": ("FROM scratch\nRUN make\n",
                "FROM scratch\nRUN --mount=type=tmpfs,target=/t make\n"),
    "target of a mount": ("FROM scratch\nRUN --mount=type=tmpfs,target=/t make\n",
                          "FROM scratch\nRUN --mount=type=tmpfs,target=/u make\n"),
    "target of a cache": ("FROM scratch\nRUN --mount=type=cache,id=c,target=/t make\n",
                          "FROM scratch\nRUN --mount=type=cache,id=c,target=/u make\n"),
    "the step before": ("FROM scratch\nRUN one\nRUN make\n", "FROM scratch\nRUN two\nRUN make\n"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_point_44_what_a_key_depends_on(keys, what):
    one, other = DIFFERENT[what]
    assert keys(one) == keys(one)
    assert keys(one)[-1] != keys(other)[-1]


def test_point_44_working_directory(keys):
    assert keys("FROM scratch\nWORKDIR /a\nRUN make\n")[-1] != \
        keys("FROM scratch\nWORKDIR /b\nRUN make\n")[-1]


def test_point_44_what_changes_nothing(keys):
    plain = keys("FROM scratch\nRUN make\n")
    for text in ("FROM scratch\n# a word\nRUN   make\n", "FROM scratch\nLABEL a=b\nRUN make\n",
                 "FROM scratch\nEXPOSE 80\nCMD x\nRUN make\n", "FROM scratch AS name\nRUN make\n"):
        assert keys(text) == plain


class TestPoint45:
    ARGS = "FROM scratch\nRUN before\nARG NAME\nRUN after\n"

    def test_point_45_a_declared_argument_counts_used_or_not(self, keys):
        one = keys(self.ARGS, None, "--build-arg", "NAME=1")
        other = keys(self.ARGS, None, "--build-arg", "NAME=2")
        assert one[0] == other[0] and one[1] != other[1]

    def test_point_45_an_undeclared_one_does_not(self, keys):
        assert keys(self.ARGS) == keys(self.ARGS, None, "--build-arg", "OTHER=1")

    def test_point_45_nor_do_proxies(self, keys):
        proxy = ["--build-arg", "HTTP_PROXY=http://one:1", "--build-arg", "no_proxy=lan"]
        assert keys(self.ARGS) == keys(self.ARGS, None, *proxy)
        declared = "FROM scratch\nARG HTTP_PROXY\nRUN make\n"
        assert keys(declared) != keys(declared, None, *proxy)

    def test_point_45_in_the_stage_of_its_declaration(self, keys):
        text = "FROM scratch AS a\nARG X\nRUN a\nFROM scratch\nCOPY --from=a /x /\nRUN b\n"
        one, other = (keys(text, None, "--build-arg", f"X={x}") for x in "12")
        assert one[0] != other[0]
        text = "ARG X\nFROM scratch\nRUN a\n"
        assert keys(text, None, "--build-arg", "X=1") == keys(text, None, "--build-arg", "X=2")


class TestPoint46:
    SECRET = "FROM scratch\nRUN --mount=type=secret,id={id}{more} make\n"

    def test_point_46_a_secrets_value_does_not_count(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN --mount=type=secret,id=TOKEN,required=true "
                           "test -s /run/secrets/TOKEN\n")
        secret = ["--secret", "id=TOKEN,env=TOKEN"]
        first = fresh_spaceport.build(space, *secret, env={"TOKEN": "one-value"}).image
        again = fresh_spaceport.build(space, *secret, "--progress", "plain",
                                      env={"TOKEN": "another-value"})
        assert again.image == first and "CACHED" in again.err

    @pytest.mark.parametrize("other", [
        {"id": "B"}, {"more": ",target=/x"}, {"more": ",mode=0444"}, {"more": ",env=NAME"},
        {"more": ",uid=7"}])
    def test_point_46_where_it_appears_counts(self, keys, other):
        plain = {"id": "A", "more": ""}
        assert keys(self.SECRET.format(**plain)) != keys(self.SECRET.format(**plain | other))


class TestPoint47:
    CACHE = "FROM scratch\nRUN --mount=type=cache,target=/c{more} make\n"

    @pytest.mark.parametrize("more", [",id=other", ",sharing=locked", ",sharing=private"])
    def test_point_47_id_and_sharing_do_not_count(self, keys, more):
        assert keys(self.CACHE.format(more="")) == keys(self.CACHE.format(more=more))

    def test_point_47_nor_what_a_cache_holds(self, fresh_spaceport, make_space):
        fill = "FROM busybox:latest\nRUN --mount=type=cache,id=c,target=/c echo {} > /c/file\n"
        read = make_space("FROM busybox:latest\n"
                          "RUN --mount=type=cache,id=c,target=/c cat /c/file > /seen\n")
        fresh_spaceport.build(make_space(fill.format("one"))).ok()
        first = fresh_spaceport.build(read).image
        fresh_spaceport.build(make_space(fill.format("two"))).ok()
        assert fresh_spaceport.build(read).image == first

    def test_point_47_what_a_bind_mount_shows_counts(self, keys):
        text = "FROM scratch\nRUN --mount=type=bind,source={},target=/s make\n"
        files = {"lock/a": "1", "other": "1"}
        for source in ("lock", "lock/a"):
            begin = keys(text.format(source), files)
            assert begin == keys(text.format(source), files | {"other": "2", "new": "x"})
            assert begin != keys(text.format(source), files | {"lock/a": "2"})


class TestPoint48:
    """A consumer counts what it copies, not how it came to be."""

    TEXT = """FROM busybox:latest AS made
COPY input /input
RUN head -1 /input > /output; cp /input /other
FROM busybox:latest AS beside
COPY input /in
RUN tail -1 /in > /last
FROM busybox:latest
{first}
RUN cat /proc/sys/kernel/random/uuid > /when
"""

    @pytest.mark.parametrize("first", [
        "COPY --from=made /output /", "COPY --from=made /out* /",
        "RUN --mount=type=bind,from=made,source=/output,target=/o cp /o /output",
        "COPY --from=made /output /\nCOPY --from=beside /bin/busybox /b"])
    def test_point_48_another_stage_with_the_same_files(self, fresh_spaceport, make_space, first):
        """The stages are made anew, at the same time if both are needed; what copies is not."""
        space = make_space(self.TEXT.format(first=first), {"input": "same\nmore\nend\n"})
        image = fresh_spaceport.build(space).image
        (space / "input").write_text("same\nless\nlast\n")
        result = fresh_spaceport.build(space, "--progress", "plain")
        assert result.image == image
        stages = 2 if "beside" in first else 1
        assert result.err.count(" DONE ") == 2 * stages, result.err
        assert result.err.count(" CACHED") == first.count("\n") + 2
        (space / "input").write_text("changed\nless\n")
        assert fresh_spaceport.build(space).image != image

    def test_point_48_modes_and_owners_count(self, fresh_spaceport, make_space):
        text = "FROM busybox:latest AS a\nRUN echo x > /x && {}\nFROM busybox:latest\n" \
               "COPY --from=a /x /\n"
        images = {fresh_spaceport.build(make_space(text.format(change))).image
                  for change in ("true", "chmod 755 /x", "chown 7 /x")}
        assert len(images) == 3


class TestPoint49:
    def test_point_49_a_cached_step_does_not_run_again(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN cat /proc/sys/kernel/random/uuid > /x\n"
                           "RUN date +%N > /y; wget -q -O /z http://127.0.0.1:1 || true\n")
        first = fresh_spaceport.build(space).image
        again = fresh_spaceport.build(space, "--progress", "plain")
        assert again.image == first and " DONE " not in again.err

    def test_point_49_no_cache_keeps_caches_but_those_with_a_mode(self, fresh_spaceport,
                                                                  make_space):
        name = uuid.uuid4().hex
        text = "FROM busybox:latest\nRUN --mount=type=cache,id={0},target=/kept " \
               "--mount=type=cache,id={0}-mode,target=/fresh,mode=0770 " \
               "echo x >> /kept/n; echo x >> /fresh/n; " \
               'echo "kept $(wc -l < /kept/n) fresh $(wc -l < /fresh/n)"\n'
        space = make_space(text.format(name))
        for number in (1, 2, 3):
            result = fresh_spaceport.build(space, "--no-cache", "--progress", "plain")
            result.ok()
            assert f"kept {number} fresh 1" in result.err

    def test_point_49_no_cache_is_for_copies_too(self, fresh_spaceport, make_space):
        space = make_space("FROM busybox:latest\nCOPY a /a\nWORKDIR /w\nRUN true\n", {"a": "1"})
        fresh_spaceport.build(space).ok()
        result = fresh_spaceport.build(space, "--no-cache", "--progress", "plain").ok()
        assert result.err.count(" DONE ") == 3 and "CACHED" not in result.err


class TestPoint50:
    def test_point_50_a_failed_step_leaves_nothing(self, fresh_spaceport, make_space):
        """Not in the tree of the next attempt, and not among the layers."""
        name = uuid.uuid4().hex
        space = make_space("FROM busybox:latest\n"
                           f"RUN --mount=type=cache,id={name},target=/c "
                           "test ! -e /made || exit 9; echo x > /made; "
                           "test -e /c/second || { touch /c/second; exit 3; }\n")
        fresh_spaceport.build(space).failed(1, says=["exited with 3"])
        before = fresh_spaceport("images", "--json").json
        assert len([image for image in before if image["origin"] == "built"]) == 0
        assert fresh_spaceport.build(space).image

    @pytest.mark.parametrize("how", ["false", "exit 1", "exit 255", "sh -c 'kill -9 $$'; exit $?",
                                     "true; (exit 4)", "true | false"])
    def test_point_50_only_zero_is_success(self, spaceport, make_space, how):
        space = make_space(f"FROM busybox:latest\nRUN {how}\nRUN echo never-$((40+2))\n")
        result = spaceport.build(space).failed(1, says=["Dockerfile:2"])
        assert "never-42" not in result.err

    def test_point_50_a_pipe_counts_by_its_last_part(self, spaceport, make_space):
        assert spaceport.build(make_space("FROM busybox:latest\nRUN false | true\n")).image
