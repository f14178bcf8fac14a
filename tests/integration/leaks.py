# SPDX-License-Identifier: Apache-2.0
"""What a test may leave behind on the machine: nothing.

A snapshot holds the mounts, processes, control groups, network namespaces and
temporary files that have to do with these tests; the difference of two is a leak."""

import os
import time
from pathlib import Path

GRACE_SECONDS = 3

started = set()  # the ids of all processes that the tests started
began = 0.0  # when this test did


def mounts(folder):
    """Mount points of our own namespace that lie in the tests' folder or name it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if str(folder) in line}


def processes(folder, mark):
    """Processes that carry the tests' mark in their environment, and those in mount
    namespaces of their own that have the tests' folder in them: containers."""
    ours, found = os.readlink("/proc/self/ns/mnt"), set()
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if int(proc.name) == os.getpid():
                continue
            name = (proc / "comm").read_text().strip()
            if mark.encode() in (proc / "environ").read_bytes():
                found.add(f"{proc.name} {name}")
            elif os.readlink(proc / "ns/mnt") != ours and \
                    str(folder) in (proc / "mountinfo").read_text():
                found.add(f"{proc.name} {name}")
        except (OSError, ValueError):
            continue  # ended meanwhile, or not ours to look at
    return found


def control_groups(mark):
    """Groups are called spaceport-PID-…, after the process that made them. Counted are those
    of processes that the tests started, dead ones too, so that no other use of the program
    on this machine is taken for a leak: neither of one whose process never was ours, nor of
    one that runs now under an id that a process of ours had, for ids come round again."""
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):  # other than rglob, bears what vanishes
        for name in names:
            pid = name.removeprefix("spaceport-").split("-")[0]
            if name.startswith("spaceport-") and pid.isdigit() and is_ours(int(pid), mark):
                found.add(os.path.join(folder, name))
    return found


def is_ours(pid, mark):
    try:
        environment = Path("/proc", str(pid), "environ").read_bytes()
    except OSError:
        environment = b""
    if environment:
        return mark.encode() in environment
    return pid in started  # it has ended


def network_namespaces():
    folder = Path("/run/netns")
    return {str(path) for path in folder.iterdir()} if folder.is_dir() else set()


def temporary_files(folder):
    return {str(path) for place in (folder.glob("*/tmp/*"), Path("/tmp").glob("crun.*"))
            for path in place}


class Watch:
    def __init__(self, folder, mark):
        self.folder, self.mark = folder, mark
        self.before = self.look()

    def look(self):
        return {
            "mount": mounts(self.folder),
            "process": processes(self.folder, self.mark),
            "control group": control_groups(self.mark),
            "network namespace": network_namespaces(),
            "temporary file": temporary_files(self.folder),
        }

    def leaks(self):
        """What is there now and wasn't before, after a moment's grace for what is ending."""
        end = time.monotonic() + GRACE_SECONDS
        while True:
            now = self.look()
            left = [f"{kind}: {thing}" for kind, things in now.items()
                    for thing in sorted(things - self.before[kind])]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.1)
