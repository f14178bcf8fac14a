# SPDX-License-Identifier: Apache-2.0
"""Stages that are made at the same time, and builds that share a step. Steps of different
containers meet in a cache mount: it is the one thing that they have in common."""

import re
import signal
import time
import uuid

import pytest

# The id is no part of a step's key: that it stands in the command makes it a step of this test.
MEET = "RUN --mount=type=cache,id={id},target=/meet : {id}; "
# Says that it is there and waits for the other, for which 30 s are more than enough.
COME = "touch /meet/{me}; i=0; until test -e /meet/{other}; do i=$((i+1)); " \
       "test $i -lt 300 || exit 9; sleep 0.1; done; "


def meeting(template):
    """A Dockerfile in which «me→other:» begins a step that waits for the other's step."""
    name = uuid.uuid4().hex
    begin = MEET.format(id=name)
    text = re.sub(r"«(\w+)→(\w+):»",
                  lambda m: begin + COME.format(me=m[1], other=m[2]), template)
    return text.replace("«meet»", begin)


BOTH = """FROM busybox:latest AS a
«a→b:» echo a > /a
FROM busybox:latest AS b
«b→a:» echo b > /b
FROM busybox:latest
COPY --from=a /a /
COPY --from=b /b /
RUN test "$(cat /a /b)" = "$(echo a; echo b)"
"""


class TestAtTheSameTime:
    def test_independent_stages(self, spaceport, make_space):
        assert spaceport.build(make_space(meeting(BOTH))).image

    def test_the_steps_before_a_copy_from_another_stage(self, spaceport, make_space):
        space = make_space(meeting("""FROM busybox:latest AS a
«a→b:» echo a > /a
FROM busybox:latest
«b→a:» echo b > /b
COPY --from=a /a /
RUN cat /a /b
"""))
        assert spaceport.build(space).image

    def test_each_has_its_part_of_the_context(self, spaceport, make_space):
        """Both read many files of the context, which come from the calling process."""
        files = {f"{top}/{i}.txt": f"{top}{i}\n" * 200 for top in "ab" for i in range(300)}
        space = make_space("".join(f"""FROM busybox:latest AS {top}
COPY {top} /{top}
RUN --mount=type=bind,source={top},target=/src diff -r /src /{top} && ls /{top} | wc -l > /n
""" for top in "ab") + """FROM busybox:latest
COPY --from=a /n /a
COPY --from=b /n /b
RUN test "$(cat /a)" = 300 && test "$(cat /b)" = 300
""", files)
        assert spaceport.build(space).image

    def test_made_anew_without_the_cache(self, fresh_spaceport, make_space):
        """Layers made without the cache have new names; the next build finds them all."""
        space = make_space("""FROM busybox:latest AS a
RUN cat /proc/sys/kernel/random/uuid > /a
FROM busybox:latest AS b
RUN cat /proc/sys/kernel/random/uuid > /b
FROM busybox:latest
COPY --from=a /a /
COPY --from=b /b /
RUN test "$(cat /a)" != "$(cat /b)"
""")
        first = fresh_spaceport.build(space).image
        assert fresh_spaceport.build(space).image == first
        second = fresh_spaceport.build(space, "--no-cache").image
        assert second != first
        again = fresh_spaceport.build(space, "--progress", "plain")
        assert again.image == second and again.err.count("CACHED") == 5, again.err

    def test_as_many_as_the_setting_says(self, spaceport, make_space):
        """One at a time: the second has not begun when the first ends."""
        space = make_space(meeting("""FROM busybox:latest AS a
«meet»sleep 0.5; ! test -e /meet/b && touch /meet/a
FROM busybox:latest AS b
«meet»touch /meet/b; test -e /meet/a
FROM busybox:latest
COPY --from=a /bin/true /a
COPY --from=b /bin/true /b
"""))
        assert spaceport.build(space, env={"SPACEPORT_BUILD_PARALLEL": "1"}).image

    def test_one_memory_limit_for_all(self, spaceport, make_space):
        """What fits one after another does not fit at the same time."""
        if not spaceport.account.is_root:
            return  # an ordinary user has limits only where a subtree was delegated
        text = meeting("""FROM busybox:latest AS a
«meet»dd if=/dev/zero of=/eat/x bs=1M count=100 || exit 5; {a}
FROM busybox:latest AS b
«meet»dd if=/dev/zero of=/eat/x bs=1M count=100 || exit 5; {b}
FROM busybox:latest
COPY --from=a /bin/true /a
COPY --from=b /bin/true /b
""").replace("RUN ", "RUN --mount=type=tmpfs,target=/eat ")
        env = {"SPACEPORT_BUILD_MEMORY": "150m"}
        alone = make_space(text.format(a="true a", b="true b"))
        spaceport.build(alone, env=env | {"SPACEPORT_BUILD_PARALLEL": "1"}).ok()
        both = make_space(text.format(a=COME.format(me="a", other="b"),
                                      b=COME.format(me="b", other="a")))
        spaceport.build(both, env=env).failed(1, says=["memory limit"])


