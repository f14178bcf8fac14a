# SPDX-License-Identifier: Apache-2.0
"""What builders get wrong in Dockerfiles, one test a point: parsing, variables, arguments.
Most look at the plan, which has every instruction after expansion; where the value inside of a
container matters, a RUN looks at it."""

import pytest

BUSYBOX = "FROM busybox:latest\n"


@pytest.fixture
def plan(spaceport, make_space):
    """plan(DOCKERFILE, *ARGS): the instructions of the last stage."""
    def make(dockerfile, *args):
        space = make_space(dockerfile)
        return spaceport("build", "--plan", "--json", *args, space).json["stages"][-1][
            "instructions"]
    return make


@pytest.fixture
def command(plan):
    """command(TEXT): what the first RUN of a Dockerfile FROM scratch hands to the shell."""
    def make(text, head=""):
        step = next(i for i in plan(head + "FROM scratch\n" + text) if i["instruction"] == "RUN")
        assert step["command"][:2] == ["/bin/sh", "-c"]
        return step["command"][2]
    return make


@pytest.fixture
def refused(spaceport, make_space):
    def make(dockerfile, *says, args=()):
        return spaceport("build", "--plan", *args, make_space(dockerfile)).failed(1, says=says)
    return make


@pytest.fixture
def build(spaceport, make_space):
    def make(dockerfile, *args):
        return spaceport.build(make_space(dockerfile), *args).ok()
    return make


def environment(step):
    return dict(pair.split("=", 1) for pair in step["env"])


# ---- Parsing ----

def test_point_01_a_blank_line_or_a_comment_ends_the_directives(command, refused):
    assert command("RUN a \\\n b", head="# comment\n# syntax=evil/x\n# escape=`\n") == "a  b"
    assert command("RUN a \\\n b", head="\n# syntax=evil/x\n") == "a  b"
    assert command("RUN a `\n b", head="#  EsCaPe = `\n\n# syntax=evil/x\n") == "a  b"
    refused("# check=skip=all\n# syntax=evil/x\nFROM scratch\n", "Dockerfile:2", "evil/x")
    refused("# escape=`\n# escape=`\nFROM scratch\n", "Dockerfile:2", "twice")


def test_point_02_comments_between_continuations(command):
    assert command("RUN echo a \\\n# comment\nb") == "echo a b"
    assert command("RUN echo a \\\n  # comment \\\nb\nRUN c") == "echo a b"


def test_point_03_blank_lines_do_not_end_a_continued_run(command):
    assert command("RUN echo a \\\n\n  \n\nb\nRUN c") == "echo a b"


def test_point_04_a_continuation_keeps_leading_blanks(command):
    assert command("RUN a\\\n   b") == "a   b"
    assert command("  RUN a\\\n\tb") == "a\tb"


def test_point_05_an_escaped_escape_does_not_continue(plan):
    steps = plan("FROM scratch\nRUN echo a \\\\\nRUN b\n")
    assert [step["command"][2] for step in steps] == ["echo a \\\\", "b"]


def test_point_06_bad_json_is_shell_form_and_other_json_is_an_error(plan, refused):
    steps = plan("FROM scratch\nRUN ['a', 'b']\nRUN [\"a\", \"b\"]\nRUN [\"a\" \"b\"]\nCMD []x\n")
    assert steps[0]["command"] == ["/bin/sh", "-c", "['a', 'b']"]
    assert steps[1]["command"] == ["a", "b"]
    assert steps[2]["command"] == ["/bin/sh", "-c", '["a" "b"]']
    assert steps[3]["arguments"] == ["/bin/sh", "-c", "[]x"]
    refused("FROM scratch\nRUN [\"a\", 1]\n", "Dockerfile:2", "strings only")


def test_point_07_the_old_form_of_env_is_one_variable(plan):
    steps = plan("FROM scratch\nENV ONE TWO= THREE=x\nENV A  b  c\n")
    assert steps[0]["arguments"] == ["ONE=TWO= THREE=x"]
    assert steps[1]["arguments"] == ["A=b  c"]


