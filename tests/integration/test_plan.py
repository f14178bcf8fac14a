# SPDX-License-Identifier: Apache-2.0
"""`spaceport build --plan --json` against its schema, docs/plan.schema.json."""

import json

import jsonschema
import pytest
from conftest import ROOT

EVERYTHING = r"""# syntax=docker/dockerfile:1
ARG TAG=latest
FROM busybox:$TAG AS tools
FROM --platform=$BUILDPLATFORM scratch AS base
LABEL a=b c="d e"
ARG FIRST=1 SECOND=$FIRST UNSET
ENV X=$SECOND Y="two words"
WORKDIR app
COPY --from=tools --chown=1:2 --chmod=u+x /bin/busybox tool*/ /bin/
COPY --exclude=*.md <<EOF <<"RAW" README.md docs/
value $X
EOF
value $X
RAW
ADD --chown=5 README.md ./
USER 5:6
RUN --mount=type=cache,id=c,target=cache,sharing=locked,uid=5,mode=0700 \
    --mount=type=secret,id=s,env=S --mount=type=secret,id=t,target=/t,required=false \
    --mount=type=tmpfs,target=/t2,size=1024 --mount=source=README.md,target=/r \
    --mount=from=tools,target=/x --network=none ["tool", "$X"]
RUN <<EOF
#!/bin/sh
echo $X
EOF
EXPOSE 80 90-92/udp
VOLUME /v ["/w"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=2 CMD true || false
ONBUILD RUN echo child
MAINTAINER somebody
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT run it
CMD ["--now"]
FROM base
HEALTHCHECK NONE
CMD []
"""


@pytest.fixture(scope="session")
def schema():
    text = json.loads((ROOT / "docs/plan.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(text)
    return text


@pytest.fixture(scope="session")
def validate(schema):
    """Also that the schema knows each field, which it does not ask of other programs' plans."""
    parts = {"run", "copy", "setting"}  # of an instruction, which has more
    for name, part in schema["$defs"].items():
        if part.get("type") == "object" and name not in parts:
            part["unevaluatedProperties"] = False
    schema["unevaluatedProperties"] = False
    return jsonschema.Draft202012Validator(schema).validate


def instructions(plan, stage=-1):
    return plan["stages"][stage]["instructions"]


@pytest.mark.parametrize("name", sorted(
    path.parent.name for path in (ROOT / "examples").glob("*/Dockerfile")))
def test_examples(spaceport, example, validate, name):
    plan = spaceport("build", "--plan", "--json", example(name)).json
    validate(plan)
    assert any(i["instruction"] in ("RUN", "COPY") for i in instructions(plan))


def test_every_construct(spaceport, make_space, validate):
    space = make_space(EVERYTHING)
    plan = spaceport("build", "--plan", "--json", space).json
    validate(plan)
    seen = {i["instruction"] for stage in plan["stages"] for i in stage["instructions"]}
    assert seen == {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK",
                    "LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER",
                    "VOLUME", "WORKDIR"}
    base = {i["line"]: i for i in instructions(plan, 1)}
    assert base[6]["arguments"] == ["FIRST=1", "SECOND=1", "UNSET"]
    assert base[9]["from"] == {"kind": "stage", "stage": 0}
    assert base[9]["flags"] == {"chown": "1:2", "chmod": "u+x"}
    assert base[10]["heredocs"] == [{"name": "EOF", "content": "value 1\n"},
                                    {"name": "RAW", "content": "value $X\n"}]
    run = base[17]
    assert run["command"] == ["tool", "$X"] and run["user"] == "5:6" and run["workdir"] == "/app"
    assert [mount["type"] for mount in run["mounts"]] == [
        "cache", "secret", "secret", "tmpfs", "bind", "bind"]
    child = instructions(plan)
    assert child[0]["onbuild"] and child[0]["command"] == ["/bin/sh", "-ec", "echo child"]


def test_a_host_name(spaceport, make_space, validate):
    space = make_space("FROM scratch\nRUN x\n")
    plan = spaceport("build", "--plan", "--json", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=h",
                     space).json
    validate(plan)
    assert instructions(plan)[0]["hostname"] == "h"


def test_a_plan_of_other_programs_may_have_more(schema):
    plain = json.loads((ROOT / "docs/plan.schema.json").read_text())
    plan = {"version": 1, "dockerfile": "d", "target": 0, "images": [], "more": 1, "stages": [
        {"stage": 0, "name": "", "line": 1, "base": "scratch", "from": {"kind": "scratch"},
         "platform": "linux/amd64", "instructions": [], "more": 1}]}
    jsonschema.Draft202012Validator(plain).validate(plan)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(plain).validate({**plan, "version": 2})


def test_cached_after_a_build(fresh_spaceport, make_space, validate):
    space = make_space("FROM scratch\nENV A=1\nCOPY README.md /\nWORKDIR /x\n")
    before = fresh_spaceport("build", "--plan", "--json", space).json
    assert [i["cached"] for i in instructions(before)] == [None, False, False]
    fresh_spaceport("build", space).ok()
    after = fresh_spaceport("build", "--plan", "--json", space).json
    validate(after)
    assert [i["cached"] for i in instructions(after)] == [None, True, True]
    assert [i["key"] for i in instructions(after)] == [i["key"] for i in instructions(before)]


def test_the_plan_for_people(fresh_spaceport, make_space):
    space = make_space("FROM scratch AS a\nENV A=1\nCOPY README.md /\nFROM nowhere/image:1\n"
                       "COPY --from=a / /\n")
    assert fresh_spaceport("build", "--plan", space).ok().out == """a: FROM scratch
  run     [a 1/1] COPY README.md /
stage-1: FROM nowhere/image:1  (would be pulled)
  run     [stage-1 2/2] COPY --from=a / /
"""
