# SPDX-License-Identifier: Apache-2.0
"""`spaceport build --check` and the warnings of a build: BuildKit's rules, names and texts."""

import base64
import json

import pytest

CMD_TEXT = ("JSON arguments recommended for CMD to prevent unintended behavior related to OS "
            "signals")
URL = "https://docs.docker.com/go/dockerfile/rule/"


def warnings_of(result):
    """What the checks said; limits that a host cannot enforce are another matter."""
    return [line for line in result.err.splitlines()
            if line.startswith("warning:") and "limits" not in line]


def test_a_clean_file(spaceport, make_space):
    space = make_space("FROM nowhere.invalid/image:1 AS base\nCMD [\"true\"]\n")
    result = spaceport("build", "--check", space).ok()
    assert result.out == "Check complete, no warnings found.\n"


def test_findings_as_docker_prints_them(spaceport, make_space):
    space = make_space("FROM scratch\n\nCOPY README.md /\nCMD node index.js\n")
    blank = " " * 5  # where the marks of other lines stand
    result = spaceport("build", "--check", space).failed(1, says=["1 warning"])
    assert result.out == f"""Check complete, 1 warning has been found!

WARNING: JSONArgsRecommended - {URL}json-args-recommended/
{CMD_TEXT}
{space}/Dockerfile:4
--------------------
   2 |{blank}
   3 |     COPY README.md /
   4 | >>> CMD node index.js
   5 |{blank}
--------------------
"""


def test_findings_as_json(spaceport, make_space):
    text = "FROM scratch as a\nCMD x \\\n  y\n"
    space = make_space(text)
    result = spaceport("build", "--check", "--json", space).failed(1)
    found = json.loads(result.out)
    assert [warning["ruleName"] for warning in found["warnings"]] == [
        "FromAsCasing", "JSONArgsRecommended"]
    assert found["warnings"][1] == {
        "ruleName": "JSONArgsRecommended",
        "description": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended "
                       "behavior related to OS signals",
        "url": URL + "json-args-recommended/",
        "detail": CMD_TEXT,
        "location": {"sourceIndex": 0, "ranges": [{"start": {"line": 2}, "end": {"line": 3}}]},
    }
    assert base64.b64decode(found["sources"][0]["data"]).decode() == text
    assert "buildError" not in found


def test_an_error_comes_with_the_findings(spaceport, make_space):
    space = make_space("FROM scratch as a\nCOPY --from=$x / /\n")
    result = spaceport("build", "--check", space).failed(1, says=["Dockerfile:2"])
    assert "FromAsCasing" in result.out
    found = json.loads(spaceport("build", "--check", "--json", space).failed(1).out)
    assert "Dockerfile:2" in found["buildError"]["message"]


@pytest.mark.parametrize(("check", "args", "rules"), [
    ("", (), ["FromAsCasing", "MaintainerDeprecated"]),
    ("# check=skip=FromAsCasing\n", (), ["MaintainerDeprecated"]),
    ("# check=skip=all\n", (), []),
    ("# check=skip=all\n", ("skip=MaintainerDeprecated",), ["FromAsCasing"]),
    ("", ("experimental=all",),
     ["FromAsCasing", "InvalidDefinitionDescription", "MaintainerDeprecated"]),
])
def test_which_rules_are_on(spaceport, make_space, check, args, rules):
    space = make_space(check + "ARG x\n# about it\nFROM scratch as a\nMAINTAINER me\n")
    options = [f"--build-arg=BUILDKIT_DOCKERFILE_CHECK={arg}" for arg in args]
    result = spaceport("build", "--check", "--json", *options, space)
    assert result.code == (1 if rules else 0)
    assert [warning["ruleName"] for warning in json.loads(result.out)["warnings"]] == rules


def test_an_ignored_file(spaceport, make_space):
    space = make_space("FROM scratch\nCOPY notes.txt /\n",
                       {"notes.txt": "x", ".dockerignore": "*.txt\n"})
    result = spaceport("build", "--check", space).failed(1)
    assert 'Attempting to Copy file "notes.txt" that is excluded by .dockerignore' in result.out


def test_a_base_that_is_here_is_known(spaceport, make_space):
    base = make_space("FROM scratch\nENV SET_BY_BASE=1\nCOPY README.md /\n")
    spaceport("build", "-t", "check-base", base).ok()
    space = make_space("FROM check-base\nENV A=$SET_BY_BASE B=$NOT_SET_BY_BASE\n")
    result = spaceport("build", "--check", space).failed(1)
    assert "1 warning has been found" in result.out
    assert "Usage of undefined variable '$NOT_SET_BY_BASE'" in result.out


def test_a_build_warns_once_and_shortly(spaceport, make_space):
    space = make_space("FROM scratch\nENV API_KEY=x\nCMD x\n")
    result = spaceport("build", space).ok()
    assert warnings_of(result) == [
        'warning: SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data '
        '(ENV "API_KEY") (line 2)',
        f"warning: JSONArgsRecommended: {CMD_TEXT} (line 3)",
    ]


def test_a_build_looks_at_what_it_builds(spaceport, make_space):
    space = make_space("FROM scratch AS unused\nCMD x\nFROM scratch\nCOPY README.md /\n")
    assert not warnings_of(spaceport("build", space).ok())
    spaceport("build", "--check", space).failed(1)
    spaceport("build", "--check", "--target", "1", space).ok()
    spaceport("build", "--check", "--target", "unused", space).failed(1)


def test_error_true_fails_the_build(spaceport, make_space):
    space = make_space("# check=error=true\nFROM scratch\nCOPY README.md /\nCMD x\n")
    spaceport("build", space).failed(
        1, says=["Dockerfile:1", "lint violation found for rules: JSONArgsRecommended"])
    option = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=error=false"
    spaceport("build", option, space).ok()


def test_a_malformed_option(spaceport, make_space):
    space = make_space("# check=errors=true\nFROM scratch\nCOPY README.md /\n")
    spaceport("build", space).failed(1, says=['invalid check option "errors=true"'])
    spaceport("build", "--check", space).failed(1, 2, says=["invalid check option"])
