# SPDX-License-Identifier: Apache-2.0
"""Trees that a Dockerfile itself lays out against whoever builds on them. What images bring along
is in test_security.py."""

import uuid

import pytest

CANARY = "canary-of-the-host"


@pytest.fixture
def outside(folder):
    """A file of the host that no build may see."""
    path = folder / f"outside-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    (path / "canary").write_text(CANARY + "\n")
    path.chmod(0o755)
    yield path
    (path / "canary").unlink()
    path.rmdir()  # and nothing else has come into it


FIFOS = {
    "passwd, for USER": ("passwd", "USER someone\nRUN true\n"),
    "passwd, for --chown": ("passwd", "COPY --chown=someone Dockerfile /x\n"),
    "group, for USER": ("group", "USER 0:people\nRUN true\n"),
    "group, for --chown": ("group", "COPY --chown=0:people Dockerfile /x\n"),
    "passwd, for WORKDIR": ("passwd", "USER someone\nWORKDIR /w\n"),
}


@pytest.mark.parametrize("case", FIFOS)
def test_a_fifo_that_a_step_made(spaceport, make_space, case):
    """Nobody writes into it: a reader that waits would wait for ever."""
    name, then = FIFOS[case]
    space = make_space(f"FROM busybox:latest\nRUN mkdir -p /etc && rm -f /etc/{name} && "
                       f"mkfifo /etc/{name}\n{then}")
    spaceport.build(space, timeout=60).failed(1, says=["Dockerfile:", f"/etc/{name}"])


@pytest.mark.parametrize("number", [3, 5, 7, 9, 11, 20])
def test_a_link_to_a_descriptor_as_working_directory(spaceport, make_space, outside, number):
    """Made in the tree, whatever descriptors the program has open at that moment."""
    up = "../" * 24 + str(outside).lstrip("/")
    space = make_space(f"FROM busybox:latest\nRUN ln -s /proc/self/fd/{number} /w\n"
                       f"WORKDIR /w\nRUN cat {up}/canary; cat /w/{up}/canary; ls -a; true\n"
                       f"WORKDIR /w/more\nCOPY Dockerfile .\n")
    result = spaceport.build(space, "--progress", "plain")
    assert CANARY not in result.err and "canary" not in "".join(
        line for line in result.err.splitlines() if " RUN " not in line and "cat:" not in line)


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("beside", [False, True])
def test_links_in_place_of_dev_proc_and_sys(spaceport, make_space, outside, name, beside):
    """Of a tree that was copied together: by the runtime they are not followed, neither in the
    box itself nor in a worker's."""
    space = make_space("FROM busybox:latest AS tools\n"
                       "FROM busybox:latest AS beside\nRUN sleep 0.2\n"
                       "FROM scratch\nCOPY links /\nCOPY --from=tools /bin /bin\n"
                       f"RUN test ! -L /{name} && test -d /{name} && test ! -e /{name}/canary && "
                       "echo x > /dev/null && test -e /proc/self/status\n"
                       + ("COPY --from=beside /bin/true /t\n" if beside else ""),
                       {"links/keep": "x"})
    (space / "links" / name).symlink_to(outside)
    spaceport.build(space, "--no-cache").ok()
    assert [path.name for path in outside.iterdir()] == ["canary"]


def test_a_working_directory_through_a_loop(spaceport, make_space):
    space = make_space("FROM busybox:latest\nRUN ln -s b /a && ln -s a /b\nWORKDIR /a/x\n")
    spaceport.build(space, timeout=60).failed(1, says=["Dockerfile:3"])


def test_a_source_stage_whose_path_leads_out(spaceport, make_space, outside):
    for source in (f"/link{outside}/canary", f"/link/../../../../{outside}/canary", "/file"):
        space = make_space(f"FROM busybox:latest AS a\nRUN ln -s / /link && ln -s {outside}/canary "
                           f"/file\nFROM busybox:latest\nCOPY --from=a {source} /x\n")
        result = spaceport.build(space)
        result.failed(1, says=["Dockerfile:4"])
        assert CANARY not in result.err
