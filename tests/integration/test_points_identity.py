# SPDX-License-Identifier: Apache-2.0
"""Whom a step runs as and what it finds: points 22 to 27 of the semantics that are often missed."""

BUSYBOX = "FROM busybox:latest\n"


def passes(spaceport, make_space, text, *args):
    return spaceport.build(make_space(BUSYBOX + text), *args).ok()


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
    passes(spaceport, make_space, 'RUN test "$(hostname)" = spaceport\n')
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
