# SPDX-License-Identifier: Apache-2.0
"""COPY from trees whose owner wishes to read or write what is not his: files of the host
through links, and links that change while the build looks."""

import contextlib
import os
import threading
import time
import uuid

import pytest

SWAP_SECONDS = 1


@pytest.fixture
def outside(folder, account):
    """A folder of the host with a file that must get into no image, and nothing new in it."""
    place = folder / f"outside-{uuid.uuid4().hex[:8]}"
    place.mkdir()
    canary = f"canary-{uuid.uuid4().hex}"
    (place / "file").write_text(canary)
    account.owns(place)
    yield place, canary
    assert os.listdir(place) == ["file"]
    assert (place / "file").read_text() == canary
    (place / "file").unlink()
    place.rmdir()


@contextlib.contextmanager
def swapping(space, link, directory):
    """While the body runs, `link` and `directory` of the space change names, as fast as can be."""
    stop = threading.Event()

    def swap():
        names = [space / link, space / directory]
        while not stop.is_set():
            for old, new in ((names[1], space / "spare"), (names[0], names[1]),
                             (space / "spare", names[0])):
                os.rename(old, new)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("line", [
    "COPY . /c", "COPY tree/sub /c", "COPY tree/sub/file /c", "COPY tree/*/file /c/",
    "COPY --parents tree/sub/file /c/", "COPY --link tree /c",
    "RUN --mount=target=/c,source=tree/sub cat /c/* > /out"])
def test_a_link_in_the_place_of_a_directory(fresh_spaceport, make_space, outside, line):
    """Whatever the build sees, it is in the context, or the build says that it changed."""
    place, canary = outside
    space = make_space(f"FROM busybox:latest\n{line}\n", {"tree/sub/file": "harmless"})
    (space / "tree/other").symlink_to(place)
    built = failed = 0
    end = time.monotonic() + SWAP_SECONDS
    with swapping(space / "tree", "other", "sub"):
        while time.monotonic() < end:
            done = fresh_spaceport.build(space, "--no-cache")
            assert done.code in (0, 1), done.err
            assert "internal error" not in done.err, done.err
            built += done.code == 0
            failed += done.code == 1
    assert built + failed > 0
    assert not fresh_spaceport.places_of(canary)


@pytest.mark.parametrize("target", ["{outside}", "../../../../../../../../..{outside}",
                                    "/proc/1/root{outside}"])
def test_links_of_a_stage_lead_nowhere_else(spaceport, make_space, outside, target):
    place, canary = outside
    to = target.format(outside=place)
    space = make_space(f"FROM busybox:latest AS evil\nRUN ln -s {to} /link && mkdir /d && "
                       f"ln -s {to}/file /d/file\nFROM busybox:latest\nCOPY --from=evil /d /d\n")
    spaceport.build(space).ok()
    stage = space / "Dockerfile"
    base = stage.read_text()
    for line in ("COPY --from=evil /link/file /out", "COPY --from=evil /d/file /out",
                 "COPY --from=evil /link /out", "COPY --from=evil --parents link/file /out/"):
        stage.write_text(base + line + "\n")
        spaceport.build(space).failed(1, says=["not found"])
    stage.write_text(base + "COPY --from=evil /link/* /out/\nRUN test ! -e /out/file\n")
    spaceport.build(space).ok()
    assert not spaceport.places_of(canary)


@pytest.mark.parametrize("target", ["{outside}", "../../../../../../../../..{outside}"])
def test_destinations_stay_in_the_image(spaceport, make_space, outside, target):
    place, _ = outside
    to = target.format(outside=place)
    space = make_space(f"FROM busybox:latest\nRUN ln -s {to} /link && ln -s {to}/new /file\n"
                       "COPY tree /link\nCOPY tree/f /link/g\nCOPY tree/f /file\n"
                       f"COPY --chmod=777 tree /link/deep/er\nRUN test -f {place}/f && "
                       f"test -f {place}/g && test -f {place}/new && test -f {place}/deep/er/f\n",
                       {"tree/f": "1"})
    spaceport.build(space).ok()


def test_links_of_a_named_context_stay_in_it(spaceport, make_space, outside):
    place, canary = outside
    other = make_space(None, {"README.md": None, "f": "1"}, readme="")
    (other / "link").symlink_to(place)
    (other / "up").symlink_to("../" * 12 + str(place)[1:])
    space = make_space("")
    for source in ("link/file", "up/file", "link", f"../{place.name}/file"):
        (space / "Dockerfile").write_text(f"FROM scratch\nCOPY --from=other {source} /x\n")
        spaceport.build(space, "--build-context", f"other={other}").failed(1, says=["not found"])
    assert not spaceport.places_of(canary)