class TestApart:
    def test_networks(self, spaceport, make_space):
        """Neither a port nor an abstract socket of another stage's step can be reached."""
        space = make_space(meeting("""FROM busybox:latest AS a
«meet»readlink /proc/self/ns/net > /meet/net-a; nc -l -p 4242 -e true & \\
    sleep 0.3; grep -q :1092 /proc/net/tcp* && touch /meet/a; \\
    i=0; until test -e /meet/b; do i=$((i+1)); test $i -lt 300 || exit 9; sleep 0.1; done; kill %1
FROM busybox:latest AS b
«meet»readlink /proc/self/ns/net > /meet/net-b; \\
    i=0; until test -e /meet/a; do i=$((i+1)); test $i -lt 300 || exit 9; sleep 0.1; done; \\
    touch /meet/b; ! grep -q :1092 /proc/net/tcp* && ! nc -w 1 127.0.0.1 4242 < /dev/null && \\
    ! cmp /meet/net-a /meet/net-b
FROM busybox:latest
COPY --from=a /bin/true /a
COPY --from=b /bin/true /b
"""))
        assert spaceport.build(space).image

    def test_each_reaches_the_network(self, spaceport, make_space):
        step = "ip route | grep -q default && test -s /etc/resolv.conf"
        space = make_space(meeting(BOTH).replace("echo a >", step + " && echo a >").replace(
            "echo b >", step + " && echo b >"))
        assert spaceport.build(space).image

    def test_processes(self, spaceport, make_space):
        step = "pgrep -f mark-of-the-other | grep -v $$ | grep -q . && exit 1; "
        space = make_space(meeting(BOTH).replace("echo a >", step + "echo a >").replace(
            "echo b >", step + "echo b >"))
        assert spaceport.build(space).image


FAILING = """FROM busybox:latest AS a
«a→b:» echo up-$((40+2)); sleep 300; echo a > /a
FROM busybox:latest AS b
«b→a:» sleep 0.3; exit 7
FROM busybox:latest
COPY --from=a /a /
COPY --from=b /b /
"""


class TestEnd:
    def test_the_first_failure_ends_the_others(self, spaceport, make_space):
        began = time.monotonic()
        result = spaceport.build(make_space(meeting(FAILING)), "--progress", "plain", timeout=60)
        result.failed(1, says=["Dockerfile:4: RUN", "exited with 7", "CANCELED"])
        assert time.monotonic() - began < 30

    def test_json_tells_what_was_cancelled(self, spaceport, make_space):
        result = spaceport.build(make_space(meeting(FAILING)), "--progress", "json", timeout=60)
        result.failed(1, says=['"step-failed","step":2', '"step-cancelled","step":1'])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, spaceport, make_space, number):
        wait = meeting(BOTH).replace("echo a >", "echo up-$((40+2)); sleep 300; echo a >")
        process = spaceport.start("build", "--progress", "plain", make_space(wait))
        process.wait_for(lambda: "up-42" in process.err, "step")
        began = time.monotonic()
        process.signal(number)
        assert process.wait().code in (130, 143)
        assert time.monotonic() - began < 2

    def test_what_was_made_before_a_failure_stays(self, fresh_spaceport, make_space):
        """Steps of the stage that was cancelled, too."""
        text = meeting(FAILING).replace("AS a\n", "AS a\nRUN echo kept > /kept\n")
        fresh_spaceport.build(make_space(text)).failed(1)
        again = fresh_spaceport.build(make_space(text), "--progress", "plain").failed(1)
        assert again.err.count("CACHED") == 1, again.err


# Counts how often it runs, then waits for a word.
SLOW = "«meet»echo ran >> /meet/log; {then}" \
       "i=0; until test -e /meet/go; do i=$((i+1)); test $i -lt 300 || exit 9; sleep 0.1; done\n"


