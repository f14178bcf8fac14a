# SPDX-License-Identifier: Apache-2.0
"""COPY and ADD as BuildKit means them. What a step made is looked at by the Dockerfile itself:
stages of busybox have the result of another one below /made, and test it."""

import os
import platform

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
    """Key of each step, by the first words of its line in the Dockerfile."""
    plan = spaceport("build", "--plan", "--json", *args, space).json
    return [step["key"] for stage in plan["stages"] for step in stage["steps"] if "key" in step]


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
        args = ["--build-context", f"base={other}", "--build-context", f"docker.io/library/other={other}"]
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
