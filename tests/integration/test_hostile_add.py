# SPDX-License-Identifier: Apache-2.0
"""ADD of what means harm: archives that lead out, lie, or never end."""

import os
import random
import signal
import socket
import tarfile
import time
from pathlib import Path

import pytest
from archives import PACKERS, tar
from git_server import GitServer
from hostile import up

AS_HOST = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}


def add(spaceport, make_space, archive, rest=""):
    return spaceport.build(make_space(f"FROM busybox:latest\nADD a.bin /d/\n{rest}",
                                      {"a.bin": archive}))


class TestArchives:
    @pytest.mark.parametrize("pack", ["plain", "xz"])
    def test_names_that_lead_out(self, spaceport, make_space, outside, pack):
        archive = PACKERS[pack](tar((up(outside / "new"), b"x")))
        add(spaceport, make_space, archive).failed(1, says=["Dockerfile:2", "ADD", ".."])

    def test_absolute_names_stay_below_dst(self, spaceport, make_space, outside):
        archive = tar((str(outside / "new"), b"x"))
        assert add(spaceport, make_space, archive, f"RUN test -f /d{outside}/new\n").image

    def test_through_a_link_of_its_own(self, spaceport, make_space, outside):
        archive = tar(("out", {"type": tarfile.SYMTYPE, "linkname": str(outside)}),
                      ("up", {"type": tarfile.SYMTYPE, "linkname": up(outside)}),
                      ("out/new", b"x"), ("up/new", b"x"))
        assert add(spaceport, make_space, archive, f"RUN test -f /d{outside}/new\n").image

    def test_through_a_link_of_the_image(self, spaceport, make_space, outside):
        space = make_space(f"FROM busybox:latest\nRUN mkdir /d && ln -s {outside} /d/out\n"
                           f"ADD a.bin /d/\nRUN test -f /d{outside}/new\n",
                           {"a.bin": tar(("out/new", b"x"))})
        assert spaceport.build(space).image

    @pytest.mark.parametrize("form", [str, up])
    def test_hard_links_to_the_outside(self, spaceport, make_space, outside, form):
        archive = tar(("got", {"type": tarfile.LNKTYPE, "linkname": form(outside / "canary")}))
        add(spaceport, make_space, archive).failed(1, says=["Dockerfile:2"])

    def test_devices_are_left_out_and_told(self, spaceport, make_space):
        archive = tar(("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
                      ("file", b"x"))
        result = add(spaceport, make_space, archive, "RUN test -f /d/file && ! test -e /d/null\n")
        assert result.image
        assert "device node skipped" in result.err

    def test_owners_outside_of_the_namespace(self, spaceport, make_space):
        archive = tar(("file", {"uid": 4_000_000_000, "data": b"x"}))
        add(spaceport, make_space, archive).failed(1, says=["Dockerfile:2", "file"])

    @pytest.mark.parametrize("size", ["-1", "99999999999999999999", "18446744073709551615",
                                      "4611686018427387904"])
    def test_pax_sizes_that_lie(self, spaceport, make_space, size):
        liar = ("file", {"pax_headers": {"size": size}, "data": b"x"})
        add(spaceport, make_space, tar(("first", b"1"), liar)).failed(1, says=["Dockerfile:2"])
        # As the first header it makes that the file counts as no archive, or as a bad one.
        result = add(spaceport, make_space, tar(liar), "RUN test -f /d/a.bin\n")
        assert result.code in (0, 1), result.err

    def test_cut_short(self, spaceport, make_space):
        archive = PACKERS["gzip"](tar(("file", bytes(range(256)) * 4000)))
        add(spaceport, make_space, archive[:len(archive) // 2]).failed(
            1, says=["Dockerfile:2", "ends too early"])

    def test_bombs(self, spaceport, make_space):
        """A gigabyte of zeros in a few hundred bytes per megabyte."""
        zeros = PACKERS["zstd"](bytes(64 << 20))
        info = tarfile.TarInfo("zeros")
        info.size = 1 << 33
        bomb = PACKERS["zstd"](info.tobuf()) + zeros * 128
        begin = time.monotonic()
        add(spaceport, make_space, bomb).failed(1, says=["Dockerfile:2", "times its size"])
        assert time.monotonic() - begin < 60

    def test_very_many_entries(self, spaceport, make_space):
        """A million of them, each a little different, or they would pass for a bomb."""
        headers = [bytearray(tarfile.TarInfo("./").tobuf()) for _ in range(256)]
        for n, header in enumerate(headers):
            header[265:297] = bytes(random.Random(n).choices(range(97, 123), k=32))
            header[148:156] = b"        "
            header[148:156] = b"%06o\0 " % sum(header)
        order = random.Random(0).choices(headers, k=1_000_000)
        begin = time.monotonic()
        assert add(spaceport, make_space, PACKERS["zstd"](b"".join(order) + bytes(1024))).image
        assert time.monotonic() - begin < 60

    def test_no_trace_of_a_failed_step(self, spaceport, make_space):
        name = "never-to-be-seen-again"
        archive = tar((name, b"x"), ("../x", b"x"))
        add(spaceport, make_space, archive).failed(1)
        layers = spaceport.data / "store" / "layers"
        assert not list(layers.glob(f"*/fs/d/{name}"))


class TestRepositories:
    """References that are options, and repositories that would like to run something."""

    @pytest.mark.parametrize("source", [
        "https://example.org/r.git#-x", "https://example.org/r.git#--upload-pack=/bin/sh",
        "https://example.org/r.git?ref=--exec%3Dx", "ssh://-oProxyCommand=touch%20x/r.git",
        "git@-oProxyCommand=x:r.git", "https://-x/r.git", "https://example.org/r.git#main:../x",
        "https://example.org/r.git#main:.git", "https://example.org/r.git?subdir=..%2Fx",
        "git://example.org/r.git?nonsense=1", "x@ext::sh -c touch% /tmp/x",
        "https://example.org/r.git#a..b", "https://example.org/r.git?checksum=-1234567"])
    def test_references_that_are_no_names(self, spaceport, make_space, source):
        space = make_space(f'FROM scratch\nADD ["{source}", "/x/"]\n')
        spaceport.build(space).failed(1, says=["Dockerfile:2"])
        spaceport("build", "--plan", space).failed(1, says=["Dockerfile:2"])

    @pytest.mark.parametrize("source", ["file:///etc", "ext::sh -c id", "fd::7", "../outside.git"])
    def test_other_protocols_are_paths_of_the_context(self, spaceport, make_space, source):
        space = make_space(f'FROM scratch\nADD ["{source}", "/x/"]\n')
        spaceport.build(space).failed(1, says=["Dockerfile:2", "not found in the build context"])

    def test_links_filters_and_hooks_of_a_repository(self, spaceport, make_space, tmp_path,
                                                     outside):
        with GitServer(tmp_path) as server:
            made = server.repository()
            made.commit({".gitattributes": "* filter=lfs\n*.x filter=evil\n", "a.x": "as it is",
                         ".gitconfig": "[filter \"evil\"]\n smudge = touch /evil\n",
                         "hooks/post-checkout": "#!/bin/sh\ntouch /evil\n"},
                        links={"out": str(outside), "up": up(outside), "dot": ".git"})
            space = make_space(f"""FROM busybox:latest
ADD {server.url}/r.git /all
RUN test "$(cat /all/a.x)" = "as it is" && test ! -e /evil && test -L /all/out
""")
            assert spaceport.build(space, env=AS_HOST).image
            for subdir in ("out", "up", "dot"):
                space = make_space(f"FROM scratch\nADD {server.url}/r.git#main:{subdir} /x/\n")
                spaceport.build(space, env=AS_HOST).failed(1, says=["Dockerfile:2"])

    REPOSITORIES = {"large": {"f": random.Random(1).randbytes(3 << 20).hex()},
                    "small when packed": {"f": "0" * (64 << 20)},
                    "many files": {f"f{n}": "0" * (1 << 20) for n in range(8)}}

    @pytest.mark.parametrize("what", REPOSITORIES)
    def test_a_repository_without_measure(self, spaceport, make_space, tmp_path, what):
        with GitServer(tmp_path) as server:
            server.repository().commit(self.REPOSITORIES[what])
            space = make_space(f"FROM scratch\nADD {server.url}/r.git /x/\n")
            env = AS_HOST | {"SPACEPORT_BUILD_FETCH_SIZE": "4MiB"}
            spaceport.build(space, env=env).failed(
                1, says=["Dockerfile:2", "ADD", "more than 4194304 bytes", "build.fetch_size"])

    def test_a_repository_of_trees_in_trees(self, spaceport, make_space, tmp_path):
        """Ten directories that are one, in ten that are one, …: 10^8 files in some objects."""
        with GitServer(tmp_path) as server:
            made = server.repository()
            made.commit({"f": "x"})
            entry = "100644 blob " + made.git("rev-parse", "HEAD:f")
            for _ in range(8):
                text = "".join(f"{entry}\td{n}\n" for n in range(10))
                entry = "040000 tree " + made.git("mktree", input=text)
            commit = made.git("commit-tree", "-m", "bomb", entry.split()[2])
            made.git("update-ref", "refs/heads/main", commit)
            space = make_space(f"FROM scratch\nADD {server.url}/r.git /x/\n")
            env = AS_HOST | {"SPACEPORT_BUILD_FETCH_SIZE": "1MiB"}
            spaceport.build(space, env=env, timeout=60).failed(
                1, says=["Dockerfile:2", "list the repository's files", "more than"])

    def test_git_has_no_rights_and_no_files(self, spaceport, make_space, tmp_path):
        """While git waits for a server that does not answer, look at it."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        space = make_space(f"FROM scratch\nADD http://127.0.0.1:{port}/silent.git /x/\n")
        process = spaceport.start("build", space, env=AS_HOST)
        listener.settimeout(60)
        connection, _ = listener.accept()
        seen = [look for look in map(look_at, Path("/proc").glob("[0-9]*"))
                if look and f"127.0.0.1:{port}" in look["command"]]
        process.signal(signal.SIGINT)
        process.wait()
        connection.close()
        listener.close()
        assert seen
        for look in seen:
            if "git-remote-http" in look["command"] or "ls-remote" in look["command"]:
                assert look["CapEff"] == look["CapPrm"] == "0" * 16
                assert look["NoNewPrivs"] == "1"
                assert set(look["root"]) <= {"usr", "bin", "sbin", "lib", "lib32", "lib64",
                                             "libx32", "etc", "dev", "tmp", "work"}


def look_at(process):
    try:
        status = dict(line.split(":\t", 1) for line in
                      (process / "status").read_text().splitlines() if ":\t" in line)
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return status | {"command": command, "root": os.listdir(process / "root")}
    except OSError:
        return None