def test_point_08_flags_may_be_quoted_and_end_at_two_dashes(plan):
    steps = plan("FROM scratch\nCOPY --chown=\"1:2\" --chmod=\\644 -- README.md /\n"
                 "RUN -- --mount=x\n")
    assert steps[0]["flags"] == {"chown": "1:2", "chmod": "644"}
    assert steps[0]["sources"] == ["/README.md"]
    assert steps[1]["command"][2] == "--mount=x" and not steps[1]["mounts"]


def test_point_09_quotes_do_not_join_words_of_copy(spaceport, make_space, plan, refused):
    # Three words, of which the first two are half a quote each.
    refused('FROM scratch\nCOPY "a b" c/\n', "Dockerfile:2:6", "double-quote")
    steps = plan("FROM scratch\nCOPY \"README.md\" Dockerfile c/\n")
    assert steps[0]["sources"] == ["/README.md", "/Dockerfile"]
    space = make_space('FROM scratch\nCOPY ["a b", "c/"]\n', {"a b": "3"})
    step = spaceport("build", "--plan", "--json", space).json["stages"][0]["instructions"][0]
    assert step["sources"] == ["/a b"]


def test_point_10_case_of_instructions_and_stage_names(spaceport, make_space, refused):
    space = make_space("from scratch As Base\ncOpy README.md /\nFROM base\n"
                       "COPY --from=BASE README.md /x\n")
    plan = spaceport("build", "--plan", "--json", space).json
    assert plan["stages"][0]["name"] == "base"
    assert plan["stages"][1]["from"] == {"kind": "stage", "stage": 0}
    assert plan["stages"][1]["instructions"][0]["from"] == {"kind": "stage", "stage": 0}
    # The base is looked up as typed: this is an image, whose name is not even possible.
    refused("FROM scratch AS base\nFROM Base\n", "Dockerfile:2", "Base")


def test_a_frontend_is_named_by_argument(spaceport, make_space):
    space = make_space("# syntax=evil/x\nFROM scratch\nCOPY README.md /\n")
    spaceport.build(space).failed(1, says=["Dockerfile:1:10", "evil/x"])
    spaceport.build(space, "--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1-labs").ok()
    spaceport.build(space, "--build-arg", "BUILDKIT_SYNTAX=evil/y").failed(1, says=["evil/y"])


def test_an_agent_that_nobody_gave(spaceport, make_space, build):
    """As in BuildKit when it is called without --ssh: the variable is there, the socket not."""
    mount = "--mount=type=ssh"
    build(BUSYBOX + f'RUN {mount} {mount},target=/agent test ! -e /agent && '
          'test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0 && test ! -e /run/buildkit\n')
    space = make_space(BUSYBOX + f"RUN {mount},required x\n")
    spaceport.build(space).failed(1, says=["Dockerfile:2", "ssh-agent default is required"])


OPERATORS = {"--network=host": "network.host is not allowed",
             "--security=insecure": "security.insecure is not allowed",
             "--device=vendor.com/x=y": "RUN --device is not supported"}


def test_what_only_operators_grant_is_refused(refused):
    for flag, says in OPERATORS.items():
        refused(f"{BUSYBOX}RUN {flag} x\n", "Dockerfile:2:", says)
        refused(f"FROM busybox:latest AS a\nONBUILD RUN {flag} x\nFROM a\n", "Dockerfile:", says)


def test_triggers_of_an_image_are_granted_no_more(spaceport, make_space, refused):
    for number, (flag, says) in enumerate(OPERATORS.items()):
        base = make_space(f"{BUSYBOX}COPY README.md /\nONBUILD RUN {flag} x\n")
        spaceport.build(base, "-t", f"not-granted-{number}").ok()
        refused(f"FROM not-granted-{number}\n", "Dockerfile:1", says)


def test_switches_in_arguments(build, plan, refused):
    build(BUSYBOX + "RUN test \"$(hostname)\" = other\n",
          "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=other")
    text = "FROM scratch\nRUN --mount=type=cache,target=/c x\n"
    plain, named = plan(text)[0], plan(text, "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=h")[0]
    assert plain["key"] != named["key"]
    step = plan(text, "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine")[0]
    assert step["mounts"][0]["id"] == "mine//c"
    refused(text, "host name", args=("--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=a b"))


