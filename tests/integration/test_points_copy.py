# SPDX-License-Identifier: Apache-2.0
"""COPY and ADD as BuildKit means them. What a step made is looked at by the Dockerfile itself:
stages of busybox have the result of another one below /made, and test it."""

import os
import platform
import socket
import struct

import pytest
from program import find

CHECK = "\nFROM busybox:latest\nCOPY --from=made / /made\nRUN set -e; cd /made; {}\n"


def check(spaceport, make_space, steps, tests, files=None, args=(), base="busybox:latest",
          prepare=None):
    """Builds `steps` on a base, and runs the shell's `tests` on the tree that came out."""
    space = make_space(f"FROM {base} AS made\n{steps}" + CHECK.format("; ".join(tests)), files)
    if prepare:
        prepare(space)
    return spaceport.build(space, *args).ok()


def check_cases(spaceport, make_space, copy, cases, files):
    """`copy` with the words of each case goes to a directory of its own, in which the case's
    first names are and the others are not."""
    steps, tests = "", ["set -x"]
    for number, (words, there, missing) in enumerate(cases):
        steps += f"{copy} {words} /{number}/\n"
        tests += [f"test -e {number}/{name}" for name in there]
        tests += [f"! test -e {number}/{name} || exit 1" for name in missing]
    check(spaceport, make_space, steps, tests, files)


def keys(spaceport, space, *args):
    """The key of each step, in order."""
    plan = spaceport("build", "--plan", "--json", *args, space).json
    return [found["key"] for stage in plan["stages"] for found in stage["instructions"]
            if found["step"]]


class TestParents:
    FILES = {"a/b/c/d/foo": "1", "a/b/c/d/e/bay": "2", "a/b2/c/d/e/bar": "3", "a/b/c2/d/e/baz": "4",
             "a/b/c2/d/e2/baz": "5", "top": "6"}

    CASES = [
        ("a/b/c/d/foo", ["a/b/c/d/foo"], ["a/b/c/d/e", "top"]),
        ("./a/b/c/d/.", ["a/b/c/d/foo", "a/b/c/d/e/bay"], ["a/b/c2"]),
        ("a/b/./c/d", ["c/d/foo", "c/d/e/bay"], ["a", "d", "e"]),
        ("/a/./b/./c", ["b/c/d/foo"], ["c", "b/c2"]),
        ("a/./*/c", ["b/c/d/foo", "b2/c/d/e/bar"], ["b/c2"]),
        ("a/b*/./c/**/e", ["c/d/e/bay", "c/d/e/bar"], ["c/d/foo"]),
        ("a/b/c*/./d/**/baz a/b*/./c/**/bar", ["d/e/baz", "d/e2/baz", "c/d/e/bar"],
         ["d/e/bay", "c/d/e/bay"]),
        ("**/ba?", ["a/b/c/d/e/bay", "a/b2/c/d/e/bar"], ["top", "a/b/c/d/foo"]),
        ("a/nothing*/x", [], ["a"]),
        (".", ["top", "a/b/c/d/foo"], ["b"]),
    ]

    def test_point_41_parents_keep_what_is_behind_the_pivot(self, spaceport, make_space):
        check_cases(spaceport, make_space, "COPY --parents", self.CASES, self.FILES)

    def test_point_41_directories_on_the_way_keep_their_modes(self, spaceport, make_space):
        def prepare(space):
            (space / "a/b").chmod(0o700)

        check(spaceport, make_space, "COPY --parents a/b/c/d/foo /out/\n",
              ["test $(stat -c %a out/a/b) = 700", "test $(stat -c %a out/a) = 755"], self.FILES,
              prepare=prepare)

    def test_point_41_a_missing_path_is_an_error(self, spaceport, make_space):
        space = make_space("", self.FILES)
        for source in ["a/nothing", "a/./b/nothing", "a/b/c/d/foo/x", "top/./x"]:
            (space / "Dockerfile").write_text(f"FROM scratch\nCOPY --parents {source} /out/\n")
            found = spaceport.build(space).failed(1, says=["Dockerfile:2", "not found"])
            assert source.replace("/./", "/") in found.err

    def test_point_41_parents_from_a_stage(self, spaceport, make_space):
        check(spaceport, make_space, "RUN mkdir -p /x/y/z /x/q && echo 1 > /x/y/z/f\n"
              "FROM busybox:latest AS made\n"
              "COPY --from=0 --parents /x/./y/z /out/\n",
              ["test -f out/y/z/f", "! test -e out/q || exit 1"])


