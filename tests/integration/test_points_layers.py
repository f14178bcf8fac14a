# SPDX-License-Identifier: Apache-2.0
"""Layers as BuildKit, Docker and the OCI image specification mean them: what of a step's tree is
a change, and what the tar of a layer says. Images come in as archives made here, are looked at by
steps of busybox, and go out through `spaceport image export`."""

import shutil
import uuid

import archives
import exported
import pytest

LOOK = "FROM handmade:{tag} AS made\nFROM busybox:latest\nCOPY --from=made / /made\n" \
       "RUN set -e; cd /made; {tests}\n"
CAPABILITY = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
PAX = "SCHILY.xattr."


@pytest.fixture
def layout(folder, account):
    """layout(TAR, …): an OCI layout with an image of these layers."""
    made = []

    def make(*tars):
        made.append(exported.layout(folder / f"layout-{uuid.uuid4().hex[:8]}", *tars))
        return account.owns(made[-1])

    yield make
    for path in made:
        shutil.rmtree(path)


@pytest.fixture
def handmade(spaceport, layout):
    """handmade(TAR, …) imports an image of these layers; its tag."""
    def make(*tars):
        tag = uuid.uuid4().hex[:8]
        spaceport("image", "import", "--tag", f"handmade:{tag}", layout(*tars)).ok()
        return tag

    return make


@pytest.fixture
def look(spaceport, make_space, handmade):
    """look(TESTS, TAR, …): the shell's tests hold in the tree that the layers make."""
    def run(tests, *tars):
        tag = handmade(*tars)
        spaceport.build(make_space(LOOK.format(tag=tag, tests="; ".join(tests)))).ok()

    return run


@pytest.fixture
def top(spaceport, make_space, folder):
    """top(DOCKERFILE, FILES): the entries of the topmost layer of what it builds."""
    out = folder / f"out-{uuid.uuid4().hex[:8]}.tar"

    def build(dockerfile, files=None):
        image = spaceport.build(make_space(dockerfile, files)).image
        with open(out, "wb") as file:
            data = spaceport.bytes("image", "export", image)
            file.write(data)
        return exported.Exported(out).layer(-1)

    yield build
    out.unlink(missing_ok=True)


def names(entries):
    return sorted(entries)


def busybox(*steps):
    return "FROM busybox:latest\n" + "".join(f"RUN {step}\n" for step in steps)


class TestWhiteouts:
    def test_point_55_both_forms_are_read(self, look):
        below = archives.tar(("a/", None), ("a/one", b"1"), ("a/two", b"2"), ("b", b"b"))
        above = archives.tar(("a/.wh.one", b""), (".wh.b", b""))
        look(["test ! -e a/one", "test -e a/two", "test ! -e b"], below, above)
        opaque = archives.tar(("a/", None), ("a/.wh..wh..opq", b""), ("a/new", b"n"))
        look(["test \"$(ls a)\" = new", "test -e b"], below, opaque)

    def test_point_55_explicit_ones_are_written(self, top):
        layer = top(busybox("mkdir -p /d/sub && touch /d/one /d/two /d/sub/three",
                            "rm /d/one && rm -r /d/sub",))
        assert names(layer) == ["d", "d/.wh.one", "d/.wh.sub"]
        assert all(layer[name].size == 0 for name in names(layer))
        layer = top(busybox("mkdir -p /d/sub && touch /d/one /d/two /d/sub/three",
                            "rm -r /d && mkdir -p /d/sub && touch /d/two"))
        assert names(layer) == ["d", "d/.wh.one", "d/sub", "d/sub/.wh.three", "d/two"]

    @pytest.mark.parametrize("name", [".wh.", "a/.wh."])
    def test_point_55_of_nothing_is_refused(self, spaceport, layout, name):
        bad = layout(archives.tar((name, b"")))
        spaceport("image", "import", bad).failed(1, 2, says=[name, "whiteout"])

    def test_point_56_they_hide_lower_layers_only(self, look):
        below = archives.tar(("a/", None), ("a/low", b""), ("b/", None), ("b/low", b""),
                             ("c", b"file"), ("d/", None), ("d/low", b""))
        above = archives.tar(
            ("a/high", b""), ("a/.wh..wh..opq", b""),  # the mark after its siblings
            ("b/", None), ("b/.wh..wh..opq", b""), ("b/.wh.ghost", b""),
            (".wh.c", b""), ("c/inside", b"x"),        # below what was just hidden
            ("d/high", b""), (".wh.d", b""))           # what this layer has stays
        look(["test \"$(ls a)\" = high", "test -z \"$(ls -A b)\"", "test \"$(ls c)\" = inside",
              "test \"$(ls d)\" = high"], below, above)