# ---- Variables and arguments ----

def test_point_11_pairs_of_one_env_see_the_old_values(plan):
    steps = plan("FROM scratch\nENV a=1\nENV a=2 b=$a\nENV c=$a$b\n")
    assert steps[1]["arguments"] == ["a=2", "b=1"]
    assert steps[2]["arguments"] == ["c=21"]


def test_point_12_env_and_arg_are_inherited_by_child_stages(build, spaceport, make_space):
    base = make_space(BUSYBOX + "ENV FROM_IMAGE=1\n")
    spaceport.build(base, "-t", "point-12").ok()
    build("FROM point-12 AS parent\nARG ARG_OF_PARENT=2\nENV ENV_OF_PARENT=3\n"
          "FROM parent\nRUN test $FROM_IMAGE$ARG_OF_PARENT$ENV_OF_PARENT = 123\n"
          "FROM point-12 AS other\nRUN test -z \"${ARG_OF_PARENT+set}${ENV_OF_PARENT+set}\"\n")


def test_point_13_global_args_are_seen_after_they_are_declared_again(plan):
    head = "ARG G=global\nFROM scratch\n"
    steps = plan(head + "ENV a=$G\nARG G\nENV b=$G\nARG G=own\nENV c=$G\n")
    assert [step["arguments"] for step in steps if step["instruction"] == "ENV"] == [
        ["a="], ["b=global"], ["c=own"]]


def test_point_14_a_declared_arg_without_value_is_absent(build):
    build(BUSYBOX + "ARG NONE\nARG EMPTY=\n"
          "RUN test -z \"${NONE+set}\" && test \"${EMPTY+set}\" = set && test -z \"$EMPTY\"\n")


def test_point_15_values_of_the_request_are_not_expanded(plan):
    steps = plan("ARG G\nFROM scratch\nENV X=1\nARG A=$X B=$X\nARG G\n",
                 "--build-arg", "A=$X", "--build-arg", "G=${X}")
    assert steps[1]["arguments"] == ["A=$X", "B=1"]
    assert steps[2]["arguments"] == ["G=${X}"]


def test_point_16_the_last_of_env_and_arg_wins(build, plan):
    build(BUSYBOX + "ENV A=env\nARG A=arg\nRUN test $A = arg\nENV A=again\nRUN test $A = again\n"
          "ARG B=arg\nENV B=env\nRUN test $B = env\n")
    steps = plan("FROM scratch\nENV A=env\nARG A=arg\nENV C=$A\nRUN x\n")
    assert steps[2]["arguments"] == ["C=arg"]
    assert environment(steps[3])["A"] == "arg"


def test_point_16_the_configuration_keeps_env(spaceport, make_space):
    space = make_space("FROM scratch\nENV A=env\nARG A=arg\nCOPY README.md /\n")
    spaceport.build(space, "-t", "point-16").ok()
    config = spaceport("image", "inspect", "point-16").json["config"]
    assert [pair for pair in config["Env"] if pair.startswith("A=")] == ["A=env"]


def test_point_17_words_of_one_arg_see_those_before(plan):
    assert plan("FROM scratch\nARG a=1 b=$a c=$b$a\n")[0]["arguments"] == ["a=1", "b=1", "c=11"]


def test_point_18_a_blank_base_is_an_error_and_path_is_always_there(plan, refused):
    refused("ARG X\nFROM ${X}\nRUN x\n", "Dockerfile:2", "empty")
    refused("FROM $NOWHERE\n", "Dockerfile:1", "empty")
    default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    steps = plan("FROM scratch\nENV PATH=/x:$PATH\nRUN x\n")
    assert steps[0]["arguments"] == [f"PATH=/x:{default}"]
    assert environment(steps[1])["PATH"] == f"/x:{default}"


def test_point_19_undefined_variables_are_empty_also_in_paths(plan):
    steps = plan("FROM scratch\nCOPY README.md $UNSET/\nWORKDIR /a${UNSET}b\nENV e=$UNSET\n")
    assert steps[0]["destination"] == "/" and steps[0]["into_directory"]
    assert steps[1]["workdir"] == "/ab"
    assert steps[2]["arguments"] == ["e="]
