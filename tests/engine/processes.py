# SPDX-License-Identifier: Apache-2.0
"""Which processes belong to a program under test, and how much memory they hold."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def named(name):
    return [pid for pid in all_pids() if read(pid, "comm").strip() == name.encode()]


def marked(mark):
    """Processes with the variable of `mark` in the environment they were started with."""
    words = {f"{name}={value}".encode() for name, value in mark.items()}
    return [pid for pid in all_pids()
            if pid != os.getpid() and words & set(read(pid, "environ").split(b"\0"))]


def kill_all(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parents():
    """{pid: its parent}, of all processes."""
    found = {}
    for pid in all_pids():
        fields = read(pid, "stat").rpartition(b")")[2].split()
        if fields:
            found[pid] = int(fields[1])
    return found


def family(mark):
    """The marked processes and all that they have started."""
    members, parent = set(marked(mark)), parents()
    while True:
        more = {pid for pid, of in parent.items() if of in members} - members
        if not more:
            return members
        members |= more


def is_of_host(pid):
    """Whether a process runs a program of the host, not one of an image."""
    try:
        program, here = os.readlink(f"/proc/{pid}/exe"), os.stat(f"/proc/{pid}/exe")
    except OSError:
        return False
    if program.startswith("/memfd:"):
        return True
    try:
        there = os.stat(program)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


@dataclass
class Resident:
    """Resident memory of a process in bytes: whole, and with shared pages divided among
    those who share them (proc_pid_smaps(5), Pss)."""

    name: str
    rss: int
    pss: int


def resident(pid):
    rollup = dict(line.split()[:2] for line in
                  read(pid, "smaps_rollup").decode().splitlines()[1:])
    return Resident(read(pid, "comm").decode().strip(),
                    int(rollup.get("Rss:", 0)) * 1024, int(rollup.get("Pss:", 0)) * 1024)


def own_memory(mark):
    """What a program and its tools hold, without the processes of its containers."""
    return [resident(pid) for pid in sorted(family(mark)) if is_of_host(pid)]
