# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile language, checked from inside: each file's own RUN steps test what the
steps before them made, so that the build goes through only if the builder meant the same."""

import pytest

FROM_BUSYBOX = "FROM busybox:latest\n"
# Debian's busybox has no adduser.
ADD_USER = "echo 'user:x:1000:1000::/home/user:/bin/sh' >> /etc/passwd"

# Name: (Dockerfile, files of the context, arguments of the build).
CASES = {
    "comments, continuations and blank lines": ("""
# a comment
FROM busybox:latest
RUN echo one \\
    # a comment inside of a step
    two \\

    three > /words
RUN test "$(cat /words)" = "one two three"
""", {}, []),
    "another escape character": ("""# escape=`
FROM busybox:latest
RUN echo one `
    'back\\slash' > /words
RUN test "$(cat /words)" = 'one back\\slash'
""", {}, []),
    "syntax directive": ("# syntax=docker/dockerfile:1\n" + FROM_BUSYBOX + "RUN true\n", {}, []),
    "lower-case instructions": ("from busybox:latest\nrun true\n", {}, []),
    "CRLF line ends": (FROM_BUSYBOX.replace("\n", "\r\n")
                       + "RUN test \"$(printf 1)\" = 1\r\nRUN true\r\n", {}, []),
    "ENV in all forms": (FROM_BUSYBOX + """
ENV A=one B="two words" C='$A' D=esc\\ aped
ENV E still one value
ENV F=$A-${B}
RUN test "$A" = one && test "$B" = "two words" && test "$C" = '$A' && test "$D" = "esc aped"
RUN test "$E" = "still one value" && test "$F" = "one-two words"
""", {}, []),
    "ENV uses the values of before its line": (FROM_BUSYBOX + """
ENV A=old
ENV A=new B=$A
RUN test "$A" = new && test "$B" = old
""", {}, []),
    "expansion operators": (FROM_BUSYBOX + """
ENV SET=/usr/lib/file.tar.gz EMPTY=
ENV DEFAULT=${NONE:-d} EMPTY_DEFAULT=${EMPTY:-d} SET_DEFAULT=${SET:-d} DASH=${EMPTY-d}
ENV PLUS=${SET:+p} EMPTY_PLUS=${EMPTY:+p} PLAIN_PLUS=${EMPTY+p}
ENV PREFIX=${SET#*/} LONG_PREFIX=${SET##*/} SUFFIX=${SET%.*} LONG_SUFFIX=${SET%%.*}
ENV ONE=${SET/l/L} ALL=${SET//l/L}
RUN test "$DEFAULT" = d && test "$EMPTY_DEFAULT" = d && test "$SET_DEFAULT" = "$SET"
RUN test "$DASH" = "" && test "$PLUS" = p && test "$EMPTY_PLUS" = "" && test "$PLAIN_PLUS" = p
RUN test "$PREFIX" = usr/lib/file.tar.gz && test "$LONG_PREFIX" = file.tar.gz
RUN test "$SUFFIX" = /usr/lib/file.tar && test "$LONG_SUFFIX" = /usr/lib/file
RUN test "$ONE" = /usr/Lib/file.tar.gz && test "$ALL" = /usr/Lib/fiLe.tar.gz
""", {}, []),
    "ARG: default, argument, empty": (FROM_BUSYBOX + """
ARG GIVEN=default
ARG DEFAULTED=default
ARG UNSET
RUN test "$GIVEN" = given && test "$DEFAULTED" = default && test -z "${UNSET+set}"
""", {}, ["--build-arg", "GIVEN=given"]),
    "ARG above FROM is for FROM lines": ("""
ARG NAME=busybox TAG=latest
FROM $NAME:${TAG}
RUN test -z "${TAG+set}"
ARG TAG
RUN test "$TAG" = latest
""", {}, []),
    "ENV wins over ARG": (FROM_BUSYBOX + """
ARG WHO=arg
ENV WHO=env
RUN test "$WHO" = env
""", {}, ["--build-arg", "WHO=command line"]),
    "an ARG nobody declared": (FROM_BUSYBOX + "RUN test -z \"$NOBODY\"\n", {},
                               ["--build-arg", "NOBODY=1"]),
    "platform arguments": (FROM_BUSYBOX + """
ARG TARGETPLATFORM
ARG TARGETARCH
RUN test "$TARGETPLATFORM" = "linux/$TARGETARCH" && test -n "$TARGETARCH"
""", {}, []),
    "heredoc of RUN": (FROM_BUSYBOX + """
RUN <<SCRIPT
first=1
echo $first > /out
echo "second" >> /out
SCRIPT
RUN test "$(cat /out)" = "$(printf '1\\nsecond')"
""", {}, []),
    "heredoc of RUN with another interpreter": (FROM_BUSYBOX + """
RUN <<SCRIPT
#!/bin/awk -f
BEGIN { print 6 * 7 > "/out" }
SCRIPT
RUN test "$(cat /out)" = 42
""", {}, []),
    "heredocs of COPY, expanded and as they are": (FROM_BUSYBOX + """
ENV WHO=world
COPY <<ONE <<"TWO" /texts/
hello $WHO
ONE
hello $WHO
TWO
RUN test "$(cat /texts/ONE)" = "hello world" && test "$(cat /texts/TWO)" = 'hello $WHO'
RUN test "$(stat -c %a:%u /texts/ONE)" = 644:0
""", {}, []),
    "JSON form needs no shell": (FROM_BUSYBOX + """
RUN ["/bin/mkdir", "/a b $HOME"]
RUN test -d '/a b $HOME'
""", {}, []),
    "SHELL": (FROM_BUSYBOX + """
SHELL ["/bin/sh", "-e", "-c"]
RUN case $- in *e*) ;; *) exit 1;; esac
""", {}, []),
    "WORKDIR: relative, from a variable, made on the way": (FROM_BUSYBOX + """
ENV HOME=/home/someone
WORKDIR $HOME/app
RUN test "$(pwd)" = /home/someone/app
WORKDIR deeper
RUN test "$(pwd)" = /home/someone/app/deeper
COPY here.txt .
RUN test -f /home/someone/app/deeper/here.txt
""", {"here.txt": "x"}, []),
    "WORKDIR belongs to the user": (FROM_BUSYBOX + "RUN " + ADD_USER + """
USER user
WORKDIR /home/user/app
RUN touch here && test "$(stat -c %u:%g /home/user)" = 1000:1000
""", {}, []),
    "USER by number and by name": (FROM_BUSYBOX + "RUN " + ADD_USER + """
USER user
RUN test "$(id -u):$(id -g)" = 1000:1000
USER 65534:65534
RUN test "$(id -u):$(id -g)" = 65534:65534
USER 1234
RUN test "$(id -u):$(id -g)" = 1234:0
""", {}, []),
    "HOME follows USER": (FROM_BUSYBOX + "RUN test \"$HOME\" = /root && " + ADD_USER + """
USER user
RUN test "$HOME" = /home/user
""", {}, []),
    "COPY belongs to root, --chown and --chmod change it": (FROM_BUSYBOX + "RUN " + ADD_USER + """
USER user
COPY a.txt /plain
COPY --chown=user a.txt /named
COPY --chown=12:34 --chmod=600 a.txt /numbered
RUN test "$(stat -c %u:%g /plain)" = 0:0 && test "$(stat -c %u:%g /named)" = 1000:1000
RUN test "$(stat -c %u:%g:%a /numbered)" = 12:34:600
""", {"a.txt": "a"}, []),
    "COPY of folders, patterns and several sources": (FROM_BUSYBOX + """
COPY tree /whole
COPY tree/*.txt *.md /some/
COPY tree/deep /renamed
RUN test -f /whole/one.txt && test -f /whole/deep/two.txt && test ! -e /whole/tree
RUN test -f /some/one.txt && test -f /some/note.md && test ! -e /some/deep
RUN test -f /renamed/two.txt && test ! -e /renamed/deep
""", {"tree/one.txt": "1", "tree/deep/two.txt": "2", "note.md": "n"}, []),
    "COPY with spaces in JSON form": (FROM_BUSYBOX + """
COPY ["a file.txt", "/to here/"]
RUN test -f "/to here/a file.txt"
""", {"a file.txt": "x"}, []),
    "COPY keeps the executable bit": (FROM_BUSYBOX + """
COPY run.sh plain.txt /
RUN /run.sh && test ! -x /plain.txt
""", {"run.sh": "#!/bin/sh\nexit 0\n", "plain.txt": "x"}, []),
    "COPY --from a stage by name and by number": (FROM_BUSYBOX.replace("\n", " AS first\n") + """
RUN mkdir /d && echo 1 > /d/file && ln -s file /d/link && chmod 640 /d/file
FROM busybox:latest AS second
COPY --from=first /d /by-name
COPY --from=0 /d/link /by-number
RUN test "$(readlink /by-name/link)" = file && test "$(stat -c %a /by-name/file)" = 640
RUN test "$(cat /by-number)" = 1
""", {}, []),
    "COPY --from an image": ("""FROM debian:trixie-slim
COPY --from=ghcr.io/astral-sh/uv:0.11.18 /uv /uvx /bin/
RUN test "$(stat -c %a /bin/uv)" = 755 && /bin/uv --version
""", {}, []),
    "a stage builds on another": (FROM_BUSYBOX.replace("\n", " AS base\n") + """
ENV FROM_BASE=yes
WORKDIR /work
RUN touch made
FROM base
RUN test "$FROM_BASE" = yes && test "$(pwd)" = /work && test -f made
""", {}, []),
    "a stage that nobody needs is not built": ("FROM busybox:latest AS broken\nRUN exit 1\n"
                                               + FROM_BUSYBOX + "RUN true\n", {}, []),
    "--target ends early": ("FROM busybox:latest AS wanted\nRUN true\nFROM wanted\nRUN exit 1\n",
                            {}, ["--target", "wanted"]),
    "ONBUILD runs in the stage on top": (FROM_BUSYBOX.replace("\n", " AS base\n") + """
ONBUILD RUN touch /triggered
RUN test ! -e /triggered
FROM base
RUN test -e /triggered
""", {}, []),
    ".dockerignore with exceptions": (FROM_BUSYBOX + """
COPY . /ctx
RUN test ! -e /ctx/logs/a.log && test -f /ctx/logs/keep.log && test -f /ctx/src/a.py
RUN test ! -e /ctx/src/__pycache__ && test ! -e /ctx/secret.env
""", {".dockerignore": "# comment\n**/*.log\n!logs/keep.log\n**/__pycache__\n/*.env\n",
      "logs/a.log": "", "logs/keep.log": "", "src/a.py": "", "src/__pycache__/a.pyc": "",
      "secret.env": ""}, []),
    "removed files and folders stay away": (FROM_BUSYBOX + """
RUN mkdir -p /d/sub && touch /d/a /d/sub/b /gone
RUN rm -r /gone /d/sub && mkdir /d/sub && touch /d/sub/c
RUN test ! -e /gone && test -f /d/a && test "$(ls /d/sub)" = c
FROM busybox:latest
COPY --from=0 / /copy
RUN test ! -e /copy/gone && test "$(ls -A /copy/d/sub)" = c
""", {}, []),
    "links, fifos, modes and times survive a step": (FROM_BUSYBOX + """
RUN cd /root && echo x > a && ln a b && ln -s /nowhere c && mkfifo d && chmod 4711 a \\
    && touch -d '2001-02-03 04:05:06' e && mkdir -m 1777 f
RUN cd /root && test "$(stat -c %i a)" = "$(stat -c %i b)" && test "$(readlink c)" = /nowhere
RUN cd /root && test -p d && test "$(stat -c %a a)" = 4711 && test "$(stat -c %a f)" = 1777
RUN test "$(date -r /root/e +%Y)" = 2001
""", {}, []),
    "moving what a lower layer has": (FROM_BUSYBOX + """
RUN mkdir -p /old/deep && echo 1 > /old/deep/file
RUN mv /old /new
RUN test ! -e /old && test "$(cat /new/deep/file)" = 1
""", {}, []),
    "cache mounts stay out of the image": (FROM_BUSYBOX + """
RUN --mount=type=cache,target=/cache touch /cache/kept && test -d /cache
RUN --mount=type=cache,target=/cache test -f /cache/kept
RUN test ! -e /cache/kept
""", {}, []),
    "cache mounts of another owner": (FROM_BUSYBOX + """
USER 1000
RUN --mount=type=cache,target=/c,uid=1000,gid=1000,mode=0700,id=own touch /c/x \\
    && test "$(stat -c %u:%g:%a /c)" = 1000:1000:700
""", {}, []),
    "bind mounts of context and stage": (FROM_BUSYBOX.replace("\n", " AS tools\n") + """
RUN echo tool > /tool
FROM busybox:latest
RUN --mount=type=bind,source=data,target=/data --mount=type=bind,from=tools,target=/tools \\
    test "$(cat /data/file)" = data && test "$(cat /tools/tool)" = tool
RUN --mount=type=bind,target=/ctx ! touch /ctx/new 2>/dev/null
RUN --mount=type=bind,target=/ctx,rw touch /ctx/new
RUN test ! -e /data/file && test ! -e /tools/tool
""", {"data/file": "data"}, []),
    "tmpfs mounts": (FROM_BUSYBOX + """
RUN --mount=type=tmpfs,target=/t touch /t/x && grep -q ' /t tmpfs ' /proc/mounts
RUN test ! -e /t/x
""", {}, []),
    "dev, proc and sys leave nothing in the image": (FROM_BUSYBOX + """
RUN test -c /dev/null && test -d /proc/1 && touch /dev/shm/left
FROM busybox:latest
COPY --from=0 / /image
RUN test -z "$(ls -A /image/dev)$(ls -A /image/proc)$(ls -A /image/sys)"
RUN test ! -s /image/etc/resolv.conf && test ! -s /image/etc/hosts
""", {}, []),
    "instructions that only describe": (FROM_BUSYBOX + """
LABEL a=b "c d"="e f"
EXPOSE 7860/tcp 9000
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=1s CMD wget -q -O - localhost:7860
VOLUME /data
MAINTAINER someone
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["exit 0"]
RUN true
""", {}, []),
    "names that are not ASCII": (FROM_BUSYBOX + """
COPY größe.txt caf\udce9.txt /names/
RUN test -f /names/größe.txt && test "$(ls /names | wc -l)" = 2
""".replace("caf\udce9.txt", "caf*.txt"), {"größe.txt": "1", "caf\udce9.txt": "2"}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_means_what_it_says(spaceport, make_space, name):
    dockerfile, files, args = CASES[name]
    assert spaceport.build(make_space(dockerfile, files), *args).image


# What is refused: the Dockerfile, the line of the mistake, and what the story must name.
REFUSED = {
    "unknown instruction": ("FROM scratch\nCOPPY a b\n", 2, ["COPPY", "COPY"]),
    "unknown flag": ("FROM scratch\nCOPY --chwon=1 a b\n", 2, ["--chwon"]),
    "unknown mount type": ("FROM busybox\nRUN --mount=type=cahce,target=/c true\n", 2, ["cahce"]),
    "no stage": ("RUN true\n", 1, ["FROM"]),
    "no instruction": ("# nothing\n", None, ["Dockerfile"]),
    "heredoc without end": ("FROM busybox\nRUN <<END\ntrue\n", 2, ["END"]),
    "ENV without value": ("FROM busybox\nENV A=1 B\n", 2, ["ENV"]),
    "COPY without destination": ("FROM busybox\nCOPY a\n", 2, ["COPY"]),
    "COPY of what isn't there": ("FROM busybox\nCOPY nothing.txt /\n", 2, ["nothing.txt"]),
    "COPY out of the context": ("FROM busybox\nCOPY ../other /\n", 2, ["other"]),
    "COPY --from an unknown stage": ("FROM busybox\nCOPY --from=no/such:image /a /\n", 2,
                                     ["no/such:image"]),
    "stage that names itself": ("FROM busybox AS a\nCOPY --from=a /x /\n", 2, ["a"]),
    "ONBUILD ONBUILD": ("FROM busybox\nONBUILD ONBUILD RUN true\n", 2, ["ONBUILD"]),
    "a required variable": ("FROM busybox\nENV A=${NEEDED:?say-it}\n", 2, ["say-it"]),
    "JSON with a number": ("FROM busybox\nRUN [\"echo\", 1]\n", 2, ["RUN"]),
    "user nobody knows": ("FROM busybox\nCOPY --chown=stranger Dockerfile /\n", 2, ["stranger"]),
    "foreign frontend": ("# syntax=example.com/other/frontend:1\nFROM scratch\n", 1, ["frontend"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_place(spaceport, make_space, name):
    dockerfile, line, says = REFUSED[name]
    place = f"Dockerfile:{line}" if line else "Dockerfile"
    result = spaceport.build(make_space(dockerfile)).failed(1, says=[place, *says])
    assert result.out == ""


def test_unknown_target_names_the_stages(spaceport, make_space):
    space = make_space("FROM busybox AS first\nFROM busybox AS second\n")
    spaceport.build(space, "--target", "third").failed(1, 2, says=["third", "first", "second"])


DESCRIBED = """FROM busybox:latest AS base
ONBUILD RUN touch /triggered
CMD ["old"]
FROM base
ARG A=1
ARG B
ENV X=1 Y="two words"
LABEL l=v "m n"=o
MAINTAINER me
RUN --mount=type=tmpfs,target=/t true
COPY --chown=1:2 Dockerfile README.md /d/
WORKDIR /w
WORKDIR /
USER 1000:5
EXPOSE 80 81/UDP 90-91
VOLUME /v1 "/v2"
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT foo bar
CMD a b
HEALTHCHECK --interval=5s --retries=2 CMD test x
RUN ["true", "a b"]
ONBUILD RUN q
"""
HISTORY = ["CMD [\"old\"]", "RUN /bin/sh -c touch /triggered # buildkit", "ARG A=2", "ARG B",
           "ENV X=1 Y=two words", "LABEL l=v m n=o", "MAINTAINER me",
           "RUN |2 A=2 B= /bin/sh -c true # buildkit",
           "COPY --chown=1:2 Dockerfile README.md /d/ # buildkit", "WORKDIR /w", "WORKDIR /",
           "USER 1000:5", "EXPOSE [80/tcp 81/udp 90/tcp 91/tcp]", "VOLUME [/v1 /v2]",
           "STOPSIGNAL SIGINT", "SHELL [/bin/sh -ec]",
           "ENTRYPOINT [\"/bin/sh\" \"-ec\" \"foo bar\"]", "CMD [\"/bin/sh\" \"-ec\" \"a b\"]",
           "HEALTHCHECK {Test:[CMD-SHELL test x] Interval:5s Timeout:0s StartPeriod:0s "
           "StartInterval:0s Retries:2}", "RUN |2 A=2 B= true a b # buildkit"]


def test_configuration_and_history(spaceport, make_space):
    space = make_space(DESCRIBED)
    spaceport.build(space, "-t", "described", "--build-arg", "A=2").ok()
    image = spaceport("image", "inspect", "described").json
    config = image["config"]
    path = next(pair for pair in config["Env"] if pair.startswith("PATH="))
    assert config == {
        "User": "1000:5", "Env": [path, "X=1", "Y=two words"], "Cmd": ["/bin/sh", "-ec", "a b"],
        "ExposedPorts": {"80/tcp": {}, "81/udp": {}, "90/tcp": {}, "91/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "test x"], "Interval": 5_000_000_000, "Retries": 2},
        "ArgsEscaped": True, "Volumes": {"/v1": {}, "/v2": {}}, "WorkingDir": "/",
        "Entrypoint": ["/bin/sh", "-ec", "foo bar"], "OnBuild": ["RUN q"],
        "Labels": {"l": "v", "m n": "o"}, "StopSignal": "SIGINT", "Shell": ["/bin/sh", "-ec"]}
    assert image["author"] == "me"
    mine = [entry for entry in image["history"] if entry.get("comment")]
    assert [entry["created_by"] for entry in mine] == HISTORY
    assert {entry["comment"] for entry in mine} == {"buildkit.dockerfile.v0"}
    layers = [entry["created_by"].split()[0] for entry in mine if not entry.get("empty_layer")]
    assert layers == ["RUN", "RUN", "COPY", "WORKDIR", "RUN"]
    assert not any("created" in entry for entry in mine)
