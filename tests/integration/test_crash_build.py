# SPDX-License-Identifier: Apache-2.0
"""A build that is killed at any moment leaves a store in which the next build finds right layers
or none: what it makes is, file by file, what an undisturbed build makes in an empty store.

And a disk that is full fails the build, and nothing but that."""

import os
import subprocess
import time

import pytest
import trees
from program import Process

# Each kind of step, two stages side by side, a cache that is written to, links, owners, modes.
# `round` makes all of it anew and changes nothing in it.
SPACE = """FROM busybox:latest AS build
ARG round
RUN --mount=type=cache,target=/cache,sharing=locked mkdir -p /etc /opt/a && \\
    echo "user:x:1000:1000::/:/bin/sh" >> /etc/passwd && echo one > /opt/a/one && \\
    ln /opt/a/one /opt/a/two && ln -s one /opt/a/link && mkfifo /opt/a/pipe && \\
    echo more >> /cache/log && seq 1 3000 > /cache/seq && cp /cache/seq /opt/seq
COPY --chown=user tree /opt/tree
RUN chmod 4750 /opt/a/one && rm -r /opt/tree/3 && chown -R 1000 /opt/a
FROM busybox:latest AS side
ARG round
RUN seq 1 2000 > list && rm /bin/wget
WORKDIR /side/way
FROM busybox:latest
ARG round
RUN --mount=from=build,source=/etc,target=/mnt grep user /mnt/passwd > /user
COPY --from=build /opt /opt
COPY --from=side /side /list /app/side/
COPY --chmod=640 tree/1 ./one/
"""
TREE = {f"tree/{folder}/{number}": f"{folder}{number}\n" * 300
        for folder in range(4) for number in range(5)}
ROUNDS = {"root": 200, "user": 40}


def difference(expected, found):
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one != other:
            left = [line for line in one if line not in other]
            right = [line for line in other if line not in one]
            return f"layer {number}: expected {left}, found {right}"
    return None


@pytest.mark.timeout(1800)
def test_killed_at_many_moments(fresh_spaceport, make_space, moments, account):
    space = make_space(SPACE, TREE)

    def command(number, *more):
        return ["build", "--build-arg", f"round={number}", *more, space]

    fresh_spaceport(*command(0)).ok()  # the base image comes here
    began = time.monotonic()
    expected = trees.layers(fresh_spaceport, fresh_spaceport(*command(0, "--no-cache")).image)
    side = trees.layers(fresh_spaceport, fresh_spaceport(*command(0, "--target", "build")).image)
    whole, ended = time.monotonic() - began, 0
    assert sum(map(len, expected)) > 30
    for number in range(1, ROUNDS["root" if account.is_root else "user"] + 1):
        moment = moments.uniform(0, whole)
        process = fresh_spaceport.start(*command(number))
        process.kill_after(moment)
        was_late = process.popen.returncode == 0
        ended += was_late
        whole *= 0.9 if was_late else 1.01  # as the machine's other work lets it
        image = fresh_spaceport(*command(number)).image
        wrong = difference(expected, trees.layers(fresh_spaceport, image))
        assert not wrong, f"round {number}, killed after {moment:.3f} s: {wrong}"
        if number % 10 == 0:
            again = fresh_spaceport(*command(number, "--target", "build")).image
            wrong = difference(side, trees.layers(fresh_spaceport, again))
            assert not wrong, f"round {number}, killed after {moment:.3f} s: stage: {wrong}"
    print(f"a build takes {whole:.2f} s; {ended} of {number} had ended before they were killed")
    assert ended < number / 2, "the moments are too late to say anything"
    if os.geteuid() == 0:  # what the last one left, the one after it has removed
        assert not list((fresh_spaceport.data / "store/active").iterdir())


# ---- a full disk ----

# A step that fills the disk while it runs, one that copies too much, and a small one before them.
FULL = """FROM busybox:latest
RUN echo kept > /kept
{step}
"""
STEPS = {
    "RUN": "RUN dd if=/dev/zero of=/big bs=1M count=200",
    "COPY": "COPY big /big",
    "COPY --from": "FROM busybox:latest AS other\nRUN dd if=/dev/zero of=/big bs=1M count=20\n"
                   "FROM busybox:latest\nCOPY --from=other /big /1\nCOPY --from=other /big /2\n"
                   "COPY --from=other /big /3",
}


class SmallDisk:
    """The program in a mount namespace in which its state directory is a small disk."""

    def __init__(self, program, megabytes):
        self.program = program
        data, owner = program.data, f"{program.account.uid}:{program.account.gid}"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             f"mount -t tmpfs -o size={megabytes}m,mode=700 tmpfs {data}; chown {owner} {data}; "
             "echo mounted; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "mounted\n"

    def __call__(self, *args, **how):
        account = self.program.account
        command = ["nsenter", "--mount", "--target", str(self.holder.pid), "--setuid",
                   str(account.uid), "--setgid", str(account.gid), self.program.binary, *args]
        return Process(subprocess.Popen(
            command, env=self.program.environment(None), cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )).wait(120)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait()


@pytest.fixture
def small_disk(fresh_spaceport):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = SmallDisk(fresh_spaceport, 40)
    yield disk
    disk.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_fails_the_build_alone(small_disk, make_space, step):
    small = make_space("FROM busybox:latest\nRUN echo kept > /kept\n")
    big = make_space(FULL.format(step=STEPS[step]), {"big": b"x" * (60 << 20)})
    whole = small_disk("build", "-t", "small", small).image
    small_disk("build", big).failed(1, says=["No space left on device"])
    # What was there is there, whole; what was made before is kept; and there is room again.
    assert small_disk("build", small).image == whole
    again = small_disk("build", "--progress", "plain", big).failed(1, says=["No space left"])
    assert "CACHED" in again.err
    reads = make_space("FROM busybox:latest\nRUN echo kept > /kept\n"
                       'RUN test "$(cat /kept)" = kept && dd if=/dev/zero of=/x bs=1M count=15\n')
    assert small_disk("build", reads).image