class TestExclude:
    FILES = {"dir1/a.png": "", "dir1/a.txt": "", "dir2/b.txt": "", "dir2/sub/c.txt": "",
             "home.txt": "", "home.md": ""}

    CASES = [
        ("--exclude=*/*.png .", ["dir1/a.txt", "home.txt"], ["dir1/a.png"]),
        ("--exclude=**/*.txt .", ["dir1/a.png", "home.md"],
         ["dir1/a.txt", "dir2/sub/c.txt", "home.txt"]),
        ("--exclude=*.txt dir*", ["a.png", "sub/c.txt"], ["a.txt", "b.txt"]),
        ("--exclude=*.txt home*", ["home.md"], ["home.txt"]),
        ("--exclude=*.txt --exclude=sub dir2 dir1", ["a.png"], ["b.txt", "sub"]),
        ("--exclude=* --exclude=!sub dir2", ["sub/c.txt"], ["b.txt"]),
        ("--exclude=* dir*", ["."], ["a.txt", "sub"]),
        ("--exclude=dir2 --exclude=*.md .", ["dir1/a.txt"], ["dir2", "home.md"]),
    ]

    @pytest.mark.parametrize("instruction", ["COPY", "ADD"])
    def test_point_52_exclude(self, spaceport, make_space, instruction):
        check_cases(spaceport, make_space, instruction, self.CASES, self.FILES)

    def test_point_52_exclude_with_parents(self, spaceport, make_space):
        check_cases(spaceport, make_space, "COPY --parents", [
            ("--exclude=dir2/sub dir2/", ["dir2/b.txt"], ["dir2/sub"])], self.FILES)

    def test_point_52_what_is_excluded_is_not_in_the_key(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY --exclude=*.md . /\n", self.FILES)
        before = keys(spaceport, space)
        (space / "home.md").write_text("changed")
        (space / "README.md").write_text("changed")
        assert keys(spaceport, space) == before
        (space / "home.txt").write_text("changed")
        assert keys(spaceport, space) != before


class TestLink:
    def test_point_42_no_link_of_the_image_is_followed(self, spaceport, make_space):
        check(spaceport, make_space, "RUN mkdir -p /real && ln -s /real /link\n"
              "COPY --link f /link/f\n",
              ["test ! -L link", "test -f link/f", "test ! -e real/f"], {"f": "1"})

    def test_point_42_modes_of_directories_are_overridden(self, spaceport, make_space):
        check(spaceport, make_space, "RUN mkdir -m 700 /d && chown 5:5 /d && touch /d/old\n"
              "COPY --link f /d/f\n",
              ["test $(stat -c %a:%u d) = 755:0", "test -f d/f", "test -f d/old"], {"f": "1"})

    def test_point_42_chmod_makes_it_an_ordinary_copy(self, spaceport, make_space):
        check(spaceport, make_space, "RUN mkdir -p /real && ln -s /real /link\n"
              "COPY --link --chmod=600 f /link/f\n",
              ["test -L link", "test $(stat -c %a real/f) = 600"], {"f": "1"})

    @pytest.mark.parametrize("owner, ids", [("5:6", "5:6"), ("7", "7:7"), ("root", "0:0")])
    def test_point_42_numbers_are_owners(self, spaceport, make_space, owner, ids):
        check(spaceport, make_space, f"COPY --link --chown={owner} f /d/f\n",
              [f"test $(stat -c %u:%g d/f) = {ids}", f"test $(stat -c %u:%g d) = {ids}"],
              {"f": "1"})

    def test_point_42_names_are_not(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\n"
                           "RUN echo 'user:x:1000:1000::/:/bin/sh' >> /etc/passwd\n"
                           "COPY --link --chown=user f /\n", {"f": "1"})
        spaceport.build(space).failed(1, says=["Dockerfile:3", "user", "--link"])

    def test_point_42_another_base_takes_the_same_layer(self, fresh_spaceport, make_space):
        """The layer of a COPY --link is cached on whatever base; what follows is not."""
        space = make_space("", {"f": "1"})
        text = "FROM busybox:latest\nENV A={}\nRUN echo {} > /base\n" \
               "COPY --link f /d/\nRUN test -f /d/f && cat /base > /last\nRUN cat /last\n"
        (space / "Dockerfile").write_text(text.format(1, 1))
        fresh_spaceport.build(space).ok()
        before = keys(fresh_spaceport, space)
        (space / "Dockerfile").write_text(text.format(2, 2))
        done = fresh_spaceport.build(space).ok()
        after = keys(fresh_spaceport, space)
        assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False, False]
        assert "[3/5] COPY --link f /d/\n#2 CACHED" in done.err
        (space / "f").write_text("2")
        changed = keys(fresh_spaceport, space)
        assert [a == b for a, b in zip(changed, after, strict=True)] == [True, False, False, False]

    def test_point_42_what_it_replaces_is_gone(self, spaceport, make_space):
        """Directory over link, link and file over directory: the upper one counts."""
        check(spaceport, make_space, "RUN mkdir -p /d/e && touch /d/e/f && ln -s /d /l\n"
              "COPY --link f /d/e\nCOPY --link t /l\n",
              ["test -f d/e", "test -d l", "test ! -L l", "test -f l/x"], {"f": "1", "t/x": ""})


