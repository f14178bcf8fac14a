# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment leaves a store that the next build uses, and no process behind."""

import signal
import time

import leaks

SPACE = """FROM busybox:latest
RUN seq 1 20000 > /numbers && sync
COPY tree /tree
RUN cat /tree/* | md5sum > /sum
FROM busybox:latest
COPY --from=0 /numbers /sum /
RUN test $(wc -l < /numbers) = 20000 && test -s /sum
"""
TREE = {f"tree/{number}.txt": f"{number}\n" * 500 for number in range(50)}
KILLS = 12


def test_killed_while_it_builds(fresh_spaceport, make_space, moments):
    space = make_space(SPACE, TREE)
    began = time.monotonic()
    good = fresh_spaceport.build(space, "--no-cache").image
    whole = time.monotonic() - began
    for _ in range(KILLS):
        process = fresh_spaceport.start("build", "--no-cache", space)
        process.kill_after(moments.uniform(0, whole))
    assert fresh_spaceport.build(space).image
    assert fresh_spaceport.build(space, "--no-cache").image
    assert good in fresh_spaceport("images", "--json").ok().out


def test_killed_while_it_pulls(fresh_spaceport, moments, make_space):
    """The first whole pull tells how long it takes; then the image goes and comes again."""
    began = time.monotonic()
    fresh_spaceport("image", "pull", "debian:trixie-slim").ok()
    whole = time.monotonic() - began
    for _ in range(KILLS):
        fresh_spaceport("image", "rm", "debian:trixie-slim")
        process = fresh_spaceport.start("image", "pull", "debian:trixie-slim")
        process.kill_after(moments.uniform(0, whole))
    space = make_space("FROM debian:trixie-slim\nRUN dpkg --verify && test -x /usr/bin/perl\n")
    assert fresh_spaceport.build(space).image


def test_killed_while_a_step_runs(spaceport, make_space):
    """Processes of the step are gone at once, and not only when they would have ended."""
    space = make_space("FROM busybox:latest\nRUN echo up-$((40+2)); sleep 300\n")
    process = spaceport.start("build", "--no-cache", "--progress", "plain", space)
    process.wait_for(lambda: "up-42" in process.err, "step")
    process.signal(signal.SIGKILL)
    process.popen.wait()
    assert_gone(spaceport, 5)
    # Of an empty control group the next build rids us.
    assert spaceport.build(make_space("FROM busybox:latest\nRUN true\n"), "--no-cache").image


def assert_gone(program, seconds):
    """Nothing of it runs any more, long before it would have ended by itself."""
    end = time.monotonic() + seconds
    while left := leaks.processes(program.folder, program.mark):
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.05)


def test_killed_while_a_space_runs(spaceport, running_space, make_space):
    space = make_space('FROM busybox:latest\nCMD ["httpd", "-f", "-p", "7860", "-h", "/"]\n')
    process = spaceport.start("run", space)
    process.wait_for(lambda: "\n" in process.out, "URL")
    process.signal(signal.SIGKILL)
    process.popen.wait()
    assert_gone(spaceport, 5)
    assert len(spaceport("ps").ok().out.splitlines()) <= 1
    with running_space(space):
        pass


def test_what_a_killed_build_left_is_collected(fresh_spaceport, make_space, moments):
    """The store does not grow with the number of crashes."""
    space = make_space("FROM busybox:latest\nRUN dd if=/dev/urandom of=/big bs=1M count=20; "
                       "echo up-$((40+2)); sleep 300\n")
    for _ in range(4):
        process = fresh_spaceport.start("build", "--progress", "plain", space)
        process.wait_for(lambda process=process: "up-42" in process.err, "step")
        process.signal(signal.SIGKILL)
        process.popen.wait()
    good = make_space("FROM busybox:latest\nRUN true\n")
    fresh_spaceport.build(good).ok()
    # By inode: busybox is one file of many names.
    sizes = {path.stat().st_ino: (path.stat().st_size, path)
             for path in fresh_spaceport.store_files()}
    assert sum(size for size, _ in sizes.values()) < 10 << 20, sorted(sizes.values())[-9:]
