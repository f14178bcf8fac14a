# SPDX-License-Identifier: Apache-2.0
"""Whom a step runs as and what it finds: points 20 to 27 of the semantics that are often missed."""

import pytest

BUSYBOX = "FROM busybox:latest\n"


def passes(spaceport, make_space, text, *args):
    return spaceport.build(make_space(BUSYBOX + text), *args).ok()


NAMES = """RUN mkdir -p /etc && echo 'root:x:0:0::/root:/bin/sh' >/etc/passwd \\
 && echo 'a:x:1500:1600::/home/a:/bin/sh' >>/etc/passwd \\
 && echo '77:x:8:9::/:/bin/sh' >>/etc/passwd && echo 'people:x:1700:' >/etc/group
"""


@pytest.mark.parametrize("copy", ["COPY", "ADD"])
def test_point_20_the_group_of_chown(spaceport, make_space, copy):
    """Of a number it is the same number, of a name the user's own group: whoever has the number."""
    owners = {"1000": "1000:1000", "a": "1500:1600", "a:people": "1500:1700", "a:5": "1500:5",
              "5:people": "5:1700", "1500": "1500:1500", "3:4": "3:4", "root": "0:0", "77": "77:77"}
    passes(spaceport, make_space, NAMES + "ENV WHO=a\n" + "".join(
        f"{copy} --chown={owner} Dockerfile /f{n}\nRUN test $(stat -c %u:%g /f{n}) = {ids}\n"
        for n, (owner, ids) in enumerate(owners.items())) + f"""
{copy} --chown=$WHO Dockerfile /new/dir/
RUN test "$(stat -c %u:%g /new /new/dir /new/dir/Dockerfile | sort -u)" = 1500:1600
""")


def test_point_20_names_are_those_of_this_stage(spaceport, make_space):
    space = make_space(f"FROM busybox:latest AS other\n{NAMES}FROM busybox:latest\n"
                       "RUN mkdir -p /etc && echo 'a:x:1:2::/:/bin/sh' >/etc/passwd\n"
                       "COPY --from=other --chown=a /etc/group /f\n"
                       "RUN test $(stat -c %u:%g /f) = 1:2\n")
    spaceport.build(space).ok()


@pytest.mark.parametrize("owner", ["stranger", "stranger:1", "1:strangers", "a:strangers", ":1"])
@pytest.mark.parametrize("base", [BUSYBOX + NAMES, "FROM scratch\n"])
def test_point_21_whom_nobody_knows_owns_nothing(spaceport, make_space, base, owner):
    """BuildKit makes it root's, without a word; here it is an error, as its reference says."""
    space = make_space(base + f"COPY --chown={owner} Dockerfile /f\n")
    line = base.count("\n") + 1
    spaceport.build(space).failed(1, says=[f"Dockerfile:{line}", owner.split(":")[0]])


def test_point_21_nothing_after_the_colon_is_group_0(spaceport, make_space):
    passes(spaceport, make_space, NAMES + """COPY --chown=a: Dockerfile /f
COPY --chown=7: Dockerfile /g
RUN test $(stat -c %u:%g /f) = 1500:0 && test $(stat -c %u:%g /g) = 7:0
""")


def test_point_22_user_by_number_and_name(spaceport, make_space):
    passes(spaceport, make_space, """RUN mkdir -p /etc \\
 && echo 'root:x:0:0::/root:/bin/sh' >/etc/passwd \\
 && echo 'a:x:1500:1600::/home/a:/bin/sh' >>/etc/passwd \\
 && echo 'a:x:1600:' >/etc/group && echo 'extra:x:1700:a' >>/etc/group
USER 1234
RUN test "$(id -u):$(id -g)" = 1234:0
USER 1500
RUN test "$(id -u):$(id -g)" = 1500:1600 && id -G | grep -qw 1700
USER a
RUN test "$(id -u):$(id -g)" = 1500:1600 && id -G | grep -qw 1700
USER a:0
RUN test "$(id -g)" = 0 && ! id -G | grep -qw 1700
""")


def test_point_22_an_unknown_name_fails_the_run(spaceport, make_space):
    space = make_space(BUSYBOX + "USER nobody-knows\nRUN true\n")
    spaceport.build(space).failed(1, says=["nobody-knows"])


def test_point_23_workdir_belongs_to_the_user(spaceport, make_space):
    passes(spaceport, make_space, """RUN mkdir /there
USER 1500:1600
WORKDIR /new/deep
RUN test "$(stat -c %u:%g:%a /new)" = 1500:1600:755 && test "$(stat -c %u:%g /new/deep)" = 1500:1600
WORKDIR /there
RUN test "$(stat -c %u:%g /there)" = 0:0
COPY Dockerfile /new/copied
RUN test "$(stat -c %u:%g /new/copied)" = 0:0
""")


def test_point_24_a_lost_working_directory_is_made_again(spaceport, make_space):
    passes(spaceport, make_space, """WORKDIR /w/d
RUN rm -rf /w
USER 1500
RUN test "$(pwd)" = /w/d && test "$(stat -c %u:%a /w/d)" = 1500:755
""")


def test_point_25_the_process(spaceport, make_space):
    passes(spaceport, make_space, """RUN mkdir -p /etc \\
 && echo 'a:x:1500:1600::/home/a:/bin/sh' >/etc/passwd
USER 1500
RUN test "$HOME" = /home/a && test "$(umask)" = 0022 && test -z "$(cat)"
USER 1501
RUN test "$HOME" = /
USER 0
RUN grep -qx 'NoNewPrivs:.0' /proc/self/status \\
 && grep -qx 'CapEff:.00000000a80425fb' /proc/self/status
""")


def test_point_25_the_host_name(spaceport, make_space):
    passes(spaceport, make_space, 'RUN test "$(hostname)" = buildkitsandbox\n')
    passes(spaceport, make_space, 'RUN test "$(hostname)" = mine\n', "--build-arg",
           "BUILDKIT_SANDBOX_HOSTNAME=mine")


def test_point_26_stubs_are_removed_and_times_kept(spaceport, make_space):
    passes(spaceport, make_space, """RUN mkdir -p /etc /tmp /run && touch /tmp/kept /run/kept \\
 && touch -d 2020-01-01 /etc
RUN --mount=type=tmpfs,target=/a/b --mount=type=cache,target=/c/d \\
 --mount=type=tmpfs,target=/etc/e true
RUN --mount=type=cache,target=/etc/deep/cache true
RUN test ! -e /a && test ! -e /c && test -e /tmp/kept && test -e /run/kept \\
 && test ! -e /etc/hostname
FROM busybox:latest
COPY --from=0 / /seen/
RUN test ! -s /seen/etc/hosts && test ! -s /seen/etc/resolv.conf && test ! -e /seen/etc/deep \\
 && test "$(stat -c %y /seen/etc | cut -c1-10)" = 2020-01-01
""")


def test_point_27_a_fifo_as_passwd(spaceport, make_space):
    space = make_space(BUSYBOX + "RUN rm -f /etc/passwd; mkdir -p /etc && mkfifo /etc/passwd\n"
                       "USER name\nRUN true\n")
    spaceport.build(space, timeout=60).failed(1)


def test_point_27_a_link_as_passwd_stays_inside(spaceport, make_space):
    passes(spaceport, make_space, """RUN rm -f /etc/passwd; mkdir -p /etc /other \\
 && echo 'inner:x:77:78::/:/bin/sh' >/other/passwd && ln -s ../../../../other/passwd /etc/passwd
USER inner
RUN test "$(id -u):$(id -g)" = 77:78
""")
