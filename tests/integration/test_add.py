# SPDX-License-Identifier: Apache-2.0
"""ADD of URLs: what is asked, what is kept, and what a build does when it gets no answer."""

import hashlib
import signal
import subprocess
import time

import pytest
from archives import PACKERS, tar
from file_server import MODIFIED_SECONDS, FileServer
from git_server import GitServer

FROM_BUSYBOX = "FROM busybox:latest\n"
# The server of these tests is on the host's loopback, which builds reach only if they may.
AS_HOST = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}


@pytest.fixture
def server():
    with FileServer() as running:
        yield running


@pytest.fixture
def build(fresh_spaceport, make_space):
    """build(DOCKERFILE, *ARGS): with an empty store at first."""
    spaces = {}

    def run(dockerfile, *args, env=None, **how):
        space = spaces.setdefault(dockerfile, make_space(dockerfile))
        return fresh_spaceport.build(space, *args, env=AS_HOST | (env or {}), **how)

    return run


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class TestUrls:
    def test_names_modes_and_times(self, build, server):
        server.files = {"/a/plain.txt": b"text", "/x%20y": b"blank", "/q": b"query", "/": b"root",
                        "/a.tar": tar(("member", b"m"))}
        assert build(FROM_BUSYBOX + f"""
ADD {server.url}/a/plain.txt {server.url}/x%20y {server.url}/q?name=/z {server.url}/ /d/
RUN test "$(stat -c '%a %u %g %Y' /d/plain.txt)" = "600 0 0 {MODIFIED_SECONDS}"
RUN test "$(cat '/d/x y')" = blank && test "$(cat /d/q)" = query && test -f /d/__unnamed__
ADD --chown=5:6 --chmod=755 {server.url}/a/plain.txt /new/name
RUN test "$(stat -c '%a %u %g' /new/name)" = "755 5 6" && test "$(cat /new/name)" = text
ADD {server.url}/a.tar /kept/
RUN test -f /kept/a.tar
ADD --unpack=true {server.url}/a.tar /unpacked
RUN test -f /unpacked/member && test ! -e /unpacked/a.tar
ADD {server.url}/to/a/plain.txt /redirected
RUN test "$(cat /redirected)" = text
ADD Dockerfile {server.url}/q <<FILE /mixed/
in place
FILE
RUN test -f /mixed/Dockerfile && test "$(cat /mixed/q)" = query && test -f /mixed/FILE
""").image

    def test_a_change_is_seen_and_nothing_else(self, build, server):
        server.files = {"/f": b"one"}
        dockerfile = FROM_BUSYBOX + f"ADD {server.url}/f /f\nRUN cp /f /g\n"
        first = build(dockerfile).image
        server.forget()
        assert build(dockerfile).image == first
        assert server.requests == ["/f"]
        assert server.unchanged == 1
        server.files["/f"] = b"two"
        second = build(dockerfile).image
        assert second != first
        server.files["/f"] = b"one"
        assert build(dockerfile).image == first

    def test_the_address_does_not_count(self, build, server):
        server.files = {"/a/f": b"same", "/b/f": b"same"}
        assert build(FROM_BUSYBOX + f"ADD {server.url}/a/f /x\n").image
        result = build(FROM_BUSYBOX + f"ADD {server.url}/b/f /x\n")
        assert result.image
        assert "CACHED" in result.err or "cached" in result.err

    def test_a_checksum_asks_once(self, build, server):
        server.files = {"/f": b"one"}
        flag = f"--checksum={sha256(b'one')}"
        dockerfile = FROM_BUSYBOX + f"ADD {flag} {server.url}/f /f\n"
        first = build(dockerfile).image
        assert server.requests == ["/f"]
        server.forget()
        assert build(dockerfile).image == first
        # Another step with the same bytes.
        assert build(FROM_BUSYBOX + f"ADD {flag} {server.url}/f /elsewhere\n").image
        assert server.requests == []

    def test_a_wrong_checksum(self, build, server):
        server.files = {"/f": b"one"}
        build(FROM_BUSYBOX + f"RUN true\nADD --checksum={sha256(b'two')} {server.url}/f /f\n") \
            .failed(1, says=["Dockerfile:3", "checksum", sha256(b"one"), sha256(b"two")])

    def test_the_plan_asks_nobody(self, fresh_spaceport, make_space, server):
        def planned(text):
            plan = fresh_spaceport("build", "--plan", "--json", make_space(text)).json
            return plan["stages"][0]["instructions"][-1]

        url = f"{server.url}/f"
        step = planned(f"FROM scratch\nADD {url} /f\n")
        assert step["key"] is None and step["sources"] == [url] and not step["cached"]
        step = planned(f"FROM scratch\nADD --checksum={sha256(b'one')} {url} /f\n")
        assert len(step["key"]) == 64
        assert server.requests == []

    def test_without_the_cache_it_is_fetched_anew(self, build, server):
        server.files = {"/f": b"one"}
        dockerfile = FROM_BUSYBOX + f"ADD {server.url}/f /f\n"
        assert build(dockerfile).image
        server.forget()
        assert build(dockerfile, "--no-cache").image
        assert server.unchanged == 0 and server.requests == ["/f"]

    def test_a_server_that_is_gone(self, build):
        with FileServer() as server:
            server.files = {"/f": b"one"}
            dockerfile = FROM_BUSYBOX + f"ADD {server.url}/f /f\n"
            first = build(dockerfile).image
        result = build(dockerfile)
        assert result.image == first
        assert "cannot be asked now" in result.err and "Dockerfile:2" in result.err
        build(dockerfile, "--no-cache").failed(1, says=["Dockerfile:2", server.url])
        build(FROM_BUSYBOX + f"ADD {server.url}/other /f\n").failed(1, says=["Dockerfile:2"])

    def test_answers_that_are_none(self, build, server):
        for path, words in {"/absent": ["404"], "/loop": ["redirects"],
                            "/to-file": ["redirects"], "/lies": []}.items():
            build(FROM_BUSYBOX + f"ADD {server.url}{path} /f\n").failed(
                1, says=["Dockerfile:2", "ADD", path, *words])

    def test_too_much_and_too_slow(self, build, server):
        env = {"SPACEPORT_BUILD_FETCH_SIZE": "4MiB"}
        begin = time.monotonic()
        build(FROM_BUSYBOX + f"ADD {server.url}/endless /f\n", env=env).failed(
            1, says=["Dockerfile:2", "more than"])
        build(FROM_BUSYBOX + f"ADD {server.url}/slow /f\n",
              env={"SPACEPORT_BUILD_TIMEOUT": "2s"}).failed(1, says=["time limit"])
        assert time.monotonic() - begin < 30

    def test_cancelled_while_it_waits(self, fresh_spaceport, make_space, server):
        space = make_space(FROM_BUSYBOX + f"ADD {server.url}/slow /f\n")
        process = fresh_spaceport.start("build", space, env=AS_HOST)
        process.wait_for(lambda: server.requests, "request")
        process.signal(signal.SIGINT)
        assert process.wait().code != 0

    def test_the_hosts_loopback_is_out_of_reach(self, build, server):
        server.files = {"/f": b"one"}
        build(FROM_BUSYBOX + f"ADD {server.url}/f /f\n",
              env={"SPACEPORT_BUILD_FETCH_NETWORK": "build"}).failed(1, says=["Dockerfile:2"])
        assert server.requests == []

    def test_no_network_at_all(self, build, server):
        server.files = {"/f": b"one"}
        dockerfile = FROM_BUSYBOX + f"ADD {server.url}/f /f\n"
        build(dockerfile, env={"SPACEPORT_NETWORK": "none"}).failed(
            1, says=["Dockerfile:2", "network: none"])

    def test_what_is_kept_is_bounded(self, build, server, fresh_spaceport):
        server.files = {"/f": bytes(3 << 20), "/g": bytes(range(256)) * (3 << 12)}
        env = {"SPACEPORT_BUILD_FETCH_KEEP": "4MiB"}
        for name in "fg":
            assert build(FROM_BUSYBOX + f"ADD {server.url}/{name} /x\n", env=env).image
        kept = list((fresh_spaceport.data / "store/downloads/files").iterdir())
        assert len(kept) == 1

    def test_several_for_one_name(self, build, server):
        server.files = {"/f": b"f", "/g": b"g"}
        result = build(FROM_BUSYBOX + f"ADD {server.url}/f {server.url}/g /x\n"
                       "RUN grep -qx g /x\n").ok()
        assert "several files became /x" in result.err

    def test_passwords_are_not_shown(self, build, server):
        url = server.url.replace("//", "//me:pass-word@")
        result = build(FROM_BUSYBOX + f"ADD {url}/absent /f\n").failed(1, says=["404"])
        assert "pass-word" not in result.err.split("ADD http")[0]

    def test_compressed_archives(self, build, server):
        server.files = {f"/{name}": pack(tar((name, b"x"))) for name, pack in PACKERS.items()}
        lines = "".join(f"ADD --unpack=true {server.url}/{name} /d\nRUN test -f /d/{name}\n"
                        for name in PACKERS)
        assert build(FROM_BUSYBOX + lines).image


