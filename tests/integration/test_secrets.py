# SPDX-License-Identifier: Apache-2.0
"""Secrets: given to the step or the container that asks, and found nowhere afterwards."""

import hashlib
import json
import uuid
from pathlib import Path

import pytest
from program import NOT_IN_IMAGE, find

STEP = "RUN --mount=type=secret,id=TOKEN{options} {command}\n"


@pytest.fixture
def secret():
    return "s3cr3t-" + uuid.uuid4().hex


@pytest.fixture
def no_trace(spaceport, secret):
    """After the test, the secret is in no file of the store and no temporary file."""
    yield
    assert not spaceport.places_of(secret)


def step(command, options=""):
    return "FROM busybox:latest\n" + STEP.format(options=options, command=command)


def quiet(result, secret):
    """The result, once neither its output nor its story holds the secret."""
    assert secret not in result.out and secret not in result.err
    return result


def test_from_the_environment(spaceport, make_space, secret, no_trace):
    sum_of_it = hashlib.sha256(secret.encode()).hexdigest()
    space = make_space(step(f"sha256sum < /run/secrets/TOKEN | grep -q {sum_of_it}"))
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret})
    assert quiet(result, secret).image


def test_from_another_variable(spaceport, make_space, secret, no_trace):
    space = make_space(step(f"test \"$(wc -c < /run/secrets/TOKEN)\" = {len(secret)}"))
    result = spaceport.build(space, "--secret", "id=TOKEN,env=OTHER", env={"OTHER": secret})
    assert quiet(result, secret).image


def test_from_a_file(spaceport, make_space, secret, no_trace, folder, account):
    file = folder / f"secret-{account.name}"
    file.write_bytes(secret.encode() + b"\0\xff\n")
    file.chmod(0o600)
    account.owns(file)
    space = make_space(step(f"test \"$(wc -c < /run/secrets/TOKEN)\" = {len(secret) + 3}"))
    result = spaceport.build(space, "--secret", f"id=TOKEN,src={file}")
    file.unlink()
    assert quiet(result, secret).image


def test_as_a_variable_of_the_step(spaceport, make_space, secret, no_trace):
    space = make_space("FROM busybox:latest\nRUN --mount=type=secret,id=TOKEN,env=INSIDE "
                       f"test ${{#INSIDE}} = {len(secret)} && test ! -e /run/secrets/TOKEN\n"
                       "RUN test -z \"$INSIDE\"\n")
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret})
    assert quiet(result, secret).image


def test_mode_owner_and_place(spaceport, make_space, secret, no_trace):
    space = make_space("FROM busybox:latest\nUSER 1000\n"
                       + STEP.format(options=",mode=0444",
                                     command="cat /run/secrets/TOKEN > /dev/null")
                       + STEP.format(options="",
                                     command="! cat /run/secrets/TOKEN 2> /dev/null")
                       + STEP.format(options=",uid=1000,mode=0400,target=/tmp/key",
                                     command="test \"$(stat -c %u:%a /tmp/key)\" = 1000:400"))
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret})
    assert quiet(result, secret).image


def test_only_the_step_that_asks_sees_it(spaceport, make_space, secret, no_trace):
    space = make_space(step("test -s /run/secrets/TOKEN")
                       + "RUN test ! -e /run/secrets/TOKEN && ! env | grep s3cr3t\n"
                       + "FROM busybox:latest\nCOPY --from=0 / /image\n"
                       + "RUN test ! -e /image/run/secrets/TOKEN\n"
                       + NOT_IN_IMAGE.format(text="s3cr3t"))
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret})
    assert quiet(result, secret).image


def test_it_lies_on_tmpfs(spaceport, make_space, secret, no_trace):
    space = make_space(step("grep -q ' /run/secrets/TOKEN tmpfs ' /proc/mounts"))
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret})
    assert quiet(result, secret).image


def test_a_missing_one_is_left_out_unless_required(spaceport, make_space):
    assert spaceport.build(make_space(step("test ! -e /run/secrets/TOKEN"))).image
    required = make_space(step("true", ",required=true"))
    spaceport.build(required).failed(1, says=["Dockerfile:2", "TOKEN"])


def test_another_value_makes_no_other_layer(fresh_spaceport, make_space, secret):
    """A secret is no part of a cache key: else the key would tell something of it."""
    space = make_space(step("echo ran-$((40+2))"))
    stories = [fresh_spaceport.build(space, "--progress", "plain", "--secret", "id=TOKEN",
                                     env={"TOKEN": value}).ok().err for value in (secret, "other")]
    assert ["ran-42" in story for story in stories] == [True, False]
    assert not fresh_spaceport.places_of(secret)


def test_a_failing_step_does_not_repeat_it(spaceport, make_space, secret):
    space = make_space(step("exit 5"))
    result = spaceport.build(space, "--secret", "id=TOKEN", env={"TOKEN": secret}).failed(1)
    quiet(result, secret)
    assert not spaceport.places_of(secret)


@pytest.mark.parametrize("text", ["nonsense", "id=", "id=A,src=/no/such/file", "id=A,other=1",
                                  "id=A,env=NOT_SET", "id=../escape,env=PATH"])
def test_wrong_secret_arguments(spaceport, make_space, text):
    space = make_space("FROM scratch\nCOPY Dockerfile /\n")
    spaceport.build(space, "--secret", text).failed(2, says=["secret"])


def test_of_a_running_space(spaceport, running_space, make_space, secret):
    space_dir = make_space("FROM busybox:latest\nCMD [\"sh\", \"-c\", "
                           "\"test -n \\\"$TOKEN\\\" && exec httpd -f -p 7860 -h /\"]\n")
    with running_space("--secret", "TOKEN", space_dir, env={"TOKEN": secret}) as space:
        assert secret not in space.log
        listed = spaceport("ps", "--json").ok()
        assert secret not in listed.out
        name = spaceport("ps").ok().out.splitlines()[1].split()[0]
        assert secret not in spaceport("logs", name).ok().out
        assert secret not in Path(f"/proc/{space.process.popen.pid}/cmdline").read_text()
    assert not spaceport.places_of(secret)


def test_build_arguments_are_not_secret_but_stay_out_of_env(spaceport, make_space, secret):
    space = make_space("FROM busybox:latest\nARG KEY\nRUN test -n \"$KEY\"\n")
    image = spaceport.build(space, "--build-arg", f"KEY={secret}").image
    config = spaceport("image", "inspect", image).json
    assert secret not in json.dumps(find(config, "Env"))
