# SPDX-License-Identifier: Apache-2.0
"""RUN --mount with names, links and races that try to get out."""

import threading
import uuid

import pytest

BUSYBOX = "FROM busybox:latest\n"


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a/b/../../c", "..", ".",
                                  "x" * 3000])
def test_cache_ids_are_no_paths(fresh_spaceport, make_space, name):
    space = make_space(BUSYBOX + f"RUN --mount=type=cache,id={name},target=/c mkdir /c/mine\n"
                       f"RUN --mount=type=cache,id={name},target=/c test -d /c/mine\n")
    fresh_spaceport.build(space).ok()
    found = list(fresh_spaceport.data.rglob("mine"))
    assert len(found) == 1 and "/caches/" in str(found[0])


def test_a_part_of_a_cache_that_is_a_link_stays_inside(spaceport, make_space):
    cache = uuid.uuid4().hex
    space = make_space(BUSYBOX + f"""RUN --mount=type=cache,id={cache},target=/c \\
 ln -s / /c/root && ln -s ../../../../../../../../ /c/up && ln -s /sub /c/sublink && mkdir /c/sub
RUN --mount=type=cache,id={cache},source=/root,target=/m test -d /m/sub && test ! -e /m/etc
RUN --mount=type=cache,id={cache},source=/up,target=/m test -d /m/sub && test ! -e /m/etc
RUN --mount=type=cache,id={cache},source=/sublink,target=/m test -z "$(ls -A /m)" && touch /m/here
RUN --mount=type=cache,id={cache},target=/c test -e /c/sub/here
""")
    spaceport.build(space).ok()


def test_a_part_that_is_missing_is_an_error(spaceport, make_space):
    space = make_space(BUSYBOX + f"RUN --mount=type=cache,id={uuid.uuid4().hex},source=/none,"
                       "target=/m true\n")
    spaceport.build(space).failed(1, 2, says=["source=/none"])


def test_two_steps_race_on_a_part_of_a_cache(spaceport, make_space):
    """One exchanges the part for a link to / all the time, the other mounts it."""
    cache = uuid.uuid4().hex
    racing = make_space(BUSYBOX + f"""ENV SALT={cache}
RUN --mount=type=cache,id={cache},target=/c mkdir -p /c/a && i=0; while test $i -lt 3000; do \\
 mv /c/a /c/b; ln -s / /c/a; rm /c/a; mv /c/b /c/a; i=$((i+1)); done
""")
    mounting = make_space(BUSYBOX + "".join(
        f"RUN --mount=type=cache,id={cache},source=/a,target=/m N={i}; "
        "test ! -e /m/etc && test ! -e /m/proc && test ! -e /m/data\n" for i in range(10)))
    results = {}
    other = threading.Thread(target=lambda: results.update(race=spaceport.build(racing)))
    other.start()
    for _ in range(3):  # a part that is not there at that moment is an error, and no way out
        told = spaceport.build(mounting, "--no-cache")
        assert told.code == 0 or "source=/a" in told.err, told.err
    other.join()
    results["race"].ok()


@pytest.mark.parametrize("kind", ["bind", "cache"])
def test_a_source_that_is_a_link_to_the_root(spaceport, make_space, kind):
    space = make_space(f"""FROM busybox:latest AS base
RUN mkdir /only && ln -s / /link && ln -s ../../../../.. /only/up
FROM busybox:latest
RUN --mount=type={kind},from=base,source=/link,target=/m,rw test -d /m/only \\
 && test ! -d /m/root/only
RUN --mount=type={kind},from=base,source=/only/up,target=/m,rw test -d /m/only
""")
    spaceport.build(space).ok()


def test_changes_to_a_mounted_stage_are_thrown_away(spaceport, make_space):
    space = make_space("""FROM busybox:latest AS base
RUN mkdir /d && echo one >/d/f && chown 7:8 /d/f
FROM busybox:latest
RUN --mount=type=bind,from=base,source=/d,target=/m,rw echo two >/m/f && touch /m/new \\
 && test "$(cat /m/f)" = two
RUN --mount=type=bind,from=base,source=/d,target=/m test "$(cat /m/f)" = one && test ! -e /m/new \\
 && test "$(stat -c %u:%g /m/f)" = 7:8 && ! touch /m/x
COPY --from=base /d /e
RUN test "$(cat /e/f)" = one && test ! -e /e/new && test ! -e /m
""")
    spaceport.build(space).ok()


@pytest.mark.parametrize("kind", ["tmpfs", "cache"])
def test_targets_through_links_stay_inside(spaceport, make_space, kind):
    space = make_space(BUSYBOX + f"""RUN ln -s ../../../../../../etc /abs && mkdir -p /etc /real \\
 && ln -s /real /l
RUN --mount=type={kind},target=/abs/deep mkdir /etc/deep/x
RUN --mount=type={kind},target=/l/m/n mkdir /real/m/n/x
RUN test ! -e /etc/deep && test ! -e /real/m && test -L /l && test -L /abs
""")
    spaceport.build(space).ok()


def test_stubs_are_removed_only_when_they_are_still_the_same(spaceport, make_space):
    space = make_space(BUSYBOX + f"""RUN mkdir /keep && touch /keep/file
RUN --mount=type=cache,id={uuid.uuid4().hex},target=/a/b/c rm -rf /a && mkdir -p /a/mine
RUN test -e /a/mine && test ! -e /a/b
RUN --mount=type=cache,id={uuid.uuid4().hex},target=/d/e rm -rf /d && mv /keep /d
RUN test -e /d/file && test ! -e /keep && test ! -e /d/e
""")
    spaceport.build(space).ok()


@pytest.mark.parametrize("kind", ["tmpfs", "bind", "cache"])
def test_a_stub_behind_a_link_of_the_step_stays(spaceport, make_space, folder, account, kind):
    """What takes the place of its parent meanwhile leads out of the image: an empty folder of
    the host with the stub's name is not removed, and no time of it changes."""
    outside = folder / f"outside-{uuid.uuid4().hex[:8]}"
    (outside / "stub/empty").mkdir(parents=True)
    account.owns(outside)
    before = (outside / "stub").stat().st_mtime_ns
    up = "../" * 20 + str(outside).lstrip("/")
    for target in (outside, up):
        space = make_space(BUSYBOX + f"RUN --mount=type={kind},target=/a/stub/empty "
                           f"mv /a /away && ln -s {target} /a\nRUN test -L /a\n")
        spaceport.build(space, "--no-cache").ok()
        assert (outside / "stub/empty").is_dir()
        assert (outside / "stub").stat().st_mtime_ns == before
    (outside / "stub/empty").rmdir()
    (outside / "stub").rmdir()
    outside.rmdir()
