# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles that want to exhaust the builder: each ends soon, with an error that names the place
or with a build, and never with a crash. What may fail is looked at by --plan and --check alike,
since both read what a stranger wrote."""

import time

import pytest

SECONDS = 20  # of the slowest of these, with sanitizers and other work on the machine


@pytest.fixture
def judge(spaceport, make_space):
    """judge(DOCKERFILE): the result of --plan, after --check ended in time, too."""
    def make(dockerfile, *args, files=None):
        space = make_space(dockerfile, files)
        for mode in ("--check", "--plan"):
            start = time.monotonic()
            result = spaceport("build", mode, *args, space)
            assert time.monotonic() - start < SECONDS
            assert result.code in (0, 1), f"{mode}: {result.code}\n{result.err[-2000:]}"
        return result
    return make


def nested(depth, operator=":-"):
    return f"${{a{operator}" * depth + "x" + "}" * depth


@pytest.mark.parametrize("operator", [":-", "-", ":+", "%", "/x/"])
def test_expansion_that_nests_deep(judge, operator):
    judge(f"FROM scratch\nENV a={nested(9000, operator)}\n").failed(
        1, says=["Dockerfile:2", "nested more than"])


def test_expansion_that_nests_a_little(judge):
    judge(f"FROM scratch\nENV a={nested(20)}\n").ok()


def test_values_that_double(judge):
    lines = "".join(f"ENV a{i + 1}=$a{i}$a{i}\n" for i in range(64))
    judge(f"FROM scratch\nENV a0=0123456789\n{lines}").failed(1, says=["Dockerfile:"])


def test_arguments_that_double_before_from(judge):
    lines = "".join(f"ARG a{i + 1}=$a{i}$a{i}\n" for i in range(64))
    judge(f"ARG a0=0123456789\n{lines}FROM scratch\n").failed(1, says=["Dockerfile:"])


@pytest.mark.parametrize("pattern", ["*" * 2000 + "x", "*a" * 1000, "?" * 2000 + "*b" * 500])
def test_patterns_that_match_slowly(judge, pattern):
    judge("FROM scratch\nENV v=" + "a" * 30000 + f"\nENV a=${{v#{pattern}}} b=${{v%%{pattern}}}\n"
          f"ENV c=${{v//{pattern}/x}}\n").ok()


def test_ignore_patterns_that_match_slowly(judge):
    name = "/".join(["a" * 200] * 10)
    judge(f"FROM scratch\nCOPY {name} /\n",
          files={name: "x", ".dockerignore": "**/" * 300 + "*a" * 100 + "b\n" + "a**" * 300 + "c\n"}
          ).ok()


def test_stages_in_a_circle(judge):
    judge("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n").failed(
        1, says=["Dockerfile:"])
    judge("FROM scratch AS a\nCOPY --from=a / /\n").failed(1, says=["Dockerfile:2"])
    judge("FROM scratch AS a\nRUN --mount=from=c x\nFROM a AS b\nFROM scratch AS c\n"
          "COPY --from=b / /\n").failed(1, says=["Dockerfile:"])
    count = 900
    ring = "".join(f"FROM scratch AS s{i}\nCOPY --from=s{(i + 1) % count} / /\n"
                   for i in range(count))
    judge(ring).failed(1, says=["Dockerfile:"])


def test_a_base_that_is_the_stage_itself(judge):
    # Not a circle: an image of that name, which is not here.
    assert "would be pulled" in judge("FROM nowhere AS nowhere\nRUN x\n").ok().out


def test_a_long_chain_of_stages(judge):
    judge("FROM scratch AS s0\n" + "".join(
        f"FROM s{i} AS s{i + 1}\nENV a{i}={i}\nARG b{i}\n" for i in range(990))).ok()
    judge("FROM scratch\n" * 1001).failed(1, says=["more than 1000 stages"])


def test_triggers_do_not_trigger(judge):
    for inner in ("ONBUILD RUN x", "FROM scratch", "MAINTAINER x"):
        judge(f"FROM scratch\nONBUILD {inner}\n").failed(1, says=["Dockerfile:2"])
    judge("FROM scratch\n" + "ONBUILD " * 8000 + "RUN x\n").failed(1, says=["Dockerfile:2"])


def test_triggers_of_an_image_that_want_its_child(spaceport, make_space):
    """A trigger that copies from the stage it runs in, and triggers along a chain of images."""
    base = make_space("FROM scratch\nCOPY README.md /\nONBUILD COPY --from=me / /x\n")
    spaceport.build(base, "-t", "trigger-loop").ok()
    child = make_space("FROM trigger-loop AS me\n")
    spaceport("build", "--plan", child).failed(1, says=["Dockerfile:1"])
    spaceport.build(child).failed(1, says=["Dockerfile:1"])


def test_a_chain_of_triggers_ends(spaceport, make_space):
    """Each child runs the triggers of its base and has none of its own."""
    base = make_space("FROM scratch\nCOPY README.md /0\nONBUILD ENV T=$T.\n")
    spaceport.build(base, "-t", "trigger-0").ok()
    for i in range(5):
        space = make_space(f"FROM trigger-{i}\nCOPY README.md /{i + 1}\n")
        plan = spaceport("build", "--plan", "--json", space).json["stages"][0]["instructions"]
        assert len([i for i in plan if i["onbuild"]]) == (1 if i == 0 else 0)
        spaceport.build(space, "-t", f"trigger-{i + 1}").ok()


def test_triggers_as_many_as_there_can_be(judge):
    judge("FROM scratch AS a\n" + "ONBUILD ENV a=$a.\n" * 30000 + "FROM a\n").failed(
        1, says=["Dockerfile:"])
    judge("FROM scratch AS a\n" + "ONBUILD ENV a=$a.\n" * 200 + "FROM a\n" * 200).ok()


def test_huge_heredocs(judge):
    body = ("x" * 60000 + "\n") * 60
    judge(f"FROM scratch\nCOPY <<EOF /a\n{body}EOF\n").failed(1, says=["Dockerfile:2"])
    judge(f"FROM scratch\nCOPY <<'EOF' /a\n{body}EOF\n").ok()
    judge(f"FROM scratch\nRUN <<EOF\n{body}").failed(1, says=["Dockerfile:2", "EOF"])
    words = " ".join(f"<<E{i}" for i in range(1001))
    ends = "".join(f"E{i}\n" for i in range(1001))
    judge(f"FROM scratch\nRUN cat {words}\n{ends}").failed(1, says=["Dockerfile:2"])


def test_a_file_that_is_too_large(judge):
    judge("FROM scratch\n" + ("# " + "x" * 60000 + "\n") * 75).failed(1, says=["Dockerfile"])


def test_long_lines(judge):
    at_most = 65535
    line = "ENV a="
    judge(f"FROM scratch\n{line}{'x' * (at_most - len(line))}\n").ok()
    judge(f"FROM scratch\n{line}{'x' * (at_most - len(line) + 1)}\n").failed(
        1, says=["Dockerfile:2", "65535"])
    # Physical lines count, not what they are joined to.
    judge("FROM scratch\nENV " + "".join(f"a{i}={'x' * 1000} \\\n" for i in range(500)) +
          "last=1\n").ok()


def test_many_instructions(judge):
    judge("FROM scratch\n" + "ENV a=1\n" * 99999).ok()
    judge("FROM scratch\n" + "ENV a=1\n" * 100000).failed(
        1, says=["Dockerfile:100001", "100000 instructions"])
    judge("FROM scratch\n" + "RUN x\n" * 10001).failed(1, says=["10000 steps"])
    judge("FROM scratch\n" + "".join(f"ENV a{i}=1\n" for i in range(5000))).failed(
        1, says=["4096 variables"])


def test_findings_as_many_as_there_can_be(spaceport, make_space):
    space = make_space("FROM scratch\n" + "MAINTAINER x\n" * 20000)
    start = time.monotonic()
    result = spaceport("build", "--check", "--json", space).failed(1)
    assert result.out.count("MaintainerDeprecated") == 20000
    # Beside a build some are told, and how many more there are.
    result = spaceport.build(space).ok()
    assert result.err.count("MaintainerDeprecated") <= 30
    assert "19970 more" in result.err
    assert time.monotonic() - start < 4 * SECONDS


@pytest.mark.parametrize("text", [
    b"FROM scratch\nENV a=\x00\n", b"\xff\xfe\x00", b"", b"\n\n# comment\n", b"\xef\xbb\xbf",
    b"FROM scratch\nENV a=\x1b]0;title\x07\x1b[2J $\xff\n", b"FROM scratch\nRUN [\"\\u0000\"]\n",
    b"\\\n" * 10000, b"FROM scratch \\", b"FROM scratch\nCOPY <<\n", b"{\"syntax\": 1}",
    b"{" * 10000, b"// syntax=x\n", b"FROM scratch\nONBUILD\n", b"FROM scratch\nHEALTHCHECK\n",
], ids=range(15))
def test_texts_that_are_none(judge, text):
    result = judge(text)
    assert "\x1b" not in result.err + result.out
