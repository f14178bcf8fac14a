# SPDX-License-Identifier: Apache-2.0
"""ADD, where builders get it wrong: of archives and of URLs."""

import os
import tarfile

from archives import PACKERS, tar
from file_server import MODIFIED, FileServer
from git_server import GitServer

FROM_BUSYBOX = "FROM busybox:latest\n"


def test_point_39_archives(spaceport, make_space):
    """The content decides, not the name; members keep owner and mode; what is no archive
    is a file; links are followed and wildcards unpack each match."""
    member = {"mode": 0o4750, "uid": 7, "gid": 8, "data": b"x"}
    files = {f"{name}.bin": pack(tar((f"{name}/deep/file", member), ("top", b"t")))
             for name, pack in PACKERS.items()}
    files |= {f"w/{n}.tar.gz": PACKERS["gzip"](tar((f"w{n}", b"w"))) for n in range(3)}
    files |= {"broken.tar.gz": b"\x1f\x8b\x08 no gzip at all", "short.tar": tar(("a", b"a"))[:300],
              "text.gz": PACKERS["gzip"](b"text, and no archive")}
    space = make_space(FROM_BUSYBOX + """
ADD plain.bin gzip.bin bzip2.bin xz.bin zstd.bin /all/
RUN for d in plain gzip bzip2 xz zstd; do \\
      test "$(stat -c '%a %u %g %Y' /all/$d/deep/file)" = "4750 7 8 1000000000" || exit 1; \\
      test "$(stat -c '%a %u %g' /all/$d /all/$d/deep | sort -u)" = "755 0 0" || exit 1; \\
    done; test "$(cat /all/top)" = t
ADD --chown=5:6 --chmod=600 gzip.bin /owned
RUN test "$(stat -c '%a %u %g' /owned/gzip/deep/file)" = "4750 5 6" && test -d /owned
ADD --unpack=false gzip.bin /kept/
RUN test -f /kept/gzip.bin && test "$(stat -c %a /kept/gzip.bin)" = 644
ADD broken.tar.gz short.tar text.gz /files/
RUN test -f /files/broken.tar.gz && test -f /files/short.tar && test -f /files/text.gz
ADD w/*.tar.gz /wild
RUN test -f /wild/w0 && test -f /wild/w1 && test -f /wild/w2
ADD link.tar /linked/
RUN test -f /linked/gzip/deep/file && test ! -e /linked/link.tar
COPY gzip.bin /copied/
RUN test -f /copied/gzip.bin
ADD w /dir
RUN test -f /dir/0.tar.gz
""", files)
    (space / "link.tar").symlink_to("/gzip.bin")
    assert spaceport.build(space).image
    stage = spaceport("build", "--plan", "--json", space).json["stages"][0]
    assert all(step["cached"] for step in stage["instructions"] if step["key"])


def test_point_39_what_is_there_already(spaceport, make_space):
    """Directories keep what they hold; a file gives way; links are resolved inside of dst."""
    files = {"a.tar": tar(("dir", {"type": tarfile.DIRTYPE, "mode": 0o700}), ("dir/new", b"n"),
                          ("file", b"new"), ("link/through", b"t"))}
    space = make_space(FROM_BUSYBOX + """
RUN mkdir -p /d/dir /d/real && echo old > /d/dir/old && echo old > /d/file && ln -s /real /d/link
ADD a.tar /d
RUN test -f /d/dir/old && test -f /d/dir/new && test "$(stat -c %a /d/dir)" = 700
RUN test "$(cat /d/file)" = new && test -f /d/real/through && test -L /d/link && test ! -e /real
""", files)
    assert spaceport.build(space).image


def test_point_40_urls(spaceport, make_space):
    """0600 and root's; the key is the checksum of the bytes, whatever their time."""
    env = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}
    with FileServer() as server:
        server.files = {"/f": b"the bytes of point 40"}
        space = make_space(FROM_BUSYBOX + f"""
ADD {server.url}/f /f
RUN test "$(stat -c '%a %u %g' /f)" = "600 0 0"
""")
        first = spaceport.build(space, env=env).image
        server.modified = MODIFIED.replace("1994", "1995")
        server.use_etag = False
        assert spaceport.build(space, env=env).image == first
        assert server.unchanged == 0
        server.forget()
        assert spaceport.build(space, env=env).image == first
        assert (server.unchanged, server.requests) == (1, ["/f"])
        server.files["/f"] = b"other bytes of point 40"
        server.modified = MODIFIED
        assert spaceport.build(space, env=env).image != first


def test_point_54_modes_of_repositories_are_two(spaceport, make_space, tmp_path):
    """Whatever umask the clone is made with; of a folder each bit counts, which is point 51."""
    env = {"SPACEPORT_BUILD_FETCH_NETWORK": "host"}
    with GitServer(tmp_path) as server:
        made = server.repository()
        made.commit({"run": "#!/bin/sh\n", "f": "x", "d/f": "x"})
        space = make_space(FROM_BUSYBOX + f"""
ADD {server.url}/r.git /r
RUN cd /r && test "$(stat -c %a run d f d/f | tr '\\n' ' ')" = "755 755 644 644 "
""")
        for umask in (0o077, 0o002):
            before = os.umask(umask)
            try:
                spaceport.build(space, "--no-cache", env=env).ok()
            finally:
                os.umask(before)

    space = make_space("FROM scratch\nCOPY tree /t\n", {"tree/f": "x"})
    keys = set()
    for mode in (0o644, 0o664, 0o600):
        (space / "tree/f").chmod(mode)
        plan = spaceport.build(space, "--plan", "--json").json
        keys.add(plan["stages"][0]["instructions"][0]["key"])
    assert len(keys) == 3
