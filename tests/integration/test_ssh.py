# SPDX-License-Identifier: Apache-2.0
"""RUN --mount=type=ssh: real agents, with keys made on the spot."""

import contextlib
import os
import signal
import subprocess
import time
import uuid

import leaks
import pytest

# Asks as ssh-add and ssh do: the answer's kind and how many keys there are.
CLIENT = b"""#!/usr/bin/python3
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[2] if len(sys.argv) > 2 else os.environ["SSH_AUTH_SOCK"])
def ask(body):
    s.sendall(struct.pack(">I", len(body)) + body)
    head = s.recv(5, socket.MSG_WAITALL)
    if len(head) < 5:
        sys.exit("the agent has gone")
    return head[4], s.recv(struct.unpack(">I", head[:4])[0] - 1, socket.MSG_WAITALL)
def take(data):
    n, = struct.unpack(">I", data[:4])
    return data[4:4 + n], data[4 + n:]
def keys():
    kind, data = ask(bytes([11]))
    assert kind == 12, kind
    return struct.unpack(">I", data[:4])[0], data[4:]
what = sys.argv[1]
if what == "count":
    print("keys:", keys()[0])
elif what == "sign":
    blob, _ = take(keys()[1])
    body = b"".join(struct.pack(">I", len(p)) + p for p in (blob, b"data"))
    kind, data = ask(bytes([13]) + body + bytes(4))
    assert kind == 14 and len(take(take(data)[0])[0]) > 4, kind
elif what == "remove":
    assert ask(bytes([19]))[0] == 5
    print("keys:", keys()[0])
elif what == "huge":
    s.sendall(struct.pack(">I", 1 << 31))
    assert s.recv(1) == b""
elif what == "many":
    others = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for other in others[:30]:
        other.connect(os.environ["SSH_AUTH_SOCK"])
    for other in others:
        other.close()
    s.close()
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["SSH_AUTH_SOCK"])
    print("keys:", keys()[0])
elif what == "die":
    assert keys()[0] == 1
    print("READY", flush=True)
    while True:
        ask(bytes([11]))
"""
HEAD = "FROM python:3.13-slim\nCOPY ask /ask\nARG ONCE\n"


@contextlib.contextmanager
def running_agent(account, folder, keys=1):
    home = folder / f"agent-{uuid.uuid4().hex[:8]}"
    home.mkdir()
    path = home / "socket-of-the-agent"
    for i in range(keys):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / f"key{i}"],
                       check=True)
    account.owns(home)
    other = {} if account.uid == os.geteuid() else {
        "user": account.uid, "group": account.gid, "extra_groups": []}
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, **other)
    leaks.started.add(agent.pid)
    try:
        while not path.exists():
            time.sleep(0.02)
        for i in range(keys):
            subprocess.run(["ssh-add", "-q", home / f"key{i}"], check=True, **other,
                           env={"SSH_AUTH_SOCK": str(path), "PATH": os.environ["PATH"]})
        yield path, agent
    finally:
        agent.kill()
        agent.wait()
        subprocess.run(["rm", "-rf", home], check=True)


@pytest.fixture
def agent(account, folder):
    with running_agent(account, folder) as both:
        yield both


@pytest.fixture
def build(spaceport, make_space):
    """build(STEPS, *ARGS): its steps are of this test alone."""
    def run(steps, *args, **how):
        space = make_space(HEAD + steps, {"ask": CLIENT})
        return spaceport.build(space, "--build-arg", f"ONCE={uuid.uuid4().hex}", *args, **how)
    return run


def test_the_default_agent(spaceport, build, agent):
    path, _ = agent
    built = build("""RUN --mount=type=ssh /ask count && /ask sign && /ask remove \\
 && test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0 \\
 && test "$(stat -c %u:%g:%a $SSH_AUTH_SOCK)" = 0:0:600
RUN test -z "$SSH_AUTH_SOCK" && test ! -e /run/buildkit
""", "--ssh", "default", env={"SSH_AUTH_SOCK": str(path)}).ok()
    assert built.err.count("keys: 1") == 2
    assert path.name not in built.err and spaceport.places_of(path.name) == []