@pytest.fixture
def certificate(folder):
    """A PEM file with a certificate of its own authority, and its key."""
    both = folder / "own-authority.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True,
                   capture_output=True)
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    yield both
    for name in ("key.pem", "cert.pem", both.name):
        (folder / name).unlink()


class TestNetworks:
    def test_an_authority_of_ones_own(self, build, certificate):
        (certificate.parent / "cert.pem").chmod(0o644)
        with FileServer(certificate) as server:
            server.files = {"/f": b"over TLS"}
            dockerfile = FROM_BUSYBOX + f"ADD {server.url}/f /f\n"
            build(dockerfile).failed(1, says=["Dockerfile:2", "certificate"])
            assert build(dockerfile, env={
                "SPACEPORT_CA_BUNDLE": str(certificate.parent / "cert.pem")}).image

    def test_an_authority_of_ones_own_for_git(self, build, certificate, tmp_path):
        (certificate.parent / "cert.pem").chmod(0o644)
        with GitServer(tmp_path, certificate) as server:
            server.repository().commit({"f": "over TLS"})
            dockerfile = FROM_BUSYBOX + f"ADD {server.url}/r.git /d\n"
            build(dockerfile).failed(1, says=["Dockerfile:2", "certificate"])
            assert build(dockerfile, env={
                "SPACEPORT_CA_BUNDLE": str(certificate.parent / "cert.pem")}).image

    def test_a_proxy(self, build, server):
        server.files = {"/f": b"through a proxy"}
        env = {"SPACEPORT_HTTP_PROXY": server.url, "SPACEPORT_NO_PROXY": "none"}
        assert build(FROM_BUSYBOX + "ADD http://files.example/f /f\n", env=env).image
        assert server.proxied == ["http://files.example/f"]

    def test_through_the_network_of_steps(self, build):
        """A file of PyPI, from which the tests get their wheels, too."""
        result = build(FROM_BUSYBOX + "ADD https://pypi.org/simple/six/ /page\n"
                       "RUN grep -q six /page\n", env={"SPACEPORT_BUILD_FETCH_NETWORK": "build"})
        assert result.image
