# SPDX-License-Identifier: Apache-2.0
"""ADD of git repositories, from a server on loopback that speaks as real ones do."""

import base64

import pytest
from git_server import GitServer

FROM_BUSYBOX = "FROM busybox:latest\n"
AS_HOST = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}
TOKEN = "token-that-nobody-may-see"


@pytest.fixture
def server(tmp_path):
    with GitServer(tmp_path) as running:
        yield running


@pytest.fixture
def build(spaceport, make_space):
    def run(dockerfile, *args, env=None, program=spaceport, **how):
        return program.build(make_space(dockerfile), *args, env=AS_HOST | (env or {}), **how)

    return run


@pytest.fixture
def repository(server):
    made = server.repository()
    made.commit({"README": "one", "bin/run": "#!/bin/sh\n", "sub/dir/file": "below"},
                links={"link": "README"})
    made.git("tag", "v1")
    made.git("tag", "-a", "-m", "annotated", "v1.1")
    made.git("checkout", "-q", "-b", "other")
    made.commit({"README": "other"})
    made.git("checkout", "-q", "main")
    made.commit({"README": "two"})
    return made


class TestRepositories:
    def test_what_comes(self, build, server, repository):
        url, commit = f"{server.url}/r.git", repository.git("rev-parse", "v1")
        lines = {url: "two", f"{url}#main": "two", f"{url}#other": "other", f"{url}#v1": "one",
                 f"{url}#v1.1": "one", f"{url}#refs/tags/v1": "one", f"{url}#{commit}": "one",
                 f"{url}?branch=other": "other", f"{url}?tag=v1": "one",
                 f"{url}?ref=v1&checksum={commit[:9]}": "one", f"{url}?commit={commit}": "one"}
        text = "".join(f"ADD {source} /d{n}\nRUN test \"$(cat /d{n}/README)\" = {what}\n"
                       for n, (source, what) in enumerate(lines.items()))
        assert build(FROM_BUSYBOX + text + """
RUN test "$(stat -c '%a %u %g' /d0/README)" = "644 0 0" && test ! -e /d0/.git
RUN test "$(stat -c %a /d0/bin/run)" = 755 && test "$(readlink /d0/link)" = README
""").image

    def test_directories_owners_and_the_git_directory(self, build, server, repository):
        url = f"{server.url}/r.git"
        assert repository.git("rev-parse", "HEAD")
        assert build(FROM_BUSYBOX + f"""
ADD {url}#main:sub /a/
RUN test "$(cat /a/dir/file)" = below && test ! -e /a/README
ADD --chown=5:6 {url}?subdir=sub/dir /b
RUN test "$(stat -c '%a %u %g' /b/file)" = "644 5 6"
ADD --keep-git-dir {url} /c
RUN test -d /c/.git/objects && test -f /c/README
ADD {url}?keep-git-dir=true#v1 /d
RUN test -f /d/.git/HEAD && test "$(cat /d/README)" = one
ADD --exclude=bin {url} /e
RUN test -f /e/README
""").image

    def test_the_commit_is_the_key(self, build, server, repository):
        url = f"{server.url}/r.git"
        commit = repository.git("rev-parse", "HEAD")
        dockerfile = FROM_BUSYBOX + f"ADD {url}#main /key\n"
        first = build(dockerfile).image
        server.requests.clear()
        result = build(dockerfile)
        assert result.image == first and "/r.git/git-upload-pack" in server.requests
        server.requests.clear()
        assert "cached" in build(FROM_BUSYBOX + f"ADD {url}#{commit} /key\n").err.lower()
        assert server.requests == []
        repository.commit({"README": "three"})
        assert build(dockerfile).image != first

    def test_checksums(self, build, server, repository):
        url = f"{server.url}/r.git"
        commit = repository.git("rev-parse", "HEAD")
        assert build(FROM_BUSYBOX + f"ADD --checksum={commit[:8]} {url}#main /x\n").image
        assert build(FROM_BUSYBOX + f"ADD --checksum={commit} {url} /x\n").image
        for wrong in ("0" * 8, "0" * 40):
            build(FROM_BUSYBOX + f"ADD --checksum={wrong} {url}#main /x\n").failed(
                1, says=["Dockerfile:2", "ADD"])

    def test_what_is_not_there(self, build, server, repository):
        assert repository.path.exists()
        for source, words in {"r.git#absent": ["absent"], "none.git": ["git ls-remote"],
                              f"r.git#{'1' * 40}": [], "r.git#main:absent": ["absent"]}.items():
            build(FROM_BUSYBOX + f"ADD {server.url}/{source} /x\n").failed(
                1, says=["Dockerfile:2", "ADD", *words])

    def test_tokens(self, build, server, repository, spaceport):
        pair = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        server.wants = f"basic {pair}"
        dockerfile = FROM_BUSYBOX + f"ADD --keep-git-dir {server.url}/r.git /token\n"
        assert repository.path.exists()
        build(dockerfile).failed(1, says=["Dockerfile:2", "GIT_AUTH_TOKEN"])
        flags = ["--secret", "id=GIT_AUTH_TOKEN"]
        result = build(dockerfile, *flags, env={"GIT_AUTH_TOKEN": TOKEN + "\n"})
        assert result.image
        assert TOKEN not in result.err and pair not in result.err
        assert not spaceport.places_of(TOKEN) and not spaceport.places_of(pair)

    def test_tokens_of_one_host(self, build, server, repository):
        assert repository.path.exists()
        host = "127.0.0.1"
        server.wants = "Bearer own"
        dockerfile = FROM_BUSYBOX + f"ADD {server.url}/r.git /host-token\n"
        assert build(dockerfile, "--secret", f"id=GIT_AUTH_HEADER.{host},env=OWN",
                     "--secret", "id=GIT_AUTH_HEADER,env=OTHER",
                     env={"OWN": "Bearer own", "OTHER": "Bearer other"}).image
        server.authorizations.clear()
        server.wants = None
        assert build(FROM_BUSYBOX + f"ADD {server.url}/r.git /no-token\n",
                     "--secret", "id=GIT_AUTH_TOKEN.example.org,env=OTHER",
                     env={"OTHER": "x"}).image
        assert set(server.authorizations) == {None}

    def test_submodules_only_when_asked_for(self, build, server, repository):
        inner = server.repository("inner")
        inner.commit({"inner": "inner"})
        repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
                       f"{server.url}/inner.git", "mod")
        repository.git("commit", "-q", "-m", "with a module")
        url = f"{server.url}/r.git"
        result = build(FROM_BUSYBOX + f"""
ADD {url} /without
RUN test -d /without/mod && test ! -e /without/mod/inner
ADD {url}?submodules=true /with
RUN test "$(cat /with/mod/inner)" = inner && test ! -e /with/mod/.git
""")
        assert result.image and "?submodules=true" in result.err
