# SPDX-License-Identifier: Apache-2.0
"""ADD of what means harm: archives that lead out, lie, or never end."""

import random
import tarfile
import time

import pytest
from archives import PACKERS, tar

CANARY = "canary-of-the-host"


@pytest.fixture
def outside(folder, account):
    """A folder of the host beside the store: one file in it, and so it must stay."""
    place = folder / f"beside-{account.name}"
    place.mkdir(exist_ok=True)
    (place / "canary").write_text(CANARY)
    account.owns(place)
    yield place
    assert [path.name for path in place.iterdir()] == ["canary"]
    assert (place / "canary").read_text() == CANARY
    assert (place / "canary").stat().st_nlink == 1
    (place / "canary").unlink()
    place.rmdir()


def up(path):
    return "../" * 30 + str(path).lstrip("/")


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

    def test_pax_sizes_that_lie(self, spaceport, make_space):
        for size in ("-1", "99999999999999999999", "18446744073709551615", "4611686018427387904"):
            archive = tar(("file", {"pax_headers": {"size": size}, "data": b"x"}))
            add(spaceport, make_space, archive).failed(1, says=["Dockerfile:2"])

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