def test_agents_with_names_and_owners(build, agent, account, folder):
    path, _ = agent
    with running_agent(account, folder, keys=2) as (second, _):
        built = build("""USER 1500:1600
RUN --mount=type=cache,target=/tmp/c --mount=type=ssh,id=one,uid=1500,gid=1600,mode=0640 \\
 --mount=type=ssh,id=two,target=/there,uid=1500 \\
 /ask count && /ask count /there && test "$SSH_AUTH_SOCK" = /run/buildkit/ssh_agent.0 \\
 && test "$(stat -c %u:%g:%a $SSH_AUTH_SOCK)" = 1500:1600:640
""", "--ssh", f"one={path}", "--ssh", f"two={second}").ok()
        assert "keys: 1" in built.err and "keys: 2" in built.err
        # Root's socket with mode 0600 is not for others.
        denied = build("USER 1500\nRUN --mount=type=ssh,id=one /ask count\n", "--ssh",
                       f"one={path}")
        denied.failed(1, says=["Permission denied"])


def test_stages_at_the_same_time(build, agent):
    path, _ = agent
    both = "".join(f"""FROM python:3.13-slim AS {name}
COPY ask /ask
ARG ONCE
RUN --mount=type=ssh /ask count > /{name}
""" for name in "ab")
    assert build(both + """FROM a
COPY --from=b /b /b
RUN test "$(cat /a)" = "$(cat /b)"
""", "--ssh", f"default={path}").image


def test_without_an_agent(build):
    build('RUN --mount=type=ssh test ! -e "$SSH_AUTH_SOCK"\n').ok()
    build("RUN --mount=type=ssh,required true\n").failed(
        1, says=["Dockerfile:4", "ssh-agent default is required", "--ssh default"])


def test_which_agent_is_no_part_of_the_key(spaceport, make_space, agent):
    space = make_space(HEAD + "RUN --mount=type=ssh head -c 9 /dev/urandom > /r\n", {"ask": CLIENT})
    first = spaceport.build(space, "--ssh", f"default={agent[0]}").image
    assert spaceport.build(space).image == first


@pytest.mark.parametrize("what", ["huge", "many"])
def test_a_step_that_misuses_it(build, agent, what):
    build(f"RUN --mount=type=ssh /ask {what}\n", "--ssh", f"default={agent[0]}").ok()


def test_the_agent_dies_in_the_middle(spaceport, make_space, agent):
    path, process = agent
    space = make_space(HEAD + "RUN --mount=type=ssh /ask die\n", {"ask": CLIENT})
    started = spaceport.start("build", "--build-arg", f"ONCE={uuid.uuid4().hex}", "--ssh",
                              f"default={path}", space)
    started.wait_for(lambda: "READY" in started.err, "talk with the agent")
    process.kill()
    started.wait(60).failed(1, says=["the agent has gone"])


def test_a_build_that_is_stopped_leaves_nothing(spaceport, make_space, agent):
    space = make_space(HEAD + "RUN --mount=type=ssh /ask die\n", {"ask": CLIENT})
    for number in (signal.SIGINT, signal.SIGKILL):
        started = spaceport.start("build", "--build-arg", f"ONCE={uuid.uuid4().hex}", "--ssh",
                                  f"default={agent[0]}", space)
        started.wait_for(lambda started=started: "READY" in started.err, "talk with the agent")
        started.signal(number)
        started.wait(60)
    spaceport.build(make_space("FROM busybox:latest\nRUN true\n"), "--no-cache").ok()


def test_what_is_no_agent(spaceport, make_space, folder):
    space = make_space("FROM scratch\n")
    key = folder / "a-key"
    key.write_text("not read")
    key.chmod(0o644)
    for value, says in (("default", "SSH_AUTH_SOCK is not set"), (f"default={key}", "ssh-add"),
                        ("x=/nowhere", "/nowhere"), ("=/x", "an id is missing")):
        spaceport.build(space, "--ssh", value).failed(1, 2, says=["--ssh", says])
    key.unlink()