class TestBuildContexts:
    """--build-context: a directory or an image in place of what the Dockerfile names."""

    def other(self, make_space, files):
        return make_space(None, {"README.md": None, **files}, readme="")

    def test_a_directory_in_place_of_a_stage_and_of_an_image(self, spaceport, make_space):
        other = self.other(make_space, {"f": "named", "d/secret": "s", ".dockerignore": "d\n"})
        space = make_space("""
FROM example.com/nowhere AS base
RUN exit 1
FROM busybox:latest AS made
COPY --from=base f /base
COPY --from=0 f /zero
COPY --from=other:latest / /all
RUN --mount=from=other,target=/m cat /m/f > /mounted; ! ls /m/d
FROM base AS rooted
FROM busybox:latest
COPY --from=rooted / /rooted
COPY --from=made / /made
RUN set -e; cd /made; for f in base zero all/f mounted ../rooted/f; do grep -qx named $f; done; \\
    ! test -e all/d || exit 1; test $(stat -c %u:%g base) = 0:0
""", {"f": "main"})
        args = ["--build-context", f"base={other}",
                "--build-context", f"docker.io/library/other={other}"]
        spaceport.build(space, *args).ok()
        done = spaceport.build(space, *args).ok()
        assert "9/9 cached" in done.err or "all cached" in done.err, done.err
        (other / "f").write_text("changed")
        spaceport.build(space, *args).failed(1, says=["grep"])

    def test_an_image_in_place_of_another(self, spaceport, make_space):
        space = make_space("""
FROM alpine:3 AS a
RUN /bin/busybox true
FROM scratch
COPY --from=alpine:3 /bin/busybox /b
COPY --from=a /bin/busybox /c
""")
        spaceport.build(space, "--build-context", "alpine:3=docker-image://busybox:latest").ok()

    REFUSED = [
        ("scratch=.", ["scratch is reserved"]),
        ("context=.", ["context is reserved"]),
        ("nothing", ["NAME=DIR"]),
        ("=.", ["NAME=DIR"]),
        ("x=", ["no directory"]),
        ("x=/nowhere", ["/nowhere", "No such file"]),
        ("x=/etc/passwd", ["is not a directory"]),
        ("x=oci-layout:///tmp/x", ["OCI layout", "image import"]),
        ("x=https://example.com/a.git", ["fetch it", "cannot be a build context"]),
        ("x=docker-image://UPPER:::", ["--build-context", "UPPER"]),
    ]

    def test_what_cannot_be_one_is_refused(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY README.md /\n")
        for context, says in self.REFUSED:
            spaceport.build(space, "--build-context", context).failed(2, says=says)

    def test_one_that_nothing_names_is_warned_of(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY README.md /\n")
        done = spaceport.build(space, "--build-context", f"typo={space}").ok()
        assert "build context typo is not used" in done.err


class TestPlatform:
    def test_the_machines_own(self, spaceport, make_space):
        arch = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        space = make_space(f"""
FROM --platform=$BUILDPLATFORM busybox:latest AS first
FROM --platform=linux/{arch} busybox:latest AS Last
ARG TARGETPLATFORM
ARG TARGETOS
ARG TARGETARCH
ARG BUILDPLATFORM
ARG TARGETSTAGE
RUN test "$TARGETPLATFORM:$TARGETOS:$TARGETARCH:$BUILDPLATFORM" = \\
    "linux/{arch}:linux:{arch}:linux/{arch}" && test "$TARGETSTAGE" = last
""")
        spaceport.build(space, "--platform", f"linux/{arch}").ok()

    def test_no_other(self, spaceport, make_space):
        says = ["linux/s390x cannot be built here", "this machine is linux/"]
        space = make_space("FROM busybox:latest\nRUN true\n")
        spaceport.build(space, "--platform", "linux/s390x").failed(2, says=["--platform", *says])
        spaceport.build(space, "--platform", "s390x").failed(2, says=["--platform", "s390x"])
        space = make_space("FROM --platform=linux/s390x busybox:latest AS unused\n"
                           "FROM --platform=linux/s390x busybox:latest\n")
        spaceport.build(space).failed(1, says=["Dockerfile:2", *says])


class TestEpoch:
    TEXT = """FROM busybox:latest
WORKDIR /w
COPY tree /tree
COPY <<here /here/
text
here
ADD top /
RUN for f in /tree /tree/d /tree/d/f /here/here /top; do \\
    test $(stat -c %Y $f) = 1700000000 || exit 1; done
ENTRYPOINT ["x"]
"""

    def test_twice_the_same_image(self, fresh_spaceport, make_space):
        """Other times in the context, an empty store, the same id."""
        ids = []
        for mtime in (1000000000, 1100000000):
            space = make_space(self.TEXT, {"tree/d/f": "1", "top": "2"})
            for name in ("tree/d/f", "tree/d", "tree", "top"):
                os.utime(space / name, (mtime, mtime))
            ids.append(fresh_spaceport.build(
                space, env={"SOURCE_DATE_EPOCH": "1700000000",
                            "SPACEPORT_DATA": f"{fresh_spaceport.data}/{mtime}"}).image)
        assert ids[0] == ids[1]
        config = fresh_spaceport("image", "inspect", ids[0], env={
            "SPACEPORT_DATA": f"{fresh_spaceport.data}/{mtime}"}).json
        assert find(config, "created") == "2023-11-14T22:13:20Z"
        assert [e.get("created") for e in find(config, "history")][-5:] \
            == ["2023-11-14T22:13:20Z"] * 5

    def test_it_is_part_of_the_key_of_a_copy(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY README.md /\n")
        assert len({*map(str, (keys(spaceport, space, *args) for args in (
            [], ["--build-arg", "SOURCE_DATE_EPOCH=1"],
            ["--build-arg", "SOURCE_DATE_EPOCH=2"])))}) == 3

    def test_what_is_no_time_is_refused(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY README.md /\n")
        spaceport.build(space, "--build-arg", "SOURCE_DATE_EPOCH=yesterday").failed(
            1, says=["SOURCE_DATE_EPOCH", "yesterday", "seconds"])


class TestManyFiles:
    """A copy of many files to where nothing is yet goes past the overlay, as ADD, which may
    have to unpack, never does: with the same result."""

    LIST = ("(find . -exec stat -c '%a %u:%g %F %n' '{}' +; find . ! -path . ! -path ./srv "
            "-exec stat -c '%Y %s %n' '{}' +; find . -type l -exec readlink '{}' +) | sort")

    @pytest.mark.parametrize("steps, dest", [
        ("RUN mkdir /srv/app && chmod 711 /srv/app && chown 3:4 /srv && touch -d @9 /srv",
         "/srv/app"),
        ("RUN chmod 1777 /srv", "/srv/app"),
        ("RUN mkdir /srv/app && touch /srv/app/l", "/srv/app/"),
        ("RUN mkdir /real && ln -s /real /srv/app", "/srv/app/"),
        ("RUN mkdir -p /srv/app/d && touch /srv/app/d/f7 /srv/app/old", "/srv/app/"),
    ])
    def test_the_same_as_through_the_overlay(self, spaceport, make_space, steps, dest):
        space = make_space(f"""
FROM busybox:latest AS base
RUN echo 'user:x:1000:1007::/:/bin/sh' >> /etc/passwd; mkdir -p /srv
{steps}
# A hidden name must stay hidden.
RUN if rm /srv/app/l; then touch /srv/app/l/x || true; fi
FROM base AS copied
COPY --chown=user tree {dest}
FROM base AS added
ADD --chown=user tree {dest}
FROM busybox:latest
COPY --from=copied --parents /srv /rea* /copied/
COPY --from=added --parents /srv /rea* /added/
RUN cd /copied && {self.LIST} > /1; cd /added && {self.LIST} > /2; \\
    diff /1 /2 && grep -q f299 /1 && test -L "$(find /copied -name l)"
""", {f"tree/d/f{number}": str(number) for number in range(300)})
        (space / "tree/l").symlink_to("d/f1")
        (space / "tree/d").chmod(0o750)
        os.utime(space / "tree", (7, 7))
        if "@9" in steps:
            with open(space / "Dockerfile", "a", encoding="utf-8") as file:
                file.write("RUN test $(stat -c %Y /copied/srv) = 9\n")
        spaceport.build(space).ok()


class TestDestinations:
    def test_point_28_a_directory_is_its_contents(self, spaceport, make_space):
        check(spaceport, make_space, "COPY dir /x\nCOPY dir /y/\nCOPY dir/ /z\n",
              ["test -f x/f", "test -f y/f", "test -f z/f", "test ! -e x/dir"], {"dir/f": "1"})

    @pytest.mark.parametrize("copy", ["COPY", "ADD", "COPY --link", "COPY --from=files"])
    def test_point_29_several_files_and_no_directory(self, spaceport, make_space, copy):
        """Each takes the place of the one before, which is told."""
        space = make_space(f"FROM scratch AS files\nCOPY f1 f2 /\nFROM busybox:latest\n"
                           f"{copy} f1 f2 /x\nRUN grep -qx 2 /x\n"
                           f"{copy} f* /y\nRUN grep -qx 2 /y && mkdir /z\n"
                           f"{copy} f1 f2 /z\nRUN grep -qx 2 /z/f2\n", {"f1": "1\n", "f2": "2\n"})
        if "--link" in copy:  # where nothing of the image is there, /z is none
            text = (space / "Dockerfile").read_text()
            (space / "Dockerfile").write_text(text.replace("/z/f2", "/z"))
        told = spaceport.build(space, "--no-cache", "--progress", "plain").ok().err
        for name in "xy":
            assert f"several files became /{name}" in told and f"write /{name}/" in told
        assert ("several files became /z" in told) == ("--link" in copy)

    def test_point_29_heredocs_and_no_directory(self, spaceport, make_space):
        check(spaceport, make_space, "COPY <<A <<B /x\na\nA\nb\nB\n", ["grep -qx b x"])

    def test_point_29_the_last_of_a_name_wins(self, spaceport, make_space):
        check(spaceport, make_space, "RUN mkdir /d\nCOPY a/f b/f /d\nCOPY b/f a/f /e/\n",
              ["grep -qx b d/f", "grep -qx a e/f"], {"a/f": "a\n", "b/f": "b\n"})

    def test_point_30_the_top_keeps_its_mode_and_nested_ones_do_not(self, spaceport, make_space):
        check(spaceport, make_space,
              "RUN mkdir -m 700 /d && mkdir -m 1777 /d/tmp && chown 3:4 /d /d/tmp\n"
              "COPY tree /d\n",
              ["test $(stat -c %a:%u:%g d) = 700:3:4", "test $(stat -c %a:%u:%g d/tmp) = 755:0:0"],
              {"tree/tmp/f": "1"})

    def test_point_31_a_new_top_is_made_and_nested_ones_are_copied(self, spaceport, make_space):
        def prepare(space):
            (space / "tree/sub").chmod(0o711)
            (space / "tree").chmod(0o700)

        check(spaceport, make_space, "COPY tree /x/y\n",
              ["test $(stat -c %a:%u x) = 755:0", "test $(stat -c %a:%u x/y) = 755:0",
               "test $(stat -c %a x/y/sub) = 711"], {"tree/sub/f": "1"}, prepare=prepare)

    def test_point_32_chmod_is_for_new_directories_too(self, spaceport, make_space):
        check(spaceport, make_space,
              "COPY --chmod=700 f /new/dir/f\nCOPY --chmod=0 f /none\n"
              "COPY --chmod=u=rwX,go=rX tree /tree\n",
              ["test $(stat -c %a new) = 700", "test $(stat -c %a new/dir) = 700",
               "test $(stat -c %a new/dir/f) = 700", "test $(stat -c %a none) = 0",
               "test $(stat -c %a tree/sub) = 755", "test $(stat -c %a tree/sub/f) = 644"],
              {"f": "1", "tree/sub/f": "1"})

    def test_point_33_links(self, spaceport, make_space):
        def prepare(space):
            (space / "link").symlink_to("tree/f")
            (space / "tree/inner").symlink_to("f")

        check(spaceport, make_space,
              "RUN mkdir /real && ln -s /real /abs && ln -s ../../real /rel && "
              "ln -s /gone/x /dangling\n"
              "COPY link /followed\nCOPY tree /tree\nCOPY f /abs/a/f\nCOPY f /rel/b\n"
              "COPY f /dangling/f\n",
              ["test -f followed", "test ! -L followed", "test -L tree/inner", "test -L abs",
               "test -f real/a/f", "test -f real/b", "test -L dangling", "test -f gone/x/f"],
              {"f": "1", "tree/f": "2"}, prepare=prepare)

    def test_point_34_a_link_that_is_named_is_followed(self, spaceport, make_space):
        check(spaceport, make_space,
              "RUN echo old > /target && ln -s /target /link && ln -s /later /new && "
              "mkdir /d && ln -s /target /d/f\nCOPY f /link\nCOPY f /new\nCOPY tree /d\n",
              ["test -L link", "grep -qx new target", "test -L new", "grep -qx new later",
               "test ! -L d/f", "grep -qx tree d/f"], {"f": "new\n", "tree/f": "tree\n"})

    def test_point_34_a_directory_does_not_replace_a_link(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nRUN mkdir -p /u/lib && ln -s u/lib /lib\n"
                           "COPY rootfs/ /\n", {"rootfs/lib/f": "1"})
        spaceport.build(space).failed(1, says=["Dockerfile:3", "copy to non-directory", "/lib"])
        (space / "Dockerfile").write_text(
            "FROM busybox:latest\nRUN mkdir -p /x/f\nCOPY rootfs/lib /x/\n")
        spaceport.build(space).failed(1, says=["Dockerfile:3", "/x/f"])

    def test_point_34_a_directory_becomes_a_file_between_builds(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nCOPY . /c\nRUN test -d /c/x\n", {"x/f": "1"})
        spaceport.build(space).ok()
        (space / "x/f").unlink()
        (space / "x").rmdir()
        (space / "x").write_text("file")
        (space / "Dockerfile").write_text("FROM busybox:latest\nCOPY . /c\nRUN test -f /c/x\n")
        spaceport.build(space).ok()


class TestWhatIsCopied:
    def test_point_35_sockets_and_fifos(self, spaceport, make_space):
        def prepare(space):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(f"{space}/tree/sock")
            os.mkfifo(space / "tree/fifo", 0o640)

        check(spaceport, make_space, "COPY tree /t\nCOPY tree/sock /s\n",
              ["test -f t/sock", "test ! -s t/sock", "test -f s", "test -p t/fifo",
               "test $(stat -c %a t/fifo) = 640"], {"tree/f": "1"}, prepare=prepare)

    def test_point_35_devices_are_refused(self, spaceport, make_space, root_only):
        for device in (os.makedev(1, 3), os.makedev(0, 0)):
            space = make_space("FROM scratch\nCOPY tree /t\n", {"tree/f": "1"})
            os.mknod(space / "tree/null", 0o20666, device)
            spaceport.build(space).failed(1, says=["/t/null", "device"])
            (space / "Dockerfile").write_text("FROM scratch\nCOPY --link tree /t\n")
            spaceport.build(space).failed(1, says=["/t/null", "device"])

    def test_point_36_hard_links(self, spaceport, make_space):
        def prepare(space):
            os.link(space / "tree/a", space / "tree/b")

        check(spaceport, make_space,
              "COPY tree /t\nCOPY tree/b /u/\nRUN test /t/a -ef /t/b && ! test /t/a -ef /u/b\n",
              ["test t/a -ef t/b"], {"tree/a": "1"}, prepare=prepare)

    def test_point_37_times_are_kept_and_not_in_the_key(self, spaceport, make_space):
        space = make_space("FROM busybox:latest\nCOPY tree /t\n"
                           "RUN test $(stat -c %Y /t/f) = 1000000000\n", {"tree/f": "1"})
        os.utime(space / "tree/f", (1000000000, 1000000000))
        spaceport.build(space).ok()
        before = keys(spaceport, space)
        os.utime(space / "tree/f", (1100000000, 1100000000))
        assert keys(spaceport, space) == before
        assert "2/2 cached" in spaceport.build(space).ok().err

    def test_point_38_attributes(self, spaceport, make_space, root_only):
        space = make_space("FROM scratch\nCOPY tree /t\n", {"tree/f": "1"})
        before = keys(spaceport, space)
        os.setxattr(space / "tree/f", "user.spaceport", b"1")
        with_user = keys(spaceport, space)
        assert with_user != before
        os.setxattr(space / "tree/f", "security.other", b"1")
        os.setxattr(space / "tree/f", "trusted.other", b"1")
        assert keys(spaceport, space) == with_user
        capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
        os.setxattr(space / "tree/f", "security.capability", capability)
        assert keys(spaceport, space) != with_user
        spaceport.build(space).ok()

    def test_point_43_exceptions_below_what_is_ignored(self, spaceport, make_space):
        for ignored in ("docs/*\n!docs/README.md\n", "docs\n!docs/README.md\n",
                        "**/docs\n!**/README.md\n",
                        "docs/**\n!docs/README.md\n!docs/a/b/README.md\n"):
            check(spaceport, make_space, "COPY . /c\n",
                  ["test -f c/docs/README.md", "test ! -e c/docs/other", "test ! -e c/docs/a/x"],
                  {"docs/README.md": "1", "docs/other": "2", "docs/a/x": "3",
                   ".dockerignore": ignored})

    def test_point_51_what_is_in_the_key_of_a_copy(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY tree /t\n", {"tree/f": "1", "tree/d/x": "",
                                                            "tree/g": "2"})
        (space / "tree/l").symlink_to("f")
        seen = [keys(spaceport, space)]

        def changed():
            seen.append(keys(spaceport, space))
            return seen[-1] not in seen[:-1]

        (space / "tree/f").write_text("3")
        assert changed(), "content"
        (space / "tree/f").chmod(0o600)
        assert changed(), "point 54: mode"
        (space / "tree/f").chmod(0o4755)
        assert changed(), "set-user-ID"
        (space / "tree/d").chmod(0o711)
        assert changed(), "mode of a directory"
        (space / "tree/l").unlink()
        (space / "tree/l").symlink_to("g")
        assert changed(), "target of a link"
        (space / "tree/g").rename(space / "tree/h")
        assert changed(), "point 52: name"
        (space / "tree/empty").mkdir()
        assert changed(), "an empty directory"
        (space / "tree").chmod(0o700)
        assert not changed(), "mode of the source itself"
        os.utime(space / "tree/f", (5, 5))
        assert not changed(), "time"
        (space / "tree").rename(space / "other")
        (space / "Dockerfile").write_text("FROM scratch\nCOPY other /t\n")
        assert not changed(), "where the source lies"
        (space / "Dockerfile").write_text("FROM scratch\nCOPY other/f /t\n")
        assert changed()
        (space / "other/f").rename(space / "other/f2")
        (space / "Dockerfile").write_text("FROM scratch\nCOPY other/f2 /t\n")
        assert changed(), "the name of a file that is a source"

    def test_point_52_what_a_wildcard_matches_is_in_the_key(self, spaceport, make_space):
        """Names too, so that another name is another key; of no match there is one key."""
        space = make_space("FROM scratch\nCOPY f* d*/x /t/\n", {"f1": "1", "f2": "2", "g": "3"})
        seen = [keys(spaceport, space)]
        for change in (lambda: (space / "f1").rename(space / "f3"),
                       lambda: (space / "f2").write_text("4"),
                       lambda: (space / "f4").write_text("5")):
            change()
            seen.append(keys(spaceport, space))
            assert seen[-1] not in seen[:-1]
        (space / "g").rename(space / "h")  # matches before and after: nothing
        assert keys(spaceport, space) == seen[-1]
        for name in ("f2", "f3", "f4"):
            (space / name).unlink()
        none = keys(spaceport, space)
        (space / "h").unlink()
        assert none not in seen and keys(spaceport, space) == none

    def test_point_53_what_else_is_in_the_key_of_a_copy(self, spaceport, make_space):
        space = make_space("", {"f": "1"})
        seen = []
        for line in ("COPY f /t", "COPY f /t/", "COPY f /u", "COPY --chown=1 f /t",
                     "COPY --chown=1:2 f /t", "COPY --chmod=600 f /t", "COPY --link f /t",
                     "ADD f /t"):
            (space / "Dockerfile").write_text(f"FROM scratch\n{line}\n")
            seen.append(str(keys(spaceport, space)))
        assert len(set(seen)) == len(seen)

    def test_point_53_names_count_by_the_files_they_are_in(self, spaceport, make_space):
        """Whoever `user` is, is decided by the step that wrote passwd, which is in the key."""
        space = make_space("", {"f": "1"})
        for uid in (5, 6):
            (space / "Dockerfile").write_text(
                f"FROM busybox:latest\nRUN echo 'user:x:{uid}:{uid}::/:/bin/sh' >> /etc/passwd\n"
                f"COPY --chown=user f /f\nRUN test $(stat -c %u:%g /f) = {uid}:{uid}\n")
            spaceport.build(space).ok()


class TestIgnore:
    FILES = {"a.log": "", "keep.log": "", "sub/a.log": "", "sub/deep/b.log": "", "x+y": "",
             "#no": "", "sub/c.txt": ""}

    def test_patterns(self, spaceport, make_space):
        check(spaceport, make_space, "COPY . /c\n",
              ["cd c", "test ! -e a.log", "test -e keep.log", "test ! -e sub/deep/b.log",
               "test -e sub/c.txt", "test ! -e x+y", "test -e '#no'", "test ! -e Dockerfile",
               "test ! -e .dockerignore"],
              self.FILES | {".dockerignore": "# a comment\r\n\r\n  **/*.log  \r\n!keep.log\r\n"
                                             "/x+y\r\n#no\r\nDockerfile\r\n.dockerignore\r\n"})

    def test_the_last_line_that_matches_counts(self, spaceport, make_space):
        check(spaceport, make_space, "COPY . /c\n",
              ["test ! -e c/keep.log", "test -e c/sub/a.log", "test ! -e c/a.log"],
              self.FILES | {".dockerignore": "!keep.log\n*.log\nsub\n!sub\n"})

    def test_that_of_the_dockerfile_wins(self, spaceport, make_space):
        space = make_space(None, self.FILES | {
            "Dockerfile": None, ".dockerignore": "keep.log\n", "docker/App": "FROM busybox:latest\n"
            "COPY . /c\nRUN test -e /c/keep.log && test ! -e /c/a.log\n",
            "docker/App.dockerignore": "a.log\n"})
        spaceport.build(space, "-f", space / "docker/App").ok()

    def test_what_is_ignored_is_absent(self, spaceport, make_space):
        space = make_space("FROM scratch\nCOPY a.log /\n",
                           self.FILES | {".dockerignore": "*.log\n"})
        spaceport.build(space).failed(1, says=["Dockerfile:2", "a.log", ".dockerignore"])
        (space / "Dockerfile").write_text("FROM scratch\nCOPY *.log /\nCOPY sub/c.txt /\n")
        spaceport.build(space).ok()

    def test_stages_are_not_ignored(self, spaceport, make_space):
        check(spaceport, make_space, "RUN touch /a.log\nFROM busybox:latest AS made\n"
              "COPY --from=0 /a.log /\n", ["test -f a.log"], {".dockerignore": "*.log\n"})

    def test_mistakes_have_a_place(self, spaceport, make_space):
        for text in ("a\n!\n", "a\n[\n", "a\nb\\\n"):
            space = make_space("FROM scratch\nCOPY README.md /\n", {".dockerignore": text})
            spaceport.build(space).failed(1, 2, says=[".dockerignore:2"])