class Shared:
    """A step that two builds need, and a way to talk to it while it runs."""

    def __init__(self, program, make_space, then=""):
        self.program, self.make_space, self.id = program, make_space, uuid.uuid4().hex
        self.space = self.made(SLOW.replace("{then}", then))

    def made(self, step):
        step = step.replace("«meet»", MEET.format(id=self.id))
        return self.make_space("FROM busybox:latest\n" + step)

    def start(self):
        return self.program.start("build", "--progress", "plain", self.space)

    def do(self, command):
        """A build of its own with a step that sees the same cache."""
        self.program.build(self.made(f"«meet»{command}\n"), "--no-cache").ok()

    def pair(self):
        """Two builds: one makes the step, the other waits for it."""
        first = self.start()
        first.wait_for(lambda: "RUN --mount" in first.err, "step")
        self.do("i=0; until test -s /meet/log; do i=$((i+1)); test $i -lt 300 || exit 9; "
                "sleep 0.1; done")
        second = self.start()
        second.wait_for(lambda: "another build" in second.err, "word of the waiting")
        return first, second


class TestTwoBuilds:
    def test_share_a_step(self, fresh_spaceport, make_space):
        shared = Shared(fresh_spaceport, make_space)
        first, second = shared.pair()
        shared.do('test "$(wc -l < /meet/log)" = 1; touch /meet/go')
        assert first.wait(60).image == second.wait(60).image
        assert "CACHED" in second.err
        shared.do('test "$(wc -l < /meet/log)" = 1')

    def test_started_together(self, fresh_spaceport, make_space):
        """Whichever is first: it is made once."""
        fresh_spaceport.build(make_space("FROM busybox:latest\n")).ok()
        shared = Shared(fresh_spaceport, make_space)
        both = [shared.start(), shared.start()]
        for process in both:
            process.wait_for(lambda process=process: "RUN --mount" in process.err, "step")
        shared.do("touch /meet/go")
        assert len({process.wait(60).image for process in both}) == 1
        shared.do('test "$(wc -l < /meet/log)" = 1')

    def test_one_is_killed_the_other_takes_over(self, fresh_spaceport, make_space):
        shared = Shared(fresh_spaceport, make_space)
        first, second = shared.pair()
        first.signal(signal.SIGKILL)
        first.popen.wait()
        shared.do('i=0; until test "$(wc -l < /meet/log)" = 2; do i=$((i+1)); '
                  "test $i -lt 300 || exit 9; sleep 0.1; done; touch /meet/go")
        assert second.wait(60).image

    def test_one_fails_the_other_tries_itself(self, fresh_spaceport, make_space):
        shared = Shared(fresh_spaceport, make_space, then=
                        'if test "$(wc -l < /meet/log)" = 1; then until test -e /meet/fail; do '
                        "sleep 0.1; done; exit 7; fi; ")
        first, second = shared.pair()
        shared.do("touch /meet/fail /meet/go")
        first.wait(60).failed(1, says=["exited with 7"])
        assert second.wait(60).image
        shared.do('test "$(wc -l < /meet/log)" = 2')

    def test_two_stages_of_one_build(self, fresh_spaceport, make_space):
        """The same step in two stages is one."""
        space = make_space(meeting("""FROM busybox:latest AS a
«meet»echo ran >> /meet/log; sleep 1; cat /proc/sys/kernel/random/uuid > /x
RUN true a
FROM busybox:latest AS b
«meet»echo ran >> /meet/log; sleep 1; cat /proc/sys/kernel/random/uuid > /x
RUN true b
FROM busybox:latest
COPY --from=a /x /a
COPY --from=b /x /b
«meet»cmp /a /b && test "$(wc -l < /meet/log)" = 1
"""))
        assert fresh_spaceport.build(space).image


def test_caches_locked_in_opposite_order(spaceport, make_space):
    """Two steps want both caches. Each gets its first one, since two others that hold one
    each let go of the second first, and then wants the other's."""
    name = uuid.uuid4().hex
    meet = f"RUN --mount=type=cache,id={name},target=/meet "
    lock = {end: f"--mount=type=cache,id={name}-{end},sharing=locked,target=/{end} "
            for end in "xy"}
    text = ""
    for end, seconds in (("x", 4), ("y", 2)):
        text += f"""FROM busybox:latest AS holds-{end}
{meet}{lock[end]}: {name}; touch /meet/{end}; sleep {seconds}; echo > /holds-{end}
"""
    for stage, order in (("a", "xy"), ("b", "yx")):
        text += f"""FROM busybox:latest AS {stage}
{meet}until test -e /meet/x && test -e /meet/y; do sleep 0.1; done
RUN {"".join(lock[end] for end in order)}: {name}; echo > /{stage}
"""
    text += "FROM busybox:latest\n" + "".join(
        f"COPY --from={stage} /{stage} /{stage}\n" for stage in ("holds-x", "holds-y", "a", "b"))
    built = spaceport.build(make_space(text), env={"SPACEPORT_BUILD_PARALLEL": "4"}, timeout=60)
    assert built.image