class TestChanges:
    def test_point_57_what_is_no_change_is_left_out(self, top):
        assert names(top(busybox("touch /a && rm /a"))) == []
        assert names(top(busybox("mv /etc/passwd /etc/x && mv /etc/x /etc/passwd"))) == []
        assert names(top(busybox("mkdir /d", "chmod 700 /d && chmod 755 /d"))) == []
        assert names(top(busybox("mkdir /d && touch /d/x && rm -r /d"))) == []

    def test_point_57_a_change_brings_its_own_directories_only(self, top):
        layer = top(busybox("mkdir -p /a/b/c /other/way && chmod 1777 /a/b",
                            "touch /other/way/t && rm /other/way/t && touch /a/b/c/new"))
        assert names(layer) == ["a", "a/b", "a/b/c", "a/b/c/new"]
        assert layer["a/b"].mode == 0o1777

    def test_point_58_a_moved_directory_is_whole(self, top):
        layer = top(busybox("mkdir -p /from/sub && echo 1 > /from/sub/one", "mv /from /to"))
        assert names(layer) == [".wh.from", "to", "to/sub", "to/sub/one"]
        assert layer["to/sub/one"].data == b"1\n"

    def test_point_59_directories_merge_and_all_else_is_replaced(self, look):
        below = archives.tar(("d/", None), ("d/child", b"1"), ("f", b"file"), ("x/", None),
                             ("x/gone", b""))
        above = archives.tar(("d/", {"type": b"5", "mode": 0o700}), ("f/", None), ("f/in", b""),
                             ("x", b"now a file"), ("twice", b"first"), ("twice", b"second"))
        look(["test -e d/child", "test \"$(stat -c %a d)\" = 700", "test -e f/in", "test -f x",
              "test \"$(cat twice)\" = second"], below, above)


class TestEntries:
    def test_point_60_hard_links(self, top, spaceport, layout):
        layer = top(busybox("mkdir /l && echo x > /l/one && ln /l/one /l/two && ln /l/one /l/a"))
        assert layer["l/a"].isfile() and layer["l/a"].data == b"x\n"
        assert [layer[f"l/{name}"].islnk() and layer[f"l/{name}"].linkname
                for name in ("one", "two")] == ["l/a", "l/a"]
        # Copying up breaks them: what was one file below is two.
        layer = top(busybox("echo x > /one && ln /one /two", "echo y >> /one"))
        assert names(layer) == ["one"] and layer["one"].data == b"x\ny\n"
        forward = archives.tar(("link", {"type": b"1", "linkname": "later"}), ("later", b""))
        spaceport("image", "import", layout(forward)).failed(1, 2, says=["link", "later"])

    def test_point_61_sparse_files_are_expanded(self, top):
        layer = top(busybox("dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2>/dev/null"))
        entry = layer["sparse"]
        assert entry.size == 3_000_001 and entry.data == bytes(3_000_001)
        assert entry.type == b"0" and not entry.sparse and not entry.pax_headers

    def test_point_62_capabilities_leave_the_namespace(self, handmade, top):
        """chmod copies the file up, with what is kept as version 3 there."""
        ping = {"data": b"program", "mode": 0o755, "pax_headers": {
            f"{PAX}security.capability": CAPABILITY.decode("latin-1")}}
        plain = archives.tar(("bin/", None), ("ping", ping))
        tag = handmade(plain)
        layer = top(f"FROM handmade:{tag}\nCOPY --from=busybox /bin/busybox /bin/sh\n"
                    "RUN chmod 750 /ping\n")
        headers = layer["ping"].pax_headers
        assert headers[f"{PAX}security.capability"].encode("utf-8", "surrogateescape") == CAPABILITY
        assert layer["ping"].mode == 0o750

    def test_point_63_overlayfs_keeps_its_attributes(self, handmade, top):
        marked = {"type": b"5", "mode": 0o755, "pax_headers": {
            f"{PAX}user.overlay.opaque": "y", f"{PAX}trusted.overlay.opaque": "y",
            f"{PAX}user.own": "kept", f"{PAX}security.selinux": "label"}}
        tag = handmade(archives.tar(("low/", None), ("low/visible", b"")),
                       archives.tar(("low/", marked)))
        layer = top(f"FROM handmade:{tag}\nCOPY --from=busybox /bin/busybox /bin/sh\n"
                    "COPY --from=busybox /bin/busybox /bin/ls\n"
                    "RUN [ \"$(ls /low)\" = visible ] && : > /low/new\n")
        # The image has no /dev, /proc and /sys, without which a step cannot run.
        assert names(layer) == ["dev", "low", "low/new", "proc", "sys"]
        assert layer["low"].pax_headers == {f"{PAX}user.own": "kept"}

    def test_point_64_times_are_whole_seconds(self, top):
        layer = top(busybox("touch /now && touch -d '2020-01-02 03:04:05' /then"))
        assert layer["then"].mtime == 1577934245
        assert layer["now"].mtime == int(layer["now"].mtime)
        assert not any("mtime" in entry.pax_headers for entry in layer.values())
